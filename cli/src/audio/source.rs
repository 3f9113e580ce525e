//! What a native peer sends: a tone, a file, or the shipped voice with a tone of its own.

use std::fs::File;
use std::io::{BufReader, Cursor};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use rtcmesh_core::media::AudioBuffer;

use super::file::{Wav, WavError};
use super::tone::Tone;

/// Speech that introduces a peer (assets/README.md says how it was made).
static VOICE: &[u8] = include_bytes!("../../assets/voice.wav");
/// The rate at which tones are made, and the one that Opus works with.
const SAMPLE_RATE: u32 = 48_000;
/// Chunks per second.
const CHUNKS: u32 = 50;
/// A tone by itself.
const TONE_AMPLITUDE: f32 = 0.2;
/// A tone beside the voice: strong enough to be the highest peak of almost every spectrum.
const MIXED_AMPLITUDE: f32 = 0.15;
/// The voice beside a tone.
const VOICE_GAIN: f32 = 0.35;

/// What to send, as it is written on the command line.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum AudioChoice {
    /// Nothing.
    None,
    /// A sine wave of this frequency in Hz.
    Tone(f64),
    /// A WAV file, over and over.
    File(PathBuf),
}

impl FromStr for AudioChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("expected tone:HZ, the name of a WAV file, or none".into());
        }
        if text == "none" {
            return Ok(Self::None);
        }
        let Some(hz) = text.strip_prefix("tone:") else {
            return Ok(Self::File(text.into()));
        };
        match hz.parse::<f64>() {
            Ok(value) if (20.0..=20_000.0).contains(&value) => Ok(Self::Tone(value)),
            Ok(_) => Err(format!("a tone of {hz} Hz: expected 20 to 20000")),
            Err(_) => Err(format!("{hz:?} is no frequency in Hz")),
        }
    }
}

/// An endless source of audio, in chunks of 20 ms.
pub(crate) enum Source {
    /// A sine wave.
    Tone(Tone48),
    /// A file.
    File(FileSource),
    /// The voice and a tone.
    Voice(VoiceSource),
}

/// A tone at 48 kHz.
pub(crate) struct Tone48(Tone);

/// A WAV file at its own rate.
pub(crate) struct FileSource {
    wav: Wav<BufReader<File>>,
    chunks: u64,
}

/// The shipped recording, brought to 48 kHz, with a tone.
pub(crate) struct VoiceSource {
    wav: Wav<Cursor<&'static [u8]>>,
    last: f32,
    tone: Tone,
}

impl Source {
    /// What was chosen; `None` where nothing is to be sent.
    ///
    /// # Errors
    /// [`WavError`], where the file cannot be played.
    pub(crate) fn open(choice: &AudioChoice) -> Result<Option<Self>, WavError> {
        Ok(match choice {
            AudioChoice::None => None,
            AudioChoice::Tone(hz) => {
                Some(Self::Tone(Tone48(Tone::new(*hz, SAMPLE_RATE, TONE_AMPLITUDE))))
            }
            AudioChoice::File(path) => {
                Some(Self::File(FileSource { wav: Wav::open(path)?, chunks: 0 }))
            }
        })
    }

    /// The shipped voice, begun at this share (0 to 1) of it, with a tone of `hz`.
    ///
    /// # Errors
    /// Where the recording in the program is damaged.
    pub(crate) fn voice_with_tone(hz: f64, start: f64) -> Result<Self, String> {
        let mut wav = Wav::new(Cursor::new(VOICE))?;
        wav.skip_to(start);
        let tone = Tone::new(hz, SAMPLE_RATE, MIXED_AMPLITUDE);
        Ok(Self::Voice(VoiceSource { wav, last: 0.0, tone }))
    }

    /// The next 20 ms.
    pub(crate) fn chunk(&mut self) -> AudioBuffer {
        match self {
            Self::Tone(Tone48(tone)) => {
                let mut samples = vec![0.0; (SAMPLE_RATE / CHUNKS) as usize];
                tone.add_to(&mut samples);
                mono(samples)
            }
            Self::File(file) => file.chunk(),
            Self::Voice(voice) => voice.chunk(),
        }
    }
}

impl FileSource {
    fn chunk(&mut self) -> AudioBuffer {
        let (rate, channels) = (self.wav.sample_rate(), self.wav.channels());
        // 11025 Hz has no whole number of samples in 20 ms: counted from the beginning, so that
        // nothing is lost over time.
        let until = |chunks| chunks * u64::from(rate) / u64::from(CHUNKS);
        let frames = (until(self.chunks + 1) - until(self.chunks)) as usize;
        self.chunks += 1;
        let mut samples = Vec::with_capacity(frames * usize::from(channels));
        self.wav.read(frames, &mut samples);
        AudioBuffer { samples: samples.into(), sample_rate: rate, channels }
    }
}

impl VoiceSource {
    fn chunk(&mut self) -> AudioBuffer {
        let factor = (SAMPLE_RATE / self.wav.sample_rate()) as usize;
        let wanted = (SAMPLE_RATE / CHUNKS) as usize;
        let mut voice = Vec::with_capacity(wanted / factor);
        self.wav.read(wanted / factor, &mut voice);
        let mut samples = Vec::with_capacity(wanted);
        for sample in voice {
            // Straight lines between samples are enough for speech that ends far below 8 kHz.
            for step in 1..=factor {
                let share = step as f32 / factor as f32;
                samples.push((self.last + (sample - self.last) * share) * VOICE_GAIN);
            }
            self.last = sample;
        }
        self.tone.add_to(&mut samples);
        mono(samples)
    }
}

fn mono(samples: Vec<f32>) -> AudioBuffer {
    AudioBuffer { samples: Arc::from(samples), sample_rate: SAMPLE_RATE, channels: 1 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::level::level_dbfs;

    #[test]
    fn choices_are_read_and_wrong_ones_say_why() {
        assert_eq!("none".parse(), Ok(AudioChoice::None));
        assert_eq!("tone:440".parse(), Ok(AudioChoice::Tone(440.0)));
        assert_eq!("tone:1000.5".parse(), Ok(AudioChoice::Tone(1_000.5)));
        assert_eq!("a/b.wav".parse(), Ok(AudioChoice::File("a/b.wav".into())));
        for (text, word) in [
            ("tone:", "no frequency"),
            ("tone:high", "\"high\""),
            ("tone:19", "20 to 20000"),
            ("tone:20001", "20 to 20000"),
            ("tone:NaN", "20 to 20000"),
            ("tone:-440", "20 to 20000"),
            ("", "expected"),
        ] {
            let error = text.parse::<AudioChoice>().unwrap_err();
            assert!(error.contains(word), "{text:?}: {error}");
        }
    }

    #[test]
    fn a_second_has_a_second_of_samples_at_any_rate() {
        let mut path = std::env::temp_dir();
        path.push(format!("rtcmesh-source-{}.wav", std::process::id()));
        for (sample_rate, channels) in [(11_025, 1), (22_050, 2), (48_000, 1)] {
            let spec = hound::WavSpec {
                channels,
                sample_rate,
                bits_per_sample: 16,
                sample_format: hound::SampleFormat::Int,
            };
            let mut writer = hound::WavWriter::create(&path, spec).unwrap();
            for _ in 0..1_000 * channels {
                writer.write_sample(5_i16).unwrap();
            }
            writer.finalize().unwrap();
            let mut source = Source::open(&AudioChoice::File(path.clone())).unwrap().unwrap();
            let samples: usize = (0..CHUNKS).map(|_| source.chunk().samples.len()).sum();
            assert_eq!(samples, sample_rate as usize * usize::from(channels));
        }
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn the_voice_is_well_audible_and_never_clips() {
        let mut source = Source::voice_with_tone(1_000.0, 0.2).unwrap();
        let second: Vec<f32> =
            (0..500).flat_map(|_| source.chunk().samples.to_vec()).collect::<Vec<_>>();
        assert!(second.iter().all(|sample| sample.abs() < 0.6));
        let level = level_dbfs(&second);
        assert!((-22.0..-15.0).contains(&level), "{level}");
        let mut silent = Source::voice_with_tone(0.0, 0.2).unwrap();
        let voice: Vec<f32> = (0..500).flat_map(|_| silent.chunk().samples.to_vec()).collect();
        let level = level_dbfs(&voice);
        assert!((-36.0..-26.0).contains(&level), "{level}");
    }
}
