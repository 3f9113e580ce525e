//! Loudness.

/// What digital silence is called, in dBFS.
pub(crate) const SILENCE_DBFS: f64 = -100.0;

/// The root mean square of some samples in dB relative to full scale: a square wave of amplitude 1
/// has 0, a sine of amplitude 1 has −3, silence has [`SILENCE_DBFS`]. Non-finite samples count as 0.
pub(super) fn level_dbfs(samples: &[f32]) -> f64 {
    if samples.is_empty() {
        return SILENCE_DBFS;
    }
    let energy: f64 =
        samples.iter().filter(|s| s.is_finite()).map(|&s| f64::from(s) * f64::from(s)).sum();
    (10.0 * (energy / samples.len() as f64).log10()).max(SILENCE_DBFS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_of_known_signals() {
        let table: [(&[f32], f64); 5] = [
            (&[], SILENCE_DBFS),
            (&[0.0; 48], SILENCE_DBFS),
            (&[1.0, -1.0], 0.0),
            (&[0.1; 10], -20.0),
            (&[f32::NAN, f32::INFINITY], SILENCE_DBFS),
        ];
        for (samples, level) in table {
            assert!((level_dbfs(samples) - level).abs() < 1e-3, "{samples:?}");
        }
    }
}
