//! From any sample rate to 48 kHz.

use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{
    Async, FixedAsync, Resampler as _, SincInterpolationParameters, SincInterpolationType,
    WindowFunction,
};

use super::audio::OPUS_RATE;
use super::error::CodecError;
use super::settings::Channels;

/// Taps of the windowed sinc: aliases stay below the window's side lobes, at 32 samples of delay.
const TAPS: usize = 64;
/// Phases of the sinc that are held ready; those between are interpolated linearly.
const PHASES: usize = 256;

/// Resamples a stream to 48 kHz, by a windowed sinc (rubato).
///
/// It works in blocks of 10 ms of input and keeps what does not fill one for the next call. Its
/// output is late by half the filter: 32 input samples. Allocates only while its buffers grow to
/// the largest chunk.
pub struct Resampler {
    native: Async<f32>,
    rate: u32,
    channels: Channels,
    waiting: Vec<f32>,
    block: Vec<f32>,
}

impl Resampler {
    /// A resampler from `rate` Hz, 8 000 to 48 000.
    ///
    /// # Errors
    ///
    /// [`CodecError::InvalidData`] naming `sample_rate`.
    pub fn new(rate: u32, channels: Channels) -> Result<Self, CodecError> {
        if !(8_000..=OPUS_RATE).contains(&rate) {
            return Err(CodecError::invalid(
                "sample_rate",
                format!("{rate} Hz is not within 8000 to 48000"),
            ));
        }
        let parameters = SincInterpolationParameters::new(TAPS, WindowFunction::BlackmanHarris2)
            .oversampling_factor(PHASES)
            .interpolation(SincInterpolationType::Linear);
        let ratio = f64::from(OPUS_RATE) / f64::from(rate);
        let block = rate as usize / 100;
        let native =
            Async::new_sinc(ratio, 1.0, &parameters, block, channels.count(), FixedAsync::Input)
                .map_err(|error| CodecError::Backend {
                    doing: "creating a resampler",
                    reason: error.to_string(),
                })?;
        let block = vec![0.0; native.output_frames_max() * channels.count()];
        Ok(Self { native, rate, channels, waiting: Vec::new(), block })
    }

    /// The rate of the input in Hz.
    pub const fn rate(&self) -> u32 {
        self.rate
    }

    /// Takes interleaved samples in and appends what they give at 48 kHz to `out`.
    ///
    /// # Errors
    ///
    /// [`CodecError::Backend`], which no input is known to cause.
    pub fn process(&mut self, samples: &[f32], out: &mut Vec<f32>) -> Result<(), CodecError> {
        self.waiting.extend_from_slice(samples);
        let result = self.blocks(out);
        if result.is_err() {
            self.waiting.clear();
        }
        result.map_err(|reason| CodecError::Backend { doing: "resampling", reason })
    }

    fn blocks(&mut self, out: &mut Vec<f32>) -> Result<(), String> {
        let channels = self.channels.count();
        let mut used = 0;
        while let Some(input) = self.waiting.get(used..) {
            let frames = self.native.input_frames_next();
            if input.len() < frames * channels {
                break;
            }
            let room = self.block.len() / channels;
            let input = InterleavedSlice::new(input, channels, frames).map_err(text)?;
            let mut output =
                InterleavedSlice::new_mut(&mut self.block, channels, room).map_err(text)?;
            let (taken, given) =
                self.native.process_into_buffer(&input, &mut output, None).map_err(text)?;
            out.extend(self.block.iter().take(given * channels));
            used += taken * channels;
        }
        self.waiting.drain(..used.min(self.waiting.len()));
        Ok(())
    }
}

fn text(error: impl ToString) -> String {
    error.to_string()
}

impl std::fmt::Debug for Resampler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resampler")
            .field("rate", &self.rate)
            .field("channels", &self.channels)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::codec::signal::{peak_at, sine};

    #[test]
    fn every_rate_keeps_pitch_level_and_duration() {
        for rate in [8_000, 11_025, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000] {
            let mut resampler = Resampler::new(rate, Channels::Mono).unwrap();
            let mut out = Vec::new();
            resampler.process(&sine(440.0, 0.5, rate, rate as usize), &mut out).unwrap();
            let missing = 48_000 - out.len() as i64;
            assert!((0..=480).contains(&missing), "{rate} Hz: {missing} samples short of a second");
            let peak = peak_at(&out[4_800..], 440.0, 48_000);
            assert!((peak - 0.5).abs() < 0.002, "{rate} Hz: a peak of {peak}");
        }
    }

    #[test]
    fn rates_out_of_bounds_are_named() {
        for rate in [0, 7_999, 48_001, u32::MAX] {
            let error = Resampler::new(rate, Channels::Mono).unwrap_err();
            assert!(error.to_string().contains("sample_rate"), "{error}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        /// How a stream is cut into chunks changes nothing.
        #[test]
        fn chunks_give_what_the_whole_gives(
            rate in 8_000_u32..=48_000,
            cuts in prop::collection::vec(1_usize..900, 1..8),
        ) {
            let signal = sine(440.0, 0.5, rate, rate as usize / 5 * 2);
            let mut whole = Vec::new();
            let mut resampler = Resampler::new(rate, Channels::Stereo).unwrap();
            resampler.process(&signal, &mut whole).unwrap();
            let mut parts = Vec::new();
            let mut resampler = Resampler::new(rate, Channels::Stereo).unwrap();
            let mut rest = &signal[..];
            for size in cuts.into_iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (now, later) = rest.split_at((size * 2).min(rest.len()));
                resampler.process(now, &mut parts).unwrap();
                rest = later;
            }
            prop_assert_eq!(whole, parts);
        }
    }
}
