//! From one number of channels to another.

use super::settings::Channels;

/// Appends interleaved `samples` of `from` channels to `out` with `to` channels: a mono signal goes
/// to both sides, two sides become their mean. Non-finite samples become 0; returns how many.
pub(super) fn mix_into(samples: &[f32], from: Channels, to: Channels, out: &mut Vec<f32>) -> u64 {
    let mut broken = 0;
    let mut clean = |sample: f32| {
        if sample.is_finite() {
            sample
        } else {
            broken += 1;
            0.0
        }
    };
    match (from, to) {
        (Channels::Mono, Channels::Mono) | (Channels::Stereo, Channels::Stereo) => {
            out.extend(samples.iter().map(|&sample| clean(sample)));
        }
        (Channels::Mono, Channels::Stereo) => {
            out.extend(samples.iter().flat_map(|&sample| [clean(sample); 2]));
        }
        (Channels::Stereo, Channels::Mono) => {
            out.extend(samples.chunks_exact(2).map(|pair| {
                // Halved before they are added: the sum of two huge samples must stay finite.
                pair.iter().map(|&sample| clean(sample) * 0.5).sum::<f32>()
            }));
        }
    }
    broken
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mixed(samples: &[f32], from: Channels, to: Channels) -> (Vec<f32>, u64) {
        let mut out = Vec::new();
        let broken = mix_into(samples, from, to, &mut out);
        (out, broken)
    }

    #[test]
    fn up_down_and_through() {
        use Channels::{Mono, Stereo};
        assert_eq!(mixed(&[0.25, 0.5], Mono, Stereo).0, [0.25, 0.25, 0.5, 0.5]);
        assert_eq!(mixed(&[0.25, 0.75, 1.0, -1.0], Stereo, Mono).0, [0.5, 0.0]);
        assert_eq!(mixed(&[0.25, 0.75], Stereo, Stereo).0, [0.25, 0.75]);
    }

    #[test]
    fn non_finite_samples_are_silent_and_counted() {
        use Channels::{Mono, Stereo};
        assert_eq!(mixed(&[f32::NAN, 0.5], Mono, Mono), (vec![0.0, 0.5], 1));
        assert_eq!(mixed(&[f32::INFINITY, 0.5], Stereo, Mono), (vec![0.25], 1));
        assert_eq!(mixed(&[f32::MAX, f32::MAX], Stereo, Mono), (vec![f32::MAX], 0));
    }
}
