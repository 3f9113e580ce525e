//! One ear: what is known of the audio that one peer sends.

use std::path::Path;

use rtcmesh_core::id::PeerId;
use rtcmesh_core::media::AudioBuffer;

use super::detector::ToneDetector;
use super::level::{SILENCE_DBFS, level_dbfs};
use super::recording::{Recording, RecordingError};

/// How much a new chunk moves the shown level: it follows speech, but does not flicker.
const SMOOTHING: f64 = 0.2;

/// Listens to one peer.
#[derive(Debug)]
pub(crate) struct Ear {
    detector: ToneDetector,
    power: f64,
    frames: u64,
    recording: Tape,
    mono: Vec<f32>,
}

/// Whether there is a recording.
enum Tape {
    Blank,
    Running(Box<Recording>),
    /// It failed: trying again with each chunk would only repeat the error.
    Broken,
}

impl std::fmt::Debug for Tape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Blank => "Blank",
            Self::Running(_) => "Running",
            Self::Broken => "Broken",
        })
    }
}

impl Ear {
    /// One that has heard nothing.
    pub(crate) fn new() -> Self {
        Self {
            detector: ToneDetector::new(),
            power: 0.0,
            frames: 0,
            recording: Tape::Blank,
            mono: Vec::new(),
        }
    }

    /// Takes received audio at 48 kHz; `concealed`: it was made up for what did not arrive.
    pub(crate) fn hear(&mut self, audio: &AudioBuffer, concealed: bool) {
        let channels = usize::from(audio.channels.max(1));
        self.mono.clear();
        self.mono.extend(
            audio
                .samples
                .chunks_exact(channels)
                .map(|frame| frame.iter().sum::<f32>() / channels as f32),
        );
        self.detector.push(&self.mono, concealed);
        self.power += (10_f64.powf(level_dbfs(&audio.samples) / 10.0) - self.power) * SMOOTHING;
        if !concealed {
            self.frames += 1;
        }
    }

    /// Writes the same audio to `folder/<peer>.wav`.
    ///
    /// # Errors
    /// The first failure, once.
    pub(crate) fn record(
        &mut self,
        folder: &Path,
        peer: &PeerId,
        audio: &AudioBuffer,
    ) -> Result<(), RecordingError> {
        if let Tape::Blank = self.recording {
            self.recording = Tape::Broken;
            self.recording = Tape::Running(Box::new(Recording::create(folder, peer, audio)?));
        }
        let Tape::Running(recording) = &mut self.recording else { return Ok(()) };
        let result = recording.append(audio);
        if result.is_err() {
            self.recording = Tape::Broken;
        }
        result
    }

    /// The frames that arrived: those made up for lost ones do not count.
    pub(crate) fn frames(&self) -> u64 {
        self.frames
    }

    /// The level of the last tenth of a second in dBFS.
    pub(crate) fn level_dbfs(&self) -> f64 {
        (10.0 * self.power.log10()).max(SILENCE_DBFS)
    }

    /// The tone that is heard, in Hz; `None` in silence and without a tone.
    pub(crate) fn tone(&self) -> Option<f64> {
        self.detector.current()
    }

    /// The tone that was heard most lately in Hz, however long ago.
    pub(crate) fn latest_tone(&self) -> Option<f64> {
        self.detector.latest()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::tone::Tone;

    #[test]
    fn both_channels_are_heard_and_concealed_frames_are_not_counted() {
        let mut mono = vec![0.0; 48_000];
        Tone::new(500.0, 48_000, 0.5).add_to(&mut mono);
        let stereo: Vec<f32> = mono.iter().flat_map(|&sample| [sample, 0.0]).collect();
        let mut ear = Ear::new();
        assert_eq!((ear.level_dbfs(), ear.tone(), ear.frames()), (SILENCE_DBFS, None, 0));
        for (n, chunk) in stereo.chunks(1_920).enumerate() {
            let audio = AudioBuffer { samples: chunk.into(), sample_rate: 48_000, channels: 2 };
            ear.hear(&audio, n % 10 == 9);
        }
        assert_eq!(ear.frames(), 45);
        assert!((ear.tone().unwrap() - 500.0).abs() < 0.2);
        // Half of the samples of a sine of amplitude 0.5: −9 − 3 dB.
        assert!((ear.level_dbfs() + 12.0).abs() < 0.2, "{}", ear.level_dbfs());
    }

    #[test]
    fn a_recording_that_fails_says_so_once() {
        let peer = PeerId::new("dave").unwrap();
        let audio = AudioBuffer { samples: [0.1].into(), sample_rate: 48_000, channels: 1 };
        let mut ear = Ear::new();
        assert!(ear.record(Path::new("no/such/folder"), &peer, &audio).is_err());
        assert!(ear.record(Path::new("no/such/folder"), &peer, &audio).is_ok());
    }
}
