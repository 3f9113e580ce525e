//! All remote peers, by name and by slot, with their deadlines.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::id::PeerId;
use crate::time::Deadline;
use crate::trace::state::saved;
use crate::transport::demux::Slot;
use crate::transport::remote::Remote;

/// Peers that a signaling server may announce: beyond the largest room, within what memory allows.
const MAX_REMOTES: usize = 10_000;

/// Names of peers that are gone, kept so that they can be told from ones that never were.
const MAX_GONE: usize = 1_024;

#[derive(Debug, Default)]
pub(super) struct Remotes {
    slots: Vec<Option<Remote>>,
    /// The deadline of each slot, as of its last change.
    due: Vec<Option<Deadline>>,
    names: BTreeMap<PeerId, Slot>,
    free: Vec<Slot>,
    gone: BTreeSet<PeerId>,
    gone_order: VecDeque<PeerId>,
}

saved!(struct Remotes { slots, due, names, free, gone, gone_order });

impl Remotes {
    pub(super) fn find(&self, peer: &str) -> Option<Slot> {
        self.names.get(peer).copied()
    }

    pub(super) fn get(&self, slot: Slot) -> Option<&Remote> {
        self.slots.get(slot)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, slot: Slot) -> Option<&mut Remote> {
        self.slots.get_mut(slot)?.as_mut()
    }

    /// The slot of a peer, made where there is none; `None` where there are too many.
    pub(super) fn ensure(&mut self, peer: &PeerId) -> Option<Slot> {
        if let Some(slot) = self.find(peer.as_str()) {
            return Some(slot);
        }
        if self.names.len() >= MAX_REMOTES {
            return None;
        }
        let remote = Some(Remote::new(peer.clone()));
        let slot = match self.free.pop() {
            Some(slot) => {
                if let Some(place) = self.slots.get_mut(slot) {
                    *place = remote;
                }
                slot
            }
            None => {
                self.slots.push(remote);
                self.due.push(None);
                self.slots.len() - 1
            }
        };
        self.names.insert(peer.clone(), slot);
        Some(slot)
    }

    /// Forgets a peer that is not announced and has no connection, but for its name.
    pub(super) fn forget(&mut self, slot: Slot) {
        let Some(remote) = self.slots.get_mut(slot).and_then(Option::take) else { return };
        self.names.remove(&remote.id);
        self.free.push(slot);
        self.update(slot);
        if self.gone.insert(remote.id.clone()) {
            self.gone_order.push_back(remote.id);
        }
        if self.gone_order.len() > MAX_GONE
            && let Some(oldest) = self.gone_order.pop_front()
        {
            self.gone.remove(&oldest);
        }
    }

    /// Whether a peer of this name was known once.
    pub(super) fn was_known(&self, peer: &str) -> bool {
        self.gone.contains(peer)
    }

    /// Takes over a slot's deadline after a change.
    pub(super) fn update(&mut self, slot: Slot) {
        let deadline = self.get(slot).and_then(Remote::poll_timeout);
        if let Some(due) = self.due.get_mut(slot) {
            *due = deadline;
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Deadline> {
        self.due.iter().fold(None, |earliest, due| Deadline::earliest(earliest, *due))
    }

    /// The first slot at or after `from` that is due.
    pub(super) fn next_due(&self, from: Slot, now: std::time::Instant) -> Option<Slot> {
        let rest = self.due.get(from..)?;
        let offset = rest.iter().position(|due| due.is_some_and(|due| due.at <= now))?;
        Some(from + offset)
    }

    /// All slots in the order of names.
    pub(super) fn slots(&self) -> impl Iterator<Item = Slot> + '_ {
        self.names.values().copied()
    }

    /// All peers in the order of their names.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Remote> {
        self.names.values().filter_map(|slot| self.get(*slot))
    }

    /// How many connections there are, in whatever state.
    pub(super) fn connections(&self) -> usize {
        self.slots.iter().flatten().filter(|remote| remote.connection.is_some()).count()
    }

    /// The number of slots ever used at once.
    pub(super) fn capacity(&self) -> usize {
        self.slots.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(n: usize) -> PeerId {
        PeerId::new(format!("p{n}")).unwrap()
    }

    #[test]
    fn slots_are_used_again_and_names_of_the_gone_are_remembered() {
        let mut remotes = Remotes::default();
        for n in 0..3 * MAX_GONE {
            let slot = remotes.ensure(&peer(n)).unwrap();
            assert_eq!(remotes.ensure(&peer(n)), Some(slot));
            remotes.forget(slot);
        }
        assert_eq!(remotes.capacity(), 1);
        assert!(remotes.was_known("p3000") && !remotes.was_known("p1"));
        assert_eq!(remotes.gone.len(), MAX_GONE);
    }

    #[test]
    fn a_server_cannot_announce_without_end() {
        let mut remotes = Remotes::default();
        let made = (0..MAX_REMOTES + 10).filter(|n| remotes.ensure(&peer(*n)).is_some()).count();
        assert_eq!(made, MAX_REMOTES);
    }
}
