//! What comes after the faults: everything is put right, what can connect connects, what was sent arrives, all leave.

use std::collections::BTreeSet;
use std::time::Duration;

use super::super::model::{Violation, number};
use super::super::report::Report;
use super::Run;

/// How long a path that is lost may go unnoticed: the engine's checks give up after this at most.
const NOTICED_WITHIN: Duration = Duration::from_secs(25);

/// When the buffers of slow links have drained after the last video: the longest of the presets holds two seconds, and as much may come
/// again, asked for by those who missed it.
const DRAINED_WITHIN: Duration = Duration::from_secs(6);

/// How long all talk and listen, and how many frames of 20 ms each must hear at least: over the worst of the presets
/// some are lost.
const LISTENING: Duration = Duration::from_secs(3);
const LEAST_HEARD: u64 = 75;

/// What a link must have for each stream of audio for that, in bits per second: 50 packets of 80 bytes with their headers (RTP with
/// its extensions, SRTP, UDP and IPv6 are some 86 bytes) are 66,000, and a fifth more is for RTCP, checks and SCTP.
const RATE_OF_AUDIO: u64 = 80_000;

/// How long nothing may arrive of what is on its way, when nothing new is sent: a path that is dead is left within 30 s, SCTP's pauses
/// end after 3 s (docs/upstream.md), and a large message of 200 KB takes another 30 s over the worst path, 15 % lost at a round trip of
/// 400 ms, by the throughput of congestion control at that loss (Mathis et al. 1997).
const ARRIVES_WITHIN: Duration = Duration::from_secs(75);

/// And how long all of it may take: at such a throughput megabytes wait for minutes.
const DELIVERED_WITHIN: Duration = Duration::from_secs(900);

/// When the server must have forgotten everybody: those that left while they had no connection to it have a place that is
/// kept for them, and a connection that went silent counts as one until then.
const FORGOTTEN_WITHIN: Duration = Duration::from_secs(180);

/// What one that has ended, or stays, may hold when all others have left, in bytes: the room of its queues of datagrams, events and
/// media, 8 KiB each once they are empty, and its settings. Less than half of what one connection takes. 27,000 were seen among 6.
const HELD_BY_HOST: usize = 28 * 1024;

/// And so much more for each other that there was: its name, what it had announced, and a slot. 33,000 were seen among 12.
const HELD_FOR_EACH: usize = 1024;

/// What the signaling server may hold then, in bytes: the room of its queue of commands, its rooms with those that stay, and limits by
/// address. 31,000 were seen.
const HELD_BY_SERVER: usize = 40 * 1024;

/// What may be held after a world more than before, in bytes: nothing but what a process makes once. 6,224 were seen.
pub(super) const HELD_BY_NOBODY: usize = 12 * 1024;

impl Run<'_> {
    /// Everything is put right, and what can connect must connect, within a bound.
    pub(super) fn heal(&mut self, tell: &mut dyn FnMut(&Self)) {
        self.note("everything is put right".to_owned());
        self.end_all_faults();
        let within = self.plan.healed_within;
        let healed = self.world.elapsed() + within;
        let mut next_call = self.world.elapsed() + Duration::from_secs(30);
        while !self.all_there() && self.world.elapsed() < healed {
            self.tick();
            tell(self);
            if self.world.elapsed() >= next_call {
                next_call = self.world.elapsed() + Duration::from_secs(2);
                self.call_missing();
            }
            if !self.model.violations.is_empty() {
                return;
            }
        }
        let now = self.world.elapsed();
        for (a, b) in self.pairs() {
            if self.path(a, b) && !(self.model.connected(a, b) && self.model.connected(b, a)) {
                let what = format!("not connected with p{b} {within:?} after all was put right");
                self.model.violation(now, Some(a), what);
            }
        }
        if self.model.violations.is_empty() {
            self.listen(tell);
            self.deliver(tell);
        }
        self.part(tell);
    }

    /// Nothing is wrong any more: whoever has a path is heard, and nothing ends.
    fn listen(&mut self, tell: &mut dyn FnMut(&Self)) {
        // What was lost just before may be noticed yet.
        let end = self.world.elapsed() + NOTICED_WITHIN;
        self.until(end, tell);
        let there = |run: &Self, (a, b): (usize, usize)| {
            run.model.connected(a, b) && run.model.connected(b, a)
        };
        let pairs: Vec<_> = self.pairs().into_iter().filter(|pair| there(self, *pair)).collect();
        self.model.calm = true;
        for app in &mut self.apps {
            (app.talks, app.films) = (true, false);
        }
        let end = self.world.elapsed() + DRAINED_WITHIN;
        self.until(end, tell);
        for (a, b) in pairs.iter().flat_map(|(a, b)| [(*a, *b), (*b, *a)]) {
            self.model.heard(a, b);
        }
        let end = self.world.elapsed() + LISTENING;
        self.until(end, tell);
        for app in &mut self.apps {
            app.talks = false;
        }
        let now = self.world.elapsed();
        for (a, b) in pairs.iter().flat_map(|(a, b)| [(*a, *b), (*b, *a)]) {
            let heard = self.model.heard(a, b);
            if heard < LEAST_HEARD && self.room_for_audio(&pairs, a, b) {
                let what = format!("heard {heard} frames of p{b} in {LISTENING:?} of peace");
                self.model.violation(now, Some(a), what);
            }
        }
    }

    /// Whether the links have room for what `to` hears of `from` while all of these pairs talk.
    fn room_for_audio(&mut self, pairs: &[(usize, usize)], to: usize, from: usize) -> bool {
        let streams = |host| pairs.iter().filter(|(a, b)| *a == host || *b == host).count();
        let (sent, received) = (streams(from), streams(to));
        let (up, _) = self.rates(from);
        let (_, down) = self.rates(to);
        carries(up, sent) && carries(down, received)
    }

    /// What a host's slowest links up and down give, in bits per second.
    fn rates(&mut self, host: usize) -> (Option<u64>, Option<u64>) {
        let number = self.world.network_number(host);
        let network = self.world.network_mut();
        let addresses: Vec<_> = network.interfaces(number).collect();
        let (mut up, mut down) = (Vec::new(), Vec::new());
        for address in addresses {
            if let Some((of_up, of_down)) = network.link_mut(address) {
                up.extend(of_up.rate);
                down.extend(of_down.rate);
            }
        }
        (up.into_iter().min(), down.into_iter().min())
    }

    /// All pairs of one room.
    pub(super) fn pairs(&self) -> Vec<(usize, usize)> {
        let all = (0..self.apps.len()).flat_map(|a| (0..a).map(move |b| (b, a)));
        all.filter(|(a, b)| self.plan.peers[*a].room == self.plan.peers[*b].room).collect()
    }

    fn all_there(&self) -> bool {
        let there = |(a, b): &(usize, usize)| {
            !self.path(*a, *b) || (self.model.connected(*a, *b) && self.model.connected(*b, *a))
        };
        self.pairs().iter().all(there)
    }

    /// Calls whoever does not call by itself: in automatic worlds those alone that have parted by wish.
    pub(super) fn call_missing(&mut self) {
        for (a, b) in self.pairs() {
            if self.plan.automatic && !self.model.parted.are(a, b) {
                continue;
            }
            for (a, b) in [(a, b), (b, a)] {
                if self.path(a, b) && !self.model.connected(a, b) {
                    self.connect(a, b);
                }
            }
        }
    }

    /// What was sent reliably must arrive.
    fn deliver(&mut self, tell: &mut dyn FnMut(&Self)) {
        // Media come first: on a slow link they would leave no room for what is still to arrive.
        for app in &mut self.apps {
            (app.talks, app.films) = (false, false);
        }
        for (a, b) in self.pairs() {
            self.say(a, b, 60, true);
            self.say(b, a, 60, true);
        }
        let begun = self.world.elapsed();
        let missing = |run: &Self| -> Vec<(usize, usize, u64)> {
            let pairs = run.pairs();
            let both = pairs.into_iter().flat_map(|(a, b)| [(a, b), (b, a)]);
            let counts = both.map(|(a, b)| (a, b, run.model.missing(a, b)));
            counts.filter(|(.., count)| *count > 0).collect()
        };
        let count = |missing: &[(usize, usize, u64)]| missing.iter().map(|(.., n)| n).sum::<u64>();
        let mut left = missing(self);
        let (mut least, mut since) = (count(&left), begun);
        while let now = self.world.elapsed()
            && !left.is_empty()
            && now < (since + ARRIVES_WITHIN).min(begun + DELIVERED_WITHIN)
        {
            self.tick();
            (0..self.apps.len()).for_each(|host| self.count_given_up(host));
            tell(self);
            left = missing(self);
            if count(&left) < least {
                (least, since) = (count(&left), self.world.elapsed());
            }
        }
        let now = self.world.elapsed();
        if let Some((a, b, count)) = left.first() {
            let what = format!("{count} messages to p{b} have not arrived, nor are told as lost");
            self.model.violation(now, Some(*a), what);
        }
    }

    /// Large messages that nothing more comes of for 30 s are given up, and counted: such gaps are told.
    pub(super) fn count_given_up(&mut self, host: usize) {
        for info in self.world.hosts[host].transport.known_peers().unwrap_or_default() {
            if let Some(other) = number(info.peer.as_str()) {
                self.model.given_up(host, other, info.counters.messages_lost);
            }
        }
    }

    /// All leave, or in every other world all but one of each room; nothing of those that have left is left.
    fn part(&mut self, tell: &mut dyn FnMut(&Self)) {
        self.model.calm = false;
        if self.plan.seed % 2 == 1 {
            let mut rooms = BTreeSet::new();
            let peers = self.plan.peers.iter().enumerate();
            let first = peers.filter(|(_, peer)| rooms.insert(peer.room)).map(|(host, _)| host);
            self.survivors = first.collect();
        }
        for host in 0..self.apps.len() {
            if !self.survivors.contains(&host) {
                self.leave(host);
            }
        }
        let end = self.world.elapsed() + FORGOTTEN_WITHIN;
        while self.left().is_some() && self.world.elapsed() < end {
            self.tick();
            tell(self);
        }
        if let Some((host, what)) = self.left() {
            self.model.violation(self.world.elapsed(), host, what);
        }
    }

    /// What those that stay know of those that have left.
    fn left(&self) -> Option<(Option<usize>, String)> {
        let stay = self.survivors.len() as u64;
        let metrics = self.world.server().metrics();
        let (peers, connections) = (metrics.peers, metrics.connections);
        if peers != stay || connections != stay {
            let what =
                format!("{peers} peers and {connections} connections at the server, {stay} stay");
            return Some((None, what));
        }
        self.survivors.iter().find_map(|host| {
            let metrics = self.world.hosts[*host].transport.metrics();
            let (known, open) = (metrics.announced, metrics.connecting + metrics.connected);
            let what = format!("knows {known} peers and has {open} connections, and all have left");
            (known + open > 0).then_some((Some(*host), what))
        })
    }

    /// The report, with what machines hold too much of when all have left.
    pub(super) fn weighed(self, allocated: &dyn Fn() -> usize) -> Report {
        let Self { plan, world, model, timeline, .. } = self;
        let mut report = Report::new(plan, &world, model.violations, timeline);
        let held = world.held(allocated);
        let mut check = |host: Option<usize>, bytes: usize, most: usize| {
            if bytes > most {
                let what = format!("{bytes} bytes are held when all have left: at most {most}");
                report.violations.push(Violation { at: report.elapsed, host, what });
            }
        };
        for (host, bytes) in held.hosts.iter().enumerate() {
            check(Some(host), *bytes, HELD_BY_HOST + HELD_FOR_EACH * (plan.peers.len() - 1));
        }
        check(None, held.server, HELD_BY_SERVER);
        report
    }
}

/// Whether a link of this rate has room for so many streams of audio; `None`: a link without a limit.
fn carries(rate: Option<u64>, streams: usize) -> bool {
    rate.is_none_or(|rate| streams as u64 * RATE_OF_AUDIO <= rate)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Preset;
    use crate::scenario::{Options, Plan, Scenario};

    /// A world at its start with so many behind bad Wi-Fi, and all pairs of those.
    fn heard_by_all_of(peers: usize) -> bool {
        let mut options = Options::default();
        (options.scenario, options.peers) = (Some(Scenario::Talk), Some(peers + 1));
        options.preset = Some(Preset::BadWifi);
        let plan = Plan::draw(1, &options);
        let mut run = Run::new(&plan, false);
        let pairs: Vec<_> = (1..=peers).flat_map(|b| (1..b).map(move |a| (a, b))).collect();
        run.room_for_audio(&pairs, 1, 2)
    }

    #[test]
    fn thirteen_at_bad_wifi_hear_each_other_and_fourteen_need_not() {
        assert!(heard_by_all_of(13), "12 streams of 80,000 bit/s over 1,000,000");
        assert!(!heard_by_all_of(14), "13 streams");
    }

    #[test]
    fn whoever_has_room_for_all_must_be_heard_by_all() {
        assert!(carries(Preset::Lan.config().up.rate, 63));
        assert!(carries(None, 1_000), "a link without a limit");
    }
}
