//! The fastest way through the network, as seen of late.

/// How long the minimum looks back at least, in nanoseconds; at most twice that. Long enough that a
/// queue in the network empties within it, short enough that a clock 500 ppm slow has moved by 2 ms
/// only. The window of NetEq, which is proven in practice, is 2 s too.
const WINDOW: i64 = 2_000_000_000;

/// The minimum, over the last two to four seconds, of transit times: arrival minus RTP time, which
/// contains an unknown constant and the drift of the sender's clock.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Fastest {
    since: i64,
    current: Option<i64>,
    previous: Option<i64>,
}

impl Fastest {
    /// Takes the `transit` of what arrived at `at`, in nanoseconds on never decreasing timelines.
    pub(super) fn observe(&mut self, at: i64, transit: i64) {
        let age = at.saturating_sub(self.since);
        if age >= WINDOW {
            self.previous = self.current.filter(|_| age < 2 * WINDOW);
            self.current = None;
            self.since = at;
        }
        self.current = Some(self.current.map_or(transit, |current| current.min(transit)));
    }

    /// The minimum; `None` before anything was seen.
    pub(super) fn get(&self) -> Option<i64> {
        match (self.current, self.previous) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        *self = Self { since: self.since, ..Self::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minimum_is_remembered_for_two_to_four_seconds() {
        let mut fastest = Fastest::default();
        assert_eq!(fastest.get(), None);
        fastest.observe(0, 5);
        for step in 1..=4 {
            fastest.observe(step * WINDOW / 2, 30);
            let expected = if step < 4 { 5 } else { 30 };
            assert_eq!(fastest.get(), Some(expected), "after {step} s");
        }
        fastest.observe(2 * WINDOW, 20);
        assert_eq!(fastest.get(), Some(20), "a new minimum counts at once");
    }

    #[test]
    fn after_a_long_pause_only_what_is_new_counts() {
        let mut fastest = Fastest::default();
        fastest.observe(0, 5);
        fastest.observe(2 * WINDOW, 700);
        assert_eq!(fastest.get(), Some(700));
        fastest.clear();
        assert_eq!(fastest.get(), None);
        fastest.observe(i64::MAX, i64::MIN);
        assert_eq!(fastest.get(), Some(i64::MIN));
    }
}
