//! Settings of audio, video and data.

use std::time::Duration;

use crate::error::{ConfigError, within};
use crate::media::VideoCodec;

/// What the application gets of received audio.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum Playout {
    /// Media is held for exactly the configured size of the buffer, above the fastest transit of late.
    Fixed,
    /// The delay starts there and moves between a floor and a maximum, to where delay and losses cost
    /// least together.
    #[default]
    Adaptive,
}

/// What an adaptive delay of playout prefers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
#[non_exhaustive]
pub enum PlayoutPreference {
    /// Little delay: for conversations.
    #[default]
    LowDelay,
    /// Few losses, for some half more delay.
    FewLosses,
}

/// Audio: Opus (RFC 6716), always announced as 48 kHz (RFC 7587).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
        within("audio.expected_loss_percent", self.expected_loss_percent, 0, 100, " %")
    }
}

/// Video: encoded frames pass through, both ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
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
        let video = VideoSettings { retransmission_packets: 1, ..VideoSettings::default() };
        assert_eq!(video.validate().unwrap_err().field, "video.retransmission_packets");
    }
}
