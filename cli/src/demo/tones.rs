//! Which peer has which tone.

/// The lowest tone: above most of a voice's power.
const LOWEST_HZ: f64 = 800.0;
/// The highest one: what any codec of speech carries.
const HIGHEST_HZ: f64 = 3_200.0;
/// The distance between tones where there is room.
const STEP_HZ: f64 = 300.0;
/// How far the detected tone may be off: well above the detector's error, and below half of the
/// smallest distance between two tones.
const TOLERANCE_HZ: f64 = 8.0;

/// The tone of the peer with this index, 0 to `peers` − 1.
pub(super) fn tone_of(index: usize, peers: usize) -> f64 {
    let steps = peers.saturating_sub(1).max(1) as f64;
    LOWEST_HZ + index as f64 * STEP_HZ.min((HIGHEST_HZ - LOWEST_HZ) / steps).floor()
}

/// Whether a detected tone is the expected one.
pub(super) fn is_tone(detected: Option<f64>, expected: f64) -> bool {
    detected.is_some_and(|hz| (hz - expected).abs() <= TOLERANCE_HZ)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_tone_can_be_taken_for_another() {
        for peers in 2..=50 {
            let tones: Vec<f64> = (0..peers).map(|index| tone_of(index, peers)).collect();
            assert!(tones.windows(2).all(|pair| pair[1] - pair[0] > 2.0 * TOLERANCE_HZ));
            assert!(tones.iter().all(|hz| (LOWEST_HZ..=HIGHEST_HZ).contains(hz)));
            // No tone is an octave above another one: an overtone is no peer's tone.
            if peers <= 5 {
                let octave = |hz: &f64| tones.iter().any(|other| (other - 2.0 * hz).abs() < 50.0);
                assert!(!tones.iter().any(octave), "{tones:?}");
            }
        }
        assert_eq!(tone_of(4, 5), 2_000.0);
    }

    #[test]
    fn a_tone_is_recognised() {
        assert!(is_tone(Some(803.0), 800.0));
        assert!(!is_tone(Some(810.0), 800.0));
        assert!(!is_tone(None, 800.0));
    }
}
