//! Histories of calls read from bytes, for ordinary tests and for fuzzing: each byte is one decision, so that
//! what finds its way by small changes of the bytes finds it through the calls too.

use std::time::Duration;

/// Reads numbers, texts and choices from bytes; behind their end there are zeros.
#[derive(Debug)]
pub struct Bytes<'a>(pub &'a [u8]);

impl<'a> Bytes<'a> {
    /// Whether all are read.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next one.
    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// True for one in `n` bytes.
    pub fn one_in(&mut self, n: u8) -> bool {
        self.byte().is_multiple_of(n)
    }

    /// A number of eight bytes.
    pub fn number(&mut self) -> u64 {
        (0..8).fold(0, |number, _| number << 8 | u64::from(self.byte()))
    }

    /// A number of one byte.
    pub fn small(&mut self) -> u64 {
        u64::from(self.byte())
    }

    /// A number of two bytes.
    pub fn short(&mut self) -> u16 {
        u16::from(self.byte()) << 8 | u16::from(self.byte())
    }

    /// A length of time, of nine bytes.
    pub fn duration(&mut self) -> Duration {
        // Mostly milliseconds, sometimes years.
        let places = self.small() % 64;
        Duration::from_nanos(self.number() >> 1 >> places)
    }

    /// A place in a list of `count`, at least 1.
    pub fn below(&mut self, count: usize) -> usize {
        let number = if count > 256 { self.short().into() } else { usize::from(self.byte()) };
        number % count.max(1)
    }

    /// One of them; not of an empty list.
    pub fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        let place = self.below(all.len());
        all[place]
    }

    /// So many bytes as two of them say, as far as they are there.
    pub fn some(&mut self) -> &'a [u8] {
        let length = usize::from(self.short()).min(self.0.len());
        let (some, rest) = self.0.split_at(length);
        self.0 = rest;
        some
    }

    /// The same as text.
    pub fn text(&mut self) -> String {
        String::from_utf8_lossy(self.some()).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn behind_the_end_there_are_zeros() {
        let mut bytes = Bytes(&[1, 0, 3, b'a', b'b']);
        assert_eq!((bytes.byte(), bytes.text().as_str()), (1, "ab"));
        assert!(bytes.is_empty());
        assert_eq!((bytes.number(), bytes.one_of(&[7, 8]), bytes.text().as_str()), (0, 7, ""));
    }
}
