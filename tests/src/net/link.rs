//! One direction of a link: what it delays, reorders, loses, doubles, damages and queues.

use std::time::Duration;

use rtcmesh_core::rng::Rng;

use super::stats::Lost;

/// By how much longer than the latency each datagram takes, each by chance.
///
/// None of them draws from anything but uniform numbers, sums and square roots, so that equal seeds
/// give equal times on every platform.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub enum Jitter {
    /// Not at all.
    #[default]
    None,
    /// Uniform between zero and this.
    Uniform(Duration),
    /// The absolute value of a normal distribution with this deviation (a sum of twelve uniform
    /// numbers): 0.8 of it on average, at most six times it.
    Normal(Duration),
    /// A heavy tail with this mean (Lomax, shape 2: the median is 0.41 of the mean, one in a hundred
    /// is nine times the mean), cut at [`Jitter::TAIL`] times the mean.
    HeavyTail(Duration),
}

impl Jitter {
    /// No delay of [`Jitter::HeavyTail`] is longer than this many times its mean.
    pub const TAIL: u32 = 50;

    pub(super) fn draw(self, rng: &mut Rng) -> Duration {
        match self {
            Self::None => Duration::ZERO,
            Self::Uniform(most) => most.mul_f64(rng.unit()),
            Self::Normal(deviation) => {
                let sum: f64 = (0..12).map(|_| rng.unit()).sum();
                deviation.mul_f64((sum - 6.0).abs())
            }
            Self::HeavyTail(mean) => {
                let factor = 1.0 / (1.0 - rng.unit()).sqrt() - 1.0;
                mean.mul_f64(factor.min(f64::from(Self::TAIL)))
            }
        }
    }
}

/// The pace of voice, by which an idle link's state goes on: the lengths of bursts are those of its packets.
const PACE: Duration = Duration::from_millis(20);

/// Which datagrams are lost under way.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub enum Loss {
    /// None.
    #[default]
    None,
    /// Each by chance, with this probability (0 to 1).
    Random(f64),
    /// Every one with this number, counted on the link; 0: none.
    Every(u64),
    /// In bursts (Gilbert 1960, Elliott 1963): the link is in a good or a bad state. Before each
    /// datagram it changes its state by chance, then loses the datagram with the state's probability.
    /// An idle link changes its state as often as packets of voice would make it.
    GilbertElliott {
        /// The probability of getting bad, 0 to 1.
        good_to_bad: f64,
        /// The probability of getting good again, 0 to 1: bursts last for its inverse on average.
        bad_to_good: f64,
        /// The probability of a loss in the good state, 0 to 1.
        loss_good: f64,
        /// The probability of a loss in the bad state, 0 to 1.
        loss_bad: f64,
    },
}

impl Loss {
    /// The share that is lost in the long run, 0 to 1.
    #[must_use]
    pub fn mean(self) -> f64 {
        match self {
            Self::None => 0.0,
            Self::Random(share) => share.clamp(0.0, 1.0),
            Self::Every(0) => 0.0,
            Self::Every(number) => 1.0 / number as f64,
            Self::GilbertElliott { good_to_bad, bad_to_good, loss_good, loss_bad } => {
                let bad = good_to_bad / (good_to_bad + bad_to_good).max(f64::MIN_POSITIVE);
                loss_good * (1.0 - bad) + loss_bad * bad
            }
        }
    }

    /// The link was idle for a time: its state goes on. Nothing is drawn where there is none, or for the pace of voice.
    fn idle(self, time: Duration, bad: &mut bool, rng: &mut Rng) {
        let Self::GilbertElliott { good_to_bad, bad_to_good, .. } = self else { return };
        let steps = (time.as_nanos() / PACE.as_nanos()).saturating_sub(1);
        if steps > 0 {
            // The chain's distribution after so many steps: what it was counts less and less.
            let share = good_to_bad / (good_to_bad + bad_to_good).max(f64::MIN_POSITIVE);
            let kept = (1.0 - good_to_bad - bad_to_good).powi(steps.min(10_000) as i32);
            let was = if *bad { 1.0 } else { 0.0 };
            *bad = happens(share + (was - share) * kept, rng);
        }
    }

    /// Whether the one with this number is lost; `bad` is the link's state. Draws nothing where nothing is lost.
    pub(super) fn strikes(self, count: u64, bad: &mut bool, rng: &mut Rng) -> bool {
        match self {
            Self::Every(number) => number > 0 && count.is_multiple_of(number),
            Self::None => false,
            Self::Random(share) => happens(share, rng),
            Self::GilbertElliott { good_to_bad, bad_to_good, loss_good, loss_bad } => {
                let changes = happens(if *bad { bad_to_good } else { good_to_bad }, rng);
                *bad ^= changes;
                happens(if *bad { loss_bad } else { loss_good }, rng)
            }
        }
    }
}

/// Whether something of this probability happens; nothing is drawn for what never does.
fn happens(probability: f64, rng: &mut Rng) -> bool {
    probability > 0.0 && rng.unit() < probability
}

/// One direction of a link. The default is perfect, with a latency of 1 ms.
#[derive(Debug, Clone, PartialEq)]
pub struct LinkConfig {
    /// How long a datagram is under way at least, after it has been sent in whole.
    pub latency: Duration,
    /// What comes on top by chance: datagrams overtake each other, unless `keep_order`.
    pub jitter: Jitter,
    /// Whether a datagram waits for those before it, as in a queue; otherwise it may overtake them.
    pub keep_order: bool,
    /// Which are lost.
    pub loss: Loss,
    /// The probability that one arrives twice, 0 to 1; both copies have a jitter of their own.
    pub duplicate: f64,
    /// The probability that one bit of one is flipped, 0 to 1. The receiver gets it nevertheless, as
    /// it does from hardware that fails behind the check of UDP's checksum.
    pub corrupt: f64,
    /// Bits per second; `None`: as many as there are. Headers of IP and UDP count.
    pub rate: Option<u64>,
    /// How many bytes wait for a link with a rate at most: what finds no room behind them is lost.
    /// An idle link takes a datagram of any size.
    pub queue: usize,
    /// The longest IP packet in bytes; longer ones are lost, as those are that may not be fragmented.
    pub mtu: usize,
}

impl Default for LinkConfig {
    fn default() -> Self {
        Self {
            latency: Duration::from_millis(1),
            jitter: Jitter::None,
            keep_order: false,
            loss: Loss::None,
            duplicate: 0.0,
            corrupt: 0.0,
            rate: None,
            queue: 64 * 1024,
            mtu: 1500,
        }
    }
}

impl LinkConfig {
    /// How long a packet of this many bytes takes to be sent; `None`: for ever.
    pub(super) fn sending(&self, bytes: usize) -> Option<Duration> {
        let Some(rate) = self.rate else { return Some(Duration::ZERO) };
        let nanos = (bytes as u128 * 8 * 1_000_000_000).checked_div(u128::from(rate))?;
        Some(Duration::from_nanos(u64::try_from(nanos).ok()?))
    }
}

/// One copy of a datagram that came through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Passed {
    /// When it is at the far end.
    pub(super) at: Duration,
    /// The bit of the payload that was flipped.
    pub(super) flipped: Option<usize>,
}

/// A direction with its state.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) config: LinkConfig,
    rng: Rng,
    /// When all that it has taken has been sent.
    busy_until: Duration,
    /// When the latest that came through is at the far end.
    latest: Duration,
    /// Whether it is in the bad state of [`Loss::GilbertElliott`], and when the latest datagram was sent.
    bad: bool,
    used: Duration,
    /// How many it has taken.
    count: u64,
}

impl Link {
    pub(super) fn new(config: LinkConfig, rng: Rng) -> Self {
        Self {
            config,
            rng,
            busy_until: Duration::ZERO,
            latest: Duration::ZERO,
            bad: false,
            used: Duration::ZERO,
            count: 0,
        }
    }

    /// Sends a datagram: its first copy, and its second one where there is one.
    ///
    /// `header` is what IP and UDP add to `payload`, all in bytes.
    pub(super) fn pass(
        &mut self,
        now: Duration,
        header: usize,
        payload: usize,
    ) -> Result<(Passed, Option<Passed>), Lost> {
        let bytes = header + payload;
        if bytes > self.config.mtu {
            return Err(Lost::Mtu);
        }
        self.count += 1;
        let sent = self.enqueue(now, bytes).ok_or(Lost::Queue)?;
        let idle = now.saturating_sub(std::mem::replace(&mut self.used, now));
        self.config.loss.idle(idle, &mut self.bad, &mut self.rng);
        if self.config.loss.strikes(self.count, &mut self.bad, &mut self.rng) {
            return Err(Lost::Loss);
        }
        let first = self.arrive(sent, payload);
        let twice = happens(self.config.duplicate, &mut self.rng);
        let second = twice.then(|| self.arrive(sent, payload));
        Ok((first, second))
    }

    /// When a packet has been sent in whole; `None`: there is no room for it.
    fn enqueue(&mut self, now: Duration, bytes: usize) -> Option<Duration> {
        let sending = self.config.sending(bytes)?;
        if let Some(rate) = self.config.rate
            && self.busy_until > now
        {
            let waiting = (self.busy_until - now).as_nanos() * u128::from(rate) / 8_000_000_000;
            if waiting + bytes as u128 > self.config.queue as u128 {
                return None;
            }
            self.busy_until += sending;
            return Some(self.busy_until);
        }
        self.busy_until = now + sending;
        Some(self.busy_until)
    }

    fn arrive(&mut self, sent: Duration, payload: usize) -> Passed {
        let mut at = sent + self.config.latency + self.config.jitter.draw(&mut self.rng);
        if self.config.keep_order {
            at = at.max(self.latest);
        }
        self.latest = self.latest.max(at);
        let damaged = payload > 0 && happens(self.config.corrupt, &mut self.rng);
        let flipped = damaged.then(|| (self.rng.next_u64() % (payload as u64 * 8)) as usize);
        Passed { at, flipped }
    }
}

#[cfg(test)]
#[path = "link_tests.rs"]
mod tests;
