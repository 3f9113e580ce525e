//! One remote peer as the mesh knows it: what signaling says of it, and the connection to it.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use crate::id::{PeerId, RequestId, SocketId};
use crate::peer::{Peer, PeerFigures};
use crate::signaling::Capabilities;
use crate::sync::SyncState;
use crate::time::Deadline;
use crate::trace::state::saved;
use crate::transport::info::{PeerCounters, PeerInfo, PeerState, Quality, seconds_between};
use crate::transport::outgoing::{AudioSource, SendTimeline};
use crate::transport::reception::Reception;

/// How often the rates of a connection are measured.
pub(super) const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);

/// A keyframe that has not come is asked for again after this long (a request may be lost), and those of
/// a peer are handed to the application no more often.
pub(super) const KEYFRAME_INTERVAL: Duration = Duration::from_millis(500);

/// No keyframe is asked for any more when no frame has come for so long: whoever has stopped sending video would be asked without end.
/// The next frame is reason to ask again. libwebrtc does so with packets (`VideoReceiveStream2::HandleFrameBufferTimeout`).
pub(super) const VIDEO_SILENT_AFTER: Duration = Duration::from_secs(5);

/// Names of negotiations that are remembered per connection: a late word about one of them is about
/// this connection.
const MAX_REQUESTS: usize = 16;

/// A remote peer.
#[derive(Debug)]
pub(super) struct Remote {
    pub(super) id: PeerId,
    pub(super) announced: bool,
    /// The signaling connection, by number, in which it was announced last.
    pub(super) listed: u64,
    pub(super) capabilities: Capabilities,
    pub(super) user_data: Arc<Map<String, Value>>,
    /// It is this library.
    pub(super) rtcmesh: bool,
    pub(super) state: PeerState,
    /// Somebody wished the connection's end: automatic mode does not call until it is announced anew.
    pub(super) parked: bool,
    /// Until when the application waits for this connection, if it does.
    pub(super) wanted: Option<Instant>,
    /// Attempts that failed in a row.
    pub(super) attempts: u32,
    /// When it will be called.
    pub(super) call_at: Option<Instant>,
    pub(super) connection: Option<Box<Connection>>,
}

saved!(struct Remote {
    id, announced, listed, capabilities, user_data, rtcmesh, state, parked, wanted, attempts,
    call_at, connection,
});

impl Remote {
    pub(super) fn new(id: PeerId) -> Self {
        Self {
            id,
            announced: false,
            listed: 0,
            capabilities: Capabilities::ALL,
            user_data: Arc::default(),
            rtcmesh: false,
            state: PeerState::New,
            parked: false,
            wanted: None,
            attempts: 0,
            call_at: None,
            connection: None,
        }
    }

    /// The connection, where media flows or flowed and is being restored.
    pub(super) fn established(&mut self) -> Option<&mut Connection> {
        self.connection.as_deref_mut().filter(|connection| connection.connected_at.is_some())
    }

    pub(super) fn poll_timeout(&self) -> Option<Deadline> {
        let mut earliest = self.connection.as_ref().and_then(|c| c.poll_timeout());
        Deadline::consider(&mut earliest, self.call_at, "call a peer");
        Deadline::consider(&mut earliest, self.wanted, "answer to a call");
        earliest
    }

    pub(super) fn info(&self, unix: impl Fn(Instant) -> Duration) -> PeerInfo {
        let connection = self.connection.as_deref();
        let connected_at = connection.and_then(|connection| connection.connected_at);
        PeerInfo {
            peer: self.id.clone(),
            state: self.state,
            announced: self.announced,
            capabilities: self.capabilities,
            user_data: self.user_data.clone(),
            connected_at: connected_at.map(unix),
            connected_after: connection.and_then(Connection::connected_after),
            fingerprint: connection.and_then(|c| c.peer.remote_fingerprint()).map(Arc::from),
            receives_audio: connection.is_some_and(|c| c.peer.audio_receivable()),
            quality: connection.map(Connection::quality).unwrap_or_default(),
            counters: connection.map(Connection::counters).unwrap_or_default(),
        }
    }
}

/// The connection to a remote peer.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) peer: Peer,
    pub(super) started: Instant,
    pub(super) connected_at: Option<Instant>,
    /// When an attempt, or the search for a lost path, is given up.
    pub(super) deadline: Option<Instant>,
    /// When a lost path is sought anew.
    pub(super) restart_at: Option<Instant>,
    pub(super) reception: Reception,
    /// When it has something to hand over next, as of the latest look at it.
    playout_at: Option<Instant>,
    /// The last one that was told.
    sync_state: SyncState,
    pub(super) timeline: SendTimeline,
    /// The encoder of audio that goes to this peer alone.
    pub(super) source: Option<Box<AudioSource>>,
    /// The path that was sent on last: the demultiplexer knows it.
    pub(super) selected: Option<(SocketAddr, SocketAddr, SocketId)>,
    pub(super) keyframes: Keyframes,
    pub(super) level: Option<i8>,
    requests: VecDeque<RequestId>,
    sample: Sample,
    pub(super) report_at: Option<Instant>,
}

saved!(struct Connection {
    peer, started, connected_at, deadline, restart_at, reception, playout_at, sync_state,
    timeline, source, selected, keyframes, level, requests, sample, report_at,
});

impl Connection {
    pub(super) fn new(
        peer: Peer,
        reception: Reception,
        timeline: SendTimeline,
        now: Instant,
    ) -> Self {
        Self {
            peer,
            started: now,
            connected_at: None,
            deadline: None,
            restart_at: None,
            reception,
            playout_at: Some(now),
            sync_state: SyncState::default(),
            timeline,
            source: None,
            selected: None,
            keyframes: Keyframes::default(),
            level: None,
            requests: VecDeque::new(),
            sample: Sample::new(now),
            report_at: None,
        }
    }

    pub(super) fn connected_after(&self) -> Option<Duration> {
        self.connected_at.map(|at| at.saturating_duration_since(self.started))
    }

    /// Remembers the name of a negotiation of this connection.
    pub(super) fn negotiates(&mut self, request: &RequestId) {
        if self.knows(request) {
            return;
        }
        if self.requests.len() >= MAX_REQUESTS {
            self.requests.pop_front();
        }
        self.requests.push_back(request.clone());
    }

    /// Whether this was the name of one of its negotiations.
    pub(super) fn knows(&self, request: &RequestId) -> bool {
        self.requests.contains(request)
    }

    /// The name of its latest negotiation.
    pub(super) fn request(&self) -> Option<&RequestId> {
        self.requests.back()
    }

    pub(super) fn poll_timeout(&self) -> Option<Deadline> {
        let mut earliest = self.peer.poll_timeout();
        Deadline::consider(&mut earliest, self.deadline, "connecting");
        Deadline::consider(&mut earliest, self.restart_at, "ICE restart");
        Deadline::consider(&mut earliest, self.playout_at, "playout");
        Deadline::consider(&mut earliest, self.keyframes.ask_at, "keyframe");
        Deadline::consider(&mut earliest, self.connected_at.and(Some(self.sample.next)), "figures");
        earliest
    }

    /// Measures the rates of the last interval, when one is over.
    pub(super) fn measure(&mut self, now: Instant, unix: Duration) {
        if now >= self.sample.next {
            let figures = self.peer.figures();
            self.sample.take(now, figures);
            self.reception.measure(now, unix, figures.rtt);
            self.playout_at = Some(now);
        }
    }

    /// Something was put into the reception, or its settings are others: it is to be looked at.
    pub(super) fn look_at_reception(&mut self, now: Instant) {
        self.playout_at = Some(now);
    }

    /// Whether the reception may have something to hand over, or to tell: what is sent costs no look at what is received.
    pub(super) fn reception_is_due(&self, now: Instant) -> bool {
        self.playout_at.is_some_and(|at| at <= now)
    }

    /// Everything that is due has been taken out of the reception.
    pub(super) fn reception_looked_at(&mut self) {
        self.playout_at = self.reception.poll_timeout();
    }

    /// The sync state, if it has changed since this was asked last.
    pub(super) fn new_sync_state(&mut self) -> Option<SyncState> {
        let state = self.reception.state();
        (std::mem::replace(&mut self.sync_state, state) != state).then_some(state)
    }

    pub(super) fn quality(&self) -> Quality {
        let figures = self.peer.figures();
        let millis = |duration: Duration| duration.as_secs_f64() * 1e3;
        Quality {
            latency_ms: figures.rtt.map(millis),
            packet_loss_rate: self.sample.loss,
            remote_loss_rate: figures.remote_loss.map(f64::from),
            jitter_ms: figures.jitter() * 1e3,
            bitrate_in_kbps: self.sample.kbps.0,
            bitrate_out_kbps: self.sample.kbps.1,
            audio_level_dbov: self.level,
            sync: self.reception.info(),
        }
    }

    pub(super) fn counters(&self) -> PeerCounters {
        let figures = self.peer.figures();
        let (sync, playout) = self.reception.figures();
        PeerCounters {
            local_candidate: figures.path.map(|(local, _)| local),
            remote_candidate: figures.path.map(|(_, remote)| remote),
            bytes_in: figures.bytes_in,
            bytes_out: figures.bytes_out,
            audio_packets_in: figures.audio_packets_in,
            audio_packets_out: figures.audio_packets_out,
            audio_packets_lost: figures.audio_packets_lost,
            audio_samples_concealed: playout.concealed,
            audio_concealments: playout.concealments,
            audio_samples_recovered: playout.recovered,
            audio_samples_inserted: playout.inserted,
            audio_samples_removed: playout.removed,
            audio_packets_late: sync.audio.buffer.late,
            audio_packets_discarded: sync.audio.dropped_frames + figures.media_dropped,
            video_frames_dropped: sync.video.dropped_frames,
            video_frames_in: figures.video_frames_in,
            video_frames_out: figures.video_frames_out,
            messages_in: figures.messages_in,
            messages_out: figures.messages_out,
            messages_lost: figures.lost_messages,
            malformed: figures.malformed + playout.undecodable,
            stale: figures.stale,
            glare: figures.glare,
        }
    }
}

/// Keyframes of the video in both directions.
#[derive(Debug, Default)]
pub(super) struct Keyframes {
    /// Whether the first frame has come.
    pub(super) started: bool,
    /// Whether one is needed that has not come, and when the latest frame of any kind did.
    needed: bool,
    frame_at: Option<Instant>,
    /// When the peer is asked for one (again).
    pub(super) ask_at: Option<Instant>,
    /// When the peer's last wish was handed to the application.
    pub(super) told_at: Option<Instant>,
}

saved!(struct Keyframes { started, needed, frame_at, ask_at, told_at });

impl Keyframes {
    /// A frame has come.
    pub(super) fn received(&mut self, now: Instant, keyframe: bool, contiguous: bool) {
        self.frame_at = Some(now);
        self.needed = !keyframe && (self.needed || !contiguous || !self.started);
        if !self.needed {
            self.ask_at = None;
        } else {
            self.ask_at.get_or_insert(now);
        }
        self.started = true;
    }

    /// Whether the peer is to be asked.
    pub(super) fn due(&mut self, now: Instant) -> bool {
        if self.ask_at.is_none_or(|at| at > now) {
            return false;
        }
        let comes = self.frame_at.is_some_and(|at| now < at + VIDEO_SILENT_AFTER);
        self.ask_at = comes.then(|| now + KEYFRAME_INTERVAL);
        comes
    }

    /// Whether the peer's wish is new to the application.
    pub(super) fn tell(&mut self, now: Instant) -> bool {
        let new = self.told_at.is_none_or(|at| now >= at + KEYFRAME_INTERVAL);
        if new {
            self.told_at = Some(now);
        }
        new
    }
}

/// What had passed when rates were measured last, and the rates.
#[derive(Debug)]
struct Sample {
    at: Instant,
    /// When the next one is due: kept, since every packet asks.
    next: Instant,
    bytes: (u64, u64),
    audio: (u64, u64),
    kbps: (f64, f64),
    loss: f64,
}

saved!(struct Sample { at, next, bytes, audio, kbps, loss });

impl Sample {
    fn new(now: Instant) -> Self {
        let next = now + SAMPLE_INTERVAL;
        Self { at: now, next, bytes: (0, 0), audio: (0, 0), kbps: (0.0, 0.0), loss: 0.0 }
    }

    fn take(&mut self, now: Instant, figures: &PeerFigures) {
        let seconds = seconds_between(self.at, now);
        let rate = |from: u64, to: u64| to.saturating_sub(from) as f64 * 8e-3 / seconds;
        self.kbps = (rate(self.bytes.0, figures.bytes_in), rate(self.bytes.1, figures.bytes_out));
        let received = figures.audio_packets_in.saturating_sub(self.audio.0);
        let lost = figures.audio_packets_lost.saturating_sub(self.audio.1);
        self.loss = if received + lost > 0 { lost as f64 / (received + lost) as f64 } else { 0.0 };
        self.bytes = (figures.bytes_in, figures.bytes_out);
        self.audio = (figures.audio_packets_in, figures.audio_packets_lost);
        self.at = now;
        self.next = now + SAMPLE_INTERVAL;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keyframe_is_asked_for_until_it_comes() {
        let now = Instant::now();
        let mut keyframes = Keyframes::default();
        keyframes.received(now, false, true);
        assert!(keyframes.due(now), "the first frame is none");
        assert!(!keyframes.due(now));
        assert!(keyframes.due(now + KEYFRAME_INTERVAL));
        keyframes.received(now, true, true);
        keyframes.received(now, false, true);
        assert!(!keyframes.due(now + 9 * KEYFRAME_INTERVAL));
        keyframes.received(now, false, false);
        assert!(keyframes.due(now));
    }

    #[test]
    fn who_sends_no_video_any_more_is_not_asked_for_keyframes() {
        let now = Instant::now();
        let mut keyframes = Keyframes::default();
        keyframes.received(now, false, true);
        let asked = |n: &u32| keyframes.due(now + *n * KEYFRAME_INTERVAL);
        assert_eq!((0..1_000).filter(asked).count(), 10);
        assert_eq!(keyframes.ask_at, None, "no deadline is left");
        let later = now + 1_000 * KEYFRAME_INTERVAL;
        keyframes.received(later, false, true);
        assert!(keyframes.due(later), "it sends again, and the keyframe has never come");
        keyframes.received(later, true, true);
        keyframes.received(later, false, true);
        assert!(!keyframes.due(later + KEYFRAME_INTERVAL));
    }

    #[test]
    fn wishes_for_keyframes_are_told_twice_a_second_at_most() {
        let now = Instant::now();
        let mut keyframes = Keyframes::default();
        let told = |n: &u32| keyframes.tell(now + Duration::from_millis(u64::from(*n) * 10));
        assert_eq!((0..100).filter(told).count(), 2);
    }

    #[test]
    fn rates_are_those_of_the_interval() {
        let now = Instant::now();
        let mut sample = Sample::new(now);
        let mut figures = PeerFigures::default();
        figures.bytes_in = 1_000;
        sample.take(now + Duration::from_secs(1), &figures);
        assert_eq!(sample.kbps, (8.0, 0.0));
        figures.audio_packets_in = 75;
        figures.audio_packets_lost = 25;
        sample.take(now + Duration::from_secs(3), &figures);
        assert_eq!((sample.kbps, sample.loss), ((0.0, 0.0), 0.25));
    }
}
