//! Where the demo shows itself: a table that is redrawn in place on a terminal, else plain lines.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use crossterm::cursor::{Hide, MoveToColumn, MoveUp, Show};
use crossterm::queue;
use crossterm::terminal::{Clear, ClearType};

use super::board::Snapshot;
use super::table::{Line, plain, render};

/// How often the table is redrawn, and how often a plain line is written.
const REDRAW: Duration = Duration::from_millis(500);
const PLAIN: Duration = Duration::from_secs(5);
/// The size where the terminal tells none.
const USUAL_SIZE: (u16, u16) = (80, 24);

/// The display of the demo.
#[derive(Debug)]
pub(super) enum Screen {
    /// Nothing: the result is all that counts.
    Silent,
    /// A line now and then.
    Plain {
        /// When the next one is due.
        next: Instant,
    },
    /// The table.
    Table {
        /// The lines that are to be drawn over.
        drawn: u16,
        /// Whether colours are wanted.
        colours: bool,
    },
}

impl Screen {
    /// What suits the standard output. `NO_COLOR` (any value but an empty one) turns colours off.
    pub(super) fn new(json: bool) -> Self {
        let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        if json {
            Self::Silent
        } else if dumb || !io::stdout().is_terminal() {
            Self::Plain { next: Instant::now() + PLAIN }
        } else {
            Self::Table { drawn: 0, colours: !set("NO_COLOR") }
        }
    }

    /// How often [`Screen::show`] is to be called.
    pub(super) const fn interval(&self) -> Duration {
        REDRAW
    }

    /// Shows the mesh. A terminal that cannot be written to is left alone: the mesh goes on.
    pub(super) fn show(&mut self, snapshot: &Snapshot, elapsed: Duration) {
        match self {
            Self::Silent => {}
            Self::Plain { next } => {
                let now = Instant::now();
                if now >= *next {
                    *next = now + PLAIN;
                    let mut out = io::stdout().lock();
                    let _ = writeln!(out, "{}", plain(snapshot, elapsed));
                    let _ = out.flush();
                }
            }
            Self::Table { drawn, colours } => {
                let (width, height) = crossterm::terminal::size().unwrap_or(USUAL_SIZE);
                // The last column stays free, since some terminals wrap there, and so do two lines: the
                // cursor's own, and the page's address above.
                let size =
                    (usize::from(width).saturating_sub(1), usize::from(height).saturating_sub(2));
                let lines = render(snapshot, elapsed, size);
                let _ = draw(&lines, *drawn, *colours);
                *drawn = u16::try_from(lines.len()).unwrap_or_default();
            }
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if let Self::Table { drawn: 1.., .. } = self {
            let _ = queue!(io::stdout(), Show);
            let _ = io::stdout().flush();
        }
    }
}

/// Draws over the last so many lines, in one write, so that nothing flickers.
fn draw(lines: &[Line], over: u16, colours: bool) -> io::Result<()> {
    let mut out = Vec::new();
    queue!(out, Hide, MoveToColumn(0))?;
    if over > 0 {
        queue!(out, MoveUp(over))?;
    }
    for line in lines {
        let text = if colours { line.coloured() } else { line.text() };
        out.extend_from_slice(text.as_bytes());
        queue!(out, Clear(ClearType::UntilNewLine))?;
        out.push(b'\n');
    }
    queue!(out, Clear(ClearType::FromCursorDown))?;
    let mut stdout = io::stdout().lock();
    stdout.write_all(&out)?;
    stdout.flush()
}
