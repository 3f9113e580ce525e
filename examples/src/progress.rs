//! How far a transfer is, told at each tenth. It goes on where nobody reads that.

use std::io::{self, Write};

use crate::Error;

/// The bytes of a transfer.
#[derive(Debug)]
pub(crate) struct Progress {
    total: u64,
    done: u64,
}

impl Progress {
    /// None of `total` bytes yet.
    pub(crate) fn new(total: u64) -> Self {
        let _ = writeln!(io::stdout(), "{total} bytes");
        Self { total, done: 0 }
    }

    /// None yet of as many bytes as the sender's first message says.
    ///
    /// # Errors
    /// Where that is no number.
    pub(crate) fn announced(size: &str) -> Result<Self, Error> {
        let wrong = |_| {
            let start: String = size.chars().take(40).collect();
            format!("expected the size of a file, a number of bytes, and got {start:?}")
        };
        Ok(Self::new(size.parse().map_err(wrong)?))
    }

    /// So many bytes more.
    pub(crate) fn add(&mut self, bytes: usize) {
        let before = self.tenths();
        self.done = self.done.saturating_add(bytes as u64);
        if self.tenths() > before {
            let _ = writeln!(io::stdout(), "{} %", self.tenths() * 10);
        }
    }

    /// Whether nothing is missing.
    pub(crate) fn is_complete(&self) -> bool {
        self.done >= self.total
    }

    fn tenths(&self) -> u128 {
        u128::from(self.done) * 10 / u128::from(self.total).max(1)
    }
}
