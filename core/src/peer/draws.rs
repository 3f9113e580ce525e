//! The engine's random numbers that are no secrets: each connection has its own.

/// Where a connection stands in its random numbers.
///
/// The engine draws SSRCs, transaction ids and the like from a generator of the thread (`fastrand`). All
/// connections of a thread, and the application, would share it: what one draws would change what the others
/// get. So each connection brings its own state while it is driven, and puts back what was there.
#[derive(Debug)]
pub(super) struct Draws(Option<u64>);

impl Draws {
    pub(super) const fn new(seed: u64) -> Self {
        Self(Some(seed))
    }

    /// From here on the thread draws from this connection's numbers. Within itself it changes nothing.
    #[must_use]
    pub(super) fn enter(&mut self) -> Option<Others> {
        let ours = self.0.take()?;
        let others = Others(fastrand::get_seed());
        fastrand::seed(ours);
        Some(others)
    }

    /// The end of what [`Draws::enter`] began.
    pub(super) fn leave(&mut self, others: Option<Others>) {
        if let Some(Others(seed)) = others {
            self.0 = Some(fastrand::get_seed());
            fastrand::seed(seed);
        }
    }
}

/// The state of everybody else on the thread.
#[derive(Debug)]
pub(super) struct Others(u64);

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(draws: &mut Draws) -> u64 {
        let others = draws.enter();
        let drawn = fastrand::u64(..);
        draws.leave(others);
        drawn
    }

    #[test]
    fn what_others_draw_changes_nothing() {
        let alone = {
            let mut draws = Draws::new(1);
            [draw(&mut draws), draw(&mut draws)]
        };
        let (mut draws, mut other) = (Draws::new(1), Draws::new(2));
        let first = draw(&mut draws);
        fastrand::seed(3);
        draw(&mut other);
        fastrand::u64(..);
        assert_eq!([first, draw(&mut draws)], alone);
        assert_ne!(alone[0], alone[1]);
    }

    #[test]
    fn the_application_keeps_its_own_numbers() {
        fastrand::seed(4);
        let expected = [fastrand::u64(..), fastrand::u64(..)];
        fastrand::seed(4);
        let first = fastrand::u64(..);
        draw(&mut Draws::new(1));
        assert_eq!([first, fastrand::u64(..)], expected);
    }

    #[test]
    fn within_itself_it_goes_on() {
        let mut draws = Draws::new(1);
        let outer = draws.enter();
        let first = fastrand::u64(..);
        let second = draw(&mut draws);
        draws.leave(outer);
        let mut again = Draws::new(1);
        assert_eq!([draw(&mut again), draw(&mut again)], [first, second]);
    }
}
