//! Who is apart: pairs without a path between them, and pairs of which one has ended the connection by wish.
//!
//! [`Wishes`] says who must not connect any more, and forgets early; [`Parted`] says whom automatic mode need not bring together again, and
//! forgets only what it must.

use std::collections::BTreeMap;
use std::time::Duration;

/// When something was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct When {
    /// It happened no earlier than this: an application that does not read is told later.
    pub(super) earliest: Duration,
    /// The application was told then.
    pub(super) told: Duration,
}

#[cfg(test)]
impl When {
    /// It was told when it happened.
    pub(super) const fn at(told: Duration) -> Self {
        Self { earliest: told, told }
    }
}

/// Two hosts, in whichever order.
const fn pair(a: usize, b: usize) -> (usize, usize) {
    if a < b { (a, b) } else { (b, a) }
}

/// Between whom there is a direct path.
#[derive(Debug, Default)]
pub(super) struct Paths {
    /// Since when there is none; `None`: there is one. Of pairs that are not in here there was never any.
    without_since: BTreeMap<(usize, usize), Option<Duration>>,
}

impl Paths {
    /// There is a path between these two from now on, or there is none.
    pub(super) fn set(&mut self, now: Duration, a: usize, b: usize, open: bool) {
        match self.without_since.get_mut(&pair(a, b)) {
            Some(since) if open => *since = None,
            Some(since) => *since = since.or(Some(now)),
            None if open => drop(self.without_since.insert(pair(a, b), None)),
            None => {}
        }
    }

    /// Since when these two are without a path; `None`: they have one.
    pub(super) fn without_since(&self, a: usize, b: usize) -> Option<Duration> {
        self.without_since.get(&pair(a, b)).copied().unwrap_or(Some(Duration::ZERO))
    }
}

/// A wish to be apart.
#[derive(Debug)]
struct Wish {
    /// Who ended the connection.
    by: usize,
    /// When the other one was told.
    known: Option<Duration>,
}

/// Pairs of which one has ended the connection, and nobody has wished for another one since.
#[derive(Debug, Default)]
pub(super) struct Wishes(BTreeMap<(usize, usize), Wish>);

/// A call that was under way when the connection was ended may arrive until then: signaling is slow where segments are lost.
const CALL_UNDER_WAY: Duration = Duration::from_secs(15);

impl Wishes {
    /// One has ended its connection with another.
    pub(super) fn ended(&mut self, by: usize, other: usize) {
        self.0.insert(pair(by, other), Wish { by, known: None });
    }

    /// A host was told that another has ended their connection.
    pub(super) fn told(&mut self, now: Duration, host: usize, by: usize) {
        if let Some(wish) = self.0.get_mut(&pair(host, by)).filter(|wish| wish.by == by) {
            wish.known.get_or_insert(now);
        }
    }

    /// A connection between these two is in order again.
    pub(super) fn forget(&mut self, a: usize, b: usize) {
        self.0.remove(&pair(a, b));
    }

    /// The same between a host and anybody: it has begun anew, or what it says may come late.
    pub(super) fn forget_all_of(&mut self, host: usize) {
        self.0.retain(|(a, b), _| *a != host && *b != host);
    }

    /// A connection is being made: whether it may be. Where one of the two has not been told yet, it may have called.
    pub(super) fn may_connect(&mut self, now: Duration, a: usize, b: usize) -> bool {
        let known = self.0.remove(&pair(a, b)).and_then(|wish| wish.known);
        known.is_none_or(|known| now <= known + CALL_UNDER_WAY)
    }
}

/// The end of a connection by wish.
#[derive(Debug)]
struct End {
    by: usize,
    at: Duration,
    /// Whether one of the two has called since, or has learnt of the other anew: automatic mode calls then.
    undone: bool,
}

/// Pairs of which one has ended the connection by wish: automatic mode leaves them apart until one calls, or is announced anew.
#[derive(Debug, Default)]
pub(super) struct Parted(BTreeMap<(usize, usize), End>);

impl Parted {
    /// One has ended its connection with another.
    pub(super) fn ended(&mut self, now: Duration, by: usize, other: usize) {
        self.0.insert(pair(by, other), End { by, at: now, undone: false });
    }

    /// One calls the other.
    pub(super) fn called(&mut self, by: usize, other: usize) {
        if let Some(end) = self.0.get_mut(&pair(by, other)) {
            end.undone = true;
        }
    }

    /// A host was told that another has ended their connection. That is its answer, where it has called, or was called, before it knew:
    /// the word of the end may come after an announce.
    pub(super) fn told(&mut self, host: usize, by: usize) {
        if let Some(end) = self.0.get_mut(&pair(host, by)).filter(|end| end.by == by) {
            end.undone = false;
        }
    }

    /// One has learnt of the other anew.
    pub(super) fn announced(&mut self, when: When, a: usize, b: usize) {
        if let Some(end) = self.0.get_mut(&pair(a, b)).filter(|end| when.earliest > end.at) {
            end.undone = true;
        }
    }

    /// A host has connected with another. Only who has ended the connection knows that it is a new one: the other one may be told of the
    /// old one yet, when it stands no more and the word of its end is under way.
    pub(super) fn connected(&mut self, when: When, host: usize, other: usize) {
        let anew = |end: &&End| end.by == host && when.earliest > end.at;
        if self.0.get(&pair(host, other)).filter(anew).is_some() {
            self.0.remove(&pair(host, other));
        }
    }

    /// Whether nobody but an application brings these two together.
    pub(super) fn are(&self, a: usize, b: usize) -> bool {
        self.0.get(&pair(a, b)).is_some_and(|end| !end.undone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_path_that_closes_twice_is_closed_since_the_first_time() {
        let mut paths = Paths::default();
        paths.set(seconds(1), 1, 0, false);
        assert_eq!(paths.without_since(0, 1), Some(seconds(0)), "there was never one");
        paths.set(seconds(2), 0, 1, true);
        assert_eq!(paths.without_since(1, 0), None);
        paths.set(seconds(3), 1, 0, false);
        paths.set(seconds(4), 0, 1, false);
        assert_eq!(paths.without_since(0, 1), Some(seconds(3)));
        assert_eq!(paths.without_since(0, 2), Some(seconds(0)));
    }

    #[test]
    fn a_wish_counts_once_both_know_it_and_until_another_one() {
        let late = seconds(100);
        let ended = || {
            let mut wishes = Wishes::default();
            wishes.ended(0, 1);
            wishes
        };
        assert!(ended().may_connect(late, 0, 1), "the other one may have called");
        let known = |host: usize, by: usize| {
            let mut wishes = ended();
            wishes.told(seconds(1), host, by);
            wishes
        };
        assert!(!known(1, 0).may_connect(late, 1, 0));
        assert!(known(1, 0).may_connect(seconds(2), 1, 0), "a call that was under way");
        assert!(known(0, 1).may_connect(late, 1, 0), "that is another one's wish");
        let mut wishes = known(1, 0);
        wishes.forget(0, 1);
        assert!(wishes.may_connect(late, 0, 1));
        let mut wishes = known(1, 0);
        wishes.forget_all_of(2);
        assert!(!wishes.may_connect(late, 0, 1));
        let mut wishes = known(1, 0);
        wishes.forget_all_of(1);
        assert!(wishes.may_connect(late, 0, 1));
    }

    #[test]
    fn who_has_parted_is_apart_until_a_call_or_an_announce_that_comes_later() {
        let parted = || {
            let mut parted = Parted::default();
            parted.ended(seconds(2), 1, 0);
            parted
        };
        assert!(parted().are(0, 1) && parted().are(1, 0) && !parted().are(0, 2));
        let mut called = parted();
        called.called(0, 1);
        assert!(!called.are(0, 1));
        called.told(1, 0);
        assert!(!called.are(0, 1), "an earlier wish, and the other one's");
        called.told(0, 1);
        assert!(called.are(0, 1), "it called before it knew");
        let late = When { earliest: seconds(1), told: seconds(9) };
        for learns in [Parted::announced, Parted::connected] {
            let met = |when| {
                let mut parted = parted();
                learns(&mut parted, when, 1, 0);
                parted.are(0, 1)
            };
            assert!(!met(When::at(seconds(3))));
            assert!(met(When::at(seconds(2))) && met(When::at(seconds(1))), "what was told before");
            assert!(met(late), "it did not read, and may have been told before");
        }
    }

    #[test]
    fn the_word_of_an_end_may_come_after_an_announce_but_not_after_another_connection() {
        let mut parted = Parted::default();
        parted.ended(seconds(2), 1, 0);
        parted.announced(When::at(seconds(3)), 0, 1);
        parted.told(1, 0);
        assert!(!parted.are(0, 1), "that is not who has ended it");
        parted.told(0, 1);
        assert!(parted.are(0, 1));
        parted.connected(When::at(seconds(4)), 0, 1);
        parted.told(0, 1);
        assert!(parted.are(0, 1), "that was the connection that had been ended");
        parted.connected(When::at(seconds(4)), 1, 0);
        parted.told(0, 1);
        assert!(!parted.are(0, 1));
    }
}
