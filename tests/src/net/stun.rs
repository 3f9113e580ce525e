//! STUN messages (RFC 8489) as far as servers need them, and a server for Binding requests.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use md5::{Digest, Md5};
use sha1::Sha1;

/// The cookie of every message, section 5.
const COOKIE: [u8; 4] = 0x2112_A442_u32.to_be_bytes();

/// The header's length in bytes, and that of MESSAGE-INTEGRITY with its own.
const HEADER: usize = 20;
const INTEGRITY: usize = 4 + 20;

/// The method Binding, section 18.2.
pub const BINDING: u16 = 0x001;

/// Numbers of attributes: RFC 8489, section 18.3, and RFC 8656, section 18.
pub mod attribute {
    /// USERNAME.
    pub const USERNAME: u16 = 0x0006;
    /// MESSAGE-INTEGRITY.
    pub const MESSAGE_INTEGRITY: u16 = 0x0008;
    /// ERROR-CODE.
    pub const ERROR_CODE: u16 = 0x0009;
    /// UNKNOWN-ATTRIBUTES.
    pub const UNKNOWN_ATTRIBUTES: u16 = 0x000A;
    /// CHANNEL-NUMBER.
    pub const CHANNEL_NUMBER: u16 = 0x000C;
    /// LIFETIME.
    pub const LIFETIME: u16 = 0x000D;
    /// XOR-PEER-ADDRESS.
    pub const XOR_PEER_ADDRESS: u16 = 0x0012;
    /// DATA.
    pub const DATA: u16 = 0x0013;
    /// REALM.
    pub const REALM: u16 = 0x0014;
    /// NONCE.
    pub const NONCE: u16 = 0x0015;
    /// XOR-RELAYED-ADDRESS.
    pub const XOR_RELAYED_ADDRESS: u16 = 0x0016;
    /// REQUESTED-ADDRESS-FAMILY.
    pub const REQUESTED_ADDRESS_FAMILY: u16 = 0x0017;
    /// REQUESTED-TRANSPORT.
    pub const REQUESTED_TRANSPORT: u16 = 0x0019;
    /// DONT-FRAGMENT.
    pub const DONT_FRAGMENT: u16 = 0x001A;
    /// XOR-MAPPED-ADDRESS.
    pub const XOR_MAPPED_ADDRESS: u16 = 0x0020;
}

/// The class of a message, section 5.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Asks for an answer.
    Request,
    /// Needs none.
    Indication,
    /// Says that a request was carried out.
    Success,
    /// Says why it was not.
    Error,
}

/// A message that was received.
#[derive(Debug, Clone)]
pub struct Message<'a> {
    /// What kind of message it is.
    pub class: Class,
    /// What it is about, 12 bits.
    pub method: u16,
    /// What binds an answer to its request.
    pub transaction: [u8; 12],
    /// Numbers and values of the attributes before MESSAGE-INTEGRITY; all, where there is none.
    attributes: Vec<(u16, &'a [u8])>,
    /// Everything before MESSAGE-INTEGRITY, and its value.
    integrity: Option<(&'a [u8], &'a [u8])>,
}

impl<'a> Message<'a> {
    /// Reads a message; `None`: it is none.
    #[must_use]
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (header, mut rest) = bytes.split_at_checked(HEADER)?;
        let kind = u16::from_be_bytes([header[0], header[1]]);
        let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
        if kind >> 14 != 0 || header[4..8] != COOKIE || rest.len() != length || length % 4 != 0 {
            return None;
        }
        let class = match kind & 0x0110 {
            0x0000 => Class::Request,
            0x0010 => Class::Indication,
            0x0100 => Class::Success,
            _ => Class::Error,
        };
        let method = (kind & 0x000F) | (kind & 0x00E0) >> 1 | (kind & 0x3E00) >> 2;
        let transaction = header[8..].try_into().ok()?;
        let (mut attributes, mut integrity) = (Vec::new(), None);
        while !rest.is_empty() {
            let before = &bytes[..bytes.len() - rest.len()];
            let (head, tail) = rest.split_at_checked(4)?;
            let number = u16::from_be_bytes([head[0], head[1]]);
            let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
            let value = tail.get(..length)?;
            rest = tail.get(length.next_multiple_of(4)..)?;
            if number == attribute::MESSAGE_INTEGRITY {
                integrity = Some((before, value));
                // What follows it is not protected by it (section 14.5): nothing of it counts here.
                break;
            }
            attributes.push((number, value));
        }
        Some(Self { class, method, transaction, attributes, integrity })
    }

    /// The first attribute of this number.
    #[must_use]
    pub fn get(&self, number: u16) -> Option<&'a [u8]> {
        self.all(number).next()
    }

    /// All attributes of this number.
    pub fn all(&self, number: u16) -> impl Iterator<Item = &'a [u8]> {
        self.attributes.iter().filter(move |(other, _)| *other == number).map(|(_, value)| *value)
    }

    /// An attribute that is text.
    #[must_use]
    pub fn text(&self, number: u16) -> Option<&'a str> {
        std::str::from_utf8(self.get(number)?).ok()
    }

    /// An attribute that is a number of 32 bits.
    #[must_use]
    pub fn number(&self, number: u16) -> Option<u32> {
        Some(u32::from_be_bytes(self.get(number)?.try_into().ok()?))
    }

    /// An attribute that is an address in XOR form, section 14.2.
    #[must_use]
    pub fn address(&self, number: u16) -> Option<SocketAddr> {
        unmask(self.get(number)?, &self.transaction)
    }

    /// All attributes of this number that are addresses in XOR form; `None` for each that is none.
    pub fn addresses(&self, number: u16) -> impl Iterator<Item = Option<SocketAddr>> {
        self.all(number).map(|value| unmask(value, &self.transaction))
    }

    /// The code of an ERROR-CODE, 300 to 699 (section 14.8).
    #[must_use]
    pub fn error(&self) -> Option<u16> {
        let value = self.get(attribute::ERROR_CODE)?;
        // What is beside the class in its byte is reserved.
        let (class, number) = (u16::from(value.get(2)? & 7), u16::from(*value.get(3)?));
        ((3..7).contains(&class) && number < 100).then_some(class * 100 + number)
    }

    /// Those attributes that have to be understood (section 14: below 0x8000) and are none of `known`.
    #[must_use]
    pub fn unknown(&self, known: &[u16]) -> Vec<u16> {
        let numbers = self.attributes.iter().map(|(number, _)| *number);
        numbers.filter(|number| *number < 0x8000 && !known.contains(number)).collect()
    }

    /// Whether it has a MESSAGE-INTEGRITY.
    #[must_use]
    pub const fn is_protected(&self) -> bool {
        self.integrity.is_some()
    }

    /// Whether its MESSAGE-INTEGRITY (section 14.5) is of this key.
    #[must_use]
    pub fn verify(&self, key: &[u8]) -> bool {
        let Some((before, value)) = self.integrity else { return false };
        let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(key) else { return false };
        mac.update(&with_length(before, INTEGRITY));
        mac.verify_slice(value).is_ok()
    }
}

/// The header and attributes in `before`, with the length that they have with `more` bytes.
fn with_length(before: &[u8], more: usize) -> Vec<u8> {
    let mut bytes = before.to_vec();
    let length = (bytes.len() + more).saturating_sub(HEADER) as u16;
    bytes[2..4].copy_from_slice(&length.to_be_bytes());
    bytes
}

fn unmask(value: &[u8], transaction: &[u8; 12]) -> Option<SocketAddr> {
    let (&[_, family, p0, p1], ip) = value.split_first_chunk::<4>()?;
    let port = u16::from_be_bytes([p0 ^ COOKIE[0], p1 ^ COOKIE[1]]);
    let mask = COOKIE.iter().chain(transaction);
    let ip: Vec<u8> = ip.iter().zip(mask).map(|(byte, mask)| byte ^ mask).collect();
    let ip = match family {
        1 => IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(ip).ok()?)),
        2 => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(ip).ok()?)),
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

/// Writes a message.
#[derive(Debug, Clone)]
pub struct Builder {
    bytes: Vec<u8>,
    transaction: [u8; 12],
}

impl Builder {
    /// A message without attributes.
    #[must_use]
    pub fn new(class: Class, method: u16, transaction: [u8; 12]) -> Self {
        let class = match class {
            Class::Request => 0x0000,
            Class::Indication => 0x0010,
            Class::Success => 0x0100,
            Class::Error => 0x0110,
        };
        let method = (method & 0x000F) | (method & 0x0070) << 1 | (method & 0x0F80) << 2;
        let mut bytes = (class | method).to_be_bytes().to_vec();
        bytes.extend([0, 0]);
        bytes.extend(COOKIE);
        bytes.extend(transaction);
        Self { bytes, transaction }
    }

    /// The answer to a request.
    #[must_use]
    pub fn answer(class: Class, request: &Message<'_>) -> Self {
        Self::new(class, request.method, request.transaction)
    }

    /// Adds an attribute.
    #[must_use]
    pub fn add(mut self, number: u16, value: &[u8]) -> Self {
        self.bytes.extend(number.to_be_bytes());
        self.bytes.extend((value.len() as u16).to_be_bytes());
        self.bytes.extend(value);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self
    }

    /// Adds an address in XOR form, section 14.2.
    #[must_use]
    pub fn address(self, number: u16, address: SocketAddr) -> Self {
        let (family, ip) = match address.ip() {
            IpAddr::V4(ip) => (1, ip.octets().to_vec()),
            IpAddr::V6(ip) => (2, ip.octets().to_vec()),
        };
        let [p0, p1] = address.port().to_be_bytes();
        let mut value = vec![0, family, p0 ^ COOKIE[0], p1 ^ COOKIE[1]];
        let mask = COOKIE.iter().chain(&self.transaction);
        value.extend(ip.iter().zip(mask).map(|(byte, mask)| byte ^ mask));
        self.add(number, &value)
    }

    /// Adds an ERROR-CODE, section 14.8.
    #[must_use]
    pub fn error(self, code: u16, reason: &str) -> Self {
        let mut value = vec![0, 0, (code / 100) as u8, (code % 100) as u8];
        value.extend(reason.bytes());
        self.add(attribute::ERROR_CODE, &value)
    }

    /// The message, with a MESSAGE-INTEGRITY (section 14.5) where there is a key.
    #[must_use]
    pub fn finish(self, key: Option<&[u8]>) -> Vec<u8> {
        let mac = key.and_then(|key| Hmac::<Sha1>::new_from_slice(key).ok());
        let Some(mut mac) = mac else { return with_length(&self.bytes, 0) };
        mac.update(&with_length(&self.bytes, INTEGRITY));
        let value = mac.finalize().into_bytes();
        with_length(&self.add(attribute::MESSAGE_INTEGRITY, &value).bytes, 0)
    }
}

/// The key of long-term credentials: MD5 over user, realm and password (section 9.2.2).
#[must_use]
pub fn long_term_key(user: &str, realm: &str, password: &str) -> [u8; 16] {
    Md5::digest(format!("{user}:{realm}:{password}").as_bytes()).into()
}

/// A datagram that a machine sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// From which of its addresses.
    pub from: SocketAddr,
    /// To whom.
    pub to: SocketAddr,
    /// What.
    pub payload: Vec<u8>,
}

/// How many replies wait at most; those that nobody fetches push out the oldest.
pub(super) const MAX_REPLIES: usize = 4096;

/// A STUN server: it tells who asks from where the question came (RFC 8489, Binding).
#[derive(Debug, Default)]
pub struct StunServer {
    replies: VecDeque<Outgoing>,
    answered: u64,
}

impl StunServer {
    /// A server for any address of its host.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A datagram for it; what is no Binding request is ignored.
    pub fn handle_datagram(&mut self, _: Duration, to: SocketAddr, from: SocketAddr, bytes: &[u8]) {
        let Some(payload) = binding(bytes, from) else { return };
        self.answered += 1;
        self.replies.push_back(Outgoing { from: to, to: from, payload });
        if self.replies.len() > MAX_REPLIES {
            self.replies.pop_front();
        }
    }

    /// The next datagram that it sends.
    pub fn poll_transmit(&mut self) -> Option<Outgoing> {
        self.replies.pop_front()
    }

    /// When it wants to be called: never.
    #[must_use]
    pub const fn poll_timeout(&self) -> Option<Duration> {
        None
    }

    /// Does nothing.
    pub const fn handle_timeout(&mut self, _now: Duration) {}

    /// How many requests it has answered.
    #[must_use]
    pub const fn answered(&self) -> u64 {
        self.answered
    }
}

/// The answer to a Binding request from `from`; `None`: it is none.
pub(super) fn binding(bytes: &[u8], from: SocketAddr) -> Option<Vec<u8>> {
    let request = Message::parse(bytes)?;
    if (request.class, request.method) != (Class::Request, BINDING) {
        return None;
    }
    let answer = Builder::answer(Class::Success, &request);
    Some(answer.address(attribute::XOR_MAPPED_ADDRESS, from).finish(None))
}

#[path = "stun_hostile.rs"]
mod hostile;

pub use hostile::hostile_stun;
pub(super) use hostile::{damaged, raw};

#[cfg(test)]
#[path = "stun_tests.rs"]
mod tests;
