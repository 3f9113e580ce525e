//! Audio and video: encoded frames in both directions.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use str0m::Rtc;
use str0m::format::Codec;
use str0m::media::{Frequency, MediaData, MediaKind, MediaTime, Mid, Pt, SenderFeedback};

use super::{Peer, PeerMedia, sdp};
use crate::media::{EncodedVideo, VideoCodec};

/// The most packets kept for an application that does not fetch them; the oldest go first.
const MAX_QUEUED: usize = 512;

/// Why a frame was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MediaRefused {
    /// The other side negotiated no such medium or codec.
    NotNegotiated,
    /// The engine did not take it.
    Engine,
}

/// The sections of a connection, and what may be sent in them.
#[derive(Debug, Default)]
pub(super) struct Media {
    pub(super) audio: Option<Mid>,
    pub(super) video: Option<Mid>,
    offered: (Option<Mid>, Option<Mid>),
    opus: Option<Pt>,
    /// Whether the negotiation lets the other side send audio.
    hears: bool,
    /// In the order of preference that was negotiated.
    video_codecs: Vec<(VideoCodec, Pt)>,
}

impl Media {
    pub(super) fn on_added(&mut self, mid: Mid, kind: MediaKind) {
        let section = if kind.is_audio() { &mut self.audio } else { &mut self.video };
        section.get_or_insert(mid);
    }

    /// Takes over the sections of our answer. The engine tells of them too, but not before media can
    /// flow: until then what the other side offered would count as still to be offered by us.
    pub(super) fn answering(&mut self, rtc: &Rtc, answer: &str) {
        for (_, mid) in sdp::sections(answer) {
            let mid = Mid::from(mid);
            if let Some(media) = rtc.media(mid) {
                self.on_added(mid, media.kind());
            }
        }
    }

    pub(super) fn offered(&mut self, audio: Option<Mid>, video: Option<Mid>) {
        self.offered = (audio, video);
    }

    pub(super) fn rolled_back(&mut self) {
        self.offered = (None, None);
    }

    pub(super) fn answered(&mut self) {
        let (audio, video) = std::mem::take(&mut self.offered);
        self.audio = self.audio.or(audio);
        self.video = self.video.or(video);
    }

    /// Finds the payload types that the other side takes.
    pub(super) fn settle(&mut self, rtc: &mut Rtc) {
        self.hears = self
            .audio
            .and_then(|mid| rtc.media(mid))
            .is_some_and(|media| media.direction().is_receiving());
        self.opus = self.audio.and_then(|mid| {
            let sending = rtc.media(mid).is_some_and(|media| media.direction().is_sending());
            let writer = rtc.writer(mid).filter(|_| sending)?;
            let mut params = writer.payload_params();
            params.find(|params| params.spec().codec == Codec::Opus).map(|params| params.pt())
        });
        self.video_codecs.clear();
        let Some(mid) = self.video else { return };
        if !rtc.media(mid).is_some_and(|media| media.direction().is_sending()) {
            return;
        }
        let Some(writer) = rtc.writer(mid) else { return };
        for params in writer.payload_params() {
            let codec = match params.spec().codec {
                Codec::Vp8 => VideoCodec::Vp8,
                Codec::Vp9 => VideoCodec::Vp9,
                Codec::H264 => VideoCodec::H264,
                _ => continue,
            };
            if !self.video_codecs.iter().any(|(known, _)| *known == codec) {
                self.video_codecs.push((codec, params.pt()));
            }
        }
    }
}

impl Peer {
    /// Sends an Opus packet. `rtp` counts samples at 48 kHz; `captured` is when its first was recorded
    /// (it sets the mapping of RTCP's sender reports, and must not lie in the future).
    pub(crate) fn write_audio(
        &mut self,
        now: Instant,
        captured: Instant,
        rtp: u64,
        opus: &Arc<[u8]>,
        level: Option<i8>,
    ) -> Result<(), MediaRefused> {
        let (Some(mid), Some(pt)) = (self.media.audio, self.media.opus) else {
            return Err(MediaRefused::NotNegotiated);
        };
        let time = MediaTime::new(rtp, Frequency::FORTY_EIGHT_KHZ);
        let opus = opus.clone();
        let written = self.drive(now, |peer| {
            let Some(mut writer) = peer.rtc.writer(mid) else { return Ok(false) };
            if let Some(level) = level {
                // RFC 6464: voice activity is left to receivers, who know what is speech to them.
                writer = writer.audio_level(level, level > -50);
            }
            writer.write(pt, captured.min(now), time, opus).map(|()| true)
        });
        match written {
            Some(true) => {
                self.figures.audio_packets_out += 1;
                Ok(())
            }
            _ => Err(MediaRefused::Engine),
        }
    }

    /// Sends an encoded video frame.
    pub(crate) fn write_video(
        &mut self,
        now: Instant,
        frame: &EncodedVideo,
    ) -> Result<(), MediaRefused> {
        let codec = self.media.video_codecs.iter().find(|(codec, _)| *codec == frame.codec);
        let (Some(mid), Some((_, pt))) = (self.media.video, codec.copied()) else {
            return Err(MediaRefused::NotNegotiated);
        };
        // 90 kHz: nine ticks are 100 µs.
        let nanos = u64::from(frame.timestamp.subsec_nanos());
        let ticks = frame.timestamp.as_secs().wrapping_mul(90_000) + nanos * 9 / 100_000;
        let time = MediaTime::new(ticks, Frequency::NINETY_KHZ);
        let data = frame.data.clone();
        // Reports tell when frames were captured, since receivers show them with the audio of that time.
        let captured = frame.captured.unwrap_or(now);
        let written = self.drive(now, |peer| {
            let Some(writer) = peer.rtc.writer(mid) else { return Ok(false) };
            writer.write(pt, captured.min(now), time, data).map(|()| true)
        });
        match written {
            Some(true) => {
                self.figures.video_frames_out += 1;
                Ok(())
            }
            _ => Err(MediaRefused::Engine),
        }
    }

    /// Asks the other side for a keyframe of its video (RFC 4585, section 6.3.1).
    pub(crate) fn request_keyframe(&mut self, now: Instant) {
        use str0m::media::KeyframeRequestKind;
        let Some(mid) = self.media.video else { return };
        self.drive(now, |peer| {
            if let Some(mut writer) = peer.rtc.writer(mid)
                && writer.is_request_keyframe_possible(KeyframeRequestKind::Pli)
            {
                // Nothing has arrived yet: there is nobody to ask.
                let _ = writer.request_keyframe(None, KeyframeRequestKind::Pli);
            }
            Ok(())
        });
    }

    /// Whether Opus may be sent.
    pub(crate) fn audio_negotiated(&self) -> bool {
        self.media.opus.is_some()
    }

    /// Whether the other side may send audio.
    pub(crate) fn audio_receivable(&self) -> bool {
        self.media.hears
    }

    pub(super) fn on_media(&mut self, data: MediaData) {
        let codec = match data.params.spec().codec {
            Codec::Opus => None,
            Codec::Vp8 => Some(VideoCodec::Vp8),
            Codec::Vp9 => Some(VideoCodec::Vp9),
            Codec::H264 => Some(VideoCodec::H264),
            _ => return,
        };
        let media = match codec {
            None => {
                let sequence = **data.seq_range.start();
                // The wire's 32 bits: whoever compares timestamps compares them modulo 2^32.
                let rtp = data.time.numer() as u32;
                self.figures.on_audio(data.network_time, sequence, rtp);
                PeerMedia::Audio {
                    arrived: data.network_time,
                    sequence,
                    rtp,
                    level: data.ext_vals.audio_level,
                    opus: data.data,
                }
            }
            Some(codec) => {
                self.figures.video_frames_in += 1;
                let keyframe = data.is_keyframe();
                PeerMedia::Video {
                    sequence: **data.seq_range.end(),
                    rtp: data.time.numer() as u32,
                    contiguous: data.contiguous,
                    frame: EncodedVideo {
                        codec,
                        timestamp: since_first_tick(data.time.numer()),
                        keyframe,
                        captured: None,
                        data: data.data,
                    },
                }
            }
        };
        self.queue_media(media);
    }

    pub(super) fn on_report(&mut self, feedback: &SenderFeedback) {
        let video = match feedback.mid {
            mid if self.media.audio == Some(mid) => false,
            mid if self.media.video == Some(mid) => true,
            _ => return,
        };
        let info = &feedback.sender_info;
        self.queue_media(PeerMedia::Report {
            video,
            ntp: ntp(info.ntp_time),
            // The engine extends it by itself, not as it does those of packets: 32 bits are sure.
            rtp: info.rtp_time.numer() as u32,
            packets: info.sender_packet_count,
            octets: info.sender_octet_count,
            arrived: feedback.received_at,
        });
    }

    fn queue_media(&mut self, media: PeerMedia) {
        if self.out.media.len() >= MAX_QUEUED {
            self.out.media.pop_front();
            self.figures.media_dropped += 1;
        }
        self.out.media.push_back(media);
    }
}

/// Seconds from 1900 to 1970.
const UNIX_EPOCH_NTP: u64 = 2_208_988_800;

/// A time as 32.32 bits since 1900 (RFC 5905, section 6); the seconds wrap in 2036. 0 before 1970.
fn ntp(time: SystemTime) -> u64 {
    let Ok(since) = time.duration_since(SystemTime::UNIX_EPOCH) else { return 0 };
    let seconds = since.as_secs().wrapping_add(UNIX_EPOCH_NTP) << 32;
    seconds | ((u64::from(since.subsec_nanos()) << 32) / 1_000_000_000)
}

/// A position on the 90 kHz timeline as a time.
fn since_first_tick(ticks: u64) -> Duration {
    Duration::from_secs(ticks / 90_000) + Duration::from_nanos(ticks % 90_000 * 100_000 / 9)
}
