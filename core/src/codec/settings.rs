//! The settings of the Opus encoder, with their bounds.

use std::time::Duration;

use super::audio::OPUS_RATE;
use crate::config::check_dred;
use crate::error::ConfigError;

/// How many channels a stream of samples has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
#[repr(u8)]
pub enum Channels {
    /// One.
    #[default]
    Mono = 1,
    /// Two, interleaved, the left one first.
    Stereo = 2,
}

impl Channels {
    /// The number of channels: 1 or 2.
    pub const fn count(self) -> usize {
        self as usize
    }

    /// The channels of this number; `None` for anything but 1 and 2.
    pub const fn from_count(count: u8) -> Option<Self> {
        match count {
            1 => Some(Self::Mono),
            2 => Some(Self::Stereo),
            _ => None,
        }
    }
}

/// What an encoder optimises for (RFC 6716, section 2.1; `OPUS_APPLICATION_*` of libopus).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
#[non_exhaustive]
pub enum Application {
    /// Intelligible speech. The only one in which in-band FEC is at its best.
    #[default]
    Voip,
    /// Faithfulness to the input: music and mixed content.
    Audio,
}

/// The settings of an Opus encoder. All of them can be changed while it runs; changing `channels`
/// or `application` starts the encoder's prediction afresh.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OpusSettings {
    /// Target bitrate in bits per second, 6 000 to 510 000 (RFC 7587, section 6.1:
    /// `maxaveragebitrate`).
    pub bitrate: u32,
    /// Computational complexity, 0 (cheapest) to 10 (best).
    pub complexity: u8,
    /// Whether packets carry a coarse copy of their predecessor (in-band FEC, RFC 6716,
    /// section 2.1.7). It takes its bits from the bitrate, in proportion to the expected loss.
    pub fec: bool,
    /// Discontinuous transmission: silence is encoded as a packet of at most 2 bytes, which need
    /// not be sent (RFC 6716, section 2.1.9).
    pub dtx: bool,
    /// The loss to prepare for, 0 to 100 percent. FEC needs more than 0 to be used at all.
    pub expected_loss_percent: u8,
    /// How much of the past each packet carries as deep redundancy (DRED,
    /// draft-ietf-mlcodec-opus-dred), in milliseconds: 0 (none, the default) to 1 040, a multiple of 10.
    /// More than 0 needs the feature `dred`. It takes its bits from the bitrate, in proportion to the
    /// expected loss, and none where they do not suffice for 80 ms: see [`crate::config::AudioSettings`].
    pub dred_ms: u16,
    /// How many channels are encoded.
    pub channels: Channels,
    /// What the encoder optimises for.
    pub application: Application,
    /// How much audio a packet carries: 10, 20, 40 or 60 ms.
    pub frame_duration: Duration,
}

impl Default for OpusSettings {
    /// Speech of one channel at 32 kbit/s in 20 ms packets, with FEC for 10 percent of loss and
    /// without DTX: the bitrate that RFC 7587, section 3.1.1, gives for fullband speech.
    fn default() -> Self {
        Self {
            bitrate: 32_000,
            complexity: 9,
            fec: true,
            dtx: false,
            expected_loss_percent: 10,
            dred_ms: 0,
            channels: Channels::Mono,
            application: Application::Voip,
            frame_duration: Duration::from_millis(20),
        }
    }
}

impl OpusSettings {
    /// Checks every bound.
    ///
    /// # Errors
    ///
    /// Names the first field that is out of its bounds.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if !(6_000..=510_000).contains(&self.bitrate) {
            return Err(ConfigError::new(
                "bitrate",
                format!("{} bit/s is not within 6000 to 510000", self.bitrate),
            ));
        }
        if self.complexity > 10 {
            return Err(ConfigError::new(
                "complexity",
                format!("{} is not within 0 to 10", self.complexity),
            ));
        }
        if self.expected_loss_percent > 100 {
            return Err(ConfigError::new(
                "expected_loss_percent",
                format!("{} is not within 0 to 100", self.expected_loss_percent),
            ));
        }
        check_dred("dred_ms", self.dred_ms)?;
        if ![10, 20, 40, 60].map(Duration::from_millis).contains(&self.frame_duration) {
            return Err(ConfigError::new(
                "frame_duration",
                format!("{:?} is none of 10, 20, 40 and 60 ms", self.frame_duration),
            ));
        }
        Ok(())
    }

    /// The samples per channel of one frame at 48 kHz: 480 to 2880.
    pub fn frame_samples(&self) -> usize {
        let per_second = u128::from(OPUS_RATE);
        (self.frame_duration.as_micros() * per_second / 1_000_000) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field_of(change: impl FnOnce(&mut OpusSettings)) -> Option<&'static str> {
        let mut settings = OpusSettings::default();
        change(&mut settings);
        settings.validate().err().map(|error| error.field)
    }

    #[test]
    fn the_bounds_are_inclusive_and_errors_name_the_field() {
        assert_eq!(field_of(|_| ()), None);
        assert_eq!(field_of(|s| s.bitrate = 6_000), None);
        assert_eq!(field_of(|s| s.bitrate = 510_000), None);
        assert_eq!(field_of(|s| s.bitrate = 5_999), Some("bitrate"));
        assert_eq!(field_of(|s| s.bitrate = 510_001), Some("bitrate"));
        assert_eq!(field_of(|s| s.complexity = 11), Some("complexity"));
        assert_eq!(field_of(|s| s.expected_loss_percent = 101), Some("expected_loss_percent"));
        assert_eq!(field_of(|s| s.dred_ms = 15), Some("dred_ms"));
        assert_eq!(field_of(|s| s.dred_ms = 1_050), Some("dred_ms"));
        let missing = (!cfg!(feature = "dred")).then_some("dred_ms");
        assert_eq!(field_of(|s| s.dred_ms = 1_040), missing);
        let odd = Duration::from_millis(25);
        assert_eq!(field_of(|s| s.frame_duration = odd), Some("frame_duration"));
        assert_eq!(field_of(|s| s.frame_duration = Duration::from_millis(60)), None);
    }

    #[test]
    fn twenty_milliseconds_are_960_samples() {
        assert_eq!(OpusSettings::default().frame_samples(), 960);
    }
}
