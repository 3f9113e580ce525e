//! WAV files as a source, read piece by piece.

use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::{Path, PathBuf};

use hound::{SampleFormat, WavReader, WavSpec};

/// Why a WAV file cannot be played.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WavError {
    /// There is no such file, or it cannot be read.
    #[error("{}: {source}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// Its content is wrong.
    #[error("{}: {reason}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and what would be right.
        reason: String,
    },
}

/// The samples of a WAV file, over and over. Only a few kilobytes of it are in memory.
pub(super) struct Wav<R> {
    /// `None` once it could not be read a second time.
    reader: Option<WavReader<R>>,
    spec: WavSpec,
    /// The frames given out since the beginning of the file.
    position: u32,
}

impl Wav<BufReader<File>> {
    /// Opens a file: mono or stereo, 8 to 48 kHz, integers of 8, 16, 24 or 32 bits or floats of 32.
    pub(super) fn open(path: &Path) -> Result<Self, WavError> {
        let refused = |source| WavError::Open { path: path.to_owned(), source };
        // Opening a pipe would wait for its writer.
        if !std::fs::metadata(path).map_err(refused)?.is_file() {
            let reason = "not a regular file".into();
            return Err(WavError::Content { path: path.to_owned(), reason });
        }
        let file = File::open(path).map_err(refused)?;
        Self::new(BufReader::new(file))
            .map_err(|reason| WavError::Content { path: path.to_owned(), reason })
    }
}

impl<R: Read + Seek> Wav<R> {
    pub(super) fn new(input: R) -> Result<Self, String> {
        let reader = WavReader::new(input).map_err(|error| match error {
            hound::Error::IoError(error) => format!("not a WAV file: {error}"),
            other => other.to_string(),
        })?;
        let spec = reader.spec();
        if !(1..=2).contains(&spec.channels) {
            return Err(format!("{} channels: mono and stereo can be played", spec.channels));
        }
        if !(8_000..=48_000).contains(&spec.sample_rate) {
            return Err(format!("{} Hz is not within 8000 to 48000", spec.sample_rate));
        }
        let known = match spec.sample_format {
            SampleFormat::Int => [8, 16, 24, 32].contains(&spec.bits_per_sample),
            SampleFormat::Float => spec.bits_per_sample == 32,
        };
        if !known {
            return Err(format!(
                "{:?} samples of {} bits: integers of 8, 16, 24 and 32 bits and floats of 32 can be \
                 played",
                spec.sample_format, spec.bits_per_sample
            ));
        }
        let mut wav = Self { reader: Some(reader), spec, position: 0 };
        if wav.next_frame().is_none() {
            return Err("there is no audio in it".into());
        }
        wav.rewind();
        Ok(wav)
    }

    pub(super) fn sample_rate(&self) -> u32 {
        self.spec.sample_rate
    }

    pub(super) fn channels(&self) -> u16 {
        self.spec.channels
    }

    /// Back to the beginning, by reading the header again: after a read that failed the reader's own
    /// notion of where it is would be wrong.
    fn rewind(&mut self) {
        self.position = 0;
        self.reader = self.reader.take().and_then(|reader| {
            let mut input = reader.into_inner();
            input.rewind().ok()?;
            WavReader::new(input).ok()
        });
    }

    /// Skips to this share (0 to 1) of the file's length.
    pub(super) fn skip_to(&mut self, share: f64) {
        self.rewind();
        let Some(reader) = &mut self.reader else { return };
        let frame = (f64::from(reader.duration()) * share.fract()) as u32;
        if reader.seek(frame).is_ok() {
            self.position = frame;
        }
    }

    /// The samples of one instant, −1 to 1, in the first `channels` places. `None` at the end, where a
    /// file that is shorter than its header says has its end too.
    fn next_frame(&mut self) -> Option<[f32; 2]> {
        let reader = self.reader.as_mut()?;
        let mut frame = [0.0; 2];
        for sample in frame.iter_mut().take(usize::from(self.spec.channels)) {
            let value = match self.spec.sample_format {
                SampleFormat::Int => {
                    let full_scale = (1_i64 << (self.spec.bits_per_sample - 1)) as f32;
                    reader.samples::<i32>().next()?.ok()? as f32 / full_scale
                }
                SampleFormat::Float => reader.samples::<f32>().next()?.ok()?,
            };
            *sample = if value.is_finite() { value.clamp(-1.0, 1.0) } else { 0.0 };
        }
        self.position = self.position.saturating_add(1);
        Some(frame)
    }

    /// Appends `frames` frames to `out`, interleaved, from the beginning again where the file ends.
    /// A file that cannot be read any more is silent.
    pub(super) fn read(&mut self, frames: usize, out: &mut Vec<f32>) {
        let channels = usize::from(self.spec.channels);
        for _ in 0..frames {
            let mut frame = self.next_frame();
            // At the very beginning a second look would find nothing either.
            if frame.is_none() && self.position > 0 {
                self.rewind();
                frame = self.next_frame();
            }
            out.extend_from_slice(&frame.unwrap_or_default()[..channels]);
        }
    }
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
