//! The standard output: lines for people or JSON objects, each written at once.

use std::fmt;
use std::io::{self, Write};

use serde_json::Value;

/// Where a command's results go. A reader that has gone away is no reason to stop: the mesh goes on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    json: bool,
}

impl Output {
    /// For people, or as JSON.
    pub(crate) const fn new(json: bool) -> Self {
        Self { json }
    }

    /// Whether it is JSON.
    pub(crate) const fn is_json(self) -> bool {
        self.json
    }

    /// A line for people alone.
    pub(crate) fn note(self, text: impl fmt::Display) {
        if !self.json {
            write_line(harmless(&text.to_string()));
        }
    }

    /// An object for programs alone.
    pub(crate) fn object(self, object: &Value) {
        if self.json {
            write_line(object);
        }
    }
}

/// A text without what commands a terminal: parts of it may come from a peer or a server.
pub(crate) fn harmless(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}

fn write_line(text: impl fmt::Display) {
    let mut out = io::stdout().lock();
    // Formatted first: a line is one write, whole even beside other processes on the same pipe.
    let _ = out.write_all(format!("{text}\n").as_bytes()).and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_shown_commands_the_terminal() {
        assert_eq!(harmless("\u{1b}[31mred\r\n\u{9b}1m"), "\\u{1b}[31mred\\r\\n\\u{9b}1m");
        assert_eq!(harmless("\u{25cf} \"h\u{e9}\""), "\u{25cf} \"h\u{e9}\"");
    }
}
