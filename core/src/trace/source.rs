//! Where a tape that plays has its records from: a recording, or whoever follows one that goes on.

use std::collections::VecDeque;

use super::RecordingError;
use super::format::Records;

/// Records, one after the other.
#[derive(Debug)]
pub(super) enum Source {
    /// Of a recording.
    Recording(Records),
    /// As they are fed.
    Fed(Fed),
}

/// Records that wait, without the head that they have in a recording.
#[derive(Debug, Default)]
pub(super) struct Fed {
    waiting: VecDeque<Vec<u8>>,
    given: Vec<u8>,
    number: u64,
}

impl Fed {
    pub(super) fn feed(&mut self, records: Vec<Vec<u8>>) {
        self.waiting.extend(records);
    }
}

impl Source {
    /// Where the next record begins, in bytes from the start of the recording.
    pub(super) const fn offset(&self) -> usize {
        match self {
            Self::Recording(records) => records.offset(),
            Self::Fed(_) => 0,
        }
    }

    /// The number of the next record.
    pub(super) const fn number(&self) -> u64 {
        match self {
            Self::Recording(records) => records.number(),
            // The header is not fed, and counted.
            Self::Fed(fed) => fed.number + 1,
        }
    }

    /// The next record; `None` at the end.
    ///
    /// # Errors
    /// Damaged or truncated.
    pub(super) fn next(&mut self) -> Result<Option<&[u8]>, RecordingError> {
        match self {
            Self::Recording(records) => records.next(),
            Self::Fed(fed) => {
                let Some(record) = fed.waiting.pop_front() else { return Ok(None) };
                fed.given = record;
                fed.number += 1;
                Ok(Some(&fed.given))
            }
        }
    }
}
