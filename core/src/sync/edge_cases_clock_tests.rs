//! The edge cases of a sync manager that concern clocks, by the numbers of the others.

use std::time::Duration;

use super::manager::SyncState;
use super::manager::world::{FRAME, STEP, UNIX_US, World, discontinuity, ms, report, secs};
use super::{
    AudioTimestamp, ClockError, Inserted, Medium, RecommendedAction, ReportUse, RtcpSenderReport,
    SyncConfig, SyncError, SyncManager, VideoTimestamp,
};

const AUDIO: Medium = Medium::Audio;
const VIDEO: Medium = Medium::Video;

/// Feeds exact audio reports of every 5 s, from number `from` to `to`, of a clock whose tick 0 is at 0 s.
fn reports(world: &mut World, from: u64, to: u64) {
    for n in from..to {
        let at = secs(5 * n);
        let found = world.report(at, AUDIO, at, (STEP * 1_000).wrapping_add(n as u32 * 240_000));
        assert_eq!(found, Ok(ReportUse::Used), "report {n}");
    }
}

#[test]
fn case_19_another_ssrc_is_another_stream() {
    let mut world = World::fixed();
    for n in 0..1_000 {
        world.number(n, ms(0));
    }
    reports(&mut world, 4, 7);
    world.until(secs(30));
    assert_eq!(world.sync.get_sync_state(), SyncState::Synced);
    assert!(world.sync.estimate_clock_drift().is_some());
    world.out.clear();
    for n in 0..3_u32 {
        world.audio(secs(30) + FRAME * n, 9_000_000 + u64::from(n), 0xdead_0000 + STEP * n);
    }
    assert_eq!(world.sync.get_buffer_statistics().audio.buffer.restarts, 1);
    assert_eq!(world.sync.estimate_clock_drift(), None, "another clock");
    assert_eq!(world.sync.get_sync_state(), SyncState::Syncing);
    assert_eq!(
        world.sync.rtp_to_wall_clock(AudioTimestamp(0xdead_0000)),
        Err(ClockError::NoNtpMapping.into())
    );
    world.until(secs(31));
    assert_eq!(world.frames(), [9_000_001, 9_000_002], "one frame tells that it is one");
    // What still comes of the old clock is ignored.
    let old = STEP * 1_000 + 35 * 48_000;
    for n in 3..300_u32 {
        world.audio(secs(30) + FRAME * n, 9_000_000 + u64::from(n), 0xdead_0000 + STEP * n);
    }
    assert_eq!(world.report(secs(36), AUDIO, secs(36), old), Ok(ReportUse::Ignored));
    let new = 0xdead_0000 + 6 * 48_000;
    assert_eq!(world.report(secs(36), AUDIO, secs(36), new), Ok(ReportUse::Used));
    let wall = world.sync.rtp_to_wall_clock(AudioTimestamp(0xdead_0000)).unwrap();
    assert_eq!(wall, UNIX_US + 30_000_000);
}

#[test]
fn case_19_another_stream_with_near_sequence_numbers_has_another_clock() {
    // Of later timestamps, and of those of an hour before, which are no late ones.
    let hour_before = (STEP * 1_000).wrapping_sub(3_600 * 48_000);
    for (first, rtp) in [2_040_u64, 1_960, 1_900]
        .into_iter()
        .flat_map(|first| [0x5ead_0000, hour_before].map(|rtp| (first, rtp)))
    {
        let mut world = World::fixed();
        for n in 0..1_000 {
            world.number(n, ms(0));
        }
        assert!(world.sync.estimate_clock_drift().is_some());
        for n in 0..2_u32 {
            let (sequence, rtp) = (first + u64::from(n), rtp + STEP * n);
            world.audio(secs(20) + FRAME * n, sequence, rtp);
        }
        let buffer = world.sync.get_buffer_statistics().audio.buffer;
        assert_eq!((buffer.restarts, buffer.strays), (1, 1), "{first} {rtp}");
        assert_eq!(world.sync.estimate_clock_drift(), None, "{first}");
    }
}

#[test]
fn case_20_a_restarted_encoder_keeps_its_clock() {
    let mut world = World::fixed();
    let pace = |n: u64| Duration::from_nanos((n * 20_000_000) * 1_000_000 / 1_000_200);
    for n in 0..1_500 {
        world.audio(pace(n), 1_000 + n, STEP * n as u32);
    }
    let before = world.sync.estimate_clock_drift().unwrap();
    assert!((before.drift_ppm - 200.0).abs() < 5.0, "{before:?}");
    for n in 1_500..3_000 {
        let inserted = world.audio(pace(n), 1_000 + n, 0x7000_0000 + STEP * n as u32);
        let expected = match n {
            1_500 => Inserted::Stray,
            1_501 => Inserted::Restarted,
            _ => Inserted::Queued,
        };
        assert_eq!(inserted, expected, "{n}");
        let drift = world.sync.estimate_clock_drift().unwrap();
        assert!((drift.drift_ppm - 200.0).abs() < 5.0, "at {n}: {drift:?}");
    }
}

#[test]
fn case_23_clocks_that_are_off_by_500_ppm_are_followed_for_an_hour() {
    for ppm in [-500_i64, 500] {
        let mut world = World::new(SyncConfig::standard());
        for n in 0..180_000_u32 {
            let sent = i64::from(n) * 20_000_000 * 1_000_000 / (1_000_000 + ppm);
            world.audio(Duration::from_nanos(sent as u64), u64::from(n), n * STEP);
            if n > 500 {
                let delay = world.delay();
                let hold = world.sync.get_buffer_statistics().audio.hold;
                assert!(delay.abs_diff(hold) < ms(10), "{delay:?} at {n}, {ppm} ppm: {hold:?}");
            }
        }
        let frames = world.frames();
        assert!(frames.len() > 179_990 && frames.windows(2).all(|pair| pair[1] == pair[0] + 1));
        assert_eq!(world.concealed(), Duration::ZERO);
        let drift = world.sync.estimate_clock_drift().unwrap();
        assert!((drift.drift_ppm - ppm as f64).abs() < 1.0, "{drift:?}");
        assert_eq!(drift.recommended_action, RecommendedAction::Adjust);
        let factor = world.sync.correction_factor();
        assert!((factor - 1.0 - ppm as f64 * 1e-6).abs() < 1e-6, "{factor}");
    }
}

#[test]
fn case_24_a_drift_that_turns_is_followed_within_two_minutes() {
    let mut world = World::fixed();
    let mut sent = 0.0;
    for n in 0..16_000_u32 {
        let ppm = if n < 10_000 { 200.0 } else { -200.0 };
        sent += 0.02 / (1.0 + ppm * 1e-6);
        world.audio(Duration::from_secs_f64(sent), u64::from(n), n * STEP);
    }
    let drift = world.sync.estimate_clock_drift().unwrap();
    assert!((drift.drift_ppm + 200.0).abs() < 10.0, "{drift:?}");
    assert!(world.sync.correction_factor() < 1.0);
}

#[test]
fn case_25_a_report_before_any_packet_makes_a_map() {
    let mut world = World::fixed();
    assert_eq!(world.sync.get_sync_state(), SyncState::Unsynced);
    // Its sender has sent no packet yet either.
    let sent = RtcpSenderReport {
        packet_count: 0,
        octet_count: 0,
        ..report(world.start, AUDIO, secs(1), 48_000)
    };
    assert_eq!(world.sync.update_rtcp_sender_report(&sent), Ok(ReportUse::Used));
    assert_eq!(world.sync.get_sync_state(), SyncState::Syncing);
    assert_eq!(world.sync.rtp_to_wall_clock(AudioTimestamp(96_000)), Ok(UNIX_US + 2_000_000));
    let back = world.sync.wall_clock_to_rtp::<AudioTimestamp>(UNIX_US + 2_000_000);
    assert_eq!(back, Ok(AudioTimestamp(96_000)));
}

#[test]
fn case_26_a_report_without_a_clock_is_refused_and_counted() {
    let mut world = World::fixed();
    for ntp in [0, 1, 2_208_988_799 << 32] {
        // The seconds of 1900 to 1968 are those of the next era: what has no highest bit is after 2036.
        let sent = report(world.start, AUDIO, secs(0), 0);
        let sent = RtcpSenderReport { ntp_timestamp: ntp, ..sent };
        let found = world.sync.update_rtcp_sender_report(&sent);
        let refused =
            matches!(found, Err(SyncError::Clock(ClockError::InvalidNtpTimestamp { .. })));
        assert_eq!(refused, ntp != 1, "{ntp:#x}");
        if ntp == 1 {
            world.sync.reset();
        }
    }
    assert_eq!(world.sync.get_buffer_statistics().bad_reports, 1);
    assert_eq!(world.sync.get_sync_state(), SyncState::Unsynced);
}

#[test]
fn case_27_a_clock_that_goes_back_once_is_not_believed() {
    let mut world = World::fixed();
    reports(&mut world, 1, 5);
    let rtp = STEP * 1_000 + 5 * 240_000;
    assert!(discontinuity(world.report(secs(25), AUDIO, ms(23_900), rtp)));
    assert_eq!(world.sync.get_sync_state(), SyncState::Syncing);
    assert_eq!(world.sync.rtp_to_wall_clock(AudioTimestamp(rtp)), Ok(UNIX_US + 25_000_000));
    assert_eq!(world.sync.wall_clock_confidence(AudioTimestamp(rtp)), 0.75);
    reports(&mut world, 6, 7);
    assert_eq!(world.sync.get_sync_state(), SyncState::Synced);
    assert_eq!(world.sync.wall_clock_confidence(AudioTimestamp(rtp)), 1.0);
}

#[test]
fn case_28_a_step_is_followed_with_the_second_report() {
    let mut world = World::fixed();
    reports(&mut world, 1, 6);
    let rtp = |n: u32| STEP * 1_000 + n * 240_000;
    let stepped = |world: &mut World, n: u32| {
        let at = secs(u64::from(n) * 5);
        world.report(at, AUDIO, at + ms(30), rtp(n))
    };
    let wall = |world: &World| world.sync.rtp_to_wall_clock(AudioTimestamp(rtp(8))).unwrap();
    assert_eq!(stepped(&mut world, 6), Ok(ReportUse::Held));
    assert_eq!(world.sync.get_sync_state(), SyncState::Syncing);
    assert_eq!(wall(&world), UNIX_US + 40_000_000);
    assert_eq!(stepped(&mut world, 7), Ok(ReportUse::Stepped));
    assert_eq!(wall(&world), UNIX_US + 40_030_000);
    assert_eq!(world.sync.get_sync_state(), SyncState::Synced);
}

#[test]
fn reports_that_wobble_by_8_ms_are_in_sync_with_the_third() {
    // Those of Chromium do.
    for off in [[8, 0, 0], [0, 16, 0], [16, 0, 16], [0, 16, 5], [1, 13, 16]] {
        let mut world = World::fixed();
        for (n, off) in (1..).zip(off) {
            let at = secs(5 * n);
            let found = world.report(at, AUDIO, at + ms(off), 240_000 * n as u32);
            assert_eq!(found, Ok(ReportUse::Used), "{off:?}");
        }
        assert_eq!(world.sync.get_sync_state(), SyncState::Synced, "{off:?}");
    }
}

#[test]
fn case_29_a_duplicate_report_is_ignored() {
    let mut world = World::fixed();
    for _ in 0..3 {
        let _ = world.report(ms(0), AUDIO, secs(1), 48_000);
    }
    let statistics = world.sync.get_buffer_statistics();
    assert_eq!((statistics.reports, statistics.ignored_reports), (1, 2));
    assert_eq!(world.sync.get_sync_state(), SyncState::Syncing);
}

#[test]
fn case_30_a_report_that_was_overtaken_fits_in() {
    let mut world = World::fixed();
    for n in [1_u64, 2, 4, 3] {
        let found = world.report(secs(30), AUDIO, secs(5 * n), n as u32 * 240_000);
        assert_eq!(found, Ok(ReportUse::Used));
    }
    // One of the past that does not fit does no harm.
    let found = world.report(secs(30), AUDIO, secs(6), 240_000);
    assert_eq!(found, Ok(ReportUse::Ignored));
    assert_eq!(world.sync.get_sync_state(), SyncState::Synced);
    assert_eq!(world.sync.rtp_to_wall_clock(AudioTimestamp(0)), Ok(UNIX_US));
}

#[test]
fn case_31_the_era_of_2036_rolls_over() {
    let mut world = World::fixed();
    for n in 0..4_u32 {
        // The seconds wrap between the second and the third report.
        let sent = report(world.start + secs(5) * n, AUDIO, secs(0), n * 240_000);
        let ntp = (0xffff_fff8_u64 << 32).wrapping_add((u64::from(n) * 5) << 32);
        let sent = RtcpSenderReport { ntp_timestamp: ntp, ..sent };
        assert_eq!(world.sync.update_rtcp_sender_report(&sent), Ok(ReportUse::Used));
    }
    let wall = |rtp| world.sync.rtp_to_wall_clock(AudioTimestamp(rtp)).unwrap();
    assert_eq!(wall(3 * 240_000) - wall(0), 15_000_000);
    assert_eq!(wall(8 * 48_000), ((1_u64 << 32) - 2_208_988_800) * 1_000_000);
}

#[test]
fn case_32_reports_of_video_alone_say_nothing_about_audio() {
    let mut world = World::fixed();
    for n in 0..500_u64 {
        let at = FRAME * n as u32;
        world.number(n, ms(0));
        world.picture(at, n, n as u32 * 1_800);
        if n % 50 == 0 {
            world.report(at, VIDEO, at, n as u32 * 1_800).unwrap();
        }
    }
    assert_eq!(world.sync.get_sync_state(), SyncState::Synced);
    assert_eq!(world.sync.get_sync_state_of(AUDIO), SyncState::Unsynced);
    assert_eq!(
        world.sync.rtp_to_wall_clock(AudioTimestamp(0)),
        Err(ClockError::NoNtpMapping.into())
    );
    assert_eq!(world.sync.rtp_to_wall_clock(VideoTimestamp(90_000)), Ok(UNIX_US + 1_000_000));
    assert!(world.video.iter().all(|(_, offset)| offset.confidence == 0.0));
}

#[test]
fn case_33_a_factor_out_of_bounds_is_refused() {
    let mut world = World::fixed();
    world.sync.apply_clock_drift_correction(1.005).unwrap();
    for factor in [0.98, 1.02, f64::NAN, f64::INFINITY, -1.0] {
        let found = world.sync.apply_clock_drift_correction(factor).unwrap_err();
        assert!(
            matches!(found, SyncError::Clock(ClockError::InvalidCorrectionFactor(_))),
            "{factor}"
        );
        assert_eq!(world.sync.correction_factor(), 1.005);
    }
    for factor in [0.99, 1.01, 1.01] {
        assert_eq!(world.sync.apply_clock_drift_correction(factor), Ok(()), "again is fine too");
    }
}

#[test]
fn case_41_settings_have_bounds() {
    let standard = SyncConfig::standard();
    let new = |config| SyncManager::<(), ()>::new("bob", config);
    for (config, good) in [
        (standard.jitter_buffer_size_ms(49), false),
        (standard.jitter_buffer_size_ms(50), true),
        (standard.jitter_buffer_size_ms(200), true),
        (standard.jitter_buffer_size_ms(201), false),
        (standard.max_jitter_buffer_ms(501), false),
        (standard.clock_rates(44_100, 90_000), false),
        (standard.drift_correction_threshold_ppm(-0.1), false),
        (standard.drift_correction_threshold_ppm(f64::NAN), false),
    ] {
        let found = new(config);
        let expected = matches!(found, Err(SyncError::InvalidConfig(_)));
        assert_eq!(found.is_ok(), good, "{config:?}");
        assert_eq!(expected, !good);
    }
    let found = SyncManager::<(), ()>::new("", standard);
    assert!(matches!(found, Err(SyncError::InvalidPeerId(_))));
}

#[test]
fn case_42_a_peer_is_aligned_with_itself_and_not_with_who_is_not_synced() {
    let (mut world, other) = (World::fixed(), World::fixed());
    reports(&mut world, 1, 5);
    let offset = world.sync.align_with_peer(&world.sync).unwrap();
    assert_eq!(offset.offset_ms, 0.0);
    let found = world.sync.align_with_peer(&other.sync).unwrap_err();
    assert_eq!(found, SyncError::NotSynced { peer: "bob".to_owned() });
    assert!(other.sync.align_with_peer(&world.sync).is_err());
}
