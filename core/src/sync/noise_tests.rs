use super::*;

fn power(samples: &[f32]) -> f32 {
    dot(samples, samples) / samples.len() as f32
}

/// White noise through a filter of first order: `tilt` towards 1 is dull, towards -1 is bright.
fn background(frames: usize, level: f32, tilt: f32) -> Vec<f32> {
    let (mut source, mut last) = (ComfortNoise::new(1, 9), 0.0);
    let scale = level * (1.0 - tilt * tilt).sqrt();
    let mut next = || {
        last = last * tilt + source.white() * scale;
        last
    };
    (0..frames).map(|_| next()).collect()
}

/// Correlation of neighbours: the tilt of the spectrum.
fn tilt(samples: &[f32]) -> f32 {
    dot(samples, &samples[1..]) / dot(samples, samples)
}

#[test]
fn noise_has_the_level_and_the_spectrum_of_the_background() {
    for level in [1e-4, 1e-3, 1e-2] {
        for expected in [-0.6, 0.0, 0.5, 0.9] {
            let mut noise = ComfortNoise::new(1, 1);
            noise.observe(&background(48_000, level, expected));
            let mut out = vec![0.0; 48_000];
            noise.fill(&mut out);
            let found = 10.0 * (power(&out) / (level * level)).log10();
            assert!(found.abs() < 1.5, "{level} {expected}: {found} dB");
            assert!((tilt(&out) - expected).abs() < 0.06, "{expected}: {}", tilt(&out));
            let stated = noise.level().unwrap() - 20.0 * level.log10();
            assert!(stated.abs() < 1.5, "{stated}");
        }
    }
}

#[test]
fn speech_above_the_background_is_not_learnt() {
    let mut samples = background(96_000, 1e-3, 0.5);
    for (index, sample) in samples.iter_mut().enumerate() {
        if index % 24_000 > 12_000 {
            *sample += (index as f32 * 0.03).sin() * 0.2;
        }
    }
    let mut noise = ComfortNoise::new(1, 1);
    noise.observe(&samples);
    let level = noise.level().unwrap();
    assert!((level + 60.0).abs() < 1.5, "{level}");
}

#[test]
fn a_louder_background_is_followed_within_seconds_and_speech_alone_never_taken_for_one() {
    let mut noise = ComfortNoise::new(1, 1);
    noise.observe(&background(48_000, 1e-3, 0.5));
    noise.observe(&background(20 * 48_000, 8e-3, 0.5));
    let level = noise.level().unwrap();
    assert!((level + 41.9).abs() < 1.5, "{level}");
    let mut loud = ComfortNoise::new(1, 1);
    loud.observe(&background(48_000, 0.1, 0.5));
    assert_eq!(loud.level(), None);
}

#[test]
fn nothing_learnt_or_silence_gives_silence() {
    let mut noise = ComfortNoise::new(2, 1);
    for _ in 0..2 {
        let mut out = [0.5; 960];
        noise.fill(&mut out);
        assert!(out.iter().all(|&sample| sample == 0.0));
        noise.observe(&[0.0; 9_600]);
    }
    assert_eq!(noise.level(), Some(-100.0));
}

#[test]
fn a_fade_keeps_the_power_of_noise_and_starts_where_it_was() {
    let mut noise = ComfortNoise::new(1, 1);
    let samples = background(48_000, 1e-2, 0.5);
    noise.observe(&samples);
    let mut out = background(9_600, 1e-2, 0.5);
    let before = out.clone();
    noise.blend(&mut out, 0.0, 1.0);
    assert_eq!(out[0], before[0]);
    for part in out.chunks_exact(1_920) {
        let found = 10.0 * (power(part) / 1e-4).log10();
        assert!(found.abs() < 2.0, "{found} dB");
    }
    let kept = before.clone();
    out.clone_from(&before);
    noise.blend(&mut out, 0.0, 0.0);
    assert_eq!(out, kept);
}

#[test]
fn channels_have_levels_of_their_own_and_independent_noise() {
    let (left, right) = (background(48_000, 1e-2, 0.5), background(48_000, 1e-3, 0.5));
    let both: Vec<f32> = left.iter().zip(&right).flat_map(|(&l, &r)| [l, r]).collect();
    let mut noise = ComfortNoise::new(2, 1);
    noise.observe(&both);
    let mut out = vec![0.0; 96_000];
    noise.fill(&mut out);
    let side = |at: usize| -> Vec<f32> { out.iter().skip(at).step_by(2).copied().collect() };
    let (l, r) = (side(0), side(1));
    assert!((10.0 * (power(&l) / 1e-4).log10()).abs() < 1.5);
    assert!((10.0 * (power(&r) / 1e-6).log10()).abs() < 1.5);
    let likeness = dot(&l, &r) / (dot(&l, &l) * dot(&r, &r)).sqrt();
    assert!(likeness.abs() < 0.05, "{likeness}");
}

#[test]
fn equal_seeds_give_equal_noise_in_chunks_of_any_size() {
    let samples = background(24_000, 1e-2, 0.3);
    let made = |seed: u64, chunk: usize| {
        let mut noise = ComfortNoise::new(1, seed);
        samples.chunks(chunk).for_each(|part| noise.observe(part));
        let mut out = vec![0.0; 4_800];
        out.chunks_mut(chunk).for_each(|part| noise.fill(part));
        out
    };
    assert_eq!(made(1, 480), made(1, 480));
    assert_eq!(made(1, 480), made(1, 7));
    assert_ne!(made(1, 480), made(2, 480));
}

#[test]
fn tones_and_broken_samples_leave_it_finite() {
    let tone = |index: usize| (index as f32 * 0.05).sin() * 0.01;
    let mut samples: Vec<f32> = (0..48_000).map(tone).collect();
    samples[100] = f32::NAN;
    samples[5_000] = f32::INFINITY;
    samples.extend([f32::MAX; 480]);
    let mut noise = ComfortNoise::new(1, 1);
    noise.observe(&samples);
    let mut out = vec![0.0; 480_000];
    noise.fill(&mut out);
    let found = 10.0 * (power(&out) / 5e-5).log10();
    assert!(found.abs() < 6.0, "{found} dB");
    noise.blend(&mut [f32::NAN, f32::INFINITY], f32::NAN, 7.0);
    let mut broken = [f32::NAN, f32::NEG_INFINITY, 0.1];
    noise.blend(&mut broken, f32::NAN, f32::INFINITY);
    assert!(broken.iter().all(|sample| sample.is_finite()));
}
