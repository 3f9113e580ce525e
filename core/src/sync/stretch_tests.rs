use proptest::prelude::*;

use super::*;
use crate::sync::reel::WAITING;

const RATE: f32 = 48_000.0;
const COMMANDS: [Command; 4] =
    [Command::Normal, Command::Shrink, Command::ShrinkFast, Command::Grow];

fn noise(state: &mut u64) -> f32 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 40) as f32 / (1 << 23) as f32 - 1.0
}

/// Pulses of a voice through a formant, with pauses of noise 50 dB below.
fn voice(frames: usize) -> Vec<f32> {
    let (mut state, mut phase, mut low, mut band) = (7, 0.0_f32, 0.0_f32, 0.0_f32);
    let mut samples = Vec::with_capacity(frames);
    for index in 0..frames {
        let time = index as f32 / RATE;
        let loud = (time * 3.0).fract() < 0.7;
        let pitch = 120.0 + 30.0 * (time * 2.0).sin();
        phase += pitch / RATE;
        let pulse = if phase >= 1.0 { 1.0 } else { 0.0 };
        phase = phase.fract();
        let input = noise(&mut state) * 0.001 + if loud { pulse } else { 0.0 };
        low += 0.08 * band;
        band += 0.08 * (input * 8.0 - low - 0.15 * band);
        samples.push(low * 0.5);
    }
    samples
}

fn sine(frames: usize, frequency: f32) -> Vec<f32> {
    let step = f64::from(frequency) / f64::from(RATE) * std::f64::consts::TAU;
    (0..frames).map(|index| (index as f64 * step).sin() as f32 * 0.5).collect()
}

fn sweep(frames: usize) -> Vec<f32> {
    let mut phase = 0.0_f64;
    let mut samples = Vec::with_capacity(frames);
    for index in 0..frames {
        let frequency = 80.0 * 50.0_f64.powf(index as f64 / frames as f64);
        phase += frequency / f64::from(RATE);
        samples.push(((phase * std::f64::consts::TAU).sin() * 0.5) as f32);
    }
    samples
}

/// Plays all of it: keeps some 60 ms waiting, pulls chunks of that many frames.
fn play(
    stretcher: &mut Stretcher,
    samples: &[f32],
    channels: usize,
    chunk: usize,
    mut command: impl FnMut(usize) -> Command,
) -> Vec<f32> {
    let (mut out, mut rest, mut calls) = (Vec::new(), samples, 0);
    let mut buffer = vec![0.0; chunk * channels];
    loop {
        while stretcher.waiting() < 2_880.max(chunk + 1_440) && !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(960 * channels));
            assert_eq!(stretcher.push(now), now.len() / channels);
            rest = later;
        }
        let count = stretcher.pull(&mut buffer, command(calls));
        calls += 1;
        out.extend_from_slice(&buffer[..count * channels]);
        assert_books(stretcher);
        if count == 0 {
            return out;
        }
    }
}

fn assert_books(stretcher: &Stretcher) {
    let found = stretcher.statistics();
    assert_eq!(
        found.pulled + found.removed + stretcher.waiting() as u64,
        found.pushed + found.inserted,
        "{found:?}"
    );
}

fn largest_jump(samples: &[f32]) -> f32 {
    samples.windows(2).map(|pair| (pair[1] - pair[0]).abs()).fold(0.0, f32::max)
}

fn rms(samples: &[f32]) -> f32 {
    (samples.iter().map(|sample| sample * sample).sum::<f32>() / samples.len() as f32).sqrt()
}

#[test]
fn what_comes_is_played_bit_for_bit_when_nothing_is_asked_for() {
    let samples = voice(48_000);
    for chunk in [1, 7, 480, 1_000] {
        let mut stretcher = Stretcher::new(1);
        assert_eq!(play(&mut stretcher, &samples, 1, chunk, |_| Command::Normal), samples);
    }
}

#[test]
fn speech_is_shrunk_and_grown_without_clicks_at_every_chunk_size() {
    let samples = voice(48_000);
    let natural = largest_jump(&samples);
    for chunk in [1, 480, 2_041] {
        for command in [Command::Shrink, Command::ShrinkFast, Command::Grow] {
            let mut stretcher = Stretcher::new(1);
            let out = play(&mut stretcher, &samples, 1, chunk, |_| command);
            let found = stretcher.statistics();
            let change = out.len() as f32 / samples.len() as f32;
            match command {
                Command::Grow => assert!(change > 1.08 && found.removed == 0, "{change}"),
                Command::Shrink => assert!(change < 0.92 && found.inserted == 0, "{change}"),
                _ => assert!(change < 0.7 && found.inserted == 0, "{change}"),
            }
            assert!(found.in_pauses > 0, "{found:?}");
            let jump = largest_jump(&out);
            assert!(jump <= natural * 1.1, "{command:?} {chunk}: {jump} over {natural}");
        }
    }
}

#[test]
fn the_size_of_the_chunks_that_are_pulled_changes_nothing() {
    let samples = voice(WAITING);
    for command in COMMANDS {
        let mut found = [1, 13, 480, WAITING].map(|chunk| {
            let mut stretcher = Stretcher::new(1);
            assert_eq!(stretcher.push(&samples), samples.len());
            let (mut out, mut buffer) = (Vec::new(), vec![0.0; chunk]);
            loop {
                let count = stretcher.pull(&mut buffer, command);
                out.extend_from_slice(&buffer[..count]);
                if count == 0 {
                    return out;
                }
            }
        });
        let first = std::mem::take(&mut found[0]);
        assert_eq!(first.len() == WAITING, command == Command::Normal);
        for other in &found[1..] {
            assert!(*other == first, "{command:?}");
        }
    }
}

#[test]
fn a_sweep_keeps_its_level_and_has_no_clicks() {
    let samples = sweep(48_000);
    for command in [Command::Shrink, Command::ShrinkFast, Command::Grow] {
        for chunk in [17, 480] {
            let mut stretcher = Stretcher::new(1);
            let out = play(&mut stretcher, &samples, 1, chunk, |_| command);
            assert_ne!(out.len(), samples.len());
            assert!(largest_jump(&out) <= largest_jump(&samples) * 1.1);
            for (index, block) in out[480..].chunks_exact(1_440).enumerate() {
                let level = rms(block) / (0.5 * 0.5_f32.sqrt());
                assert!((0.85..1.15).contains(&level), "{command:?} {index}: {level}");
            }
        }
    }
}

#[test]
fn whole_periods_of_tones_are_taken() {
    for frequency in [70.0, 100.0, 233.1, 440.0, 997.0, 1_000.0, 3_521.0, 4_000.0, 7_993.0] {
        let samples = sine(14_400, frequency);
        for command in [Command::Shrink, Command::Grow] {
            let mut stretcher = Stretcher::new(1);
            let out = play(&mut stretcher, &samples, 1, 480, |_| command);
            let found = stretcher.statistics();
            assert!(found.grown + found.shrunk > 3, "{frequency}: {found:?}");
            assert_eq!(found.in_pauses, 0);
            // x[n+1] + x[n-1] = 2 cos(w) x[n] holds for a sine of whatever phase.
            let twice = 2.0 * (f64::from(frequency / RATE) * std::f64::consts::TAU).cos();
            let error = out
                .windows(3)
                .map(|w| f64::from(w[0]) + f64::from(w[2]) - twice * f64::from(w[1]))
                .fold(0.0_f64, |worst, error| worst.max(error.abs()));
            assert!(error < 2e-3, "{frequency} {command:?}: {error}");
        }
    }
}

#[test]
fn what_never_resembles_itself_is_left_alone() {
    let mut state = 3;
    let samples: Vec<f32> = (0..14_400).map(|_| noise(&mut state) * 0.3).collect();
    for command in [Command::Trim, Command::Shrink, Command::ShrinkFast, Command::Grow] {
        let mut stretcher = Stretcher::new(1);
        assert_eq!(play(&mut stretcher, &samples, 1, 480, |_| command), samples, "{command:?}");
    }
}

#[test]
fn an_onset_after_a_pause_is_not_touched() {
    let mut state = 5;
    let mut samples: Vec<f32> = (0..9_600).map(|_| noise(&mut state) * 1e-3).collect();
    samples.extend(sine(1_000, 300.0));
    samples.extend((0..9_600).map(|_| noise(&mut state) * 1e-3));
    let onset: Vec<f32> = samples[9_600..10_600].to_vec();
    for command in [Command::Shrink, Command::Grow] {
        let mut stretcher = Stretcher::new(1);
        let out = play(&mut stretcher, &samples, 1, 480, |_| command);
        assert!(stretcher.statistics().in_pauses > 3);
        let loud: Vec<f32> = out.iter().copied().filter(|sample| sample.abs() > 2e-3).collect();
        let expected: Vec<f32> =
            onset.iter().copied().filter(|sample| sample.abs() > 2e-3).collect();
        if command == Command::Shrink {
            assert!(loud.len() >= expected.len() - 320 && loud.len() <= expected.len());
        } else {
            assert!(loud.len() >= expected.len() && loud.len() <= expected.len() + 1_440);
        }
    }
}

#[test]
fn speech_is_trimmed_in_its_pauses_alone_and_what_has_none_after_a_while() {
    let mut stretcher = Stretcher::new(1);
    let samples = voice(96_000);
    let out = play(&mut stretcher, &samples, 1, 480, |_| Command::Trim);
    let found = stretcher.statistics();
    assert!(found.shrunk > 3 && found.in_pauses == found.shrunk, "{found:?}");
    assert!(out.len() < samples.len());

    let mut stretcher = Stretcher::new(1);
    let tone = sine(480_000, 300.0);
    play(&mut stretcher, &tone[..PAUSE_PATIENCE], 1, 480, |_| Command::Trim);
    assert_eq!(stretcher.statistics().shrunk, 0);
    play(&mut stretcher, &tone[PAUSE_PATIENCE..], 1, 480, |_| Command::Trim);
    assert!(stretcher.statistics().shrunk > 0);
}

#[test]
fn both_channels_are_cut_at_the_same_places() {
    let left = voice(24_000);
    let interleaved: Vec<f32> = left.iter().flat_map(|&sample| [sample, -sample]).collect();
    for command in [Command::Shrink, Command::ShrinkFast, Command::Grow] {
        let mut stereo = Stretcher::new(2);
        let out = play(&mut stereo, &interleaved, 2, 480, |_| command);
        let mut mono = Stretcher::new(1);
        let alone = play(&mut mono, &left, 1, 480, |_| command);
        assert!(stereo.statistics().shrunk + stereo.statistics().grown > 3);
        // What is in the difference alone counts as much as what is in the sum.
        assert_eq!(out.len(), 2 * alone.len());
        assert!(out.chunks_exact(2).all(|frame| frame[0] == -frame[1]));
    }
}

#[test]
fn silence_and_a_constant_stay_what_they_are() {
    for value in [0.0, 1e-6, 0.25, -1.0] {
        for command in [Command::Shrink, Command::ShrinkFast, Command::Grow] {
            let mut stretcher = Stretcher::new(1);
            let out = play(&mut stretcher, &[value; 24_000], 1, 480, |_| command);
            assert_ne!(out.len(), 24_000);
            assert!(out.iter().all(|sample| (sample - value).abs() <= value.abs() * 1e-6));
        }
    }
}

#[test]
fn what_is_no_number_is_counted_and_silent() {
    let mut samples = voice(24_000);
    for (index, bad) in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY].into_iter().enumerate() {
        samples[7_000 + 500 * index] = bad;
    }
    samples[9_000] = f32::MAX;
    for command in COMMANDS {
        let mut stretcher = Stretcher::new(1);
        let out = play(&mut stretcher, &samples, 1, 480, |_| command);
        assert_eq!(stretcher.statistics().invalid, 3);
        assert!(out.iter().all(|sample| sample.abs() <= 16.0));
    }
}

#[test]
fn a_full_stretcher_takes_no_more_and_an_empty_one_gives_none() {
    for channels in [1, 2] {
        let mut stretcher = Stretcher::new(channels);
        let mut out = [9.0; 10];
        assert_eq!(stretcher.pull(&mut out, Command::Grow), 0);
        assert_eq!(out, [9.0; 10]);
        let much = vec![0.1; (WAITING + 100) * channels];
        assert_eq!(stretcher.push(&much), WAITING);
        assert_eq!((stretcher.room(), stretcher.push(&much)), (0, 0));
        assert_eq!(stretcher.pull(&mut out[..2 * channels - 1], Command::Normal), 1);
        assert_eq!(stretcher.room(), 1);
        stretcher.reset();
        assert_eq!(stretcher.statistics(), StretchStatistics::default());
        assert_eq!((stretcher.waiting(), stretcher.room()), (0, WAITING));
    }
}

#[test]
fn a_million_random_calls_need_no_more_memory() {
    let mut stretcher = Stretcher::new(1);
    let capacity = stretcher.reel.capacity();
    let source = voice(WAITING);
    let (mut state, mut at, mut out) = (11, 0, [0.0; 64]);
    let mut command = Command::Normal;
    for call in 0..1_000_000 {
        let draw = ((noise(&mut state) + 1.0) * 500.0) as usize;
        if draw < 480 {
            let end = (at + draw / 30).min(source.len());
            let taken = stretcher.push(&source[at..end]);
            at = if end == source.len() { 0 } else { at + taken };
        } else if draw < 999 {
            stretcher.pull(&mut out[..(draw - 480) / 33], command);
        } else {
            command = COMMANDS[call % 4];
        }
        if call % 1_000 == 0 {
            assert_books(&stretcher);
        }
    }
    assert!(stretcher.statistics().shrunk + stretcher.statistics().grown > 100);
    assert_eq!(stretcher.reel.capacity(), capacity);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_books_balance_and_nothing_clicks_whatever_is_called(
        channels in 1_usize..=2,
        calls in prop::collection::vec((0_usize..1_200, 0_usize..1_200, 0_usize..4), 1..60),
    ) {
        let mono = voice(72_000);
        let source: Vec<f32> =
            mono.iter().flat_map(|&sample| [sample, sample * 0.5].into_iter().take(channels)).collect();
        let mut stretcher = Stretcher::new(channels);
        let (mut at, mut played) = (0, Vec::new());
        let mut out = [0.0; 2_400];
        for (push, pull, command) in calls {
            let end = (at + push * channels).min(source.len());
            at += stretcher.push(&source[at..end]) * channels;
            let before = stretcher.waiting();
            let count = stretcher.pull(&mut out[..pull * channels], COMMANDS[command]);
            prop_assert!(count == pull || stretcher.waiting() == 0);
            prop_assert!(count <= pull && (count > 0 || pull == 0 || before == 0));
            played.extend(out[..count * channels].iter().copied().step_by(channels));
            assert_books(&stretcher);
        }
        if !played.is_empty() {
            prop_assert!(largest_jump(&played) <= largest_jump(&mono) * 1.1);
        }
    }
}
