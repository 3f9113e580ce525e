//! Recordings of anybody: for fuzzing, and for tests that change a recording.

use std::time::Instant;

use super::format::{self, Records};
use super::{RecordingError, entries};
use crate::transport::Replay;

/// Reads bytes as a recording, shows and replays them: whatever they are, it ends and does not panic. Where the
/// input is no file it is taken for the entries of one, so that whoever makes it up need not know the checksum:
/// each line is one.
pub fn recording(input: &[u8], now: Instant) {
    replay(input.to_vec(), now);
    let mut made = format::prelude();
    for (number, line) in (0..).zip(input.split(|byte| *byte == b'\n')) {
        format::write(&mut made, number, line);
    }
    replay(made, now);
}

fn replay(bytes: Vec<u8>, now: Instant) {
    if let Ok(entries) = entries(bytes.clone()) {
        // Each is read; the last one may be an error.
        let _ = entries.count();
    }
    if let Ok(replay) = Replay::new(bytes, now) {
        let report = replay.run();
        assert!(report.difference.is_none() || !report.is_equal());
    }
}

/// A recording with each record passed through `edit`, by its number, and with right checksums.
///
/// # Errors
/// [`RecordingError`], where it cannot be read.
pub fn edited(
    recording: Vec<u8>,
    mut edit: impl FnMut(u64, String) -> String,
) -> Result<Vec<u8>, RecordingError> {
    let mut records = Records::new(recording)?;
    let mut out = format::prelude();
    loop {
        let number = records.number();
        let Some(body) = records.next()? else { return Ok(out) };
        let text = edit(number, String::from_utf8_lossy(body).into_owned());
        format::write(&mut out, number, text.as_bytes());
    }
}
