//! What may change while the transport runs.

use crate::config::{AudioSettings, Concealment, Config, check_dred_bounds};
use crate::error::{ConfigureError, within};
use crate::media::VideoCodec;

/// A change of settings of a running transport: what is `None` stays.
///
/// Settings of audio, the jitter buffer's size and the RTCP interval apply to live peers at once; the video
/// codec to later connections.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct ConfigPatch {
    /// The audio encoder's bitrate in bit/s: 16,000 to 50,000,000 by contract; above what Opus can
    /// do (510,000) it is refused too.
    pub audio_bitrate: Option<u32>,
    /// The audio encoder's complexity: 0 to 10.
    pub audio_complexity: Option<u8>,
    /// In-band forward error correction.
    pub audio_fec: Option<bool>,
    /// Discontinuous transmission.
    pub audio_dtx: Option<bool>,
    /// The loss that the audio encoder prepares for, in percent.
    pub audio_expected_loss_percent: Option<u8>,
    /// How much of the past each packet carries as deep redundancy, in milliseconds: 0 to 1,040, a multiple of 10.
    /// More than 0 needs the feature `dred`. See [`AudioSettings`] for what it takes beside.
    pub audio_dred_ms: Option<u16>,
    /// How lost audio is made up, from the next loss on. [`Concealment::Deep`] needs the feature `dred`.
    pub audio_concealment: Option<Concealment>,
    /// The jitter buffer's delay: 50 to 200.
    pub jitter_buffer_size_ms: Option<u32>,
    /// 1,000 to 10,000.
    pub rtcp_interval_ms: Option<u32>,
    /// The video encoder's bitrate in bit/s: 16,000 to 50,000,000.
    pub video_bitrate: Option<u32>,
    /// The video encoder's frames per second: 10 to 60.
    pub framerate: Option<u32>,
    /// The video encoder's width and height in pixels: 16:9 or 4:3.
    pub resolution: Option<(u32, u32)>,
    /// The video codec offered first, to later connections.
    pub video_codec: Option<VideoCodec>,
}

impl ConfigPatch {
    /// Changes nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// The configuration with this change.
    ///
    /// # Errors
    /// [`ConfigureError`] naming the option: out of bounds, one that needs a feature that this build is without,
    /// or one that needs a video encoder, which this version has none of (encoded frames pass through: their
    /// sender sets these).
    pub(crate) fn apply(&self, config: &Config) -> Result<Config, ConfigureError> {
        self.check_video()?;
        self.check_deep()?;
        if let Some(bitrate) = self.audio_bitrate {
            within("audio_bitrate", bitrate, 16_000, 510_000, " bit/s")?;
        }
        if let Some(complexity) = self.audio_complexity {
            within("audio_complexity", complexity, 0, 10, "")?;
        }
        if let Some(loss) = self.audio_expected_loss_percent {
            within("audio_expected_loss_percent", loss, 0, 100, " %")?;
        }
        if let Some(size) = self.jitter_buffer_size_ms {
            within("jitter_buffer_size_ms", size, 50, 200.min(config.max_jitter_buffer_ms), "")?;
        }
        if let Some(interval) = self.rtcp_interval_ms {
            within("rtcp_interval_ms", interval, 1_000, 10_000, "")?;
        }
        let mut changed = config.clone();
        let audio = config.audio;
        changed.audio = AudioSettings {
            bitrate: self.audio_bitrate.unwrap_or(audio.bitrate),
            complexity: self.audio_complexity.unwrap_or(audio.complexity),
            fec: self.audio_fec.unwrap_or(audio.fec),
            dtx: self.audio_dtx.unwrap_or(audio.dtx),
            expected_loss_percent: self
                .audio_expected_loss_percent
                .unwrap_or(audio.expected_loss_percent),
            dred_ms: self.audio_dred_ms.unwrap_or(audio.dred_ms),
            concealment: self.audio_concealment.unwrap_or(audio.concealment),
            ..audio
        };
        changed.jitter_buffer_size_ms =
            self.jitter_buffer_size_ms.unwrap_or(config.jitter_buffer_size_ms);
        changed.rtcp_interval_ms = self.rtcp_interval_ms.unwrap_or(config.rtcp_interval_ms);
        changed.video.codec = self.video_codec.unwrap_or(config.video.codec);
        Ok(changed)
    }

    /// What the neural networks are needed for.
    fn check_deep(&self) -> Result<(), ConfigureError> {
        if let Some(millis) = self.audio_dred_ms {
            check_dred_bounds("audio_dred_ms", millis)?;
        }
        let deep = [
            ("audio_dred_ms", self.audio_dred_ms.is_some_and(|millis| millis > 0)),
            ("audio_concealment", self.audio_concealment == Some(Concealment::Deep)),
        ];
        match deep.into_iter().find(|(_, set)| *set) {
            Some((option, _)) if !cfg!(feature = "dred") => Err(ConfigureError::NotSupported {
                option,
                reason: "this build is without the feature `dred`".into(),
            }),
            _ => Ok(()),
        }
    }

    fn check_video(&self) -> Result<(), ConfigureError> {
        if let Some(bitrate) = self.video_bitrate {
            within("video_bitrate", bitrate, 16_000, 50_000_000, " bit/s")?;
        }
        if let Some(framerate) = self.framerate {
            within("framerate", framerate, 10, 60, "")?;
        }
        if let Some((width, height)) = self.resolution {
            let (w, h) = (u64::from(width), u64::from(height));
            if w == 0 || h == 0 || (w * 9 != h * 16 && w * 3 != h * 4) {
                return Err(ConfigureError::InvalidOption {
                    option: "resolution",
                    reason: format!("{width}×{height} is neither 16:9 nor 4:3"),
                });
            }
        }
        let encoder_options = [
            ("video_bitrate", self.video_bitrate.is_some()),
            ("framerate", self.framerate.is_some()),
            ("resolution", self.resolution.is_some()),
        ];
        match encoder_options.into_iter().find(|(_, set)| *set) {
            Some((option, _)) => Err(ConfigureError::NotSupported {
                option,
                reason: "video passes through as its sender encoded it".into(),
            }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(patch: ConfigPatch) -> ConfigureError {
        patch.apply(&Config::new("ws://h")).unwrap_err()
    }

    fn invalid(patch: ConfigPatch) -> &'static str {
        match error(patch) {
            ConfigureError::InvalidOption { option, .. } => option,
            other => panic!("{other}"),
        }
    }

    #[test]
    fn out_of_bounds_options_are_named() {
        let new = ConfigPatch::new;
        assert_eq!(invalid(ConfigPatch { audio_bitrate: Some(15_999), ..new() }), "audio_bitrate");
        assert_eq!(invalid(ConfigPatch { video_bitrate: Some(1), ..new() }), "video_bitrate");
        assert_eq!(invalid(ConfigPatch { framerate: Some(61), ..new() }), "framerate");
        assert_eq!(invalid(ConfigPatch { resolution: Some((100, 100)), ..new() }), "resolution");
        assert_eq!(invalid(ConfigPatch { resolution: Some((0, 0)), ..new() }), "resolution");
        let jitter = ConfigPatch { jitter_buffer_size_ms: Some(201), ..new() };
        assert_eq!(invalid(jitter), "jitter_buffer_size_ms");
        let rtcp = ConfigPatch { rtcp_interval_ms: Some(10_001), ..new() };
        assert_eq!(invalid(rtcp), "rtcp_interval_ms");
        for millis in [1_050, 85] {
            let deep = ConfigPatch { audio_dred_ms: Some(millis), ..new() };
            assert_eq!(invalid(deep), "audio_dred_ms");
        }
    }

    #[test]
    fn what_needs_the_networks_is_not_supported_without_them() {
        let none = ConfigPatch {
            audio_dred_ms: Some(0),
            audio_concealment: Some(Concealment::Classic),
            ..ConfigPatch::new()
        };
        assert!(none.apply(&Config::new("ws://h")).is_ok());
        let redundancy = ConfigPatch { audio_dred_ms: Some(200), ..ConfigPatch::new() };
        let concealment =
            ConfigPatch { audio_concealment: Some(Concealment::Deep), ..ConfigPatch::new() };
        for (patch, name) in [(redundancy, "audio_dred_ms"), (concealment, "audio_concealment")] {
            let refused = match patch.apply(&Config::new("ws://h")) {
                Ok(_) => None,
                Err(ConfigureError::NotSupported { option, .. }) => Some(option),
                Err(other) => panic!("{other}"),
            };
            assert_eq!(refused, (!cfg!(feature = "dred")).then_some(name));
        }
    }

    #[cfg(feature = "dred")]
    #[test]
    fn what_the_networks_do_changes() {
        let patch = ConfigPatch {
            audio_dred_ms: Some(200),
            audio_concealment: Some(Concealment::Deep),
            ..ConfigPatch::new()
        };
        let audio = patch.apply(&Config::new("ws://h")).unwrap().audio;
        assert_eq!((audio.dred_ms, audio.concealment), (200, Concealment::Deep));
    }

    #[test]
    fn options_of_an_encoder_that_is_not_there_are_not_supported() {
        let patch = ConfigPatch { resolution: Some((1280, 720)), ..ConfigPatch::new() };
        let ConfigureError::NotSupported { option, .. } = error(patch) else { panic!() };
        assert_eq!(option, "resolution");
    }

    #[test]
    fn what_is_set_changes_and_the_rest_stays() {
        let config = Config::new("ws://h");
        let patch = ConfigPatch { audio_bitrate: Some(64_000), ..ConfigPatch::new() };
        let changed = patch.apply(&config).unwrap();
        assert_eq!(changed.audio, AudioSettings { bitrate: 64_000, ..config.audio });
        assert_eq!(changed.jitter_buffer_size_ms, config.jitter_buffer_size_ms);
    }
}
