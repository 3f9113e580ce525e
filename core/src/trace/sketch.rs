//! What is kept of datagrams and contents: as much as decisions are taken by.

use serde::{Deserialize, Serialize};

/// The most bytes that a stand-in has, whatever a recording says.
const MAX_STAND_IN: usize = 17 * 1024 * 1024;

/// The longest stand-in of a frame of video, of which hundreds may wait: what is longer counts as so long.
pub(crate) const MAX_FRAME: usize = 512 * 1024;

/// The longest stand-in of a packet of audio: what a datagram has room for.
pub(crate) const MAX_PACKET: usize = 65_535;

/// The largest UDP datagram.
const MAX_DATAGRAM: usize = 65_535;

/// The header of a STUN message (RFC 8489, section 5).
const STUN_HEADER: usize = 20;
const USERNAME: u16 = 0x0006;

/// A datagram, as far as it is looked at outside of the engine: its length and its first byte; of STUN the header,
/// with its transaction, and the user name, which holds both fragments and no secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sketch {
    #[serde(rename = "n")]
    length: usize,
    #[serde(rename = "h", default, skip_serializing_if = "String::is_empty")]
    head: String,
    #[serde(rename = "u", default, skip_serializing_if = "Option::is_none")]
    username: Option<String>,
}

impl Sketch {
    pub(crate) fn of(payload: &[u8]) -> Self {
        // RFC 7983: 0 to 3 is STUN.
        let stun = payload.first().is_some_and(|first| *first <= 3)
            && payload.get(4..8) == Some(&[0x21, 0x12, 0xa4, 0x42]);
        let kept = if stun { STUN_HEADER } else { 1 };
        Self {
            length: payload.len(),
            head: hex(payload.get(..kept.min(payload.len())).unwrap_or_default()),
            username: if stun { username(payload).map(str::to_owned) } else { None },
        }
    }

    /// A datagram with the same sketch.
    pub(crate) fn stand_in(&self) -> Vec<u8> {
        let length = self.length.min(MAX_DATAGRAM);
        let mut out = unhex(&self.head).unwrap_or_default();
        out.truncate(length);
        if let Some(username) = &self.username {
            out.extend(USERNAME.to_be_bytes());
            out.extend((username.len() as u16).to_be_bytes());
            out.extend(username.as_bytes());
        }
        out.resize(length, 0);
        out
    }
}

fn username(payload: &[u8]) -> Option<&str> {
    let mut rest = payload.get(STUN_HEADER..)?;
    loop {
        let (header, after) = rest.split_at_checked(4)?;
        let &[a, b, c, d] = header else { return None };
        let length = usize::from(u16::from_be_bytes([c, d]));
        let value = after.get(..length)?;
        if u16::from_be_bytes([a, b]) == USERNAME {
            return std::str::from_utf8(value).ok();
        }
        rest = after.get(length.next_multiple_of(4)..)?;
    }
}

/// Contents: their length, how they begin where that decides something, and a label.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Body {
    #[serde(rename = "n")]
    pub(crate) length: usize,
    #[serde(rename = "h", default, skip_serializing_if = "String::is_empty")]
    pub(crate) head: String,
    #[serde(rename = "l", default, skip_serializing_if = "String::is_empty")]
    pub(crate) label: String,
}

impl Body {
    /// Without a label: for what is compared.
    pub(crate) fn of(bytes: &[u8], head: usize) -> Self {
        let head = hex(bytes.get(..head.min(bytes.len())).unwrap_or_default());
        Self { length: bytes.len(), head, label: String::new() }
    }

    /// Bytes of the same length that begin alike, filled up with `x`.
    pub(crate) fn stand_in(&self) -> Vec<u8> {
        self.stand_in_up_to(MAX_STAND_IN)
    }

    /// The same, but no longer than that: a few bytes of a recording must not take much memory.
    pub(crate) fn stand_in_up_to(&self, most: usize) -> Vec<u8> {
        let length = self.length.min(most);
        let mut out = unhex(&self.head).unwrap_or_default();
        out.truncate(length);
        out.resize(length, b'x');
        out
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble & 15)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}

pub(crate) fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let pairs = text.as_bytes().chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return None;
    }
    pairs.map(|pair| Some((digit(pair[0])? << 4) | digit(pair[1])?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stand_in_has_the_same_sketch() {
        let mut request = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
        request.extend([9; 12]);
        request.extend([0x80, 0x22, 0, 1, 7, 0, 0, 0]);
        request.extend([0, 6, 0, 9]);
        request.extend(b"abcd:efgh\0\0\0");
        request.extend(b"secret");
        let sketch = Sketch::of(&request);
        assert_eq!(sketch.username.as_deref(), Some("abcd:efgh"));
        for payload in [&request[..], &request[..20], &[22; 40], &[0x80, 1, 2], &[0], &[]] {
            let sketch = Sketch::of(payload);
            let stand_in = sketch.stand_in();
            assert_eq!(Sketch::of(&stand_in), sketch);
            assert!(!stand_in.windows(6).any(|bytes| bytes == b"secret"));
        }
    }

    #[test]
    fn hexadecimal_comes_back_and_wrong_digits_do_not() {
        assert_eq!(unhex(&hex(&[0, 0x9f, 255])), Some(vec![0, 0x9f, 255]));
        assert_eq!((unhex("0"), unhex("zz"), unhex("é")), (None, None, None));
    }
}
