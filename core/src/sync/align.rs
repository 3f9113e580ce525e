//! Whose clock is ahead: two peers on one timeline.

/// By how much the clock of one peer is ahead of another's.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct TimestampOffset {
    /// Milliseconds by which the other peer's wall clock is ahead: what both captured at the same moment,
    /// the other stamps so much later. What the ways of the two differ by, one way, is part of it: that
    /// can't be told from a difference of clocks.
    pub offset_ms: f64,
    /// How sure that is: 0 to 1. Less for jitter that hides the fastest way, for errors of the clocks, and
    /// for what the ways may differ by.
    pub confidence: f64,
    /// Whether it stays so: both are synced, neither clock made a step within 30 s, and the clocks are less
    /// than 20 ppm apart.
    pub is_stable: bool,
}

/// What one peer contributes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Alignment {
    /// The arrival by the fastest way of what was captured at `captured_us`, in nanoseconds after an
    /// instant that both have in common.
    pub(super) arrival: i128,
    pub(super) captured_us: u64,
    /// What it may be off, in milliseconds.
    pub(super) error_ms: f64,
    /// How much faster than the local clock the sender's wall clock runs, in ppm, if that is known.
    pub(super) ppm: Option<f64>,
    pub(super) synced: bool,
    /// Whether nothing made a step for a while.
    pub(super) steady: bool,
}

/// Clocks further apart drift away.
const STABLE_PPM: f64 = 20.0;

/// An error, in milliseconds, that halves the confidence: an audio packet's length.
const HALF: f64 = 20.0;

/// A peer that is not synced yet counts so much.
const UNSURE: f64 = 0.5;

/// By how much the clock of `other` is ahead of `own`.
pub(super) fn offset(own: &Alignment, other: &Alignment) -> TimestampOffset {
    // Both are local time minus capture time: exact, so that what is there and back is zero.
    let arrivals = own.arrival - other.arrival;
    let captures = i128::from(own.captured_us) - i128::from(other.captured_us);
    let nanos = arrivals - captures * 1_000;
    let apart = own.ppm.zip(other.ppm).map(|(own, other)| (own - other).abs());
    let synced = |one: &Alignment| if one.synced { 1.0 } else { UNSURE };
    let error = own.error_ms + other.error_ms;
    TimestampOffset {
        offset_ms: nanos as f64 / 1e6,
        confidence: (synced(own).min(synced(other)) / (1.0 + error / HALF)).clamp(0.0, 1.0),
        is_stable: own.synced
            && other.synced
            && own.steady
            && other.steady
            && apart.is_some_and(|apart| apart < STABLE_PPM),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CALM: Alignment = Alignment {
        arrival: 5_000_000_000,
        captured_us: 1_800_000_000_000_000,
        error_ms: 0.0,
        ppm: Some(3.0),
        synced: true,
        steady: true,
    };

    #[test]
    fn the_other_is_ahead_where_it_stamps_later() {
        // Both arrived at once; the other says that it was captured 40 ms later.
        let other = Alignment { captured_us: CALM.captured_us + 40_000, ..CALM };
        let found = offset(&CALM, &other);
        assert_eq!(found, TimestampOffset { offset_ms: 40.0, confidence: 1.0, is_stable: true });
    }

    #[test]
    fn stable_is_what_neither_steps_nor_drifts() {
        for (other, why) in [
            (Alignment { synced: false, ..CALM }, "not synced"),
            (Alignment { steady: false, ..CALM }, "a step"),
            (Alignment { ppm: Some(-17.1), ..CALM }, "a drift"),
            (Alignment { ppm: None, ..CALM }, "a drift that is not known"),
        ] {
            assert!(!offset(&CALM, &other).is_stable, "{why}");
            assert!(!offset(&other, &CALM).is_stable, "{why}");
        }
        let syncing = Alignment { synced: false, ..CALM };
        assert_eq!(offset(&CALM, &syncing).confidence, 0.5);
        let vague = Alignment { error_ms: 20.0, ..CALM };
        assert_eq!(offset(&CALM, &vague).confidence, 0.5);
    }

    proptest! {
        /// Invariant 23, and that ways add up.
        #[test]
        fn offsets_are_antisymmetric_and_add_up(
            arrivals: [i64; 3],
            captures: [u64; 3],
        ) {
            let peer = |n: usize| Alignment {
                // A thousand years.
                arrival: i128::from(arrivals[n]) % 30_000_000_000_000_000_000,
                captured_us: captures[n] % 30_000_000_000_000_000,
                ..CALM
            };
            let between = |a: usize, b: usize| offset(&peer(a), &peer(b)).offset_ms;
            prop_assert_eq!(between(0, 1), -between(1, 0));
            prop_assert_eq!(between(0, 0), 0.0);
            let round = between(0, 1) + between(1, 2) + between(2, 0);
            prop_assert!(round.abs() < 1.0, "{}", round);
        }
    }
}
