//! Commands on the standard input, one a line.

use std::io::{self, BufRead};
use std::str::FromStr;
use std::thread;

use rtcmesh_core::config::ConfigPatch;
use tokio::sync::mpsc;

/// The longest line that is read, in bytes.
const MAX_LINE: u64 = 4_096;
/// So many commands may wait for the session.
const MAX_WAITING: usize = 16;

/// What can be asked of a running peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Command {
    /// `/jitter N`: hold media for so many milliseconds.
    Jitter(u32),
    /// `/peers`: tell how each peer is received.
    Peers,
    /// `/leave`: end as at Ctrl-C.
    Leave,
}

/// A line that was read: a command, or what is wrong with it.
pub(super) type Line = Result<Command, String>;

impl FromStr for Command {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["/jitter", size] => {
                let size = size.parse().map_err(|_| format!("/jitter: {size:?} is no number"))?;
                Ok(Self::Jitter(size))
            }
            ["/jitter", ..] => Err("/jitter takes a number of milliseconds".into()),
            ["/peers"] => Ok(Self::Peers),
            ["/leave"] => Ok(Self::Leave),
            [command, ..] => {
                Err(format!("{command:?} is none of /jitter N, /peers, /leave (alone on its line)"))
            }
            [] => Err("an empty line".into()),
        }
    }
}

/// The change of settings for `/jitter`.
pub(super) fn jitter(size_ms: u32) -> ConfigPatch {
    let mut patch = ConfigPatch::new();
    patch.jitter_buffer_size_ms = Some(size_ms);
    patch
}

/// What is read from the standard input, by a thread of its own: a read cannot be called off.
pub(super) fn from_stdin() -> mpsc::Receiver<Line> {
    let (tell, commands) = mpsc::channel(MAX_WAITING);
    let read = move || {
        let mut input = io::stdin().lock();
        while let Some(line) = next(&mut input) {
            if tell.blocking_send(line).is_err() {
                break;
            }
        }
    };
    if let Err(error) = thread::Builder::new().name("commands".into()).spawn(read) {
        tracing::error!("no commands can be read: {error}");
    }
    commands
}

/// The next line; `None` at the end of the input, and where it cannot be read.
fn next(input: &mut impl BufRead) -> Option<Line> {
    loop {
        let mut bytes = Vec::new();
        let read = io::Read::take(&mut *input, MAX_LINE).read_until(b'\n', &mut bytes).ok()?;
        if read == 0 {
            return None;
        }
        if !bytes.ends_with(b"\n") && read as u64 == MAX_LINE {
            input.skip_until(b'\n').ok()?;
            return Some(Err(format!("a line of more than {MAX_LINE} bytes")));
        }
        let line = String::from_utf8_lossy(&bytes);
        if !line.trim().is_empty() {
            return Some(line.parse());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(mut input: &[u8]) -> Vec<Line> {
        std::iter::from_fn(|| next(&mut input)).collect()
    }

    #[test]
    fn commands_are_read_line_by_line() {
        let lines = all(b"/jitter 120\n\n  /peers \r\n/leave");
        assert_eq!(lines, [Ok(Command::Jitter(120)), Ok(Command::Peers), Ok(Command::Leave)]);
    }

    #[test]
    fn what_is_wrong_is_named_and_the_next_line_is_read() {
        let long = [vec![b'x'; 3 * MAX_LINE as usize], b"\n/peers\n".to_vec()].concat();
        let lines = all(&long);
        assert!(lines[0].as_ref().unwrap_err().contains("4096 bytes"));
        assert_eq!(lines[1..], [Ok(Command::Peers)]);
        for (line, word) in [
            ("/jitter", "milliseconds"),
            ("/jitter 1 2", "milliseconds"),
            ("/jitter much", "much"),
            ("/jitter -1", "-1"),
            ("hello", "/jitter N"),
            ("/peers all", "/peers"),
        ] {
            let error = line.parse::<Command>().unwrap_err();
            assert!(error.contains(word), "{line}: {error}");
        }
        assert!(all(b"\xff\xfe\n")[0].is_err());
    }

    #[test]
    fn only_the_size_is_changed() {
        let patch = jitter(80);
        assert_eq!(patch.jitter_buffer_size_ms, Some(80));
        assert_eq!((patch.audio_bitrate, patch.rtcp_interval_ms), (None, None));
    }
}
