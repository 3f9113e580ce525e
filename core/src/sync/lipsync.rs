//! Picture and sound at the same time.

use std::time::{Duration, Instant};

use super::clock::MediaTimestamp;
use super::ntp_map::NtpMap;
use super::stream::{SECOND, nanos, since, span};
use crate::trace::state::saved;

/// What is off by less is left alone: a tenth of what anyone notices (Recommendation ITU-R BT.1359-1:
/// sound 45 ms early, 125 ms late).
const DEAD_BAND: i64 = SECOND / 200;
/// What moves has come to rest where it changes by less from frame to frame.
const AT_REST: i64 = SECOND / 5_000;
/// The time constant by which what grows is followed, in nanoseconds. Two streams grow apart where a
/// packet came late, mostly for a moment; they come together again slowly, by playing faster, which is
/// followed as it is seen. A filter of 1 s is 25 ms late behind a queue that fills in 10 s, and 30 ms behind
/// the stalls of a radio: the error that matters is not the noise of reports (the maps have averaged it)
/// but lag.
const GROWTH: f64 = 7e7;
/// Audio waits a little longer than video needs, so that the hold of video can follow both.
const MARGIN: i64 = SECOND / 200;
/// Video that would still be late by so much, however long audio waits, is seen late (BT.1359-1): then
/// audio need not wait.
const SEEN: i64 = SECOND * 45 / 1_000;
/// The longest hold.
const MAX_HOLD: i64 = SECOND;
/// No audio for so long: it is muted. Opus sends a packet every 400 ms even of silence.
const MUTED: i64 = SECOND;
/// No video for so long: nothing is waited for.
const FROZEN: i64 = 2 * SECOND;
/// Streams further apart than that have no common clock.
const IMPLAUSIBLE: i64 = 10 * SECOND;
/// A clock map that has not settled by then is believed all the same.
const UNSETTLED: i64 = 15 * SECOND;
/// What a map's error is weighed with, in microseconds: half the confidence at as much.
const ERROR: f64 = 10_000.0;

/// When something was captured, by the sender's wall clock.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Capture {
    /// In microseconds since 1970.
    pub wall_clock_us: u64,
    /// How sure that is: 0 to 1.
    pub confidence: f64,
    /// False while the sender's clock may have made a step: until both streams have followed it, they
    /// can't be compared.
    pub settled: bool,
}

impl Capture {
    /// By a stream's map; `None` before its first sender report.
    pub fn of<T: MediaTimestamp>(map: &NtpMap<T>, timestamp: T) -> Option<Self> {
        let wall_clock_us = map.rtp_to_wall_clock(timestamp).ok()?;
        // One report does not tell the clock's pace, two don't tell their noise.
        let confidence = match (map.reports(), map.error_us()) {
            (_, Some(error)) => 1.0 / (1.0 + error / ERROR),
            (2, None) => 0.75,
            _ => 0.5,
        };
        Some(Self { wall_clock_us, confidence, settled: !map.is_unsettled() })
    }
}

/// How far picture and sound are apart.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub struct AvOffset {
    /// By how many milliseconds what is seen was captured later than what is heard at the same time:
    /// positive where video is ahead, negative where it is behind audio. 0 where that is not known.
    pub offset_ms: f64,
    /// How sure that is, 0 (not known: a stream has no clock or does not play) to 1.
    pub confidence: f64,
}

saved!(struct AvOffset { offset_ms, confidence });

/// Keeps picture and sound together.
///
/// It is told when each frame of audio and of video was captured, by the sender's clock, and when it is
/// played. Video that is ahead is held back by what it is ahead ([`Self::hold`], for
/// [`super::VideoBuffer::set_hold`]). Video that is behind is waited for by audio
/// ([`Self::audio_least`], for [`super::JitterBuffer::set_least`]), which gets there by stretching. What
/// needs a longer wait than the limit is shown late; where that would be seen however long audio waits,
/// audio does not wait at all.
///
/// At rest 95 % of the frames are within 10 ms of their sound, mostly within 7. What nobody can foresee is audio that
/// runs dry: it is late at once, by a packet or so, while the picture is shown already. Over radios that stall and
/// queues that fill it does so often enough that in 7 calls of 1,250 the 95th percentile is above 10 ms, 11.7 at most
/// (modelled, 90 s each); neither a smaller dead band nor a faster filter changes that.
///
/// Both are worked out from what the two buffers do by themselves, never from the result, so that nothing
/// swings. Only differences of instants, and of wall-clock times, matter. Nothing is allocated.
#[derive(Debug, Clone)]
pub struct LipSync {
    patience: i64,
    /// What all times are relative to.
    origin: Option<(Instant, u64)>,
    audio: Option<Audio>,
    /// When video was shown last.
    video: Option<i64>,
    /// Since when the clocks are unsettled.
    unsettled: Option<i64>,
    /// How much later than video audio is played, both by themselves.
    behind: Smooth,
    /// The delay, above its fastest transit, by which audio would be with video.
    needed: Smooth,
    hold: i64,
    /// Whether the hold follows, or rests within the dead band.
    moving: bool,
    least: i64,
    /// Whether waiting is for nothing.
    hopeless: bool,
    offset: AvOffset,
}

saved!(struct LipSync {
    patience, origin, audio, video, unsettled, behind, needed, hold, moving, least, hopeless,
    offset,
});

/// The last frame of audio.
#[derive(Debug, Clone, Copy)]
struct Audio {
    /// From capture to playout: nanoseconds of which only differences mean anything.
    lag: i64,
    /// And to the arrival, had it come by the fastest way.
    fastest: i64,
    played: i64,
    confidence: f64,
    settled: bool,
}

saved!(struct Audio { lag, fastest, played, confidence, settled });

impl LipSync {
    /// The longest hold of audio for video that is fit for a conversation: what makes up for video that
    /// comes 200 ms later than audio over a usual network. Delays up to 400 ms are usable, by
    /// Recommendation ITU-T G.114.
    pub const PATIENCE: Duration = Duration::from_millis(250);

    /// One by which audio is held for at most `patience` to wait for video: see [`Self::PATIENCE`].
    pub fn new(patience: Duration) -> Self {
        Self {
            patience: nanos(patience).min(MAX_HOLD),
            origin: None,
            audio: None,
            video: None,
            unsettled: None,
            behind: Smooth::default(),
            needed: Smooth::default(),
            hold: 0,
            moving: false,
            least: 0,
            hopeless: false,
            offset: AvOffset::default(),
        }
    }

    /// A packet of audio, which would have arrived at `earliest` by the fastest way of late
    /// ([`super::JitterBuffer::earliest`]), is played at `played`: when its first sample leaves the
    /// loudspeaker, as far as is known.
    pub fn audio(&mut self, capture: Option<Capture>, earliest: Instant, played: Instant) {
        let Some(capture) = capture else {
            self.audio = None;
            return;
        };
        let (lag, at) = self.lag(capture, played);
        let (fastest, _) = self.lag(capture, earliest);
        let Capture { confidence, settled, .. } = capture;
        self.audio = Some(Audio { lag, fastest, played: at, confidence, settled });
        if self.video.is_none_or(|video| at.saturating_sub(video) > FROZEN) {
            self.least = 0;
            self.needed = Smooth::default();
        }
    }

    /// A frame of video is shown at `shown`, planned for `planned` by its buffer but for any hold, and
    /// for `heading` as soon as its delay has got there. Decides anew, and gives how far it is from the
    /// audio.
    pub fn video(
        &mut self,
        capture: Option<Capture>,
        (planned, heading): (Instant, Instant),
        shown: Instant,
    ) -> AvOffset {
        self.offset = AvOffset::default();
        let Some(capture) = capture else {
            // Its report is still to come: what was right before is likelier than nothing.
            if let Some((origin, _)) = self.origin {
                self.video = Some(since(origin, shown));
            }
            return self.offset;
        };
        let (lag, at) = self.lag(capture, shown);
        let (planned, _) = self.lag(capture, planned);
        let (heading, _) = self.lag(capture, heading);
        let passed = self.video.replace(at).map_or(0, |before| at.saturating_sub(before));
        let Some(audio) = self.audio else { return self.offset };
        let offset = audio.lag.saturating_sub(lag);
        let muted = at.saturating_sub(audio.played) > MUTED;
        if muted || offset.saturating_abs() > IMPLAUSIBLE {
            self.let_go();
            return self.offset;
        }
        let settled = self.settled(capture.settled && audio.settled, at);
        let confidence = capture.confidence.min(audio.confidence).clamp(0.0, 1.0);
        let confidence = if settled { confidence } else { confidence / 2.0 };
        self.offset = AvOffset { offset_ms: offset as f64 / 1e6, confidence };
        if settled {
            self.decide(audio, (planned, heading), passed);
        }
        self.offset
    }

    /// How much later than by its own delay video is to be shown: 0 to 1 s.
    pub fn hold(&self) -> Duration {
        span(self.hold)
    }

    /// How long audio is to be held at least, above the fastest transit: 0 where it need not wait.
    pub fn audio_least(&self) -> Duration {
        span(self.least)
    }

    /// How far the last frame of video was from the audio.
    pub fn offset(&self) -> AvOffset {
        self.offset
    }

    /// Forgets everything but the limit.
    pub fn reset(&mut self) {
        *self = Self::new(span(self.patience));
    }

    /// How much later than its capture something is, but for a constant, and when that is.
    fn lag(&mut self, capture: Capture, at: Instant) -> (i64, i64) {
        let us = capture.wall_clock_us;
        let (origin, first) = *self.origin.get_or_insert((at, us));
        let at = since(origin, at);
        let captured = (i128::from(us) - i128::from(first)) * 1_000;
        let lag = i128::from(at) - captured;
        let most = i128::from(i64::MAX / 4);
        (lag.clamp(-most, most) as i64, at)
    }

    /// Whether the clocks can be believed.
    fn settled(&mut self, settled: bool, at: i64) -> bool {
        if settled {
            if self.unsettled.take().is_some() {
                // By the clock before, transits were others.
                self.needed = Smooth::default();
            }
            return true;
        }
        let since = *self.unsettled.get_or_insert(at);
        at.saturating_sub(since) > UNSETTLED
    }

    fn decide(&mut self, audio: Audio, (planned, heading): (i64, i64), passed: i64) {
        let behind = audio.lag.saturating_sub(planned);
        let hold = self.behind.follow(behind, passed).clamp(0, MAX_HOLD);
        let off = (hold - self.hold).abs();
        self.moving = off > if self.moving { AT_REST } else { DEAD_BAND };
        if self.moving || hold == 0 {
            self.hold = hold;
        }
        // Audio gets there as slowly as video does, so it sets out with it.
        let needed = self.needed.follow(heading.saturating_sub(audio.fastest), passed);
        let most = self.patience.saturating_add(if self.hopeless { 0 } else { SEEN });
        self.hopeless = needed > most;
        let least = needed.saturating_add(MARGIN).clamp(0, self.patience);
        if self.hopeless {
            self.least = 0;
        } else if (least - self.least).abs() > DEAD_BAND {
            self.least = least;
        }
    }

    /// Lets video run freely, and audio too.
    fn let_go(&mut self) {
        (self.hold, self.least, self.hopeless) = (0, 0, false);
        (self.behind, self.needed) = (Smooth::default(), Smooth::default());
    }
}

/// A filter of first order where values grow, none where they fall.
#[derive(Debug, Clone, Copy, Default)]
struct Smooth {
    value: Option<f64>,
}

saved!(struct Smooth { value });

impl Smooth {
    /// Takes what is seen after `passed` nanoseconds.
    fn follow(&mut self, seen: i64, passed: i64) -> i64 {
        let seen = seen as f64;
        let value = self.value.unwrap_or(seen);
        let share = 1.0 - (-(passed.clamp(0, SECOND) as f64) / GROWTH).exp();
        let value = if seen > value { value + (seen - value) * share } else { seen };
        self.value = Some(value);
        value as i64
    }
}

#[cfg(test)]
#[path = "lipsync_tests.rs"]
mod tests;
#[cfg(test)]
#[path = "lipsync_world.rs"]
mod world;
