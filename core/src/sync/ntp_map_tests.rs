use std::time::Instant;

use proptest::prelude::*;

use super::*;
use crate::rng::{Rng, Seed};
use crate::sync::{AudioTimestamp, Medium, VideoTimestamp};

/// 2026-11-24 in seconds since 1900.
const NOW: f64 = 4_004_466_000.0;
const NOW_US: i64 = (4_004_466_000 - UNIX_EPOCH as i64) * 1_000_000;

/// A report at `seconds` after [`NOW`] of the wall clock, and at `ticks`.
fn report(seconds: f64, ticks: f64) -> RtcpSenderReport {
    let whole = (NOW + seconds).floor();
    let fraction = (NOW - whole + seconds) * SECOND as f64;
    RtcpSenderReport {
        medium: Medium::Audio,
        ntp_timestamp: ((whole as u64 as u32 as u64) << 32).wrapping_add(fraction.round() as u64),
        rtp_timestamp: ticks as i64 as u32,
        packet_count: 100,
        octet_count: 16_000,
        received_at: Instant::now(),
    }
}

/// Of a media clock that is `ppm` fast; both clocks exact.
fn exact(seconds: f64, ppm: f64) -> RtcpSenderReport {
    let ticks = (seconds * 48_000.0 * (1.0 + ppm * 1e-6)).round();
    report(ticks / 48_000.0 / (1.0 + ppm * 1e-6), ticks)
}

fn map_of(reports: impl IntoIterator<Item = RtcpSenderReport>) -> NtpMap<AudioTimestamp> {
    let mut map = NtpMap::new(48_000);
    for report in reports {
        assert_eq!(map.update(&report), Ok(ReportUse::Used), "{report:?}");
    }
    map
}

/// Microseconds after [`NOW`].
fn wall(map: &NtpMap<AudioTimestamp>, ticks: f64) -> i64 {
    map.rtp_to_wall_clock(AudioTimestamp(ticks as i64 as u32)).unwrap() as i64 - NOW_US
}

#[test]
fn before_the_first_report_nothing_is_mapped() {
    let map = NtpMap::<AudioTimestamp>::new(48_000);
    assert_eq!(map.rtp_to_wall_clock(AudioTimestamp(5)), Err(ClockError::NoNtpMapping));
    assert_eq!(map.wall_clock_to_rtp(5), Err(ClockError::NoNtpMapping));
}

#[test]
fn one_report_maps_at_the_nominal_rate() {
    let map = map_of([report(1.0, 960.0)]);
    assert_eq!(wall(&map, 960.0), 1_000_000);
    assert_eq!(wall(&map, 960.0 + 48_000.0), 2_000_000);
    assert_eq!(wall(&map, 0.0), 980_000, "back across no wrap");
}

#[test]
fn two_exact_reports_of_a_clock_that_is_off_are_enough() {
    for ppm in [-100.0, 100.0, 400.0] {
        let map = map_of([exact(0.0, ppm), exact(5.0, ppm)]);
        assert!((map.media_clock_ppm() - ppm).abs() < 0.1, "{}", map.media_clock_ppm());
        for after in 0..10 {
            let ticks = (f64::from(after) * 48_000.0 * (1.0 + ppm * 1e-6)).round();
            let truth = ticks / 48.0 / (1.0 + ppm * 1e-6) * 1_000.0;
            assert!((wall(&map, ticks) as f64 - truth).abs() <= 1.0, "{ppm} ppm, {after} s");
        }
    }
}

#[test]
fn reports_that_say_nothing_are_refused_or_ignored() {
    let mut map = map_of((0..4).map(|nth| exact(5.0 * f64::from(nth), 0.0)));
    let ignored = [("there already", exact(15.0, 0.0)), ("there long since", exact(5.0, 0.0))];
    for (what, report) in ignored {
        assert_eq!(map.update(&report), Ok(ReportUse::Ignored), "{what}");
    }
    for ntp in [0, 0x8000_0000_0000_0000, (UNIX_EPOCH << 32) - SECOND as u64] {
        let error = map.update(&RtcpSenderReport { ntp_timestamp: ntp, ..exact(20.0, 0.0) });
        assert!(matches!(error, Err(ClockError::InvalidNtpTimestamp { .. })), "{ntp:x}: {error:?}");
    }
    let video = RtcpSenderReport { medium: Medium::Video, ..exact(20.0, 0.0) };
    assert!(matches!(map.update(&video), Err(ClockError::WrongMedium { .. })));
    assert_eq!(NtpMap::<VideoTimestamp>::new(90_000).update(&video), Ok(ReportUse::Used));
    assert_eq!((map.reports(), map.is_unsettled(), wall(&map, 0.0)), (4, false, 0));
}

#[test]
fn a_reordered_report_takes_part_but_not_the_lead() {
    let mut map = map_of([exact(0.0, 50.0), exact(10.0, 50.0)]);
    assert_eq!(map.update(&exact(5.0, 50.0)), Ok(ReportUse::Used));
    assert_eq!(map.reports(), 3);
    assert_eq!(map.anchor.unwrap().1, exact(10.0, 50.0).rtp_timestamp);
}

#[test]
fn a_wall_clock_that_goes_back_once_is_refused() {
    let mut map = map_of((0..8).map(|nth| exact(5.0 * f64::from(nth), 30.0)));
    let before = wall(&map, 2e6);
    let wrong = report(40.0 - 1.2, exact(40.0, 30.0).rtp_timestamp.into());
    let error = map.update(&wrong).unwrap_err();
    assert!(
        matches!(error, ClockError::TimestampDiscontinuity { offset_us } if (offset_us + 1_200_000).abs() < 20)
    );
    assert_eq!(wall(&map, 2e6), before);
    assert_eq!(map.update(&exact(45.0, 30.0)), Ok(ReportUse::Used));
    assert!((wall(&map, 2e6) - before).abs() <= 1 && !map.is_unsettled());
}

#[test]
fn a_step_of_the_wall_clock_is_followed_with_the_second_report() {
    for step in [0.03, -0.03, 0.9, 7_200.0, -3.0] {
        let mut map = map_of((0..8).map(|nth| exact(5.0 * f64::from(nth), 80.0)));
        let stepped = |seconds: f64| {
            let exact = exact(seconds, 80.0);
            let ntp = exact.ntp_timestamp.wrapping_add_signed((step * SECOND as f64) as i64);
            RtcpSenderReport { ntp_timestamp: ntp, ..exact }
        };
        let first = map.update(&stepped(40.0));
        assert_eq!(first.is_err(), step.abs() > 1.0, "{step}: {first:?}");
        assert!(map.is_unsettled());
        assert!((wall(&map, 1_920_000.0) - 39_996_800).abs() <= 1, "the old map holds");
        assert_eq!(map.update(&stepped(45.0)), Ok(ReportUse::Stepped), "{step}");
        for seconds in [45.5, 49.0] {
            let ticks = f64::from(exact(seconds, 80.0).rtp_timestamp);
            let truth = ticks / 48_000.0 / 1.000_08 + step;
            let found = wall(&map, ticks) as f64;
            assert!((found - truth * 1e6).abs() <= 2.0, "{step}: {found} {truth}");
        }
        assert!(!map.is_unsettled());
    }
}

#[test]
fn timestamps_that_start_afresh_are_followed_with_the_second_report() {
    let mut map = map_of((0..8).map(|nth| exact(5.0 * f64::from(nth), 0.0)));
    assert!(map.update(&report(40.0, 3e9)).is_err());
    assert_eq!(map.update(&report(45.0, 3e9 + 240_000.0)), Ok(ReportUse::Stepped));
    assert_eq!(wall(&map, 3e9 + 288_000.0), 46_000_000);
}

#[test]
fn noise_that_no_line_explains_is_learned() {
    // An encoder whose reports are 12 ms off, to both sides.
    let off = [0.0, 12.0, -11.0, 4.0, 10.0, -9.0, -12.0, 6.0, 11.0, -3.0, 1.0, -7.0, 8.0, 2.0];
    let mut map = NtpMap::<AudioTimestamp>::new(48_000);
    for (nth, off) in off.iter().enumerate() {
        map.update(&report(5.0 * nth as f64 + off * 1e-3, 240_000.0 * nth as f64)).unwrap();
    }
    assert!(map.reports() >= 8 && !map.is_unsettled(), "{}", map.reports());
    assert!((wall(&map, 240_000.0 * 13.0) - 65_000_000).abs() < 12_000);
    assert!(map.error_us().unwrap() > 1_000.0);
}

/// What Chromium sends of audio: a report every 2.5 to 7.5 s, up to 8 ms off, since its timestamps stand
/// still between two calls of the capture device. `step` seconds are added to the wall clock from report
/// `from` on.
fn browser(seed: u64, count: usize, from: usize, step: f64) -> Vec<RtcpSenderReport> {
    let mut rng = Rng::new(Seed::from_number(seed)).fork("reports");
    let (ppm, mut seconds) = (200.0 * rng.unit() - 100.0, 0.0);
    let reports = (0..count).map(|nth| {
        seconds += 2.5 + 5.0 * rng.unit();
        let off = 0.016 * rng.unit() - 0.008 + if nth >= from { step } else { 0.0 };
        report(seconds + off, (seconds * 48_000.0 * (1.0 + ppm * 1e-6)).round())
    });
    reports.collect()
}

#[test]
fn the_reports_of_a_browser_are_taken_from_the_first_on() {
    let mut held = 0;
    for seed in 0..200 {
        let mut map = NtpMap::<AudioTimestamp>::new(48_000);
        for (nth, report) in browser(seed, 30, 30, 0.0).iter().enumerate() {
            held += u32::from(map.update(report) != Ok(ReportUse::Used));
            let settled = map.reports() == nth + 1 && !map.is_unsettled();
            assert!(settled || nth > 2, "report {nth} of {seed}");
        }
    }
    assert!(held <= 15, "one in 400: {held}");
}

#[test]
fn a_step_is_told_from_the_noise_of_a_browser() {
    for (from, step) in [(12, 0.2), (12, -0.1), (25, 3.0)] {
        let found = (0..200).filter(|&seed| {
            let mut map = NtpMap::<AudioTimestamp>::new(48_000);
            let reports = browser(seed, 30, from, step);
            let found: Vec<_> = reports.iter().map(|report| map.update(report)).collect();
            found[from + 1] == Ok(ReportUse::Stepped)
        });
        assert!(found.count() >= 198, "{step} from {from} on");
    }
}

#[test]
fn a_step_behind_few_exact_reports_is_found() {
    for count in 3..10 {
        let mut map = map_of((0..count).map(|nth| exact(5.0 * f64::from(nth), 80.0)));
        let at = 5.0 * f64::from(count);
        let stepped = |seconds: f64| {
            let exact = exact(seconds, 80.0);
            let ntp = exact.ntp_timestamp + SECOND as u64 / 100;
            RtcpSenderReport { ntp_timestamp: ntp, ..exact }
        };
        assert_eq!(map.update(&stepped(at)), Ok(ReportUse::Held), "after {count}");
        assert_eq!(map.update(&stepped(at + 5.0)), Ok(ReportUse::Stepped), "after {count}");
    }
}

#[test]
fn the_era_that_ends_in_2036_is_passed_without_a_step() {
    // 2036-02-07 06:28:16 UTC is 2^32 s after 1900.
    let end = 4_294_967_296.0 - NOW;
    let mut map = NtpMap::<AudioTimestamp>::new(48_000);
    for nth in -4..4 {
        let seconds = f64::from(nth) * 5.0 + 1.0;
        let report = report(end + seconds, seconds * 48_000.0);
        assert_eq!(map.update(&report), Ok(ReportUse::Used));
        assert_eq!(wall(&map, seconds * 48_000.0), ((end + seconds) * 1e6) as i64);
    }
}

#[test]
fn what_lies_too_far_away_is_out_of_range() {
    let map = map_of([exact(0.0, 0.0), exact(5.0, 0.0)]);
    for us in [0, u64::MAX, (NOW_US + 50_000_000_000) as u64] {
        let error = map.wall_clock_to_rtp(us);
        assert!(matches!(error, Err(ClockError::OutOfRange { .. })), "{us}: {error:?}");
    }
    let early = RtcpSenderReport { ntp_timestamp: (UNIX_EPOCH + 9) << 32, ..report(0.0, 0.0) };
    let mut map = NtpMap::<AudioTimestamp>::new(48_000);
    map.update(&early).unwrap();
    let error = map.rtp_to_wall_clock(AudioTimestamp(0_u32.wrapping_sub(480_000)));
    assert!(matches!(error, Err(ClockError::OutOfRange { .. })), "{error:?}");
}

#[test]
fn a_reset_map_is_a_new_one() {
    let mut map = map_of((0..3).map(|nth| exact(5.0 * f64::from(nth), 80.0)));
    map.reset();
    assert_eq!(map.rtp_to_wall_clock(AudioTimestamp(1)), Err(ClockError::NoNtpMapping));
    assert_eq!((map.reports(), map.media_clock_ppm(), map.error_us()), (0, 0.0, None));
}

fn any_report() -> impl Strategy<Value = RtcpSenderReport> {
    let near = (0_i64..200, -60_000_i64..60_000)
        .prop_map(|(nth, off)| (nth as f64 * 5.0 + off as f64 * 1e-6, nth as u32 * 240_000));
    let near = near.prop_map(|(seconds, ticks)| report(seconds, ticks.into()));
    let wild = (any::<u64>(), any::<u32>(), 0_u32..3).prop_map(|(ntp, rtp, packet_count)| {
        RtcpSenderReport {
            ntp_timestamp: ntp,
            rtp_timestamp: rtp,
            packet_count,
            ..report(0.0, 0.0)
        }
    });
    prop_oneof![near, wild]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// And between two reports time does not go back.
    #[test]
    fn whatever_is_reported_the_map_is_monotone_and_its_own_inverse(
        reports in prop::collection::vec(any_report(), 1..60),
        rtp: u32,
        ahead in 1_u32..1_000_000,
    ) {
        let mut map = NtpMap::<AudioTimestamp>::new(48_000);
        for report in reports {
            let _ = map.update(&report);
            prop_assert!(map.reports() <= REPORTS && map.media_clock_ppm().is_finite());
            let Ok(us) = map.rtp_to_wall_clock(AudioTimestamp(rtp)) else { continue };
            if let Ok(back) = map.wall_clock_to_rtp(us) {
                let off = back.rtp().wrapping_sub(rtp) as i32;
                prop_assert!(off.abs() <= 1, "{off} ticks");
            }
            let newest = map.anchor.unwrap().1;
            let later = rtp.wrapping_add(ahead);
            if super::ahead(later, newest) > super::ahead(rtp, newest) {
                prop_assert!(map.rtp_to_wall_clock(AudioTimestamp(later)).unwrap() > us);
            }
        }
    }

    /// Where timestamps start, and what the wall clock shows, is a label only.
    #[test]
    fn other_origins_change_nothing(
        off in prop::collection::vec(-500_i64..500, 2..30),
        rtp: u32,
        seconds in 0_u32..2_000_000_000,
    ) {
        let mut maps = [NtpMap::<AudioTimestamp>::new(48_000), NtpMap::new(48_000)];
        for (nth, off) in off.iter().enumerate() {
            let plain = report(nth as f64 * 5.0 + *off as f64 * 1e-6, nth as f64 * 240_000.0);
            let moved = RtcpSenderReport {
                ntp_timestamp: plain.ntp_timestamp.wrapping_add(u64::from(seconds) << 32),
                rtp_timestamp: plain.rtp_timestamp.wrapping_add(rtp),
                ..plain
            };
            prop_assert_eq!(maps[0].update(&plain), maps[1].update(&moved));
            let at = plain.rtp_timestamp.wrapping_add(100_000);
            let one = maps[0].rtp_to_wall_clock(AudioTimestamp(at)).unwrap();
            let other = maps[1].rtp_to_wall_clock(AudioTimestamp(at.wrapping_add(rtp))).unwrap();
            prop_assert_eq!(one + u64::from(seconds) * 1_000_000, other);
        }
    }
}
