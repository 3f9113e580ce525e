//! Sends messages back, but never an echo of what was sent from here.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

use rtcmesh_core::id::PeerId;
use rtcmesh_core::media::{DataMessage, Reliability};

/// How long an echo of ours may be under way. Whoever sends the same text again later means it.
const MEMORY: Duration = Duration::from_secs(3);
/// The messages that are remembered per peer.
const MAX_REMEMBERED: usize = 4_096;
/// What waits for room in the send buffer, per peer.
const MAX_WAITING: usize = 1_024;
const MAX_WAITING_BYTES: usize = 2 * DataMessage::MAX_SIZE;

/// What is to be echoed, and what was.
#[derive(Debug, Default)]
pub(super) struct Echo(BTreeMap<PeerId, Line>);

/// The echo towards one peer.
#[derive(Debug, Default)]
struct Line {
    sent: VecDeque<(u64, Instant)>,
    waiting: VecDeque<(DataMessage, Reliability)>,
    waiting_bytes: usize,
}

impl Line {
    fn expire(&mut self, now: Instant) {
        while self.sent.front().is_some_and(|(_, at)| now.duration_since(*at) > MEMORY) {
            self.sent.pop_front();
        }
    }
}

impl Echo {
    /// Takes a message that arrived. One that looks like an echo of ours is taken for it: nothing else
    /// tells them apart. Messages that arrived before an echo went out cannot be its echo, and so are
    /// taken before [`Echo::sent`] is called. `false`: the message is not echoed, since too much waits
    /// for this peer already.
    pub(super) fn received(
        &mut self,
        peer: &PeerId,
        message: DataMessage,
        reliability: Reliability,
        now: Instant,
    ) -> bool {
        let line = self.0.entry(peer.clone()).or_default();
        line.expire(now);
        let print = fingerprint(&message);
        let echo_of_ours = line.sent.iter().position(|(sent, _)| *sent == print);
        if let Some(position) = echo_of_ours {
            line.sent.remove(position);
            return true;
        }
        let size = message.size();
        if line.waiting.len() >= MAX_WAITING || line.waiting_bytes + size > MAX_WAITING_BYTES {
            return false;
        }
        line.waiting_bytes += size;
        line.waiting.push_back((message, reliability));
        true
    }

    /// The next message to send to a peer; [`Echo::sent`] tells that it went out.
    pub(super) fn next(&self, peer: &PeerId) -> Option<&(DataMessage, Reliability)> {
        self.0.get(peer)?.waiting.front()
    }

    /// The message that [`Echo::next`] gave went out.
    pub(super) fn sent(&mut self, peer: &PeerId, now: Instant) {
        if let Some(message) = self.drop_next(peer)
            && let Some(line) = self.0.get_mut(peer)
        {
            if line.sent.len() >= MAX_REMEMBERED {
                line.sent.pop_front();
            }
            line.sent.push_back((fingerprint(&message), now));
        }
    }

    /// Gives up the message that [`Echo::next`] gave: it can never be sent.
    pub(super) fn drop_next(&mut self, peer: &PeerId) -> Option<DataMessage> {
        let line = self.0.get_mut(peer)?;
        let (message, _) = line.waiting.pop_front()?;
        line.waiting_bytes -= message.size();
        Some(message)
    }

    /// The peers that something waits for.
    pub(super) fn waiting(&self) -> Vec<PeerId> {
        let waits = self.0.iter().filter(|(_, line)| !line.waiting.is_empty());
        waits.map(|(peer, _)| peer.clone()).collect()
    }

    /// The connection is over: nothing of it is echoed any more.
    pub(super) fn forget(&mut self, peer: &PeerId) {
        self.0.remove(peer);
    }
}

/// Tells messages apart. JSON is sent as text, and may come back as such: it counts as its text.
fn fingerprint(message: &DataMessage) -> u64 {
    let mut hasher = DefaultHasher::new();
    match message {
        DataMessage::Text(text) => text.hash(&mut hasher),
        DataMessage::Json(value) => value.to_string().hash(&mut hasher),
        DataMessage::Binary(bytes) => (1_u8, bytes).hash(&mut hasher),
        _ => {}
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    struct World {
        echo: Echo,
        now: Instant,
        peer: PeerId,
    }

    impl World {
        fn new() -> Self {
            let peer = PeerId::new("peer").unwrap();
            Self { echo: Echo::default(), now: Instant::now(), peer }
        }

        /// What goes back when this arrives after so many milliseconds.
        fn after(&mut self, ms: u64, message: DataMessage) -> Vec<DataMessage> {
            self.now += Duration::from_millis(ms);
            let kind = Reliability::Reliable;
            assert!(self.echo.received(&self.peer, message, kind, self.now));
            let mut out = Vec::new();
            while let Some((message, reliability)) = self.echo.next(&self.peer) {
                assert_eq!(*reliability, kind);
                out.push(message.clone());
                self.echo.sent(&self.peer, self.now);
            }
            out
        }
    }

    fn text(text: &str) -> DataMessage {
        DataMessage::text(text)
    }

    #[test]
    fn messages_go_back_unchanged() {
        let mut world = World::new();
        for message in [text("a"), text(""), DataMessage::binary([0, 255]), DataMessage::binary([])]
        {
            assert_eq!(world.after(5, message.clone()), [message]);
        }
        let json = DataMessage::Json(serde_json::json!({"a": [1, null]}));
        assert_eq!(world.after(5, json.clone()), [json]);
    }

    #[test]
    fn an_echo_of_our_echo_is_swallowed_once() {
        let mut world = World::new();
        assert_eq!(world.after(0, text("ping")), [text("ping")]);
        assert_eq!(world.after(2, text("ping")), []);
        assert_eq!(world.after(2, text("ping")), [text("ping")]);
    }

    #[test]
    fn the_same_message_long_after_is_a_message_of_its_own() {
        let mut world = World::new();
        for _ in 0..3 {
            let ms = MEMORY.as_millis() as u64 + 1;
            assert_eq!(world.after(ms, text("ping")), [text("ping")]);
        }
    }

    #[test]
    fn the_same_message_several_times_at_once_is_echoed_as_often() {
        let World { mut echo, now, peer } = World::new();
        for _ in 0..3 {
            assert!(echo.received(&peer, text("ping"), Reliability::Reliable, now));
        }
        let mut count = 0;
        while echo.next(&peer).is_some() {
            echo.sent(&peer, now);
            count += 1;
        }
        assert_eq!(count, 3);
    }

    #[test]
    fn text_and_bytes_are_not_each_others_echo() {
        let mut world = World::new();
        assert_eq!(world.after(0, text("A")).len(), 1);
        assert_eq!(world.after(9, DataMessage::binary(*b"A")).len(), 1);
    }

    #[test]
    fn two_that_echo_do_not_play_ping_pong() {
        let (mut one, mut other) = (World::new(), World::new());
        let mut flying = vec![text("a"), text("b"), text("a")];
        for round in 0.. {
            assert!(round < 5, "the echo goes on for ever: {flying:?}");
            let back: Vec<_> = flying.drain(..).flat_map(|m| one.after(2, m)).collect();
            flying = back.into_iter().flat_map(|m| other.after(2, m)).collect();
            if flying.is_empty() {
                break;
            }
        }
    }

    #[test]
    fn a_peer_that_does_not_read_costs_bounded_memory() {
        let mut echo = Echo::default();
        let (peer, now) = (PeerId::new("slow").unwrap(), Instant::now());
        let big = DataMessage::binary(vec![0; DataMessage::MAX_SIZE]);
        let mut take = |message| echo.received(&peer, message, Reliability::Reliable, now);
        assert!(take(big.clone()) && take(big.clone()) && !take(big));
        assert_eq!((0..9_999).filter(|n| take(text(&n.to_string()))).count(), 0);
        echo.forget(&peer);
        let mut take = |n: usize| {
            let message = DataMessage::binary(n.to_le_bytes());
            echo.received(&peer, message, Reliability::Reliable, now)
        };
        assert_eq!((0..9_999).filter(|n| take(*n)).count(), MAX_WAITING);
    }

    proptest! {
        #[test]
        fn a_blind_echo_never_starts_a_loop(
            messages in prop::collection::vec("[ab]{0,2}", 1..20),
            pause in 0_u64..20,
        ) {
            let mut world = World::new();
            let mut flying: Vec<DataMessage> = messages.iter().map(|m| text(m)).collect();
            let mut total = 0;
            while !flying.is_empty() {
                flying = flying.drain(..).flat_map(|m| world.after(pause, m)).collect();
                total += flying.len();
                prop_assert!(total <= messages.len(), "more echoes than messages");
            }
        }
    }
}
