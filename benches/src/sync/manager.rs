//! What the sync manager costs for each packet.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rtcmesh_core::media::{EncodedVideo, VideoCodec};
use rtcmesh_core::rng::{Rng, Seed};
use rtcmesh_core::sync::{
    Medium, Packet, Pop, RtcpSenderReport, SyncConfig, SyncManager, VideoPacket,
};

use crate::measure::median;

/// The interval of the packets.
const FRAME: Duration = Duration::from_millis(20);

/// A sync manager of encoded media that is fed with jittered packets, one each 20 ms, and a report each
/// 5 s, and played as they become due.
pub struct Fed {
    sync: SyncManager<Arc<[u8]>, EncodedVideo>,
    start: Instant,
    opus: Arc<[u8]>,
    /// How late each packet is, over and over.
    lateness: Vec<Duration>,
    next: u64,
    with_video: bool,
}

impl std::fmt::Debug for Fed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fed").field("next", &self.next).finish_non_exhaustive()
    }
}

impl Fed {
    /// One that has got nothing yet; with a frame of video for each packet of audio, where wanted.
    pub fn new(with_video: bool) -> Self {
        let Ok(sync) = SyncManager::new("bench", SyncConfig::standard()) else {
            unreachable!("the standard settings are valid")
        };
        let mut rng = Rng::new(Seed::from_number(1));
        // Less than the interval: packets come one by one, in order.
        let lateness = (0..4_096).map(|_| FRAME.mul_f64(0.9 * rng.unit())).collect();
        let opus = vec![7; 80].into();
        Self { sync, start: Instant::now(), opus, lateness, next: 0, with_video }
    }

    /// Feeds so many packets more, and gives how many were played.
    pub fn feed(&mut self, packets: u64) -> u64 {
        let mut played = 0;
        for _ in 0..packets {
            let n = self.next;
            self.next += 1;
            let late = self.lateness[n as usize % self.lateness.len()];
            let arrived = self.start + Duration::from_millis(20 * n) + late;
            let rtp = (n as u32).wrapping_mul(960);
            let (duration, payload) = (960, Arc::clone(&self.opus));
            let packet = Packet { sequence: n, rtp, duration, dtx: false, arrived, payload };
            self.sync.insert_audio(packet);
            if self.with_video {
                self.video(n, arrived);
            }
            if n.is_multiple_of(250) {
                self.reports(n, arrived);
            }
            while let Pop::Frame { .. } | Pop::Conceal { .. } = self.sync.pop_audio(arrived) {
                played += 1;
            }
            while self.sync.pop_video(arrived).is_some() {}
        }
        played
    }

    fn video(&mut self, n: u64, arrived: Instant) {
        let data = Arc::clone(&self.opus);
        let timestamp = Duration::from_millis(20 * n);
        self.sync.insert_video(VideoPacket {
            sequence: n,
            rtp: (n as u32).wrapping_mul(1_800),
            keyframe: n == 0,
            contiguous: true,
            size: data.len(),
            arrived,
            payload: EncodedVideo {
                codec: VideoCodec::Vp9,
                data,
                timestamp,
                keyframe: n == 0,
                captured: None,
            },
        });
    }

    fn reports(&mut self, n: u64, received_at: Instant) {
        for (medium, ticks) in [(Medium::Audio, 960), (Medium::Video, 1_800)] {
            let report = RtcpSenderReport {
                medium,
                ntp_timestamp: (4_004_466_000 << 32) + ((n * 20) << 32) / 1_000,
                rtp_timestamp: (n as u32).wrapping_mul(ticks),
                packet_count: 1,
                octet_count: 1,
                received_at,
            };
            if let Err(error) = self.sync.update_rtcp_sender_report(&report) {
                unreachable!("the reports are exact: {error}");
            }
        }
    }
}

/// What one packet costs, inserted and popped, in nanoseconds.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    /// The median over batches: without the fit of the clock drift, which happens in few of them.
    pub usual: f64,
    /// The mean, with it.
    pub mean: f64,
}

/// Measures the cost: the least of five runs over 200,000 packets.
pub fn cost(with_video: bool) -> Cost {
    const BATCHES: usize = 8_000;
    const BATCH: u64 = 25;
    let mut fed = Fed::new(with_video);
    // Beyond the first minutes, when the drift is looked at more often.
    fed.feed(30_000);
    let mut least = Cost { usual: f64::INFINITY, mean: f64::INFINITY };
    for _ in 0..5 {
        let mut batch = || {
            let began = Instant::now();
            std::hint::black_box(fed.feed(BATCH));
            began.elapsed().as_secs_f64() * 1e9 / BATCH as f64
        };
        let found: Vec<f64> = (0..BATCHES).map(|_| batch()).collect();
        least.mean = least.mean.min(found.iter().sum::<f64>() / BATCHES as f64);
        least.usual = least.usual.min(median(found.into_iter()));
    }
    least
}
