//! Opus by libopus (RFC 6716), through its float interface.

use std::fmt;
use std::time::Duration;

use opusic_c::{Bitrate, Decoder, Encoder, ErrorCode, InbandFec, SampleRate};

use super::audio::{AudioDecoder, AudioEncoder, OPUS_RATE};
#[cfg(feature = "dred")]
use super::dred::{self, Redundancy};
use super::error::CodecError;
#[cfg(feature = "dred")]
use super::packet::{opus_packet_duration, opus_packet_has_fec};
use super::settings::{Application, Channels, OpusSettings};
use crate::config::Concealment;
use crate::error::ConfigError;

fn native_channels(channels: Channels) -> opusic_c::Channels {
    match channels {
        Channels::Mono => opusic_c::Channels::Mono,
        Channels::Stereo => opusic_c::Channels::Stereo,
    }
}

fn native_application(application: Application) -> opusic_c::Application {
    match application {
        Application::Voip => opusic_c::Application::Voip,
        Application::Audio => opusic_c::Application::Audio,
    }
}

fn backend(doing: &'static str) -> impl Fn(ErrorCode) -> CodecError {
    move |code| CodecError::Backend { doing, reason: code.message().to_owned() }
}

/// An Opus encoder.
pub struct OpusEncoder {
    native: Encoder,
    settings: OpusSettings,
}

impl OpusEncoder {
    /// An encoder with these settings.
    ///
    /// # Errors
    ///
    /// Names the field that is out of its bounds or that libopus refuses.
    pub fn new(settings: OpusSettings) -> Result<Self, ConfigError> {
        settings.validate()?;
        let native = create(&settings)?;
        let mut encoder = Self { native, settings: settings.clone() };
        encoder.apply(&settings)?;
        Ok(encoder)
    }

    fn apply(&mut self, settings: &OpusSettings) -> Result<(), ConfigError> {
        let refused = |field: &'static str| {
            move |code: ErrorCode| ConfigError::new(field, code.message().to_owned())
        };
        let fec = if settings.fec { InbandFec::Mode1 } else { InbandFec::Off };
        let native = &mut self.native;
        native.set_bitrate(Bitrate::Value(settings.bitrate)).map_err(refused("bitrate"))?;
        native.set_complexity(settings.complexity).map_err(refused("complexity"))?;
        native.set_inband_fec(fec).map_err(refused("fec"))?;
        #[cfg(feature = "dred")]
        native.set_dred_duration((settings.dred_ms / 10) as u8).map_err(refused("dred_ms"))?;
        native.set_dtx(settings.dtx).map_err(refused("dtx"))?;
        native
            .set_packet_loss(settings.expected_loss_percent)
            .map_err(refused("expected_loss_percent"))
    }
}

fn create(settings: &OpusSettings) -> Result<Encoder, ConfigError> {
    Encoder::new(
        native_channels(settings.channels),
        SampleRate::Hz48000,
        native_application(settings.application),
    )
    .map_err(|code| ConfigError::new("application", code.message().to_owned()))
}

impl AudioEncoder for OpusEncoder {
    fn settings(&self) -> &OpusSettings {
        &self.settings
    }

    fn configure(&mut self, settings: &OpusSettings) -> Result<(), ConfigError> {
        settings.validate()?;
        // libopus fixes both when an encoder is made.
        if settings.channels != self.settings.channels
            || settings.application != self.settings.application
        {
            self.native = create(settings)?;
            self.settings.channels = settings.channels;
            self.settings.application = settings.application;
        }
        self.apply(settings)?;
        self.settings = settings.clone();
        Ok(())
    }

    fn encode(&mut self, pcm: &[f32], out: &mut [u8]) -> Result<usize, CodecError> {
        let expected = self.settings.frame_samples() * self.settings.channels.count();
        if pcm.len() != expected {
            return Err(CodecError::invalid(
                "pcm",
                format!("{} samples, but a frame has {expected}", pcm.len()),
            ));
        }
        if out.is_empty() {
            return Err(CodecError::invalid("out", "no room"));
        }
        self.native.encode_float_to_slice(pcm, out).map_err(backend("encoding Opus"))
    }
}

impl fmt::Debug for OpusEncoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpusEncoder").field("settings", &self.settings).finish_non_exhaustive()
    }
}

#[cfg(not(feature = "dred"))]
type Native = Decoder;
#[cfg(feature = "dred")]
type Native = opusic_c::dred::Dred;

/// The decoder's complexity from which on libopus conceals by its networks, if it has them; with more it
/// would improve what was not lost, by networks that are not built in.
#[cfg(feature = "dred")]
const DEEP: u8 = 5;

/// An Opus decoder.
///
/// With the feature `dred` it recovers losses from deep redundancy, wherever a packet carries some, beside
/// in-band FEC; it then takes some 100 kB instead of 20 to 30.
pub struct OpusDecoder {
    native: Native,
    channels: Channels,
}

impl OpusDecoder {
    /// A decoder that gives `channels` at 48 kHz, whatever its packets have.
    ///
    /// # Errors
    ///
    /// [`CodecError::Backend`] when there is no memory for it.
    pub fn new(channels: Channels) -> Result<Self, CodecError> {
        let native = Decoder::new(native_channels(channels), SampleRate::Hz48000)
            .and_then(native)
            .map_err(backend("creating an Opus decoder"))?;
        Ok(Self { native, channels })
    }

    /// Changes how losses are made up. Without the feature `dred` [`Concealment::Deep`] is the same as
    /// [`Concealment::Classic`].
    #[cfg_attr(not(feature = "dred"), expect(unused_variables))]
    pub fn set_concealment(&mut self, concealment: Concealment) {
        #[cfg(feature = "dred")]
        self.set_complexity(if concealment == Concealment::Deep { DEEP } else { 0 });
    }

    #[cfg(feature = "dred")]
    fn set_complexity(&mut self, complexity: u8) {
        // It is within its bounds, and nothing else can be wrong with it.
        if self.native().set_complexity(complexity).is_err() {
            tracing::warn!(complexity, "libopus refused the complexity of a decoder");
        }
    }

    fn native(&mut self) -> &mut Decoder {
        #[cfg(feature = "dred")]
        return self.native.decoder_mut();
        #[cfg(not(feature = "dred"))]
        &mut self.native
    }

    /// The part of `out` that `duration` fills.
    fn room_for<'a>(
        &self,
        duration: Duration,
        out: &'a mut [f32],
    ) -> Result<&'a mut [f32], CodecError> {
        let micros = duration.as_micros();
        if micros == 0 || !micros.is_multiple_of(2_500) || micros > 120_000 {
            return Err(CodecError::InvalidDuration(duration));
        }
        let samples = (micros * u128::from(OPUS_RATE) / 1_000_000) as usize;
        let needed = samples * self.channels.count();
        let given = out.len();
        out.get_mut(..needed).ok_or_else(|| {
            CodecError::invalid("out", format!("room for {given} samples, but {needed} are due"))
        })
    }
}

#[cfg(not(feature = "dred"))]
fn native(decoder: Decoder) -> Result<Native, ErrorCode> {
    Ok(decoder)
}

#[cfg(feature = "dred")]
fn native(decoder: Decoder) -> Result<Native, ErrorCode> {
    use opusic_c::dred::{DRED_PACKET_SIZE, Dred, dred_packet_size};
    // The binding makes as much room as its constant says, whatever libopus it was linked with.
    if dred_packet_size() > DRED_PACKET_SIZE {
        return Err(ErrorCode::Internal);
    }
    Dred::new(decoder)
}

fn bad_packet(packet: &[u8]) -> impl Fn(ErrorCode) -> CodecError {
    let size = packet.len();
    move |code| CodecError::InvalidPacket { size, reason: code.message() }
}

impl AudioDecoder for OpusDecoder {
    fn channels(&self) -> Channels {
        self.channels
    }

    fn decode(&mut self, packet: &[u8], out: &mut [f32]) -> Result<usize, CodecError> {
        // libopus takes no bytes for a loss as long as the whole buffer.
        if packet.is_empty() {
            return Err(CodecError::InvalidPacket { size: 0, reason: "a packet has bytes" });
        }
        self.native().decode_float_to_slice(packet, out, false).map_err(bad_packet(packet))
    }

    fn decode_fec(
        &mut self,
        next: &[u8],
        duration: Duration,
        out: &mut [f32],
    ) -> Result<usize, CodecError> {
        let room = self.room_for(duration, out)?;
        if next.is_empty() {
            return Err(CodecError::InvalidPacket { size: 0, reason: "a packet has bytes" });
        }
        self.native().decode_float_to_slice(next, room, true).map_err(bad_packet(next))
    }

    #[cfg(feature = "dred")]
    fn recoverable(&self, next: &[u8]) -> Duration {
        let copy = opus_packet_duration(next).filter(|_| opus_packet_has_fec(next));
        let reach = Redundancy::find(next).map(|found| found.reach()).unwrap_or_default();
        let length = opus_packet_duration(next).unwrap_or(Duration::MAX);
        let reach = if reach >= length { reach } else { Duration::ZERO };
        reach.max(copy.unwrap_or_default())
    }

    #[cfg(feature = "dred")]
    fn recover(
        &mut self,
        next: &[u8],
        before: Duration,
        duration: Duration,
        out: &mut [f32],
    ) -> Result<usize, CodecError> {
        // The copy is a worse recording; redundancy describes how it sounded.
        let last = before == duration && Some(duration) == opus_packet_duration(next);
        if last && opus_packet_has_fec(next) {
            return self.decode_fec(next, duration, out);
        }
        let mut packet = [0; dred::MAX_BYTES];
        let shift = before.saturating_sub(duration);
        let size = Redundancy::find(next).and_then(|found| found.shifted(shift, &mut packet));
        let Some(packet) = size.and_then(|size| packet.get(..size)) else {
            return self.conceal(duration, out);
        };
        let room = self.room_for(duration, out)?;
        self.native.decode_float_to_slice(packet, room).map_err(bad_packet(packet))
    }

    fn conceal(&mut self, duration: Duration, out: &mut [f32]) -> Result<usize, CodecError> {
        let room = self.room_for(duration, out)?;
        self.native().decode_float_to_slice(&[], room, false).map_err(backend("concealing a loss"))
    }

    fn reset(&mut self) {
        // The control call that resets has no way to fail on a live decoder; a new one would do the same.
        if self.native().reset().is_err() {
            tracing::warn!("libopus refused to reset a decoder");
        }
    }
}

impl fmt::Debug for OpusDecoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpusDecoder").field("channels", &self.channels).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "opus_tests.rs"]
mod tests;
