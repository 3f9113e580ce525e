//! The engine, str0m, behind the plain types of [`super::rtc`].

use std::net::SocketAddr;
use std::panic::catch_unwind;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use str0m::change::{SdpAnswer, SdpApi, SdpOffer, SdpPendingOffer};
use str0m::channel::ChannelConfig;
use str0m::error::RtcError;
use str0m::format::{Codec, CodecExtra};
use str0m::media::{
    Direction, Frequency, KeyframeRequestKind, MediaData, MediaKind, MediaTime, Mid, Pt,
    SenderFeedback,
};
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, Event, IceConnectionState, Input, Output};

use super::channels::UNRELIABLE;
use super::events::Turn;
use super::media::Sending;
use super::probation::{Sources, Verdict};
use super::rtc::{CandidateKind, ChannelData, ChannelId, Offered, Wanted};
use super::sdp;
use crate::error::PeerFault;
use crate::media::VideoCodec;

/// The stream that audio and video belong to: receivers play the tracks of one stream in time with each
/// other (RFC 8830, section 1).
const STREAM: &str = "rtcmesh";

/// One connection of the engine.
pub(super) struct Live {
    pub(super) rtc: str0m::Rtc,
    channels: Vec<(ChannelId, str0m::channel::ChannelId)>,
    next_channel: u64,
    offer: Option<SdpOffer>,
    answer: Option<SdpAnswer>,
    /// Our latest offer.
    pending: Option<SdpPendingOffer>,
    sources: Sources,
    /// A datagram that is taken when the engine has said all that it had to say about the one before: it wants that between any two
    /// changes.
    next: Option<Arrival>,
}

#[derive(Debug)]
struct Arrival {
    now: Instant,
    local: SocketAddr,
    remote: SocketAddr,
    payload: Vec<u8>,
}

impl Live {
    pub(super) fn new(rtc: str0m::Rtc) -> Self {
        Self {
            rtc,
            channels: Vec::new(),
            next_channel: 0,
            offer: None,
            answer: None,
            pending: None,
            sources: Sources::default(),
            next: None,
        }
    }

    #[inline]
    pub(super) fn receive(
        &mut self,
        now: Instant,
        local: SocketAddr,
        remote: SocketAddr,
        payload: &[u8],
    ) -> Result<bool, PeerFault> {
        let rtc = &mut self.rtc;
        let expected = |source: u32| rtc.direct_api().stream_rx(&source.into()).is_some();
        match self.sources.judge(payload, expected) {
            Verdict::Pass => self.take(now, local, remote, payload),
            Verdict::PassAfter(held) => self.take_both(now, local, remote, &held, payload),
            Verdict::Hold => Ok(true),
        }
    }

    /// Takes one datagram, and the next one after it.
    #[cold]
    fn take_both(
        &mut self,
        now: Instant,
        local: SocketAddr,
        remote: SocketAddr,
        held: &[u8],
        payload: &[u8],
    ) -> Result<bool, PeerFault> {
        self.next = Some(Arrival { now, local, remote, payload: payload.to_vec() });
        self.take(now, local, remote, held)
    }

    /// Hands a datagram to the engine, whatever its source.
    #[inline]
    pub(super) fn take(
        &mut self,
        now: Instant,
        local: SocketAddr,
        remote: SocketAddr,
        payload: &[u8],
    ) -> Result<bool, PeerFault> {
        // Parsed in its place: what the engine makes of a datagram takes a kilobyte, which is not to be moved.
        match Receive::new(Protocol::Udp, remote, local, payload) {
            Ok(receive) => match self.rtc.handle_input(Input::Receive(now, receive)) {
                Ok(()) => Ok(true),
                Err(error) => Err(fault(&error)),
            },
            Err(_) => Ok(false),
        }
    }

    #[inline]
    pub(super) fn timeout(&mut self, now: Instant) -> Result<(), PeerFault> {
        self.rtc.handle_input(Input::Timeout(now)).map_err(|error| fault(&error))
    }

    pub(super) fn close(&mut self) -> Result<(), PeerFault> {
        self.rtc.close().map_err(|error| fault(&error))
    }

    // What it gives is taken apart at once: in its place, it need not be put together.
    #[inline(always)]
    pub(super) fn poll(&mut self) -> Result<Turn, PeerFault> {
        // An output is large: it is taken apart where it lies, without a move by `?`.
        match self.rtc.poll_output() {
            Ok(Output::Timeout(at)) if self.next.is_none() => Ok(Turn::Rest(at)),
            Ok(Output::Timeout(_)) => self.take_next(),
            Ok(Output::Transmit(transmit)) => Ok(Turn::Transmit(super::Outbound {
                local: transmit.source,
                remote: transmit.destination,
                payload: transmit.contents.into(),
            })),
            // Half a kilobyte, of which little is wanted: the parts that are, not the whole.
            Ok(Output::Event(Event::MediaData(MediaData {
                data,
                ref params,
                time,
                network_time: arrived,
                ref seq_range,
                contiguous,
                ref ext_vals,
                ref codec_extra,
                ..
            }))) => Ok(match params.spec().codec {
                Codec::Opus => Turn::Audio {
                    arrived,
                    sequence: **seq_range.start(),
                    // The wire's 32 bits: whoever compares timestamps compares them modulo 2^32.
                    rtp: time.numer() as u32,
                    level: ext_vals.audio_level,
                    opus: data,
                },
                codec => match video_codec(codec) {
                    Some(codec) => Turn::Video {
                        codec,
                        sequence: **seq_range.end(),
                        ticks: time.numer(),
                        keyframe: is_keyframe(codec_extra),
                        contiguous,
                        data,
                    },
                    None => Turn::Nothing,
                },
            }),
            Ok(Output::Event(event)) => Ok(self.turn(event)),
            Err(error) => Err(fault(&error)),
        }
    }

    /// Takes the datagram that has waited.
    #[cold]
    fn take_next(&mut self) -> Result<Turn, PeerFault> {
        if let Some(Arrival { now, local, remote, payload }) = self.next.take() {
            self.take(now, local, remote, &payload)?;
        }
        Ok(Turn::Nothing)
    }

    /// What comes now and then, or costs much more than a call.
    #[inline(never)]
    fn turn(&mut self, event: Event) -> Turn {
        match event {
            Event::Connected => Turn::Connected,
            Event::IceConnectionStateChange(ice) => {
                Turn::Path { up: path_is_up(ice), lost: ice.is_disconnected() }
            }
            Event::MediaAdded(added) => {
                Turn::MediaAdded { mid: added.mid, audio: added.kind.is_audio() }
            }
            Event::ChannelOpen(id, label) => Turn::ChannelOpen(self.channel(id), label),
            Event::ChannelData(data) => Turn::ChannelData(ChannelData {
                id: self.channel(data.id),
                binary: data.binary,
                data: data.data,
            }),
            Event::ChannelClose(id) => {
                let channel = self.channel(id);
                self.channels.retain(|(known, _)| *known != channel);
                Turn::ChannelClose(channel)
            }
            Event::SenderFeedback(feedback) => report(&feedback),
            Event::KeyframeRequest(_) => Turn::KeyframeRequest,
            Event::PeerStats(stats) => match &stats.selected_candidate_pair {
                Some(pair) => Turn::Pair {
                    rtt: pair.current_round_trip_time,
                    path: (pair.local.addr, pair.remote.addr),
                },
                None => Turn::Nothing,
            },
            Event::MediaEgressStats(stats) => Turn::RemoteLoss(stats.loss),
            Event::Closed => Turn::Closed,
            _ => Turn::Nothing,
        }
    }

    /// Our name of a channel, made where there is none.
    fn channel(&mut self, id: str0m::channel::ChannelId) -> ChannelId {
        if let Some((known, _)) = self.channels.iter().find(|(_, engine)| *engine == id) {
            return *known;
        }
        let known = ChannelId(self.next_channel);
        self.next_channel += 1;
        self.channels.push((known, id));
        known
    }

    fn engine_channel(&self, id: ChannelId) -> Option<str0m::channel::ChannelId> {
        self.channels.iter().find(|(known, _)| *known == id).map(|(_, engine)| *engine)
    }

    pub(super) fn fragment(&mut self) -> String {
        self.rtc.direct_api().local_ice_credentials().ufrag
    }

    pub(super) fn offer(&mut self, wanted: &Wanted) -> Offered {
        let mut api = self.rtc.sdp_api();
        let audio = wanted.audio.then(|| add_media(&mut api, MediaKind::Audio).to_string());
        let video = wanted.video.then(|| add_media(&mut api, MediaKind::Video).to_string());
        let channels: Vec<_> = wanted
            .labels
            .iter()
            .map(|label| api.add_channel_with_config(channel_config(label)))
            .collect();
        if wanted.restart {
            api.ice_restart(true);
        }
        let made = api.apply();
        let channels = channels.into_iter().map(|id| self.channel(id).0).collect();
        let sdp = made.map(|(offer, pending)| {
            self.pending = Some(pending);
            offer.to_sdp_string()
        });
        Offered { audio, video, channels, sdp }
    }

    pub(super) fn read_offer(&mut self, text: &str) -> Result<(), String> {
        self.offer = Some(readable(text, SdpOffer::from_sdp_string)?);
        Ok(())
    }

    pub(super) fn read_answer(&mut self, text: &str) -> Result<(), String> {
        self.answer = Some(readable(text, SdpAnswer::from_sdp_string)?);
        Ok(())
    }

    pub(super) fn accept_offer(&mut self) -> Result<String, PeerFault> {
        let Some(offer) = self.offer.take() else { return Err(absent("offer")) };
        let answer = self.rtc.sdp_api().accept_offer(offer).map_err(|error| fault(&error))?;
        Ok(answer.to_sdp_string())
    }

    pub(super) fn accept_answer(&mut self) -> Result<(), PeerFault> {
        let Some((pending, answer)) = self.pending.take().zip(self.answer.take()) else {
            return Err(absent("answer"));
        };
        self.rtc.sdp_api().accept_answer(pending, answer).map_err(|error| fault(&error))
    }

    pub(super) fn is_audio(&self, mid: Mid) -> Option<bool> {
        self.rtc.media(mid).map(|media| media.kind().is_audio())
    }

    pub(super) fn sending(&mut self, audio: Option<Mid>, video: Option<Mid>) -> Sending {
        let rtc = &mut self.rtc;
        let mut found = Sending {
            hears: audio
                .and_then(|mid| rtc.media(mid))
                .is_some_and(|media| media.direction().is_receiving()),
            ..Sending::default()
        };
        found.opus = audio.and_then(|mid| {
            let sending = rtc.media(mid).is_some_and(|media| media.direction().is_sending());
            let writer = rtc.writer(mid).filter(|_| sending)?;
            let mut params = writer.payload_params();
            params.find(|params| params.spec().codec == Codec::Opus).map(|params| *params.pt())
        });
        let Some(mid) = video else { return found };
        if !rtc.media(mid).is_some_and(|media| media.direction().is_sending()) {
            return found;
        }
        let Some(writer) = rtc.writer(mid) else { return found };
        for params in writer.payload_params() {
            let Some(codec) = video_codec(params.spec().codec) else { continue };
            if !found.video.iter().any(|(known, _)| *known == codec) {
                found.video.push((codec, *params.pt()));
            }
        }
        found
    }

    pub(super) fn start_sctp(&mut self) {
        self.rtc.direct_api().start_sctp(true);
    }

    pub(super) fn read_candidate(&self, text: &str) -> CandidateKind {
        match Candidate::from_sdp_string(text) {
            Ok(candidate) if candidate.proto() == Protocol::Udp => CandidateKind::Udp,
            Ok(_) => CandidateKind::Other,
            Err(_) => CandidateKind::Unreadable,
        }
    }

    pub(super) fn add_remote(&mut self, text: &str) {
        if let Ok(candidate) = Candidate::from_sdp_string(text) {
            self.rtc.add_remote_candidate(candidate);
        }
    }

    pub(super) fn add_local(&mut self, address: SocketAddr) -> Option<String> {
        let candidate = Candidate::host(address, "udp").ok()?;
        self.rtc.add_local_candidate(candidate).map(|added| added.to_sdp_string())
    }

    pub(super) fn remove_local(&mut self, address: SocketAddr) {
        if let Ok(candidate) = Candidate::host(address, "udp") {
            self.rtc.direct_api().invalidate_candidate(&candidate);
        }
    }

    pub(super) fn create_channel(&mut self, label: &str) -> u64 {
        let id = self.rtc.direct_api().create_data_channel(channel_config(label));
        self.channel(id).0
    }

    pub(super) fn write_channel(
        &mut self,
        id: ChannelId,
        binary: bool,
        bytes: &[u8],
    ) -> Result<bool, PeerFault> {
        let id = self.engine_channel(id);
        let Some(mut channel) = id.and_then(|id| self.rtc.channel(id)) else { return Ok(false) };
        channel.write(binary, bytes).map_err(|error| fault(&error))
    }

    pub(super) fn buffered(&mut self, id: ChannelId) -> usize {
        let id = self.engine_channel(id);
        id.and_then(|id| self.rtc.channel(id)).map_or(0, |mut channel| channel.buffered_amount())
    }

    pub(super) fn write_audio(
        &mut self,
        (mid, pt): (Mid, Pt),
        captured: Instant,
        rtp: u64,
        opus: &Arc<[u8]>,
        level: Option<i8>,
    ) -> Result<bool, PeerFault> {
        let Some(writer) = self.rtc.writer(mid) else { return Ok(false) };
        let time = MediaTime::new(rtp, Frequency::FORTY_EIGHT_KHZ);
        let written = match level {
            None => writer.write(pt, captured, time, opus.clone()),
            Some(level) => {
                // RFC 6464: voice activity is left to receivers, who know what is speech to them.
                let writer = writer.audio_level(level, level > -50);
                writer.write(pt, captured, time, opus.clone())
            }
        };
        written.map(|()| true).map_err(|error| fault(&error))
    }

    pub(super) fn write_video(
        &mut self,
        (mid, pt): (Mid, Pt),
        captured: Instant,
        ticks: u64,
        data: &Arc<[u8]>,
    ) -> Result<bool, PeerFault> {
        let Some(writer) = self.rtc.writer(mid) else { return Ok(false) };
        let time = MediaTime::new(ticks, Frequency::NINETY_KHZ);
        writer.write(pt, captured, time, data.clone()).map_err(|error| fault(&error))?;
        Ok(true)
    }

    pub(super) fn request_keyframe(&mut self, mid: Mid) {
        if let Some(mut writer) = self.rtc.writer(mid)
            && writer.is_request_keyframe_possible(KeyframeRequestKind::Pli)
        {
            // Nothing has arrived yet: there is nobody to ask.
            let _ = writer.request_keyframe(None, KeyframeRequestKind::Pli);
        }
    }

    /// For comparing our demultiplexer with the engine's naive scan.
    #[cfg(feature = "sim")]
    pub(super) fn accepts(
        &self,
        now: Instant,
        local: SocketAddr,
        remote: SocketAddr,
        payload: &[u8],
    ) -> bool {
        Receive::new(Protocol::Udp, remote, local, payload)
            .is_ok_and(|receive| self.rtc.accepts(&Input::Receive(now, receive)))
    }
}

fn absent(what: &str) -> PeerFault {
    PeerFault::Internal(format!("there is no {what} to accept"))
}

/// Reads a description; its parser may panic.
fn readable<T, E: std::fmt::Display>(
    text: &str,
    read: impl FnOnce(&str) -> Result<T, E> + std::panic::UnwindSafe,
) -> Result<T, String> {
    match catch_unwind(|| read(text)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(sdp::placed(&error.to_string(), text)),
        Err(_) => Err("not readable".to_owned()),
    }
}

/// How the engine's ICE state looks from outside.
fn path_is_up(state: IceConnectionState) -> bool {
    matches!(state, IceConnectionState::Connected | IceConnectionState::Completed)
}

fn video_codec(codec: Codec) -> Option<VideoCodec> {
    match codec {
        Codec::Vp8 => Some(VideoCodec::Vp8),
        Codec::Vp9 => Some(VideoCodec::Vp9),
        Codec::H264 => Some(VideoCodec::H264),
        _ => None,
    }
}

/// As the engine tells it of the codecs that are taken.
const fn is_keyframe(extra: &CodecExtra) -> bool {
    match extra {
        CodecExtra::Vp8(vp8) => vp8.is_keyframe,
        CodecExtra::Vp9(vp9) => vp9.is_keyframe,
        CodecExtra::H264(h264) => h264.is_keyframe,
        _ => false,
    }
}

fn report(feedback: &SenderFeedback) -> Turn {
    let info = &feedback.sender_info;
    Turn::Report {
        mid: feedback.mid,
        ntp: ntp(info.ntp_time),
        // The engine extends it by itself, not as it does those of packets: 32 bits are sure.
        rtp: info.rtp_time.numer() as u32,
        packets: info.sender_packet_count,
        octets: info.sender_octet_count,
        arrived: feedback.received_at,
    }
}

/// Seconds from 1900 to 1970.
const UNIX_EPOCH_NTP: u64 = 2_208_988_800;

/// A time as 32.32 bits since 1900 (RFC 5905, section 6); the seconds wrap in 2036. 0 before 1970.
fn ntp(time: SystemTime) -> u64 {
    let Ok(since) = time.duration_since(SystemTime::UNIX_EPOCH) else { return 0 };
    let since: Duration = since;
    let seconds = since.as_secs().wrapping_add(UNIX_EPOCH_NTP) << 32;
    seconds | ((u64::from(since.subsec_nanos()) << 32) / 1_000_000_000)
}

/// A channel of ours by its label.
pub(super) fn channel_config(label: &str) -> ChannelConfig {
    use str0m::channel::Reliability::MaxRetransmits;
    let mut config = ChannelConfig { label: label.to_owned(), ..ChannelConfig::default() };
    if label == UNRELIABLE {
        config.ordered = false;
        config.reliability = MaxRetransmits { retransmits: 0 };
    }
    config
}

/// Opens a section for media both ways.
fn add_media(api: &mut SdpApi<'_>, kind: MediaKind) -> Mid {
    api.add_media(kind, Direction::SendRecv, Some(STREAM.into()), None, None)
}

/// Whose fault an error of the engine is.
pub(super) fn fault(error: &RtcError) -> PeerFault {
    let text = error.to_string();
    match error {
        RtcError::RemoteSdp(_) | RtcError::Sdp(_) => {
            PeerFault::Misbehaved(format!("its description: {text}"))
        }
        RtcError::Dtls(_) => {
            // The engine speaks ECDSA only: a certificate with an RSA key ends here.
            let lower = text.to_lowercase();
            let certificate = ["certificate", "signature", "cipher", "rsa"];
            if certificate.iter().any(|word| lower.contains(word)) {
                PeerFault::Incompatible(format!(
                    "its certificate or cipher, where ECDSA is needed (no RSA): {text}"
                ))
            } else {
                PeerFault::Misbehaved(format!("DTLS: {text}"))
            }
        }
        RtcError::Net(_) | RtcError::Rtp(_) | RtcError::Packet(..) | RtcError::Ice(_) => {
            PeerFault::Misbehaved(text)
        }
        _ => PeerFault::Internal(text),
    }
}
