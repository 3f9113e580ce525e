//! Opus by libopus (RFC 6716), through its float interface.

use std::fmt;
use std::time::Duration;

use opusic_c::{Bitrate, Decoder, Encoder, ErrorCode, InbandFec, SampleRate};

use super::audio::{AudioDecoder, AudioEncoder, OPUS_RATE};
use super::error::CodecError;
use super::settings::{Application, Channels, OpusSettings};
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

/// An Opus decoder.
pub struct OpusDecoder {
    native: Decoder,
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
            .map_err(backend("creating an Opus decoder"))?;
        Ok(Self { native, channels })
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
        self.native.decode_float_to_slice(packet, out, false).map_err(bad_packet(packet))
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
        self.native.decode_float_to_slice(next, room, true).map_err(bad_packet(next))
    }

    fn conceal(&mut self, duration: Duration, out: &mut [f32]) -> Result<usize, CodecError> {
        let room = self.room_for(duration, out)?;
        self.native.decode_float_to_slice(&[], room, false).map_err(backend("concealing a loss"))
    }

    fn reset(&mut self) {
        // The control call that resets has no way to fail on a live decoder; a new one would do the same.
        if self.native.reset().is_err() {
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
