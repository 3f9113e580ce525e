//! Loudness as RTP tells it (RFC 6464).

/// The level of digital silence.
pub const SILENCE: u8 = 127;

/// The audio level of RFC 6464, section 3, of some samples: the root mean square in -dBov, 0
/// (that of a full-scale square wave) to 127 ([`SILENCE`]). Non-finite samples count as silence.
pub fn audio_level(samples: &[f32]) -> u8 {
    if samples.is_empty() {
        return SILENCE;
    }
    let energy: f64 = samples
        .iter()
        .filter(|sample| sample.is_finite())
        .map(|&sample| f64::from(sample) * f64::from(sample))
        .sum();
    let mean = energy / samples.len() as f64;
    if mean <= 0.0 {
        return SILENCE;
    }
    let below_overload = -10.0 * mean.log10();
    below_overload.round().clamp(0.0, f64::from(SILENCE)) as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::signal::sine;

    #[test]
    fn levels_of_known_signals() {
        assert_eq!(audio_level(&[]), SILENCE);
        assert_eq!(audio_level(&[0.0; 960]), SILENCE);
        assert_eq!(audio_level(&[1.0, -1.0, 1.0, -1.0]), 0);
        assert_eq!(audio_level(&[5.0; 4]), 0, "louder than overload is overload");
        assert_eq!(audio_level(&[0.1; 100]), 20);
        // A sine of full scale is 3 dB below the square wave.
        assert_eq!(audio_level(&sine(1000.0, 1.0, 48_000, 48_000)), 3);
        assert_eq!(audio_level(&[f32::NAN; 8]), SILENCE);
        assert_eq!(audio_level(&[f32::MIN_POSITIVE; 8]), SILENCE);
    }
}
