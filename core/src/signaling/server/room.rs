//! One room: its peers, present and absent, and the negotiations between them.

use std::collections::BTreeMap;
use std::sync::Arc;

use subtle::ConstantTimeEq;

use super::timers::{TimerKey, Timers};
use crate::id::{LinkId, PeerId, RequestId};
use crate::rng::Rng;

/// The most messages, and their bytes, that are kept for an absent peer.
const MAX_KEPT: usize = 256;
const MAX_KEPT_BYTES: usize = 1024 * 1024;

#[derive(Debug, Default)]
pub(super) struct Room {
    pub(super) members: BTreeMap<PeerId, Member>,
    /// How many announces there were so far: tells who was there before whom.
    pub(super) joins: u64,
}

#[derive(Debug)]
pub(super) struct Offer {
    pub(super) request: RequestId,
    pub(super) answered: bool,
    /// A digest of its params: the same ones again are a copy.
    pub(super) digest: u64,
    /// The end of waiting for the answer, or of trickling.
    pub(super) timer: TimerKey,
}

/// A message that waits for an absent peer.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) from: PeerId,
    pub(super) kind: Kind,
    pub(super) text: Arc<str>,
}

/// What kind of message waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Offer,
    Answer,
    Disconnect,
    /// The word that an offer of the absent peer was not answered.
    Expiry,
}

/// An announced peer.
#[derive(Debug)]
pub(super) struct Member {
    /// Its connection; `None` while it is absent.
    pub(super) link: Option<LinkId>,
    /// The `peer.announced` that others get of it.
    pub(super) notice: Arc<str>,
    pub(super) registered_at: String,
    /// The number of its first announce: it knows of those who left later.
    pub(super) joined: u64,
    /// The number of its latest announce: it was told then of those who were present.
    pub(super) listed: u64,
    pub(super) keys: Keys,
    pub(super) absent: Option<Absent>,
    /// Its latest offer to each.
    pub(super) offers: BTreeMap<PeerId, Offer>,
    kept: Vec<Kept>,
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
            listed: joined,
            keys,
            absent: None,
            offers: BTreeMap::new(),
            kept: Vec::new(),
            kept_bytes: 0,
        }
    }

    /// Takes what was kept.
    pub(super) fn take_kept(&mut self) -> Vec<Kept> {
        self.kept_bytes = 0;
        std::mem::take(&mut self.kept)
    }

    /// Keeps a message; false where there is no room for more.
    fn keep(&mut self, kept: Kept) -> bool {
        // Whatever its sender does next takes back the offer before it.
        if kept.kind != Kind::Expiry {
            self.drop_kept(|other| other.kind == Kind::Offer && other.from == kept.from);
        }
        let bytes = self.kept_bytes + kept.text.len();
        if self.kept.len() >= MAX_KEPT || bytes > MAX_KEPT_BYTES {
            return false;
        }
        self.kept_bytes = bytes;
        self.kept.push(kept);
        true
    }

    fn drop_kept(&mut self, which: impl Fn(&Kept) -> bool) {
        let bytes = &mut self.kept_bytes;
        self.kept.retain(|kept| {
            let drop = which(kept);
            if drop {
                *bytes -= kept.text.len();
            }
            !drop
        });
    }
}

impl Room {
    /// Where a message to a peer goes; what `keep` makes is kept for one that is absent.
    pub(super) fn reach(&mut self, to: &PeerId, keep: impl FnOnce() -> Option<Kept>) -> Reached {
        let Some(member) = self.members.get_mut(to) else { return Reached::Nobody };
        if let Some(link) = member.link {
            return Reached::Link(link);
        }
        if member.absent.is_none_or(|absent| absent.told) {
            return Reached::Nobody;
        }
        if keep().is_some_and(|kept| member.keep(kept)) { Reached::Kept } else { Reached::Full }
    }

    /// Whether a peer can be sent to, now or after it has resumed.
    pub(super) fn is_there(&self, peer: &PeerId) -> bool {
        self.members.get(peer).is_some_and(|m| m.absent.is_none_or(|absent| !absent.told))
    }

    /// The connections of all that are present, but one.
    pub(super) fn links(&self, except: &PeerId) -> Vec<LinkId> {
        let others = self.members.iter().filter(|(id, _)| *id != except);
        others.filter_map(|(_, member)| member.link).collect()
    }

    /// The latest offer of one to another.
    pub(super) fn offer(&self, from: &PeerId, to: &PeerId) -> Option<&Offer> {
        self.members.get(from)?.offers.get(to)
    }

    /// The negotiation of this name between two, whoever of them began it.
    pub(super) fn knows(&self, a: &PeerId, b: &PeerId, request: &RequestId) -> bool {
        let is_it = |offer: Option<&Offer>| offer.is_some_and(|offer| offer.request == *request);
        is_it(self.offer(a, b)) || is_it(self.offer(b, a))
    }

    /// Takes the place of the offer before it.
    pub(super) fn put_offer(
        &mut self,
        from: &PeerId,
        to: &PeerId,
        offer: Offer,
        timers: &mut Timers,
    ) {
        let Some(member) = self.members.get_mut(from) else { return timers.cancel(offer.timer) };
        if let Some(before) = member.offers.insert(to.clone(), offer) {
            timers.cancel(before.timer);
        }
    }

    /// Forgets the latest offer of one to another.
    pub(super) fn drop_offer(&mut self, from: &PeerId, to: &PeerId, timers: &mut Timers) {
        let offer = self.members.get_mut(from).and_then(|member| member.offers.remove(to));
        if let Some(offer) = offer {
            timers.cancel(offer.timer);
        }
    }

    /// Forgets the negotiations of a peer, and what it has waiting for absent ones.
    pub(super) fn forget(&mut self, peer: &PeerId, timers: &mut Timers) {
        for (id, member) in &mut self.members {
            if id == peer {
                for offer in std::mem::take(&mut member.offers).into_values() {
                    timers.cancel(offer.timer);
                }
                continue;
            }
            member.drop_kept(|kept| kept.from == *peer);
            if let Some(offer) = member.offers.remove(peer) {
                timers.cancel(offer.timer);
            }
        }
    }

    /// Forgets a peer and its negotiations.
    pub(super) fn remove(&mut self, peer: &PeerId, timers: &mut Timers) {
        self.forget(peer, timers);
        self.members.remove(peer);
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
