//! Figures of whole meshes as tables: a change of any of them is a difference in review (`cargo insta review`).

use std::fmt::Write;
use std::time::Duration;

use rtcmesh_core::config::Config;
use rtcmesh_core::media::{AudioBuffer, RuntimeData};
use rtcmesh_core::transport::{Event, PeerState};
use rtcmesh_sim::net::Preset;
use rtcmesh_sim::{Setup, World, interpose, isolated};

rtcmesh_sim::interpose!();

/// Where the engine's randomness is not the world's own, figures vary.
fn exact() -> bool {
    isolated(1, interpose::active)
}

fn config(name: &str) -> Config {
    Config::new(World::URL).peer_id(name)
}

/// A world with two peers, started; `None`: at a public address.
fn pair(seed: u64, places: [Option<Preset>; 2]) -> World {
    let mut world = World::new(seed);
    for (name, place) in ["a", "b"].into_iter().zip(places) {
        let setup = place.map_or_else(Setup::default, Setup::preset);
        world.add_with(config(name), &setup);
    }
    world.start_all();
    world
}

fn both(world: &World) -> bool {
    world.connected(0, 1) && world.connected(1, 0)
}

/// From the start of both until both are connected, in milliseconds.
fn connects(places: [Option<Preset>; 2]) -> Option<u128> {
    isolated(1, || {
        let mut world = pair(1, places);
        world.run_until_or(Duration::from_secs(20), both).then(|| world.elapsed().as_millis())
    })
}

fn places() -> impl Iterator<Item = Option<Preset>> {
    std::iter::once(None).chain(Preset::ALL.map(Some))
}

fn name(place: Option<Preset>) -> &'static str {
    place.map_or("public", Preset::name)
}

#[test]
fn time_to_connect_and_share_of_pairs() {
    if !exact() {
        return;
    }
    let mut table = String::from("ms from start until both are connected; -: no direct path\n\n");
    let names: Vec<&str> = places().map(name).collect();
    writeln!(table, "{:>14}  {}", "", names.iter().map(|n| format!("{n:>13}")).collect::<String>())
        .unwrap();
    let (mut pairs, mut direct) = (0, 0);
    for a in places() {
        let mut row = format!("{:>14}  ", name(a));
        for b in places() {
            let took = connects([a, b]);
            pairs += 1;
            direct += usize::from(took.is_some());
            write!(row, "{:>13}", took.map_or("-".to_owned(), |ms| ms.to_string())).unwrap();
        }
        writeln!(table, "{row}").unwrap();
    }
    // Relaying is not there yet.
    writeln!(table, "\nof {pairs} pairs: {direct} direct, 0 relayed").unwrap();
    insta::assert_snapshot!(table);
}

/// A minute of audio from a public peer to one in such a place: how long audio is held, and what was made up.
fn hears(place: Preset) -> Option<(f64, f64)> {
    isolated(1, || {
        let mut world = pair(1, [None, Some(place)]);
        if !world.run_until_or(Duration::from_secs(20), both) {
            return None;
        }
        for n in 0..3_000 {
            let sample = |k: usize| 0.3 * ((n * 960 + k) as f32 * 0.02).sin();
            let samples = (0..960).map(sample).collect();
            let audio = AudioBuffer { samples, sample_rate: 48_000, channels: 1 };
            world
                .act(0, |transport, now| transport.broadcast(now, &RuntimeData::Audio(audio)))
                .ok();
            world.run(Duration::from_millis(20));
            world.hosts[1].media.clear();
        }
        let info = world.hosts[1].peer(world.hosts[0].id())?;
        let concealed = info.counters.audio_samples_concealed as f64 / (3_000.0 * 960.0);
        Some((info.quality.sync.audio_delay_ms, concealed * 100.0))
    })
}

#[test]
fn audio_delay_and_concealment() {
    if !exact() {
        return;
    }
    let mut table = String::from("a minute of audio from a public address\n\n");
    writeln!(table, "{:>14}{:>12}{:>13}", "to", "delay, ms", "concealed, %").unwrap();
    for place in Preset::ALL {
        match hears(place) {
            Some((delay, concealed)) => {
                writeln!(table, "{:>14}{delay:>12.0}{concealed:>13.1}", place.name()).unwrap();
            }
            None => writeln!(table, "{:>14}{:>12}{:>13}", place.name(), "-", "-").unwrap(),
        }
    }
    insta::assert_snapshot!(table);
}

/// How long after the end of an outage both are connected again, and whether the connection went on.
fn recovers(outage: Duration) -> (Option<u128>, &'static str, bool) {
    isolated(1, || {
        let mut world = pair(1, [None, None]);
        assert!(world.run_until(both));
        world.run(Duration::from_secs(5));
        world.cut(0, 1, true);
        world.run(outage);
        let told =
            world.hosts[0].peer(world.hosts[1].id()).map_or("gone", |info| info.state.name());
        world.cut(0, 1, false);
        let healed = world.elapsed();
        // What is told lags behind: it has to be sure that packets pass again.
        let passes = |world: &World| {
            let state = |host: usize, other: usize| {
                world.hosts[host].peer(world.hosts[other].id()).map(|info| info.state)
            };
            state(0, 1) == Some(PeerState::Connected) && state(1, 0) == Some(PeerState::Connected)
        };
        let back = world.run_until_or(Duration::from_secs(60), passes);
        let took = back.then(|| (world.elapsed() - healed).as_millis());
        let ends = |event: &Event| matches!(event, Event::Failed { .. } | Event::Closed { .. });
        (took, told, world.hosts[0].count(ends) + world.hosts[1].count(ends) == 0)
    })
}

#[test]
fn recovery_per_outage() {
    if !exact() {
        return;
    }
    let mut table = String::from("ms from the end of an outage until both are connected\n\n");
    writeln!(table, "{:>10}  {:>14}{:>8}  the connection", "outage, s", "then it was", "ms")
        .unwrap();
    for seconds in [1, 2, 4, 6, 8, 10, 15, 20, 30] {
        let (took, told, went_on) = recovers(Duration::from_secs(seconds));
        let took = took.map_or("-".to_owned(), |ms| ms.to_string());
        let what = if went_on { "went on" } else { "was made anew" };
        writeln!(table, "{seconds:>10}  {told:>14}{took:>8}  {what}").unwrap();
    }
    insta::assert_snapshot!(table);
}
