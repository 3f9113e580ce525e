//! What waits to be fetched, within bounds: a slow application loses media first, then data messages,
//! and never the latest state of anything.

use std::collections::{BTreeSet, VecDeque};

use crate::id::PeerId;
use crate::net::{IoCommand, Transmit};
use crate::trace::state::saved;
use crate::transport::event::{Event, Media, Outcome};
use crate::transport::merge::merge;

/// Datagrams that wait to be sent. A burst of video to ten peers stays far below; a driver that does
/// not send at all costs no more than this many of at most 1,500 bytes.
const MAX_TRANSMITS: usize = 16_384;

/// Media frames that wait: two seconds of 20 ms frames of ten peers.
const MAX_MEDIA: usize = 1_000;

/// Data messages that wait, and their bytes. Four of the largest, or many small ones.
const MAX_DATA: usize = 16_384;
const MAX_DATA_BYTES: usize = 64 * 1024 * 1024;

/// From this many events on, state changes that later ones have superseded are merged.
const MERGE_FROM: usize = 4_096;

/// Figures are only reported while fewer events than this wait: the next ones say more.
const MAX_WITH_FIGURES: usize = 256;

/// The room that an empty queue keeps at most, in bytes: of 128 datagrams.
const MAX_SPARE: usize = 8 * 1024;

/// Takes the first one out. A queue that has become long gives its room back once it is empty.
#[inline]
fn pop<T>(queue: &mut VecDeque<T>) -> Option<T> {
    let first = queue.pop_front()?;
    if queue.is_empty() && queue.capacity() * size_of::<T>() > MAX_SPARE {
        *queue = VecDeque::new();
    }
    Some(first)
}

#[derive(Debug, Default)]
pub(super) struct Queues {
    pub(super) transmits: VecDeque<Transmit>,
    pub(super) commands: VecDeque<IoCommand>,
    pub(super) outcomes: VecDeque<Outcome>,
    events: VecDeque<Event>,
    /// The peers that the application knows as announced.
    told: BTreeSet<PeerId>,
    media: VecDeque<Media>,
    data: usize,
    data_bytes: usize,
    merge_at: usize,
    lagged: (u64, u64),
    /// Datagrams, media frames and data messages that were dropped since the start.
    pub(super) dropped: (u64, u64, u64),
}

saved!(struct Queues {
    transmits, commands, outcomes, events, told, media, data, data_bytes, merge_at, lagged,
    dropped,
});

impl Queues {
    pub(super) fn transmit(&mut self, transmit: Transmit) {
        if self.transmits.len() >= MAX_TRANSMITS {
            self.dropped.0 += 1;
        } else {
            self.transmits.push_back(transmit);
        }
    }

    pub(super) fn media(&mut self, media: Media) {
        if self.media.len() >= MAX_MEDIA {
            self.media.pop_front();
            self.lagged.0 += 1;
            self.dropped.1 += 1;
        }
        self.media.push_back(media);
    }

    pub(super) fn event(&mut self, event: Event) {
        match &event {
            Event::Data { message, .. } => {
                let size = message.size();
                if self.data >= MAX_DATA || self.data_bytes + size > MAX_DATA_BYTES {
                    self.lagged.1 += 1;
                    self.dropped.2 += 1;
                    return;
                }
                self.data += 1;
                self.data_bytes += size;
            }
            Event::QualityChanged { .. } if self.events.len() >= MAX_WITH_FIGURES => return,
            _ => {}
        }
        self.events.push_back(event);
        if self.events.len() - self.data > self.merge_at.max(MERGE_FROM) {
            self.merge();
        }
    }

    /// Called each time that the queue has doubled: its cost per event is constant.
    fn merge(&mut self) {
        merge(&mut self.events, &self.told);
        self.merge_at = 2 * (self.events.len() - self.data);
    }

    #[inline]
    pub(super) fn poll_event(&mut self) -> Option<Event> {
        if self.lagged != (0, 0) {
            let (media, data) = std::mem::take(&mut self.lagged);
            return Some(Event::Lagged { media, data });
        }
        let event = pop(&mut self.events)?;
        match &event {
            Event::Data { message, .. } => {
                self.data -= 1;
                self.data_bytes -= message.size();
            }
            Event::PeerDiscovered { peer, .. } => {
                self.told.insert(peer.clone());
            }
            Event::PeerGone { peer, .. } => {
                self.told.remove(peer);
            }
            _ => {}
        }
        Some(event)
    }

    #[inline]
    pub(super) fn poll_media(&mut self) -> Option<Media> {
        pop(&mut self.media)
    }

    #[inline]
    pub(super) fn poll_transmit(&mut self) -> Option<Transmit> {
        pop(&mut self.transmits)
    }

    /// Whether the driver has something to fetch, and what.
    pub(super) fn waiting(&self) -> Option<&'static str> {
        let queues = [
            (self.transmits.is_empty(), "datagrams to send"),
            (self.commands.is_empty(), "commands to carry out"),
            (self.outcomes.is_empty(), "outcomes to fetch"),
        ];
        queues.into_iter().find_map(|(empty, why)| (!empty).then_some(why))
    }

    /// How many frames of media, events, and data messages among these, wait for the application.
    pub(super) fn lengths(&self) -> (usize, usize, usize) {
        (self.media.len(), self.events.len(), self.data)
    }

    /// Whether the application has something to fetch.
    pub(super) fn has_events(&self) -> bool {
        !self.events.is_empty() || !self.media.is_empty() || self.lagged != (0, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::PeerId;
    use crate::media::{DataMessage, Reliability};
    use crate::transport::event::AudioFrame;

    fn peer(n: usize) -> PeerId {
        PeerId::new(format!("p{n}")).unwrap()
    }

    #[test]
    fn a_long_queue_gives_its_room_back_once_it_is_empty() {
        let mut queues = Queues::default();
        for n in 0..1_000 {
            queues.event(Event::KeyframeRequested { peer: peer(n) });
        }
        while queues.poll_event().is_some() {
            assert_eq!(queues.events.is_empty(), queues.events.capacity() == 0);
        }
        queues.event(Event::KeyframeRequested { peer: peer(0) });
        assert!(
            queues.poll_event().is_some() && queues.events.capacity() > 0,
            "a short one keeps it"
        );
    }

    fn data(text: &str) -> Event {
        Event::Data {
            peer: peer(0),
            message: DataMessage::text(text),
            reliability: Reliability::Reliable,
        }
    }

    fn drain(queues: &mut Queues) -> Vec<Event> {
        std::iter::from_fn(|| queues.poll_event()).collect()
    }

    #[test]
    fn a_consumer_that_is_stuck_keeps_the_latest_states_and_all_data() {
        let mut queues = Queues::default();
        queues.event(data("kept"));
        for round in 0..10_000 {
            for n in 0..3 {
                queues.event(Event::Connecting { peer: peer(n) });
                queues.event(Event::Reconnecting { peer: peer(n) });
            }
            queues.event(Event::SignalingUp { resumed: round > 0 });
        }
        let events = drain(&mut queues);
        assert!(events.len() <= 2 * MERGE_FROM, "{}", events.len());
        assert!(events.contains(&data("kept")));
        for n in 0..3 {
            let last = events.iter().rev().find(|event| event.peer() == Some(&peer(n)));
            assert_eq!(last, Some(&Event::Reconnecting { peer: peer(n) }));
        }
        assert_eq!((queues.data, queues.data_bytes), (0, 0));
    }

    #[test]
    fn a_server_that_announces_without_end_costs_an_application_that_is_stuck_no_memory() {
        let mut queues = Queues::default();
        let announced = |n| Event::PeerDiscovered {
            peer: peer(n),
            capabilities: crate::signaling::Capabilities::ALL,
            user_data: Default::default(),
        };
        queues.event(announced(0));
        drain(&mut queues);
        for n in 1..50_000 {
            queues.event(announced(n));
            queues.event(Event::PeerGone { peer: peer(n), reason: "left".into() });
        }
        let gone = Event::PeerGone { peer: peer(0), reason: "left".into() };
        queues.event(gone.clone());
        assert!(queues.events.len() <= 2 * MERGE_FROM, "{}", queues.events.len());
        assert!(drain(&mut queues).contains(&gone));
        assert!(queues.told.is_empty());
    }

    #[test]
    fn data_is_bounded_and_its_loss_is_told_first() {
        let mut queues = Queues::default();
        for _ in 0..MAX_DATA + 5 {
            queues.event(data("x"));
        }
        assert_eq!(queues.poll_event(), Some(Event::Lagged { media: 0, data: 5 }));
        assert_eq!(drain(&mut queues).len(), MAX_DATA);
        let large = "x".repeat(DataMessage::MAX_SIZE);
        for _ in 0..10 {
            queues.event(data(&large));
        }
        assert_eq!(drain(&mut queues).len(), 1 + MAX_DATA_BYTES / DataMessage::MAX_SIZE);
    }

    #[test]
    fn the_oldest_media_go_first() {
        let mut queues = Queues::default();
        let now = std::time::Instant::now();
        for rtp in 0..MAX_MEDIA as u32 + 3 {
            let data = crate::transport::AudioData::Encoded(crate::media::EncodedAudio {
                opus: vec![0].into(),
                duration: std::time::Duration::from_millis(20),
            });
            queues.media(Media::Audio { peer: peer(0), frame: AudioFrame::new(rtp, now, data) });
        }
        assert_eq!(queues.poll_event(), Some(Event::Lagged { media: 3, data: 0 }));
        let Some(Media::Audio { frame, .. }) = queues.poll_media() else { panic!() };
        assert_eq!(frame.rtp, 3);
    }
}
