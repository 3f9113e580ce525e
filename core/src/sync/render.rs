//! Playing a stream of packets as audio without end, piece by piece.

use std::time::{Duration, Instant};

use super::clock::ClockError;
use super::control::{Control, Situation, Step};
use super::correction::DriftCorrection;
use super::jitter::JitterBuffer;
use super::noise::ComfortNoise;
use super::outlook::{Following, Outlook, reason};
use super::packet::ConcealReason;
use super::stream::{SECOND, span};
use super::stretch::{Command, StretchStatistics, Stretcher};
use super::tuning::PlayoutTuning;
use crate::trace::state::saved;

/// The rate of what is played, and of the timestamps: 48 kHz (RFC 7587, section 4.1).
const RATE: i64 = 48_000;

/// Decisions are taken for so many frames at once: 10 ms, as NetEq does.
const PIECE: usize = 480;

/// The longest packet, in frames: 120 ms (RFC 6716, section 3.2.5).
const LONGEST_PACKET: usize = 5_760;

/// Concealment comes in multiples of 2.5 ms, in frames, of which all durations of Opus are multiples.
const GRAIN: usize = 120;

/// To play faster for less than that, in nanoseconds, is not worth what is heard of it: 4 ms.
const LEAST_SHRINK: i64 = 4_000_000;

/// What the stretcher wants to see of what is to come, in frames: for the longest period and its
/// cross-fade to be left out, and for one to be repeated.
const AHEAD_TO_SHRINK: usize = 1_440;
const AHEAD_TO_GROW: usize = 240;

/// Concealment turns into background noise from here on, and is nothing else from there on, in frames:
/// 60 and 160 ms. Repeated periods begin to buzz where a voice would long have changed.
const FADE_FROM: i64 = 2_880;
const FADE_UNTIL: i64 = 7_680;
/// After so long without anything nothing is expected to come: 1 s.
const GIVE_UP: i64 = RATE;

/// After a pause begins the background is heard for so long, in frames, and then fades out within another
/// 100 ms: longer than the 400 ms between two packets of Opus' discontinuous transmission.
const NOISE: usize = 48_000;
const FADE_OUT: usize = 4_800;

/// Turns packets into samples of 48 kHz, interleaved.
///
/// Results are frames (samples of each channel); `None` is for what cannot be done. `out` has room for
/// what is asked, or for 120 ms.
pub trait Decode<T> {
    /// Decodes a packet.
    fn decode(&mut self, packet: &T, out: &mut [f32]) -> Option<usize>;

    /// Makes up `frames` (a multiple of 2.5 ms, at most 120 ms) that follow what was decoded.
    fn conceal(&mut self, frames: usize, out: &mut [f32]) -> Option<usize>;

    /// How many frames before its start can be recovered from a packet: from a copy of the packet before
    /// (in-band error correction, RFC 6716, section 2.1.7), or from redundancy that reaches further back.
    /// Fewer than the packet has count as none. It is asked often where something is missing.
    fn covers(&self, packet: &T) -> usize;

    /// Recovers `frames` from the packet `next`, of which the first lies so many `before` its start: of a
    /// whole hole from there on that is covered, this is the first piece.
    fn recover(&mut self, next: &T, before: usize, frames: usize, out: &mut [f32])
    -> Option<usize>;
}

/// What was played with one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Rendered {
    /// The RTP timestamp of the first frame; `None` before anything came, and in a pause.
    pub rtp: Option<u32>,
    /// How long after its fastest possible arrival the first frame was played.
    pub delay: Duration,
    /// The timestamp and the arrival of the packet that was decoded last, if one was.
    pub decoded: Option<(u32, Instant)>,
    /// How many frames were made up for packets that were not there.
    pub concealed: usize,
    /// Why the last of them were not there.
    pub reason: Option<ConcealReason>,
    /// How many frames belong to a pause of the sender: comfort noise, or silence.
    pub paused: usize,
}

/// What an [`AudioRenderer`] has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct RenderStatistics {
    /// Frames that were decoded from packets.
    pub decoded: u64,
    /// Frames of lost packets that were recovered from those behind them.
    pub copied: u64,
    /// Frames that were made up.
    pub concealed: u64,
    /// How often making up began.
    pub concealments: u64,
    /// Frames of pauses.
    pub paused: u64,
    /// Packets that could not be decoded, and were concealed.
    pub undecodable: u64,
    /// What was stretched.
    pub stretch: StretchStatistics,
}

saved!(struct RenderStatistics {
    decoded, copied, concealed, concealments, paused, undecodable, stretch,
});

/// Plays what a [`JitterBuffer`] holds: decodes it in time, stretches it to keep the delay, conceals what is
/// missing, fills pauses with the background, and follows the sender's clock by resampling.
///
/// [`Self::render`] can be called from an audio callback: it neither locks nor allocates, whatever comes
/// (the decoder's part aside; libopus does not either). The buffer is to be one for timestamps of 48 kHz.
#[derive(Debug)]
pub struct AudioRenderer {
    channels: usize,
    control: Control,
    stretcher: Stretcher,
    correction: DriftCorrection,
    noise: ComfortNoise,
    seed: u64,
    /// What comes from the decoder, and what goes into the correction.
    scratch: Box<[f32]>,
    piece: Box<[f32]>,
    /// Whether what is pushed next does not follow from what was pushed before.
    broken: bool,
    /// Whether the latest was made up.
    making_up: bool,
    /// Whether what was made up stands for packets that were not given up: if they come all the same, what
    /// they hold does not follow from it.
    pending: bool,
    /// How long the pause is, in frames.
    paused: usize,
    statistics: RenderStatistics,
}

saved!(struct AudioRenderer {
    channels, control, stretcher, correction, noise, seed, scratch, piece, broken, making_up,
    pending, paused, statistics,
} if is_possible);

impl AudioRenderer {
    /// A renderer of `channels`, 1 or 2 (other numbers become the nearest), for which it takes 200 or 400 kB.
    /// Equal seeds give equal comfort noise.
    pub fn new(channels: usize, tuning: &PlayoutTuning, seed: u64) -> Self {
        let channels = channels.clamp(1, 2);
        Self {
            channels,
            control: Control::new(tuning),
            stretcher: Stretcher::new(channels),
            correction: DriftCorrection::new(RATE as u32, channels),
            noise: ComfortNoise::new(channels, seed),
            seed,
            scratch: vec![0.0; LONGEST_PACKET * channels].into(),
            piece: vec![0.0; (PIECE + PIECE / 2) * channels].into(),
            broken: false,
            making_up: false,
            pending: false,
            paused: NOISE + FADE_OUT,
            statistics: RenderStatistics::default(),
        }
    }

    /// Whether all its parts have as many channels.
    fn is_possible(&self) -> bool {
        let channels = self.channels;
        (1..=2).contains(&channels)
            && self.stretcher.reel.channels() == channels
            && self.correction.channels() == channels
            && self.noise.channels() == channels
            && self.scratch.len() == LONGEST_PACKET * channels
            && self.piece.len() == (PIECE + PIECE / 2) * channels
    }

    /// Has what it finds in the samples pass a tape.
    #[cfg(feature = "opus")]
    pub(crate) fn record(&mut self, tape: crate::trace::Tape) {
        self.stretcher.tape = Some(tape);
    }

    /// How many channels come out.
    pub const fn channels(&self) -> usize {
        self.channels
    }

    /// Changes to `channels`, 1 or 2, as [`Self::new`] makes them. What waits is played all the same.
    pub fn set_channels(&mut self, channels: usize, tuning: &PlayoutTuning, seed: u64) {
        if channels.clamp(1, 2) == self.channels {
            return;
        }
        let mut old = std::mem::replace(self, Self::new(channels, tuning, seed));
        self.stretcher.tape = old.stretcher.tape.clone();
        let mut piece = [0.0; 2 * GRAIN];
        loop {
            let from = piece.get_mut(..GRAIN * old.channels).unwrap_or_default();
            let frames = old.stretcher.pull(from, Command::Normal);
            if frames == 0 {
                break;
            }
            let from = from.get(..frames * old.channels).unwrap_or_default();
            let mut to = [0.0; 2 * GRAIN];
            let frames = from.chunks_exact(old.channels).zip(to.chunks_exact_mut(self.channels));
            let mut count = 0;
            for (from, to) in frames {
                let mean = from.iter().sum::<f32>() / from.len() as f32;
                to.fill(mean);
                count += to.len();
            }
            self.stretcher.push(to.get(..count).unwrap_or_default());
        }
        // The figures go on.
        let stretched = old.stretcher.statistics();
        self.statistics = RenderStatistics { stretch: stretched, ..old.statistics };
        (self.broken, self.making_up, self.paused) = (old.broken, old.making_up, old.paused);
        self.pending = old.pending;
    }

    /// Corrects the sender's clock by this factor: above 1 where it is fast.
    ///
    /// # Errors
    ///
    /// [`ClockError::InvalidCorrectionFactor`] outside 0.99 to 1.01; nothing is changed then.
    pub fn set_correction(&mut self, factor: f64) -> Result<(), ClockError> {
        self.correction.set_factor(factor)
    }

    /// The figures.
    pub fn statistics(&self) -> RenderStatistics {
        let (before, since) = (self.statistics.stretch, self.stretcher.statistics());
        RenderStatistics { stretch: before.and(since), ..self.statistics }
    }

    /// Fills `out` with what is to be heard from `now` on. An incomplete frame at its end is not touched.
    pub fn render<T>(
        &mut self,
        buffer: &mut JitterBuffer<T>,
        decoder: &mut impl Decode<T>,
        now: Instant,
        out: &mut [f32],
    ) -> Rendered {
        let start = buffer.clock(now);
        let mut rendered = Rendered::default();
        let size = PIECE * self.channels;
        let whole = out.len() / self.channels * self.channels;
        let mut done = 0;
        for piece in out.get_mut(..whole).unwrap_or_default().chunks_mut(size) {
            let Some(start) = start else {
                piece.fill(0.0);
                rendered.paused += piece.len() / self.channels;
                continue;
            };
            let at = start.saturating_add(nanos(done));
            let mut source = Source { buffer, decoder, at, rendered };
            if done == 0 {
                self.start(&mut source, piece.len() / self.channels);
                self.stamp(&mut source);
            }
            self.correct(&mut source, piece);
            rendered = source.rendered;
            done += piece.len() / self.channels;
        }
        self.statistics.concealed += rendered.concealed as u64;
        self.statistics.paused += rendered.paused as u64;
        rendered
    }

    /// Says what is played next.
    fn stamp<T, D: Decode<T>>(&self, source: &mut Source<'_, T, D>) {
        if let Some(outlook) = source.outlook() {
            let inside = self.stretcher.waiting() + DriftCorrection::DELAY;
            source.rendered.rtp = Some(source.buffer.rtp(outlook.end - inside as i64));
            source.rendered.delay =
                span(self.delay(source, &outlook) + nanos(DriftCorrection::DELAY));
        }
    }

    /// How long after its fastest possible arrival the next frame is played, in nanoseconds.
    fn delay<T, D: Decode<T>>(&self, source: &Source<'_, T, D>, outlook: &Outlook) -> i64 {
        let place = outlook.end - self.stretcher.waiting() as i64;
        let media = source.buffer.scale.nanos(place);
        source.at.saturating_sub(media).saturating_sub(source.buffer.fastest().unwrap_or(0))
    }

    /// Fills `out` at the sender's pace.
    fn correct<T, D: Decode<T>>(&mut self, source: &mut Source<'_, T, D>, out: &mut [f32]) {
        let channels = self.channels;
        let mut given = 0;
        while let Some(rest @ [_, ..]) = out.get_mut(given * channels..) {
            let wanted = self.correction.wanted(rest.len() / channels).clamp(1, PIECE + PIECE / 2);
            let mut piece = std::mem::take(&mut self.piece);
            let input = piece.get_mut(..wanted * channels).unwrap_or_default();
            self.play(source, input);
            given += self.correction.process(input, rest).1;
            self.piece = piece;
        }
    }

    /// Fills `out` with what follows.
    fn play<T, D: Decode<T>>(&mut self, source: &mut Source<'_, T, D>, out: &mut [f32]) {
        let channels = self.channels;
        let frames = out.len() / channels;
        self.start(source, frames);
        source.buffer.drop_repeats();
        let outlook = source.outlook().map(|outlook| self.shed(source, outlook));
        let command = outlook.map_or(Command::Normal, |at| self.decide(source, &at, frames));
        let ahead = match command {
            Command::Normal => 0,
            Command::Grow | Command::GrowFast => AHEAD_TO_GROW,
            Command::Trim | Command::Shrink | Command::ShrinkFast => AHEAD_TO_SHRINK,
        };
        let mut done = 0;
        loop {
            let wanted = frames - done + ahead;
            while self.stretcher.waiting() < wanted && self.decode_next(source) {}
            let rest = out.get_mut(done * channels..).unwrap_or_default();
            done += self.stretcher.pull(rest, command);
            if done >= frames {
                return;
            }
            // Every way on pushes something or lets the next round decode.
            self.bridge(source, frames - done);
        }
    }

    /// Begins to play after a pause, if it is time within the next `frames`.
    fn start<T, D: Decode<T>>(&mut self, source: &mut Source<'_, T, D>, frames: usize) {
        let Some(due) = source.buffer.starts_at() else { return };
        let left = due.saturating_sub(source.at);
        if left >= nanos(frames) {
            return;
        }
        let lead = (left.max(0) * RATE / SECOND) as usize;
        let lead = lead.saturating_sub(self.stretcher.waiting());
        if lead > 0 {
            self.idle(source, lead);
        }
        source.buffer.begin();
        (self.broken, self.paused) = (true, 0);
    }

    /// Drops what nobody fetched in time, where more waits than the largest delay. Gives what comes next then.
    fn shed<T, D: Decode<T>>(
        &mut self,
        source: &mut Source<'_, T, D>,
        mut outlook: Outlook,
    ) -> Outlook {
        let scale = source.buffer.scale;
        let waiting = self.stretcher.waiting() as i64;
        let ready = |outlook: &Outlook| scale.nanos(outlook.ready + waiting);
        // A packet that has just come ends that much later than it begins.
        let most = source.buffer.longest().saturating_add(scale.nanos(outlook.step));
        if ready(&outlook) <= most {
            return outlook;
        }
        // What was decoded waits all the same: of long packets that alone may be more than the delay.
        let enough = source.buffer.held().max(nanos(2 * PIECE));
        while ready(&outlook) > enough && source.buffer.shed() {
            self.broken = true;
            outlook = source.outlook().unwrap_or_default();
        }
        outlook
    }

    fn decide<T, D: Decode<T>>(
        &mut self,
        source: &Source<'_, T, D>,
        outlook: &Outlook,
        frames: usize,
    ) -> Command {
        let at = self.situation(source, outlook);
        let (command, least, most) = match self.control.decide(&at, nanos(frames)) {
            Step::Grow { least: 0 } => (Command::Grow, 0, i64::MAX),
            Step::Grow { least } => (Command::GrowFast, least, i64::MAX),
            Step::Shrink { most, hurry: false } if most >= LEAST_SHRINK => {
                (Command::Shrink, 0, most)
            }
            Step::Trim { most } if most >= LEAST_SHRINK => (Command::Trim, 0, most),
            Step::Shrink { most, hurry: true } => (Command::ShrinkFast, 0, most),
            _ => (Command::Normal, 0, i64::MAX),
        };
        self.stretcher.bound(ticks(least), ticks(most));
        command
    }

    fn situation<T, D: Decode<T>>(
        &self,
        source: &Source<'_, T, D>,
        outlook: &Outlook,
    ) -> Situation {
        let scale = source.buffer.scale;
        let target = source.buffer.held();
        Situation {
            delay: self.delay(source, outlook),
            target,
            near: source.buffer.peak_below(target.saturating_add(nanos(PIECE))),
            usual: source.buffer.usual(),
            ready: scale.nanos(self.stretcher.waiting() as i64 + outlook.ready),
            gap: outlook.gap.map(|gap| scale.nanos(gap)),
            concealed: scale.nanos(outlook.concealed),
            packet: scale.nanos(outlook.step),
        }
    }

    /// Decodes what follows at once, if anything does.
    fn decode_next<T, D: Decode<T>>(&mut self, source: &mut Source<'_, T, D>) -> bool {
        let Source { buffer, decoder, .. } = source;
        buffer.drop_repeats();
        if self.stretcher.room() < LONGEST_PACKET {
            return false;
        }
        // What a join may leave out: no more than keeps the delay at the target. Where that is small, what
        // follows would not be there in time.
        let spare = buffer.over(source.at);
        let mut scratch = std::mem::take(&mut self.scratch);
        let found = match buffer.following(|packet| decoder.covers(packet)) {
            Following::Nothing => None,
            Following::Copy { before, length } => {
                let next = buffer.peek_next().map(|next| &next.payload);
                let frames =
                    next.and_then(|next| decoder.recover(next, before, length, &mut scratch));
                buffer.copied(before - length);
                self.statistics.copied += frames.unwrap_or(0) as u64;
                Some(frames.or_else(|| decoder.conceal(length, &mut scratch)))
            }
            Following::Packet => buffer.fetch().map(|packet| {
                let frames = decoder.decode(&packet.payload, &mut scratch);
                source.rendered.decoded = Some((packet.rtp, packet.arrived));
                self.statistics.decoded += frames.unwrap_or(0) as u64;
                frames.or_else(|| {
                    self.statistics.undecodable += 1;
                    let frames = (packet.duration as usize / GRAIN * GRAIN).clamp(GRAIN, 2 * PIECE);
                    source.rendered.concealed += frames;
                    decoder.conceal(frames, &mut scratch)
                })
            }),
        };
        if let Some(frames) = found.flatten() {
            let samples = scratch.get(..frames * self.channels).unwrap_or_default();
            self.noise.observe(samples);
            let pending = std::mem::take(&mut self.pending);
            if std::mem::take(&mut self.broken) || pending {
                self.stretcher.join(samples, ticks(spare));
            } else {
                self.stretcher.push(samples);
            }
            self.making_up = false;
        }
        self.scratch = scratch;
        found.is_some()
    }

    /// Nothing follows at once: pushes at least one frame of something else, or goes on behind the gap.
    fn bridge<T, D: Decode<T>>(&mut self, source: &mut Source<'_, T, D>, frames: usize) {
        let Some(outlook) = source.outlook() else { return self.idle(source, frames) };
        if outlook.gap.is_none() && (outlook.paused || outlook.concealed >= GIVE_UP) {
            source.buffer.pause();
            return self.idle(source, frames);
        }
        let at = self.situation(source, &outlook);
        match self.control.decide(&at, nanos(frames)) {
            Step::Skip => {
                // What exactly fills a gap is followed by what the decoder makes of the next packet, whether
                // or not it was known to be a gap. Another join would only cost time.
                let whole = outlook.gap.is_some_and(|gap| gap == outlook.concealed);
                self.broken |= !whole;
                self.pending = false;
                source.buffer.give_up(outlook.gap.unwrap_or(i64::MAX));
            }
            step => {
                let length = match step {
                    Step::Conceal { length } => ticks(length),
                    _ => frames,
                };
                let frames = length.clamp(1, PIECE).next_multiple_of(GRAIN);
                self.conceal(source, &outlook, frames);
            }
        }
    }

    fn conceal<T, D: Decode<T>>(
        &mut self,
        source: &mut Source<'_, T, D>,
        outlook: &Outlook,
        frames: usize,
    ) {
        let mut scratch = std::mem::take(&mut self.scratch);
        let samples = scratch.get_mut(..frames * self.channels).unwrap_or_default();
        let share = |concealed: i64| {
            let faded = (concealed - FADE_FROM) as f32 / (FADE_UNTIL - FADE_FROM) as f32;
            faded.clamp(0.0, 1.0)
        };
        let from = share(outlook.concealed);
        if from < 1.0 {
            let made = source.decoder.conceal(frames, samples).unwrap_or(0);
            samples.get_mut(made * self.channels..).unwrap_or_default().fill(0.0);
            self.noise.blend(samples, from, share(outlook.concealed + frames as i64));
        } else {
            self.noise.fill(samples);
        }
        self.stretcher.push(samples);
        self.scratch = scratch;
        source.buffer.concealed(frames as i64);
        source.rendered.concealed += frames;
        source.rendered.reason = Some(reason(outlook));
        self.statistics.concealments += u64::from(!self.making_up);
        (self.making_up, self.pending) = (true, true);
    }

    /// Pushes `frames` of a pause.
    fn idle<T, D>(&mut self, source: &mut Source<'_, T, D>, frames: usize) {
        let mut scratch = std::mem::take(&mut self.scratch);
        let samples = scratch.get_mut(..frames * self.channels).unwrap_or_default();
        let share = |paused: usize| {
            1.0 - (paused.saturating_sub(NOISE) as f32 / FADE_OUT as f32).clamp(0.0, 1.0)
        };
        let (from, to) = (share(self.paused), share(self.paused + frames));
        samples.fill(0.0);
        if from > 0.0 {
            self.noise.blend(samples, from, to);
        }
        self.stretcher.push(samples);
        self.scratch = scratch;
        self.paused = (self.paused + frames).min(NOISE + FADE_OUT);
        (self.broken, self.making_up, self.pending) = (true, false, false);
        source.rendered.paused += frames;
    }

    /// Whether the last pause is so long that only silence is played.
    pub fn is_silent(&self) -> bool {
        self.paused >= NOISE + FADE_OUT
    }

    /// Forgets the signal; figures and correction stay.
    pub fn reset(&mut self) {
        self.statistics = self.statistics();
        self.stretcher.reset();
        self.correction.reset();
        self.noise = ComfortNoise::new(self.channels, self.seed);
        (self.broken, self.making_up, self.pending) = (false, false, false);
        self.paused = NOISE + FADE_OUT;
    }
}

/// Where pieces come from.
struct Source<'a, T, D> {
    buffer: &'a mut JitterBuffer<T>,
    decoder: &'a mut D,
    at: i64,
    rendered: Rendered,
}

impl<T, D: Decode<T>> Source<'_, T, D> {
    fn outlook(&self) -> Option<Outlook> {
        self.buffer.outlook(|packet| self.decoder.covers(packet))
    }
}

fn nanos(frames: usize) -> i64 {
    frames as i64 * SECOND / RATE
}

/// As frames, rounded to the nearest.
fn ticks(nanos: i64) -> usize {
    let nanos = nanos.clamp(0, 10 * SECOND);
    ((nanos * RATE + SECOND / 2) / SECOND) as usize
}

#[cfg(test)]
#[path = "render_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "render_state_tests.rs"]
mod state_tests;
