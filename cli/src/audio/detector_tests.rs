use proptest::prelude::*;
use rtcmesh_core::codec::{
    AudioDecoder, AudioEncoder, Channels, MAX_PACKET_BYTES, OpusDecoder, OpusEncoder, OpusSettings,
};

use super::*;
use crate::audio::source::Source;
use crate::audio::tone::Tone;

const SECOND: usize = SAMPLE_RATE as usize;

fn sine(hz: f64, amplitude: f32, samples: usize) -> Vec<f32> {
    let mut out = vec![0.0; samples];
    Tone::new(hz, SAMPLE_RATE, amplitude).add_to(&mut out);
    out
}

/// What the detector says after all of `samples`.
fn detect(samples: &[f32]) -> Option<f64> {
    let mut detector = ToneDetector::new();
    for chunk in samples.chunks(960) {
        detector.push(chunk, false);
    }
    detector.current()
}

/// The samples after a way through Opus, as a mesh sends them.
fn through_opus(samples: &[f32]) -> Vec<f32> {
    let mut encoder = OpusEncoder::new(OpusSettings::default()).unwrap();
    let mut decoder = OpusDecoder::new(Channels::Mono).unwrap();
    let (mut packet, mut out) = ([0; MAX_PACKET_BYTES], Vec::new());
    for frame in samples.chunks_exact(960) {
        let size = encoder.encode(frame, &mut packet).unwrap();
        let mut decoded = [0.0; 960];
        assert_eq!(decoder.decode(&packet[..size], &mut decoded).unwrap(), 960);
        out.extend(decoded);
    }
    out
}

/// The recording of the demo at 48 kHz, with a tone as the demo mixes them.
fn voice_with_tone(hz: f64, start: f64, seconds: usize) -> Vec<f32> {
    let mut source = Source::voice_with_tone(hz, start).unwrap();
    let mut out = Vec::new();
    while out.len() < seconds * SECOND {
        let chunk = source.chunk();
        assert_eq!(chunk.sample_rate, SAMPLE_RATE);
        out.extend_from_slice(&chunk.samples);
    }
    out
}

fn near(found: Option<f64>, hz: f64, tolerance: f64) -> bool {
    found.is_some_and(|found| (found - hz).abs() <= tolerance)
}

#[test]
fn tones_are_found_to_a_tenth_of_a_hertz() {
    for hz in [50.0, 63.7, 100.0, 261.63, 440.0, 442.93, 1_000.0, 3_333.3, 8_000.0, 11_900.0] {
        let found = detect(&sine(hz, 0.3, SECOND));
        assert!(near(found, hz, 0.15), "{hz}: {found:?}");
    }
}

#[test]
fn tones_are_found_to_a_hertz_after_opus() {
    for hz in [60.0, 220.0, 440.0, 1_000.0, 2_500.0, 5_000.0, 8_000.0] {
        let found = detect(&through_opus(&sine(hz, 0.2, SECOND * 3 / 2)));
        assert!(near(found, hz, 1.0), "{hz}: {found:?}");
    }
}

#[test]
fn a_quiet_tone_counts_and_one_beneath_the_threshold_does_not() {
    assert!(near(detect(&sine(700.0, 0.001, SECOND)), 700.0, 0.2));
    assert_eq!(detect(&sine(700.0, 0.000_3, SECOND)), None);
}

#[test]
fn silence_noise_and_a_short_blip_have_no_tone() {
    assert_eq!(detect(&vec![0.0; SECOND]), None);
    assert_eq!(detect(&[f32::NAN; SECOND]), None);
    assert_eq!(detect(&sine(440.0, 0.3, WINDOW)), None);
    // A linear congruential generator (Numerical Recipes): white enough.
    let mut state = 1_u32;
    let noise: Vec<f32> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state as f32 / u32::MAX as f32 - 0.5
    })
    .take(SECOND * 3)
    .collect();
    assert_eq!(detect(&noise), None);
}

#[test]
fn the_tone_of_the_demo_is_found_beneath_the_voice_at_every_moment_of_it() {
    for (start, hz) in [(0.0, 800.0), (0.33, 1_100.0), (0.7, 2_000.0), (0.5, 3_200.0)] {
        let mut detector = ToneDetector::new();
        let (mut looks, mut hits) = (0, 0);
        for (n, chunk) in through_opus(&voice_with_tone(hz, start, 9)).chunks(960).enumerate() {
            detector.push(chunk, false);
            if n > 50 && n % 8 == 0 {
                looks += 1;
                hits += usize::from(near(detector.current(), hz, 3.0));
            }
        }
        assert!(hits == looks, "{hz} Hz was found {hits} times of {looks}");
    }
}

#[test]
fn the_tone_of_the_demo_is_the_strongest_frequency_in_most_single_spectra() {
    // So do simpler detectors find it, such as the page's.
    let samples = through_opus(&voice_with_tone(1_400.0, 0.0, 9));
    let spectra = samples.len() / WINDOW;
    let hits = samples.chunks_exact(WINDOW).filter(|window| {
        let mut detector = ToneDetector::new();
        detector.push(window, false);
        detector.push(window, false);
        near(detector.current(), 1_400.0, 5.0)
    });
    let hits = hits.count();
    assert!(hits * 20 >= spectra * 19, "{hits} of {spectra}");
}

#[test]
fn the_latest_tone_outlives_the_stream_but_the_current_one_does_not() {
    let mut detector = ToneDetector::new();
    detector.push(&sine(440.0, 0.2, SECOND), false);
    detector.push(&vec![0.0; 2 * SECOND], false);
    assert_eq!(detector.current(), None);
    assert!(near(detector.latest(), 440.0, 0.2));
    assert_eq!(ToneDetector::new().latest(), None);
}

#[test]
fn concealed_audio_is_not_listened_to() {
    let mut detector = ToneDetector::new();
    detector.push(&sine(440.0, 0.2, SECOND), true);
    assert_eq!((detector.current(), detector.latest()), (None, None));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_tone_in_range_is_found(hz in 50.0..11_900.0_f64, amplitude in 0.01..1.0_f32) {
        let found = detect(&sine(hz, amplitude, SECOND / 2));
        prop_assert!(near(found, hz, 0.2), "{} Hz: {:?}", hz, found);
    }

    #[test]
    fn any_samples_are_taken(samples in prop::collection::vec(any::<f32>(), 0..3_000)) {
        let mut detector = ToneDetector::new();
        for _ in 0..10 {
            detector.push(&samples, false);
        }
        prop_assert!(detector.current().is_none_or(f64::is_finite));
    }
}
