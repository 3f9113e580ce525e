//! Recordings of anybody: for fuzzing, and for ordinary tests of the same.

use std::time::Instant;

use super::Replay;
use crate::trace::{entries, hostile::made};

/// Reads bytes as a recording, shows and replays them: whatever they are, it ends and does not panic. Then again
/// with each line as an entry of a recording, so that whoever makes the bytes up need not know the checksum.
pub fn hostile(now: Instant, input: &[u8]) {
    read(input.to_vec(), now);
    read(made(input.split(|byte| *byte == b'\n')), now);
}

fn read(bytes: Vec<u8>, now: Instant) {
    if let Ok(entries) = entries(bytes.clone()) {
        // Each is read; the last one may be an error.
        let _ = entries.count();
    }
    if let Ok(replay) = Replay::new(bytes, now) {
        let report = replay.run();
        assert_eq!(report.is_equal(), report.difference.is_none());
    }
}
