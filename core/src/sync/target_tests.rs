use proptest::prelude::*;

use super::*;

const MS: i64 = 1_000_000;
const FRAME: i64 = 20 * MS;
const START: Duration = Duration::from_millis(50);
const MAX: Duration = Duration::from_millis(500);

fn target(tuning: &PlayoutTuning) -> DelayTarget {
    DelayTarget::new(tuning, START, MAX)
}

/// The target after packets of 20 ms with these delays, from the packet `first` on.
fn feed(target: &mut DelayTarget, first: i64, delays: impl IntoIterator<Item = i64>) -> i64 {
    for (n, delay) in (first..).zip(delays) {
        target.observe(n * FRAME + delay, n * FRAME);
    }
    target.target()
}

#[test]
fn without_jitter_it_falls_to_the_floor() {
    let tuning = PlayoutTuning::rtcmesh();
    let mut target = target(&tuning);
    assert_eq!(target.target(), 50 * MS, "the start");
    assert_eq!(target.fastest(), None);
    let after_1_s = feed(&mut target, 0, [7; 50]);
    assert!((3 * MS..50 * MS).contains(&after_1_s), "not at once: {after_1_s}");
    assert_eq!(feed(&mut target, 50, [7; 100]), nanos(tuning.floor));
    assert_eq!(target.fastest(), Some(7));
}

#[test]
fn a_rare_peak_is_not_covered_and_a_frequent_one_is() {
    let every = |packets| (0..3_000).map(move |n| if n % packets == 7 { 60 * MS } else { 0 });
    // Every 20 s, and every second.
    let rare = feed(&mut target(&PlayoutTuning::rtcmesh()), 0, every(1_000));
    assert!(rare < 10 * MS, "{rare}");
    let frequent = feed(&mut target(&PlayoutTuning::rtcmesh()), 0, every(50));
    assert!((60 * MS..66 * MS).contains(&frequent), "{frequent}");
}

#[test]
fn a_longer_route_is_taken_for_granted_after_a_second() {
    let mut target = target(&PlayoutTuning::rtcmesh());
    feed(&mut target, 0, [0; 1_000]);
    feed(&mut target, 1_000, [30 * MS; 61]);
    assert_eq!(target.fastest(), Some(30 * MS));
    // The peaks of the second in between are forgotten by the fast histogram.
    let settled = feed(&mut target, 1_061, [30 * MS; 1_500]);
    assert!(settled <= 4 * MS, "{settled}");
    feed(&mut target, 2_561, [0; 1]);
    assert_eq!(target.fastest(), Some(0), "a shorter one at once");
}

#[test]
fn each_packet_overtaken_counts_by_itself() {
    let mut target = target(&PlayoutTuning::rtcmesh());
    // Each second packet arrives after its successor: 21 ms late.
    for n in 0..1_500 {
        let first = 2 * n * FRAME;
        target.observe(first + FRAME, first + FRAME);
        target.observe(first + FRAME + MS, first);
    }
    assert_eq!(target.target(), 22 * MS);
}

#[test]
fn a_packet_overtaken_now_and_then_is_left_to_concealment() {
    // One of so many is 10 packets late.
    let late = |worst: u64, one: i64| {
        let worst = Duration::from_millis(worst);
        let mut target = target(&PlayoutTuning { worst, ..PlayoutTuning::rtcmesh() });
        for n in 10..10_000 {
            if (n - 10) % one == 0 {
                target.observe(n * FRAME + 1, (n - 10) * FRAME);
            }
            if n % one != 0 {
                target.observe(n * FRAME, n * FRAME);
            }
        }
        target.target()
    };
    assert_eq!(late(80, 20), 202 * MS);
    assert!(late(80, 250) < 10 * MS, "{}", late(80, 250));
    // It costs no more than the worst that anything does.
    assert!(late(10, 20) < 10 * MS, "{}", late(10, 20));
}

#[test]
fn a_packet_overtaken_costs_its_length() {
    // One of ten is overtaken by the next one: without more delay a tenth of the audio is late.
    for length in [10, 20, 60, 120] {
        let mut target = target(&PlayoutTuning::rtcmesh());
        let frame = length * MS;
        for n in 1..2_000 {
            match n % 10 {
                0 => target.observe((n + 1) * frame, (n + 1) * frame),
                1 => target.observe(n * frame + MS, (n - 1) * frame),
                _ => target.observe(n * frame, n * frame),
            }
        }
        assert!(target.target() >= frame, "{length} ms: {}", target.target());
    }
}

#[test]
fn silence_unlearns_nothing() {
    for tuning in [PlayoutTuning::rtcmesh(), PlayoutTuning::safe()] {
        let mut target = target(&tuning);
        let learnt =
            feed(&mut target, 0, (0..6_000).map(|n| if n % 50 == 7 { 100 * MS } else { 0 }));
        assert!(learnt >= 100 * MS, "{learnt}");
        // Descriptions of silence, each 400 ms (RFC 3389), for a minute.
        for n in 0..150 {
            let media = 6_000 * FRAME + n * 400 * MS;
            target.observe(media, media);
        }
        assert!(target.target() >= 90 * MS, "{}", target.target());
    }
}

#[test]
fn a_line_that_was_bad_for_minutes_is_believed_to_be_good_again() {
    for (tuning, seconds) in [(PlayoutTuning::rtcmesh(), 25), (PlayoutTuning::safe(), 80)] {
        let mut target = target(&tuning);
        // For 150 s up to 300 ms late each second, then never again.
        let bad = feed(&mut target, 0, (0..7_500).map(|n| (n % 50 - 35).max(0) * FRAME));
        assert!(bad > 200 * MS, "{bad}");
        let still = feed(&mut target, 7_500, [0; 100]);
        assert!(still > 200 * MS, "not at once: {still}");
        let good = feed(&mut target, 7_600, vec![0; 50 * (seconds - 2)]);
        assert!(good < 10 * MS, "{good}");
    }
}

#[test]
fn the_latest_below_a_limit_is_known_for_fifteen_seconds() {
    let mut target = target(&PlayoutTuning::rtcmesh());
    assert_eq!(target.peak_below(i64::MAX), 0);
    // 3 ms, and 1 s later 40 ms.
    let delays =
        |n: i64| [(105, 3 * MS), (155, 40 * MS)].iter().find(|at| at.0 == n).map_or(0, |at| at.1);
    let mut known = |from: i64, until: i64| {
        feed(&mut target, from, (from..until).map(delays));
        (target.peak_below(i64::MAX), target.peak_below(40 * MS), target.peak_below(3 * MS))
    };
    assert_eq!(known(0, 106), (3 * MS, 3 * MS, 0), "at once");
    assert_eq!(known(106, 160), (40 * MS, 3 * MS, 0));
    assert_eq!(known(160, 830), (40 * MS, 3 * MS, 0), "14.5 s after the first");
    assert_eq!(known(830, 880), (40 * MS, 0, 0), "15.5 s after the first");
    assert_eq!(known(880, 940), (0, 0, 0));
}

#[test]
fn what_is_usual_is_exceeded_by_a_share_of_the_peaks() {
    let tuning = PlayoutTuning { brink_share: 0.3, ..PlayoutTuning::rtcmesh() };
    let mut target = target(&tuning);
    assert_eq!(target.usual(), 0);
    // A peak in each 200 ms: of every four three of 20 ms, one of 80 ms.
    let peak = |n: i64| if n % 40 == 5 { 80 * MS } else { 20 * MS };
    feed(&mut target, 0, (0..4_000).map(|n| if n % 10 == 5 { peak(n) } else { 0 }));
    assert_eq!(target.usual(), 22 * MS);
}

#[test]
fn short_packets_prove_no_longer_route_by_their_number() {
    let mut target = target(&PlayoutTuning::rtcmesh());
    let short = FRAME / 4;
    let calm = (0..2_000).map(|n| (n * short, n * short));
    // For 100 ms nothing, then all at once.
    let stalled = (2_000..2_020).map(|n| (2_020 * short, n * short));
    let (mut before, mut highest) = (0, 0);
    for (n, (arrived, media)) in calm.chain(stalled).enumerate() {
        target.observe(arrived, media);
        match n < 2_000 {
            true => before = target.target(),
            false => highest = target.target().max(highest),
        }
    }
    assert!(highest - before <= 20 * MS, "{before} {highest}");
}

#[test]
fn a_pause_of_the_sender_changes_nothing() {
    let jitter = |n: i64| n % 10 * 4 * MS;
    let mut target = target(&PlayoutTuning::rtcmesh());
    let before = feed(&mut target, 0, (0..1_000).map(jitter));
    // One packet every 400 ms in silence, then nothing at all, each with the jitter that was.
    for n in 0..20 {
        target.observe((1_000 + 20 * n) * FRAME + jitter(n), (1_000 + 20 * n) * FRAME);
    }
    let after = feed(&mut target, 100_000, [36 * MS, 0, 4 * MS]);
    assert!((after - before).abs() <= 2 * MS, "{before} {after}");
}

#[test]
fn a_stalled_network_is_no_pause() {
    let mut calm = target(&PlayoutTuning::safe());
    let before = feed(&mut calm, 0, [0; 500]);
    // For 700 ms nothing, then all at once, every 5 s.
    let delays = (0..2_000).map(|n| (35 - n % 250).max(0) * FRAME);
    let after = feed(&mut calm, 500, delays);
    assert!(before < 10 * MS && after > 300 * MS, "{before} {after}");
}

#[test]
fn absurd_tunings_and_times_do_no_harm() {
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, 1e300] {
        for time in [Duration::ZERO, Duration::MAX] {
            let tuning = PlayoutTuning {
                loss_price: value,
                recent_weight: value,
                memory: time,
                recent: time,
                floor: time,
                ..PlayoutTuning::rtcmesh()
            };
            let mut target = DelayTarget::new(&tuning, time, time);
            feed(&mut target, 0, (0..500).map(|n| n % 7 * 9 * MS));
            assert!((0..=500 * MS).contains(&target.target()), "{value} {time:?}");
        }
    }
}

/// Arrivals and RTP times of anything.
fn packets() -> impl Strategy<Value = Vec<(i64, i64)>> {
    let wild = (any::<i64>(), any::<i64>());
    let tame = (0..20_000 * MS, 0..20_000 * MS);
    prop::collection::vec(prop_oneof![1 => wild, 9 => tame], 0..300)
}

/// Delays in milliseconds of a stream.
fn delays() -> impl Strategy<Value = Vec<i64>> {
    prop::collection::vec(prop_oneof![8 => 0_i64..40, 1 => 0_i64..600], 20..600)
}

proptest! {
    #[test]
    fn it_stays_between_floor_and_maximum(
        packets in packets(), floor in 0_u64..600, start in 0_u64..600, max in 0_u64..600,
    ) {
        let floor = Duration::from_millis(floor);
        let tuning = PlayoutTuning { floor, ..PlayoutTuning::rtcmesh() };
        let max = Duration::from_millis(max);
        let mut target = DelayTarget::new(&tuning, Duration::from_millis(start), max);
        for (arrived, media) in packets {
            target.observe(arrived, media);
            let most = nanos(max).min(MAX_TARGET);
            prop_assert!((nanos(floor).min(most)..=most).contains(&target.target()));
        }
    }

    #[test]
    fn it_never_falls_with_the_price_of_a_loss(
        delays in delays(), price in 0.0_f64..300.0, more in 0.0_f64..300.0,
    ) {
        let at = |loss_price| {
            let tuning = PlayoutTuning { loss_price, ..PlayoutTuning::rtcmesh() };
            feed(&mut target(&tuning), 0, delays.iter().map(|delay| delay * MS))
        };
        prop_assert!(at(price) <= at(price + more));
    }

    #[test]
    fn only_differences_of_times_count(
        delays in delays(), late in 0_i64..1_000_000_000_000, media in -1_000_000_000_000_i64..1_000_000_000_000,
    ) {
        let (mut here, mut there) =
            (target(&PlayoutTuning::safe()), target(&PlayoutTuning::safe()));
        for (n, delay) in (0..).zip(delays) {
            here.observe(n * FRAME + delay * MS, n * FRAME);
            there.observe(n * FRAME + delay * MS + late, n * FRAME + media);
            prop_assert_eq!(here.target(), there.target());
            prop_assert_eq!(here.fastest().unwrap() + late - media, there.fastest().unwrap());
        }
    }

    #[test]
    fn the_fastest_transit_is_that_of_the_last_second(delays in delays()) {
        let mut target = target(&PlayoutTuning::rtcmesh());
        let mut seen: Vec<(i64, i64)> = Vec::new();
        let mut arrival = 0;
        for (n, delay) in (0..).zip(delays) {
            arrival = arrival.max(n * FRAME + delay * MS);
            target.observe(arrival, n * FRAME);
            seen.push((arrival, arrival - n * FRAME));
            let least = |window: i64| {
                let recent = seen.iter().filter(|(at, _)| arrival - at < window);
                recent.map(|(_, transit)| *transit).min()
            };
            // To the interval.
            prop_assert!(target.fastest() <= least(800 * MS));
            prop_assert!(target.fastest() >= least(1_000 * MS));
        }
    }
}
