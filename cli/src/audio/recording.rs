//! What a peer sent, as a WAV file.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use hound::{SampleFormat, WavSpec, WavWriter};
use rtcmesh_core::id::PeerId;
use rtcmesh_core::media::AudioBuffer;

/// The header is brought up to date after so many frames, 1 s: a program that is killed leaves a
/// file that plays.
const FLUSH_EVERY: u32 = 48_000;
/// The most bytes of samples: the sizes in the header have 32 bits.
const MAX_BYTES: u64 = u32::MAX as u64 - 4_096;

/// Why a recording cannot be made, or ended early.
#[derive(Debug, thiserror::Error)]
#[error("{}: {reason}", path.display())]
pub(crate) struct RecordingError {
    path: PathBuf,
    reason: String,
}

/// A file that grows: 16 bits, as many channels as the first chunk has.
pub(crate) struct Recording {
    path: PathBuf,
    writer: Option<WavWriter<BufWriter<File>>>,
    spec: WavSpec,
    unflushed: u32,
    bytes: u64,
}

impl Recording {
    /// Begins `folder/<peer>.wav`; a file of that name from an earlier run is replaced.
    pub(crate) fn create(
        folder: &Path,
        peer: &PeerId,
        first: &AudioBuffer,
    ) -> Result<Self, RecordingError> {
        let path = folder.join(format!("{peer}.wav"));
        let spec = WavSpec {
            channels: first.channels.clamp(1, 2),
            sample_rate: first.sample_rate,
            bits_per_sample: 16,
            sample_format: SampleFormat::Int,
        };
        match WavWriter::create(&path, spec) {
            Ok(writer) => Ok(Self { path, writer: Some(writer), spec, unflushed: 0, bytes: 0 }),
            Err(error) => Err(RecordingError { path, reason: error.to_string() }),
        }
    }

    /// Appends audio. Channels other than the file's are mixed.
    ///
    /// # Errors
    /// The first failure (a full disk, 4 GB): what was written stays, and nothing more is taken.
    pub(crate) fn append(&mut self, audio: &AudioBuffer) -> Result<(), RecordingError> {
        let Some(mut writer) = self.writer.take() else { return Ok(()) };
        match self.write(&mut writer, audio) {
            Ok(()) => {
                self.writer = Some(writer);
                Ok(())
            }
            Err(reason) => {
                // Dropping the writer finishes the header as well as it can.
                Err(RecordingError { path: self.path.clone(), reason })
            }
        }
    }

    fn write(
        &mut self,
        writer: &mut WavWriter<BufWriter<File>>,
        audio: &AudioBuffer,
    ) -> Result<(), String> {
        let (from, to) = (usize::from(audio.channels.max(1)), usize::from(self.spec.channels));
        let frames = audio.samples.len() / from;
        self.bytes += (frames * to * 2) as u64;
        if self.bytes > MAX_BYTES {
            return Err("the largest size of a WAV file (4 GB) is reached".into());
        }
        for frame in audio.samples.chunks_exact(from) {
            let mean = frame.iter().sum::<f32>() / from as f32;
            let mixed = [mean; 2];
            let samples = if from == to { frame } else { &mixed[..to] };
            for sample in samples {
                // The cast saturates, and makes 0 of what is no number.
                let sample = (sample * 32_767.0).round() as i16;
                writer.write_sample(sample).map_err(|error| error.to_string())?;
            }
        }
        self.unflushed += frames as u32;
        if self.unflushed >= FLUSH_EVERY {
            self.unflushed = 0;
            writer.flush().map_err(|error| error.to_string())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn audio(channels: u16, samples: &[f32]) -> AudioBuffer {
        AudioBuffer { samples: samples.into(), sample_rate: 48_000, channels }
    }

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("rtcmesh-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    fn read(path: &Path) -> (u16, Vec<i16>) {
        let mut reader = hound::WavReader::open(path).unwrap();
        (reader.spec().channels, reader.samples().map(Result::unwrap).collect())
    }

    #[test]
    fn what_is_appended_is_in_the_file() {
        let folder = folder("recording");
        let peer = PeerId::new("alice").unwrap();
        let mut recording = Recording::create(&folder, &peer, &audio(1, &[])).unwrap();
        recording.append(&audio(1, &[0.0, 0.5, -0.5, 2.0, f32::NAN])).unwrap();
        recording.append(&audio(2, &[0.5, -0.5, 1.0, 1.0])).unwrap();
        drop(recording);
        let (channels, samples) = read(&folder.join("alice.wav"));
        assert_eq!((channels, samples), (1, vec![0, 16_384, -16_384, 32_767, 0, 0, 32_767]));
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn the_file_is_complete_each_second_even_if_the_program_is_killed() {
        let folder = folder("killed");
        let peer = PeerId::new("bob").unwrap();
        let mut recording = Recording::create(&folder, &peer, &audio(2, &[])).unwrap();
        recording.append(&audio(2, &vec![0.25; 2 * 48_000])).unwrap();
        recording.append(&audio(2, &[0.25; 960])).unwrap();
        // A killed program drops nothing.
        std::mem::forget(recording);
        let (channels, samples) = read(&folder.join("bob.wav"));
        assert_eq!((channels, samples.len()), (2, 2 * 48_000));
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn errors_name_the_file() {
        let peer = PeerId::new("carol").unwrap();
        let missing = Path::new("no/such/folder");
        let error = Recording::create(missing, &peer, &audio(1, &[])).err().unwrap();
        assert!(error.to_string().contains("carol.wav: "), "{error}");
    }
}
