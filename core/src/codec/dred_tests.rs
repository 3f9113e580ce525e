use proptest::prelude::*;

use super::*;
use crate::codec::signal::speech;
use crate::codec::{AudioEncoder, MAX_PACKET_BYTES, OpusEncoder, OpusSettings};

fn packets(settings: &OpusSettings) -> Vec<Vec<u8>> {
    let mut encoder = OpusEncoder::new(settings.clone()).unwrap();
    let mut out = [0; MAX_PACKET_BYTES];
    speech(48_000)
        .chunks_exact(settings.frame_samples())
        .map(|frame| {
            let size = encoder.encode(frame, &mut out).unwrap();
            out[..size].to_vec()
        })
        .collect()
}

fn settings(dred_ms: u16, bitrate: u32) -> OpusSettings {
    OpusSettings { dred_ms, bitrate, fec: false, expected_loss_percent: 20, ..Default::default() }
}

fn reach(packet: &[u8]) -> Option<Duration> {
    Redundancy::find(packet).map(|found| found.reach())
}

/// What packets reach back once the encoder has heard enough, in milliseconds.
fn steady(settings: &OpusSettings) -> Vec<u128> {
    let packets = packets(settings);
    packets.iter().skip(20).filter_map(|packet| reach(packet)).map(|r| r.as_millis()).collect()
}

#[test]
fn how_far_packets_reach_back_follows_bitrate_and_expected_loss() {
    let table = [
        // Bitrate, FEC, expected loss, reach.
        (16_000, false, 20, None),
        (24_000, false, 20, Some(135)),
        (32_000, false, 5, Some(95)),
        (32_000, false, 20, Some(175)),
        (48_000, false, 5, Some(215)),
        (32_000, true, 5, None),
        (48_000, true, 20, Some(215)),
        (48_000, false, 0, None),
    ];
    for (bitrate, fec, loss, expected) in table {
        let settings = OpusSettings { fec, expected_loss_percent: loss, ..settings(200, bitrate) };
        let found = steady(&settings);
        assert_eq!(found.len(), expected.map_or(0, |_| 30), "{settings:?}");
        assert!(found.iter().all(|found| Some(*found) == expected), "{found:?} of {settings:?}");
    }
    assert_eq!(steady(&settings(0, 48_000)), []);
    let most = steady(&settings(1_040, 64_000));
    assert!(most.iter().all(|reach| *reach == 230), "{most:?}");
}

#[test]
fn libopus_reads_the_same_from_the_same_bits() {
    let table = include_str!("dred/packets.txt");
    let mut count = 0;
    for line in table.lines().filter(|line| !line.starts_with('#')) {
        let words: Vec<&str> = line.split(' ').collect();
        let [begins, ends] = [words[0], words[1]].map(|ticks| ticks.parse::<u128>().unwrap());
        let byte = |at: usize| u8::from_str_radix(&words[2][at..at + 2], 16).unwrap();
        let packet: Vec<u8> = (0..words[2].len()).step_by(2).map(byte).collect();
        // What is too old is not of interest.
        let expected = if ends >= 11_040 { 0 } else { begins.min(11_040) };
        assert_eq!(reach(&packet).unwrap_or_default().as_micros() * 48 / 1_000, expected, "{line}");
        count += 1;
    }
    assert!(count >= 20);
}

#[test]
fn a_shifted_packet_tells_the_same_from_elsewhere() {
    let packets = packets(&settings(200, 48_000));
    let found = Redundancy::find(&packets[30]).unwrap();
    let mut out = [0; MAX_BYTES];
    for grains in 0..48 {
        let size = found.shifted(GRAIN * grains, &mut out).unwrap();
        let moved = Redundancy::find(&out[..size]).unwrap();
        assert_eq!((moved.payload, moved.position), (found.payload, grains as u8));
        assert_eq!(moved.reach(), found.reach() - GRAIN * grains);
        let frames = crate::codec::opus_packet_duration(&out[..size]);
        assert_eq!(frames, Some(Duration::from_millis(120)));
        // What lies further on already can be shifted by less.
        assert_eq!(moved.shifted(GRAIN * (48 - grains), &mut [0; MAX_BYTES]), None);
    }
    assert_eq!(found.shifted(MAX_SHIFT + GRAIN, &mut out), None);
}

#[test]
fn extensions_before_it_are_passed_over() {
    let inner = [&[EXTENSION << 1][..], &VERSION, &[7, 8, 9]].concat();
    let framed = |frames: u8, extensions: &[u8]| {
        // SILK, wideband, 20 ms, without a byte in its frames.
        [&[9 << 3 | 3, 0x40 | frames, extensions.len() as u8], extensions].concat()
    };
    let found = |frames, before: &[u8]| {
        let packet = framed(frames, &[before, &inner].concat());
        Redundancy::find(&packet).map(|found| (found.payload.to_vec(), found.position))
    };
    let payload = vec![7, 8, 9];
    assert_eq!(found(1, &[]), Some((payload.clone(), 0)));
    assert_eq!(found(1, &[1, 1]), Some((payload.clone(), 0)), "padding");
    assert_eq!(found(2, &[2]), Some((payload.clone(), 8)), "the next frame");
    assert_eq!(found(6, &[3, 5]), Some((payload.clone(), 40)), "the last frame");
    assert_eq!(found(6, &[3, 6]), None, "behind the packet");
    assert_eq!(found(1, &[20, 21, 0]), Some((payload.clone(), 0)), "short ones");
    assert_eq!(found(1, &[101, 2, 0, 0]), Some((payload.clone(), 0)), "a long one");
    assert_eq!(found(1, &[101, 200, 0, 0]), None, "longer than what is there");
    assert_eq!(found(1, &[100]), None, "one that fills the rest");
    assert_eq!(found(1, &[0]), None, "nothing but padding");
    assert_eq!(found(1, &[EXTENSION << 1 | 1, 3, b'D', 11, 1]), Some((payload, 0)), "a draft");
    assert_eq!(Redundancy::find(&[9 << 3, 1, 2, 3]), None, "no padding");
}

proptest! {
    #[test]
    fn any_bytes_are_read_safely(
        front in prop::sample::select(vec![vec![], vec![0x4b, 0x41, 80, EXTENSION << 1, b'D', 12]]),
        rest in prop::collection::vec(any::<u8>(), 0..120),
        grains in 0..60_u32,
    ) {
        let packet = [front, rest].concat();
        if let Some(found) = Redundancy::find(&packet) {
            let reach = found.reach();
            prop_assert!(reach <= MAX_REACH);
            prop_assert_eq!(reach.as_micros() % 2_500, 0);
            let mut out = [0; MAX_BYTES];
            if let Some(size) = found.shifted(GRAIN * grains, &mut out) {
                let moved = Redundancy::find(&out[..size]);
                prop_assert_eq!(moved.map(|moved| moved.payload), Some(found.payload));
            }
        }
    }
}
