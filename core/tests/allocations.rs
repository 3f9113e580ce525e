//! What is done for every packet allocates nothing.

// A stream needs one instant to count from.
#![cfg_attr(feature = "dred", allow(clippy::disallowed_methods, clippy::unwrap_used))]

use std::time::Duration;

use rtcmesh_core::sync::{Control, DelayTarget, PlayoutTuning, Situation};

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

/// One test, since the allocator's counts are those of the whole process.
#[test]
fn what_is_done_for_every_packet_allocates_nothing() {
    let _profiler = dhat::Profiler::builder().testing().build();
    target_and_control();
    #[cfg(feature = "dred")]
    deep_redundancy();
}

fn target_and_control() {
    let tuning = PlayoutTuning::rtcmesh();
    let (start, max) = (Duration::from_millis(50), Duration::from_millis(500));
    let mut target = DelayTarget::new(&tuning, start, max);
    let control = Control::new(&tuning);
    let before = dhat::HeapStats::get().total_blocks;
    for n in 0..20_000_i64 {
        let media = n * 20_000_000;
        target.observe(media + n * n % 90_000_000, media);
        let (delay, target) = (n % 100 * 1_000_000, target.target());
        let situation = Situation { delay, target, ready: delay, ..Situation::default() };
        std::hint::black_box(control.decide(&situation, 10_000_000));
    }
    assert_eq!(dhat::HeapStats::get().total_blocks - before, 0);
}

/// Bursts of losses, of which the end is recovered and the beginning made up by the networks.
#[cfg(feature = "dred")]
fn deep_redundancy() {
    use std::sync::Arc;
    use std::time::Instant;

    use rtcmesh_core::codec::{AudioEncoder, MAX_PACKET_BYTES, OpusEncoder, OpusSettings};
    use rtcmesh_core::config::Concealment;
    use rtcmesh_core::sync::{AudioRenderer, JitterBuffer, Packet, PlayoutConfig};
    use rtcmesh_core::transport::OpusVoice;

    let mut settings = OpusSettings::default();
    (settings.dred_ms, settings.bitrate, settings.fec) = (200, 48_000, false);
    let mut encoder = OpusEncoder::new(settings).unwrap();
    let mut out = [0; MAX_PACKET_BYTES];
    let mut packet = |n: u32| -> Arc<[u8]> {
        let sample = |at: u32| 0.3 * ((at % 320) as f32 / 160.0 - 1.0);
        let frame: Vec<f32> = (n * 960..(n + 1) * 960).map(sample).collect();
        let size = encoder.encode(&frame, &mut out).unwrap();
        Arc::from(&out[..size])
    };
    let packets: Vec<_> = (0..200).map(&mut packet).collect();
    let config = PlayoutConfig::fixed(Duration::from_millis(100));
    let mut buffer = JitterBuffer::new(48_000, config);
    let mut renderer = AudioRenderer::new(1, &config.tuning, 1);
    let mut voice = OpusVoice::new(1).unwrap();
    voice.set_concealment(Concealment::Deep);
    let start = Instant::now();
    let mut before = 0;
    for n in 0..200_u32 {
        // What is taken once, with the first packets.
        if n == 5 {
            before = dhat::HeapStats::get().total_blocks;
        }
        let at = start + Duration::from_millis(20) * n;
        if n % 20 < 12 {
            let payload = packets[n as usize].clone();
            let (sequence, rtp) = (n.into(), n * 960);
            buffer.insert(Packet {
                sequence,
                rtp,
                duration: 960,
                dtx: false,
                arrived: at,
                payload,
            });
        }
        for half in 0..2 {
            let mut out = [0.0; 480];
            renderer.render(
                &mut buffer,
                &mut voice,
                at + Duration::from_millis(10) * half,
                &mut out,
            );
        }
    }
    let figures = renderer.statistics();
    assert!(figures.copied > 9 * 960 && figures.concealed > 9 * 960, "{figures:?}");
    assert_eq!(dhat::HeapStats::get().total_blocks - before, 0);
}
