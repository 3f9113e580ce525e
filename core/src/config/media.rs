//! Settings of audio, video and data.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{ConfigError, within};
use crate::media::VideoCodec;
use crate::trace::state::saved;

/// What the application gets of received audio.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ReceivedAudio {
    /// Samples at 48 kHz, decoded at their playout time, with what was lost concealed. Without the
    /// feature `opus`, encoded frames.
    #[default]
    Decoded,
    /// Opus packets, in order, at their playout time.
    Encoded,
    /// Opus packets as they arrive, for who plays them by the clock of a device: they go into a
    /// [`JitterBuffer`](crate::sync::JitterBuffer) of its own, and from there to an
    /// [`AudioRenderer`](crate::sync::AudioRenderer) in the device's callback.
    Packets,
}

/// Whether the delay of playout follows the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, Serialize, Deserialize)]
pub enum Playout {
    /// Media is held for exactly the configured size of the buffer, above the fastest transit of late.
    Fixed,
    /// The delay starts there and moves between a floor and a maximum, to where delay and losses cost
    /// least together.
    #[default]
    Adaptive,
}

saved!(
    enum Playout {
        Fixed,
        Adaptive,
    }
);

/// What an adaptive delay of playout prefers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum PlayoutPreference {
    /// Little delay: for conversations.
    #[default]
    LowDelay,
    /// Few losses, for some half more delay.
    FewLosses,
}

/// How received audio is made up where nothing of it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Concealment {
    /// By what was heard before, repeated and faded out.
    #[default]
    Classic,
    /// By a network that foretells how a voice goes on: a little closer to what was lost, for voices alone.
    /// It needs the feature `dred`, and takes some five times as long as decoding does.
    Deep,
}

saved!(
    enum Concealment {
        Classic,
        Deep,
    }
);

/// Audio: Opus (RFC 6716), always announced as 48 kHz (RFC 7587).
///
/// # Deep redundancy
///
/// With the feature `dred` packets can carry a coarse description of up to a second before them (DRED,
/// draft-ietf-mlcodec-opus-dred): of a burst of losses whose end arrives in time, up to 230 ms are
/// recovered. Receivers need no setting; those without DRED take it for padding. As long as it is a draft,
/// both ends need the same version of it, that of libopus 1.6; others see none.
///
/// Encoding takes some three times as long with it; recovering 20 ms some 0.7 ms, 120 ms some 1.3 ms, once per
/// burst.
///
/// The encoder pays for it out of [`AudioSettings::bitrate`], and puts in only what it can afford at
/// [`AudioSettings::expected_loss_percent`]: nothing below 80 ms, and nothing where no loss is expected. In-band
/// FEC wants the same bits and is served first, so set [`AudioSettings::fec`] off with it. What packets reach back
/// with speech of one channel, in ms (`dred_ms` of 200 asks for up to 215):
///
/// | bitrate | 5 % | 10 % | 20 % | with FEC, 5 % | 10 % | 20 % |
/// | --- | --- | --- | --- | --- | --- | --- |
/// | 16,000 | - | - | - | - | - | - |
/// | 24,000 | 15 | 55 | 135 | - | - | - |
/// | 32,000 | 95 | 95 | 175 | - | - | 15 |
/// | 48,000 | 215 | 215 | 215 | - | - | 215 |
/// | 64,000 | 215 | 215 | 215 | - | 55 | 215 |
/// | 96,000 | 215 | 215 | 215 | 15 | 215 | 215 |
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AudioSettings {
    /// Whether audio is offered (default). Offered audio is answered in any case.
    pub enabled: bool,
    /// The encoder's channels: 1 or 2, default 1.
    pub channels: u8,
    /// The encoder's bitrate in bit/s: 16,000 to 510,000, default 32,000.
    pub bitrate: u32,
    /// The encoder's complexity: 0 to 10, default 9. CPU time grows about fourfold from 0 to 10.
    pub complexity: u8,
    /// In-band forward error correction (RFC 6716, section 2.1.7), default on: it costs bitrate only
    /// as [`AudioSettings::expected_loss_percent`] asks for.
    pub fec: bool,
    /// Discontinuous transmission: next to no packets in silence, default off.
    pub dtx: bool,
    /// The loss that the encoder prepares for, in percent: 0 to 100, default 5.
    pub expected_loss_percent: u8,
    /// How much of the past each packet carries as deep redundancy (DRED), in milliseconds: 0 to 1,040, a
    /// multiple of 10, default 0. More than 0 needs the feature `dred`. See the type's documentation.
    pub dred_ms: u16,
    /// How lost audio is made up. [`Concealment::Deep`] needs the feature `dred`.
    pub concealment: Concealment,
    /// What the application gets.
    pub received: ReceivedAudio,
}

impl Default for AudioSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            channels: 1,
            bitrate: 32_000,
            complexity: 9,
            fec: true,
            dtx: false,
            expected_loss_percent: 5,
            dred_ms: 0,
            concealment: Concealment::default(),
            received: ReceivedAudio::default(),
        }
    }
}

impl AudioSettings {
    /// How much audio one packet carries: 20 ms, the value that RFC 7587, section 3.1.3, recommends.
    pub const FRAME: Duration = Duration::from_millis(20);

    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        within("audio.channels", self.channels, 1, 2, "")?;
        within("audio.bitrate", self.bitrate, 16_000, 510_000, " bit/s")?;
        within("audio.complexity", self.complexity, 0, 10, "")?;
        within("audio.expected_loss_percent", self.expected_loss_percent, 0, 100, " %")?;
        check_dred("audio.dred_ms", self.dred_ms)?;
        if self.concealment == Concealment::Deep && !cfg!(feature = "dred") {
            let reason = "this build has no deep concealment (feature `dred`)";
            return Err(ConfigError::new("audio.concealment", reason.to_owned()));
        }
        Ok(())
    }
}

/// Checks how much deep redundancy is wanted: 0 to 1 040 ms (`DRED_MAX_FRAMES` of libopus, of 10 ms).
pub(crate) fn check_dred_bounds(field: &'static str, millis: u16) -> Result<(), ConfigError> {
    within(field, millis, 0, 1_040, " ms")?;
    if !millis.is_multiple_of(10) {
        return Err(ConfigError::new(field, format!("{millis} ms is no multiple of 10 ms")));
    }
    Ok(())
}

/// The same, and whether this build has any.
pub(crate) fn check_dred(field: &'static str, millis: u16) -> Result<(), ConfigError> {
    check_dred_bounds(field, millis)?;
    if millis > 0 && !cfg!(feature = "dred") {
        let reason = "this build has no deep redundancy (feature `dred`)";
        return Err(ConfigError::new(field, reason.to_owned()));
    }
    Ok(())
}

/// Video: encoded frames pass through, both ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct VideoSettings {
    /// Whether video is offered, default off. Offered video is answered in any case.
    pub enabled: bool,
    /// The codec that is offered first, default VP9; the others follow.
    pub codec: VideoCodec,
    /// The encoded packets kept for retransmission per peer: 32 to 4,096, default 256. The memory
    /// of a video sender is mostly this.
    pub retransmission_packets: usize,
}

impl Default for VideoSettings {
    fn default() -> Self {
        Self { enabled: false, codec: VideoCodec::Vp9, retransmission_packets: 256 }
    }
}

impl VideoSettings {
    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        within("video.retransmission_packets", self.retransmission_packets, 32, 4_096, "")
    }
}

/// The reliability of data messages that state none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub enum DataChannelMode {
    /// Reliable and ordered: the channel `data`.
    #[default]
    Reliable,
    /// Neither: the channel `data-unreliable`, without retransmissions.
    Unreliable,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_name_the_field() {
        let audio = AudioSettings::default();
        assert_eq!(audio.validate(), Ok(()));
        let field = |audio: AudioSettings| audio.validate().unwrap_err().field;
        assert_eq!(field(AudioSettings { channels: 3, ..audio }), "audio.channels");
        assert_eq!(field(AudioSettings { bitrate: 15_999, ..audio }), "audio.bitrate");
        assert_eq!(field(AudioSettings { complexity: 11, ..audio }), "audio.complexity");
        let lossy = AudioSettings { expected_loss_percent: 101, ..audio };
        assert_eq!(field(lossy), "audio.expected_loss_percent");
        let deep = |dred_ms| AudioSettings { dred_ms, ..audio };
        assert_eq!(field(deep(1_050)), "audio.dred_ms");
        assert_eq!(field(deep(85)), "audio.dred_ms");
        let video = VideoSettings { retransmission_packets: 1, ..VideoSettings::default() };
        assert_eq!(video.validate().unwrap_err().field, "video.retransmission_packets");
    }
    #[test]
    fn what_needs_the_networks_is_refused_without_them() {
        let audio = AudioSettings::default();
        let field = |audio: AudioSettings| audio.validate().err().map(|error| error.field);
        let without = |name| (!cfg!(feature = "dred")).then_some(name);
        assert_eq!(field(AudioSettings { dred_ms: 100, ..audio }), without("audio.dred_ms"));
        let deep = AudioSettings { concealment: Concealment::Deep, ..audio };
        assert_eq!(field(deep), without("audio.concealment"));
    }
}
