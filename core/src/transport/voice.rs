//! libopus, for rendering.

use std::sync::Arc;
use std::time::Duration;

use crate::codec::{AudioDecoder, Channels, CodecError, OPUS_RATE, OpusDecoder};
use crate::config::Concealment;
use crate::sync::Decode;
use crate::trace::Tape;
use crate::trace::state::{Layout, Reader, Save, Unreadable, Writer};
use crate::transport::outgoing::OF_CODEC;

/// Decodes Opus packets for a [`crate::sync::AudioRenderer`]: libopus, which conceals what is missing, and
/// recovers it where the next packet has a copy (in-band error correction), or, with the feature `dred`, deep
/// redundancy of several before it.
///
/// Nothing is allocated after construction, and nothing locked.
#[derive(Debug)]
pub struct OpusVoice {
    opus: OpusDecoder,
}

impl OpusVoice {
    /// One that gives `channels`, 1 or 2 (other numbers become the nearest), whatever a packet has.
    ///
    /// # Errors
    ///
    /// [`CodecError::Backend`] where there is no memory.
    pub fn new(channels: usize) -> Result<Self, CodecError> {
        let channels = if channels < 2 { Channels::Mono } else { Channels::Stereo };
        Ok(Self { opus: OpusDecoder::new(channels)? })
    }

    /// Changes how losses are made up: [`OpusDecoder::set_concealment`].
    pub fn set_concealment(&mut self, concealment: Concealment) {
        self.opus.set_concealment(concealment);
    }

    /// How many channels come out.
    pub fn channels(&self) -> usize {
        self.opus.channels().count()
    }
}

impl Decode<Arc<[u8]>> for OpusVoice {
    fn decode(&mut self, packet: &Arc<[u8]>, out: &mut [f32]) -> Option<usize> {
        report(self.opus.decode(packet, out))
    }

    fn conceal(&mut self, frames: usize, out: &mut [f32]) -> Option<usize> {
        report(self.opus.conceal(duration(frames), out))
    }

    fn covers(&self, packet: &Arc<[u8]>) -> usize {
        frames(self.opus.recoverable(packet))
    }

    fn recover(
        &mut self,
        next: &Arc<[u8]>,
        before: usize,
        frames: usize,
        out: &mut [f32],
    ) -> Option<usize> {
        report(self.opus.recover(next, duration(before), duration(frames), out))
    }
}

/// A decoder of one peer's audio: libopus, past a tape where there is one. What it answers depends on contents, which
/// are not written down.
#[derive(Debug)]
pub(super) struct Voice {
    opus: OpusVoice,
    tape: Option<Tape>,
}

// What the decoder answers comes from the tape of a replay: its channels are all there is of it.
impl Save for Voice {
    fn layout(layout: &mut Layout) {
        layout.name("decoder");
    }

    fn save(&self, to: &mut Writer) {
        self.channels().save(to);
    }

    fn load(from: &mut Reader<'_>) -> Result<Self, Unreadable> {
        from.charge(OF_CODEC)?;
        let voice = Self::new(usize::load(from)?, Concealment::default(), Some(from.tape()));
        voice.ok_or_else(|| from.wrong("no decoder can be made"))
    }
}

/// Behind a packet's first bytes, while a recording is made or replayed: how much can be recovered from it.
const COVERS: usize = 4;

impl Voice {
    pub(super) fn new(
        channels: usize,
        concealment: Concealment,
        tape: Option<&Tape>,
    ) -> Option<Self> {
        let mut opus = report(OpusVoice::new(channels))?;
        opus.set_concealment(concealment);
        Some(Self { opus, tape: tape.cloned() })
    }

    pub(super) fn channels(&self) -> usize {
        self.opus.channels()
    }

    pub(super) fn set_concealment(&mut self, concealment: Concealment) {
        self.opus.set_concealment(concealment);
    }

    /// Asks once what can be recovered from a packet. In a replay it is kept in the packet that is given.
    pub(super) fn expect(&self, packet: &Arc<[u8]>) -> Arc<[u8]> {
        let Some(tape) = &self.tape else { return packet.clone() };
        if packet.len() < COVERS {
            return packet.clone();
        }
        let told = packet.len().into();
        let covers = tape.ask(("covers", 0), told, 0, || self.opus.covers(packet) as u16);
        if !tape.plays() {
            return packet.clone();
        }
        let mut stand_in = packet.to_vec();
        if let Some(place) = stand_in.get_mut(COVERS - 2..COVERS) {
            place.copy_from_slice(&covers.to_le_bytes());
        }
        stand_in.into()
    }

    /// Asks the decoder for samples; in a replay they are silence.
    fn ask(
        &mut self,
        op: &str,
        told: serde_json::Value,
        out: &mut [f32],
        live: impl FnOnce(&mut OpusVoice, &mut [f32]) -> Option<usize>,
    ) -> Option<usize> {
        let Some(tape) = &self.tape else { return live(&mut self.opus, out) };
        let most = out.len() / self.opus.channels();
        if tape.plays() {
            out.fill(0.0);
        }
        let opus = &mut self.opus;
        tape.ask((op, 0), told, None, || live(opus, out)).filter(|frames| *frames <= most)
    }
}

impl Decode<Arc<[u8]>> for Voice {
    fn decode(&mut self, packet: &Arc<[u8]>, out: &mut [f32]) -> Option<usize> {
        self.ask("decode", packet.len().into(), out, |opus, out| opus.decode(packet, out))
    }

    fn conceal(&mut self, frames: usize, out: &mut [f32]) -> Option<usize> {
        self.ask("conceal", frames.into(), out, |opus, out| opus.conceal(frames, out))
    }

    fn covers(&self, packet: &Arc<[u8]>) -> usize {
        let Some(tape) = &self.tape else { return self.opus.covers(packet) };
        match packet.get(COVERS - 2..COVERS) {
            Some(&[low, high]) if tape.plays() => u16::from_le_bytes([low, high]).into(),
            Some(_) => self.opus.covers(packet),
            None => 0,
        }
    }

    fn recover(
        &mut self,
        next: &Arc<[u8]>,
        before: usize,
        frames: usize,
        out: &mut [f32],
    ) -> Option<usize> {
        let told = serde_json::json!([next.len(), before, frames]);
        self.ask("recover", told, out, |opus, out| opus.recover(next, before, frames, out))
    }
}

pub(super) fn duration(frames: usize) -> Duration {
    Duration::from_nanos(frames as u64 * 1_000_000_000 / u64::from(OPUS_RATE))
}

/// Of less than a second.
fn frames(duration: Duration) -> usize {
    duration.as_micros() as usize * (OPUS_RATE as usize / 1_000) / 1_000
}

pub(super) fn report<T>(result: Result<T, CodecError>) -> Option<T> {
    result.inspect_err(|error| tracing::debug!(%error, "received audio is concealed")).ok()
}
