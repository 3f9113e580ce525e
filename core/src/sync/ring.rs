//! A ring of values by their sequence number.

use crate::trace::state::{Save, saved};

/// The most consecutive sequence numbers that a ring spans: of the shortest Opus packets, 2.5 ms,
/// they are 1.28 s.
pub(super) const CAPACITY: usize = 512;
/// The places it starts with: enough for 200 ms of 20 ms packets and some burst.
const FIRST_SIZE: usize = 32;

/// Why a value was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// There is one with this number.
    Occupied,
    /// The numbers would span more than [`CAPACITY`].
    Full,
}

/// Values in the order of their numbers, of which some may be missing. To insert costs constant time,
/// to take the first away too, but for stepping over what is missing behind it. Memory is allocated
/// with the first value, doubles while more room is needed, and stays.
#[derive(Debug)]
pub(super) struct Ring<T> {
    /// A power of two in number, or none. The value of number `n` is at `n` modulo that.
    slots: Vec<Option<T>>,
    len: usize,
    /// The lowest number that is there, if any is.
    first: u64,
    /// The highest.
    last: u64,
}

saved!(struct Ring<T> [T: Save] { slots, len, first, last } if is_possible);

impl<T> Ring<T> {
    pub(super) const fn new() -> Self {
        Self { slots: Vec::new(), len: 0, first: 0, last: 0 }
    }

    /// Whether the numbers are those of the values.
    fn is_possible(&self) -> bool {
        let size = self.slots.len();
        let sized = size == 0 || size.is_power_of_two() && size <= CAPACITY;
        let spans = self.last.checked_sub(self.first).is_some_and(|span| span < size as u64);
        let filled = self.slots.iter().flatten().count();
        let ends = [self.first, self.last].map(|end| self.slots.get(self.index(end)));
        let ended = spans && ends.iter().all(|end| end.is_some_and(Option::is_some));
        sized && filled == self.len && (self.len == 0 || ended && self.iter().count() == self.len)
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// The lowest number that is there, and its value.
    pub(super) fn first(&self) -> Option<(u64, &T)> {
        if self.len == 0 {
            return None;
        }
        let value = self.slots.get(self.index(self.first))?.as_ref()?;
        Some((self.first, value))
    }

    /// All that is there, by number.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &T)> {
        let numbers = (self.first..=self.last).take(if self.len == 0 { 0 } else { CAPACITY });
        numbers.filter_map(|number| Some((number, self.slots.get(self.index(number))?.as_ref()?)))
    }

    pub(super) fn insert(&mut self, number: u64, value: T) -> Result<(), Refused> {
        let (first, last) = match self.len {
            0 => (number, number),
            _ => (self.first.min(number), self.last.max(number)),
        };
        let span = last - first;
        if span >= CAPACITY as u64 {
            return Err(Refused::Full);
        }
        self.make_room(span as usize + 1);
        let index = self.index(number);
        match self.slots.get_mut(index) {
            Some(slot @ None) => *slot = Some(value),
            _ => return Err(Refused::Occupied),
        }
        self.len += 1;
        (self.first, self.last) = (first, last);
        Ok(())
    }

    /// Takes the value with the lowest number away.
    pub(super) fn pop_first(&mut self) -> Option<T> {
        if self.len == 0 {
            return None;
        }
        let index = self.index(self.first);
        let value = self.slots.get_mut(index)?.take()?;
        self.len -= 1;
        if self.len > 0 {
            while self.slots.get(self.index(self.first)).is_some_and(Option::is_none) {
                self.first += 1;
            }
        }
        Some(value)
    }

    /// Drops every value and keeps the memory.
    pub(super) fn clear(&mut self) {
        self.slots.fill_with(|| None);
        self.len = 0;
    }

    fn index(&self, number: u64) -> usize {
        number as usize & self.slots.len().wrapping_sub(1)
    }

    fn make_room(&mut self, span: usize) {
        if span <= self.slots.len() {
            return;
        }
        let size = span.next_power_of_two().max(FIRST_SIZE);
        let old = std::mem::take(&mut self.slots);
        self.slots.resize_with(size, || None);
        // At most as many numbers as the old ring had places: each place is met once.
        let old_size = old.len() as u64;
        for (place, value) in (0_u64..).zip(old) {
            if value.is_some() {
                let after = place.wrapping_sub(self.first) & (old_size - 1);
                let index = self.index(self.first + after);
                if let Some(slot) = self.slots.get_mut(index) {
                    *slot = value;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::hostile_parts::hostile_ring;
    use super::*;
    use crate::trace::state::reread;

    #[test]
    fn a_ring_of_few_values_is_small_and_a_full_one_bounded() {
        let mut ring = Ring::new();
        assert_eq!(ring.slots.capacity(), 0);
        for number in 0..10_000 {
            let fits = number < CAPACITY as u64;
            assert_eq!(ring.insert(number, number).is_ok(), fits, "{number}");
            assert_eq!(ring.slots.len() == FIRST_SIZE, number < FIRST_SIZE as u64);
        }
        assert_eq!(ring.slots.len(), CAPACITY);
    }

    #[test]
    fn what_is_read_has_the_values_that_it_says() {
        let filled = || {
            let mut ring = Ring::new();
            (5..40).for_each(|number| ring.insert(number, number).unwrap());
            assert_eq!(ring.pop_first(), Some(5));
            ring
        };
        let ring = filled();
        assert!(reread(&ring).unwrap().iter().eq(ring.iter()));
        assert_eq!(reread(&Ring::<u64>::new()).unwrap().len(), 0);
        // The first one would be looked for without an end.
        let changes: [fn(&mut Ring<u64>); 6] = [
            |ring| ring.len += 1,
            |ring| ring.slots.fill(None),
            |ring| ring.first = 5,
            |ring| ring.last = u64::MAX,
            |ring| (ring.first, ring.last) = (ring.last, ring.first),
            |ring| ring.slots.push(None),
        ];
        for (nth, change) in changes.into_iter().enumerate() {
            let mut ring = filled();
            change(&mut ring);
            assert!(reread(&ring).is_err(), "{nth}");
        }
    }

    proptest! {
        #[test]
        fn it_behaves_as_a_sorted_map_would(bytes in prop::collection::vec(any::<u8>(), 0..3_000)) {
            hostile_ring(&bytes);
        }
    }
}
