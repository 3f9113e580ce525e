//! What plays a trace with the core itself: its jitter buffer, its renderer, and speech in the packets.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use rtcmesh_core::sync::{
    AudioRenderer, Decode, JitterBuffer, Packet, PlayoutConfig, PlayoutTuning,
};

use super::engine::{Outcome, PULL, Record};
use super::trace::Trace;
use crate::stretch::signals;

/// Samples in a millisecond.
const PER_MS: f64 = 48.0;
/// Samples of a pull.
const PIECE: usize = (PULL * PER_MS) as usize;

/// What is said in the packets, over and over.
static SPEECH: LazyLock<Vec<f32>> =
    LazyLock::new(|| signals::speech().expect("the project ships its speech"));

/// Plays `trace`: its packets hold speech, and what is played is stretched as it really can be.
pub fn play(trace: &Trace, tuning: &PlayoutTuning) -> Outcome {
    let config = PlayoutConfig::adaptive(Duration::from_millis(50)).with_tuning(*tuning);
    let mut buffer = JitterBuffer::new(48_000, config);
    let mut renderer = AudioRenderer::new(1, tuning, 1);
    let mut speaker = Speaker::new(trace);
    let arrivals = trace.arrivals();
    let mut coming = arrivals.iter().copied().peekable();
    let origin = Instant::now();
    let at = |millis: f64| origin + Duration::from_nanos((millis.max(0.0) * 1e6) as u64);
    let samples = |n: usize| (n as f64 * trace.frame * PER_MS).round() as u64;
    let mut out = [0.0; PIECE];
    let (mut position, mut stretched) = (0_i64, 0);
    for pull in 0.. {
        let now = trace.phase + f64::from(pull) * PULL;
        if !speaker.record.at(now) {
            break;
        }
        while let Some((n, arrived)) = coming.next_if(|(_, at)| *at <= now) {
            buffer.insert(Packet {
                sequence: (1 << 16) + n as u64,
                rtp: samples(n) as u32,
                duration: (samples(n + 1) - samples(n)) as u32,
                dtx: false,
                arrived: at(arrived),
                payload: n,
            });
        }
        let rendered = renderer.render(&mut buffer, &mut speaker, at(now), &mut out);
        let made_up = (rendered.concealed + rendered.paused).min(PIECE) as f64 / PER_MS;
        if speaker.next.is_some() {
            speaker.record.make_up(made_up);
        }
        if let Some(rtp) = rendered.rtp {
            // The nearest place to the last one: timestamps wrap.
            position += i64::from(rtp.wrapping_sub(position as u32) as i32);
            speaker.record.play(position as f64 / PER_MS, PULL - made_up, 0.0);
        }
        let figures = renderer.statistics().stretch;
        let all = figures.inserted + figures.removed;
        speaker.record.stretch((all - stretched) as f64 / PER_MS);
        stretched = all;
    }
    speaker.record.outcome()
}

/// Speaks, and takes note of what is heard.
struct Speaker<'a> {
    trace: &'a Trace,
    record: Record<'a>,
    /// The packet behind the last one.
    next: Option<usize>,
    /// Made up since then, in milliseconds.
    made_up: f64,
    samples: usize,
}

impl<'a> Speaker<'a> {
    fn new(trace: &'a Trace) -> Self {
        let samples = (trace.frame * PER_MS).round() as usize;
        Self { trace, record: Record::new(trace), next: None, made_up: 0.0, samples }
    }

    fn say(out: &mut [f32], from: usize) {
        for (out, sample) in out.iter_mut().zip(SPEECH.iter().cycle().skip(from % SPEECH.len())) {
            *out = *sample;
        }
    }
}

impl Decode<usize> for Speaker<'_> {
    fn decode(&mut self, &n: &usize, out: &mut [f32]) -> Option<usize> {
        let next = self.next.unwrap_or(n);
        let missing = self.trace.packets.get(next..n).unwrap_or_default();
        let lost = missing.iter().filter(|packet| packet.arrival.is_none()).count();
        let late = lost < missing.len();
        if n < next || late || self.made_up - lost as f64 * self.trace.frame > 1.0 {
            self.record.glitch();
        }
        (self.next, self.made_up) = (Some(n + 1), 0.0);
        self.record.packet(n);
        let out = out.get_mut(..self.samples)?;
        Self::say(out, n * self.samples);
        Some(self.samples)
    }

    fn conceal(&mut self, frames: usize, out: &mut [f32]) -> Option<usize> {
        self.made_up += frames as f64 / PER_MS;
        // Something like what was before.
        Self::say(
            out.get_mut(..frames)?,
            (self.next.unwrap_or(1) * self.samples).saturating_sub(frames),
        );
        Some(frames)
    }

    fn covers(&self, _: &usize) -> usize {
        0
    }

    fn recover(&mut self, _: &usize, _: usize, _: usize, _: &mut [f32]) -> Option<usize> {
        None
    }
}
