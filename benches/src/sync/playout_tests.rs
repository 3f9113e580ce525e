use super::super::table::POLICIES;
use super::super::trace::Sent;
use super::super::{fixed, models};
use super::*;

/// A minute of 20 ms packets with these fates: the delay in milliseconds, `None` where one is lost.
fn trace(fate: impl Fn(usize) -> Option<f64>) -> Trace {
    let packet = |n: usize| {
        let sent = n as f64 * 20.0;
        Sent { sent, arrival: fate(n).map(|delay| sent + 20.0 + delay) }
    };
    let packets = (0..3_000).map(packet).collect();
    Trace { name: "test".to_owned(), frame: 20.0, base: 20.0, phase: 3.0, packets }
}

#[test]
fn no_policy_loses_anything_of_a_clean_stream() {
    for (name, play) in POLICIES {
        let found = play(&trace(|_| Some(0.0)));
        assert_eq!((found.excess_loss_pct, found.glitches_per_min), (0.0, 0.0), "{name}");
        assert!((0.0..=110.0).contains(&found.mean_ms), "{name}: {found:?}");
        assert!(found.p95_ms < found.mean_ms + 5.0, "{name}: {found:?}");
    }
}

#[test]
fn what_the_network_lost_is_no_excess() {
    // Wherever packets come between two pulls.
    for phase in [0.0, 1.5, 3.0, 4.5, 7.0, 9.5] {
        let lossy = Trace { phase, ..trace(|n| (n % 25 != 7).then_some(0.0)) };
        for (name, play) in POLICIES {
            // The crate splices what is lost, and its buffer runs low by it.
            if *name == "neteq" {
                continue;
            }
            let found = play(&lossy);
            assert!(found.excess_loss_pct < 0.05, "{name} at {phase}: {found:?}");
            assert!(found.glitches_per_min < 3.0, "{name} at {phase}: {found:?}");
        }
    }
}

#[test]
fn a_fixed_buffer_loses_what_comes_later_than_it_holds() {
    // Every second packet of the last 55 s comes 80 ms late, in the middle of the first minute.
    let found = fixed::play(&trace(|n| Some(if n > 250 && n % 2 == 0 { 80.0 } else { 0.0 })), 50.0);
    assert!((found.excess_loss_pct - 50.0).abs() < 1.0, "{found:?}");
    assert!((found.mean_ms - 53.0).abs() < 10.0, "{found:?}");
    // Each of them interrupts.
    assert!((found.glitches_per_min - 1_500.0).abs() < 30.0, "{found:?}");
}

#[test]
fn the_models_depend_on_the_seed_alone() {
    let (first, again, other) =
        (models::traces(1, 20), models::traces(1, 20), models::traces(2, 20));
    assert_eq!(first.len(), 38);
    for ((first, again), other) in first.iter().zip(&again).zip(&other) {
        assert_eq!(first.packets, again.packets, "{}", first.name);
        assert_ne!(first.packets, other.packets, "{}", first.name);
        assert!((999..=1_001).contains(&first.packets.len()), "{}", first.name);
        let early = first.packets.iter().any(|p| p.arrival.is_some_and(|at| at < p.sent + 20.0));
        assert!(!early, "{}: faster than its path", first.name);
    }
}

#[test]
fn ours_beats_the_model_of_neteq_on_the_models() {
    let traces = models::traces(7, 60);
    let mean = |name: &str| {
        let (_, play) = POLICIES.iter().find(|(policy, _)| *policy == name).unwrap();
        let outcomes: Vec<_> = traces.iter().map(play).collect();
        super::super::table::mean(&outcomes)
    };
    let (ours, safe, other) = (mean("rtcmesh"), mean("rtcmesh-safe"), mean("neteq-like"));
    assert!(ours.mean_ms < 0.7 * other.mean_ms, "{ours:?} {other:?}");
    assert!(ours.excess_loss_pct < 0.45, "{ours:?}");
    assert!(safe.mean_ms < 0.9 * other.mean_ms, "{safe:?} {other:?}");
    assert!(safe.excess_loss_pct < other.excess_loss_pct + 0.05, "{safe:?} {other:?}");
}
