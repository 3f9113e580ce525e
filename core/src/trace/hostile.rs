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
