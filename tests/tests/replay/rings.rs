//! Rings of the latest entries: replayed from any moment on, from the state before their first entry.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use rtcmesh_core::media::RuntimeData;
use rtcmesh_core::trace::{RecordOptions, RecordingError, entries, hostile};
use rtcmesh_core::transport::{Replay, resaved};
use rtcmesh_sim::World;

use super::common::automatic;
use super::{chatter, eventful_with, record, replay, short};

#[test]
fn a_ring_that_has_room_for_everything_is_replayed_whenever_it_was_taken() {
    let mut options = RecordOptions::default();
    options.ring = true;
    let mut world = World::new(3);
    for name in ["p0", "p1"] {
        world.add(automatic(name));
    }
    let recorders = record(&mut world, &options);
    let mut calls = 0;
    for part in 0..3 {
        match part {
            0 => world.start_all(),
            1 => assert!(world.run_until(World::all_connected)),
            _ => chatter(&mut world, 30),
        }
        // What is taken stays.
        assert!(recorders[0].take() == recorders[0].take());
        let recording = recorders[0].take();
        assert!(!entries(recording.clone()).unwrap().header().ring);
        let report = replay(recording);
        assert_eq!((report.difference, report.ended), (None, None), "part {part}");
        assert!(report.calls > calls, "part {part}");
        calls = report.calls;
    }
    assert_eq!(recorders[0].dropped(), 0);
}

/// A ring of the least size.
fn small_ring() -> RecordOptions {
    let mut options = RecordOptions::default();
    (options.ring, options.max_bytes) = (true, 64 * 1024);
    options
}

#[test]
fn a_ring_that_was_full_is_replayed_from_any_moment_on() {
    let (mut rings, mut restored, mut calls, mut largest) = (0_usize, 0_usize, 0, 0);
    let mut options = small_ring();
    options.max_bytes = 300 * 1024;
    let last = eventful_with(&options, &mut |world, recorders| {
        rings += 1;
        if !rings.is_multiple_of(7) {
            return;
        }
        let host = rings / 7 % recorders.len();
        let ring = recorders[host].take();
        let header = entries(ring.clone()).unwrap().header().clone();
        let state = ring.len().saturating_sub(options.max_bytes);
        let at = world.elapsed();
        if header.ring {
            let state = hostile::state(ring.clone()).unwrap();
            let again = resaved(Instant::now(), ring.clone()).unwrap();
            assert!(state == again, "host {host} at {at:?}: what was restored is something else");
        }
        let report = replay(ring);
        assert_eq!((report.difference, report.ended), (None, None), "host {host} at {at:?}");
        assert_eq!(header.lost, None);
        if header.ring {
            (restored, calls) = (restored + 1, calls + report.calls);
            largest = largest.max(state);
        }
    });
    assert!(restored > 30 && calls > 5_000, "{restored} rings, {calls} calls");
    assert!(largest < 2 * 1024 * 1024, "a state of {largest} bytes");
    for (host, ring) in last.into_iter().enumerate() {
        let report = replay(ring);
        assert_eq!((report.difference, report.ended), (None, None), "host {host}");
        assert!(report.calls > 10 && report.nanoseconds < 60_000_000_000, "host {host}");
    }
}

#[test]
fn a_ring_that_was_full_can_be_shown() {
    let ring = short(&small_ring());
    let shown: Vec<_> = entries(ring.clone()).unwrap().collect::<Result<_, _>>().unwrap();
    assert!(shown.len() > 100 && shown.last().is_some_and(|entry| !entry.text.is_empty()));
    // The header and the state come before them.
    assert_eq!(shown[0].record, 2);
    let header = entries(ring).unwrap().header().clone();
    assert!(header.ring && header.state.is_some() && header.lost.is_none(), "{header:?}");
}

#[test]
fn a_difference_in_a_ring_is_named() {
    let mut at = None;
    let changed = hostile::edited(short(&small_ring()), |number, text| {
        let new = text.replacen("\"due\":[", "\"due\":[1", 1);
        if at.is_some() || number < 100 || new == text {
            return text;
        }
        at = Some(number);
        new
    });
    let difference = replay(changed.unwrap()).difference.unwrap();
    assert_eq!((Some(difference.record), difference.what.as_str()), (at, "deadline"));
}

#[test]
fn a_state_of_another_build_and_none_are_told() {
    let ring = short(&small_ring());
    let with = |from: &str, to: &str| {
        let edit = |number, text: String| match number {
            0 => text.replacen(from, to, 1),
            _ => text,
        };
        Replay::new(hostile::edited(ring.clone(), edit).unwrap(), Instant::now()).unwrap_err()
    };
    for (from, to) in [("\"state\":\"", "\"state\":\"0"), ("\"core\":\"", "\"core\":\"9")] {
        let error = with(from, to);
        assert!(matches!(error, RecordingError::ForeignState { .. }), "{error}");
        assert!(error.to_string().contains("replay it with the build that wrote it"), "{error}");
    }
    let error = with("\"state\":", "\"lost\":");
    assert!(matches!(error, RecordingError::Ring { .. }), "{error}");
    assert!(error.to_string().contains("oldest entries have gone"), "{error}");
}

#[test]
fn a_damaged_state_is_told_with_its_place() {
    let ring = short(&small_ring());
    // Behind the header's record.
    let length = |at: usize| u32::from_le_bytes(ring[at..at + 4].try_into().unwrap()) as usize;
    let begin = 10 + 8 + length(10);
    let end = begin + 8 + length(begin);
    assert!(end - begin > 10_000);
    for at in [begin, begin + 4, begin + 8, (begin + end) / 2, end - 1] {
        let mut damaged = ring.clone();
        damaged[at] ^= 1;
        let error = Replay::new(damaged, Instant::now()).unwrap_err();
        assert!(
            matches!(&error, RecordingError::Damaged { offset, .. } if *offset == begin),
            "{at}: {error}"
        );
    }
    for at in [begin, begin + 4, begin + 9, end - 1] {
        let error = Replay::new(ring[..at].to_vec(), Instant::now()).unwrap_err();
        assert_eq!(error, RecordingError::Truncated { offset: begin });
    }
    // With a right checksum its parts are checked, and one that is cut off says where.
    for part in [0, 1, 7, 100, 1_000, end - begin - 9] {
        let state = ring[begin + 8..begin + 8 + part].to_vec();
        let cut = hostile::with_state(ring.clone(), &state).unwrap();
        let error = Replay::new(cut, Instant::now()).unwrap_err();
        let RecordingError::Damaged { offset, what } = &error else { panic!("{error}") };
        assert!((begin + 8..=begin + 8 + part).contains(offset), "{part}: {error}");
        assert!(what.starts_with("the state: ") && what.contains("it "), "{error}");
    }
}

#[test]
fn a_call_that_has_no_room_leaves_a_ring_without_a_state() {
    let mut options = small_ring();
    options.contents = true;
    let mut world = World::new(3);
    for name in ["p0", "p1"] {
        world.add(automatic(name));
    }
    let recorders = record(&mut world, &options);
    world.start_all();
    assert!(world.run_until(World::all_connected));
    let large = RuntimeData::Binary(vec![1; 100_000].into());
    for _ in 0..3 {
        world.act(0, |transport, now| transport.broadcast(now, &large)).unwrap();
        world.run(Duration::from_secs(1));
    }
    let ring = recorders[0].take();
    let header = entries(ring.clone()).unwrap().header().clone();
    assert!(header.lost.as_ref().is_some_and(|why| why.contains("found no room")), "{header:?}");
    assert!(ring.len() < 80 * 1024, "{}", ring.len());
    assert!(matches!(
        Replay::new(ring, Instant::now()).unwrap_err(),
        RecordingError::Ring { why } if Some(&why) == header.lost.as_ref()
    ));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn states_of_anybody_end(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
    ) {
        static RING: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
        let ring = RING.get_or_init(|| short(&small_ring()));
        let mut state = hostile::state(ring.clone()).unwrap();
        for (place, byte) in changes {
            let at = place.index(state.len());
            state[at] = byte;
        }
        rtcmesh_core::transport::hostile(Instant::now(), &state);
        let changed = hostile::with_state(ring.clone(), &state).unwrap();
        if let Ok(replay) = Replay::new(changed, Instant::now()) {
            replay.run();
        }
    }
}
