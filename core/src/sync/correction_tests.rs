use proptest::prelude::*;

use super::*;
use crate::trace::state::reread;

/// A sine of `hz` at 48 kHz.
fn sine(hz: f64, count: usize) -> Vec<f32> {
    (0..count)
        .map(|n| (0.5 * (std::f64::consts::TAU * hz * n as f64 / 48_000.0).sin()) as f32)
        .collect()
}

/// All that the whole of `input` gives.
fn run(correction: &mut DriftCorrection, input: &[f32]) -> Vec<f32> {
    let mut output = vec![0.0; input.len() + input.len() / 50 + 64];
    let (taken, given) = correction.process(input, &mut output);
    assert_eq!(taken * correction.channels, input.len());
    output.truncate(given * correction.channels);
    output
}

/// What is left of `signal` without the sine of `radians` per sample that fits best, in dB below it.
fn distortion(signal: &[f32], radians: f64) -> f64 {
    let (mut ss, mut sc, mut cc, mut ys, mut yc) = (0.0, 0.0, 0.0, 0.0, 0.0);
    for (n, y) in signal.iter().enumerate() {
        let ((sin, cos), y) = ((radians * n as f64).sin_cos(), f64::from(*y));
        ss += sin * sin;
        sc += sin * cos;
        cc += cos * cos;
        ys += y * sin;
        yc += y * cos;
    }
    let scale = ss * cc - sc * sc;
    let (a, b) = ((ys * cc - yc * sc) / scale, (yc * ss - ys * sc) / scale);
    let mut rest = 0.0;
    for (n, y) in signal.iter().enumerate() {
        let (sin, cos) = (radians * n as f64).sin_cos();
        rest += (f64::from(*y) - a * sin - b * cos).powi(2);
    }
    10.0 * (rest / (signal.len() as f64 * (a * a + b * b) / 2.0)).log10()
}

#[test]
fn distortion_and_noise_stay_below_100_db() {
    for hz in [997.0, 2_900.0, 6_000.0, 8_000.0, 10_000.0, 12_000.0] {
        for factor in [1.000_1, 0.997] {
            let mut correction = DriftCorrection::new(48_000, 1);
            correction.set_factor(factor).unwrap();
            let output = run(&mut correction, &sine(hz, 12_000));
            let found =
                distortion(&output[5_000..], std::f64::consts::TAU * hz / 48_000.0 * factor);
            assert!(found < -100.0, "{hz} Hz, {factor}: {found:.1} dB");
        }
    }
}

#[test]
fn without_a_correction_the_input_comes_out_bit_by_bit() {
    let input = sine(440.0, 5_000);
    let mut correction = DriftCorrection::new(48_000, 1);
    correction.set_factor(1.000_000_4).unwrap();
    assert!(correction.is_bypassed());
    let output = run(&mut correction, &input);
    assert_eq!(output[..16], [0.0; 16]);
    assert_eq!(output[16..], input[..output.len() - 16]);
}

#[test]
fn after_a_correction_the_input_comes_out_bit_by_bit_again_and_without_a_click() {
    let input = sine(440.0, 96_000);
    let mut correction = DriftCorrection::new(48_000, 1);
    correction.set_factor(1.000_37).unwrap();
    let mut output = run(&mut correction, &input[..20_000]);
    correction.set_factor(1.0).unwrap();
    output.extend(run(&mut correction, &input[20_000..]));
    assert!(correction.is_bypassed());
    let tail = &output[output.len() - 20_000..];
    let at = input.len() - 20_000;
    assert!((0..64).any(|shift| input[at - shift..at - shift + 19_000] == tail[..19_000]));
    // The steepest step of the sine is 0.0288; its beginning is no sine.
    let step = output[64..].windows(2).map(|pair| (pair[1] - pair[0]).abs()).fold(0.0, f32::max);
    assert!(step < 0.029, "{step}");
}

#[test]
fn factors_beyond_one_per_cent_are_refused_and_change_nothing() {
    let mut correction = DriftCorrection::new(48_000, 1);
    correction.set_factor(1.001).unwrap();
    run(&mut correction, &sine(440.0, 9_600));
    for factor in [0.98, 1.02, 0.9899, f64::NAN, f64::INFINITY, -1.0] {
        let error = correction.set_factor(factor).unwrap_err();
        assert!(error.to_string().contains("correction factor"), "{error}");
        assert!((correction.factor() - 1.001).abs() < 1e-12);
    }
    correction.set_factor(0.99).unwrap();
    correction.set_factor(1.01).unwrap();
}

#[test]
fn a_factor_is_reached_after_100_ms_and_another_one_eases_from_where_it_is() {
    let mut correction = DriftCorrection::new(48_000, 1);
    correction.set_factor(1.01).unwrap();
    run(&mut correction, &sine(440.0, 2_400));
    let half = correction.factor();
    assert!((half - 1.005).abs() < 1e-4, "{half}");
    correction.set_factor(0.995).unwrap();
    correction.set_factor(0.995).unwrap();
    run(&mut correction, &[0.0]);
    assert!((correction.factor() - half).abs() < 1e-5);
    run(&mut correction, &sine(440.0, 4_900));
    assert_eq!(correction.factor(), 0.995);
}

#[test]
fn channels_stay_apart() {
    let (left, right) = (sine(440.0, 9_600), sine(1_000.0, 9_600));
    let both: Vec<f32> = left.iter().zip(&right).flat_map(|(l, r)| [*l, *r]).collect();
    let outputs = [(1, &left), (1, &right), (2, &both)].map(|(channels, input)| {
        let mut correction = DriftCorrection::new(48_000, channels);
        correction.set_factor(1.002).unwrap();
        run(&mut correction, input)
    });
    assert_eq!(outputs[2].len(), 2 * outputs[0].len());
    for (n, frame) in outputs[2].chunks(2).enumerate() {
        assert_eq!(frame, [outputs[0][n], outputs[1][n]], "frame {n}");
    }
}

#[test]
fn a_reset_correction_is_a_new_one() {
    let input = sine(440.0, 3_000);
    let mut used = DriftCorrection::new(48_000, 1);
    used.set_factor(1.01).unwrap();
    run(&mut used, &input);
    used.reset();
    assert_eq!(run(&mut used, &input), run(&mut DriftCorrection::new(48_000, 1), &input));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// However a stream is cut, and however much is asked for at once.
    #[test]
    fn chunks_give_what_the_whole_gives(
        factors in prop::collection::vec(0.99_f64..=1.01, 1..4),
        cuts in prop::collection::vec((0_usize..700, 0_usize..700), 1..12),
    ) {
        let input = sine(1_000.0, 4_000);
        let (mut whole, mut parts) = (DriftCorrection::new(48_000, 1), DriftCorrection::new(48_000, 1));
        for factor in factors {
            whole.set_factor(factor).unwrap();
            parts.set_factor(factor).unwrap();
            let expected = run(&mut whole, &input);
            let (mut found, mut rest) = (Vec::<f32>::new(), &input[..]);
            for (size, room) in cuts.iter().copied().chain([(4_000, 6_000)]) {
                let mut output = vec![0.0; room];
                let (taken, given) = parts.process(&rest[..size.min(rest.len())], &mut output);
                rest = &rest[taken..];
                found.extend(&output[..given]);
            }
            prop_assert!(rest.is_empty());
            prop_assert_eq!(found, expected);
        }
    }

    /// Samples in are samples out times the mean factor, and the factor is never a leap.
    #[test]
    fn no_sample_is_lost_and_the_factor_has_no_leaps(factors in prop::collection::vec(0.99_f64..=1.01, 1..20)) {
        let mut correction = DriftCorrection::new(48_000, 1);
        let (mut wanted, mut taken, mut before) = (0.0, 0, 1.0);
        for factor in factors.into_iter().chain([1.0]) {
            correction.set_factor(factor).unwrap();
            for _ in 0..700 {
                let mut output = [0.0];
                let (used, given) = correction.process(&[0.1; 3], &mut output);
                prop_assert_eq!(given, 1);
                taken += used;
                let now = correction.factor();
                prop_assert!((0.99..=1.01).contains(&now) && (now - before).abs() <= 0.01 / 4_800.0 * 1.001);
                (wanted, before) = (wanted + now, now);
            }
        }
        let held = (correction.filled - correction.frame()) as f64;
        // 31 frames of silence were there first; a frame is used up from the position on.
        prop_assert!((taken as f64 + 31.0 - held - wanted).abs() <= 2.0, "{taken} {held} {wanted}");
    }

    #[test]
    fn no_input_makes_it_panic(
        rate: u32,
        channels in 0_usize..9,
        factors in prop::collection::vec(any::<f64>(), 0..4),
        samples in prop::collection::vec(any::<f32>(), 0..300),
    ) {
        let mut correction = DriftCorrection::new(rate, channels);
        for factor in factors {
            let _ = correction.set_factor(factor);
            let mut output = [0.0; 200];
            let (taken, given) = correction.process(&samples, &mut output);
            prop_assert!(taken * channels.max(1) <= samples.len() && given * channels.max(1) <= 200);
        }
    }
}

#[test]
fn what_is_read_goes_on() {
    let made = || {
        let mut correction = DriftCorrection::new(48_000, 2);
        correction.set_factor(1.0 + MOST).unwrap();
        run(&mut correction, &vec![0.1; 20_000]);
        correction
    };
    assert!(reread(&made()).is_ok());
    let changes: [fn(&mut DriftCorrection); 7] = [
        |correction| correction.channels = 0,
        |correction| correction.channels = usize::MAX,
        |correction| correction.history = Box::default(),
        |correction| correction.filled = usize::MAX,
        |correction| correction.phase = u64::MAX,
        |correction| correction.ratio = 0.0,
        |correction| correction.target = f64::NAN,
    ];
    for (nth, change) in changes.into_iter().enumerate() {
        let mut correction = made();
        change(&mut correction);
        assert!(reread(&correction).is_err(), "{nth}");
    }
}
