//! Audio and video: encoded frames in both directions.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use str0m::media::{Mid, Pt};

use super::rtc::Rtc;
use super::{Peer, PeerMedia, sdp};
use crate::media::{EncodedVideo, VideoCodec};
use crate::trace::state::{Layout, Reader, Save, Unreadable, Writer, saved};

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

/// What the engine lets be sent in the sections of a connection.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Sending {
    /// Whether the other side may send audio.
    pub(super) hears: bool,
    /// The payload type of Opus.
    pub(super) opus: Option<u8>,
    /// Those of video, in the order of preference that was negotiated.
    pub(super) video: Vec<(VideoCodec, u8)>,
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

saved!(struct Media { audio, video, offered, opus, hears, video_codecs });

// By its name, of 16 characters at most.
impl Save for Mid {
    fn layout(layout: &mut Layout) {
        layout.name("section");
    }

    fn save(&self, to: &mut Writer) {
        self.to_string().save(to);
    }

    fn load(from: &mut Reader<'_>) -> Result<Self, Unreadable> {
        Ok(Self::from(String::load(from)?.as_str()))
    }
}

impl Save for Pt {
    fn layout(layout: &mut Layout) {
        layout.name("payload type");
    }

    fn save(&self, to: &mut Writer) {
        (**self).save(to);
    }

    fn load(from: &mut Reader<'_>) -> Result<Self, Unreadable> {
        u8::load(from).map(Self::from)
    }
}

impl Media {
    pub(super) fn on_added(&mut self, mid: Mid, audio: bool) {
        let section = if audio { &mut self.audio } else { &mut self.video };
        section.get_or_insert(mid);
    }

    /// Takes over the sections of our answer. The engine tells of them too, but not before media can
    /// flow: until then what the other side offered would count as still to be offered by us.
    pub(super) fn answering(&mut self, rtc: &mut Rtc, answer: &str) {
        for (_, mid) in sdp::sections(answer) {
            let mid = Mid::from(mid);
            if let Some(audio) = rtc.is_audio(mid) {
                self.on_added(mid, audio);
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
        let Sending { hears, opus, video } = rtc.sending(self.audio, self.video);
        self.hears = hears;
        self.opus = opus.map(Pt::from);
        self.video_codecs = video.into_iter().map(|(codec, pt)| (codec, Pt::from(pt))).collect();
    }

    /// Whether a section is that of video; `None`: it is none of ours.
    pub(super) fn is_video(&self, mid: Mid) -> Option<bool> {
        match mid {
            mid if self.audio == Some(mid) => Some(false),
            mid if self.video == Some(mid) => Some(true),
            _ => None,
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
        let captured = captured.min(now);
        let written =
            self.drive(now, |peer| peer.rtc.write_audio((mid, pt), captured, rtp, opus, level));
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
        let (Some(mid), Some((_, pt))) = (self.media.video, codec) else {
            return Err(MediaRefused::NotNegotiated);
        };
        // 90 kHz: nine ticks are 100 µs.
        let nanos = u64::from(frame.timestamp.subsec_nanos());
        let ticks = frame.timestamp.as_secs().wrapping_mul(90_000) + nanos * 9 / 100_000;
        // Reports tell when frames were captured, since receivers show them with the audio of that time.
        let captured = frame.captured.unwrap_or(now).min(now);
        let to = (mid, *pt);
        let written =
            self.drive(now, |peer| peer.rtc.write_video(to, captured, ticks, &frame.data));
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
        let Some(mid) = self.media.video else { return };
        self.drive(now, |peer| {
            peer.rtc.request_keyframe(mid);
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

    pub(super) fn on_video(
        &mut self,
        codec: VideoCodec,
        sequence: u64,
        ticks: u64,
        (keyframe, contiguous): (bool, bool),
        data: Arc<[u8]>,
    ) {
        self.figures.video_frames_in += 1;
        let timestamp = since_first_tick(ticks);
        let frame = EncodedVideo { codec, timestamp, keyframe, captured: None, data };
        self.queue_media(PeerMedia::Video { sequence, rtp: ticks as u32, contiguous, frame });
    }

    #[inline]
    pub(super) fn queue_media(&mut self, media: PeerMedia) {
        if self.out.media.len() >= MAX_QUEUED {
            self.out.media.pop_front();
            self.figures.media_dropped += 1;
        }
        self.out.media.push_back(media);
    }
}

/// A position on the 90 kHz timeline as a time.
fn since_first_tick(ticks: u64) -> Duration {
    Duration::from_secs(ticks / 90_000) + Duration::from_nanos(ticks % 90_000 * 100_000 / 9)
}
