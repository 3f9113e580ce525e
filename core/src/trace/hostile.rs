//! Recordings that nobody recorded: for fuzzing, and for tests that change one.

use super::RecordingError;
use super::format::{self, Records};

/// A recording of these records, with their checksums.
pub fn made<'a>(records: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut made = format::prelude();
    for (number, record) in (0..).zip(records) {
        format::write(&mut made, number, record);
    }
    made
}

/// The state that a recording begins with.
///
/// # Errors
/// [`RecordingError`], where it cannot be read.
pub fn state(recording: Vec<u8>) -> Result<Vec<u8>, RecordingError> {
    let mut records = Records::new(recording)?;
    records.next()?;
    let offset = records.offset();
    records.next()?.map(<[u8]>::to_vec).ok_or(RecordingError::Truncated { offset })
}

/// A recording with another state, and with right checksums.
///
/// # Errors
/// [`RecordingError`], where it cannot be read.
pub fn with_state(recording: Vec<u8>, state: &[u8]) -> Result<Vec<u8>, RecordingError> {
    rewritten(recording, |number, record| if number == 1 { state.to_vec() } else { record })
}

/// A recording with each record passed through `edit`, by its number, and with right checksums.
///
/// # Errors
/// [`RecordingError`], where it cannot be read.
pub fn edited(
    recording: Vec<u8>,
    mut edit: impl FnMut(u64, String) -> String,
) -> Result<Vec<u8>, RecordingError> {
    let mut state = false;
    rewritten(recording, |number, record| {
        if number == 0 {
            let header = serde_json::from_slice::<super::Header>(&record);
            state = header.is_ok_and(|header| header.state.is_some());
        }
        // A state is no text.
        if number == 1 && state {
            return record;
        }
        edit(number, String::from_utf8_lossy(&record).into_owned()).into_bytes()
    })
}

fn rewritten(
    recording: Vec<u8>,
    mut edit: impl FnMut(u64, Vec<u8>) -> Vec<u8>,
) -> Result<Vec<u8>, RecordingError> {
    let mut records = Records::new(recording)?;
    let mut out = format::prelude();
    loop {
        let number = records.number();
        let Some(body) = records.next()? else { return Ok(out) };
        let record = edit(number, body.to_vec());
        format::write(&mut out, number, &record);
    }
}
