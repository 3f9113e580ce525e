//! The one source of randomness: a ChaCha20 generator from a seed of 32 bytes, with labelled forks.

use std::fmt;

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use sha2::{Digest, Sha256};

use crate::trace::Tape;
use crate::trace::state::{Layout, Reader, Save, Unreadable, Writer};

/// 32 bytes of entropy: everything random in a machine follows from it.
///
/// Adapters fill it from the operating system; only simulators and tests make it from a number.
/// Its `Debug` form shows nothing, so that it cannot reach a log.
#[derive(Clone)]
pub struct Seed([u8; 32]);

impl Seed {
    /// A seed of these bytes, which must come from the operating system's generator in production.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// A seed for simulations and tests: anyone can guess it.
    pub fn from_number(number: u64) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"rtcmesh simulation seed");
        hash.update(number.to_le_bytes());
        Self(hash.finalize().into())
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed(..)")
    }
}

/// A cryptographically strong, deterministic generator (ChaCha20, RFC 8439's block function).
///
/// [`Rng::fork`] gives an independent generator per purpose, so that drawing more in one place
/// changes nothing in another.
pub struct Rng {
    seed: Seed,
    stream: ChaCha20Rng,
    /// Writes draws down, or gives those of a recording.
    tape: Option<Tape>,
}

impl Rng {
    /// The generator of `seed`.
    pub fn new(seed: Seed) -> Self {
        let stream = ChaCha20Rng::from_seed(seed.0);
        Self { seed, stream, tape: None }
    }

    /// An independent generator, a function of this one's seed and of the label alone (not of what
    /// was drawn before): SHA-256 over both, which a ChaCha20 key cannot be told from random.
    pub fn fork(&self, label: &str) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"rtcmesh fork");
        hash.update(self.seed.0);
        hash.update(label.as_bytes());
        Self { tape: self.tape.clone(), ..Self::new(Seed(hash.finalize().into())) }
    }

    /// Has what is drawn from now on, and in forks to come, pass a tape.
    pub(crate) fn record(&mut self, tape: Tape) {
        self.tape = Some(tape);
    }

    /// Whether what draws follows another machine, which logs what there is to say.
    pub(crate) fn follows(&self) -> bool {
        self.tape.as_ref().is_some_and(Tape::follows)
    }

    /// Draws what is a secret: it passes no tape.
    pub(crate) fn secretly<T>(&mut self, draw: impl FnOnce(&mut Self) -> T) -> T {
        let tape = self.tape.take();
        let drawn = draw(self);
        self.tape = tape;
        drawn
    }

    /// The next 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        if let Some(tape) = &self.tape {
            let mut bytes = [0; 8];
            let stream = &mut self.stream;
            tape.draw(&mut bytes, |out| out.copy_from_slice(&stream.next_u64().to_le_bytes()));
            return u64::from_le_bytes(bytes);
        }
        self.stream.next_u64()
    }

    /// Fills `out` with random bytes.
    pub fn fill(&mut self, out: &mut [u8]) {
        if let Some(tape) = &self.tape {
            let stream = &mut self.stream;
            return tape.draw(out, |out| stream.fill_bytes(out));
        }
        self.stream.fill_bytes(out);
    }

    /// A number uniform in `0.0..1.0` (53 random bits).
    pub fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// `length` characters of the 64 ICE characters (RFC 8839, section 5.4: letters, digits, `+`
    /// and `/`): six bits of entropy each.
    pub fn ice_chars(&mut self, length: usize) -> String {
        const ALPHABET: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut bytes = vec![0; length];
        self.fill(&mut bytes);
        bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte & 63)])).collect()
    }

    /// `bytes` random bytes in lower-case hexadecimal: `2 × bytes` characters.
    pub fn hex(&mut self, bytes: usize) -> String {
        let mut buffer = vec![0; bytes];
        self.fill(&mut buffer);
        buffer.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// What it draws comes from the tape of a replay: it has no state of its own.
impl Save for Rng {
    fn layout(layout: &mut Layout) {
        layout.name("draws");
    }

    fn save(&self, _: &mut Writer) {}

    fn load(from: &mut Reader<'_>) -> Result<Self, Unreadable> {
        Ok(Self { tape: Some(from.tape().clone()), ..Self::new(Seed([0; 32])) })
    }
}

impl fmt::Debug for Rng {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rng(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forks_depend_on_seed_and_label_alone() {
        let mut parent = Rng::new(Seed::from_number(1));
        let before = parent.fork("a").next_u64();
        parent.next_u64();
        assert_eq!(parent.fork("a").next_u64(), before);
        assert_ne!(parent.fork("b").next_u64(), before);
        assert_ne!(Rng::new(Seed::from_number(2)).fork("a").next_u64(), before);
    }

    #[test]
    fn strings_have_their_length_and_alphabet() {
        let mut rng = Rng::new(Seed::from_number(3));
        let chars = rng.ice_chars(200);
        assert_eq!(chars.len(), 200);
        assert!(chars.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'+' || b == b'/'));
        assert_eq!(rng.hex(16).len(), 32);
        let unit = rng.unit();
        assert!((0.0..1.0).contains(&unit));
    }

    #[test]
    fn secrets_do_not_print() {
        let seed = Seed::from_bytes([7; 32]);
        assert_eq!(format!("{seed:?} {:?}", Rng::new(seed.clone())), "Seed(..) Rng(..)");
    }
}
