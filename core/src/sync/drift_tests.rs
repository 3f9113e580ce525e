use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::rng::{Rng, Seed};
use crate::sync::Medium;

fn at(seconds: f64) -> Instant {
    // One origin for all, far enough from the clock's own.
    static ORIGIN: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
    *ORIGIN + Duration::from_secs_f64(seconds)
}

/// Feeds packets of 20 ms that are sent at a pace of `ppm` from `from` to `to` seconds, each delayed by
/// what `delay` says of when it was sent.
fn feed(
    drift: &mut DriftEstimator,
    ppm: f64,
    (from, to): (f64, f64),
    mut delay: impl FnMut(f64) -> f64,
) {
    let pace = 1.0 + ppm * 1e-6;
    let mut nth = (from * 50.0 * pace).ceil();
    while nth / 50.0 / pace < to {
        let sent = nth / 50.0 / pace;
        drift.observe_packet((nth * 960.0) as u64 as u32, at(sent + 0.02 + delay(sent)));
        nth += 1.0;
    }
    drift.refresh();
}

/// Exponential delays with a mean of 3 ms.
fn jitter(seed: u64) -> impl FnMut(f64) -> f64 {
    let mut rng = Rng::new(Seed::from_number(seed));
    move |_| -0.003 * (1.0 - rng.unit()).ln()
}

fn estimator() -> DriftEstimator {
    DriftEstimator::new(48_000, 100.0)
}

fn report(seconds: f64, ppm: f64, delay: f64) -> RtcpSenderReport {
    let ticks = (seconds * 48_000.0 * (1.0 + ppm * 1e-6)).round();
    let seconds = ticks / 48_000.0 / (1.0 + ppm * 1e-6);
    RtcpSenderReport {
        medium: Medium::Audio,
        ntp_timestamp: ((4_004_466_000.0 + seconds) * 1_000.0) as u64,
        rtp_timestamp: ticks as u64 as u32,
        packet_count: 10,
        octet_count: 10,
        received_at: at(seconds + delay),
    }
}

/// The standard form of a check: within twice the stated error and 1 ppm.
fn assert_near(found: &ClockDriftEstimate, ppm: f64) {
    let off = (found.drift_ppm - ppm).abs();
    assert!(off <= 2.0 * found.error_ppm + 1.0, "{ppm} ppm: {found:?}");
}

#[test]
fn below_ten_observations_nothing_is_said() {
    let mut drift = estimator();
    feed(&mut drift, 0.0, (0.0, 4.9), |_| 0.0);
    assert_eq!(drift.estimate(), None);
    feed(&mut drift, 0.0, (4.9, 6.0), |_| 0.0);
    assert!(drift.estimate().is_some());
    let mut drift = estimator();
    for nth in 0..10 {
        assert_eq!(drift.estimate(), None, "after {nth} reports");
        drift.observe_report(&report(f64::from(nth) * 5.0, 50.0, 0.0));
        drift.observe_report(&report(f64::from(nth) * 5.0, 50.0, 0.0));
        drift.refresh();
    }
    assert_eq!(drift.estimate().unwrap().sample_count, 10, "duplicates do not count");
}

#[test]
fn ten_exact_reports_alone_tell_the_drift_within_a_tenth_of_a_ppm() {
    for ppm in [-500.0, -20.0, 0.0, 3.0, 150.0, 500.0] {
        let mut drift = estimator();
        for nth in 0..10 {
            drift.observe_report(&report(f64::from(nth) * 5.0, ppm, 0.01));
            drift.refresh();
        }
        let found = drift.estimate().unwrap();
        assert!((found.drift_ppm - ppm).abs() < 0.1, "{ppm}: {found:?}");
        assert!(found.confidence > 0.99);
    }
}

#[test]
fn a_fast_clock_is_positive_and_its_factor_above_one() {
    for ppm in [-200.0, 200.0] {
        let mut drift = estimator();
        feed(&mut drift, ppm, (0.0, 40.0), jitter(1));
        let found = drift.estimate().unwrap();
        assert_near(&found, ppm);
        assert!((found.correction_factor - 1.0 - found.drift_ppm * 1e-6).abs() < 1e-12);
        assert_eq!(found.recommended_action, RecommendedAction::Adjust, "{found:?}");
    }
}

#[test]
fn what_to_do_follows_from_drift_and_error() {
    let rows = [
        (0.0, RecommendedAction::None),
        (30.0, RecommendedAction::None),
        (70.0, RecommendedAction::Monitor),
        (140.0, RecommendedAction::Adjust),
        (1_200.0, RecommendedAction::Investigate),
    ];
    for (ppm, action) in rows {
        let mut drift = estimator();
        feed(&mut drift, ppm, (0.0, 60.0), jitter(2));
        let found = drift.estimate().unwrap();
        assert_eq!(found.recommended_action, action, "{ppm} ppm: {found:?}");
    }
    let mut drift = estimator();
    let mut rng = Rng::new(Seed::from_number(3));
    feed(&mut drift, 0.0, (0.0, 8.0), |_| rng.unit());
    let found = drift.estimate().unwrap();
    assert_eq!(found.recommended_action, RecommendedAction::Investigate, "{found:?}");
    assert!(found.confidence < 0.2);
}

#[test]
fn routes_queues_and_outages_are_no_drift() {
    type Delay = fn(f64) -> f64;
    let rows: [(&str, Delay); 5] = [
        ("a longer route", |sent| if sent > 30.0 { 0.03 } else { 0.0 }),
        ("a shorter route", |sent| if sent > 25.0 { 0.0 } else { 0.03 }),
        ("a queue", |sent| if (20.0..30.0).contains(&sent) { (sent - 20.0) * 0.01 } else { 0.0 }),
        ("an outage of 1.5 s", |sent| if sent > 40.0 { (41.5 - sent).max(0.0) } else { 0.0 }),
        ("an outage of 15 s", |sent| if sent > 30.0 { (45.0 - sent).max(0.0) } else { 0.0 }),
    ];
    for (name, delay) in rows {
        let (mut drift, mut noise) = (estimator(), jitter(4));
        feed(&mut drift, 60.0, (0.0, 60.0), |sent| delay(sent) + noise(sent));
        let found = drift.estimate().unwrap();
        assert_near(&found, 60.0);
        assert!(found.error_ppm < 25.0, "{name}: {found:?}");
    }
}

#[test]
fn timestamps_wrap_and_restart_and_single_ones_are_wrong() {
    let mut drift = estimator();
    let mut noise = jitter(5);
    for nth in 0_u32..3_000 {
        // Wraps after 200 packets; restarts at 1,500 and at 2,000.
        let base = [0xffff_ffff - 200 * 960, 5, 0x9000_0000]
            [usize::from(nth >= 1_500) + usize::from(nth >= 2_000)];
        let stray =
            [0, 0x4000_0000, 0xc000_0000][usize::from(nth % 400 == 7) * (1 + nth as usize % 2)];
        let rtp = nth.wrapping_mul(960).wrapping_add(base).wrapping_add(stray);
        let sent = f64::from(nth) * 0.02 / 1.000_08;
        drift.observe_packet(rtp, at(sent + noise(sent)));
    }
    drift.refresh();
    assert_near(&drift.estimate().unwrap(), 80.0);
}

#[test]
fn a_change_of_sign_is_followed_within_two_minutes() {
    let (mut drift, mut noise) = (estimator(), jitter(6));
    feed(&mut drift, 80.0, (0.0, 150.0), &mut noise);
    assert_near(&drift.estimate().unwrap(), 80.0);
    // The other pace begins where the first one ended.
    for nth in 0_u32..7_000 {
        let sent = 150.0 + f64::from(nth) * 0.02 / (1.0 - 80e-6);
        let rtp = 7_200_576_u32.wrapping_add(nth * 960);
        drift.observe_packet(rtp, at(sent + 0.02 + noise(sent)));
    }
    drift.refresh();
    let found = drift.estimate().unwrap();
    assert!((found.drift_ppm + 80.0).abs() < 5.0, "{found:?}");
}

#[test]
fn confidence_grows_with_what_was_seen() {
    let (mut drift, mut noise) = (estimator(), jitter(8));
    let mut best = 0.0_f64;
    for seconds in 1..24 {
        let (from, to) = (f64::from(seconds - 1) * 5.0, f64::from(seconds) * 5.0);
        feed(&mut drift, 40.0, (from, to), &mut noise);
        let Some(found) = drift.estimate() else { continue };
        assert!((0.0..=1.0).contains(&found.confidence));
        assert!(found.confidence > best - 0.1, "after {to} s: {} from {best}", found.confidence);
        best = best.max(found.confidence);
    }
    assert!(best > 0.95, "{best}");
}

#[test]
fn a_reset_estimator_is_a_new_one() {
    let (mut used, mut new) = (estimator(), estimator());
    feed(&mut used, -300.0, (0.0, 20.0), jitter(9));
    used.observe_report(&report(3.0, 0.0, 0.0));
    used.reset();
    assert_eq!(used.estimate(), None);
    for drift in [&mut used, &mut new] {
        feed(drift, 100.0, (30.0, 60.0), jitter(10));
    }
    assert_eq!(used.estimate(), new.estimate());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// To first order: a sender that is fast for us is one for whom we are slow; and another pace moves
    /// the estimate by as much.
    #[test]
    fn the_drift_is_antisymmetric_and_shifts_with_the_pace(seed: u64, ppm in -400.0_f64..400.0) {
        let [one, other, still] = [ppm, -ppm, 0.0].map(|ppm| {
            let mut drift = estimator();
            feed(&mut drift, ppm, (0.0, 50.0), jitter(seed));
            drift.estimate().unwrap()
        });
        let doubt = 4.0 * one.error_ppm + 1.0;
        prop_assert!((one.drift_ppm - still.drift_ppm - ppm).abs() < doubt, "{one:?} {still:?}");
        prop_assert!((one.drift_ppm + other.drift_ppm - 2.0 * still.drift_ppm).abs() < 2.0 * doubt);
    }

    #[test]
    fn instants_and_timestamps_are_labels_only(seed: u64, rtp: u32, nanos in 0_u64..1_000_000_000_000) {
        let mut noise = jitter(seed);
        let (mut plain, mut moved) = (estimator(), estimator());
        for nth in 0_u32..1_000 {
            let arrived = at(f64::from(nth) * 0.02 + noise(0.0));
            plain.observe_packet(nth * 960, arrived);
            moved.observe_packet((nth * 960).wrapping_add(rtp), arrived + Duration::from_nanos(nanos));
        }
        plain.refresh();
        moved.refresh();
        prop_assert_eq!(plain.estimate(), moved.estimate());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn whatever_arrives_the_drift_stays_finite_and_bounded(
        rate: u32,
        threshold: f64,
        packets in prop::collection::vec((any::<u32>(), 0_u64..90_000_000_000, any::<bool>()), 1..120),
    ) {
        let mut drift = DriftEstimator::new(rate, threshold);
        let mut now = 0;
        for (rtp, step, back) in packets {
            // Also back, and also by a minute and more.
            now = if back { step } else { now + step };
            let arrived = at(0.0) + Duration::from_nanos(now);
            drift.observe_packet(rtp, arrived);
            drift.observe_report(&RtcpSenderReport {
                medium: Medium::Audio,
                ntp_timestamp: step,
                rtp_timestamp: rtp,
                packet_count: rtp,
                octet_count: rtp,
                received_at: arrived,
            });
            drift.refresh();
            if let Some(found) = drift.estimate() {
                prop_assert!(found.drift_ppm.abs() <= 2_000.0, "{found:?}");
                prop_assert!(found.error_ppm >= 0.0 && (0.0..=1.0).contains(&found.confidence), "{found:?}");
            }
        }
    }
}
