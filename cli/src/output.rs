//! The standard output: lines for people or JSON objects, each written at once.

use std::fmt;
use std::io::{self, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread;

use serde_json::Value;

/// So many objects may wait for their reader. Whoever starts a program and reads what it wrote only when
/// it has ended must not bring the mesh to a halt: a pipe holds 64 KiB.
const MAX_WAITING: usize = 16_384;
/// Of these, figures that come again and again may take so many.
const MAX_WAITING_FIGURES: usize = MAX_WAITING / 4;

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
            write_line(&mut io::stdout().lock(), harmless(&text.to_string()));
        }
    }

    /// An object for programs alone. A slow reader delays nothing: [`finish`] waits for it.
    pub(crate) fn object(self, object: &Value) {
        if self.json {
            Lines::stdout().write(object.to_string());
        }
    }

    /// The same of figures that come again: nobody who reads late gets all of them.
    pub(crate) fn figures(self, object: &Value) {
        if self.json && Lines::stdout().waiting() < MAX_WAITING_FIGURES {
            self.object(object);
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

static LINES: OnceLock<Lines> = OnceLock::new();

/// Waits until everything is written, at the end of the program.
pub(crate) fn finish() {
    if let Some(lines) = LINES.get() {
        lines.finish();
    }
}

/// Lines on their way out, by a thread of their own.
struct Lines {
    jobs: SyncSender<Job>,
    waiting: Arc<AtomicUsize>,
}

enum Job {
    Line(String),
    /// Told when all lines before it are written.
    Finish(SyncSender<()>),
}

impl Lines {
    fn stdout() -> &'static Self {
        LINES.get_or_init(|| Self::to(io::stdout()))
    }

    fn to(mut out: impl Write + Send + 'static) -> Self {
        let (jobs, queue) = sync_channel(MAX_WAITING);
        let waiting = Arc::new(AtomicUsize::new(0));
        let written = waiting.clone();
        let write = move || {
            for job in queue {
                match job {
                    Job::Line(line) => {
                        write_line(&mut out, line);
                        written.fetch_sub(1, Ordering::Relaxed);
                    }
                    Job::Finish(done) => drop(done.send(())),
                }
            }
        };
        if let Err(error) = thread::Builder::new().name("output".into()).spawn(write) {
            tracing::error!("nothing can be written: {error}");
        }
        Self { jobs, waiting }
    }

    /// How many lines are not written yet.
    fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    fn write(&self, line: String) {
        // Without the thread there is nobody to write to.
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let _ = self.jobs.send(Job::Line(line));
    }

    fn finish(&self) {
        let (done, wait) = sync_channel(1);
        if self.jobs.send(Job::Finish(done)).is_ok() {
            let _ = wait.recv();
        }
    }
}

fn write_line(out: &mut impl Write, text: impl fmt::Display) {
    // Formatted first: a line is one write, whole even beside other processes on the same pipe.
    let _ = out.write_all(format!("{text}\n").as_bytes()).and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// A pipe whose reader takes nothing until it is told to.
    struct Pipe {
        begin: Receiver<()>,
        begun: bool,
        read: Sender<u8>,
    }

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if !std::mem::replace(&mut self.begun, true) {
                self.begin.recv().unwrap();
            }
            bytes.iter().for_each(|byte| self.read.send(*byte).unwrap());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_waits_for_the_end_delays_nothing_and_gets_everything_in_order() {
        let (start, begin) = channel();
        let (read, written) = channel();
        let lines = Lines::to(Pipe { begin, begun: false, read });
        // These would hang if they waited for the reader.
        for n in 0..MAX_WAITING {
            lines.write(n.to_string());
        }
        assert!(lines.waiting() >= MAX_WAITING - 1, "figures would be left out");
        start.send(()).unwrap();
        lines.finish();
        assert_eq!(lines.waiting(), 0);
        let text = String::from_utf8(written.try_iter().collect()).unwrap();
        let expected: Vec<String> = (0..MAX_WAITING).map(|n| n.to_string()).collect();
        assert_eq!(text.lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn nothing_that_is_shown_commands_the_terminal() {
        assert_eq!(harmless("\u{1b}[31mred\r\n\u{9b}1m"), "\\u{1b}[31mred\\r\\n\\u{9b}1m");
        assert_eq!(harmless("\u{25cf} \"h\u{e9}\""), "\u{25cf} \"h\u{e9}\"");
    }
}
