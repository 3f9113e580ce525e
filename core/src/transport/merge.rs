//! What is left of events that nobody fetches: what later ones have superseded is dropped, so that what
//! remains is a shorter story, and a true one.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::id::PeerId;
use crate::transport::event::Event;

/// What an event is about: of each kind the latest counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Signaling,
    Presence,
    Begin,
    Connected,
    /// Whether the path is lost.
    Path,
    End,
    Channel(&'static str),
    Low,
    Keyframe,
    Figures,
    Sync,
    /// Not merged.
    Data,
}

fn kind(event: &Event) -> Kind {
    match event {
        Event::SignalingUp { .. } | Event::SignalingDown { .. } => Kind::Signaling,
        Event::PeerDiscovered { .. } | Event::PeerGone { .. } => Kind::Presence,
        Event::Connecting { .. } => Kind::Begin,
        Event::Connected { .. } => Kind::Connected,
        Event::Reconnecting { .. } | Event::Reconnected { .. } => Kind::Path,
        Event::Failed { .. } | Event::Closed { .. } => Kind::End,
        Event::DataChannelOpen { label, .. } => Kind::Channel(label),
        Event::BufferedAmountLow { .. } => Kind::Low,
        Event::KeyframeRequested { .. } => Kind::Keyframe,
        Event::QualityChanged { .. } => Kind::Figures,
        Event::SyncStateChanged { .. } => Kind::Sync,
        Event::Data { .. } | Event::Lagged { .. } => Kind::Data,
    }
}

/// One peer's events, seen from the latest to the earliest.
#[derive(Debug, Default)]
struct Story {
    seen: BTreeSet<Kind>,
    /// The beginning of the latest attempt was met: earlier ones are over.
    begun: bool,
    /// The earliest end, which may be that of a connection from before all of these.
    first_end: Option<usize>,
    /// Whether the earliest event of a connection is its beginning.
    begins: bool,
    /// The latest word is that it has left signaling.
    gone: bool,
}

impl Story {
    /// Takes an earlier event in, the `index`th; gives whether it is kept.
    fn take(&mut self, index: usize, event: &Event) -> bool {
        let kind = kind(event);
        match kind {
            Kind::Data => return true,
            Kind::Presence => {
                let latest = self.seen.insert(kind);
                self.gone |= latest && matches!(event, Event::PeerGone { .. });
                return latest;
            }
            _ => {}
        }
        self.begins = kind == Kind::Begin;
        if self.begun {
            if kind == Kind::End {
                self.first_end = Some(index);
            }
            return false;
        }
        self.begun = self.begins;
        self.seen.insert(kind)
    }

    /// Whether nobody has to know that it was announced, and of its connections: all of that happened
    /// unseen, from nothing to nothing. `told`: the application knows it as announced.
    fn over(&self, told: bool) -> (bool, bool) {
        let absent = !told && (self.gone || !self.seen.contains(&Kind::Presence));
        (absent, absent && self.begins && self.seen.contains(&Kind::End))
    }
}

/// Keeps all data messages, the latest word of signaling, and of each peer: whether it is announced, the
/// whole of its latest attempt, and before that the end of what the application may know as connected. A
/// peer that came and went with all that it did, and is none of those `told`, leaves nothing.
pub(super) fn merge(events: &mut VecDeque<Event>, told: &BTreeSet<PeerId>) {
    let mut stories: BTreeMap<PeerId, Story> = BTreeMap::new();
    let mut signaling = false;
    let mut keep = vec![false; events.len()];
    for (index, event) in events.iter().enumerate().rev() {
        let kept = match event.peer() {
            Some(peer) => match stories.get_mut(peer) {
                Some(story) => story.take(index, event),
                None => stories.entry(peer.clone()).or_default().take(index, event),
            },
            None => !std::mem::replace(&mut signaling, true),
        };
        if let Some(place) = keep.get_mut(index) {
            *place = kept;
        }
    }
    for story in stories.values().filter(|story| !story.begins) {
        if let Some(place) = story.first_end.and_then(|end| keep.get_mut(end)) {
            *place = true;
        }
    }
    let over: BTreeMap<PeerId, (bool, bool)> = stories
        .into_iter()
        .map(|(peer, story)| {
            let over = story.over(told.contains(&peer));
            (peer, over)
        })
        .collect();
    let mut kept = keep.into_iter();
    events.retain(|event| {
        let over = event.peer().and_then(|peer| over.get(peer)).copied().unwrap_or_default();
        let over = match kind(event) {
            Kind::Data => false,
            Kind::Presence => over.0,
            _ => over.1,
        };
        kept.next().unwrap_or(true) && !over
    });
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::error::PeerFault;
    use crate::signaling::Capabilities;
    use crate::transport::event::ClosedBy;

    fn peer(n: usize) -> PeerId {
        PeerId::new(format!("p{n}")).unwrap()
    }

    /// Where an application sees a peer that it follows by the events.
    #[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
    struct Seen {
        announced: bool,
        /// Nothing, an attempt, a connection, a lost one.
        connection: u8,
    }

    impl Seen {
        /// The next state, if the event is possible in this one.
        fn follow(self, event: &Event) -> Option<Self> {
            let connection = match (event, self.connection) {
                (Event::PeerDiscovered { .. }, _) => return Some(Self { announced: true, ..self }),
                (Event::PeerGone { .. }, _) if self.announced => {
                    return Some(Self { announced: false, ..self });
                }
                (Event::Connecting { .. }, 0) => 1,
                (Event::Connected { .. }, 1) => 2,
                // The path may have been lost or found twice while nobody looked.
                (Event::Reconnecting { .. }, 2 | 3) => 3,
                (Event::Reconnected { .. }, 2 | 3) => 2,
                (Event::Failed { .. } | Event::Closed { .. }, 1..) => 0,
                _ => return None,
            };
            Some(Self { connection, ..self })
        }
    }

    fn event(peer: PeerId, which: u8) -> Event {
        match which {
            0 => Event::PeerDiscovered {
                peer,
                capabilities: Capabilities::ALL,
                user_data: Default::default(),
            },
            1 => Event::PeerGone { peer, reason: "left".into() },
            2 => Event::Connecting { peer },
            3 => Event::Connected { peer, after: Duration::ZERO },
            4 => Event::Reconnecting { peer },
            5 => Event::Reconnected { peer },
            6 => Event::Failed { peer, fault: PeerFault::Timeout(String::new()) },
            _ => Event::Closed { peer, by: ClosedBy::Peer },
        }
    }

    #[test]
    fn peers_that_come_and_go_unseen_leave_nothing() {
        let mut events = VecDeque::new();
        for n in 0..1_000 {
            for which in [0, 2, 3, 4, 6, 2, 6, 1] {
                events.push_back(event(peer(n), which));
            }
        }
        events.push_back(event(peer(1_000), 0));
        merge(&mut events, &BTreeSet::new());
        assert_eq!(events, [event(peer(1_000), 0)]);
    }

    proptest! {
        #[test]
        fn the_story_stays_possible_and_ends_as_it_did(
            tries in prop::collection::vec((0usize..3, 0u8..8), 0..120),
            fetched in 0usize..40,
        ) {
            // The events that a transport could give, some of them fetched before the others are merged.
            let mut truth = BTreeMap::<PeerId, Seen>::new();
            let mut told = BTreeMap::<PeerId, Seen>::new();
            let mut waiting = VecDeque::new();
            let mut count = 0;
            for (n, which) in tries {
                let event = event(peer(n), which);
                let state = truth.entry(peer(n)).or_default();
                let Some(next) = state.follow(&event) else { continue };
                *state = next;
                count += 1;
                if count <= fetched {
                    told.insert(peer(n), next);
                } else {
                    waiting.push_back(event);
                }
            }
            let known = told.iter().filter(|(_, seen)| seen.announced);
            merge(&mut waiting, &known.map(|(peer, _)| peer.clone()).collect());
            let of_one = waiting.iter().filter(|event| event.peer() == Some(&peer(0))).count();
            prop_assert!(of_one <= 6, "{:?}", waiting);
            for event in &waiting {
                let state = told.entry(event.peer().unwrap().clone()).or_default();
                let next = state.follow(event);
                prop_assert!(next.is_some(), "{:?} while {:?} in {:?}", event, state, waiting);
                *state = next.unwrap();
            }
            for (peer, state) in truth {
                prop_assert_eq!(told.get(&peer).copied().unwrap_or_default(), state);
            }
        }
    }
}
