//! Which connection a received datagram belongs to: an index, no scan.
//!
//! All connections of a transport share its sockets. A STUN request names its connection by our ICE
//! fragment, a STUN response by the transaction of our request, everything else by the remote address.
//! An address belongs to the connection that has sent it something other than STUN: the engine does so
//! only after a check of that address has succeeded, so that a peer cannot claim another's address by
//! naming it as a candidate. A request with our fragment claims an address only while nobody has it.
//!
//! One address can be that of several connections all the same: a peer that has one with two others can make
//! them check each other's addresses in its own name. What comes from there is for all of them: by its
//! keys each knows what is its own. So nobody can turn another's datagrams away.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use crate::id::SocketId;
use crate::trace::state::saved;

/// The index of a connection.
pub(super) type Slot = usize;

/// STUN transactions that are remembered: more than are under way, each for a few seconds.
const MAX_TRANSACTIONS: usize = 8_192;

/// Addresses that are remembered per connection: beyond the candidates that a peer may have.
const MAX_ADDRESSES: usize = 128;

/// Connections that share an address, beyond the first.
const MAX_SHARERS: usize = 16;

type Transaction = [u8; 12];

#[derive(Debug, Default)]
pub(super) struct Demux {
    fragments: BTreeMap<String, Slot>,
    addresses: BTreeMap<(SocketId, SocketAddr), Claim>,
    /// The other connections of an address that is claimed.
    shared: BTreeMap<(SocketId, SocketAddr), Vec<Slot>>,
    transactions: BTreeMap<Transaction, Slot>,
    order: VecDeque<Transaction>,
}

saved!(struct Demux { fragments, addresses, shared, transactions, order });

#[derive(Debug, Clone, Copy)]
struct Claim {
    slot: Slot,
    /// By what was sent there, after a check.
    checked: bool,
}

saved!(struct Claim { slot, checked });

/// What a datagram is, by its first bytes (RFC 7983, section 7; RFC 8489, section 5).
#[derive(Debug, PartialEq, Eq)]
enum Kind<'a> {
    /// A request or an indication, with the fragment of ours that it names.
    Request(Option<&'a str>),
    Response(Transaction),
    Other,
}

impl Demux {
    /// The connection that a received datagram belongs to.
    pub(super) fn find(
        &mut self,
        socket: SocketId,
        remote: SocketAddr,
        payload: &[u8],
    ) -> Option<Slot> {
        match classify(payload) {
            Kind::Other => self.addresses.get(&(socket, remote)).map(|claim| claim.slot),
            Kind::Response(transaction) => self.transactions.get(&transaction).copied(),
            Kind::Request(Some(fragment)) => {
                let slot = *self.fragments.get(fragment)?;
                self.claim(socket, remote, slot, false);
                Some(slot)
            }
            Kind::Request(None) => None,
        }
    }

    /// Whether any address is that of several connections.
    pub(super) fn shares(&self) -> bool {
        !self.shared.is_empty()
    }

    /// The further connections that the datagram may belong to: hardly ever any.
    pub(super) fn sharers(
        &self,
        socket: SocketId,
        remote: SocketAddr,
        payload: &[u8],
    ) -> Option<&[Slot]> {
        if !self.shares() || classify(payload) != Kind::Other {
            return None;
        }
        self.shared.get(&(socket, remote)).map(Vec::as_slice)
    }

    /// Learns from a datagram on its way out.
    pub(super) fn sent(
        &mut self,
        socket: SocketId,
        remote: SocketAddr,
        payload: &[u8],
        slot: Slot,
    ) {
        match classify(payload) {
            Kind::Other => self.claim(socket, remote, slot, true),
            Kind::Request(_) => {
                let Some(transaction) = transaction(payload) else { return };
                if self.transactions.insert(transaction, slot).is_some() {
                    return;
                }
                // Before the new one comes: one more than a power of two would double its room.
                if self.order.len() >= MAX_TRANSACTIONS
                    && let Some(oldest) = self.order.pop_front()
                {
                    self.transactions.remove(&oldest);
                }
                self.order.push_back(transaction);
            }
            Kind::Response(_) => {}
        }
    }

    fn claim(&mut self, socket: SocketId, remote: SocketAddr, slot: Slot, checked: bool) {
        match self.addresses.get_mut(&(socket, remote)) {
            Some(claim) if claim.slot == slot => claim.checked |= checked,
            Some(claim) => {
                let before = claim.slot;
                let other = if checked && !claim.checked {
                    *claim = Claim { slot, checked };
                    before
                } else {
                    slot
                };
                self.share(socket, remote, slot, other);
            }
            None => {
                // Whoever knows our fragment may come from anywhere: the bound is what counts.
                let held = self.addresses.values().filter(|claim| claim.slot == slot).count();
                if held < MAX_ADDRESSES || checked {
                    self.addresses.insert((socket, remote), Claim { slot, checked });
                }
            }
        }
    }

    /// `other` has the address too, beside its first owner.
    fn share(&mut self, socket: SocketId, remote: SocketAddr, claimed_by: Slot, other: Slot) {
        let sharers = self.shared.entry((socket, remote)).or_default();
        if other != claimed_by {
            sharers.retain(|sharer| *sharer != claimed_by);
        }
        if sharers.len() < MAX_SHARERS && !sharers.contains(&other) {
            sharers.push(other);
        }
    }

    /// The fragment by which others address this connection, in place of its earlier one.
    pub(super) fn set_fragment(&mut self, slot: Slot, fragment: &str) {
        if self.fragments.get(fragment) != Some(&slot) {
            self.fragments.retain(|_, owner| *owner != slot);
            self.fragments.insert(fragment.to_owned(), slot);
        }
    }

    /// Forgets everything about a connection.
    pub(super) fn remove(&mut self, slot: Slot) {
        self.fragments.retain(|_, owner| *owner != slot);
        self.shared.retain(|_, sharers| {
            sharers.retain(|sharer| *sharer != slot);
            !sharers.is_empty()
        });
        let shared = &mut self.shared;
        self.addresses.retain(|address, claim| {
            if claim.slot != slot {
                return true;
            }
            let Some(sharers) = shared.get_mut(address) else { return false };
            *claim = Claim { slot: sharers.remove(0), checked: false };
            if sharers.is_empty() {
                shared.remove(address);
            }
            true
        });
        self.transactions.retain(|_, owner| *owner != slot);
        let transactions = &self.transactions;
        self.order.retain(|transaction| transactions.contains_key(transaction));
        if self.order.is_empty() {
            self.order = VecDeque::new();
        }
    }

    /// Whether nothing is remembered.
    #[cfg(any(test, feature = "sim"))]
    pub(super) fn is_empty(&self) -> bool {
        self.fragments.is_empty()
            && self.addresses.is_empty()
            && self.shared.is_empty()
            && self.order.is_empty()
    }
}

fn transaction(payload: &[u8]) -> Option<Transaction> {
    payload.get(8..20)?.try_into().ok()
}

#[inline]
fn classify(payload: &[u8]) -> Kind<'_> {
    const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
    let &[first, ..] = payload else { return Kind::Other };
    // RFC 7983: 0 to 3 is STUN.
    if first > 3 || payload.get(4..8) != Some(&MAGIC_COOKIE) {
        return Kind::Other;
    }
    let Some(transaction) = transaction(payload) else { return Kind::Other };
    // The class is two bits among those of the method: success and error responses have the higher one.
    let is_response = first & 1 == 1;
    if is_response { Kind::Response(transaction) } else { Kind::Request(username(payload)) }
}

/// The part before the colon of a STUN request's USERNAME (RFC 8445, section 7.2.2): the fragment of its
/// receiver.
fn username(payload: &[u8]) -> Option<&str> {
    const USERNAME: u16 = 0x0006;
    let mut rest = payload.get(20..)?;
    loop {
        let (header, after) = rest.split_at_checked(4)?;
        let kind = u16::from_be_bytes([header[0], header[1]]);
        let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
        let value = after.get(..length)?;
        if kind == USERNAME {
            return std::str::from_utf8(value).ok()?.split(':').next();
        }
        rest = after.get(length.next_multiple_of(4)..)?;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SOCKET: SocketId = SocketId(1);

    fn at(port: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 1], port))
    }

    fn stun(kind: u16, id: u8, username: &str) -> Vec<u8> {
        let mut message = kind.to_be_bytes().to_vec();
        message.extend([0, 0, 0x21, 0x12, 0xa4, 0x42]);
        message.extend([id; 12]);
        // An attribute before it, with padding.
        message.extend([0x80, 0x22, 0, 1, 7, 0, 0, 0]);
        message.extend(6u16.to_be_bytes());
        message.extend((username.len() as u16).to_be_bytes());
        message.extend(username.as_bytes());
        message.resize(message.len().next_multiple_of(4), 0);
        message
    }

    #[test]
    fn requests_go_by_fragment_responses_by_transaction_the_rest_by_address() {
        let mut demux = Demux::default();
        demux.set_fragment(0, "aaaa");
        demux.set_fragment(1, "bbbb");
        assert_eq!(demux.find(SOCKET, at(5), &stun(1, 9, "bbbb:xxxx")), Some(1));
        assert_eq!(demux.find(SOCKET, at(5), &stun(1, 9, "cccc:xxxx")), None);
        demux.sent(SOCKET, at(6), &stun(1, 3, "xxxx:aaaa"), 0);
        assert_eq!(demux.find(SOCKET, at(7), &stun(0x101, 3, "")), Some(0));
        assert_eq!(demux.find(SOCKET, at(7), &stun(0x111, 4, "")), None);
        assert_eq!(demux.find(SOCKET, at(5), &[22, 1]), Some(1), "claimed by the request");
        assert_eq!(demux.find(SOCKET, at(6), &[22, 1]), None, "a request sent claims nothing");
        demux.remove(0);
        demux.remove(1);
        assert!(demux.is_empty());
    }

    #[test]
    fn nobody_takes_an_address_over_by_asking() {
        let mut demux = Demux::default();
        demux.set_fragment(0, "aaaa");
        demux.set_fragment(1, "bbbb");
        demux.sent(SOCKET, at(5), &[128, 111], 0);
        assert_eq!(demux.find(SOCKET, at(5), &stun(1, 9, "bbbb:xxxx")), Some(1));
        assert_eq!(demux.find(SOCKET, at(5), &[128, 111]), Some(0));
        // Nor by a check of its own: what comes from there is for both.
        demux.sent(SOCKET, at(5), &[128, 111], 1);
        assert_eq!(demux.find(SOCKET, at(5), &[128, 111]), Some(0));
        assert_eq!(demux.sharers(SOCKET, at(5), &[128, 111]), Some([1].as_slice()));
        assert_eq!(demux.sharers(SOCKET, at(5), &stun(1, 9, "bbbb:xxxx")), None);
        assert_eq!(demux.sharers(SOCKET, at(6), &[128, 111]), None);
        demux.remove(0);
        assert_eq!(demux.find(SOCKET, at(5), &[128, 111]), Some(1));
        assert_eq!(demux.sharers(SOCKET, at(5), &[128, 111]), None);
        demux.remove(1);
        assert!(demux.is_empty());
    }

    #[test]
    fn whoever_was_checked_comes_before_whoever_only_asked() {
        let mut demux = Demux::default();
        for slot in 0..100 {
            demux.set_fragment(slot, &format!("f{slot}"));
            demux.find(SOCKET, at(5), &stun(1, 9, &format!("f{slot}:x")));
        }
        assert_eq!(demux.sharers(SOCKET, at(5), &[22]).map(<[Slot]>::len), Some(MAX_SHARERS));
        demux.sent(SOCKET, at(5), &[22], 99);
        assert_eq!(demux.find(SOCKET, at(5), &[22]), Some(99));
        (0..100).for_each(|slot| demux.remove(slot));
        assert!(demux.is_empty());
    }

    #[test]
    fn a_new_fragment_replaces_the_old_one() {
        let mut demux = Demux::default();
        demux.set_fragment(0, "aaaa");
        demux.set_fragment(0, "bbbb");
        assert_eq!(demux.find(SOCKET, at(5), &stun(1, 9, "aaaa:x")), None);
        assert_eq!(demux.find(SOCKET, at(5), &stun(1, 9, "bbbb:x")), Some(0));
    }

    #[test]
    fn memory_is_bounded() {
        let mut demux = Demux::default();
        demux.set_fragment(0, "aaaa");
        for n in 0..20_000u32 {
            let remote = SocketAddr::from((n.to_be_bytes(), 5));
            demux.find(SOCKET, remote, &stun(1, 0, "aaaa:x"));
            let mut request = stun(1, 0, "x:aaaa");
            request[8..12].copy_from_slice(&n.to_be_bytes());
            demux.sent(SOCKET, remote, &request, 0);
        }
        assert_eq!(demux.addresses.len(), MAX_ADDRESSES);
        assert_eq!(demux.transactions.len(), MAX_TRANSACTIONS);
        assert_eq!(demux.order.len(), MAX_TRANSACTIONS);
        assert!(demux.order.capacity() <= MAX_TRANSACTIONS);
        demux.remove(0);
        assert_eq!(demux.order.capacity(), 0);
    }

    proptest! {
        #[test]
        fn any_bytes_are_classified(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let mut demux = Demux::default();
            demux.set_fragment(0, "aaaa");
            demux.find(SOCKET, at(1), &bytes);
            demux.sent(SOCKET, at(1), &bytes, 0);
        }

        #[test]
        fn damaged_requests_are_read_safely(
            cut in 0usize..60, flip in 0usize..60, to in any::<u8>()
        ) {
            let mut message = stun(1, 1, "aaaa:bbbb");
            let index = flip.min(message.len() - 1);
            message[index] = to;
            message.truncate(cut);
            let _ = classify(&message);
        }
    }
}
