//! The engine alone: str0m without anything of ours, configured as our core configures it and driven as
//! its documentation says.

mod pair;

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use rtcmesh_core::transport::bare_provider;
use str0m::change::{SdpAnswer, SdpOffer, SdpPendingOffer};
use str0m::channel::{ChannelConfig, Reliability};
use str0m::config::{DtlsCert, DtlsVersion};
use str0m::format::Codec;
use str0m::media::{Direction, Frequency, MediaKind, MediaTime, Mid, Pt};
use str0m::net::{DatagramSend, Protocol, Receive};
use str0m::{Candidate, Event, Input, Output, Rtc, RtcConfig};

use crate::frames::Kind;

pub use pair::Pair;

/// Samples of a frame of 20 ms at 48 kHz.
const AUDIO_TICKS: u64 = 960;

/// Ticks of a frame at 30 frames a second, at 90 kHz.
const VIDEO_TICKS: u64 = 3_000;

/// The channels that two peers of ours open.
const CHANNELS: usize = 3;

/// A datagram of the engine.
#[derive(Debug)]
pub struct Packet {
    /// The sender's address.
    pub from: SocketAddr,
    /// The receiver's address.
    pub to: SocketAddr,
    /// Its bytes.
    pub payload: DatagramSend,
}

/// One end of a connection.
#[derive(Debug)]
pub struct End {
    rtc: Rtc,
    address: SocketAddr,
    next: Instant,
    audio: Option<(Mid, Pt)>,
    video: Option<(Mid, Pt)>,
    time: (u64, u64),
    /// Whether the path is found and encrypted.
    pub connected: bool,
    /// The channels that are open.
    pub channels: usize,
}

/// What an end has to say when it is drained.
pub trait Sink {
    /// A datagram.
    fn packet(&mut self, packet: Packet);
    /// A frame of media.
    fn media(&mut self, data: str0m::media::MediaData);
}

/// Collects datagrams, counts frames.
#[derive(Debug, Default)]
pub struct Collected {
    /// The datagrams, in order.
    pub packets: Vec<Packet>,
    /// The frames that came.
    pub frames: usize,
}

impl Sink for Collected {
    fn packet(&mut self, packet: Packet) {
        self.packets.push(packet);
    }

    fn media(&mut self, data: str0m::media::MediaData) {
        self.frames += 1;
        std::hint::black_box(data.data);
    }
}

/// One certificate for all ends: as each transport has one for all its connections.
fn certificate() -> DtlsCert {
    static CERTIFICATE: OnceLock<DtlsCert> = OnceLock::new();
    let make = || {
        let made = bare_provider().dtls_provider.generate_certificate();
        made.expect("the operating system gives randomness")
    };
    CERTIFICATE.get_or_init(make).clone()
}

fn config() -> RtcConfig {
    let mut config = RtcConfig::new()
        .set_crypto_provider(bare_provider())
        .set_dtls_cert(certificate())
        .set_stats_interval(Some(Duration::from_secs(1)))
        .set_rtcp_report_interval_audio(Duration::from_secs(1))
        .set_rtcp_report_interval_video(Duration::from_secs(1))
        .set_reordering_size_audio(0)
        .set_send_buffer_video(256)
        .set_sctp_max_buffered_amount(17 * 1024 * 1024)
        .clear_codecs()
        .enable_opus(true, false)
        .enable_vp9(true)
        .enable_vp8(true)
        .enable_h264(true)
        .set_dtls_version(DtlsVersion::Auto)
        .set_snap_enabled(true);
    config.set_max_stun_rto(Duration::from_secs(1));
    config.set_max_stun_retransmits(5);
    config
}

impl End {
    /// An end at this address, with its host candidate.
    ///
    /// # Panics
    /// Where the engine refuses the address: it is no unicast address.
    pub fn new(now: Instant, address: SocketAddr) -> Self {
        let mut rtc = config().build(now);
        let candidate = Candidate::host(address, "udp").expect("a unicast address");
        rtc.add_local_candidate(candidate);
        Self {
            rtc,
            address,
            next: now,
            audio: None,
            video: None,
            time: (0, 0),
            connected: false,
            channels: 0,
        }
    }

    /// An offer of audio, video where wished, and the channels of ours.
    ///
    /// # Panics
    /// Never: there is something to offer.
    pub fn offer(
        &mut self,
        now: Instant,
        video: bool,
        sink: &mut impl Sink,
    ) -> (String, SdpPendingOffer) {
        let mut api = self.rtc.sdp_api();
        let mut media = |kind| api.add_media(kind, Direction::SendRecv, None, None, None);
        let audio = media(MediaKind::Audio);
        let video = video.then(|| media(MediaKind::Video));
        for (label, ordered, reliability) in [
            ("data", true, Reliability::Reliable),
            ("data-unreliable", false, Reliability::MaxRetransmits { retransmits: 0 }),
            ("rtcmesh/1", true, Reliability::Reliable),
        ] {
            let label = label.to_owned();
            api.add_channel_with_config(ChannelConfig {
                label,
                ordered,
                reliability,
                ..ChannelConfig::default()
            });
        }
        let (offer, pending) = api.apply().expect("something to offer");
        self.audio = Some((audio, 0.into()));
        self.video = video.map(|mid| (mid, 0.into()));
        self.at(now, sink);
        (offer.to_sdp_string(), pending)
    }

    /// The answer to an offer.
    ///
    /// # Panics
    /// Where the offer is none.
    pub fn answer(&mut self, now: Instant, offer: &str, sink: &mut impl Sink) -> String {
        let offer = SdpOffer::from_sdp_string(offer).expect("an offer");
        let answer = self.rtc.sdp_api().accept_offer(offer).expect("an acceptable offer");
        self.at(now, sink);
        answer.to_sdp_string()
    }

    /// Takes the answer.
    ///
    /// # Panics
    /// Where it is none.
    pub fn accept(
        &mut self,
        now: Instant,
        pending: SdpPendingOffer,
        answer: &str,
        sink: &mut impl Sink,
    ) {
        let answer = SdpAnswer::from_sdp_string(answer).expect("an answer");
        self.rtc.sdp_api().accept_answer(pending, answer).expect("an acceptable answer");
        self.at(now, sink);
    }

    /// Finds the payload types to send with. Once it is connected.
    pub fn settle(&mut self) {
        let payload_type = |rtc: &mut Rtc, mid, codec| {
            let writer = rtc.writer(mid)?;
            let mut params = writer.payload_params();
            params.find(|params| params.spec().codec == codec).map(|params| params.pt())
        };
        for (section, codec) in [(&mut self.audio, Codec::Opus), (&mut self.video, Codec::Vp9)] {
            let Some((mid, _)) = *section else { continue };
            *section = payload_type(&mut self.rtc, mid, codec).map(|pt| (mid, pt));
        }
    }

    /// Whether everything that was offered can be used.
    pub fn ready(&self) -> bool {
        self.connected && self.channels >= CHANNELS
    }

    /// When it wants to be called.
    pub const fn due(&self) -> Instant {
        self.next
    }

    /// Sends a frame, from the call to its datagrams. Named in profiles.
    ///
    /// # Panics
    /// Where the medium was not negotiated.
    #[inline(never)]
    pub fn send(&mut self, now: Instant, frame: &Arc<[u8]>, kind: Kind, sink: &mut impl Sink) {
        let ((mid, pt), time, captured) = match kind {
            Kind::Audio => {
                self.time.0 += AUDIO_TICKS;
                let time = MediaTime::new(self.time.0, Frequency::FORTY_EIGHT_KHZ);
                let captured = now.checked_sub(Duration::from_millis(20)).unwrap_or(now);
                (self.audio.expect("audio"), time, captured)
            }
            Kind::Video => {
                self.time.1 += VIDEO_TICKS;
                let time = MediaTime::new(self.time.1, Frequency::NINETY_KHZ);
                (self.video.expect("video"), time, now)
            }
        };
        let writer = self.rtc.writer(mid).expect("a sending section");
        writer.write(pt, captured, time, frame.clone()).expect("a negotiated codec");
        self.drain(sink);
        self.at(now, sink);
    }

    /// Takes a datagram in, up to its events. Named in profiles.
    #[inline(never)]
    pub fn receive(&mut self, now: Instant, packet: &Packet, sink: &mut impl Sink) {
        self.take_in(now, packet, sink);
    }

    /// The same, beside what is measured.
    ///
    /// # Panics
    /// Where the engine ends.
    pub(crate) fn take_in(&mut self, now: Instant, packet: &Packet, sink: &mut impl Sink) {
        self.take(now, packet.from, &packet.payload, sink);
    }

    /// Takes a datagram in that is still in the buffer that it was received into.
    ///
    /// # Panics
    /// Where the engine ends.
    pub(crate) fn take(
        &mut self,
        now: Instant,
        from: SocketAddr,
        payload: &[u8],
        sink: &mut impl Sink,
    ) {
        let receive = Receive::new(Protocol::Udp, from, self.address, payload);
        let receive = receive.expect("a datagram of the engine");
        self.rtc.handle_input(Input::Receive(now, receive)).expect("the engine lives");
        self.drain(sink);
        self.run_due(now, sink);
    }

    /// Lets the engine do what is due.
    pub fn run_due(&mut self, now: Instant, sink: &mut impl Sink) {
        for _ in 0..8 {
            if self.next > now {
                return;
            }
            self.at(now, sink);
        }
        self.next = self.next.max(now + Duration::from_millis(1));
    }

    /// Time has passed, if only by nothing.
    ///
    /// # Panics
    /// Where the engine ends.
    pub fn at(&mut self, now: Instant, sink: &mut impl Sink) {
        self.rtc.handle_input(Input::Timeout(now)).expect("the engine lives");
        self.drain(sink);
    }

    fn drain(&mut self, sink: &mut impl Sink) {
        loop {
            match self.rtc.poll_output() {
                Ok(Output::Timeout(at)) => {
                    self.next = at;
                    return;
                }
                Ok(Output::Transmit(transmit)) => sink.packet(Packet {
                    from: transmit.source,
                    to: transmit.destination,
                    payload: transmit.contents,
                }),
                Ok(Output::Event(Event::MediaData(data))) => sink.media(data),
                Ok(Output::Event(event)) => self.on_event(event),
                Err(error) => panic!("the engine lives: {error}"),
            }
        }
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Connected => self.connected = true,
            Event::ChannelOpen(..) => self.channels += 1,
            Event::MediaAdded(added) => {
                let section = if added.kind.is_audio() { &mut self.audio } else { &mut self.video };
                *section = Some((added.mid, 0.into()));
            }
            _ => {}
        }
    }

    /// Its address.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}
