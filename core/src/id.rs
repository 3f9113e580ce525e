//! Names of things: peers, rooms, negotiations, sockets, links.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::trace::state::{Layout, Reader, Save, Unreadable, Writer, saved};

/// A peer's name in its room: 1 to 64 characters of `a-z A-Z 0-9 - _`.
///
/// Cheap to clone. Ordered by bytes: the order decides glare (the greater one's offer stands).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PeerId(Arc<str>);

impl PeerId {
    /// The most characters that an id may have.
    pub const MAX_LENGTH: usize = 64;

    /// Checks and wraps `id`.
    ///
    /// # Errors
    /// [`InvalidPeerId`] with the reason, where it is empty, too long or has another character.
    pub fn new(id: impl AsRef<str>) -> Result<Self, InvalidPeerId> {
        let id = id.as_ref();
        if id.is_empty() {
            return Err(InvalidPeerId::Empty);
        }
        if let Some(position) =
            id.bytes().position(|b| !(b.is_ascii_alphanumeric() || b == b'-' || b == b'_'))
        {
            return Err(InvalidPeerId::Character { position });
        }
        if id.len() > Self::MAX_LENGTH {
            return Err(InvalidPeerId::TooLong { length: id.len() });
        }
        Ok(Self(id.into()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Save for PeerId {
    fn layout(layout: &mut Layout) {
        layout.name("peer id");
    }

    fn save(&self, to: &mut Writer) {
        self.0.save(to);
    }

    fn load(from: &mut Reader<'_>) -> Result<Self, Unreadable> {
        Self::new(String::load(from)?).map_err(|error| from.wrong(error))
    }
}

/// Why a text is no peer id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidPeerId {
    /// No character at all.
    #[error("a peer id has at least 1 character")]
    Empty,
    /// More than [`PeerId::MAX_LENGTH`] characters.
    #[error("a peer id has at most 64 characters, this one has {length}")]
    TooLong {
        /// How many it has.
        length: usize,
    },
    /// A character outside `a-z A-Z 0-9 - _`.
    #[error("a peer id is made of a-z A-Z 0-9 - _ only: byte {position} is none of them")]
    Character {
        /// The first such byte, counted from 0.
        position: usize,
    },
}

saved!(enum InvalidPeerId { Empty, TooLong { length }, Character { position } });

impl FromStr for PeerId {
    type Err = InvalidPeerId;
    fn from_str(id: &str) -> Result<Self, InvalidPeerId> {
        Self::new(id)
    }
}

impl TryFrom<String> for PeerId {
    type Error = InvalidPeerId;
    fn try_from(id: String) -> Result<Self, InvalidPeerId> {
        Self::new(id)
    }
}

impl From<PeerId> for String {
    fn from(id: PeerId) -> Self {
        id.0.as_ref().into()
    }
}

impl Borrow<str> for PeerId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for PeerId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of one negotiation (an offer, its answer and their candidates), chosen by the offerer.
/// Opaque: 1 to 128 bytes of any text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// The most bytes that a request id may have.
    pub const MAX_LENGTH: usize = 128;

    /// Wraps `id`, or gives `None` where it is empty or longer than [`RequestId::MAX_LENGTH`].
    pub fn new(id: impl AsRef<str>) -> Option<Self> {
        let id = id.as_ref();
        (!id.is_empty() && id.len() <= Self::MAX_LENGTH).then(|| Self(id.into()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Save for RequestId {
    fn layout(layout: &mut Layout) {
        layout.name("request id");
    }

    fn save(&self, to: &mut Writer) {
        self.0.save(to);
    }

    fn load(from: &mut Reader<'_>) -> Result<Self, Unreadable> {
        Self::new(String::load(from)?).ok_or_else(|| from.wrong("no name of a negotiation"))
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

macro_rules! handle {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);

        saved!(struct $name(id));

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    };
}

handle! {
    /// A UDP socket, named by the machine that asks for it.
    SocketId
}
handle! {
    /// A WebSocket connection: named by the machine that opens it (a client), or by the adapter
    /// that accepted it (a server). Never used twice.
    LinkId
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peer_ids_are_checked_and_the_reason_names_the_place() {
        assert!(PeerId::new("a").is_ok());
        assert!(PeerId::new("A-z_09".repeat(10)).is_ok());
        assert_eq!(PeerId::new(""), Err(InvalidPeerId::Empty));
        assert_eq!(PeerId::new("ab c"), Err(InvalidPeerId::Character { position: 2 }));
        assert_eq!(PeerId::new("é"), Err(InvalidPeerId::Character { position: 0 }));
        assert_eq!(PeerId::new("a".repeat(65)), Err(InvalidPeerId::TooLong { length: 65 }));
    }

    #[test]
    fn peer_ids_are_ordered_by_bytes() {
        assert!(PeerId::new("b").unwrap() > PeerId::new("a9").unwrap());
        assert!(PeerId::new("a").unwrap() > PeerId::new("Z").unwrap());
    }

    #[test]
    fn serde_checks_too() {
        assert!(serde_json::from_str::<PeerId>("\"ok\"").is_ok());
        assert!(serde_json::from_str::<PeerId>("\"not ok\"").is_err());
    }
}
