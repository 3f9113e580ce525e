//! Numbers that wrap, made to go on.

use crate::trace::state::saved;

/// Extends the 16-bit sequence numbers of RTP to numbers that do not wrap (RFC 3550, appendix A.1,
/// does it by counting cycles): each is taken for the nearest to the highest seen before.
///
/// ```
/// let mut unwrapper = rtcmesh_core::sync::Unwrapper::new();
/// let last = unwrapper.unwrap(65_535);
/// assert_eq!(unwrapper.unwrap(0), last + 1);
/// assert_eq!(unwrapper.unwrap(65_534), last - 1);
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct Unwrapper {
    highest: Option<u64>,
}

saved!(struct Unwrapper { highest });

impl Unwrapper {
    /// One that has seen nothing.
    pub const fn new() -> Self {
        Self { highest: None }
    }

    /// The extended number. The first is at least 65,536, so that what was sent before it, and
    /// overtaken, has a number too.
    pub fn unwrap(&mut self, sequence: u16) -> u64 {
        let Some(highest) = self.highest else {
            return *self.highest.insert((1 << 16) + u64::from(sequence));
        };
        let ahead = sequence.wrapping_sub(highest as u16) as i16;
        let extended = highest.saturating_add_signed(i64::from(ahead));
        self.highest = Some(highest.max(extended));
        extended
    }
}

/// How far the 32-bit timestamp `rtp` is ahead of `reference`, in ticks, by the shorter way round.
pub(super) const fn ahead(rtp: u32, reference: u32) -> i64 {
    rtp.wrapping_sub(reference) as i32 as i64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_was_overtaken_by_the_first_sorts_before_it() {
        let mut unwrapper = Unwrapper::new();
        let first = unwrapper.unwrap(0);
        assert_eq!(unwrapper.unwrap(65_535), first - 1);
        assert_eq!(unwrapper.unwrap(32_768), first - 32_768, "exactly half round is behind");
    }

    #[test]
    fn timestamps_are_compared_round_the_wrap() {
        assert_eq!(ahead(0, 0xffff_fc40), 960);
        assert_eq!(ahead(0xffff_fc40, 0), -960);
    }

    proptest! {
        #[test]
        fn reordered_numbers_come_back_over_many_wraps(
            start: u16,
            steps in prop::collection::vec(0_i64..16_000, 1..200),
        ) {
            let mut unwrapper = Unwrapper::new();
            let base = unwrapper.unwrap(start);
            let mut highest = base;
            for step in steps {
                // A quarter of the steps goes back.
                let number = highest.saturating_add_signed(step - 4_000).max(base);
                prop_assert_eq!(unwrapper.unwrap(number as u16), number);
                highest = highest.max(number);
            }
        }
    }
}
