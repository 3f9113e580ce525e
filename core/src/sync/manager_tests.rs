use proptest::prelude::*;

use super::world::{FRAME, STEP, UNIX_US, World, fixed, ms, report};
use super::*;

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// A stream of audio from a clock that is `ppm` fast, from packet number `from` to `to`, with reports of
/// every 5 s by a wall clock that is `ahead`.
fn call(world: &mut World, (from, to): (u64, u64), ppm: f64, ahead: Duration) {
    for n in from..to {
        let sent = Duration::from_secs_f64(n as f64 * 0.02 / (1.0 + ppm * 1e-6));
        world.audio(sent + ms(10), n, n as u32 * STEP);
        if n % 250 == 0 {
            let used = world.report(sent + ms(10), Medium::Audio, sent + ahead, n as u32 * STEP);
            assert_eq!(used, Ok(ReportUse::Used));
        }
    }
}

#[test]
fn until_the_first_report_the_local_clock_stands_in() {
    let mut world = World::fixed();
    let none = Err(ClockError::NoNtpMapping.into());
    assert_eq!(world.sync.rtp_to_wall_clock(AudioTimestamp(0)), none);
    world.sync.set_local_clock(world.start, UNIX_US);
    assert_eq!(world.sync.rtp_to_wall_clock(AudioTimestamp(0)), none, "no packet yet");
    assert_eq!(world.sync.wall_clock_confidence(AudioTimestamp(0)), 0.0);
    for n in 0..100 {
        world.number(n, ms(5 + n % 3));
    }
    let rtp = AudioTimestamp(1_050 * STEP);
    assert_eq!(world.sync.rtp_to_wall_clock(rtp), Ok(UNIX_US + 1_005_000));
    assert_eq!(world.sync.wall_clock_to_rtp(UNIX_US + 1_005_000), Ok(rtp));
    assert_eq!(world.sync.wall_clock_confidence(rtp), 0.5);
    assert!(matches!(
        world.sync.wall_clock_to_rtp::<AudioTimestamp>(0),
        Err(SyncError::Clock(ClockError::OutOfRange { .. }))
    ));
    // The sender says that it is three seconds later there.
    world.report(secs(2), Medium::Audio, secs(5), STEP * 1_100).unwrap();
    assert_eq!(world.sync.rtp_to_wall_clock(rtp), Ok(UNIX_US + 4_000_000));
    assert_eq!(world.sync.wall_clock_confidence(rtp), 1.0);
}

#[test]
fn the_state_follows_the_reports_and_expires() {
    let mut world = World::fixed();
    let mut states = Vec::new();
    for n in 0..4 {
        let at = secs(5 * n);
        world.report(at, Medium::Audio, at, n as u32 * 240_000).unwrap();
        states.push(world.sync.get_sync_state());
    }
    let (syncing, synced) = (SyncState::Syncing, SyncState::Synced);
    assert_eq!(states, [syncing, syncing, synced, synced]);
    // The last report came at 15 s, and five intervals are 25 s.
    let expires = world.start + secs(40);
    assert_eq!(world.sync.poll_timeout(), Some(expires));
    world.sync.handle_timeout(expires - ms(1));
    assert_eq!(world.sync.get_sync_state(), synced);
    world.sync.handle_timeout(expires);
    assert_eq!(world.sync.get_sync_state(), SyncState::Unsynced);
    assert_eq!(world.sync.poll_timeout(), None);
    assert_eq!(world.sync.wall_clock_confidence(AudioTimestamp(0)), 0.75, "it is old");
}

#[test]
fn two_peers_are_aligned_by_what_arrived_fastest() {
    // Three senders, of which the clocks differ by 40 ms and 1 s.
    let (mut worlds, origin) = ([World::fixed(), World::fixed(), World::fixed()], Instant::now());
    for world in &mut worlds {
        (world.start, world.now) = (origin + secs(50), origin + secs(50));
    }
    let ahead = [secs(2), secs(2) + ms(40), secs(1)];
    for (world, ahead) in worlds.iter_mut().zip(ahead) {
        call(world, (0, 1_000), 3.0, ahead);
    }
    let between = |worlds: &[World; 3], a: usize, b: usize| {
        worlds[a].sync.align_with_peer(&worlds[b].sync).unwrap()
    };
    let found = between(&worlds, 0, 1);
    assert!((found.offset_ms - 40.0).abs() < 0.1, "{found:?}");
    assert!(!found.is_stable, "for 20 s only");
    assert!((0.4..0.6).contains(&found.confidence), "{found:?}");
    for (world, ahead) in worlds.iter_mut().zip(ahead) {
        call(world, (1_000, 2_000), 3.0, ahead);
        world.sync.set_round_trip(ms(2));
    }
    let found = between(&worlds, 0, 1);
    assert!(found.is_stable && found.confidence > 0.9, "{found:?}");
    // Invariant 23.
    assert_eq!(between(&worlds, 1, 0).offset_ms, -found.offset_ms);
    let round =
        found.offset_ms + between(&worlds, 1, 2).offset_ms + between(&worlds, 2, 0).offset_ms;
    assert!(round.abs() < 1.0, "{round}");
}

#[test]
fn correction_is_automatic_above_the_threshold_and_by_hand_whenever_wanted() {
    let factor = |config: SyncConfig, ppm: f64| {
        let mut world = World::new(config);
        call(&mut world, (0, 3_000), ppm, secs(0));
        world.sync.correction_factor()
    };
    assert!((factor(fixed(), 200.0) - 1.000_2).abs() < 1e-6);
    assert_eq!(factor(fixed(), 60.0), 1.0);
    assert_eq!(factor(fixed().enable_clock_drift_correction(false), 200.0), 1.0);
    let mut world = World::fixed();
    call(&mut world, (0, 3_000), -200.0, secs(0));
    world.sync.apply_clock_drift_correction(1.002).unwrap();
    call(&mut world, (3_000, 3_300), -200.0, secs(0));
    assert_eq!(world.sync.correction_factor(), 1.002);
    world.sync.resume_automatic_correction();
    assert!((world.sync.correction_factor() - 0.999_8).abs() < 1e-6);
}

/// Audio and video of one capture clock: frames of video arrive `behind` later than audio. Gives the
/// offset of each, and when it was shown.
fn watch(behind: Duration, audio_rtp: u32, video_rtp: u32) -> Vec<(Duration, AvOffset)> {
    let mut world = World::new(SyncConfig::standard());
    let mut events = Vec::new();
    for n in 0..1_000_u32 {
        let sent = FRAME * n;
        events.push((sent + ms(10 + u64::from(n % 5)), 0, n));
        if n % 2 == 0 {
            events.push((sent + ms(10 + u64::from(n % 7)) + behind, 1, n));
        }
        if n % 50 == 0 {
            events.push((sent + ms(10), 2, n));
        }
    }
    events.sort_unstable();
    for (at, what, n) in events {
        let audio = audio_rtp.wrapping_add(n * STEP);
        let video = video_rtp.wrapping_add(n * 1_800);
        match what {
            0 => drop(world.audio(at, 1_000 + u64::from(n), audio)),
            1 => drop(world.picture(at, u64::from(n), video)),
            _ => {
                world.report(at, Medium::Audio, FRAME * n, audio).unwrap();
                world.report(at, Medium::Video, FRAME * n, video).unwrap();
            }
        }
    }
    let start = world.start;
    world.video.iter().map(|(pop, offset)| (pop.due - start, *offset)).collect()
}

#[test]
fn picture_and_sound_come_together() {
    for behind in [0, 80, 200] {
        let shown = watch(ms(behind), 7, 0xffff_ff00);
        assert!(shown.len() > 480, "{}", shown.len());
        for (at, offset) in &shown {
            if *at > secs(4) {
                assert!(offset.confidence > 0.4, "{behind} ms at {at:?}: {offset:?}");
                assert!(offset.offset_ms.abs() <= 45.0, "{behind} ms at {at:?}: {offset:?}");
            }
            if *at > secs(8) {
                assert!(offset.offset_ms.abs() <= 10.0, "{behind} ms at {at:?}: {offset:?}");
            }
        }
    }
    let first = |behind| watch(ms(behind), 7, 9).iter().find(|(_, o)| o.confidence > 0.0).cloned();
    let (_, offset) = first(200).unwrap();
    assert!(offset.offset_ms < 0.0, "video that is behind is negative: {offset:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// Invariant 24.
    #[test]
    fn the_offset_of_picture_and_sound_does_not_depend_on_timestamps(audio: u32, video: u32) {
        prop_assert_eq!(watch(ms(80), audio, video), watch(ms(80), 0, 0));
    }

    /// Invariants 7 to 9: the same history at another time, with other numbers, is the same.
    #[test]
    fn only_differences_of_instants_and_numbers_matter(
        fates in prop::collection::vec((0_u64..120, 0_u8..16), 50..300),
        shift in 0_u64..1_000_000_000_000,
        sequence in 0_u64..1_000_000_000,
        rtp: u32,
    ) {
        let play = |shift: u64, sequence: u64, rtp: u32| {
            let mut world = World::new(SyncConfig::standard());
            world.start += Duration::from_nanos(shift);
            world.now = world.start;
            let mut inserted = Vec::new();
            let mut arrivals: Vec<_> = (0_u64..)
                .zip(&fates)
                .filter(|(_, fate)| fate.1 > 0)
                .map(|(n, (late, _))| (FRAME * n as u32 + ms(*late), n))
                .collect();
            arrivals.sort_unstable();
            for (at, n) in arrivals {
                let timestamp = rtp.wrapping_add(n as u32 * STEP);
                inserted.push(world.audio(at, sequence + 1 + n, timestamp));
                if n % 40 == 0 {
                    let _ = world.report(at, Medium::Audio, FRAME * n as u32, timestamp);
                }
            }
            world.until(secs(10));
            let out: Vec<_> = world.out.iter().map(|pop| match pop {
                Pop::Frame { packet, due, delay } => {
                    (packet.sequence - sequence, *due - world.start, *delay)
                }
                Pop::Conceal { rtp: at, due, .. } => {
                    (u64::from(at.wrapping_sub(rtp)), *due - world.start, ms(0))
                }
                _ => (0, ms(0), ms(0)),
            }).collect();
            let sync = &world.sync;
            (inserted, out, sync.get_buffer_statistics(), sync.get_sync_state(), sync.estimate_clock_drift())
        };
        prop_assert_eq!(play(0, 0, 0), play(shift, sequence, rtp));
    }

    /// Invariant 10: a duplicate changes the counters and nothing else.
    #[test]
    fn duplicates_change_only_their_count(
        twice in prop::collection::vec(any::<bool>(), 200),
    ) {
        let play = |twice: &[bool]| {
            let mut world = World::new(SyncConfig::standard());
            for (n, twice) in (0_u64..).zip(twice) {
                world.number(n, ms(n * 7 % 19));
                if *twice {
                    assert_eq!(world.number(n, ms(n * 7 % 19)), Inserted::Duplicate);
                }
            }
            world.until(FRAME * 220);
            (world.story(), world.sync.get_buffer_statistics().audio.buffer.duplicates)
        };
        let count = twice.iter().filter(|twice| **twice).count() as u64;
        let (once, none) = play(&[false; 200]);
        prop_assert_eq!(play(&twice), (once, none + count));
    }

    /// Invariant 14, through the manager.
    #[test]
    fn wall_clocks_and_timestamps_map_there_and_back(rtp: u32, ahead in -1_000_000_i64..1_000_000) {
        let mut world = World::fixed();
        world.report(ms(0), Medium::Audio, secs(100_000), rtp).unwrap();
        let there = AudioTimestamp(rtp.wrapping_add(ahead as u32));
        let us = world.sync.rtp_to_wall_clock(there).unwrap();
        let back: AudioTimestamp = world.sync.wall_clock_to_rtp(us).unwrap();
        let off = back.0.wrapping_sub(there.0) as i32;
        prop_assert!(off.abs() <= 1, "{}", off);
    }
}

#[test]
fn a_report_that_was_there_is_counted_and_no_more() {
    let mut world = World::fixed();
    let good = report(world.start, Medium::Audio, secs(5), 0);
    assert_eq!(world.sync.update_rtcp_sender_report(&good), Ok(ReportUse::Used));
    assert_eq!(world.sync.update_rtcp_sender_report(&good), Ok(ReportUse::Ignored));
    let statistics = world.sync.get_buffer_statistics();
    assert_eq!((statistics.reports, statistics.ignored_reports), (1, 1));
}
