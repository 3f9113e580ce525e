use proptest::prelude::*;

use super::*;
use crate::codec::signal::{peak_at, sine};
use crate::codec::{AudioDecoder, OpusDecoder, OpusEncoder, SILENCE};

fn chain(change: impl FnOnce(&mut OpusSettings)) -> AudioInput<OpusEncoder> {
    let mut settings = OpusSettings::default();
    change(&mut settings);
    AudioInput::new(OpusEncoder::new(settings).unwrap())
}

fn mono(samples: &[f32], sample_rate: u32) -> AudioChunk<'_> {
    AudioChunk { samples, sample_rate, channels: 1 }
}

fn decode(frames: &[EncodedFrame]) -> Vec<f32> {
    let mut decoder = OpusDecoder::new(Channels::Mono).unwrap();
    let mut out = [0.0; 5_760];
    let mut all = Vec::new();
    for frame in frames {
        let count = decoder.decode(&frame.opus, &mut out).unwrap();
        all.extend_from_slice(&out[..count]);
    }
    all
}

#[test]
fn every_rate_arrives_at_its_pitch_and_in_its_time() {
    for rate in [8_000, 16_000, 24_000, 32_000, 44_100, 48_000] {
        let mut input = chain(|s| s.bitrate = 64_000);
        let mut frames = Vec::new();
        for chunk in sine(440.0, 0.5, rate, rate as usize).chunks(rate as usize / 73) {
            input.push(mono(chunk, rate), |frame| frames.push(frame)).unwrap();
        }
        assert!((49..=50).contains(&frames.len()), "{rate} Hz: {} frames", frames.len());
        let heard = decode(&frames);
        let peak = peak_at(&heard[9_600..], 440.0, 48_000);
        assert!((peak - 0.5).abs() < 0.03, "{rate} Hz: a peak of {peak}");
        assert!(peak_at(&heard[9_600..], 880.0, 48_000) < 0.01);
        assert!(frames[10..].iter().all(|frame| frame.level == 9), "0.5 peak is -9 dBov");
    }
}

#[test]
fn offsets_count_samples_and_pauses() {
    let mut input = chain(|_| ());
    let mut offsets = Vec::new();
    input.push(mono(&[0.1; 2_000], 48_000), |frame| offsets.push(frame.rtp_offset)).unwrap();
    input.skip(Duration::from_secs(1));
    input.push(mono(&[0.1; 960], 48_000), |frame| offsets.push(frame.rtp_offset)).unwrap();
    assert_eq!(offsets, [0, 960, 1_920 + 48_000]);
}

#[test]
fn wrong_chunks_are_refused_by_name_and_take_nothing() {
    let mut input = chain(|_| ());
    let samples = [0.1; 961];
    let long = vec![0.0; MAX_CHUNK_SAMPLES + 1];
    let cases = [
        ("samples", mono(&[], 48_000)),
        ("samples", mono(&long, 48_000)),
        ("samples", AudioChunk { samples: &samples, sample_rate: 48_000, channels: 2 }),
        ("channels", AudioChunk { samples: &samples, sample_rate: 48_000, channels: 0 }),
        ("channels", AudioChunk { samples: &samples, sample_rate: 48_000, channels: 3 }),
        ("sample_rate", mono(&samples, 7_999)),
        ("sample_rate", mono(&samples, 48_001)),
    ];
    for (field, chunk) in cases {
        let error = input.push(chunk, |_| panic!("no frame is due")).unwrap_err();
        assert!(matches!(error, CodecError::InvalidData { field: f, .. } if f == field), "{error}");
    }
}

#[test]
fn broken_samples_are_silence_and_counted() {
    let mut input = chain(|_| ());
    let mut levels = Vec::new();
    let chunk = [f32::NAN; 960];
    input.push(mono(&chunk, 48_000), |frame| levels.push(frame.level)).unwrap();
    input.push(mono(&[f32::INFINITY; 800], 8_000), |frame| levels.push(frame.level)).unwrap();
    assert_eq!(input.non_finite_samples(), 1_760);
    assert!(!levels.is_empty() && levels.iter().all(|&level| level == SILENCE));
}

#[test]
fn silence_is_flagged_under_dtx() {
    let mut input = chain(|s| s.dtx = true);
    let mut frames = Vec::new();
    for _ in 0..100 {
        input.push(mono(&[0.0; 960], 48_000), |frame| frames.push(frame)).unwrap();
    }
    let unsent = frames.iter().filter(|frame| frame.dtx).count();
    assert!(unsent > 60, "{unsent} of 100");
    assert!(frames.iter().all(|frame| frame.dtx == (frame.opus.len() <= 2)));
}

#[test]
fn channels_change_within_a_frame() {
    let mut input = chain(|_| ());
    let mut frames = 0;
    input.push(mono(&[0.1; 500], 48_000), |_| frames += 1).unwrap();
    let stereo = OpusSettings { channels: Channels::Stereo, ..OpusSettings::default() };
    input.configure(&stereo).unwrap();
    input.push(mono(&[0.1; 460], 48_000), |_| frames += 1).unwrap();
    assert_eq!(frames, 1, "500 samples from before and 460 from after");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// Frames follow each other without a gap, and no audio is held back beyond a frame and a block.
    #[test]
    fn the_timeline_has_no_gaps(
        chunks in prop::collection::vec((1_usize..3_000, 8_000_u32..=48_000, 1_u8..=2), 1..12),
    ) {
        let mut input = chain(|s| s.complexity = 0);
        let mut next = 0;
        for (length, sample_rate, channels) in chunks {
            let samples = vec![0.1; length * usize::from(channels)];
            input.push(AudioChunk { samples: &samples, sample_rate, channels }, |frame| {
                assert_eq!(frame.rtp_offset, next);
                next += 960;
            }).unwrap();
            prop_assert!(input.pending.len() < 960);
        }
    }
}
