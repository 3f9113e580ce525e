//! Received audio of one peer: from packets as they come to what is heard.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::codec::{OPUS_RATE, opus_packet_duration};
use crate::config::{AudioSettings, Concealment, ReceivedAudio};
use crate::media::{EncodedAudio, EncodedVideo};
use crate::sync::{JitterBuffer, Packet, PlayoutTuning, Pop, SyncManager};
use crate::trace::Tape;
use crate::transport::event::{AudioData, AudioFrame};

use crate::trace::state::saved;
#[cfg(feature = "opus")]
use crate::transport::rendering::Rendering;

/// Ticks of the RTP clock in 2.5 ms, of which all durations of Opus are multiples.
const GRAIN: u32 = OPUS_RATE / 400;

/// An Opus packet, as it waits.
pub(super) type Opus = Arc<[u8]>;

/// The timing of one peer's media.
pub(super) type Sync = SyncManager<Opus, EncodedVideo>;

/// Figures of received audio. Samples are of one channel, at 48 kHz.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct PlayoutFigures {
    /// Samples that were made up.
    pub(crate) concealed: u64,
    /// How often that began.
    pub(crate) concealments: u64,
    /// Samples of lost packets that were recovered from those behind them.
    pub(crate) recovered: u64,
    /// Samples that were inserted, and left out, to change the delay.
    pub(crate) inserted: u64,
    pub(crate) removed: u64,
    /// Packets that are no Opus.
    pub(crate) undecodable: u64,
}

/// What becomes of the packets of a jitter buffer: samples, or packets in their time.
#[derive(Debug)]
pub(crate) struct AudioPlayout {
    output: Output,
    /// Packets that were not even let in.
    undecodable: u64,
}

saved!(struct AudioPlayout { output, undecodable });

#[derive(Debug)]
enum Output {
    Encoded,
    Packets,
    #[cfg(feature = "opus")]
    Decoded(Box<Rendering>),
}

saved!(
    enum Output {
        Encoded,
        Packets,
        #[cfg(feature = "opus")]
        Decoded(a),
    }
);

impl AudioPlayout {
    /// One whose comfort noise is drawn from `seed`. Without the feature `opus` its frames are encoded,
    /// whatever the settings ask for.
    #[cfg_attr(not(feature = "opus"), expect(unused_variables))]
    pub(crate) fn new(audio: AudioSettings, tuning: PlayoutTuning, seed: u64) -> Self {
        let output = match audio.received {
            #[cfg(feature = "opus")]
            ReceivedAudio::Decoded => {
                Output::Decoded(Box::new(Rendering::new(tuning, seed, audio.concealment)))
            }
            ReceivedAudio::Packets => Output::Packets,
            _ => Output::Encoded,
        };
        Self { output, undecodable: 0 }
    }

    /// Has what is found in the contents of packets pass a tape.
    #[cfg_attr(not(feature = "opus"), expect(unused_variables))]
    pub(crate) fn record(&mut self, tape: &Tape) {
        #[cfg(feature = "opus")]
        if let Output::Decoded(rendering) = &mut self.output {
            rendering.record(tape);
        }
    }

    /// A packet that arrived at `arrived`, not after `now`, as it goes into the jitter buffer. What cannot be
    /// Opus is counted, and concealed as if it had not arrived.
    pub(crate) fn packet(
        &mut self,
        now: Instant,
        arrived: Instant,
        sequence: u64,
        rtp: u32,
        opus: Opus,
    ) -> Option<Packet<Opus>> {
        let Some(duration) = opus_packet_duration(&opus) else {
            self.undecodable += 1;
            return None;
        };
        #[cfg(feature = "opus")]
        let opus = match &mut self.output {
            Output::Decoded(rendering) => rendering.expect(opus),
            _ => opus,
        };
        Some(Packet {
            sequence,
            rtp,
            duration: ticks(duration),
            // RFC 6716, section 2.1.9: nothing but a header, and maybe nothing more for a while.
            dtx: opus.len() <= 2,
            arrived: arrived.min(now),
            payload: opus,
        })
    }

    /// Changes how losses are made up, where that is done here.
    #[cfg_attr(not(feature = "opus"), expect(unused_variables))]
    pub(super) fn set_concealment(&mut self, concealment: Concealment) {
        #[cfg(feature = "opus")]
        if let Output::Decoded(rendering) = &mut self.output {
            rendering.set_concealment(concealment);
        }
    }

    /// Whether packets are handed over as they arrive.
    pub(super) const fn passes(&self) -> bool {
        matches!(self.output, Output::Packets)
    }

    /// The next frame that is due. Call it until it gives none.
    pub(super) fn poll(&mut self, sync: &mut Sync, now: Instant) -> Option<AudioFrame> {
        match &mut self.output {
            Output::Encoded => loop {
                match sync.pop_audio(now) {
                    Pop::Frame {
                        packet: Packet { rtp, duration, payload: opus, .. },
                        due,
                        delay,
                    } => {
                        let data =
                            AudioData::Encoded(EncodedAudio { opus, duration: span(duration) });
                        return Some(AudioFrame { delay, ..AudioFrame::new(rtp, due, data) });
                    }
                    // Encoded audio just has a gap there.
                    Pop::Conceal { .. } | Pop::Silence { .. } => {}
                    Pop::None => return None,
                }
            },
            Output::Packets => None,
            #[cfg(feature = "opus")]
            Output::Decoded(rendering) => rendering.poll(sync, now),
        }
    }

    /// When the next frame is due, or something is to be concealed.
    pub(crate) fn poll_timeout(&self, buffer: &JitterBuffer<Opus>) -> Option<Instant> {
        match &self.output {
            Output::Encoded => buffer.poll_timeout(),
            Output::Packets => None,
            #[cfg(feature = "opus")]
            Output::Decoded(rendering) => rendering.poll_timeout(buffer),
        }
    }

    /// The figures since the start.
    pub(crate) fn figures(&self) -> PlayoutFigures {
        let figures = match &self.output {
            Output::Encoded | Output::Packets => PlayoutFigures::default(),
            #[cfg(feature = "opus")]
            Output::Decoded(rendering) => rendering.figures(),
        };
        PlayoutFigures { undecodable: self.undecodable + figures.undecodable, ..figures }
    }
}

/// A duration of at most 120 ms in ticks.
fn ticks(duration: Duration) -> u32 {
    duration.as_micros() as u32 / 2_500 * GRAIN
}

fn span(ticks: u32) -> Duration {
    Duration::from_micros(u64::from(ticks / GRAIN) * 2_500)
}
