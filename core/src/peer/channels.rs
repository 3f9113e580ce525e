//! Data channels: which there are, plain messages, large ones in fragments, and how much waits.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::early::Early;
use super::fragment::{Bytes, Kind, Outgoing, PAYLOAD, Reassembly};
use super::rtc::{ChannelData, ChannelId};
use super::sdp::Description;
use super::stats::PeerFigures;
use super::{Peer, PeerConfig, PeerEvent, State};
use crate::error::PeerFault;
use crate::media::{DataMessage, Reliability};
use crate::time::Deadline;
use crate::trace::state::saved;

/// The reliable, ordered channel: plain messages, with anybody.
pub(super) const DATA: &str = "data";
/// The unordered channel without retransmissions.
pub(super) const UNRELIABLE: &str = "data-unreliable";
/// The reliable, ordered channel of fragments, between rtcmesh peers.
pub(super) const FRAGMENTS: &str = "rtcmesh/1";
/// All of them, in the order in which they are opened.
pub(super) const LABELS: [&str; 3] = [DATA, UNRELIABLE, FRAGMENTS];

/// An answerer gives the offerer this long to open its channels (transport contract).
const MISSING_AFTER: Duration = Duration::from_secs(2);

/// Plain messages wait up to this many bytes; a single larger one is taken where nothing waits.
const PLAIN_QUOTA: usize = 1024 * 1024;

/// Below this much waiting, the application is told to go on.
const LOW_WATER: usize = 256 * 1024;

/// How many bytes of fragments the engine is given before they are acknowledged. What waits there
/// delays a small message behind it, so it follows the path: half more than what it carried in the last
/// round trip.
const WINDOW: (usize, usize) = (32 * 1024, 1024 * 1024);

/// The most channels that are open at once, of whatever label: each costs memory in the engine.
const MAX_CHANNELS: usize = 64;

/// Why a message was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DataRefused {
    NoChannel(&'static str),
    TooLarge {
        size: usize,
        limit: usize,
    },
    /// The engine cannot send an empty message over a plain channel (docs/upstream.md).
    Empty,
    Full,
}

/// A message as it is handed to channels: made once, shared by all its receivers.
#[derive(Debug, Clone)]
pub(crate) struct Prepared {
    kind: Kind,
    bytes: Bytes,
}

impl Prepared {
    /// The message in the form that it has on the wire.
    pub(crate) fn new(message: &DataMessage) -> Self {
        let (kind, bytes) = match message {
            DataMessage::Text(text) => (Kind::Text, Bytes::Text(text.clone())),
            DataMessage::Binary(bytes) => (Kind::Binary, Bytes::Shared(bytes.clone())),
            DataMessage::Json(value) => (Kind::Json, Bytes::Owned(Arc::new(value.to_string()))),
        };
        Self { kind, bytes }
    }
}

pub(super) struct Channels {
    enabled: bool,
    own: bool,
    section: bool,
    max_message: usize,
    pub(super) ids: [Slot; 3],
    /// All that are open, with the label where it is one of ours: both sides may have opened the same.
    open: Vec<(ChannelId, Option<&'static str>)>,
    missing_at: Option<Instant>,
    outgoing: Outgoing,
    reassembly: Reassembly,
    scratch: Vec<u8>,
    /// Told to the application as high: it waits for the low-water event.
    high: bool,
    window: Window,
    early: Early,
}

saved!(struct Channels {
    enabled, own, section, max_message, ids, open, missing_at, outgoing, reassembly, scratch,
    high, window, early,
});

#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Slot {
    pub(super) requested: Option<ChannelId>,
    pub(super) open: Option<ChannelId>,
}

saved!(struct Slot { requested, open });

struct Window {
    size: usize,
    written: u64,
    acknowledged: u64,
    next: Option<Instant>,
}

saved!(struct Window { size, written, acknowledged, next });

impl Channels {
    pub(super) fn new(config: &PeerConfig) -> Self {
        Self {
            enabled: config.data,
            own: config.remote_is_rtcmesh,
            section: false,
            max_message: 0,
            ids: [Slot::default(); 3],
            open: Vec::new(),
            missing_at: None,
            outgoing: Outgoing::default(),
            reassembly: Reassembly::default(),
            scratch: Vec::new(),
            high: false,
            window: Window { size: WINDOW.0, written: 0, acknowledged: 0, next: None },
            early: Early::default(),
        }
    }

    fn is_opening(&self, id: ChannelId) -> bool {
        is_opening(&self.ids, id)
    }

    fn slot(&mut self, label: &str) -> Option<&mut Slot> {
        let index = LABELS.iter().position(|known| *known == label)?;
        self.ids.get_mut(index)
    }

    fn open_id(&self, label: &str) -> Option<ChannelId> {
        let index = LABELS.iter().position(|known| *known == label)?;
        self.ids.get(index)?.open
    }

    /// What an offerer opens: all that are not there.
    pub(super) fn labels_to_open(&self) -> Vec<&'static str> {
        let mut wanted = vec![DATA, UNRELIABLE];
        if self.own {
            wanted.push(FRAGMENTS);
        }
        self.absent(&wanted)
    }

    fn absent(&self, wanted: &[&'static str]) -> Vec<&'static str> {
        let mut labels = Vec::new();
        for (slot, label) in self.ids.iter().zip(LABELS) {
            if wanted.contains(&label) && slot.open.is_none() && slot.requested.is_none() {
                labels.push(label);
            }
        }
        labels
    }

    pub(super) fn opened(&mut self, label: &str, id: ChannelId) {
        if let Some(slot) = self.slot(label) {
            slot.requested = Some(id);
        }
    }

    /// Our offer was dropped: what it would have opened is not on its way.
    pub(super) fn rolled_back(&mut self) {
        for slot in &mut self.ids {
            slot.requested = None;
        }
    }

    pub(super) fn described(&mut self, description: &Description) {
        // The engine keeps to the first limit that it learns, so what is said later does not count.
        let first = description.application && !self.section;
        self.section |= description.application;
        if first {
            self.max_message = match description.max_message_size {
                0 => DataMessage::MAX_SIZE,
                size => size.min(DataMessage::MAX_SIZE),
            };
        }
    }

    pub(super) fn has_section(&self) -> bool {
        self.section
    }

    pub(super) fn connected(&mut self, now: Instant) {
        if self.enabled {
            self.missing_at = Some(now + MISSING_AFTER);
        }
    }

    /// Whether the offerer may still open what it has not.
    pub(super) fn awaits_offerer(&self) -> bool {
        self.missing_at.is_some()
    }

    pub(super) fn missing_due(&self, now: Instant) -> bool {
        self.missing_at.is_some_and(|at| at <= now)
    }

    /// The label of a channel that is open, or of ours that is being opened.
    fn label_of(&self, id: ChannelId) -> Option<&'static str> {
        if let Some((_, label)) = self.open.iter().find(|(open, _)| *open == id) {
            return *label;
        }
        let mut requested = self.ids.iter().zip(LABELS);
        requested.find(|(slot, _)| slot.requested == Some(id)).map(|(_, label)| label)
    }

    pub(super) fn on_close(&mut self, id: ChannelId) {
        self.open.retain(|(open, _)| *open != id);
        for slot in &mut self.ids {
            if slot.open == Some(id) {
                *slot = Slot::default();
            }
        }
    }

    /// Whether there is anything to move or to watch.
    pub(super) fn busy(&self) -> bool {
        self.high || self.outgoing.messages() > 0
    }

    pub(super) fn expire(&mut self, now: Instant, figures: &mut PeerFigures) {
        if self.reassembly.poll_timeout().is_some_and(|at| at <= now) {
            figures.lost_messages += self.reassembly.expire(now) as u64;
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Deadline> {
        let mut earliest = None;
        Deadline::consider(&mut earliest, self.missing_at, "missing data channels");
        Deadline::consider(&mut earliest, self.reassembly.poll_timeout(), "unfinished message");
        Deadline::consider(&mut earliest, self.early.poll_timeout(), "early messages");
        earliest
    }
}

/// Whether this is a channel of ours that can be read from, but not written to yet.
fn is_opening(ids: &[Slot; 3], id: ChannelId) -> bool {
    ids.iter().any(|slot| slot.requested == Some(id) && slot.open.is_none())
}

impl Peer {
    /// Opens what the other side should have opened and did not: never the unreliable channel
    /// towards a foreign peer, which may treat it as a second `data`.
    pub(super) fn open_missing(&mut self, now: Instant) {
        self.channels.missing_at = None;
        let wanted: &[&str] =
            if self.channels.own { &[DATA, UNRELIABLE, FRAGMENTS] } else { &[DATA] };
        let labels = self.channels.absent(wanted);
        if labels.is_empty() {
            return;
        }
        if !self.channels.section {
            self.negotiation.wish_data();
            return;
        }
        for label in labels {
            let id = self.drive(now, |peer| Ok(peer.rtc.create_channel(label)));
            if let Some(id) = id {
                self.channels.opened(label, id);
            }
        }
    }

    pub(super) fn on_channel_open(&mut self, id: ChannelId, label: &str) {
        if self.channels.open.len() >= MAX_CHANNELS {
            let reason = format!("it opened more than {MAX_CHANNELS} data channels");
            return self.fail(PeerFault::Misbehaved(reason));
        }
        let label = LABELS.into_iter().find(|known| *known == label);
        self.channels.open.push((id, label));
        let Some(label) = label else { return };
        let answerer = !self.negotiation.offered_first();
        let Some(slot) = self.channels.slot(label) else { return };
        // Both sides may have opened it: each keeps its first, and reads from both.
        if slot.open.is_none() {
            slot.open = Some(id);
            self.out.events.push_back(PeerEvent::ChannelOpen(label));
            let ids = self.channels.ids;
            let taken = self.channels.early.release(|id| is_opening(&ids, id));
            self.take_all_data(taken);
        } else if answerer && slot.open == slot.requested && label != FRAGMENTS {
            // The offerer was slow to open it, and may listen to nothing but its own.
            slot.open = Some(id);
        }
    }

    pub(super) fn on_channel_data(&mut self, data: ChannelData) {
        self.figures.messages_in += 1;
        if self.channels.is_opening(data.id) {
            let taken = self.channels.early.hold(self.now, data);
            self.take_all_data(taken);
        } else {
            self.take_channel_data(data);
        }
    }

    /// Takes the messages that have waited for their channel long enough.
    pub(super) fn expire_early(&mut self, now: Instant) {
        let taken = self.channels.early.expire(now);
        self.take_all_data(taken);
    }

    fn take_all_data(&mut self, messages: Vec<ChannelData>) {
        for data in messages {
            self.take_channel_data(data);
        }
    }

    fn take_channel_data(&mut self, data: ChannelData) {
        let label = self.channels.label_of(data.id);
        if label == Some(FRAGMENTS) {
            let rtc = &self.rtc;
            let finish = |kind, data| rtc.message(kind, data);
            match self.channels.reassembly.push(self.now, &data.data, finish) {
                Ok(Some(message)) => {
                    self.out.events.push_back(PeerEvent::Data(message, Reliability::Reliable));
                }
                Ok(None) => {}
                Err(_) => self.figures.malformed += 1,
            }
            return;
        }
        let unreliable = label == Some(UNRELIABLE);
        let reliability = if unreliable { Reliability::Unreliable } else { Reliability::Reliable };
        let kind = if data.binary { Kind::Binary } else { Kind::Text };
        let Some(message) = self.rtc.message(kind, data.data) else {
            self.figures.malformed += 1;
            return;
        };
        self.out.events.push_back(PeerEvent::Data(message, reliability));
    }

    /// Sends a message, or says why not.
    pub(crate) fn send_data(
        &mut self,
        now: Instant,
        message: &Prepared,
        reliability: Reliability,
    ) -> Result<(), DataRefused> {
        let Prepared { kind, bytes } = message;
        let size = bytes.as_slice().len();
        if size > DataMessage::MAX_SIZE {
            return Err(DataRefused::TooLarge { size, limit: DataMessage::MAX_SIZE });
        }
        let label = if reliability == Reliability::Unreliable { UNRELIABLE } else { DATA };
        let plain_limit = self.channels.max_message;
        let by_fragments = size > PAYLOAD || size == 0;
        if reliability == Reliability::Reliable && self.channels.own && by_fragments {
            if self.channels.open_id(FRAGMENTS).is_some() {
                if !self.channels.outgoing.push(*kind, bytes.clone()) {
                    self.channels.high = true;
                    return Err(DataRefused::Full);
                }
                self.figures.messages_out += 1;
                self.channels.high |= self.channels.outgoing.queued() > LOW_WATER;
                self.pump(now);
                return Ok(());
            }
            if size > plain_limit {
                return Err(DataRefused::NoChannel(FRAGMENTS));
            }
        }
        let id = self.channels.open_id(label).ok_or(DataRefused::NoChannel(label))?;
        if size == 0 {
            return Err(DataRefused::Empty);
        }
        if size > plain_limit {
            return Err(DataRefused::TooLarge { size, limit: plain_limit });
        }
        let waiting = self.channel_buffered(id);
        if waiting > 0 && waiting + size > PLAIN_QUOTA {
            self.channels.high = true;
            return Err(DataRefused::Full);
        }
        let text = !matches!(kind, Kind::Binary);
        if !self.write_channel(now, id, !text, bytes.as_slice()) {
            self.channels.high = true;
            return Err(DataRefused::Full);
        }
        self.figures.messages_out += 1;
        self.channels.high |= waiting + size > LOW_WATER;
        Ok(())
    }

    fn write_channel(&mut self, now: Instant, id: ChannelId, binary: bool, bytes: &[u8]) -> bool {
        self.drive(now, |peer| peer.rtc.write_channel(id, binary, bytes)) == Some(true)
    }

    fn channel_buffered(&mut self, id: ChannelId) -> usize {
        if self.state == State::Closed {
            return 0;
        }
        self.rtc.buffered(id)
    }

    /// Bytes of messages that the other side has not acknowledged.
    pub(crate) fn buffered_amount(&mut self) -> usize {
        let mut total = self.channels.outgoing.queued();
        for slot in self.channels.ids {
            total += slot.open.map_or(0, |id| self.channel_buffered(id));
        }
        total
    }

    /// Hands the engine as many fragments as its window takes, and tells when little waits.
    pub(super) fn pump(&mut self, now: Instant) {
        if let Some(id) = self.channels.open_id(FRAGMENTS) {
            let mut buffered = self.channel_buffered(id);
            self.adapt_window(now, buffered);
            let mut scratch = std::mem::take(&mut self.channels.scratch);
            while buffered < self.channels.window.size
                && self.channels.outgoing.peek(&mut scratch)
                && self.write_channel(now, id, true, &scratch)
            {
                self.channels.outgoing.advance();
                self.channels.window.written += scratch.len() as u64;
                buffered += scratch.len();
            }
            self.channels.scratch = scratch;
        }
        if self.channels.high && self.buffered_amount() <= LOW_WATER {
            self.channels.high = false;
            self.out.events.push_back(PeerEvent::BufferedAmountLow);
        }
    }

    fn adapt_window(&mut self, now: Instant, buffered: usize) {
        let round_trip = self.figures.rtt.unwrap_or(Duration::from_millis(50));
        let window = &mut self.channels.window;
        let next = *window.next.get_or_insert(now + round_trip);
        if now < next {
            return;
        }
        let acknowledged = window.written.saturating_sub(buffered as u64);
        let carried = (acknowledged - window.acknowledged.min(acknowledged)) as usize;
        window.size = (carried + carried / 2).clamp(WINDOW.0, WINDOW.1);
        window.acknowledged = acknowledged;
        window.next = Some(now + round_trip.max(Duration::from_millis(2)));
    }

    /// Whether all channels that belong between two rtcmesh peers are open.
    #[cfg(test)]
    pub(crate) fn all_channels_open(&self) -> bool {
        self.channels.ids.iter().all(|slot| slot.open.is_some())
    }
}
