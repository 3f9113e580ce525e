//! One remote peer: its negotiation, path, media and data. The only module that names the engine.
//!
//! [`Peer`] keeps the engine's single-mutation rule by itself: every method that changes something
//! drains all outputs before it returns, so nobody above can break it. A fault of the engine, an
//! error or a panic, ends the one peer with a reason.

#[cfg(feature = "sim")]
mod bare;
mod channels;
mod draws;
mod drive;
mod early;
mod engine;
mod events;
#[cfg(test)]
mod foreign_tests;
mod fragment;
#[cfg(any(test, feature = "sim"))]
mod hostile;
mod live;
mod media;
mod negotiation;
mod probation;
mod repeat;
mod rtc;
mod sdp;
#[cfg(feature = "sim")]
mod seeded;
mod stats;
#[cfg(feature = "sim")]
mod tap;
#[cfg(test)]
mod tests;
mod warm_up;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::PeerFault;
use crate::id::RequestId;
use crate::media::{DataMessage, EncodedVideo, Reliability, VideoCodec};
use crate::rng::Rng;
use crate::time::Deadline;
use crate::trace::state::saved;

#[cfg(feature = "sim")]
pub use bare::BareEnd;
use channels::Channels;
pub(crate) use channels::{DataRefused, Prepared};
pub(crate) use engine::Engine;
#[cfg(feature = "sim")]
pub use engine::bare_provider;
#[cfg(feature = "sim")]
pub use hostile::hostile_peer;
use media::Media;
pub(crate) use media::MediaRefused;
use negotiation::Negotiation;
pub(crate) use rtc::Border;
use rtc::Rtc;
pub(crate) use stats::PeerFigures;
#[cfg(feature = "sim")]
pub(crate) use tap::{forget_plain, plain_of};
pub(crate) use warm_up::warm_up;

/// What one connection wishes and is allowed.
#[derive(Debug, Clone)]
pub(crate) struct PeerConfig {
    /// Audio is offered.
    pub(crate) audio: bool,
    /// Video is offered.
    pub(crate) video: bool,
    /// Data channels are offered.
    pub(crate) data: bool,
    /// The video codec offered first.
    pub(crate) video_codec: VideoCodec,
    /// Video packets kept for retransmission.
    pub(crate) retransmission_packets: usize,
    /// The other side is this library: DTLS 1.3, SNAP, the fragment channel.
    pub(crate) remote_is_rtcmesh: bool,
    /// Our offer stands when both sides offer at once: our id is the greater one.
    pub(crate) impolite: bool,
}

saved!(struct PeerConfig {
    audio, video, data, video_codec, retransmission_packets, remote_is_rtcmesh, impolite,
});

impl Default for PeerConfig {
    fn default() -> Self {
        Self {
            audio: true,
            video: false,
            data: true,
            video_codec: VideoCodec::Vp9,
            retransmission_packets: 256,
            remote_is_rtcmesh: false,
            impolite: false,
        }
    }
}

/// What has to be told to the other side through signaling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Signal {
    Offer {
        request: RequestId,
        sdp: String,
    },
    Answer {
        request: RequestId,
        sdp: String,
    },
    /// An empty candidate is the end of candidates.
    Candidate {
        request: RequestId,
        candidate: String,
        mid: Option<String>,
    },
}

saved!(enum Signal {
    Offer { request, sdp }, Answer { request, sdp }, Candidate { request, candidate, mid },
});

/// What happened to the connection.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum PeerEvent {
    /// A path was found and encrypted, for the first time.
    Connected,
    /// The path is lost.
    Lost,
    /// The path is back.
    Restored,
    /// The other side closed the connection.
    Closed,
    /// It is over, by a fault.
    Failed(PeerFault),
    /// A data channel can be used.
    ChannelOpen(&'static str),
    /// A message arrived.
    Data(DataMessage, Reliability),
    /// The send buffer has run low after it had been high.
    BufferedAmountLow,
    /// The other side wants a keyframe of the video that it gets.
    KeyframeRequested,
}

saved!(
    enum PeerEvent {
        Connected,
        Lost,
        Restored,
        Closed,
        Failed(a),
        ChannelOpen(a),
        Data(a, b),
        BufferedAmountLow,
        KeyframeRequested,
    }
);

/// Media that arrived, in the order of arrival.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum PeerMedia {
    Audio {
        /// When its packet arrived.
        arrived: Instant,
        /// The RTP sequence number, extended over its wraparounds.
        sequence: u64,
        /// The RTP timestamp, at 48 kHz.
        rtp: u32,
        opus: Arc<[u8]>,
        /// RFC 6464's level in dBov, −127 to 0, where it was sent.
        level: Option<i8>,
    },
    Video {
        frame: EncodedVideo,
        /// The RTP sequence number of its last packet, extended over its wraparounds.
        sequence: u64,
        /// The RTP timestamp, at 90 kHz.
        rtp: u32,
        /// Whether nothing was lost since the frame before.
        contiguous: bool,
    },
    /// An RTCP sender report (RFC 3550, section 6.4.1).
    Report {
        video: bool,
        /// The sender's wall clock: 32.32 bits since 1900.
        ntp: u64,
        rtp: u32,
        packets: u32,
        octets: u32,
        arrived: Instant,
    },
}

saved!(enum PeerMedia {
    Audio { arrived, sequence, rtp, opus, level }, Video { frame, sequence, rtp, contiguous },
    Report { video, ntp, rtp, packets, octets, arrived },
});

/// Where a connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Connecting,
    Connected,
    Lost,
    Closed,
}

saved!(
    enum State {
        Connecting,
        Connected,
        Lost,
        Closed,
    }
);

/// A datagram on its way out: from a local address to a remote one.
#[derive(Debug)]
pub(crate) struct Outbound {
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    pub(crate) payload: Vec<u8>,
}

saved!(struct Outbound { local, remote, payload });

#[derive(Debug, Default)]
struct Queues {
    transmits: VecDeque<Outbound>,
    signals: VecDeque<Signal>,
    events: VecDeque<PeerEvent>,
    media: VecDeque<PeerMedia>,
}

saved!(struct Queues { transmits, signals, events, media });

/// One remote peer.
pub(crate) struct Peer {
    border: Border,
    config: PeerConfig,
    rng: Rng,
    rtc: Rtc,
    now: Instant,
    /// When the engine wants to be called.
    next: Option<Instant>,
    state: State,
    locals: Vec<SocketAddr>,
    negotiation: Negotiation,
    media: Media,
    channels: Channels,
    figures: PeerFigures,
    out: Queues,
    /// A description was made or taken: our ICE credentials may be new.
    described: bool,
}

saved!(struct Peer {
    border, config, rng, rtc, now, next, state, locals, negotiation, media, channels, figures,
    out, described,
});

impl Peer {
    /// A connection that has not been negotiated.
    pub(crate) fn new(
        border: impl Into<Border>,
        config: PeerConfig,
        mut rng: Rng,
        now: Instant,
    ) -> Result<Self, PeerFault> {
        let border = border.into();
        let rtc = Rtc::new(&border, &config, &mut rng, now)?;
        Ok(Self {
            border,
            rng,
            rtc,
            now,
            next: None,
            state: State::Connecting,
            locals: Vec::new(),
            negotiation: Negotiation::new(&config),
            media: Media::default(),
            channels: Channels::new(&config),
            figures: PeerFigures::default(),
            out: Queues::default(),
            described: true,
            config,
        })
    }

    /// A local address becomes a host candidate, told to the other side as soon as there is a
    /// negotiation that can carry it.
    pub(crate) fn add_local(&mut self, now: Instant, address: SocketAddr) {
        if self.locals.contains(&address) {
            return;
        }
        self.locals.push(address);
        if self.negotiation.trickles() {
            self.trickle(now, &[address]);
        }
    }

    /// A local address is gone: nothing is sent from it any more. Where it was the path, another one is looked for.
    pub(crate) fn remove_local(&mut self, now: Instant, address: SocketAddr) {
        let before = self.locals.len();
        self.locals.retain(|local| *local != address);
        if self.locals.len() < before {
            self.drive(now, |peer| {
                peer.rtc.remove_local(address);
                Ok(())
            });
            self.follow_up(now);
        }
    }

    /// A datagram that belongs to this peer, received at the local address.
    pub(crate) fn handle_datagram(
        &mut self,
        now: Instant,
        local: SocketAddr,
        remote: SocketAddr,
        payload: &[u8],
    ) {
        self.figures.bytes_in += payload.len() as u64;
        if self.negotiation.holds(local, remote, payload) {
            return;
        }
        self.receive(now, local, remote, payload);
        self.follow_up(now);
    }

    /// Time has passed. A call before [`Peer::poll_timeout`] is a no-op.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.run_due(now);
        self.channels.expire(now, &mut self.figures);
        self.expire_early(now);
        if self.channels.missing_due(now) {
            self.open_missing(now);
        }
        self.follow_up(now);
    }

    /// Lets the engine do what is due. It may name a deadline that has passed, more than once: after a few
    /// turns it has to wait for time to move, so that no driver spins on it.
    #[inline]
    fn run_due(&mut self, now: Instant) {
        if self.next.is_some_and(|next| next <= now) {
            self.run_engine(now);
        }
    }

    #[inline(never)]
    fn run_engine(&mut self, now: Instant) {
        const TURNS: usize = 8;
        for _ in 0..TURNS {
            if self.next.is_none_or(|next| next > now) {
                return;
            }
            self.drive(now, |_| Ok(()));
        }
        self.next = self.next.map(|next| next.max(now + Duration::from_millis(1)));
    }

    /// Says goodbye (RTCP BYE, DTLS close_notify) and ends.
    pub(crate) fn close(&mut self, now: Instant) {
        if self.state == State::Closed {
            return;
        }
        self.drive(now, |peer| peer.rtc.close());
        self.state = State::Closed;
        self.next = None;
    }

    /// The rest of what has to be done after the engine has been drained.
    fn follow_up(&mut self, now: Instant) {
        self.run_due(now);
        if self.channels.busy() {
            self.pump(now);
        }
        if self.wish_is_due() {
            self.negotiate(now);
        }
    }

    /// Whether [`Peer::poll_transmit`] would give something.
    pub(crate) fn has_transmits(&self) -> bool {
        !self.out.transmits.is_empty()
    }

    pub(crate) fn poll_transmit(&mut self) -> Option<Outbound> {
        let outbound = self.out.transmits.pop_front()?;
        self.figures.bytes_out += outbound.payload.len() as u64;
        Some(outbound)
    }

    /// Whether [`Peer::poll_signal`] or [`Peer::poll_fragment`] would give something.
    pub(crate) fn has_signals(&self) -> bool {
        self.described || !self.out.signals.is_empty()
    }

    pub(crate) fn poll_signal(&mut self) -> Option<Signal> {
        self.out.signals.pop_front()
    }

    pub(crate) fn poll_event(&mut self) -> Option<PeerEvent> {
        self.out.events.pop_front()
    }

    pub(crate) fn poll_media(&mut self) -> Option<PeerMedia> {
        self.out.media.pop_front()
    }

    pub(crate) fn poll_timeout(&self) -> Option<Deadline> {
        if self.state == State::Closed {
            return None;
        }
        let mut earliest = self.channels.poll_timeout();
        Deadline::consider(&mut earliest, self.next, "engine");
        earliest
    }

    pub(crate) fn state(&self) -> State {
        self.state
    }

    #[cfg(test)]
    pub(crate) fn is_connected(&self) -> bool {
        self.state == State::Connected
    }

    /// The ICE fragment by which the other side's checks name this connection, when it may have changed:
    /// at the beginning, and after each exchange of descriptions.
    pub(crate) fn poll_fragment(&mut self) -> Option<String> {
        std::mem::take(&mut self.described).then(|| self.rtc.fragment())
    }

    pub(crate) fn config(&self) -> &PeerConfig {
        &self.config
    }

    pub(crate) fn figures(&self) -> &PeerFigures {
        &self.figures
    }

    /// Whether a description of the other side has arrived.
    pub(crate) fn has_description(&self) -> bool {
        self.negotiation.remote().is_some()
    }

    /// What became of the candidates, for the reason of a failure.
    pub(crate) fn tried(&self) -> String {
        self.negotiation.tried(&self.locals)
    }

    /// The certificate's fingerprint that the other side's description stated and its DTLS proved.
    pub(crate) fn remote_fingerprint(&self) -> Option<&str> {
        self.negotiation.remote().and_then(|remote| remote.fingerprint.as_deref())
    }

    /// Panics inside the engine's turn.
    #[cfg(feature = "sim")]
    pub(crate) fn break_engine(&mut self, now: Instant) {
        self.drive(now, |_| -> Result<(), _> { panic!("the engine is broken on purpose") });
    }

    /// The engine, for comparing our demultiplexer with its naive scan.
    #[cfg(feature = "sim")]
    pub(crate) fn accepts(
        &self,
        now: Instant,
        local: SocketAddr,
        remote: SocketAddr,
        payload: &[u8],
    ) -> bool {
        self.rtc.accepts(now, local, remote, payload)
    }
}

impl std::fmt::Debug for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Peer").field("state", &self.state).finish_non_exhaustive()
    }
}
