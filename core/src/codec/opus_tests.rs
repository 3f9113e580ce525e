use proptest::prelude::*;

use super::*;
use crate::codec::signal::{peak_at, rms, sine, speech};
use crate::codec::{
    MAX_PACKET_BYTES, MAX_PACKET_SAMPLES, opus_packet_duration, opus_packet_has_fec,
};

const FRAME: Duration = Duration::from_millis(20);

fn packets(settings: &OpusSettings, pcm: &[f32]) -> Vec<Vec<u8>> {
    let mut encoder = OpusEncoder::new(settings.clone()).unwrap();
    let mut out = [0; MAX_PACKET_BYTES];
    pcm.chunks_exact(settings.frame_samples() * settings.channels.count())
        .map(|frame| {
            let size = encoder.encode(frame, &mut out).unwrap();
            out[..size].to_vec()
        })
        .collect()
}

fn decoded(channels: Channels, packets: &[Vec<u8>]) -> Vec<f32> {
    let mut decoder = OpusDecoder::new(channels).unwrap();
    let mut out = [0.0; MAX_PACKET_SAMPLES * 2];
    let mut all = Vec::new();
    for packet in packets {
        let count = decoder.decode(packet, &mut out).unwrap();
        all.extend_from_slice(&out[..count * channels.count()]);
    }
    all
}

fn settings(change: impl FnOnce(&mut OpusSettings)) -> OpusSettings {
    let mut settings = OpusSettings::default();
    change(&mut settings);
    settings
}

#[test]
fn a_tone_comes_back_at_its_frequency_and_level() {
    let music = settings(|s| {
        s.application = Application::Audio;
        s.bitrate = 96_000;
    });
    for hz in [200.0, 1000.0, 3000.0] {
        let tone = decoded(Channels::Mono, &packets(&music, &sine(hz, 0.5, 48_000, 48_000)));
        assert_eq!(tone.len(), 48_000);
        let steady = &tone[9_600..];
        let level = peak_at(steady, hz, 48_000);
        assert!((level - 0.5).abs() < 0.02, "{hz} Hz came back with a peak of {level}");
        assert!(peak_at(steady, hz * 1.5, 48_000) < 0.01, "other frequencies next to {hz} Hz");
    }
}

#[test]
fn stereo_keeps_its_sides_apart() {
    let stereo = settings(|s| {
        s.channels = Channels::Stereo;
        s.application = Application::Audio;
        s.bitrate = 128_000;
    });
    let (left, right) = (sine(440.0, 0.4, 48_000, 48_000), sine(1500.0, 0.4, 48_000, 48_000));
    let both: Vec<f32> = left.into_iter().zip(right).flat_map(|(l, r)| [l, r]).collect();
    let out = decoded(Channels::Stereo, &packets(&stereo, &both));
    let side = |n: usize| out.iter().skip(19_200 + n).step_by(2).copied().collect::<Vec<_>>();
    let (left, right) = (side(0), side(1));
    assert!(peak_at(&left, 440.0, 48_000) > 0.35 && peak_at(&left, 1500.0, 48_000) < 0.03);
    assert!(peak_at(&right, 1500.0, 48_000) > 0.35 && peak_at(&right, 440.0, 48_000) < 0.03);
}

#[test]
fn fec_recovers_what_concealment_can_only_guess() {
    let voice = settings(|s| s.expected_loss_percent = 20);
    let sent = speech(48_000 * 2);
    let packets = packets(&voice, &sent);
    let whole = decoded(Channels::Mono, &packets);
    let (mut by_fec, mut by_guess, mut with_fec) = (0.0, 0.0, 0);
    for lost in (10..90).step_by(4) {
        let error = |fec: bool| {
            let mut decoder = OpusDecoder::new(Channels::Mono).unwrap();
            let mut out = [0.0; MAX_PACKET_SAMPLES];
            for packet in &packets[..lost] {
                decoder.decode(packet, &mut out).unwrap();
            }
            let count = if fec {
                decoder.decode_fec(&packets[lost + 1], FRAME, &mut out).unwrap()
            } else {
                decoder.conceal(FRAME, &mut out).unwrap()
            };
            assert_eq!(count, 960);
            let truth = &whole[lost * 960..][..960];
            let difference: Vec<f32> = out.iter().zip(truth).map(|(a, b)| a - b).collect();
            rms(&difference)
        };
        with_fec += usize::from(opus_packet_has_fec(&packets[lost + 1]));
        by_fec += error(true);
        by_guess += error(false);
    }
    assert!(with_fec >= 15, "of 20 packets only {with_fec} carried FEC");
    assert!(by_fec < 0.7 * by_guess, "FEC {by_fec} against concealment {by_guess}");
}

#[test]
fn without_fec_no_packet_claims_to_carry_any() {
    let bare = settings(|s| s.fec = false);
    assert!(!packets(&bare, &speech(48_000)).iter().any(|packet| opus_packet_has_fec(packet)));
}

#[test]
fn concealment_goes_on_and_then_fades() {
    let mut decoder = OpusDecoder::new(Channels::Mono).unwrap();
    let mut out = [0.0; MAX_PACKET_SAMPLES];
    for packet in packets(&OpusSettings::default(), &speech(48_000)) {
        decoder.decode(&packet, &mut out).unwrap();
    }
    let before = rms(&out[..960]);
    decoder.conceal(FRAME, &mut out).unwrap();
    let first = rms(&out[..960]);
    assert!(first > 0.3 * before, "the first lost frame goes on: {first} after {before}");
    for _ in 0..50 {
        decoder.conceal(FRAME, &mut out).unwrap();
    }
    let last = rms(&out[..960]);
    assert!(last < 0.1 * before, "after a second it has faded: {last} after {before}");
}

#[test]
fn dtx_makes_silence_cheap() {
    let quiet = settings(|s| s.dtx = true);
    let mut pcm = speech(48_000);
    pcm.resize(48_000 * 3, 0.0);
    let unsent = |settings: &OpusSettings| {
        packets(settings, &pcm).iter().filter(|packet| packet.len() <= 2).count()
    };
    assert!(unsent(&quiet) > 70, "of 100 silent frames {} need no packet", unsent(&quiet));
    assert_eq!(unsent(&OpusSettings::default()), 0);
}

#[test]
fn settings_change_while_it_runs() {
    let mut encoder = OpusEncoder::new(OpusSettings::default()).unwrap();
    let mut out = [0; MAX_PACKET_BYTES];
    let pcm = speech(48_000);
    let mut total = |encoder: &mut OpusEncoder| -> usize {
        pcm.chunks_exact(960).map(|frame| encoder.encode(frame, &mut out).unwrap()).sum()
    };
    let at_32k = total(&mut encoder);
    encoder.configure(&settings(|s| s.bitrate = 12_000)).unwrap();
    let at_12k = total(&mut encoder);
    encoder.configure(&settings(|s| s.bitrate = 128_000)).unwrap();
    let at_128k = total(&mut encoder);
    assert!(at_12k * 2 < at_32k && at_32k * 2 < at_128k, "{at_12k} {at_32k} {at_128k}");

    assert_eq!(encoder.configure(&settings(|s| s.bitrate = 1)).unwrap_err().field, "bitrate");
    assert_eq!(encoder.settings().bitrate, 128_000, "a refused change changes nothing");

    encoder.configure(&settings(|s| s.channels = Channels::Stereo)).unwrap();
    assert!(encoder.encode(&[0.1; 1920], &mut out).is_ok());
    let error = encoder.encode(&[0.1; 960], &mut out).unwrap_err();
    assert!(error.to_string().contains("pcm"), "{error}");
}

#[test]
fn every_frame_duration_is_told_by_its_header() {
    for millis in [10, 20, 40, 60] {
        let settings = settings(|s| s.frame_duration = Duration::from_millis(millis));
        for packet in packets(&settings, &speech(48_000)) {
            assert_eq!(opus_packet_duration(&packet), Some(Duration::from_millis(millis)));
        }
    }
}

#[test]
fn impossible_durations_are_refused() {
    let mut decoder = OpusDecoder::new(Channels::Mono).unwrap();
    let mut out = [0.0; MAX_PACKET_SAMPLES];
    for duration in [Duration::ZERO, Duration::from_millis(7), Duration::from_millis(140)] {
        assert_eq!(decoder.conceal(duration, &mut out), Err(CodecError::InvalidDuration(duration)));
    }
    assert!(decoder.conceal(FRAME, &mut out[..10]).is_err(), "no room");
    assert!(decoder.decode(&[], &mut out).is_err());
    assert!(decoder.decode_fec(&[], FRAME, &mut out).is_err());
}

#[cfg(feature = "dred")]
mod deep {
    use super::*;
    use crate::config::Concealment;

    /// How far the levels at 40 frequencies are from each other, in the root mean square of dB over all frames
    /// of 20 ms.
    fn spectral_distance(heard: &[f32], sent: &[f32]) -> f64 {
        let level = |frame: &[f32], hz: u32| {
            10.0 * (peak_at(frame, f64::from(hz), 48_000).powi(2) + 1e-8).log10()
        };
        let frames = heard.chunks_exact(960).zip(sent.chunks_exact(960));
        let squares: Vec<f64> = frames
            .flat_map(|(a, b)| {
                (1..=40).map(move |n| (level(a, 100 * n) - level(b, 100 * n)).powi(2))
            })
            .collect();
        (squares.iter().sum::<f64>() / squares.len() as f64).sqrt()
    }

    #[derive(Clone, Copy, PartialEq, Debug)]
    enum By {
        Guess,
        DeepGuess,
        Redundancy,
    }

    /// The distance over bursts of so many packets, and the packets' own frames behind them.
    fn distance(settings: &OpusSettings, burst: usize, by: By) -> f64 {
        let sent = speech(48_000 * 4);
        let packets = packets(settings, &sent);
        let whole = decoded(Channels::Mono, &packets);
        let (mut heard, mut truth) = (Vec::new(), Vec::new());
        for first in (20..180).step_by(16) {
            let mut decoder = OpusDecoder::new(Channels::Mono).unwrap();
            if by == By::DeepGuess {
                decoder.set_concealment(Concealment::Deep);
            }
            let mut out = [0.0; MAX_PACKET_SAMPLES];
            for packet in &packets[first - 15..first] {
                decoder.decode(packet, &mut out).unwrap();
            }
            let next = &packets[first + burst];
            if by == By::Redundancy {
                let reach = decoder.recoverable(next);
                assert!(reach >= FRAME * burst as u32, "{reach:?}");
            }
            for left in (1..=burst as u32).rev() {
                let count = match by {
                    By::Redundancy => decoder.recover(next, FRAME * left, FRAME, &mut out),
                    _ => decoder.conceal(FRAME, &mut out),
                };
                assert_eq!(count, Ok(960));
                heard.extend_from_slice(&out[..960]);
            }
            truth.extend_from_slice(&whole[first * 960..(first + burst) * 960]);
            decoder.decode(next, &mut out).unwrap();
        }
        spectral_distance(&heard, &truth)
    }

    #[test]
    fn redundancy_tells_how_a_burst_of_losses_sounded() {
        let settings = settings(|s| {
            (s.dred_ms, s.bitrate, s.fec, s.expected_loss_percent) = (200, 48_000, false, 20);
        });
        for burst in [3, 4, 5] {
            let [guess, deep, redundancy] =
                [By::Guess, By::DeepGuess, By::Redundancy].map(|by| distance(&settings, burst, by));
            assert!(redundancy < 0.8 * guess, "{burst} lost: {redundancy} against {guess} dB");
            assert!(redundancy < deep, "{burst} lost: {redundancy} against {deep} dB");
        }
    }

    #[test]
    fn a_hole_can_be_recovered_in_pieces_of_any_10_ms() {
        let settings = settings(|s| {
            (s.dred_ms, s.bitrate, s.fec, s.expected_loss_percent) = (300, 64_000, false, 20);
        });
        let packets = packets(&settings, &speech(48_000));
        let mut out = [0.0; MAX_PACKET_SAMPLES];
        for pieces in [vec![230], vec![120, 110], vec![10; 23], vec![100, 30, 60, 40]] {
            let mut decoder = OpusDecoder::new(Channels::Mono).unwrap();
            for packet in &packets[..28] {
                decoder.decode(packet, &mut out).unwrap();
            }
            let mut left = 230;
            for piece in pieces {
                let millis = Duration::from_millis;
                let result = decoder.recover(&packets[40], millis(left), millis(piece), &mut out);
                let expected = match piece {
                    230 => Err(CodecError::InvalidDuration(millis(230))),
                    piece => Ok(piece as usize * 48),
                };
                assert_eq!(result, expected);
                left -= piece;
            }
            decoder.decode(&packets[40], &mut out).unwrap();
            assert!(rms(&out[..960]) > 0.01);
        }
    }

    #[test]
    fn what_does_not_reach_back_so_far_is_made_up() {
        let plain = packets(&OpusSettings::default(), &speech(48_000));
        let mut decoder = OpusDecoder::new(Channels::Mono).unwrap();
        let mut out = [0.0; MAX_PACKET_SAMPLES];
        decoder.decode(&plain[19], &mut out).unwrap();
        assert_eq!(decoder.recover(&plain[25], FRAME * 5, FRAME, &mut out), Ok(960));
        assert!(decoder.recover(&plain[25], FRAME * 5, FRAME * 7, &mut out).is_err());
        assert!(decoder.recover(&[], FRAME * 5, FRAME, &mut out).is_ok());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever a peer sends: a result of finite samples of the right length, or an error.
    #[test]
    fn hostile_packets_do_no_harm(
        stereo: bool,
        steps in prop::collection::vec(
            (0..4_u8, any::<bool>(), prop::collection::vec(any::<u8>(), 0..200), 1..60_u64),
            1..12,
        ),
    ) {
        let channels = if stereo { Channels::Stereo } else { Channels::Mono };
        let mut decoder = OpusDecoder::new(channels).unwrap();
        let mut out = vec![0.0; MAX_PACKET_SAMPLES * channels.count()];
        for (what, redundant, mut bytes, steps) in steps {
            if redundant {
                // Anything as deep redundancy.
                let padding = bytes.len() as u8 + 3;
                bytes.splice(..0, [0x4b, 0x41, padding, 252, b'D', 12]);
            }
            let duration = Duration::from_micros(steps * 2_500);
            let result = match what {
                0 => decoder.decode(&bytes, &mut out),
                1 => decoder.decode_fec(&bytes, duration, &mut out),
                2 => {
                    let reach = decoder.recoverable(&bytes);
                    prop_assert!(reach <= Duration::from_millis(230));
                    decoder.recover(&bytes, reach.max(duration), duration, &mut out)
                }
                _ => decoder.conceal(duration, &mut out),
            };
            if let Ok(count) = result {
                let expected = if what == 0 { opus_packet_duration(&bytes) } else { Some(duration) };
                let expected = expected.map(|d| (d.as_micros() * 48 / 1_000) as usize);
                prop_assert_eq!(Some(count), expected);
                prop_assert!(out[..count * channels.count()].iter().all(|s| s.is_finite()));
            }
        }
    }
}
