//! One room: its peers, present and absent, and the negotiations between them.

use std::collections::BTreeMap;
use std::sync::Arc;

use subtle::ConstantTimeEq;

use crate::id::{LinkId, PeerId, RequestId};
use crate::rng::Rng;

/// The most messages, and their bytes, that are kept for an absent peer.
const MAX_KEPT: usize = 256;
const MAX_KEPT_BYTES: usize = 1024 * 1024;

#[derive(Debug, Default)]
pub(super) struct Room {
    pub(super) members: BTreeMap<PeerId, Member>,
    /// The latest offer of each to each.
    pub(super) offers: BTreeMap<(PeerId, PeerId), Offer>,
    /// How many have joined so far: tells who was there before whom.
    pub(super) joins: u64,
}

#[derive(Debug)]
pub(super) struct Offer {
    pub(super) request: RequestId,
    pub(super) answered: bool,
}

/// An announced peer.
#[derive(Debug)]
pub(super) struct Member {
    /// Its connection; `None` while it is absent.
    pub(super) link: Option<LinkId>,
    /// The `peer.announced` that others get of it.
    pub(super) notice: Arc<str>,
    pub(super) registered_at: String,
    /// Its number among those who joined.
    pub(super) joined: u64,
    pub(super) keys: Keys,
    pub(super) absent: Option<Absent>,
    pub(super) kept: Vec<Arc<str>>,
    kept_bytes: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Absent {
    /// Tells this absence from others of the same peer.
    pub(super) number: u64,
    /// How many had joined when it began: later ones do not know of the peer.
    pub(super) joins: u64,
    /// The others were told.
    pub(super) told: bool,
}

/// What became of a message to a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reached {
    /// It can be sent on this link.
    Link(LinkId),
    /// It is kept for an absent peer.
    Kept,
    /// There is no such peer, or it has been absent for long.
    Nobody,
    /// It is absent and there is no room to keep more.
    Full,
}

impl Member {
    pub(super) fn new(
        link: LinkId,
        notice: Arc<str>,
        registered_at: String,
        joined: u64,
        keys: Keys,
    ) -> Self {
        Self {
            link: Some(link),
            notice,
            registered_at,
            joined,
            keys,
            absent: None,
            kept: Vec::new(),
            kept_bytes: 0,
        }
    }

    /// Takes what was kept.
    pub(super) fn take_kept(&mut self) -> Vec<Arc<str>> {
        self.kept_bytes = 0;
        std::mem::take(&mut self.kept)
    }
}

impl Room {
    /// Where a message to a peer goes; with `keep`, one to an absent peer is kept for it.
    pub(super) fn reach(&mut self, to: &PeerId, keep: Option<&Arc<str>>) -> Reached {
        let Some(member) = self.members.get_mut(to) else { return Reached::Nobody };
        if let Some(link) = member.link {
            return Reached::Link(link);
        }
        if member.absent.is_none_or(|absent| absent.told) {
            return Reached::Nobody;
        }
        let Some(text) = keep else { return Reached::Full };
        if member.kept.len() >= MAX_KEPT || member.kept_bytes + text.len() > MAX_KEPT_BYTES {
            return Reached::Full;
        }
        member.kept_bytes += text.len();
        member.kept.push(text.clone());
        Reached::Kept
    }

    /// The connections of all that are present, but one.
    pub(super) fn links(&self, except: &PeerId) -> Vec<LinkId> {
        let others = self.members.iter().filter(|(id, _)| *id != except);
        others.filter_map(|(_, member)| member.link).collect()
    }

    /// The negotiation of this name between two, whoever of them began it.
    pub(super) fn knows(&self, a: &PeerId, b: &PeerId, request: &RequestId) -> bool {
        let pairs = [(a.clone(), b.clone()), (b.clone(), a.clone())];
        pairs.iter().any(|pair| self.offers.get(pair).is_some_and(|o| o.request == *request))
    }

    /// Forgets the negotiations of two.
    pub(super) fn forget_pair(&mut self, a: &PeerId, b: &PeerId) {
        self.offers.remove(&(a.clone(), b.clone()));
        self.offers.remove(&(b.clone(), a.clone()));
    }

    /// Forgets a peer and its negotiations.
    pub(super) fn remove(&mut self, peer: &PeerId) {
        self.members.remove(peer);
        self.offers.retain(|(from, to), _| from != peer && to != peer);
    }
}

/// The session keys by which a peer takes its place over: the one given last and, until that one is used,
/// the one before (its owner may never have got the last).
#[derive(Clone)]
pub(super) struct Keys {
    current: String,
    previous: Option<String>,
}

impl Keys {
    /// 128 random bits.
    const BYTES: usize = 16;

    pub(super) fn new(rng: &mut Rng) -> Self {
        Self { current: rng.hex(Self::BYTES), previous: None }
    }

    pub(super) fn current(&self) -> &str {
        &self.current
    }

    /// Checks a key in constant time; where it is right, a new one is made.
    pub(super) fn renew(&mut self, key: &str, rng: &mut Rng) -> bool {
        let equal = |known: &str| bool::from(known.as_bytes().ct_eq(key.as_bytes()));
        let is_current = equal(&self.current);
        let is_previous = self.previous.as_deref().is_some_and(equal);
        if is_current {
            let used = std::mem::replace(&mut self.current, rng.hex(Self::BYTES));
            self.previous = Some(used);
        } else if is_previous {
            // The key given last never arrived: it is replaced.
            self.current = rng.hex(Self::BYTES);
        }
        is_current || is_previous
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Seed;

    #[test]
    fn a_key_is_valid_until_its_successor_is_used() {
        let mut rng = Rng::new(Seed::from_number(1));
        let mut keys = Keys::new(&mut rng);
        let first = keys.current().to_owned();
        assert!(!keys.renew("", &mut rng) && !keys.renew(&first[1..], &mut rng));
        assert!(keys.renew(&first, &mut rng));
        let second = keys.current().to_owned();
        assert!(keys.renew(&first, &mut rng), "the second never arrived");
        assert!(!keys.renew(&second, &mut rng), "it was replaced");
        let third = keys.current().to_owned();
        assert!(keys.renew(&third, &mut rng));
        assert!(!keys.renew(&first, &mut rng));
        assert!(third.len() == 32 && first != second && second != third);
        assert_eq!(format!("{keys:?}"), "Keys(..)");
    }
}
