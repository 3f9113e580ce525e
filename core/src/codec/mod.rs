//! Audio codecs behind small traits.
//!
//! The settings, the traits, the frame types and the reading of Opus headers are always there. The
//! Opus encoder and decoder, and the chain that turns any PCM into Opus frames, need the feature
//! `opus`, which bundles libopus.

mod audio;
#[cfg(feature = "dred")]
mod dred;
mod error;
#[cfg(feature = "opus")]
mod input;
mod level;
#[cfg(feature = "opus")]
mod mix;
#[cfg(feature = "opus")]
mod opus;
mod packet;
#[cfg(feature = "opus")]
mod resample;
mod settings;
#[cfg(test)]
pub(crate) mod signal;

pub use audio::{
    AudioChunk, AudioDecoder, AudioEncoder, EncodedFrame, MAX_PACKET_BYTES, MAX_PACKET_SAMPLES,
    OPUS_RATE,
};
pub use error::CodecError;
#[cfg(feature = "opus")]
pub use input::AudioInput;
pub use level::{SILENCE, audio_level};
#[cfg(feature = "opus")]
pub use opus::{OpusDecoder, OpusEncoder};
pub use packet::{opus_packet_duration, opus_packet_has_fec};
#[cfg(feature = "opus")]
pub use resample::Resampler;
pub use settings::{Application, Channels, OpusSettings};
