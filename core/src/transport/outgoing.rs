//! Audio on its way out: encoded once per source, placed on each receiver's RTP timeline.

use std::time::{Duration, Instant};

use crate::codec::EncodedFrame;
#[cfg(feature = "opus")]
use crate::codec::{AudioChunk, AudioInput, Channels, OpusEncoder, OpusSettings};
use crate::config::AudioSettings;
use crate::media::AudioBuffer;
use crate::trace::state::{Layout, Reader, Save, Unreadable, Writer, saved};
use crate::trace::{Body, MAX_PACKET, Tape};

/// A sender that pauses for longer than this, beyond the audio that it has handed over, was silent: the
/// timeline moves on with the clock. Less is the unevenness of the application's own pace.
const PAUSE: Duration = Duration::from_millis(200);

/// What a native encoder or decoder may take at most, in bytes, for the bounds of a state that is read.
pub(super) const OF_CODEC: usize = 512 * 1024;

/// Opus in RTP always counts at this rate (RFC 7587, section 4.1).
const RATE: u64 = 48_000;

/// In whole numbers of 64 bits, since it is done per packet: right for 10,000 years.
fn samples(duration: Duration) -> u64 {
    duration.as_secs() * RATE + u64::from(duration.subsec_nanos()) * (RATE / 1_000) / 1_000_000
}

/// Why raw audio could not be encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum EncodeError {
    /// The caller's samples are malformed.
    Invalid(String),
    /// The encoder failed, or there is none.
    Encoding(String),
}

/// A stream of raw audio and its encoder.
#[derive(Debug)]
pub(super) struct AudioSource {
    #[cfg(feature = "opus")]
    input: AudioInput<OpusEncoder>,
    frames: Vec<EncodedFrame>,
    last: Option<Instant>,
    /// Writes down what the encoder makes, or tells it without one.
    tape: Option<Tape>,
}

// What the encoder makes comes from the tape of a replay: it has no state of its own.
impl Save for AudioSource {
    fn layout(layout: &mut Layout) {
        layout.name("encoder");
    }

    fn save(&self, _: &mut Writer) {}

    fn load(from: &mut Reader<'_>) -> Result<Self, Unreadable> {
        from.charge(OF_CODEC)?;
        let mut source = Self::new(&AudioSettings::default())
            .map_err(|error| from.wrong(format_args!("{error:?}")))?;
        source.record(Some(from.tape()));
        Ok(source)
    }
}

/// A frame as it is written down: the packet, its duration in nanoseconds, its place, its level, and whether it
/// is silence.
type KeptFrame = (Body, u64, u64, u8, bool);

/// The most frames that one chunk becomes in a recording: more than a minute.
const MAX_FRAMES: usize = 4_096;

fn keep(frame: &EncodedFrame) -> KeptFrame {
    let duration = u64::try_from(frame.duration.as_nanos()).unwrap_or(u64::MAX);
    (Body::of(&frame.opus, 1), duration, frame.rtp_offset, frame.level, frame.dtx)
}

fn revive((packet, duration, rtp_offset, level, dtx): KeptFrame) -> EncodedFrame {
    let (opus, duration) =
        (packet.stand_in_up_to(MAX_PACKET).into(), Duration::from_nanos(duration));
    EncodedFrame { opus, duration, rtp_offset, level, dtx }
}

impl AudioSource {
    /// Has what is encoded from now on pass a tape.
    pub(super) fn record(&mut self, tape: Option<&Tape>) {
        self.tape = tape.cloned();
    }

    /// Encodes a chunk: gives the frames that it completes, in an order that starts with the oldest.
    pub(super) fn push(
        &mut self,
        now: Instant,
        audio: &AudioBuffer,
    ) -> Result<&[EncodedFrame], EncodeError> {
        let Some(tape) = self.tape.clone() else { return self.encode(now, audio) };
        let told = serde_json::json!([audio.samples.len(), audio.sample_rate, audio.channels]);
        type Kept = Result<Vec<KeptFrame>, (bool, String)>;
        let made = tape.ask_as(
            ("encode", 0),
            told,
            || self.encode(now, audio).map(<[EncodedFrame]>::to_vec),
            |made| -> Kept {
                match made {
                    Ok(frames) => Ok(frames.iter().map(keep).collect()),
                    Err(EncodeError::Invalid(text)) => Err((true, text.clone())),
                    Err(EncodeError::Encoding(text)) => Err((false, text.clone())),
                }
            },
            |kept: Kept| {
                Some(match kept {
                    Ok(frames) if frames.len() > MAX_FRAMES => return None,
                    Ok(frames) => Ok(frames.into_iter().map(revive).collect()),
                    Err((true, text)) => Err(EncodeError::Invalid(text)),
                    Err((false, text)) => Err(EncodeError::Encoding(text)),
                })
            },
            Ok(Vec::new()),
        );
        self.frames = made?;
        Ok(&self.frames)
    }
}

#[cfg(feature = "opus")]
impl AudioSource {
    pub(super) fn new(settings: &AudioSettings) -> Result<Self, EncodeError> {
        let encoder = OpusEncoder::new(opus_settings(settings))
            .map_err(|error| EncodeError::Encoding(error.to_string()))?;
        Ok(Self { input: AudioInput::new(encoder), frames: Vec::new(), last: None, tape: None })
    }

    fn encode(
        &mut self,
        now: Instant,
        audio: &AudioBuffer,
    ) -> Result<&[EncodedFrame], EncodeError> {
        use crate::codec::CodecError;
        self.frames.clear();
        if self.last.is_some_and(|last| now > last + PAUSE + Duration::from_secs(1)) {
            // What was left of the audio before a pause does not belong to what follows it.
            self.input.skip(Duration::ZERO);
        }
        self.last = Some(now);
        let channels = u8::try_from(audio.channels).unwrap_or(u8::MAX);
        let chunk =
            AudioChunk { samples: &audio.samples, sample_rate: audio.sample_rate, channels };
        let frames = &mut self.frames;
        match self.input.push(chunk, |frame| frames.push(frame)) {
            Ok(()) => Ok(&self.frames),
            Err(error @ CodecError::InvalidData { .. }) => {
                Err(EncodeError::Invalid(error.to_string()))
            }
            Err(error) => Err(EncodeError::Encoding(error.to_string())),
        }
    }

    pub(super) fn configure(&mut self, settings: &AudioSettings) {
        // The settings are within their bounds: libopus takes them.
        if let Err(error) = self.input.configure(&opus_settings(settings)) {
            tracing::error!(%error, "the audio encoder refused settings that were validated");
        }
    }
}

#[cfg(feature = "opus")]
fn opus_settings(settings: &AudioSettings) -> OpusSettings {
    OpusSettings {
        bitrate: settings.bitrate,
        complexity: settings.complexity,
        fec: settings.fec,
        dtx: settings.dtx,
        expected_loss_percent: settings.expected_loss_percent,
        dred_ms: settings.dred_ms,
        channels: Channels::from_count(settings.channels).unwrap_or_default(),
        frame_duration: AudioSettings::FRAME,
        ..OpusSettings::default()
    }
}

#[cfg(not(feature = "opus"))]
impl AudioSource {
    pub(super) fn new(_: &AudioSettings) -> Result<Self, EncodeError> {
        Err(EncodeError::Encoding("this build has no Opus encoder (feature `opus`)".into()))
    }

    fn encode(&mut self, _: Instant, _: &AudioBuffer) -> Result<&[EncodedFrame], EncodeError> {
        self.last = None;
        Ok(&self.frames)
    }

    pub(super) fn configure(&mut self, _: &AudioSettings) {}
}

/// Where a frame comes from: frames of one stream follow each other by their offsets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    /// The encoder of broadcasts.
    Broadcast,
    /// The encoder of one peer.
    Unicast,
    /// The application's own packets, which state only their duration.
    Encoded,
}

saved!(
    enum Stream {
        Broadcast,
        Unicast,
        Encoded,
    }
);

/// The RTP timestamps towards one receiver (RFC 3550, section 5.1): from a random start on, whatever
/// streams alternate on it.
#[derive(Debug)]
pub(super) struct SendTimeline {
    rtp: u64,
    last: Option<Last>,
}

saved!(struct SendTimeline { rtp, last });

#[derive(Debug, Clone, Copy)]
struct Last {
    stream: Stream,
    offset: u64,
    duration: u64,
    at: Instant,
}

saved!(struct Last { stream, offset, duration, at });

impl SendTimeline {
    /// A timeline that starts at `rtp`.
    pub(super) const fn new(rtp: u32) -> Self {
        Self { rtp: rtp as u64, last: None }
    }

    /// The timestamp of a frame that is sent now. `offset` is its position in its stream in samples, which
    /// streams of packets do not have.
    pub(super) fn place(
        &mut self,
        now: Instant,
        stream: Stream,
        offset: Option<u64>,
        duration: Duration,
    ) -> u64 {
        let duration = samples(duration);
        if let Some(last) = self.last {
            let by_offset = offset
                .filter(|offset| last.stream == stream && *offset > last.offset)
                .map(|offset| offset - last.offset);
            let advance = by_offset.unwrap_or(last.duration);
            let elapsed = samples(now.saturating_duration_since(last.at));
            let paused = elapsed > advance + samples(PAUSE);
            self.rtp += if paused { elapsed } else { advance };
        }
        self.last = Some(Last { stream, offset: offset.unwrap_or(0), duration, at: now });
        self.rtp
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: Duration = Duration::from_millis(20);

    #[test]
    fn timestamps_follow_the_stream_and_jump_over_pauses() {
        let start = Instant::now();
        let mut timeline = SendTimeline::new(1_000);
        let mut place = |at_ms: u64, offset| {
            let now = start + Duration::from_millis(at_ms);
            timeline.place(now, Stream::Broadcast, Some(offset), FRAME) - 1_000
        };
        assert_eq!(place(0, 0), 0);
        assert_eq!(place(20, 960), 960);
        assert_eq!(place(150, 1_920), 1_920, "an application that is late by 110 ms");
        assert_eq!(place(150, 2_880), 2_880, "and catches up");
        assert_eq!(place(190, 4_800), 4_800, "silence that was not sent");
        assert_eq!(place(1_190, 5_760), 4_800 + 48_000, "a pause of a second");
    }

    #[test]
    fn streams_alternate_without_going_back() {
        let start = Instant::now();
        let mut timeline = SendTimeline::new(u32::MAX);
        let mut last = None;
        for n in 0..100u64 {
            let now = start + FRAME * (n as u32);
            let rtp = match n % 3 {
                0 => timeline.place(now, Stream::Broadcast, Some(n * 960), FRAME),
                1 => timeline.place(now, Stream::Unicast, Some(5), FRAME),
                _ => timeline.place(now, Stream::Encoded, None, FRAME),
            };
            if let Some(last) = last {
                assert_eq!(rtp - last, 960, "{n}");
            }
            last = Some(rtp);
        }
    }

    #[cfg(feature = "opus")]
    #[test]
    fn a_chunk_becomes_frames_and_a_wrong_one_names_its_field() {
        let now = Instant::now();
        let mut source = AudioSource::new(&AudioSettings::default()).unwrap();
        let audio = |samples: usize, sample_rate, channels| AudioBuffer {
            samples: vec![0.1; samples].into(),
            sample_rate,
            channels,
        };
        assert_eq!(source.push(now, &audio(1_920, 48_000, 1)).unwrap().len(), 2);
        assert_eq!(source.push(now, &audio(480, 48_000, 1)).unwrap().len(), 0);
        for (wrong, field) in [
            (audio(960, 7_999, 1), "sample_rate"),
            (audio(960, 48_000, 300), "channels"),
            (audio(961, 48_000, 2), "samples"),
            (audio(0, 48_000, 1), "samples"),
        ] {
            let Err(EncodeError::Invalid(text)) = source.push(now, &wrong) else { panic!() };
            assert!(text.contains(field), "{text}");
        }
    }
}
