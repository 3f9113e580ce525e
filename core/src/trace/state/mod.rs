//! The state of a machine as bytes, for the head of a recording whose beginning has gone.
//!
//! What is written follows the fields of the types alone, without names: whoever reads it must have the same
//! layout, of which [`layout`] gives a digest. All numbers are little endian. What is read may be of anybody: it
//! is bounded by the bytes that are left, and by [`MAX_MEMORY`].

mod saved;
mod values;

use std::any::type_name;
use std::collections::BTreeSet;
use std::time::Instant;

use sha2::{Digest, Sha256};

use super::Tape;
use super::format::MAX_RECORD;

pub(crate) use saved::saved;
pub(crate) use values::{load_json, save_json};

/// The memory that a state may take while it is read, in bytes: above what a full ring's machine holds, whose
/// messages under way are the largest part (16 MiB for each peer).
pub(super) const MAX_MEMORY: usize = 1024 * 1024 * 1024;

/// The depth of JSON in a state: above that of what can be received (`serde_json` takes 128).
pub(super) const MAX_DEPTH: usize = 160;

/// The types of a state, as far as its bytes depend on them.
pub(crate) struct Layout {
    hash: Sha256,
    seen: BTreeSet<&'static str>,
}

impl Layout {
    /// A name in the layout.
    pub(crate) fn name(&mut self, name: &str) {
        self.hash.update(name.as_bytes());
        self.hash.update([0]);
    }

    /// The layout of a type, once.
    pub(crate) fn of<T: Save>(&mut self) {
        if self.seen.insert(type_name::<T>()) {
            T::layout(self);
        } else {
            self.name("again");
        }
    }

    /// A field, whose type its accessor tells.
    pub(crate) fn field<S, F: Save>(&mut self, name: &str, _: impl Fn(&S) -> &F) {
        self.name(name);
        self.of::<F>();
    }

    /// A variant, whose types its accessor tells.
    pub(crate) fn variant<S, L: Types>(&mut self, name: &str, _: impl Fn(&S) -> Option<Chain<L>>) {
        self.name(name);
        L::layout(self);
    }
}

/// The types of a variant's fields, one after the other.
pub(crate) struct Chain<L>(std::marker::PhantomData<L>);

impl Chain<()> {
    pub(crate) const fn new() -> Self {
        Self(std::marker::PhantomData)
    }
}

impl<L> Chain<L> {
    /// One more, of this value's type.
    pub(crate) const fn with<T>(self, _: &T) -> Chain<(L, T)> {
        Chain(std::marker::PhantomData)
    }
}

/// See [`Chain`].
pub(crate) trait Types {
    fn layout(layout: &mut Layout);
}

impl Types for () {
    fn layout(_: &mut Layout) {}
}

impl<L: Types, T: Save> Types for (L, T) {
    fn layout(layout: &mut Layout) {
        L::layout(layout);
        layout.of::<T>();
    }
}

/// A digest of how the state of a `T` is laid out, in hexadecimal.
pub(crate) fn layout<T: Save>() -> String {
    let mut layout = Layout { hash: Sha256::new(), seen: BTreeSet::new() };
    layout.of::<T>();
    let digest = layout.hash.finalize();
    super::hex(digest.get(..8).unwrap_or_default())
}

/// A part of a machine whose state can be written down and restored. [`saved!`] implements it.
pub(crate) trait Save: Sized {
    /// Tells which bytes it becomes.
    fn layout(layout: &mut Layout);
    /// Writes it down.
    fn save(&self, to: &mut Writer);
    /// Restores it.
    fn load(from: &mut Reader<'_>) -> Result<Self, Unreadable>;
}

/// Writes a state down.
pub(crate) struct Writer {
    bytes: Vec<u8>,
    origin: Instant,
    words: &'static [&'static str],
    fault: Option<String>,
}

impl Writer {
    /// Instants are told as distances from `origin`, static texts by their places in `words`.
    pub(crate) const fn new(origin: Instant, words: &'static [&'static str]) -> Self {
        Self { bytes: Vec::new(), origin, words, fault: None }
    }

    pub(super) fn put(&mut self, bytes: &[u8]) {
        // What has no place in a record need not be gathered: the machine that is recorded waits meanwhile.
        if self.bytes.len() + bytes.len() > MAX_RECORD {
            self.fault.get_or_insert_with(|| format!("it takes more than {MAX_RECORD} bytes"));
            return;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// What cannot be written down.
    pub(super) fn fault(&mut self, what: impl Into<String>) {
        self.fault.get_or_insert_with(|| what.into());
    }

    /// The bytes, or what could not be written down.
    pub(crate) fn finish(self) -> Result<Vec<u8>, String> {
        match self.fault {
            None => Ok(self.bytes),
            Some(fault) => Err(fault),
        }
    }
}

/// What is read again of what is written of `value`.
#[cfg(test)]
pub(crate) fn reread<T: Save>(value: &T) -> Result<T, Unreadable> {
    let (tape, origin) = (Tape::following(Instant::now(), false), Instant::now());
    let mut to = Writer::new(origin, &[]);
    value.save(&mut to);
    let bytes = to.finish().unwrap();
    let mut from = Reader::new(&bytes, &tape, &[]);
    let read = T::load(&mut from)?;
    from.finish()?;
    Ok(read)
}

/// What is wrong with a state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unreadable {
    /// Where, in bytes from its start.
    pub(crate) at: usize,
    /// In which type, and what.
    pub(crate) what: String,
}

/// Reads a state.
pub(crate) struct Reader<'a> {
    whole: usize,
    rest: &'a [u8],
    tape: &'a Tape,
    words: &'static [&'static str],
    place: (&'static str, &'static str),
    memory: usize,
    depth: usize,
}

impl<'a> Reader<'a> {
    /// Of these bytes. What is restored has `tape` at its borders.
    pub(crate) const fn new(
        bytes: &'a [u8],
        tape: &'a Tape,
        words: &'static [&'static str],
    ) -> Self {
        Self {
            whole: bytes.len(),
            rest: bytes,
            tape,
            words,
            place: ("", ""),
            memory: MAX_MEMORY,
            depth: MAX_DEPTH,
        }
    }

    /// What stands at the borders of what is restored.
    pub(crate) const fn tape(&self) -> &'a Tape {
        self.tape
    }

    /// Notes which field comes next, to be named where it is wrong.
    pub(crate) const fn field(&mut self, of: &'static str, name: &'static str) {
        self.place = (of, name);
    }

    /// What is read is wrong.
    pub(crate) fn wrong(&self, what: impl std::fmt::Display) -> Unreadable {
        let (of, field) = self.place;
        Unreadable { at: self.whole - self.rest.len(), what: format!("{of}.{field}: {what}") }
    }

    /// The next bytes.
    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], Unreadable> {
        let Some((taken, rest)) = self.rest.split_at_checked(count) else {
            return Err(self.wrong("it ends there"));
        };
        self.rest = rest;
        Ok(taken)
    }

    /// How many things of this size follow, at least a byte each.
    pub(super) fn count(&mut self, size: usize) -> Result<usize, Unreadable> {
        let count = u32::load(self)? as usize;
        if count > self.rest.len() {
            return Err(self.wrong(format_args!("{count} of something, which it does not hold")));
        }
        self.charge(count.saturating_mul(size))?;
        Ok(count)
    }

    /// So many bytes of memory are about to be taken.
    pub(crate) fn charge(&mut self, bytes: usize) -> Result<(), Unreadable> {
        let left = self.memory.checked_sub(bytes);
        self.memory = left.ok_or_else(|| self.wrong("it takes too much memory"))?;
        Ok(())
    }

    /// Reads something that may hold others of its kind.
    pub(super) fn deeper<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, Unreadable>,
    ) -> Result<T, Unreadable> {
        let left = self.depth.checked_sub(1);
        self.depth = left.ok_or_else(|| self.wrong("it is nested too deeply"))?;
        let read = read(self);
        self.depth += 1;
        read
    }

    /// Nothing is left.
    pub(crate) fn finish(self) -> Result<(), Unreadable> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.wrong("more than was expected")) }
    }
}
