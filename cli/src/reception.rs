//! How the media of a peer arrive and are played, as it is shown: in words, and as JSON.

use std::time::{SystemTime, UNIX_EPOCH};

use rtcmesh_core::sync::SyncState;
use rtcmesh_core::transport::{CaptureTime, PeerCounters, Quality};
use serde_json::{Value, json};

use crate::figures::rounded;

/// Samples of audio in a millisecond: all received audio has 48 kHz.
const SAMPLES_PER_MS: f64 = 48.0;
/// How far sound may be ahead of the picture, and how far behind, in milliseconds: what viewers do not
/// detect (ITU-R BT.1359, section 2).
const DETECTABLE_MS: std::ops::RangeInclusive<f64> = -45.0..=125.0;

/// What is known of the media of one peer.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Reception {
    /// The latest figures.
    pub(crate) quality: Quality,
    /// What has passed on the present connection, or the last one.
    pub(crate) counters: PeerCounters,
    /// The age of the latest frame of audio when it was given to us.
    pub(crate) audio_age: Option<Age>,
    /// That of video.
    pub(crate) video_age: Option<Age>,
}

/// The time between capture, by the sender's clock, and playout, by ours.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Age {
    ms: f64,
    confidence: f64,
}

impl Age {
    /// Of what is played at this moment.
    pub(crate) fn of(capture: Option<CaptureTime>) -> Option<Self> {
        let CaptureTime { unix_us, confidence, .. } = capture?;
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Some(Self { ms: unix.as_secs_f64() * 1e3 - unix_us as f64 / 1e3, confidence })
    }
}

/// The state's name.
pub(crate) const fn state_name(state: SyncState) -> &'static str {
    match state {
        SyncState::Syncing => "syncing",
        SyncState::Synced => "synced",
        _ => "unsynced",
    }
}

/// The standard error of a drift in ppm from which on its tenths tell nothing.
const COARSE_PPM: f64 = 100.0;

/// A drift and its standard error: `+0.3 ±0.8`.
pub(crate) fn drift(ppm: Option<f64>, error: Option<f64>) -> String {
    match (ppm, error) {
        (Some(ppm), Some(error)) if error >= COARSE_PPM => format!("{ppm:+.0} ±{error:.0}"),
        (Some(ppm), Some(error)) => format!("{ppm:+.1} ±{error:.1}"),
        (Some(ppm), None) => format!("{ppm:+.1}"),
        (None, _) => "-".into(),
    }
}

/// Whether picture and sound are so far apart that a viewer could notice.
pub(crate) fn is_apart(offset_ms: f64) -> bool {
    // Video behind is sound ahead.
    !DETECTABLE_MS.contains(&offset_ms)
}

impl Reception {
    /// The audio that was made up for what was not there in time, in milliseconds.
    pub(crate) fn concealed_ms(&self) -> f64 {
        self.counters.audio_samples_concealed as f64 / SAMPLES_PER_MS
    }

    /// The figures as a JSON object; what is not known is null.
    pub(crate) fn json(&self) -> Value {
        let sync = self.quality.sync;
        let counters = self.counters;
        let ms = |samples: u64| rounded(samples as f64 / SAMPLES_PER_MS, 1);
        let some = |value: Option<f64>, places| value.map(|value| rounded(value, places));
        json!({
            "state": state_name(sync.state),
            "audio_delay_ms": rounded(sync.audio_delay_ms, 1),
            "audio_wait_ms": rounded(sync.audio_wait_ms, 1),
            "audio_loss": rounded(sync.audio_loss_rate, 4),
            "audio_late": counters.audio_packets_late,
            "concealed_ms": ms(counters.audio_samples_concealed),
            "concealments": counters.audio_concealments,
            "recovered_ms": ms(counters.audio_samples_recovered),
            "inserted_ms": ms(counters.audio_samples_inserted),
            "removed_ms": ms(counters.audio_samples_removed),
            "drift_ppm": some(sync.clock_drift_ppm, 2),
            "drift_error_ppm": some(sync.clock_drift_error_ppm, 2),
            "correction_factor": rounded(sync.correction_factor, 6),
            "audio_age_ms": some(self.audio_age.map(|age| age.ms), 1),
            "video_age_ms": some(self.video_age.map(|age| age.ms), 1),
            "capture_confidence": some(self.audio_age.or(self.video_age).map(|a| a.confidence), 2),
            "video_frames": counters.video_frames_in,
            "video_fps": some(sync.video_framerate, 1),
            "video_delay_ms": some(sync.video_delay_ms, 1),
            "av_offset_ms": some(sync.audio_sync_offset_ms, 1),
        })
    }

    /// The figures in words.
    pub(crate) fn words(&self) -> String {
        let sync = self.quality.sync;
        let mut words = format!(
            "{}, audio held for {:.0} ms, {:.1} % not in time, {:.0} ms made up",
            state_name(sync.state),
            sync.audio_delay_ms,
            sync.audio_loss_rate * 100.0,
            self.concealed_ms(),
        );
        if sync.clock_drift_ppm.is_some() {
            let drift = drift(sync.clock_drift_ppm, sync.clock_drift_error_ppm);
            words += &format!(", clock {drift} ppm");
        }
        if let Some(age) = self.audio_age.filter(|age| age.confidence > 0.5) {
            words += &format!(", {:.0} ms from microphone to ear", age.ms);
        }
        if let Some(delay) = sync.video_delay_ms {
            words += &format!(", video held for {delay:.0} ms");
            if let Some(rate) = sync.video_framerate {
                words += &format!(" at {rate:.0} frames a second");
            }
        }
        match sync.audio_sync_offset_ms {
            Some(offset) if offset < 0.0 => words += &format!(", {:.0} ms behind audio", -offset),
            Some(offset) => words += &format!(", {offset:.0} ms ahead of audio"),
            None => {}
        }
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Reception {
        let mut reception = Reception::default();
        let sync = &mut reception.quality.sync;
        sync.state = SyncState::Synced;
        sync.audio_delay_ms = 23.44;
        sync.audio_loss_rate = 0.012;
        sync.clock_drift_ppm = Some(-0.31);
        sync.clock_drift_error_ppm = Some(0.84);
        sync.video_delay_ms = Some(41.0);
        sync.video_framerate = Some(14.96);
        sync.audio_sync_offset_ms = Some(-3.2);
        reception.counters.audio_samples_concealed = 960;
        reception.audio_age = Some(Age { ms: 61.0, confidence: 1.0 });
        reception
    }

    #[test]
    fn everything_that_is_known_is_told() {
        assert_eq!(
            known().words(),
            "synced, audio held for 23 ms, 1.2 % not in time, 20 ms made up, clock -0.3 ±0.8 ppm, \
             61 ms from microphone to ear, video held for 41 ms at 15 frames a second, 3 ms behind audio"
        );
        let json = known().json();
        assert_eq!((&json["state"], &json["concealed_ms"]), (&json!("synced"), &json!(20.0)));
        assert_eq!((&json["drift_ppm"], &json["av_offset_ms"]), (&json!(-0.31), &json!(-3.2)));
    }

    #[test]
    fn what_is_unknown_is_left_out_or_null() {
        let unknown = Reception::default();
        let words = "unsynced, audio held for 0 ms, 0.0 % not in time, 0 ms made up";
        assert_eq!(unknown.words(), words);
        for key in ["drift_ppm", "audio_age_ms", "video_fps", "video_delay_ms", "av_offset_ms"] {
            assert_eq!(unknown.json()[key], Value::Null, "{key}");
        }
        assert_eq!(drift(None, None), "-");
        assert_eq!(drift(Some(-21.2), Some(1169.8)), "-21 ±1170");
    }

    #[test]
    fn an_age_by_our_own_clock_alone_is_not_told_in_words() {
        let told = |confidence| {
            let audio_age = Some(Age { ms: 12.0, confidence });
            Reception { audio_age, ..known() }.words().contains("microphone")
        };
        // It would be the delay that was named already.
        assert!(told(1.0) && !told(0.5));
    }

    #[test]
    fn offsets_that_are_seen_are_told_apart() {
        assert!(!is_apart(-44.0) && !is_apart(124.0));
        assert!(is_apart(-46.0) && is_apart(126.0));
    }
}
