use super::*;
use crate::sync::Command;

const RATE: f32 = 48_000.0;

fn sine(frames: usize, hz: f32, phase: f32) -> Vec<f32> {
    let sample = |index: usize| (index as f32 / RATE * hz * std::f32::consts::TAU + phase).sin();
    (0..frames).map(|index| sample(index) * 0.5).collect()
}

fn drain(stretcher: &mut Stretcher) -> Vec<f32> {
    let mut out = vec![0.0; 20_000];
    let count = stretcher.pull(&mut out, Command::Normal);
    out.truncate(count);
    out
}

fn largest_jump(samples: &[f32]) -> f32 {
    samples.windows(2).map(|pair| (pair[1] - pair[0]).abs()).fold(0.0, f32::max)
}

fn assert_books(stretcher: &Stretcher) {
    let found = stretcher.statistics();
    assert_eq!(
        found.pulled + found.removed + stretcher.waiting() as u64,
        found.pushed + found.inserted
    );
}

#[test]
fn a_tone_goes_on_in_phase_wherever_it_broke_off() {
    for hz in [100.0, 150.0, 321.0, 1_000.0] {
        for sixth in 0..6 {
            let mut stretcher = Stretcher::new(1);
            stretcher.push(&sine(2_400, hz, 0.0));
            let phase = sixth as f32 * std::f32::consts::TAU / 6.0;
            assert_eq!(stretcher.join(&sine(960, hz, phase), usize::MAX), 960);
            assert_books(&stretcher);
            let found = stretcher.statistics();
            assert_eq!((found.pushed, found.joined), (3_360, 1));
            assert!(found.inserted.max(found.removed) <= 360, "{hz}: {found:?}");
            let out = drain(&mut stretcher);
            let twice = 2.0 * (f64::from(hz / RATE) * std::f64::consts::TAU).cos();
            for (index, w) in out.windows(3).enumerate() {
                let error = f64::from(w[0]) + f64::from(w[2]) - twice * f64::from(w[1]);
                assert!(error.abs() < 4e-3, "{hz} {sixth} {index}: {error}");
            }
        }
    }
}

#[test]
fn what_is_unlike_is_faded_over_without_a_click_and_without_a_shift() {
    let low = sine(2_400, 300.0, 0.7);
    for (name, new) in [
        ("another tone", sine(960, 1_234.5, 1.5)),
        ("silence", vec![0.0; 960]),
        ("a constant", vec![-0.4; 960]),
    ] {
        let mut stretcher = Stretcher::new(1);
        stretcher.push(&low);
        assert_eq!(stretcher.join(&new, usize::MAX), 960);
        let found = stretcher.statistics();
        assert_eq!((found.inserted, found.removed, found.joined), (0, 0, 1), "{name}");
        let out = drain(&mut stretcher);
        assert_eq!(out.len(), 3_360);
        assert_eq!(out[..2_400], low);
        assert_eq!(out[2_400 + FADE..], new[FADE..], "{name}");
        let natural = largest_jump(&low).max(largest_jump(&new));
        assert!(largest_jump(&out) <= natural * 1.3, "{name}: {}", largest_jump(&out));
    }
}

#[test]
fn the_end_of_speech_is_no_step_after_silence() {
    let mut stretcher = Stretcher::new(1);
    stretcher.push(&[0.0; 2_400]);
    stretcher.join(&sine(960, 200.0, 1.5), usize::MAX);
    let out = drain(&mut stretcher);
    assert!(largest_jump(&out) < 0.02, "{}", largest_jump(&out));
}

#[test]
fn channels_stay_together() {
    let stereo = |mono: Vec<f32>| -> Vec<f32> {
        mono.into_iter().flat_map(|sample| [sample, -sample]).collect()
    };
    let mut stretcher = Stretcher::new(2);
    stretcher.push(&stereo(sine(2_400, 200.0, 0.0)));
    assert_eq!(stretcher.join(&stereo(sine(960, 200.0, 2.0)), usize::MAX), 960);
    assert_books(&stretcher);
    let found = stretcher.statistics();
    assert!(found.inserted + found.removed > 0);
    let out = drain(&mut stretcher);
    assert!(out.chunks_exact(2).all(|frame| frame[0] == -frame[1]));
}

#[test]
fn little_or_broken_input_is_taken_too() {
    let cases: [(&str, usize, Vec<f32>); 5] = [
        ("nothing before", 0, vec![0.1; 960]),
        ("little before", 119, vec![0.1; 960]),
        ("nothing new", 2_400, vec![]),
        ("little new", 2_400, vec![0.1; 120]),
        ("one sample", 2_400, vec![0.1]),
    ];
    for (name, before, new) in cases {
        let mut stretcher = Stretcher::new(1);
        stretcher.push(&vec![-0.1; before]);
        assert_eq!(stretcher.join(&new, usize::MAX), new.len(), "{name}");
        assert_books(&stretcher);
        assert_eq!(drain(&mut stretcher).len(), before + new.len(), "{name}");
    }
    let mut stretcher = Stretcher::new(1);
    stretcher.push(&sine(2_400, 200.0, 0.0));
    let mut broken = sine(960, 200.0, 1.0);
    for (index, bad) in [(0, f32::NAN), (100, f32::INFINITY), (900, f32::NAN)] {
        broken[index] = bad;
    }
    assert_eq!(stretcher.join(&broken, usize::MAX), 960);
    assert_eq!(stretcher.statistics().invalid, 3);
    assert!(drain(&mut stretcher).iter().all(|sample| sample.abs() < 1.0));
}

#[test]
fn a_full_stretcher_takes_what_fits() {
    let mut stretcher = Stretcher::new(1);
    let mut taken = 0;
    for _ in 0..40 {
        taken += stretcher.join(&sine(960, 200.0, 1.0), usize::MAX);
        assert_books(&stretcher);
    }
    assert_eq!(taken as u64, stretcher.statistics().pushed);
    assert!(taken < 40 * 960 && stretcher.room() < FADE + LONGEST_SHIFT);
}

#[test]
fn no_more_is_left_out_than_is_allowed() {
    // Whatever the phases are, one of both directions would do.
    for most in [0, 20, 60] {
        for sixth in 0..6 {
            let mut stretcher = Stretcher::new(1);
            stretcher.push(&sine(2_400, 150.0, 0.0));
            let phase = sixth as f32 * std::f32::consts::TAU / 6.0;
            assert_eq!(stretcher.join(&sine(960, 150.0, phase), most), 960);
            assert_books(&stretcher);
            let found = stretcher.statistics();
            assert!(found.removed <= most as u64, "{most}: {found:?}");
            assert!(largest_jump(&drain(&mut stretcher)) < 0.03, "{most} at {sixth}");
        }
    }
}
