//! Looking at a recording without a machine.

use serde_json::Value;

use super::format::Records;
use super::tape::{self, Entry, show};
use super::{Header, RecordingError};

/// One entry, to be shown.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Shown {
    /// Its number, the header being 0.
    pub record: u64,
    /// Where it begins, in bytes from the start of the file.
    pub offset: usize,
    /// It in one line.
    pub text: String,
    /// It as JSON.
    pub json: Value,
}

/// The entries of a recording, one after the other; the last one is an error where it is cut off or damaged.
#[derive(Debug)]
pub struct Entries {
    header: Header,
    records: Records,
    over: bool,
}

/// Reads a recording, whole or the latest entries of a ring.
///
/// # Errors
/// [`RecordingError`] about its beginning.
pub fn entries(recording: Vec<u8>) -> Result<Entries, RecordingError> {
    let mut records = Records::new(recording)?;
    let header = tape::header(&mut records)?;
    if header.state.is_some() {
        let offset = records.offset();
        // It cannot be shown.
        records.next()?.ok_or(RecordingError::Truncated { offset })?;
    }
    Ok(Entries { header, records, over: false })
}

impl Entries {
    /// What the recording says about itself.
    pub const fn header(&self) -> &Header {
        &self.header
    }

    fn read(&mut self) -> Result<Option<Shown>, RecordingError> {
        let (offset, record) = (self.records.offset(), self.records.number());
        let Some(body) = self.records.next()? else { return Ok(None) };
        let damaged = |error: serde_json::Error| RecordingError::Damaged {
            offset,
            what: format!("record {record}: {error}"),
        };
        let json: Value = serde_json::from_slice(body).map_err(damaged)?;
        let entry: Entry = serde_json::from_slice(body).map_err(damaged)?;
        Ok(Some(Shown { record, offset, text: show(&entry), json }))
    }
}

impl Iterator for Entries {
    type Item = Result<Shown, RecordingError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.over {
            return None;
        }
        let read = self.read();
        self.over = !matches!(read, Ok(Some(_)));
        read.transpose()
    }
}
