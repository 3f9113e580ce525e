//! The settings of a sync manager.

use std::time::Duration;

use super::playout::{Playout, PlayoutConfig};
use super::tuning::PlayoutTuning;
use crate::error::{ConfigError, within};
use crate::trace::state::saved;

/// The settings of a [`super::SyncManager`]: one of the presets, changed by its setters.
///
/// ```
/// use rtcmesh_core::sync::SyncConfig;
/// let config = SyncConfig::standard().jitter_buffer_size_ms(80);
/// assert!(config.validate().is_ok());
/// assert_eq!(config.rtcp_interval_ms(0).validate().unwrap_err().field, "rtcp_interval_ms");
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct SyncConfig {
    /// The RTP clock of audio in Hz: 48,000, that of Opus at any sample rate (RFC 7587, section 4.1).
    pub audio_clock_rate: u32,
    /// The RTP clock of video in Hz: 90,000 (RFC 3551, section 5).
    pub video_clock_rate: u32,
    /// The delay of the jitter buffers in milliseconds, above the fastest transit through the network:
    /// 50 to 200. Adaptive playout starts there.
    pub jitter_buffer_size_ms: u32,
    /// The largest delay in milliseconds: `jitter_buffer_size_ms` to 500.
    pub max_jitter_buffer_ms: u32,
    /// Whether the drift of the sender's clock is corrected by itself.
    pub enable_clock_drift_correction: bool,
    /// The drift, in ppm, above which it is: 0 to 10,000.
    pub drift_correction_threshold_ppm: f64,
    /// How often the sender reports, in milliseconds: 100 to 60,000. After five times that without a
    /// report its clock is no longer taken for known.
    pub rtcp_interval_ms: u32,
    /// Whether the delay follows the network.
    pub playout: Playout,
    /// What adaptive playout weighs.
    pub tuning: PlayoutTuning,
}

saved!(struct SyncConfig {
    audio_clock_rate, video_clock_rate, jitter_buffer_size_ms, max_jitter_buffer_ms,
    enable_clock_drift_correction, drift_correction_threshold_ppm, rtcp_interval_ms, playout,
    tuning,
});

impl SyncConfig {
    /// For conversations: an adaptive delay, as little as the network allows.
    pub const fn standard() -> Self {
        Self {
            audio_clock_rate: 48_000,
            video_clock_rate: 90_000,
            jitter_buffer_size_ms: 50,
            max_jitter_buffer_ms: 500,
            enable_clock_drift_correction: true,
            drift_correction_threshold_ppm: 100.0,
            rtcp_interval_ms: 5_000,
            playout: Playout::Adaptive,
            tuning: PlayoutTuning::rtcmesh(),
        }
    }

    /// For poor networks: fewer losses for more delay.
    pub const fn poor_network() -> Self {
        Self { jitter_buffer_size_ms: 120, tuning: PlayoutTuning::safe(), ..Self::standard() }
    }

    /// For recording, where delay costs nothing: the longest fixed one, and small drifts corrected too.
    pub const fn recording() -> Self {
        Self {
            jitter_buffer_size_ms: 200,
            drift_correction_threshold_ppm: 20.0,
            playout: Playout::Fixed,
            ..Self::standard()
        }
    }

    /// With another [`Self::jitter_buffer_size_ms`].
    #[must_use]
    pub const fn jitter_buffer_size_ms(self, jitter_buffer_size_ms: u32) -> Self {
        Self { jitter_buffer_size_ms, ..self }
    }

    /// With another [`Self::max_jitter_buffer_ms`].
    #[must_use]
    pub const fn max_jitter_buffer_ms(self, max_jitter_buffer_ms: u32) -> Self {
        Self { max_jitter_buffer_ms, ..self }
    }

    /// With or without automatic correction.
    #[must_use]
    pub const fn enable_clock_drift_correction(self, enable: bool) -> Self {
        Self { enable_clock_drift_correction: enable, ..self }
    }

    /// With another [`Self::drift_correction_threshold_ppm`].
    #[must_use]
    pub const fn drift_correction_threshold_ppm(self, drift_correction_threshold_ppm: f64) -> Self {
        Self { drift_correction_threshold_ppm, ..self }
    }

    /// With another [`Self::rtcp_interval_ms`].
    #[must_use]
    pub const fn rtcp_interval_ms(self, rtcp_interval_ms: u32) -> Self {
        Self { rtcp_interval_ms, ..self }
    }

    /// With another [`Self::playout`].
    #[must_use]
    pub const fn playout(self, playout: Playout) -> Self {
        Self { playout, ..self }
    }

    /// With other weights.
    #[must_use]
    pub const fn tuning(self, tuning: PlayoutTuning) -> Self {
        Self { tuning, ..self }
    }

    /// With other clock rates.
    #[must_use]
    pub const fn clock_rates(self, audio: u32, video: u32) -> Self {
        Self { audio_clock_rate: audio, video_clock_rate: video, ..self }
    }

    /// Checks every setting.
    ///
    /// # Errors
    ///
    /// The first one that is out of its bounds.
    pub fn validate(&self) -> Result<(), ConfigError> {
        within("audio_clock_rate", self.audio_clock_rate, 48_000, 48_000, " Hz")?;
        within("video_clock_rate", self.video_clock_rate, 90_000, 90_000, " Hz")?;
        let size = self.jitter_buffer_size_ms;
        within("jitter_buffer_size_ms", size, 50, 200, " ms")?;
        within("max_jitter_buffer_ms", self.max_jitter_buffer_ms, size, 500, " ms")?;
        let threshold = self.drift_correction_threshold_ppm;
        if threshold.is_nan() {
            return Err(ConfigError::new("drift_correction_threshold_ppm", "it is no number"));
        }
        within("drift_correction_threshold_ppm", threshold, 0.0, 10_000.0, " ppm")?;
        within("rtcp_interval_ms", self.rtcp_interval_ms, 100, 60_000, " ms")
    }

    /// The delay of each medium.
    pub(super) fn delay(&self) -> PlayoutConfig {
        let ms = |ms: u32| Duration::from_millis(u64::from(ms));
        let size = ms(self.jitter_buffer_size_ms);
        let config = PlayoutConfig { playout: self.playout, ..PlayoutConfig::adaptive(size) };
        config.with_max(ms(self.max_jitter_buffer_ms)).with_tuning(self.tuning)
    }

    /// After so long without a report the sender's clock is no longer known.
    pub(super) fn expiry(&self) -> Duration {
        Duration::from_millis(u64::from(self.rtcp_interval_ms) * 5)
    }
}

impl Default for SyncConfig {
    fn default() -> Self {
        Self::standard()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_presets_are_valid() {
        let presets = [SyncConfig::standard(), SyncConfig::poor_network(), SyncConfig::recording()];
        for preset in presets {
            assert_eq!(preset.validate(), Ok(()), "{preset:?}");
        }
        assert_eq!(SyncConfig::default(), SyncConfig::standard());
    }

    #[test]
    fn bounds_name_the_field() {
        let standard = SyncConfig::standard();
        let size = |ms| standard.jitter_buffer_size_ms(ms);
        let threshold = |ppm| standard.drift_correction_threshold_ppm(ppm);
        for (config, field) in [
            (size(49), "jitter_buffer_size_ms"),
            (size(201), "jitter_buffer_size_ms"),
            (standard.max_jitter_buffer_ms(501), "max_jitter_buffer_ms"),
            (size(100).max_jitter_buffer_ms(99), "max_jitter_buffer_ms"),
            (standard.clock_rates(44_100, 90_000), "audio_clock_rate"),
            (standard.clock_rates(48_000, 0), "video_clock_rate"),
            (threshold(-1.0), "drift_correction_threshold_ppm"),
            (threshold(f64::NAN), "drift_correction_threshold_ppm"),
            (threshold(f64::INFINITY), "drift_correction_threshold_ppm"),
            (standard.rtcp_interval_ms(99), "rtcp_interval_ms"),
        ] {
            assert_eq!(config.validate().unwrap_err().field, field);
        }
        for good in [size(50), size(200), size(200).max_jitter_buffer_ms(200), threshold(0.0)] {
            assert_eq!(good.validate(), Ok(()));
        }
    }

    proptest! {
        #[test]
        fn any_numbers_are_judged_and_harmless(
            size in prop_oneof![0_u32..300, any::<u32>()],
            max in prop_oneof![0_u32..600, any::<u32>()],
            interval in prop_oneof![0_u32..70_000, any::<u32>()],
            threshold in prop_oneof![any::<f64>(), 0.0..1_000.0],
            fixed: bool,
        ) {
            let playout = if fixed { Playout::Fixed } else { Playout::Adaptive };
            let config = SyncConfig::standard()
                .jitter_buffer_size_ms(size)
                .max_jitter_buffer_ms(max)
                .rtcp_interval_ms(interval)
                .drift_correction_threshold_ppm(threshold)
                .playout(playout);
            let good = (50..=200).contains(&size)
                && (size..=500).contains(&max)
                && (100..=60_000).contains(&interval)
                && (0.0..=10_000.0).contains(&threshold);
            prop_assert_eq!(config.validate().is_ok(), good);
            // Nothing overflows, valid or not.
            prop_assert!(config.delay().size <= Duration::from_millis(u64::from(u32::MAX)));
            prop_assert!(config.expiry() >= Duration::ZERO);
        }
    }
}
