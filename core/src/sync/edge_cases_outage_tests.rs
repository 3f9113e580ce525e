//! The edge cases of a sync manager in which nothing comes for a while, by their numbers.

use std::time::Duration;

use super::manager::world::{FRAME, STEP, World, fixed, ms};
use super::{Inserted, Medium, Pop, SyncConfig, SyncState};

#[test]
fn case_11_after_a_burst_of_losses_playout_resumes_at_the_target() {
    let mut world = World::fixed();
    for n in (0..10).chain(20..40) {
        world.number(n, ms(0));
    }
    world.until(FRAME * 42);
    assert_eq!(world.concealed(), ms(200));
    assert_eq!(world.delay(), ms(50), "no backlog");
}

#[test]
fn case_12_after_an_outage_what_was_held_up_is_played_and_the_delay_drains() {
    let mut world = World::new(fixed().jitter_buffer_size_ms(200));
    let send = |world: &mut World, n: u64| {
        // Nothing arrives from 200 to 640 ms: 22 packets then come at once.
        let late = if (10..32).contains(&n) { ms(640) - FRAME * n as u32 } else { ms(0) };
        world.number(n, late)
    };
    for n in 0..300 {
        assert_eq!(send(&mut world, n), Inserted::Queued, "{n}");
    }
    world.until(FRAME * 310);
    assert_eq!(world.frames().len(), 300, "none is given up");
    assert_eq!(world.delay(), ms(200));
    let dues = world.out.iter().filter_map(|pop| match pop {
        Pop::Frame { due, .. } => Some(*due),
        _ => None,
    });
    let dues: Vec<_> = dues.collect();
    let least = dues.windows(2).map(|pair| pair[1] - pair[0]).min().unwrap();
    assert!(least >= Duration::from_micros(17_499), "12.5 % faster at most: {least:?}");
}

#[test]
fn case_12_after_an_outage_of_560_ms_playout_resumes_at_once_and_its_delay_drains() {
    let mut world = World::new(fixed().jitter_buffer_size_ms(200));
    // Nothing arrives from 2000 to 2560 ms: 28 packets then come at once.
    let late = |n: u64| if (100..128).contains(&n) { ms(2_560) - FRAME * n as u32 } else { ms(0) };
    for n in 0..128 {
        assert_eq!(world.number(n, late(n)), Inserted::Queued, "{n}");
    }
    world.until(ms(2_561));
    let first = world.frames().iter().copied().find(|&frame| frame >= 1_100);
    // The largest delay is 500 ms, and a packet ends 20 ms later than it begins: what is beyond is dropped.
    assert_eq!(first, Some(1_102), "the first that is due is played at once");
    let resumed = world.delay();
    for n in 128..400 {
        assert_eq!(world.number(n, ms(0)), Inserted::Queued, "{n}");
    }
    world.until(ms(8_400));
    let statistics = world.sync.get_buffer_statistics().audio.buffer;
    assert_eq!((statistics.flushed, statistics.overruns, statistics.restarts), (0, 0, 0));
    assert_eq!((statistics.late, statistics.frames), (2, 398));
    assert!(resumed <= ms(520), "{resumed:?}");
    assert_eq!(world.delay(), ms(200));
    let dues = world.out.iter().filter_map(|pop| match pop {
        Pop::Frame { packet, due, .. } if packet.sequence >= 1_102 => Some(*due),
        _ => None,
    });
    let dues: Vec<_> = dues.collect();
    let least = dues.windows(2).map(|pair| pair[1] - pair[0]).min().unwrap();
    let slow = Duration::from_micros(17_499)..ms(20);
    assert!(slow.contains(&least), "faster, by 12.5 % at most: {least:?}");
}

#[test]
fn case_12_an_outage_within_the_largest_delay_costs_no_packet_whatever_the_hold() {
    for config in [fixed(), SyncConfig::standard()] {
        let mut world = World::new(config);
        let late =
            |n: u64| if (100..125).contains(&n) { ms(2_500) - FRAME * n as u32 } else { ms(0) };
        for n in 0..500 {
            assert_eq!(world.number(n, late(n)), Inserted::Queued, "{n}");
        }
        world.until(FRAME * 530);
        let frames = world.frames();
        assert!(frames.iter().copied().eq(1_000..1_500), "{config:?}");
        let statistics = world.sync.get_buffer_statistics().audio;
        assert_eq!(statistics.dropped_frames, 0);
    }
}

#[test]
fn case_12_what_a_queue_kept_of_an_outage_of_two_seconds_is_of_the_same_stream() {
    // From 4 to 6 s nothing comes; then so many packets that had room in a queue, and the others were dropped.
    for kept in [1, 25, 60] {
        let mut world = World::new(SyncConfig::standard());
        let report = |world: &mut World, n: u64| {
            let rtp = STEP * 1_000 + STEP * n as u32;
            let (at, video) = (FRAME * n as u32, rtp / 8 * 15);
            assert!(world.report(at, Medium::Audio, FRAME * n as u32, rtp).is_ok());
            assert!(world.report(at, Medium::Video, FRAME * n as u32, video).is_ok());
        };
        for n in 0..600_u64 {
            let late = match n {
                200..300 if n < 200 + kept => ms(6_000) - FRAME * n as u32,
                200..300 => continue,
                _ => ms(0),
            };
            if n % 50 == 0 && n < 200 {
                report(&mut world, n);
            }
            assert_eq!(world.number(n, late), Inserted::Queued, "{n} with {kept}");
            let at = FRAME * n as u32 + late;
            assert_eq!(world.picture(at, n, STEP * n as u32 / 8 * 15), Inserted::Queued, "{n}");
        }
        let statistics = world.sync.get_buffer_statistics();
        for figures in [statistics.audio.buffer, statistics.video.buffer] {
            assert_eq!((figures.restarts, figures.strays, figures.flushed), (0, 0, 0), "{kept}");
        }
        assert!(world.sync.estimate_clock_drift().is_some());
        assert_eq!(world.sync.get_sync_state(), SyncState::Synced);
        let frames = world.frames();
        assert!((1_300..1_590).all(|frame| frames.contains(&frame)), "{kept}");
    }
}

#[test]
fn case_16_a_first_packet_that_is_two_seconds_late_is_of_the_same_stream() {
    let mut world = World::new(SyncConfig::standard());
    world.number(0, ms(2_000));
    for n in 100..300 {
        assert_eq!(world.number(n, ms(1)), Inserted::Queued, "{n}");
    }
    assert!(world.frames().iter().copied().any(|frame| frame == 1_100));
}
