//! What happens in a scenario, and what ends by itself: faults of one kind that overlap end with the last of them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use rtcmesh_core::config::ConfigPatch;

use super::super::act::Act;
use super::{Run, name};
use crate::host::Setup;
use crate::net::Loss;

/// What ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    /// Nothing passes between two, the smaller number first.
    Cut(usize, usize),
    /// Nothing passes between those in the set and the others.
    Partition(u64),
    Flap(usize),
    Handover(usize),
    Storm(usize),
    Stall(usize),
    Gone(usize),
    Server,
}

/// The faults that last.
#[derive(Debug, Default)]
pub(super) struct Faults {
    /// When each ends, in the order of their beginnings.
    until: Vec<(Duration, Fault)>,
    /// The losses of each host's own accesses, by their addresses, to be put back after a storm.
    calm: BTreeMap<(usize, IpAddr), (Loss, Loss)>,
    /// The address of each host's second interface.
    seconds: BTreeMap<usize, IpAddr>,
}

impl Faults {
    /// Takes out what has ended by `now` and does not last because of another one.
    fn take_ended(&mut self, now: Duration) -> Vec<Fault> {
        let ended = |(at, _): &(Duration, Fault)| *at <= now;
        let (due, lasting): (Vec<_>, Vec<_>) = self.until.drain(..).partition(ended);
        self.until = lasting;
        let mut due: Vec<Fault> = due.into_iter().map(|(_, fault)| fault).collect();
        due.retain(|fault| !self.lasts(*fault));
        due.dedup();
        due
    }

    fn lasts(&self, fault: Fault) -> bool {
        self.until.iter().any(|(_, other)| *other == fault)
    }

    /// On which side of each partition a host is: hosts with equal answers reach each other.
    fn sides_of(&self, host: usize) -> Vec<bool> {
        let side = |(_, fault): &(Duration, Fault)| match fault {
            Fault::Partition(set) => Some(set >> host & 1 == 1),
            _ => None,
        };
        self.until.iter().filter_map(side).collect()
    }
}

impl Run<'_> {
    pub(super) fn act(&mut self, act: &Act) {
        match *act {
            Act::Leave(a, time) => {
                self.leave(a);
                self.later(time, Fault::Gone(a));
            }
            Act::Crash(a, time) => {
                self.look(a);
                self.world.crash(a);
                self.gone(a);
                self.later(time, Fault::Gone(a));
            }
            Act::Restart(a) => {
                self.leave(a);
                self.join(a);
            }
            Act::Connect(a, b) => self.connect(a, b),
            Act::Disconnect(a, b) => {
                self.disconnect(a, b);
            }
            Act::Say { from, to, count, size, reliable } => {
                for _ in 0..count {
                    self.say(from, to, size, reliable);
                }
            }
            Act::Talk(a, on) => self.apps[a].talks = on,
            Act::Film(a, on) => self.film(a, on),
            Act::Configure(a, size) => {
                let mut patch = ConfigPatch::new();
                patch.jitter_buffer_size_ms = Some(size);
                self.on(a, |transport, now| transport.configure(now, &patch)).ok();
            }
            Act::Stall(a, time) => {
                if self.apps[a].stalled_since.is_none() {
                    self.look(a);
                    self.apps[a].stalled_since = Some(self.world.elapsed());
                    self.apps[a].knew = self.connections(a);
                }
                self.world.hosts[a].fetches = false;
                self.later(time, Fault::Stall(a));
            }
            Act::BreakSignaling(a) => {
                self.model.wishes.forget_all_of(a);
                self.world.break_signaling(a);
            }
            Act::StopServer(time) => {
                (0..self.apps.len()).for_each(|host| self.model.wishes.forget_all_of(host));
                self.world.stop_server();
                self.later(time, Fault::Server);
            }
            Act::Cut(a, b, time) => {
                self.world.cut(a, b, true);
                self.later(time, Fault::Cut(a.min(b), a.max(b)));
            }
            Act::Partition(set, time) => {
                self.later(time, Fault::Partition(set));
                self.partition();
            }
            Act::Flap(a, time) => {
                self.model.wishes.forget_all_of(a);
                self.later(time, Fault::Flap(a));
                self.interfaces(a);
            }
            Act::Handover(a, time) => {
                self.model.wishes.forget_all_of(a);
                self.later(time, Fault::Handover(a));
                self.interfaces(a);
            }
            Act::Roam(a, preset) => {
                self.model.wishes.forget_all_of(a);
                self.faults.calm.retain(|(host, _), _| *host != a);
                let setup = preset.map_or_else(Setup::default, Setup::preset);
                self.world.roam(a, &setup.family(self.plan.peers[a].family));
                self.add_second(a);
                if self.faults.lasts(Fault::Flap(a)) || self.faults.lasts(Fault::Handover(a)) {
                    self.interfaces(a);
                }
            }
            Act::Rebind(a) => self.world.rebind(a),
            Act::Storm(a, loss, time) => {
                self.model.wishes.forget_all_of(a);
                self.storm(a, f64::from(loss) / 1_000.0);
                self.later(time, Fault::Storm(a));
            }
            Act::Forge(a, b) => self.forge(a, b),
            Act::Spray(a) => self.spray(a),
        }
        if act.moves() {
            self.paths();
        }
    }

    fn disconnect(&mut self, a: usize, b: usize) {
        let ended = self.apps[a].alive
            && self.on(a, |transport, now| transport.disconnect_peer(now, &name(b))).is_ok();
        if ended {
            self.model.parted.ended(self.world.elapsed(), a, b);
        }
        // Who still waits for an answer has called, and may be called back.
        if ended && self.apps[b].waiting.keys().all(|peer| peer.as_str() != name(a)) {
            self.model.wishes.ended(a, b);
        }
    }

    /// Its second interface, where it has one.
    pub(super) fn add_second(&mut self, a: usize) {
        if let Some(second) = self.plan.peers[a].second {
            let address = self.world.add_interface(a, &Setup::preset(second));
            self.faults.seconds.insert(a, address);
        }
    }

    /// Which of its interfaces are up.
    fn interfaces(&mut self, a: usize) {
        let second = self.faults.seconds.get(&a).copied();
        let flaps = self.faults.lasts(Fault::Flap(a));
        let away = self.faults.lasts(Fault::Handover(a));
        self.world.set_interfaces_up(a, |address| !flaps && (!away || second == Some(address)));
    }

    /// Hosts that no partition keeps apart are in one group.
    fn partition(&mut self) {
        let mut groups: BTreeMap<Vec<bool>, Vec<usize>> = BTreeMap::new();
        for host in 0..self.apps.len() {
            groups.entry(self.faults.sides_of(host)).or_default().push(host);
        }
        let groups: Vec<Vec<usize>> = groups.into_values().collect();
        self.world.partition(&groups);
    }

    /// What has ended is put right.
    pub(super) fn end_faults(&mut self) {
        let ended = self.faults.take_ended(self.world.elapsed());
        if !ended.is_empty() {
            ended.into_iter().for_each(|fault| self.put_right(fault));
            self.paths();
        }
    }

    /// All that lasts is put right now.
    pub(super) fn end_all_faults(&mut self) {
        let all = self.faults.take_ended(Duration::MAX);
        all.into_iter().for_each(|fault| self.put_right(fault));
        self.world.heal();
        self.world.weather().loss = Loss::None;
        for host in 0..self.apps.len() {
            self.calm_down(host);
            self.reads_again(host);
            self.join(host);
        }
        self.paths();
    }

    /// Its application reads what has been told meanwhile.
    pub(super) fn reads_again(&mut self, a: usize) {
        self.world.hosts[a].fetches = true;
        if self.apps[a].alive && self.apps[a].stalled_since.is_some() {
            self.on(a, |_, _| ());
            self.look(a);
        }
        self.apps[a].stalled_since = None;
    }

    fn later(&mut self, after: Duration, fault: Fault) {
        self.faults.until.push((self.world.elapsed() + after, fault));
    }

    fn put_right(&mut self, fault: Fault) {
        match fault {
            Fault::Cut(a, b) => self.world.cut(a, b, false),
            Fault::Partition(_) => self.partition(),
            Fault::Flap(a) | Fault::Handover(a) => self.interfaces(a),
            Fault::Storm(a) => self.calm_down(a),
            Fault::Stall(a) => self.reads_again(a),
            Fault::Gone(a) => self.join(a),
            Fault::Server => {
                if self.world.server_is_down() {
                    self.world.start_server();
                }
            }
        }
    }

    fn storm(&mut self, a: usize, loss: f64) {
        let node = self.world.network_number(a);
        let addresses = self.world.network().all_interfaces(node);
        for address in addresses {
            if let Some((up, down)) = self.world.network_mut().link_mut(address) {
                self.faults.calm.entry((a, address)).or_insert((up.loss, down.loss));
                (up.loss, down.loss) = (Loss::Random(loss), Loss::Random(loss));
            }
        }
    }

    fn calm_down(&mut self, a: usize) {
        let node = self.world.network_number(a);
        for address in self.world.network().all_interfaces(node) {
            let losses = self.faults.calm.remove(&(a, address));
            let links = self.world.network_mut().link_mut(address);
            if let Some(((up_loss, down_loss), (up, down))) = losses.zip(links) {
                (up.loss, down.loss) = (up_loss, down_loss);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn faults_that_overlap_end_with_the_last_of_them() {
        let (flap, other) = (Fault::Flap(1), Fault::Flap(2));
        let until = vec![(seconds(5), flap), (seconds(2), flap), (seconds(3), other)];
        let mut faults = Faults { until, ..Faults::default() };
        assert_eq!(faults.take_ended(seconds(2)), []);
        assert_eq!(faults.take_ended(seconds(4)), [other]);
        assert_eq!(faults.take_ended(seconds(5)), [flap]);
        assert_eq!(faults.take_ended(seconds(9)), []);
    }

    #[test]
    fn two_partitions_make_four_parts() {
        let until =
            vec![(seconds(1), Fault::Partition(0b0011)), (seconds(2), Fault::Partition(0b0101))];
        let mut faults = Faults { until, ..Faults::default() };
        let parts = |faults: &Faults| [0, 1, 2, 3].map(|host| faults.sides_of(host));
        let all: std::collections::BTreeSet<_> = parts(&faults).into_iter().collect();
        assert_eq!(all.len(), 4);
        faults.take_ended(seconds(1));
        let [a, b, c, d] = parts(&faults);
        assert!(a == c && b == d && a != b);
    }
}
