use std::time::Duration;

use proptest::prelude::*;

use super::super::target::DelayTarget;
use super::*;

const MS: i64 = 1_000_000;
const FRAME: i64 = 20 * MS;
const PIECE: i64 = 10 * MS;
/// What the stretcher of these tests inserts or takes out, and how long it rests.
const QUANTUM: i64 = 8 * MS;
const REST: i64 = 60 * MS;

fn control() -> Control {
    Control::new(&PlayoutTuning::rtcmesh())
}

/// The situation of `delay` and `target` with so much ready, in milliseconds.
fn at(delay: i64, target: i64, ready: i64) -> Situation {
    let (delay, target, ready) = (delay * MS, target * MS, ready * MS);
    Situation { delay, target, ready, usual: target / 2, ..Situation::default() }
}

#[test]
fn decisions_by_situation() {
    let gap = |gap: i64, concealed: i64, at: Situation| Situation {
        gap: Some(gap * MS),
        concealed: concealed * MS,
        ..at
    };
    let grow = |least| Step::Grow { least: least * MS };
    let shrink = |most, hurry| Step::Shrink { most: most * MS, hurry };
    let trim = |most| Step::Trim { most: most * MS };
    let conceal = |length| Step::Conceal { length: length * MS };
    let near = |near: i64, at: Situation| Situation { near: near * MS, ..at };
    let table = [
        ("on target", at(40, 40, 40), Step::Play),
        ("a piece more than the target", at(50, 40, 40), shrink(10, false)),
        ("a piece more than a small target", at(30, 20, 20), trim(10)),
        ("a piece more, of which some was needed", near(13, at(22, 12, 20)), Step::Play),
        ("two pieces more, of which some was needed", near(16, at(33, 12, 30)), shrink(10, false)),
        ("two pieces more than that", at(40, 20, 30), shrink(20, false)),
        ("almost a piece more", at(49, 40, 40), Step::Play),
        ("what is of no use goes first", at(47, 40, 47), shrink(7, false)),
        ("far above the target", at(140, 60, 100), shrink(80, true)),
        ("no more than there is", at(140, 60, 50), shrink(40, true)),
        ("far below", at(20, 40, 40), grow(0)),
        ("nothing behind, and late", at(45, 40, 15), grow(5)),
        ("nothing behind, but no later than the target", at(18, 20, 10), Step::Play),
        ("nothing behind, as usual", at(24, 22, 14), Step::Play),
        ("nothing there", at(40, 40, 0), conceal(10)),
        ("some there", at(40, 40, 3), conceal(7)),
        ("a gap", gap(20, 0, at(40, 40, 0)), conceal(10)),
        ("the rest of a gap", gap(20, 17, at(40, 40, 0)), conceal(3)),
        ("a gap that was filled", gap(20, 20, at(40, 40, 0)), Step::Skip),
        ("a gap half filled, and no delay to spare", gap(20, 10, at(59, 40, 0)), conceal(10)),
        ("a gap half filled, and some to spare", gap(20, 10, at(60, 40, 0)), Step::Skip),
        ("a gap further on", gap(20, 0, at(45, 40, 15)), shrink(5, false)),
    ];
    for (name, situation, expected) in table {
        assert_eq!(control().decide(&situation, PIECE), expected, "{name}");
    }
}

#[test]
fn a_single_loss_at_the_usual_delay_is_made_up() {
    for tuning in [PlayoutTuning::rtcmesh(), PlayoutTuning::safe()] {
        // 20 ms are missing: with a delay of 60 ms there would be 40 ms behind them.
        let situation = Situation { gap: Some(20 * MS), ..at(60, 60, 0) };
        let step = Control::new(&tuning).decide(&situation, PIECE);
        assert_eq!(step, Step::Conceal { length: PIECE });
    }
}

#[test]
fn the_worst_of_short_packets_counts_and_the_best_may_be_taken_out() {
    // Packets of 5 ms: one of each two begins 3 ms into a piece, the other 8 ms.
    let short = |delay, ready| Situation { packet: 5 * MS, ..at(delay, 40, ready) };
    let step = |delay, ready| control().decide(&short(delay, ready), PIECE);
    for ready in [43, 48] {
        assert_eq!(step(48, ready), Step::Shrink { most: 3 * MS, hurry: false }, "{ready}");
        assert_eq!(step(58, ready), Step::Shrink { most: 13 * MS, hurry: false }, "{ready}");
        assert_eq!(step(57, ready), Step::Shrink { most: 3 * MS, hurry: false }, "{ready}");
    }
    for ready in [40, 45] {
        assert_eq!(step(54, ready), Step::Play, "nothing is of no use to all: {ready}");
    }
}

/// What became of a stream.
#[derive(Debug, Default)]
struct Story {
    /// When, and for how long, something was made up, and what was inserted or taken out.
    concealed: Vec<(i64, i64)>,
    stretched: Vec<(i64, i64)>,
    /// The numbers of the packets that were played.
    played: Vec<i64>,
    /// The delay of each pull after its own fastest transit, by its time.
    delays: Vec<(i64, i64)>,
}

impl Story {
    fn concealed_after(&self, from: i64) -> i64 {
        self.concealed.iter().filter(|(at, _)| *at >= from).map(|(_, length)| length).sum()
    }

    fn delay_at(&self, time: i64) -> i64 {
        let at = self.delays.partition_point(|(at, _)| *at < time);
        self.delays[at.min(self.delays.len() - 1)].1
    }
}

/// Plays packets of 20 ms, the arrivals in order with their numbers, in pieces of 10 ms with a stretcher of
/// 8 ms at most every 60 ms.
fn play(mut arrivals: Vec<(i64, i64)>, tuning: &PlayoutTuning) -> Story {
    arrivals.sort();
    let ms = Duration::from_millis;
    let mut target = DelayTarget::new(tuning, ms(50), ms(500));
    let control = Control::new(tuning);
    let mut story = Story::default();
    let end = arrivals.last().unwrap().0;
    let mut coming = arrivals.into_iter().peekable();
    let mut there = std::collections::BTreeSet::new();
    let (mut next, mut left, mut extra, mut concealed, mut rested) = (0, 0, 0, 0, 0);
    for now in (80 * MS..end).step_by(PIECE as usize) {
        while let Some((arrival, n)) = coming.next_if(|(arrival, _)| *arrival <= now) {
            target.observe(arrival, n * FRAME);
            if n >= next {
                there.insert(n);
            }
        }
        let mut wanted = PIECE;
        while wanted > 0 {
            let run = (next..).take_while(|n| there.contains(n)).count() as i64;
            let behind = there.range(next + run..).next().map(|n| (n - next - run) * FRAME);
            let media = next * FRAME - left;
            let situation = Situation {
                delay: now - media - target.fastest().unwrap_or(0),
                target: target.target(),
                near: target.peak_below(target.target() + PIECE),
                usual: target.usual(),
                ready: left + extra + run * FRAME,
                gap: behind,
                concealed,
                packet: FRAME,
            };
            if wanted == PIECE {
                story.delays.push((now, now - media));
            }
            match control.decide(&situation, wanted) {
                Step::Skip => {
                    next = *there.first().unwrap();
                    continue;
                }
                Step::Conceal { length } => {
                    let real = (left + extra).min(wanted);
                    let inserted = extra.min(real);
                    extra -= inserted;
                    left -= real - inserted;
                    concealed += length;
                    story.concealed.push((now, length));
                    wanted -= (real + length).min(wanted);
                    continue;
                }
                Step::Grow { least } if least <= QUANTUM && now >= rested => {
                    extra += QUANTUM;
                    story.stretched.push((now, QUANTUM));
                    rested = now + REST;
                }
                Step::Shrink { most, .. } | Step::Trim { most }
                    if most >= QUANTUM && now >= rested =>
                {
                    left -= QUANTUM;
                    story.stretched.push((now, -QUANTUM));
                    rested = now + REST;
                }
                _ => {}
            }
            let inserted = extra.min(wanted);
            extra -= inserted;
            left -= wanted - inserted;
            wanted = 0;
            while left < 0 {
                assert!(there.remove(&next), "it plays what is not there");
                story.played.push(next);
                (next, left, concealed) = (next + 1, left + FRAME, 0);
            }
        }
    }
    story
}

/// The arrivals of packets with these delays.
fn stream(count: i64, delay: impl Fn(i64) -> i64) -> Vec<(i64, i64)> {
    (0..count).map(|n| (n * FRAME + delay(n), n)).collect()
}

#[test]
fn a_clean_stream_is_played_as_it_is() {
    for tuning in [PlayoutTuning::rtcmesh(), PlayoutTuning::safe()] {
        let story = play(stream(3_000, |_| 30 * MS), &tuning);
        assert_eq!(story.concealed_after(0), 0);
        assert!(story.stretched.iter().all(|(at, _)| *at < 5_000 * MS), "{:?}", story.stretched);
        let (early, late) = (story.delay_at(5_000 * MS), story.delay_at(59_000 * MS));
        assert_eq!(early, late);
        assert!((30 * MS..50 * MS).contains(&late), "{late}");
        assert!(story.played.iter().copied().eq(0..story.played.len() as i64));
    }
}

/// Edge case 37 of the sync manager.
#[test]
fn a_route_that_becomes_longer_interrupts_once() {
    let step = 10_000 * MS;
    let story = play(
        stream(1_000, |n| if n * FRAME < step { 0 } else { 30 * MS }),
        &PlayoutTuning::rtcmesh(),
    );
    let settled = story.delay_at(step + 1_000 * MS);
    assert!((30 * MS..50 * MS).contains(&settled), "{settled}");
    // Once, but for what the playout still follows the shorter route.
    assert!(
        story.concealed.iter().all(|(at, _)| (step..step + 200 * MS).contains(at)),
        "{:?}",
        story.concealed
    );
    assert!(story.concealed_after(0) <= 40 * MS, "{:?}", story.concealed);
    assert!(story.played.iter().copied().eq(0..story.played.len() as i64), "nothing is lost");
}

/// Edge case 38 of the sync manager.
#[test]
fn a_route_that_becomes_shorter_is_followed_within_2_s() {
    let step = 10_000 * MS;
    let story = play(
        stream(1_000, |n| if n * FRAME < step { 40 * MS } else { 10 * MS }),
        &PlayoutTuning::rtcmesh(),
    );
    let shrunk = story.delay_at(step) - story.delay_at(step + 2_000 * MS);
    assert!((22 * MS..=38 * MS).contains(&shrunk), "{shrunk}");
    assert_eq!(story.concealed_after(0), 0);
}

/// Edge case 40 of the sync manager.
#[test]
fn packets_that_swap_places_all_the_time_are_played_in_order() {
    let swapped = stream(3_000, |n| if n % 2 == 0 { FRAME + MS } else { 0 });
    let story = play(swapped, &PlayoutTuning::rtcmesh());
    assert_eq!(story.concealed_after(10_000 * MS), 0);
    assert!(story.played.iter().copied().eq(0..story.played.len() as i64));
}

#[test]
fn what_the_network_lost_is_concealed_and_no_more() {
    let mut arrivals = stream(2_000, |_| 0);
    arrivals.retain(|(_, n)| n % 50 != 49);
    let story = play(arrivals, &PlayoutTuning::rtcmesh());
    let lost = (2_000 - 500) / 50 * FRAME;
    let concealed = story.concealed_after(500 * FRAME);
    assert!((concealed - lost).abs() <= FRAME, "{concealed} of {lost}");
}

proptest! {
    #[test]
    fn any_situation_gets_a_step_that_makes_sense(
        delay: i64, target: i64, near: i64, usual: i64, ready: i64, gap: Option<i64>, concealed: i64,
        packet: i64, wanted: i64,
    ) {
        let situation = Situation { delay, target, near, usual, ready, gap, concealed, packet };
        match control().decide(&situation, wanted) {
            Step::Conceal { length } => prop_assert!((1..=wanted.max(1)).contains(&length)),
            Step::Skip => prop_assert!(gap.is_some()),
            Step::Grow { least } => prop_assert!((0..wanted.max(1)).contains(&least)),
            Step::Shrink { most, .. } | Step::Trim { most } => prop_assert!(most > 0),
            Step::Play => {}
        }
    }

    /// After what may be taken out the awaited packet still has the whole target.
    #[test]
    fn shrinking_leaves_the_target(delay in 0_i64..500, target in 0_i64..500, ready in 10_i64..500, wanted in 1_i64..40) {
        let situation = at(delay, target, ready);
        let wanted = wanted * MS;
        if let Step::Shrink { most, .. } | Step::Trim { most } =
            control().decide(&situation, wanted)
            && most <= situation.ready
        {
            let budget = |out: i64| {
                situation.delay - out - (situation.ready - out).rem_euclid(wanted)
            };
            prop_assert!(budget(most) >= situation.target.min(budget(0)));
        }
    }

    #[test]
    fn every_packet_is_played_in_order_or_given_up(
        delays in prop::collection::vec(prop_oneof![9 => 0_i64..40, 1 => 0_i64..400], 50..400),
        lost in prop::collection::vec(prop::bool::weighted(0.05), 400),
    ) {
        let mut arrivals = stream(delays.len() as i64, |n| delays[n as usize] * MS);
        arrivals.retain(|(_, n)| !lost[*n as usize]);
        prop_assume!(!arrivals.is_empty());
        let story = play(arrivals, &PlayoutTuning::rtcmesh());
        prop_assert!(story.played.windows(2).all(|pair| pair[0] < pair[1]));
    }
}
