//! The few arguments that the programs take.

/// The arguments of a program.
#[derive(Debug)]
pub struct Arguments(Vec<String>);

impl Arguments {
    /// Those of this process.
    pub fn of_process() -> Self {
        Self(std::env::args().skip(1).collect())
    }

    /// Whether a flag is there.
    pub fn has(&self, flag: &str) -> bool {
        self.0.iter().any(|argument| argument == flag)
    }

    /// What follows a flag.
    pub fn text(&self, flag: &str) -> Option<&str> {
        let at = self.0.iter().position(|argument| argument == flag)?;
        self.0.get(at + 1).map(String::as_str)
    }

    /// The number that follows a flag.
    ///
    /// # Panics
    /// Where it is none.
    pub fn number(&self, flag: &str) -> Option<usize> {
        let text = self.text(flag)?;
        Some(text.parse().unwrap_or_else(|_| panic!("{flag}: expected a number, got {text:?}")))
    }
}
