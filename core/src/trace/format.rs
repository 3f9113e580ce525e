//! The form of a recording: a header, then records with their length and a checksum.
//!
//! All numbers are little endian.
//!
//! | bytes | what |
//! | --- | --- |
//! | 8 | `RTCMTRC` and a line feed |
//! | 2 | the version of the form: [`VERSION`] |
//! | then, for each record: 4 | its length |
//! | 4 | CRC-32 of its number (u64, from 0 on) and its bytes: so none is missing, doubled or moved |
//! | length | JSON in UTF-8: the first is the [`Header`](super::Header), each other one an entry |
//!
//! Where the header names the layout of a state, the second record is that state ([`super::state`]), and no JSON.

use super::RecordingError;

/// What every recording begins with.
pub(super) const MAGIC: &[u8; 8] = b"RTCMTRC\n";

/// The version of the form and of what the entries mean. Others are refused.
pub const VERSION: u16 = 2;

/// The bytes before the first record.
pub(crate) const START: usize = 10;

/// The longest record, in bytes: above any signaling text, and above the largest message with its contents.
pub(super) const MAX_RECORD: usize = 48 * 1024 * 1024;

/// CRC-32 (ISO 3309, reflected, polynomial 0xedb88320), as zlib and PNG have it.
pub(super) fn crc32(parts: &[&[u8]]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    parts.iter().for_each(|part| hasher.update(part));
    hasher.finalize()
}

/// What a recording begins with.
pub(super) fn prelude() -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    out.extend(VERSION.to_le_bytes());
    out
}

/// Appends the record with this number.
pub(super) fn write(out: &mut Vec<u8>, number: u64, body: &[u8]) {
    // Longer ones are not written: see `MAX_RECORD`.
    out.extend((body.len() as u32).to_le_bytes());
    out.extend(crc32(&[&number.to_le_bytes(), body]).to_le_bytes());
    out.extend(body);
}

/// Reads records one after the other, without a copy.
#[derive(Debug)]
pub(super) struct Records {
    bytes: Vec<u8>,
    at: usize,
    number: u64,
}

impl Records {
    /// # Errors
    /// Not a recording, or one of another version.
    pub(super) fn new(bytes: Vec<u8>) -> Result<Self, RecordingError> {
        let magic = bytes.get(..MAGIC.len()).ok_or(RecordingError::Foreign)?;
        if magic != MAGIC {
            return Err(RecordingError::Foreign);
        }
        match bytes.get(MAGIC.len()..START) {
            Some(&[low, high]) => match u16::from_le_bytes([low, high]) {
                VERSION => Ok(Self { bytes, at: START, number: 0 }),
                found => Err(RecordingError::Version { found, expected: VERSION }),
            },
            _ => Err(RecordingError::Truncated { offset: bytes.len() }),
        }
    }

    /// Where the next record begins.
    pub(super) const fn offset(&self) -> usize {
        self.at
    }

    /// The number of the next record.
    pub(super) const fn number(&self) -> u64 {
        self.number
    }

    /// The next record; `None` at the end.
    ///
    /// # Errors
    /// Damaged or truncated, with the offset.
    pub(super) fn next(&mut self) -> Result<Option<&[u8]>, RecordingError> {
        let offset = self.at;
        let rest = self.bytes.get(offset..).unwrap_or_default();
        if rest.is_empty() {
            return Ok(None);
        }
        let Some((head, rest)) = rest.split_at_checked(8) else {
            return Err(RecordingError::Truncated { offset });
        };
        let field = |at: usize| {
            let bytes = head.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
            u32::from_le_bytes(bytes.unwrap_or_default())
        };
        let (length, sum) = (field(0) as usize, field(4));
        if length > MAX_RECORD {
            let what = format!("a record of {length} bytes");
            return Err(RecordingError::Damaged { offset, what });
        }
        let Some(body) = rest.get(..length) else {
            return Err(RecordingError::Truncated { offset });
        };
        if crc32(&[&self.number.to_le_bytes(), body]) != sum {
            let what = format!("the checksum of record {} is wrong", self.number);
            return Err(RecordingError::Damaged { offset, what });
        }
        self.at = offset + 8 + length;
        self.number += 1;
        Ok(self.bytes.get(offset + 8..self.at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_zlib() {
        assert_eq!(crc32(&[b"1234", b"56789"]), 0xcbf4_3926);
        assert_eq!(crc32(&[]), 0);
    }

    fn two() -> Vec<u8> {
        let mut bytes = prelude();
        write(&mut bytes, 0, b"first");
        write(&mut bytes, 1, b"second");
        bytes
    }

    #[test]
    fn records_come_back_and_damage_is_named_with_its_place() {
        let mut records = Records::new(two()).unwrap();
        assert_eq!(records.next().unwrap(), Some(&b"first"[..]));
        assert_eq!(records.next().unwrap(), Some(&b"second"[..]));
        assert_eq!(records.next().unwrap(), None);
        let whole = two();
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x10;
            let read = Records::new(bytes).and_then(|mut records| {
                while records.next()?.is_some() {}
                Ok(())
            });
            match (at, read.unwrap_err()) {
                (0..8, RecordingError::Foreign) | (8..10, RecordingError::Version { .. }) => {}
                (10.., RecordingError::Damaged { offset, .. })
                | (10.., RecordingError::Truncated { offset }) => {
                    assert_eq!(offset, if at < 23 { 10 } else { 23 });
                }
                (_, other) => panic!("byte {at}: {other}"),
            }
        }
    }

    #[test]
    fn a_record_in_another_place_is_damage() {
        let mut bytes = prelude();
        write(&mut bytes, 1, b"second");
        assert!(matches!(
            Records::new(bytes).unwrap().next(),
            Err(RecordingError::Damaged { offset: 10, .. })
        ));
    }
}
