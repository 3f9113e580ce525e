//! Received audio of one peer: from packets as they come to frames at their time of playout.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::codec::{OPUS_RATE, opus_packet_duration};
use crate::config::ReceivedAudio;
use crate::media::EncodedAudio;
use crate::sync::{Inserted, JitterBuffer, Packet, PlayoutConfig, Pop};
use crate::transport::event::{AudioData, AudioFrame};

#[cfg(feature = "opus")]
use decoding::Decoding;

/// Ticks of the RTP clock in 2.5 ms, of which all durations of Opus are multiples.
const GRAIN: u32 = OPUS_RATE / 400;

/// Figures of received audio.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct PlayoutFigures {
    /// Frames that had to be made up: lost, too late, or undecodable.
    pub(crate) concealed: u64,
    /// Packets that were dropped though they arrived: late, duplicate, too many, or of another stream.
    pub(crate) discarded: u64,
    /// Packets that are no Opus.
    pub(crate) undecodable: u64,
    /// How long packets waited of late.
    pub(crate) delay: Duration,
}

/// The audio of one peer: a jitter buffer, and behind it a decoder where decoded audio is wanted.
///
/// Both take their memory with the first packet. The decoder gives as many channels as that packet
/// has, and two from the first stereo packet on: a stereo encoder may send mono at times, which must
/// not change the output, but a sender that goes over to stereo is to be heard so.
#[derive(Debug)]
pub(crate) struct AudioPlayout {
    buffer: JitterBuffer<Arc<[u8]>>,
    output: Output,
    undecodable: u64,
    /// Concealed although the packet was there.
    replaced: u64,
}

#[derive(Debug)]
enum Output {
    Encoded,
    #[cfg(feature = "opus")]
    Decoded(Decoding),
}

impl AudioPlayout {
    /// A playout that holds packets for `target`. Without the feature `opus` its frames are encoded,
    /// whatever `received` asks for.
    pub(crate) fn new(target: Duration, received: ReceivedAudio) -> Self {
        let output = match received {
            #[cfg(feature = "opus")]
            ReceivedAudio::Decoded => Output::Decoded(Decoding::default()),
            _ => Output::Encoded,
        };
        let buffer = JitterBuffer::new(OPUS_RATE, PlayoutConfig::fixed(target));
        Self { buffer, output, undecodable: 0, replaced: 0 }
    }

    /// Takes a packet that arrived at `arrived`, not after `now`. What cannot be Opus is counted, and
    /// concealed as if it had not arrived.
    pub(crate) fn insert(
        &mut self,
        now: Instant,
        arrived: Instant,
        sequence: u64,
        rtp: u32,
        opus: Arc<[u8]>,
    ) {
        let Some(duration) = opus_packet_duration(&opus) else {
            self.undecodable += 1;
            return;
        };
        let inserted = self.buffer.insert(Packet {
            sequence,
            rtp,
            duration: ticks(duration),
            // RFC 6716, section 2.1.9: nothing but a header, and maybe nothing more for a while.
            dtx: opus.len() <= 2,
            arrived: arrived.min(now),
            payload: opus,
        });
        if inserted == Inserted::Restarted {
            tracing::debug!(sequence, rtp, "the audio stream of a peer started afresh");
        }
    }

    /// The next frame that is due. Call it until it gives none.
    pub(crate) fn poll(&mut self, now: Instant) -> Option<AudioFrame> {
        loop {
            let frame = match self.buffer.pop(now) {
                Pop::Frame { packet, due, delay } => self.play(packet, due, delay),
                Pop::Conceal { rtp, duration, due, .. } => self.conceal(rtp, duration, due),
                Pop::Silence { .. } => continue,
                Pop::None => return None,
            };
            if frame.is_some() {
                return frame;
            }
        }
    }

    fn play(
        &mut self,
        packet: Packet<Arc<[u8]>>,
        due: Instant,
        delay: Duration,
    ) -> Option<AudioFrame> {
        let Packet { rtp, duration, payload: opus, .. } = packet;
        match &mut self.output {
            Output::Encoded => {
                let data = AudioData::Encoded(EncodedAudio { opus, duration: span(duration) });
                Some(AudioFrame { delay, ..AudioFrame::new(rtp, due, data) })
            }
            #[cfg(feature = "opus")]
            Output::Decoded(decoding) => {
                if let Some(audio) = decoding.decode(&opus) {
                    let data = AudioData::Decoded(audio);
                    return Some(AudioFrame { delay, ..AudioFrame::new(rtp, due, data) });
                }
                self.undecodable += 1;
                self.replaced += 1;
                self.conceal(rtp, duration, due)
            }
        }
    }

    /// Makes up `duration` ticks: by the copy inside the packet that follows, else by a guess.
    /// Encoded audio just has a gap there.
    #[cfg_attr(not(feature = "opus"), expect(unused_variables))]
    fn conceal(&mut self, rtp: u32, duration: u32, due: Instant) -> Option<AudioFrame> {
        match &mut self.output {
            Output::Encoded => None,
            #[cfg(feature = "opus")]
            Output::Decoded(decoding) => {
                let duration = duration - duration % GRAIN;
                let end = rtp.wrapping_add(duration);
                let next = self.buffer.peek_next().filter(|next| next.rtp == end);
                let audio = decoding.conceal(span(duration), next.map(|next| &*next.payload))?;
                let data = AudioData::Decoded(audio);
                Some(AudioFrame { concealed: true, ..AudioFrame::new(rtp, due, data) })
            }
        }
    }

    /// When the next frame is due, or something is to be concealed.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.buffer.poll_timeout()
    }

    /// Changes the delay: playout gets there by going up to 12.5 % faster or slower.
    pub(crate) fn set_target(&mut self, target: Duration) {
        self.buffer.set_size(target);
    }

    /// The figures since the start.
    pub(crate) fn figures(&self) -> PlayoutFigures {
        let buffer = self.buffer.statistics();
        PlayoutFigures {
            concealed: buffer.concealed + self.replaced,
            discarded: buffer.late
                + buffer.duplicates
                + buffer.overruns
                + buffer.strays
                + buffer.flushed,
            undecodable: self.undecodable,
            delay: buffer.average_delay,
        }
    }
}

/// A duration of at most 120 ms in ticks.
fn ticks(duration: Duration) -> u32 {
    duration.as_micros() as u32 / 2_500 * GRAIN
}

fn span(ticks: u32) -> Duration {
    Duration::from_micros(u64::from(ticks / GRAIN) * 2_500)
}

#[cfg(feature = "opus")]
mod decoding {
    use std::sync::Arc;
    use std::time::Duration;

    use super::ticks;
    use crate::codec::{
        AudioDecoder, Channels, CodecError, MAX_PACKET_SAMPLES, OPUS_RATE, OpusDecoder,
        opus_packet_duration, opus_packet_has_fec,
    };
    use crate::media::AudioBuffer;

    /// A decoder, once there is something to decode.
    #[derive(Debug, Default)]
    pub(super) struct Decoding {
        decoder: Option<OpusDecoder>,
        /// Where it writes: as large as the longest packet so far.
        scratch: Vec<f32>,
    }

    impl Decoding {
        /// The audio of a packet; `None` if it cannot be decoded.
        pub(super) fn decode(&mut self, opus: &[u8]) -> Option<AudioBuffer> {
            let stereo = opus.first()? & 0b100 != 0;
            let channels = if stereo { Channels::Stereo } else { Channels::Mono };
            let enough = |decoder: &OpusDecoder| decoder.channels().count() >= channels.count();
            if !self.decoder.as_ref().is_some_and(enough) {
                self.decoder = Some(OpusDecoder::new(channels).map_err(report).ok()?);
            }
            let duration = opus_packet_duration(opus)?;
            self.run(duration, |decoder, out| decoder.decode(opus, out))
        }

        /// What stands in for a lost `duration` before `next`. `None` before anything was played.
        pub(super) fn conceal(
            &mut self,
            duration: Duration,
            next: Option<&[u8]>,
        ) -> Option<AudioBuffer> {
            let next = next.filter(|next| opus_packet_has_fec(next));
            self.run(duration, |decoder, out| match next {
                Some(next) => decoder
                    .decode_fec(next, duration, out)
                    .or_else(|_| decoder.conceal(duration, out)),
                None => decoder.conceal(duration, out),
            })
        }

        fn run(
            &mut self,
            duration: Duration,
            work: impl FnOnce(&mut OpusDecoder, &mut [f32]) -> Result<usize, CodecError>,
        ) -> Option<AudioBuffer> {
            let decoder = self.decoder.as_mut()?;
            let channels = decoder.channels().count();
            let room = (ticks(duration) as usize).min(MAX_PACKET_SAMPLES) * channels;
            if self.scratch.len() < room {
                self.scratch.resize(room, 0.0);
            }
            let count = work(decoder, &mut self.scratch).map_err(report).ok()?;
            let samples: Arc<[f32]> = self.scratch.get(..count * channels)?.into();
            Some(AudioBuffer { samples, sample_rate: OPUS_RATE, channels: channels as u16 })
        }
    }

    fn report(error: CodecError) {
        tracing::debug!(%error, "received audio is concealed");
    }
}

#[cfg(test)]
#[path = "playout_tests.rs"]
mod tests;
