//! Recordings of anybody: for fuzzing, and for ordinary tests of the same.

use std::time::Instant;

use super::{Replay, state};
use crate::trace::{Header, RecordingError, entries, hostile::made};

/// Reads bytes as a recording, shows and replays them: whatever they are, it ends and does not panic. Then again
/// with each line as an entry of a recording, so that whoever makes the bytes up need not know the checksum, and as
/// the state that a recording begins with.
pub fn hostile(now: Instant, input: &[u8]) {
    read(input.to_vec(), now);
    read(made(input.split(|byte| *byte == b'\n')), now);
    let header = Header {
        core: env!("CARGO_PKG_VERSION").to_owned(),
        peer: "alice".to_owned(),
        unix_ns: 0,
        ring: true,
        state: Some(state::layout().to_owned()),
        lost: None,
        contents: false,
        masked: false,
        config: serde_json::Value::Null,
    };
    let header = serde_json::to_vec(&header).unwrap_or_default();
    if let Ok(saved) = resaved(now, made([&header[..], input].into_iter())) {
        // What is written of anything that can be read, says the same when it is read again.
        assert!(resaved(now, made([&header[..], &saved].into_iter())) == Ok(saved));
    }
}

/// The state that a recording begins with, restored and written down again.
///
/// # Errors
/// [`RecordingError`], where it cannot be restored.
pub fn resaved(now: Instant, recording: Vec<u8>) -> Result<Vec<u8>, RecordingError> {
    let replay = Replay::new(recording, now)?;
    state::save(replay.transport(), replay.tape())
        .map_err(|what| RecordingError::Damaged { offset: 0, what })
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
