//! What is heard of coded speech over a network, as audio: ours and that of the crate `neteq`.

#[cfg(feature = "neteq")]
pub mod neteq_heard;
pub mod ours_heard;
pub mod outage;
pub mod speech;
pub mod stream;

use std::path::Path;

use hound::{SampleFormat, WavSpec, WavWriter};

/// What was heard of a trace.
#[derive(Debug, Default)]
pub struct Heard {
    /// One channel of 48 kHz, from the first pull on.
    pub samples: Vec<f32>,
    /// How much was made up.
    pub made_up_pct: f64,
    /// How much was inserted and taken out by stretching.
    pub stretched_pct: f64,
    /// Operations of the stretcher, where they are known.
    pub operations: u64,
    /// Those of them that were made in pauses.
    pub in_pauses: u64,
}

/// Writes samples as a WAV file of 48 kHz, 16 bit, one channel.
///
/// # Errors
/// Which file could not be written, and why.
pub fn write_wav(path: &Path, samples: &[f32]) -> Result<(), String> {
    let spec = WavSpec {
        channels: 1,
        sample_rate: 48_000,
        bits_per_sample: 16,
        sample_format: SampleFormat::Int,
    };
    let save = || {
        let mut writer = WavWriter::create(path, spec)?;
        for &sample in samples {
            writer.write_sample((sample.clamp(-1.0, 1.0) * 32_767.0).round() as i16)?;
        }
        writer.finalize()
    };
    save().map_err(|error| format!("{}: {error}", path.display()))
}
