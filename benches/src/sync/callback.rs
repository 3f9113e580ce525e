//! What an audio device's callback does, 10 ms at a time: for counting what it allocates.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rtcmesh_core::codec::{AudioEncoder, MAX_PACKET_BYTES, OpusEncoder, OpusSettings};
use rtcmesh_core::sync::{AudioRenderer, JitterBuffer, Packet, PlayoutConfig};
use rtcmesh_core::transport::OpusVoice;

use crate::stretch::signals;

const FRAME: Duration = Duration::from_millis(20);
const SAMPLES: u32 = 960;

/// A stream over a network that delays, loses and reorders, and who plays it.
#[derive(Debug)]
pub struct Callback {
    packets: Vec<Arc<[u8]>>,
    buffer: JitterBuffer<Arc<[u8]>>,
    renderer: AudioRenderer,
    voice: OpusVoice,
    start: Instant,
    sent: u64,
    pulls: u32,
}

impl Callback {
    /// A voice in Opus packets with copies of the one before.
    ///
    /// # Panics
    /// Where libopus has no memory.
    pub fn new() -> Self {
        let speech = signals::speech().expect("the project ships its speech");
        let mut settings = OpusSettings::default();
        settings.expected_loss_percent = 20;
        let mut encoder = OpusEncoder::new(settings).expect("valid settings");
        let mut out = [0; MAX_PACKET_BYTES];
        let packets = speech
            .chunks_exact(SAMPLES as usize)
            .map(|frame| {
                let size = encoder.encode(frame, &mut out).expect("a frame");
                Arc::from(out.get(..size).unwrap_or_default())
            })
            .collect();
        let config = PlayoutConfig::adaptive(Duration::from_millis(50));
        Self {
            packets,
            buffer: JitterBuffer::new(48_000, config),
            renderer: AudioRenderer::new(1, &config.tuning, 1),
            voice: OpusVoice::new(1).expect("memory"),
            start: Instant::now(),
            sent: 0,
            pulls: 0,
        }
    }

    /// Lets so many packets come and be played.
    pub fn run(&mut self, packets: u64) {
        for _ in 0..packets {
            let n = self.sent;
            self.sent += 1;
            // 8 % are lost, 4 % overtaken by the next two, one in 200 stalls those behind it.
            let late = match n % 25 {
                3 | 17 => continue,
                9 => 45,
                _ if n % 200 > 196 => 120,
                _ => n * 7 % 13,
            };
            let arrived = self.start + FRAME * n as u32 + Duration::from_millis(late);
            self.buffer.insert(Packet {
                sequence: 70_000 + n,
                rtp: n as u32 * SAMPLES,
                duration: SAMPLES,
                dtx: false,
                arrived,
                payload: self.packets[n as usize % self.packets.len()].clone(),
            });
            // Some devices ask for more at once than others.
            while FRAME * (n as u32) > Duration::from_millis(u64::from(self.pulls) * 10) {
                let now = self.start + Duration::from_millis(u64::from(self.pulls) * 10);
                let mut out = [0.0; 480];
                self.renderer.render(&mut self.buffer, &mut self.voice, now, &mut out);
                std::hint::black_box(out);
                self.pulls += 1;
            }
        }
    }

    /// What was heard: samples that were made up, recovered, inserted and left out.
    pub fn heard(&self) -> [u64; 4] {
        let found = self.renderer.statistics();
        [found.concealed, found.copied, found.stretch.inserted, found.stretch.removed]
    }
}

impl Default for Callback {
    fn default() -> Self {
        Self::new()
    }
}
