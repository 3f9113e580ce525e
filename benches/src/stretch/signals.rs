//! What is played.

use std::path::Path;

use hound::{SampleFormat, WavReader};
use rtcmesh_core::codec::{Channels, Resampler};

const RATE: f64 = 48_000.0;

/// A WAV file as one channel of 48 kHz.
///
/// # Errors
/// Which file could not be read, and why.
pub fn wav(path: &Path) -> Result<Vec<f32>, String> {
    let name = path.display();
    let fail = |error: &dyn std::fmt::Display| format!("{name}: {error}");
    let mut reader = WavReader::open(path).map_err(|error| fail(&error))?;
    let spec = reader.spec();
    let samples: Result<Vec<f32>, hound::Error> = match spec.sample_format {
        SampleFormat::Float => reader.samples::<f32>().collect(),
        SampleFormat::Int => {
            let scale = 1.0 / (1_u64 << (spec.bits_per_sample - 1)) as f32;
            reader.samples::<i32>().map(|sample| Ok(sample? as f32 * scale)).collect()
        }
    };
    let channels = usize::from(spec.channels.max(1));
    let samples = samples.map_err(|error| fail(&error))?;
    let mono: Vec<f32> =
        samples.chunks_exact(channels).filter_map(<[f32]>::first).copied().collect();
    if spec.sample_rate == 48_000 {
        return Ok(mono);
    }
    let mut out = Vec::new();
    let mut resampler =
        Resampler::new(spec.sample_rate, Channels::Mono).map_err(|error| fail(&error))?;
    resampler.process(&mono, &mut out).map_err(|error| fail(&error))?;
    Ok(out)
}

/// The speech that the project ships.
///
/// # Errors
/// As [`wav`].
pub fn speech() -> Result<Vec<f32>, String> {
    wav(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../cli/assets/voice.wav"))
}

/// Sines of these frequencies in Hz together, with a peak of 0.5 at most.
pub fn tones(frequencies: &[f64], seconds: f64) -> Vec<f32> {
    let gain = 0.5 / frequencies.len().max(1) as f64;
    let sample = |index: usize| {
        let time = index as f64 / RATE;
        let sum: f64 = frequencies.iter().map(|hz| (hz * time * std::f64::consts::TAU).sin()).sum();
        (sum * gain) as f32
    };
    (0..(seconds * RATE) as usize).map(sample).collect()
}

/// White noise at -26 dB of full scale.
pub fn noise(seconds: f64) -> Vec<f32> {
    let mut random = fastrand::Rng::with_seed(1);
    (0..(seconds * RATE) as usize).map(|_| (random.f32() - 0.5) * 0.17).collect()
}
