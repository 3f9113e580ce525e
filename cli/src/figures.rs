//! Numbers as they are shown.

use std::time::Duration;

/// A number with so many places after the point.
pub(crate) fn rounded(value: f64, places: i32) -> f64 {
    let factor = 10_f64.powi(places);
    (value * factor).round() / factor
}

/// A duration in milliseconds, to the microsecond.
pub(crate) fn milliseconds(duration: Duration) -> f64 {
    rounded(duration.as_secs_f64() * 1e3, 3)
}

/// Reads a number of seconds above zero, as it is written on the command line.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    const MOST: f64 = 1e8;
    match text.parse::<f64>() {
        Ok(value) if value > 0.0 && value <= MOST => Ok(Duration::from_secs_f64(value)),
        Ok(_) => Err(format!("expected a number of seconds above 0 and up to {MOST}")),
        Err(_) => Err("expected a number of seconds".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_rounded() {
        assert_eq!(rounded(439.96, 1), 440.0);
        assert_eq!(milliseconds(Duration::from_nanos(1_234_567)), 1.235);
    }

    #[test]
    fn seconds_are_positive_and_finite() {
        assert_eq!(seconds("1.5"), Ok(Duration::from_millis(1_500)));
        for text in ["0", "-1", "NaN", "inf", "1e9", "", "ten"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
