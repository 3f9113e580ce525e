//! The edge cases of a sync manager, one a test, by number. What concerns the rendering of audio is
//! tested there, and number 34 with the correction; here is what the manager says and when.

use std::time::Duration;

use proptest::prelude::*;

use super::manager::world::{FRAME, STEP, World, discontinuity, fixed, ms, secs};
use super::{Inserted, Medium, Packet, Pop, SyncConfig, Unwrapper, VideoPacket};

const AUDIO: Medium = Medium::Audio;
const VIDEO: Medium = Medium::Video;

#[test]
fn case_01_sequence_numbers_wrap() {
    let mut world = World::fixed();
    let mut unwrapper = Unwrapper::new();
    for (n, sequence) in [65_534, 65_535, 0, 1].into_iter().enumerate() {
        world.audio(FRAME * n as u32, unwrapper.unwrap(sequence), STEP * n as u32);
    }
    world.until(ms(120));
    assert_eq!(world.frames(), [131_070, 131_071, 131_072, 131_073]);
    assert_eq!(world.concealed(), Duration::ZERO);
}

#[test]
fn case_02_two_full_wraps_with_reordering_lose_nothing() {
    let mut world = World::fixed();
    let mut unwrapper = Unwrapper::new();
    for n in 0..140_000_u32 {
        // Every twentieth changes places with its successor.
        let n = match n % 20 {
            10 => n + 1,
            11 => n - 1,
            _ => n,
        };
        let at = FRAME * (n / 2 * 2 + 1);
        world.audio(at, unwrapper.unwrap(n as u16), n.wrapping_mul(STEP));
    }
    world.until(FRAME * 140_004);
    let frames = world.frames();
    assert_eq!(frames.len(), 140_000);
    assert!(frames.windows(2).all(|pair| pair[1] == pair[0] + 1));
    assert_eq!(world.concealed(), FRAME * 2, "behind the end only");
}

#[test]
fn case_03_what_was_sent_before_the_first_packet_is_played_before_it() {
    for (late, played) in [(10, true), (80, false)] {
        let mut world = World::fixed();
        let mut unwrapper = Unwrapper::new();
        let first = unwrapper.unwrap(0);
        world.audio(ms(0), first, STEP);
        let before = unwrapper.unwrap(65_535);
        assert_eq!(before, first - 1);
        let inserted = world.audio(ms(late), before, 0);
        assert_eq!(inserted, if played { Inserted::Queued } else { Inserted::Late });
        world.until(ms(100));
        let expected = if played { vec![before, first] } else { vec![first] };
        assert_eq!(world.frames(), expected);
    }
}

#[test]
fn case_04_timestamps_wrap_and_due_times_go_on() {
    let mut world = World::fixed();
    for n in 0..4 {
        world.audio(FRAME * n, 1_000 + u64::from(n), 0xffff_fc40_u32.wrapping_add(n * STEP));
    }
    world.until(ms(120));
    assert_eq!(world.story(), "f0@50 f1@70 f2@90 f3@110");
}

#[test]
fn case_05_a_jump_by_half_the_sequence_numbers_is_a_stray() {
    let mut world = World::fixed();
    let mut unwrapper = Unwrapper::new();
    for n in 0..3 {
        world.audio(FRAME * n, unwrapper.unwrap(n as u16), STEP * n);
    }
    let sequence = unwrapper.unwrap(2 + 32_768);
    assert_eq!(world.audio(ms(60), sequence, STEP * 3), Inserted::Stray);
    assert_eq!(world.audio(ms(60), unwrapper.unwrap(3), STEP * 3), Inserted::Queued);
}

#[test]
fn case_06_and_07_a_duplicate_is_counted_and_played_once() {
    let mut world = World::fixed();
    world.number(0, ms(0));
    assert_eq!(world.number(0, ms(1)), Inserted::Duplicate);
    world.until(ms(60));
    assert_eq!(world.number(0, ms(60)), Inserted::Duplicate);
    assert_eq!(world.frames(), [1_000]);
    assert_eq!(world.sync.get_buffer_statistics().audio.buffer.duplicates, 2);
    assert_eq!(world.sync.get_buffer_statistics().audio.dropped_frames, 2);
}

#[test]
fn case_08_what_is_late_is_played_while_nothing_newer_was() {
    let mut world = World::fixed();
    world.number(0, ms(0));
    world.number(1, ms(60));
    world.until(ms(110));
    assert_eq!(world.story(), "f0@50 dry20@70 f1@87 dry20@105");
}

#[test]
fn case_09_what_is_late_after_something_newer_is_dropped_and_learnt_from() {
    let mut world = World::new(SyncConfig::standard());
    let hold = |world: &World| world.sync.get_buffer_statistics().audio.hold;
    let mut dropped = 0;
    for n in 0..500 {
        // From the second second on every tenth comes 100 ms later than others.
        let slow = |n: u64| n >= 100 && n.is_multiple_of(10);
        if n == 100 {
            assert!(hold(&world) < ms(10), "{:?}", hold(&world));
        }
        if !slow(n) {
            world.number(n, ms(0));
        }
        if n >= 5 && slow(n - 5) {
            dropped += u64::from(world.number(n - 5, ms(100)) == Inserted::Late);
        }
    }
    let statistics = world.sync.get_buffer_statistics().audio;
    assert_eq!((statistics.buffer.late, statistics.dropped_frames), (dropped, dropped));
    assert!((1..=20).contains(&dropped), "{dropped}");
    assert!(hold(&world) >= ms(98), "{:?}", hold(&world));
}

#[test]
fn case_09_one_that_is_late_after_something_newer_is_one_late() {
    let mut world = World::new(SyncConfig::standard());
    let hold = |world: &World| world.sync.get_buffer_statistics().audio.hold;
    for n in (0..100).chain(101..103) {
        world.number(n, ms(0));
    }
    let before = hold(&world);
    assert_eq!(world.number(100, ms(40)), Inserted::Late);
    for n in 103..120 {
        world.number(n, ms(0));
    }
    let statistics = world.sync.get_buffer_statistics().audio;
    assert_eq!((statistics.buffer.late, statistics.dropped_frames), (1, 1));
    assert!(!world.frames().contains(&1_100), "it is not played");
    assert!(hold(&world) > before + ms(10), "{before:?} {:?}", hold(&world));
}

#[test]
fn case_10_a_lost_packet_is_concealed_with_its_successor_at_hand() {
    let mut world = World::fixed();
    for n in [0, 2, 3] {
        world.number(n, ms(0));
    }
    world.until(ms(71));
    assert_eq!(world.story(), "f0@50 lost20@70");
    assert_eq!(world.sync.audio().peek_next().map(|next| next.sequence), Some(1_002));
    world.until(ms(111));
    assert_eq!(world.story(), "f2@90 f3@110");
}

#[test]
fn case_13_nothing_is_held_for_longer_than_the_largest_delay() {
    let mut world = World::new(SyncConfig::standard().max_jitter_buffer_ms(120));
    for n in 0..1_500 {
        // Up to 300 ms late, in bursts.
        world.number(n, ms(300).saturating_sub(FRAME * (n as u32 % 40)));
        let statistics = world.sync.get_buffer_statistics().audio;
        assert!(statistics.hold <= ms(120), "{statistics:?}");
    }
    let held = world.sync.get_buffer_statistics().audio.hold;
    assert_eq!(held, ms(120), "it asks for more");
}

#[test]
fn case_13_what_nobody_fetched_is_dropped_down_to_the_target() {
    let mut world = World::new(fixed().max_jitter_buffer_ms(120));
    for n in 0..100_u64 {
        let (arrived, rtp) = (world.start + FRAME * n as u32, STEP * n as u32);
        let packet = Packet { sequence: n, rtp, duration: STEP, dtx: false, arrived, payload: n };
        assert_eq!(world.sync.insert_audio(packet), Inserted::Queued);
    }
    world.now = world.start + FRAME * 99;
    world.take();
    assert_eq!(world.sync.get_buffer_statistics().audio.buffer.overruns, 97);
    assert!(world.concealed().is_zero());
    world.until(FRAME * 99 + ms(51));
    assert_eq!(world.frames(), [97, 98, 99]);
}

#[test]
fn case_14_a_flood_in_one_instant_is_bounded() {
    let mut world = World::fixed();
    let arrived = world.start;
    for n in 0..10_000_u64 {
        let rtp = n as u32 * STEP;
        let packet = Packet { sequence: n, rtp, duration: STEP, dtx: false, arrived, payload: n };
        world.sync.insert_audio(packet);
        let (keyframe, contiguous, size) = (n == 0, true, 1 << 20);
        let packet =
            VideoPacket { sequence: n, rtp, keyframe, contiguous, size, arrived, payload: n };
        world.sync.insert_video(packet);
    }
    let statistics = world.sync.get_buffer_statistics();
    assert!(statistics.audio.buffer.current <= statistics.audio.max_frames);
    assert!(statistics.video.buffer.current <= 33, "32 MiB: {:?}", statistics.video);
    assert_eq!(statistics.audio.buffer.inserted, 10_000);
}

#[test]
fn case_15_a_clean_stream_loses_nothing_however_long() {
    let mut world = World::new(SyncConfig::standard());
    // An hour; a day with everything that happens in one is the bench `soak`.
    for n in 0..180_000 {
        assert_eq!(world.number(n, ms(0)), Inserted::Queued);
    }
    let frames = world.frames();
    assert!(frames.len() > 179_995 && frames.windows(2).all(|pair| pair[1] == pair[0] + 1));
    assert_eq!(world.concealed(), Duration::ZERO);
}

#[test]
fn case_16_the_delay_of_a_late_first_packet_does_not_stay() {
    let mut world = World::fixed();
    for n in 0..25 {
        world.number(n, ms(500) - FRAME * n as u32);
    }
    for n in 25..150 {
        world.number(n, ms(0));
    }
    world.until(FRAME * 150);
    assert_eq!(world.concealed(), Duration::ZERO);
    let delay = world.delay();
    assert!(delay.abs_diff(ms(50)) < ms(1), "{delay:?}");
}

#[test]
fn case_17_and_18_silence_is_not_concealed_and_teaches_nothing() {
    for period in [5_000, 400] {
        let mut world = World::new(SyncConfig::standard());
        for n in 0..250 {
            world.number(n, ms(n % 3));
        }
        let hold = world.sync.get_buffer_statistics().audio.hold;
        for (sequence, at) in (1_250..).zip((5_000..=15_000).step_by(period)) {
            let rtp = STEP * 1_000 + at as u32 * 48;
            world.packet(ms(at as u64), (sequence, rtp, STEP, true));
        }
        world.until(ms(15_100));
        let pauses = world.out.iter().filter(|pop| matches!(pop, Pop::Silence { .. })).count();
        assert!(pauses >= 10_000 / period, "{pauses} pauses with {period} ms");
        assert_eq!(world.concealed(), Duration::ZERO);
        let after = world.sync.get_buffer_statistics().audio.hold;
        assert!(after.abs_diff(hold) <= ms(2), "{hold:?} {after:?} with {period} ms");
    }
}

#[test]
fn case_21_one_wrong_timestamp_costs_one_frame() {
    let mut world = World::fixed();
    for n in 0..10 {
        if n == 5 {
            let rtp = 0x4000_0000 + STEP;
            assert_eq!(world.audio(FRAME * 5, 1_005, rtp), Inserted::Stray);
        } else {
            world.number(n, ms(0));
        }
    }
    world.until(FRAME * 12);
    assert_eq!(world.frames().len(), 9);
    assert_eq!(world.sync.get_buffer_statistics().audio.buffer.restarts, 0);
}

#[test]
fn case_22_frames_of_the_same_timestamp_come_out_by_sequence() {
    let mut world = World::fixed();
    for (sequence, rtp) in [(1, 0), (2, 3_000), (3, 3_000), (4, 6_000)] {
        world.picture(ms(u64::from(rtp) / 90), sequence, rtp);
    }
    world.until(ms(200));
    let shown: Vec<_> = world.video.iter().map(|(pop, _)| pop.packet.sequence).collect();
    assert_eq!(shown, [1, 2, 3, 4]);
}

#[test]
fn case_35_a_time_that_goes_back_is_counted() {
    let mut world = World::fixed();
    world.number(0, ms(0));
    assert_eq!(world.sync.pop_audio(world.start + ms(40)), Pop::None);
    assert_eq!(world.sync.pop_audio(world.start), Pop::None);
    assert_eq!(world.sync.get_buffer_statistics().backward_instants, 1);
    assert!(matches!(world.sync.pop_audio(world.start + ms(50)), Pop::Frame { .. }));
}

#[test]
fn case_36_an_empty_manager_can_be_asked_for_ever() {
    let mut world = World::fixed();
    for n in 0..1_000_000 {
        assert_eq!(world.sync.pop_audio(world.start + ms(n)), Pop::None);
        assert_eq!(world.sync.pop_video(world.start + ms(n)), None);
    }
    assert_eq!(world.sync.poll_timeout(), None);
}

#[test]
fn case_37_and_38_a_longer_and_a_shorter_route_are_followed() {
    let mut world = World::fixed();
    let lateness = |n: u64| if (500..1_000).contains(&n) { ms(30) } else { ms(0) };
    for n in 0..1_500 {
        world.number(n, lateness(n));
        let delay = world.delay();
        // What was sent before the change of route is played after it.
        match n {
            700..=999 => assert!(delay.abs_diff(ms(50)) < ms(2), "{n}: {delay:?}"),
            1_200..=1_499 => assert!(delay.abs_diff(ms(50)) < ms(2), "{n}: {delay:?}"),
            _ => assert!(delay <= ms(85), "{n}: {delay:?}"),
        }
    }
    assert!(world.concealed() <= FRAME * 2, "{:?}", world.concealed());
}

#[test]
fn case_39_frames_of_any_length_are_due_by_their_timestamps() {
    let mut world = World::fixed();
    let mut sent = 0;
    for (n, millis) in [5, 60, 120, 5, 20, 60].into_iter().enumerate() {
        let packet = (1_000 + n as u64, sent as u32 * 48, millis * 48, false);
        world.packet(ms(sent), packet);
        sent += u64::from(millis);
    }
    world.until(ms(270));
    assert_eq!(world.story(), "f0@50 f1@55 f2@115 f3@235 f4@240 f5@260");
}

#[test]
fn case_40_where_every_other_packet_is_overtaken_the_order_is_kept() {
    let mut world = World::new(SyncConfig::standard());
    for n in 0..3_000_u64 {
        // 1, 0, 3, 2, ...: each odd one a moment before the one that it overtook.
        let number = n ^ 1;
        world.audio(FRAME * (n as u32 | 1), 1_000 + number, number as u32 * STEP);
    }
    world.until(FRAME * 3_000);
    let frames = world.frames();
    assert!(frames.windows(2).all(|pair| pair[1] == pair[0] + 1) && frames.len() > 2_990);
    let hold = world.sync.get_buffer_statistics().audio.hold;
    assert!((ms(20)..=ms(25)).contains(&hold), "a packet's length: {hold:?}");
}

#[test]
fn case_43_large_key_frames_do_not_raise_the_target() {
    let mut world = World::new(SyncConfig::standard());
    for n in 0..3_000_u64 {
        let (keyframe, contiguous) = (n % 100 == 0, true);
        // 4 Mbit/s: a usual frame takes 4 ms, a key frame 40.
        let size = if keyframe { 20_000 } else { 2_000 };
        let at = Duration::from_nanos(n * 33_333_333) + Duration::from_micros(size as u64 * 2);
        world.until(at);
        let (rtp, arrived) = (n as u32 * 3_000, world.start + at);
        let packet =
            VideoPacket { sequence: n, rtp, keyframe, contiguous, size, arrived, payload: n };
        world.sync.insert_video(packet);
    }
    let delay = world.sync.get_buffer_statistics().video.hold;
    assert!(delay < ms(20), "{delay:?}");
}

#[test]
fn case_44_video_runs_free_where_audio_is_muted() {
    let mut world = World::fixed();
    for n in 0..300_u64 {
        let at = FRAME * n as u32;
        world.picture(at, n, n as u32 * 1_800);
        if n % 50 == 0 {
            world.report(at, VIDEO, at, n as u32 * 1_800).unwrap();
            world.report(at, AUDIO, at, n as u32 * STEP).unwrap();
        }
    }
    world.until(secs(6));
    assert_eq!(world.video.len(), 298);
    for (pop, offset) in &world.video {
        assert_eq!((pop.delay, offset.confidence), (ms(50), 0.0));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Invariant 11, through the whole manager.
    #[test]
    fn whatever_order_packets_come_in_within_the_hold_they_are_played_alike(
        late in prop::collection::vec(0_u64..50, 100..200),
    ) {
        let count = late.len();
        // Every tenth is not late at all, so that the fastest transit stays.
        let late = |n: usize| if n.is_multiple_of(10) { 0 } else { late[n] };
        let play = |late: &dyn Fn(usize) -> u64| {
            let mut world = World::fixed();
            let mut arrivals: Vec<_> = (0..count).map(|n| (20 * n as u64 + late(n), n)).collect();
            arrivals.sort_unstable();
            for (_, n) in arrivals {
                assert_eq!(world.number(n as u64, ms(late(n))), Inserted::Queued);
            }
            world.until(secs(5));
            let start = world.start;
            let played = world.out.iter().filter_map(|pop| match pop {
                Pop::Frame { packet, due, .. } => Some((packet.sequence, *due - start)),
                _ => None,
            });
            (played.collect::<Vec<_>>(), world.concealed())
        };
        let (found, plain) = (play(&late), play(&|_| 0));
        prop_assert_eq!(found.0.len(), count);
        prop_assert!(found == plain, "another sequence");
    }
}

#[test]
fn case_45_a_reset_manager_is_a_new_one() {
    let play = |world: &mut World| {
        let from = world.now - world.start;
        let mut found = Vec::new();
        for n in 0..600_u64 {
            let at = from + FRAME * n as u32;
            if n % 7 != 3 {
                found.push(world.audio(at, 1_000 + n, STEP * n as u32));
            }
            world.picture(at, n, n as u32 * 1_800);
            if n % 50 == 0 {
                world.report(at, VIDEO, at - from, n as u32 * 1_800).unwrap();
                world.report(at, AUDIO, at - from, n as u32 * STEP).unwrap();
            }
        }
        let start = world.start + from;
        let pops = world.out.drain(..).map(|pop| match pop {
            Pop::Frame { packet, due, .. } => (packet.sequence, due - start),
            Pop::Conceal { duration, due, .. } => (u64::from(duration), due - start),
            _ => (0, ms(0)),
        });
        let pops: Vec<_> = pops.collect();
        let video = world.video.drain(..).map(|(pop, offset)| (pop.due - start, offset));
        let video: Vec<_> = video.collect();
        let sync = &world.sync;
        let known = (sync.get_buffer_statistics(), sync.estimate_clock_drift());
        (found, pops, video, known, sync.get_sync_state(), sync.correction_factor())
    };
    for config in [fixed(), SyncConfig::standard()] {
        let mut world = World::new(config);
        let first = play(&mut world);
        // In the middle of a concealment, a correction, a step.
        world.sync.apply_clock_drift_correction(1.005).unwrap();
        let rtp = world.report(world.now - world.start, AUDIO, secs(100), 5);
        assert!(discontinuity(rtp));
        world.sync.reset();
        assert_eq!(world.sync.poll_timeout(), None);
        world.out.clear();
        assert_eq!(play(&mut world), first);
    }
}

#[test]
fn case_46_after_an_hour_of_sleep_there_is_no_hour_of_concealment() {
    let mut world = World::fixed();
    for n in 0..100 {
        world.number(n, ms(0));
    }
    world.now += secs(3_600);
    world.sync.handle_timeout(world.now);
    world.take();
    assert!(world.concealed() <= secs(1), "{:?}", world.concealed());
    world.out.clear();
    // The sender had gone on.
    for n in 180_100..180_150 {
        world.number(n, ms(0));
    }
    world.until(FRAME * 180_160);
    let frames = world.frames();
    assert!(frames.len() >= 49, "{}", frames.len());
    assert_eq!(world.delay(), ms(50));
}
