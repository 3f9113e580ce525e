//! Received audio of one peer as samples, 10 ms at a time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::codec::OPUS_RATE;
use crate::config::Concealment;
use crate::media::AudioBuffer;
use crate::sync::{AudioRenderer, JitterBuffer, PlayoutTuning};
use crate::trace::Tape;
use crate::trace::state::saved;
use crate::transport::event::{AudioData, AudioFrame};
use crate::transport::playout::{Opus, PlayoutFigures, Sync};
use crate::transport::voice::{Voice, duration};

/// What is played at once: as devices ask for it.
const FRAME: Duration = Duration::from_millis(10);
const SAMPLES: usize = OPUS_RATE as usize / 100;

/// The timestamps that can be repeated to play slower, and a margin.
const REPEATED: i32 = 2 * OPUS_RATE as i32 / 100;

/// Who was asleep for longer, plays on from now: what should have been heard meanwhile is not made up for.
const ASLEEP: Duration = Duration::from_millis(200);

/// Plays the packets of a jitter buffer by a clock of 10 ms that starts with the first of them, and stops in
/// long pauses.
///
/// It takes its memory with the first packet. It gives as many channels as that one has, and two from the
/// first stereo packet on: a stereo encoder may send mono at times, which must not change the output,
/// but a sender that goes over to stereo is to be heard so.
#[derive(Debug)]
pub(super) struct Rendering {
    tuning: PlayoutTuning,
    seed: u64,
    renderer: Option<AudioRenderer>,
    decoder: Option<Voice>,
    tape: Option<Tape>,
    concealment: Concealment,
    stereo: bool,
    /// When the next frame is due, while frames follow each other.
    next: Option<Instant>,
    /// Before that nothing starts again.
    earliest: Option<Instant>,
    /// The timestamp of the last frame, and the one behind it.
    rtp: Option<u32>,
    behind: u32,
}

saved!(struct Rendering {
    tuning, seed, renderer, decoder, tape, concealment, stereo, next, earliest, rtp, behind,
});

impl Rendering {
    pub(super) fn new(tuning: PlayoutTuning, seed: u64, concealment: Concealment) -> Self {
        Self {
            tuning,
            seed,
            renderer: None,
            decoder: None,
            tape: None,
            concealment,
            stereo: false,
            next: None,
            earliest: None,
            rtp: None,
            behind: 0,
        }
    }

    /// Changes how losses are made up.
    pub(super) fn set_concealment(&mut self, concealment: Concealment) {
        self.concealment = concealment;
        if let Some(decoder) = &mut self.decoder {
            decoder.set_concealment(concealment);
        }
    }

    /// Has what is found in the contents of packets pass a tape.
    pub(super) fn record(&mut self, tape: &Tape) {
        self.tape = Some(tape.clone());
    }

    /// A packet comes in. Gives what is to wait in its place.
    pub(super) fn expect(&mut self, opus: Opus) -> Opus {
        self.stereo |= is_stereo(&opus);
        if self.tape.is_none() {
            return opus;
        }
        self.make_decoder();
        self.decoder.as_ref().map_or(opus.clone(), |decoder| decoder.expect(&opus))
    }

    /// Makes the decoder, where there is none of these channels.
    fn make_decoder(&mut self) {
        let channels = if self.stereo { 2 } else { 1 };
        if self.decoder.as_ref().is_none_or(|decoder| decoder.channels() != channels) {
            self.decoder = Voice::new(channels, self.concealment, self.tape.as_ref());
        }
    }

    pub(super) fn poll(&mut self, sync: &mut Sync, now: Instant) -> Option<AudioFrame> {
        loop {
            let due = self.poll_timeout(sync.audio()).filter(|due| *due <= now)?;
            let late = now.saturating_duration_since(due);
            let at = if late > ASLEEP { now } else { due };
            let frame = self.play(sync, at);
            if frame.is_some() {
                return frame;
            }
        }
    }

    fn play(&mut self, sync: &mut Sync, at: Instant) -> Option<AudioFrame> {
        let channels = if self.stereo { 2 } else { 1 };
        let (tuning, seed) = (&self.tuning, self.seed);
        let tape = &self.tape;
        let renderer = self.renderer.get_or_insert_with(|| {
            let mut renderer = AudioRenderer::new(channels, tuning, seed);
            if let Some(tape) = tape {
                renderer.record(tape.clone());
            }
            renderer
        });
        renderer.set_channels(channels, tuning, seed);
        // The factor was checked by who set it.
        let _ = renderer.set_correction(sync.correction_factor());
        // Whatever comes of it, time goes on.
        self.earliest = Some(at + FRAME);
        self.next = self.earliest;
        self.make_decoder();
        let (decoder, renderer) = (self.decoder.as_mut()?, self.renderer.as_mut()?);
        let mut samples = [0.0; 2 * SAMPLES];
        let out = samples.get_mut(..channels * SAMPLES)?;
        let rendered = renderer.render(sync.audio_mut(), decoder, at, out);
        if let (Some(first), Some((rtp, _))) = (rendered.rtp, rendered.decoded) {
            // What was decoded is played behind what is played now.
            let ahead = rtp.wrapping_sub(first) as i32;
            let ahead = duration(usize::try_from(ahead).unwrap_or(0).min(OPUS_RATE as usize));
            sync.heard(rtp, at + ahead);
        }
        let pause = rendered.rtp.is_none() && rendered.paused >= SAMPLES;
        if pause && renderer.is_silent() {
            self.next = None;
            return None;
        }
        let rtp = self.timestamp(rendered.rtp);
        let samples: Arc<[f32]> = (&*out).into();
        let audio = AudioBuffer { samples, sample_rate: OPUS_RATE, channels: channels as u16 };
        let frame = AudioFrame::new(rtp, at, AudioData::Decoded(audio));
        let (delay, concealed) = (rendered.delay, rendered.concealed > 0);
        Some(AudioFrame { delay, concealed, pause, ..frame })
    }

    /// The timestamp of what is played, if that is known: it goes back only where a stream starts afresh,
    /// though repeated periods do.
    fn timestamp(&mut self, rtp: Option<u32>) -> u32 {
        let (this, last) = (rtp.unwrap_or(self.behind), self.rtp.unwrap_or(self.behind));
        let ahead = this.wrapping_sub(last) as i32;
        let this = if (-REPEATED..0).contains(&ahead) { last } else { this };
        self.behind = this.wrapping_add(SAMPLES as u32);
        *self.rtp.insert(this)
    }

    pub(super) fn poll_timeout(&self, buffer: &JitterBuffer<Opus>) -> Option<Instant> {
        // A place may start in the past, of which something else was heard.
        self.next.or_else(|| buffer.poll_start().map(|start| Some(start).max(self.earliest))?)
    }

    pub(super) fn figures(&self) -> PlayoutFigures {
        let figures = self.renderer.as_ref().map(AudioRenderer::statistics).unwrap_or_default();
        PlayoutFigures {
            concealed: figures.concealed,
            concealments: figures.concealments,
            recovered: figures.copied,
            inserted: figures.stretch.inserted,
            removed: figures.stretch.removed,
            undecodable: figures.undecodable,
        }
    }
}

/// Whether a packet holds two channels (RFC 6716, section 3.1).
fn is_stereo(opus: &[u8]) -> bool {
    opus.first().is_some_and(|first| first & 0b100 != 0)
}
