//! What plays a trace as a model policy decides.

use super::engine::{Outcome, PULL, Record};
use super::trace::Trace;

/// What a policy is told before each pull. Times are milliseconds.
#[derive(Debug, Clone, Copy)]
pub struct View {
    /// The time of the pull.
    pub now: f64,
    /// The RTP time of what follows.
    pub media: f64,
    /// How much is there without a gap.
    pub ready: f64,
    /// How much is missing before what is there behind, if anything is.
    pub gap: Option<f64>,
    /// How much was made up since something was played.
    pub made_up: f64,
    /// What waits in all, with its gaps.
    pub buffered: f64,
}

/// What to do with a pull.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Action {
    /// Play.
    Play,
    /// Insert at least so many milliseconds, if the stretcher can.
    Slower(f64),
    /// Take out at most so many milliseconds, if it can.
    Faster(f64),
    /// The same as often as it can.
    Fastest(f64),
    /// Make something up.
    Conceal,
    /// Go on behind what is missing.
    Skip,
}

/// Decides what happens with each pull.
pub trait Policy {
    /// Packet of RTP time `media` arrived at `now`, in milliseconds.
    fn arrived(&mut self, now: f64, media: f64);
    /// What to do with this pull. [`Action::Skip`] is asked again.
    fn decide(&mut self, view: &View) -> Action;
    /// Audio was inserted (positive) or taken out, in milliseconds.
    fn stretched(&mut self, _length: f64) {}
    /// Whether nothing is played yet.
    fn waits(&mut self, view: &View) -> bool {
        view.ready < PULL
    }
}

/// Changes the length of what is played. The seam for a real one.
pub trait Stretcher {
    /// How much it would insert or take out at `now`, with `ready` milliseconds of audio at hand; 0 where
    /// it cannot.
    fn change(&mut self, now: f64, ready: f64, action: Action) -> f64;
}

/// Inserts or takes out 8 ms, at most every 60 ms, or every 20 ms in a hurry: a voice's pitch
/// period, as often as one can be repeated unheard.
#[derive(Debug, Default)]
pub struct Idealised {
    next: f64,
}

/// What is inserted or taken out at once, in milliseconds.
const QUANTUM: f64 = 8.0;

impl Stretcher for Idealised {
    fn change(&mut self, now: f64, ready: f64, action: Action) -> f64 {
        let (change, pause) = match action {
            Action::Slower(least) if least <= QUANTUM => (QUANTUM, 60.0),
            Action::Faster(most) if most >= QUANTUM => (-QUANTUM, 60.0),
            Action::Fastest(most) if most >= QUANTUM => (-QUANTUM, 20.0),
            _ => return 0.0,
        };
        if now < self.next || ready < PULL - change.min(0.0) {
            return 0.0;
        }
        self.next = now + pause;
        change
    }
}

/// What arrived of a trace, and how far it is played.
struct Player<'a> {
    trace: &'a Trace,
    record: Record<'a>,
    there: Vec<bool>,
    /// The packet that is decoded next.
    next: usize,
    /// One more than the last packet that arrived, in the order of sending.
    end: usize,
    /// Decoded, not yet played, in milliseconds.
    left: f64,
    /// Inserted by the stretcher, not yet played.
    extra: f64,
    /// Made up since the last packet.
    made_up: f64,
    /// What the network lost of what was given up since then.
    lost: f64,
    /// Whether something that arrives was given up.
    late: bool,
}

/// Plays `trace` by `policy`.
pub fn play(trace: &Trace, policy: &mut dyn Policy, stretcher: &mut dyn Stretcher) -> Outcome {
    let arrivals = trace.arrivals();
    let mut coming = arrivals.iter().copied().peekable();
    let mut player = Player {
        trace,
        record: Record::new(trace),
        there: vec![false; trace.packets.len()],
        next: arrivals.first().map_or(0, |first| first.0),
        end: 0,
        left: 0.0,
        extra: 0.0,
        made_up: 0.0,
        lost: 0.0,
        late: false,
    };
    let mut started = false;
    for pull in 0.. {
        let now = trace.phase + f64::from(pull) * PULL;
        if !player.record.at(now) {
            break;
        }
        while let Some((n, at)) = coming.next_if(|(_, at)| *at <= now) {
            player.take_in(n, started);
            policy.arrived(at, n as f64 * trace.frame);
        }
        started = started || (player.end > 0 && !policy.waits(&player.view(now)));
        if started {
            player.pull(now, policy, stretcher);
        }
    }
    player.record.outcome()
}

impl Player<'_> {
    fn take_in(&mut self, n: usize, started: bool) {
        if !started {
            self.next = self.next.min(n);
        }
        self.there[n] = n >= self.next;
        self.end = self.end.max(n + 1);
    }

    fn view(&self, now: f64) -> View {
        let frame = self.trace.frame;
        let waiting = self.there.get(self.next..self.end.max(self.next)).unwrap_or_default();
        let ready = waiting.iter().take_while(|there| **there).count();
        let behind = waiting.iter().skip(ready).position(|there| *there);
        View {
            now,
            media: self.next as f64 * frame - self.left,
            ready: self.left + ready as f64 * frame,
            gap: behind.map(|missing| missing as f64 * frame),
            made_up: self.made_up,
            buffered: self.left + waiting.len() as f64 * frame,
        }
    }

    fn pull(&mut self, now: f64, policy: &mut dyn Policy, stretcher: &mut dyn Stretcher) {
        let mut view = self.view(now);
        let mut action = policy.decide(&view);
        while action == Action::Skip && view.gap.is_some() {
            self.skip();
            view = self.view(now);
            action = policy.decide(&view);
        }
        let mut wanted = PULL;
        if action != Action::Conceal {
            wanted -= self.stretch(&view, action, policy, stretcher);
        }
        while wanted > 0.0 {
            if self.left <= 0.0 && (action == Action::Conceal || !self.decode()) {
                let missing = view.gap.map_or(f64::INFINITY, |gap| gap - self.made_up);
                let length = wanted.min(missing.max(0.0));
                self.record.make_up(length);
                self.made_up += length;
                wanted -= length;
                if wanted > 0.0 {
                    self.skip();
                    (view.gap, action) = (None, Action::Play);
                }
                continue;
            }
            let length = self.left.min(wanted);
            let media = self.next as f64 * self.trace.frame - self.left;
            self.record.play(media, length, PULL - wanted);
            self.left -= length;
            wanted -= length;
        }
    }

    /// Changes the length of what follows; how much of the pull was inserted.
    fn stretch(
        &mut self,
        view: &View,
        action: Action,
        policy: &mut dyn Policy,
        stretcher: &mut dyn Stretcher,
    ) -> f64 {
        let change = stretcher.change(view.now, view.ready, action);
        if change != 0.0 {
            policy.stretched(change);
            self.record.stretch(change.abs());
        }
        self.extra += change.max(0.0);
        let mut out = (-change).max(0.0);
        while out > 0.0 && (self.left > 0.0 || self.decode()) {
            let length = self.left.min(out);
            self.left -= length;
            out -= length;
        }
        let inserted = self.extra.min(PULL);
        self.extra -= inserted;
        inserted
    }

    /// Gives up what is missing before what is there.
    fn skip(&mut self) {
        while self.next < self.end && !self.there[self.next] {
            match self.trace.packets[self.next].arrival {
                Some(_) => self.late = true,
                None => self.lost += self.trace.frame,
            }
            self.next += 1;
        }
    }

    fn decode(&mut self) -> bool {
        if self.next >= self.end || !self.there[self.next] {
            return false;
        }
        if self.late || self.made_up - self.lost > 1.0 {
            self.record.glitch();
        }
        (self.late, self.made_up, self.lost) = (false, 0.0, 0.0);
        self.record.packet(self.next);
        self.next += 1;
        self.left += self.trace.frame;
        true
    }
}

#[cfg(test)]
#[path = "playout_tests.rs"]
mod tests;
