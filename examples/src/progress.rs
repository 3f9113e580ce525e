//! How far a transfer is, told at each tenth.

/// The bytes of a transfer.
#[derive(Debug)]
pub(crate) struct Progress {
    total: u64,
    done: u64,
}

impl Progress {
    /// None of `total` bytes yet.
    pub(crate) fn new(total: u64) -> Self {
        println!("{total} bytes");
        Self { total, done: 0 }
    }

    /// So many bytes more.
    pub(crate) fn add(&mut self, bytes: usize) {
        let before = self.tenths();
        self.done = self.done.saturating_add(bytes as u64);
        if self.tenths() > before {
            println!("{} %", self.tenths() * 10);
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
