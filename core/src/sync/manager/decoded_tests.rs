use super::*;
use crate::sync::frame::{VideoFormat, VideoPlane};
use crate::sync::playout::Playout;
use crate::sync::settings::SyncConfig;

type Manager = SyncManager<Arc<[f32]>, VideoPicture>;

fn at(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn manager() -> (Manager, Instant) {
    let config = SyncConfig::standard().playout(Playout::Fixed);
    (SyncManager::new("bob", config).unwrap(), Instant::now())
}

/// Frame `n` of a tone of 440 Hz, of which each is 20 ms.
fn tone(n: u16, received_at: Instant) -> AudioFrame {
    let sample = |at: u32| {
        let time = (u32::from(n) * 960 + at) as f64 / 48_000.0;
        (time * 440.0 * std::f64::consts::TAU).sin() as f32
    };
    AudioFrame {
        rtp_timestamp: u32::from(n) * 960,
        rtp_sequence: n,
        samples: (0..960).map(sample).collect(),
        channels: 1,
        received_at,
        payload_size: 80,
    }
}

fn picture(rtp: u32, sequence: u16, received_at: Instant, marker_bit: bool) -> VideoFrame {
    let plane = VideoPlane { data: Arc::new([sequence as u8; 16]), stride: 8 };
    let format = VideoFormat::Rgba;
    let picture = VideoPicture { width: 2, height: 2, format, planes: Arc::new([plane]) };
    let is_keyframe = sequence == 0;
    VideoFrame {
        rtp_timestamp: rtp,
        rtp_sequence: sequence,
        picture,
        received_at,
        marker_bit,
        is_keyframe,
    }
}

#[test]
fn samples_are_shared_both_ways() {
    let (mut sync, start) = manager();
    let frame = tone(0, start);
    let samples = Arc::clone(&frame.samples);
    let synced = sync.process_audio_frame(frame).unwrap();
    assert!(Arc::ptr_eq(&samples, &synced.samples));
    assert_eq!(
        (synced.sample_rate, synced.sample_count, synced.buffer_delay_ms),
        (48_000, 960, 50.0)
    );
    assert_eq!((synced.sync_confidence, synced.wall_clock_timestamp_us), (0.0, None));
    assert_eq!(sync.pop_next_audio_frame(start + at(49)), None);
    sync.set_local_clock(start, 1_000_000);
    let popped = sync.pop_next_audio_frame(start + at(50)).unwrap();
    assert!(Arc::ptr_eq(&samples, &popped.samples));
    assert_eq!((popped.sync_confidence, popped.wall_clock_timestamp_us), (0.5, Some(1_000_000)));
    assert_eq!(sync.get_buffer_statistics().payload_bytes, 80);
}

#[test]
fn what_is_wrong_with_a_frame_is_told_apart() {
    let (mut sync, start) = manager();
    sync.process_audio_frame(tone(5, start)).unwrap();
    let again = sync.process_audio_frame(tone(5, start)).unwrap_err();
    assert_eq!(again, SyncError::DuplicateFrame { sequence: 5 });
    sync.pop_next_audio_frame(start + at(50)).unwrap();
    let late = sync.process_audio_frame(tone(4, start + at(50))).unwrap_err();
    assert_eq!(late, SyncError::LateFrame { sequence: 4 });
    let jump = AudioFrame { rtp_timestamp: 0x7000_0000, ..tone(6, start + at(50)) };
    let jump = sync.process_audio_frame(jump).unwrap_err();
    assert_eq!(jump, SyncError::InvalidTimestamp { rtp: 0x7000_0000, sequence: 6 });
    let empty = AudioFrame { samples: Arc::new([]), ..tone(6, start) };
    assert!(matches!(
        sync.process_audio_frame(empty),
        Err(SyncError::InvalidFrameFormat { field: "samples", .. })
    ));
    let flat = VideoFrame {
        picture: VideoPicture { height: 0, ..picture(0, 0, start, true).picture },
        ..picture(0, 0, start, true)
    };
    assert!(matches!(
        sync.process_video_frame(flat),
        Err(SyncError::InvalidFrameFormat { field: "height", .. })
    ));
    assert_eq!(sync.get_buffer_statistics().invalid_frames, 2);
    let overflow = (0..1_000)
        .map(|n| sync.process_audio_frame(tone(10 + n, start + at(60))))
        .find_map(Result::err);
    assert_eq!(overflow, Some(SyncError::JitterBufferOverflow { sequence: 522 }));
}

#[test]
fn what_is_missing_is_told_with_the_next_frame() {
    let (mut sync, start) = manager();
    for n in [0, 1, 4] {
        sync.process_audio_frame(tone(n, start + at(20 * u64::from(n)))).unwrap();
    }
    let mut gaps = Vec::new();
    for now in 0..200 {
        if let Some(frame) = sync.pop_next_audio_frame(start + at(now)) {
            gaps.push((frame.rtp_timestamp / 960, frame.gap_ms));
        }
    }
    assert_eq!(gaps, [(0, 0.0), (1, 0.0), (4, 40.0)]);
}

#[test]
fn a_correction_resamples_without_a_seam() {
    let (mut sync, start) = manager();
    let mut out = Vec::new();
    let mut played = Vec::new();
    for n in 0..200 {
        let now = start + at(20 * u64::from(n));
        sync.process_audio_frame(tone(n, now)).unwrap();
        match n {
            50 => sync.apply_clock_drift_correction(1.005).unwrap(),
            120 => sync.apply_clock_drift_correction(1.0).unwrap(),
            _ => {}
        }
        while let Some(frame) = sync.pop_next_audio_frame(now) {
            played.push((frame.sample_count, frame.rtp_timestamp / 960));
            out.extend_from_slice(&frame.samples);
        }
    }
    // 440 Hz moves by at most 0.0576 a sample, and 0.5 % more.
    let steepest = out.windows(2).map(|pair| (pair[1] - pair[0]).abs()).fold(0.0, f32::max);
    assert!(steepest < 0.0585, "a seam of {steepest}");
    // 68 frames or so of half a per cent less, but for the easing.
    let short = played.len() * 960 - out.len();
    assert!((290..=350).contains(&short), "{short} samples less");
    // Before it, and after it, the samples are those that came in.
    assert!(played[..40].iter().chain(&played[170..]).all(|(count, _)| *count == 960));
    let last = played[played.len() - 1].1;
    assert_eq!(out[out.len() - 960..], tone(last as u16, start).samples[..]);
}

#[test]
fn a_picture_is_complete_with_its_marker_or_the_next_timestamp() {
    let (mut sync, start) = manager();
    let parts = [
        (0, 0, false),
        (0, 1, true),
        (3_000, 2, false),
        (6_000, 3, false),
        (6_000, 4, true),
        (9_000, 5, true),
    ];
    for (rtp, sequence, marker) in parts {
        let now = start + at(u64::from(rtp) / 90);
        sync.process_video_frame(picture(rtp, sequence, now, marker)).unwrap();
    }
    let mut shown = Vec::new();
    for now in 0..250 {
        if let Some(frame) = sync.pop_next_video_frame(start + at(now)) {
            let part = frame.picture.planes[0].data[0];
            shown.push((frame.rtp_timestamp, part, frame.is_keyframe));
        }
    }
    assert_eq!(shown, [(0, 1, true), (3_000, 2, false), (6_000, 4, false), (9_000, 5, false)]);
}
