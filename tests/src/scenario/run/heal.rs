//! What comes after the faults: everything is put right, what can connect connects, what was sent arrives, all leave.

use std::time::Duration;

use super::super::model::number;
use super::Run;
use crate::net::Loss;

/// How long a path that is lost may go unnoticed: the engine's checks give up after this at most.
const NOTICED_WITHIN: Duration = Duration::from_secs(25);

/// How long all talk and listen, and how many frames of 20 ms each must hear at least: over the worst of the presets
/// some are lost.
const LISTENING: Duration = Duration::from_secs(3);
const LEAST_HEARD: u64 = 75;

/// When everything that can connect must have connected after the last fault: an attempt that had begun before takes
/// up to 30 s, and the next one 10 s.
const HEALED_WITHIN: Duration = Duration::from_secs(90);

/// How long what is on its way may take when nothing new is sent: a path that is dead is left within 30 s, and SCTP's pauses
/// end after 3 s (docs/upstream.md).
const DELIVERED_WITHIN: Duration = Duration::from_secs(45);

/// When the server must have forgotten everybody: those that left while they had no connection to it have a place that is
/// kept for them, and a connection that went silent counts as one until then.
const FORGOTTEN_WITHIN: Duration = Duration::from_secs(180);

impl Run<'_> {
    /// Everything is put right, and what can connect must connect, within a bound.
    pub(super) fn heal(&mut self, tell: &mut dyn FnMut(&Self)) {
        self.note("everything is put right".to_owned());
        for (_, undo) in std::mem::take(&mut self.undo) {
            self.put_right(&undo);
        }
        self.world.heal();
        self.world.weather().loss = Loss::None;
        for host in 0..self.apps.len() {
            self.calm_down(host);
            self.world.hosts[host].fetches = true;
            self.join(host);
        }
        self.paths();
        let healed = self.world.elapsed() + HEALED_WITHIN;
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
                let what =
                    format!("not connected with p{b} {HEALED_WITHIN:?} after all was put right");
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
        let end = self.world.elapsed() + Duration::from_secs(1);
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
            if heard < LEAST_HEARD {
                let what = format!("heard {heard} frames of p{b} in {LISTENING:?} of peace");
                self.model.violation(now, Some(a), what);
            }
        }
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

    pub(super) fn call_missing(&mut self) {
        for (a, b) in self.pairs() {
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
        let end = self.world.elapsed() + DELIVERED_WITHIN;
        let missing = |run: &Self| {
            let pairs = run.pairs();
            let both = pairs.into_iter().flat_map(|(a, b)| [(a, b), (b, a)]);
            both.map(|(a, b)| (a, b, run.model.missing(a, b))).find(|(.., count)| *count > 0)
        };
        while missing(self).is_some() && self.world.elapsed() < end {
            self.tick();
            (0..self.apps.len()).for_each(|host| self.count_given_up(host));
            tell(self);
        }
        let now = self.world.elapsed();
        if let Some((a, b, count)) = missing(self) {
            let what = format!("{count} messages to p{b} have not arrived, nor are told as lost");
            self.model.violation(now, Some(a), what);
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

    /// All leave; nothing of them is left.
    fn part(&mut self, tell: &mut dyn FnMut(&Self)) {
        self.model.calm = false;
        for host in 0..self.apps.len() {
            self.leave(host);
        }
        let end = self.world.elapsed() + FORGOTTEN_WITHIN;
        let left = |run: &Self| {
            let metrics = run.world.server().metrics();
            metrics.connections + metrics.peers > 0
        };
        while left(self) && self.world.elapsed() < end {
            self.tick();
            tell(self);
        }
        let metrics = self.world.server().metrics();
        if left(self) {
            let (peers, connections) = (metrics.peers, metrics.connections);
            let what =
                format!("{peers} peers and {connections} connections are left at the server");
            self.model.violation(self.world.elapsed(), None, what);
        }
    }
}
