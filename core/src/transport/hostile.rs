//! Whatever comes in, to the index of connections.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::demux::Demux;
use crate::hostile::Bytes;
use crate::id::SocketId;

/// Connections there are.
const SLOTS: usize = 5;

/// Datagrams in and out of an index of connections that come and go: it gives only connections that there are,
/// to whom they belong by their fragment or an address, and remembers nothing when all are gone.
///
/// # Panics
///
/// Where a promise is broken: that is a mistake of the library, not of the bytes.
#[doc(hidden)]
pub fn hostile_demux(bytes: &[u8]) {
    let mut bytes = Bytes(bytes);
    let mut demux = Demux::default();
    // Each has a fragment, one of its own as those that are drawn are.
    let mut fragments: BTreeMap<usize, String> = BTreeMap::new();
    while !bytes.is_empty() {
        let slot = bytes.below(SLOTS);
        let socket = SocketId(bytes.small() % 2);
        let remote = SocketAddr::from(([10, 0, 0, bytes.byte() % 4], 5));
        match bytes.byte() % 8 {
            0 => {
                let fragment = format!("{slot}{}", bytes.byte() % 2);
                demux.set_fragment(slot, &fragment);
                fragments.insert(slot, fragment);
            }
            1 => {
                demux.remove(slot);
                fragments.remove(&slot);
            }
            2..=4 if fragments.contains_key(&slot) => {
                let payload = payload(&mut bytes);
                demux.sent(socket, remote, &payload, slot);
                if payload.first().is_some_and(|first| *first > 3) {
                    let found = demux.find(socket, remote, &payload);
                    let shared = demux.sharers(socket, remote, &payload).unwrap_or_default();
                    assert!(found == Some(slot) || shared.contains(&slot), "what it spoke to");
                }
            }
            _ => {
                let payload = payload(&mut bytes);
                let found = demux.find(socket, remote, &payload);
                let shared = demux.sharers(socket, remote, &payload).unwrap_or_default();
                for slot in found.iter().chain(shared) {
                    assert!(fragments.contains_key(slot), "connection {slot} is gone");
                }
                assert!(!shared.iter().any(|slot| found == Some(*slot)), "twice");
            }
        }
    }
    for slot in 0..SLOTS {
        demux.remove(slot);
    }
    assert!(demux.is_empty(), "all are gone");
}

/// Mostly STUN with a fragment of somebody, or its response; else anything.
fn payload(bytes: &mut Bytes<'_>) -> Vec<u8> {
    let kind: u16 = match bytes.byte() % 8 {
        0..=2 => 0x0001,
        3 | 4 => 0x0101,
        5 => return vec![22, bytes.byte()],
        6 => return vec![128, bytes.byte()],
        _ => return bytes.some().to_vec(),
    };
    let mut message = kind.to_be_bytes().to_vec();
    message.extend([0, 0, 0x21, 0x12, 0xa4, 0x42]);
    message.extend([bytes.byte() % 8; 12]);
    let name = format!("{}{}:x", bytes.below(SLOTS), bytes.byte() % 2);
    // The length is what it is, or not.
    let length = if bytes.one_in(16) { bytes.short() } else { name.len() as u16 };
    message.extend(6_u16.to_be_bytes());
    message.extend(length.to_be_bytes());
    message.extend(name.as_bytes());
    message.resize(message.len().next_multiple_of(4), 0);
    message
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_bytes_break_the_index(bytes in prop::collection::vec(any::<u8>(), 0..800)) {
            hostile_demux(&bytes);
        }
    }
}
