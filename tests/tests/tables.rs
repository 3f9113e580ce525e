//! Figures of whole meshes as tables: a change of any of them is a difference in review (`cargo insta review`).

use std::fmt::Write;
use std::time::Duration;

use rtcmesh_core::config::Config;
use rtcmesh_core::media::{AudioBuffer, RuntimeData};
use rtcmesh_core::transport::{Event, PeerState};
use rtcmesh_sim::net::{Access, Behaviour, NatConfig, Preset};
use rtcmesh_sim::{Setup, World, interpose, isolated};

rtcmesh_sim::interpose!();

/// Where the engine's randomness is not the world's own, figures vary.
fn exact() -> bool {
    isolated(1, interpose::active)
}

fn config(name: &str) -> Config {
    Config::new(World::URL).peer_id(name)
}

/// Where one of a pair is.
#[derive(Clone)]
enum Place {
    Public,
    Preset(Preset),
    /// At a place of its own behind this NAT, over perfect links.
    Behind(NatConfig),
}

impl Place {
    fn setup(&self, world: &mut World) -> Setup {
        match self {
            Self::Public => Setup::default(),
            Self::Preset(preset) => Setup::preset(*preset),
            Self::Behind(nat) => {
                let site = world.network_mut().add_site(std::slice::from_ref(nat));
                Setup::at(site, Access::default())
            }
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Public => "public".to_owned(),
            Self::Preset(preset) => preset.to_string(),
            Self::Behind(nat) => format!("{}/{}", short(nat.mapping), short(nat.filtering)),
        }
    }
}

/// RFC 4787's words (sections 4.1 and 5) by their first letters.
fn short(behaviour: Behaviour) -> &'static str {
    match behaviour {
        Behaviour::EndpointIndependent => "EI",
        Behaviour::AddressDependent => "AD",
        Behaviour::AddressAndPortDependent => "APD",
    }
}

/// A world with two peers, started.
fn pair(seed: u64, places: [&Place; 2]) -> World {
    let mut world = World::new(seed);
    for (name, place) in ["a", "b"].into_iter().zip(places) {
        let setup = place.setup(&mut world);
        world.add_with(config(name), &setup);
    }
    world.start_all();
    world
}

fn both(world: &World) -> bool {
    world.connected(0, 1) && world.connected(1, 0)
}

/// From the start of both until both are connected, in milliseconds; and whether there is a path once STUN is used.
fn connects(seed: u64, places: [&Place; 2]) -> (Option<u128>, bool) {
    isolated(seed, || {
        let mut world = pair(seed, places);
        let took = world.run_until_or(Duration::from_secs(20), both);
        let [a, b] = [0, 1].map(|host| world.network_number(host));
        let punched = world.network().can_reach_directly_with_stun(a, b);
        (took.then(|| world.elapsed().as_millis()), punched)
    })
}

/// Each pair of these is made so often with each of them in either role: the greater id calls.
const SEEDS: [u64; 2] = [1, 2];

/// A row for each pair.
fn pairs(places: &[Place]) -> String {
    let mut table = String::from(
        "ms: from the start until both are connected, median; direct: the share that does, in %; relayed: the share \
         that does over a relay, which is not there yet; with STUN: whether the model sees a path by hole punching\n\n",
    );
    let heads = ["ms", "direct", "relayed", "with STUN"];
    let [ms, direct, relayed, stun] = heads;
    let ends = |a: &str, b: &str| format!("{a:>13} {b:>13}");
    let head = ends("", "");
    writeln!(table, "{head} {ms:>8} {direct:>7} {relayed:>8} {stun:>10}").unwrap();
    let (mut all, mut met, mut punched) = (0, 0, 0);
    for (n, a) in places.iter().enumerate() {
        for b in &places[n..] {
            let roles = SEEDS.into_iter().flat_map(|seed| [(seed, [a, b]), (seed, [b, a])]);
            let tries: Vec<_> = roles.map(|(seed, places)| connects(seed, places)).collect();
            let mut took: Vec<u128> = tries.iter().filter_map(|(took, _)| *took).collect();
            took.sort_unstable();
            let median = took.get(took.len() / 2).map_or("-".to_owned(), u128::to_string);
            let share = took.len() * 100 / tries.len();
            let hole = tries.iter().all(|(_, punched)| *punched);
            (all, met, punched) =
                (all + tries.len(), met + took.len(), punched + tries.len() * usize::from(hole));
            let (pair, hole) = (ends(&a.name(), &b.name()), if hole { "yes" } else { "no" });
            writeln!(table, "{pair} {median:>8} {share:>7} {:>8} {hole:>10}", "").unwrap();
        }
    }
    writeln!(table, "\nof {all}: {met} direct, 0 relayed; with STUN {punched} direct").unwrap();
    table
}

#[test]
fn time_to_connect_and_share_of_pairs_per_nat() {
    if !exact() {
        return;
    }
    let mut places = vec![Place::Public];
    for mapping in Behaviour::ALL {
        for filtering in Behaviour::ALL {
            places.push(Place::Behind(NatConfig { mapping, filtering, ..NatConfig::default() }));
        }
    }
    insta::assert_snapshot!(pairs(&places));
}

#[test]
fn time_to_connect_and_share_of_pairs_per_preset() {
    if !exact() {
        return;
    }
    let presets = Preset::ALL.map(Place::Preset);
    let places: Vec<Place> = std::iter::once(Place::Public).chain(presets).collect();
    insta::assert_snapshot!(pairs(&places));
}

/// A minute of audio from a public peer to one in such a place: how long audio is held, and what was made up.
fn hears(place: Preset) -> Option<(f64, f64)> {
    isolated(1, || {
        let mut world = pair(1, [&Place::Public, &Place::Preset(place)]);
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
        let mut world = pair(1, [&Place::Public, &Place::Public]);
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
