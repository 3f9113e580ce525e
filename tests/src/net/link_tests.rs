//! Tests of one direction of a link.

use rtcmesh_core::rng::Seed;

use super::*;

/// How many datagrams the statistics are taken from.
const MANY: usize = 20_000;

fn link(config: LinkConfig) -> Link {
    Link::new(config, Rng::new(Seed::from_number(7)))
}

fn us(us: u64) -> Duration {
    Duration::from_micros(us)
}

/// What becomes of many datagrams of 100 bytes, one a millisecond.
fn pass(config: LinkConfig) -> Vec<Result<(Passed, Option<Passed>), Lost>> {
    let mut link = link(config);
    (0..MANY).map(|n| link.pass(us(n as u64 * 1000), 28, 100)).collect()
}

fn share(count: usize) -> f64 {
    count as f64 / MANY as f64
}

#[test]
fn the_perfect_link_delays_alone() {
    for (n, passed) in pass(LinkConfig::default()).into_iter().enumerate() {
        let expected = Passed { at: us(n as u64 * 1000 + 1000), flipped: None };
        assert_eq!(passed, Ok((expected, None)));
    }
}

#[test]
fn random_losses_have_their_share() {
    for probability in [0.0, 0.01, 0.1, 0.5, 1.0] {
        let loss = Loss::Random(probability);
        let lost = pass(LinkConfig { loss, ..LinkConfig::default() });
        let share = share(lost.iter().filter(|passed| **passed == Err(Lost::Loss)).count());
        // Four standard deviations.
        let bound = 4.0 * (probability * (1.0 - probability) / MANY as f64).sqrt();
        assert!((share - probability).abs() <= bound, "{share} for {probability}");
    }
}

#[test]
fn bursts_have_their_share_and_length() {
    let loss =
        Loss::GilbertElliott { good_to_bad: 0.01, bad_to_good: 0.2, loss_good: 0.0, loss_bad: 1.0 };
    let lost: Vec<_> = pass(LinkConfig { loss, ..LinkConfig::default() });
    let lost: Vec<_> = lost.iter().map(Result::is_err).collect();
    let count = lost.iter().filter(|lost| **lost).count();
    assert!((share(count) - loss.mean()).abs() < 0.01, "{}", share(count));
    let bursts = lost.windows(2).filter(|pair| !pair[0] && pair[1]).count();
    let length = count as f64 / bursts as f64;
    assert!((4.0..6.0).contains(&length), "{length}");
    // As many by chance alone would hardly ever follow each other.
    assert!(length > 2.0 / (1.0 - loss.mean()));
}

#[test]
fn a_burst_ends_in_time_also_where_hardly_anything_is_sent() {
    let loss =
        Loss::GilbertElliott { good_to_bad: 0.01, bad_to_good: 0.2, loss_good: 0.0, loss_bad: 1.0 };
    let mut link = link(LinkConfig { loss, ..LinkConfig::default() });
    // One each second: fifty packets of voice apart.
    let lost: Vec<_> =
        (0..MANY).map(|n| link.pass(us(n as u64 * 1_000_000), 28, 100).is_err()).collect();
    let count = lost.iter().filter(|lost| **lost).count();
    assert!((share(count) - loss.mean()).abs() < 0.01, "{}", share(count));
    let bursts = lost.windows(2).filter(|pair| !pair[0] && pair[1]).count();
    let length = count as f64 / bursts as f64;
    assert!(length < 1.2, "{length}");
}

#[test]
fn doubles_and_damage_have_their_share() {
    let config = LinkConfig { duplicate: 0.1, corrupt: 0.2, ..LinkConfig::default() };
    let passed: Vec<_> = pass(config).into_iter().map(Result::unwrap).collect();
    let twice = passed.iter().filter(|(_, second)| second.is_some()).count();
    let damaged = passed.iter().filter(|(first, _)| first.flipped.is_some()).count();
    assert!((share(twice) - 0.1).abs() < 0.01, "{twice}");
    assert!((share(damaged) - 0.2).abs() < 0.015, "{damaged}");
    assert!(passed.iter().filter_map(|(first, _)| first.flipped).all(|bit| bit < 800));
}

#[test]
fn jitter_reorders_unless_order_is_kept() {
    for jitter in [
        Jitter::Uniform(Duration::from_millis(20)),
        Jitter::Normal(Duration::from_millis(10)),
        Jitter::HeavyTail(Duration::from_millis(10)),
    ] {
        for keep_order in [false, true] {
            let passed = pass(LinkConfig { jitter, keep_order, ..LinkConfig::default() });
            let times: Vec<_> = passed.into_iter().map(|passed| passed.unwrap().0.at).collect();
            let overtaken = times.windows(2).filter(|pair| pair[1] < pair[0]).count();
            assert_eq!(overtaken > MANY / 10, !keep_order, "{jitter:?}: {overtaken}");
        }
    }
}

#[test]
fn jitter_is_as_long_as_stated() {
    let mean = |jitter| {
        let passed = pass(LinkConfig { jitter, ..LinkConfig::default() });
        let delay = |(n, passed): (usize, Result<(Passed, _), Lost>)| {
            passed.unwrap().0.at.as_secs_f64() - 0.001 * (n as f64 + 1.0)
        };
        let delays: Vec<_> = passed.into_iter().enumerate().map(delay).collect();
        assert!(delays.iter().all(|delay| (-1e-9..0.501).contains(delay)));
        delays.iter().sum::<f64>() / MANY as f64
    };
    let ten = Duration::from_millis(10);
    assert!((mean(Jitter::Uniform(ten)) - 0.005).abs() < 0.0002);
    assert!((mean(Jitter::Normal(ten)) - 0.008).abs() < 0.0002);
    assert!((mean(Jitter::HeavyTail(ten)) - 0.010).abs() < 0.001);
}

#[test]
fn a_rate_serialises_and_its_queue_overflows() {
    // 1 Mbit/s: 1,000 bytes take 8 ms. Three more wait.
    let config = LinkConfig {
        rate: Some(1_000_000),
        queue: 4000,
        latency: Duration::ZERO,
        ..LinkConfig::default()
    };
    let mut link = link(config);
    let sent: Vec<_> = (0..6).map(|_| link.pass(us(0), 28, 972).map(|(p, _)| p.at)).collect();
    let at = |n: u64| Ok(us(8000 * n));
    assert_eq!(sent, [at(1), at(2), at(3), at(4), Err(Lost::Queue), Err(Lost::Queue)]);
    // One has left by now: there is room for one.
    assert_eq!(link.pass(us(8000), 28, 972).map(|(p, _)| p.at), at(5));
    assert_eq!(link.pass(us(8000), 28, 972), Err(Lost::Queue));
    // Idle again.
    assert_eq!(link.pass(us(80_000), 28, 972).map(|(p, _)| p.at), at(11));
    link.config.rate = Some(0);
    assert_eq!(link.pass(us(90_000), 28, 972), Err(Lost::Queue));
}

#[test]
fn what_is_too_long_is_lost() {
    let mut link = link(LinkConfig { mtu: 1280, ..LinkConfig::default() });
    assert!(link.pass(us(0), 28, 1252).is_ok());
    assert_eq!(link.pass(us(0), 28, 1253), Err(Lost::Mtu));
}
