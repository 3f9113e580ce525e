//! One seed gives one history, byte for byte: twice in a process, and in processes of their own.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use object::{Object, ObjectSymbol};
use rtcmesh_core::config::{Config, ConnectMode, VideoSettings};
use rtcmesh_core::media::{AudioBuffer, EncodedVideo, RuntimeData, VideoCodec};
use rtcmesh_core::transport::Event;
use rtcmesh_sim::net::{Jitter, Loss};
use rtcmesh_sim::{Digest, Mode, World, interpose, isolated};

rtcmesh_sim::interpose!();

/// The environment's variables by which a process of its own is told its seed and where its digest goes.
const SEED: &str = "RTCMESH_DETERMINISM_SEED";
const OUTPUT: &str = "RTCMESH_DETERMINISM_OUTPUT";

/// Four peers with audio, video and data over a bad network; two of them call each other at once, one crashes.
fn history(seed: u64) -> Digest {
    history_with(seed, seed)
}

/// The same with other numbers of the operating system.
fn history_with(seed: u64, system: u64) -> Digest {
    let digest = isolated(system, || {
        let mut world = World::new(seed);
        world.digest = Digest::with_log(world.digest.mode(), 1_000_000);
        world.weather().latency = Duration::from_millis(30);
        world.weather().jitter = Jitter::Uniform(Duration::from_millis(15));
        world.weather().loss = Loss::Random(0.1);
        for name in ["a", "b", "c", "d"] {
            let mut video = VideoSettings::default();
            video.enabled = true;
            let config = Config::new(World::URL).peer_id(name).video(video);
            world.add(config.connect(ConnectMode::Manual));
        }
        world.start_all();
        world.run(Duration::from_millis(200));
        for (host, peer) in [(0, "b"), (1, "a"), (0, "c"), (1, "c"), (3, "a"), (3, "b"), (2, "d")] {
            let called = world.act(host, |transport, now| transport.connect_peer(now, peer));
            called.expect("it is announced");
        }
        assert!(world.run_until(World::all_connected), "seed {seed}");
        for n in 0..150 {
            if n == 75 {
                world.crash(3);
            }
            for host in 0..4 {
                speak(&mut world, host, n);
            }
            world.run(Duration::from_millis(20));
        }
        world.run(Duration::from_secs(30));
        let met = |host: usize, other: usize| {
            let peer = world.hosts[host].peer(world.hosts[other].id()).expect("it knows it");
            peer.counters.glare
        };
        assert!(met(0, 1) + met(1, 0) > 0, "both called at once");
        for host in &world.hosts[..3] {
            assert!(!host.media.is_empty(), "it heard others");
            assert!(host.count(|event| matches!(event, Event::Data { .. })) > 0);
            assert!(host.count(|event| matches!(event, Event::Failed { .. })) > 0, "one crashed");
        }
        world.digest
    });
    assert!(digest.records() > 10_000);
    digest
}

/// What a peer sends in the `n`th 20 ms.
fn speak(world: &mut World, host: usize, n: usize) {
    let sample = |k: usize| 0.3 * ((n * 960 + k) as f32 * (0.02 + 0.01 * host as f32)).sin();
    let samples = (0..960).map(sample).collect();
    let audio = RuntimeData::Audio(AudioBuffer { samples, sample_rate: 48_000, channels: 1 });
    let keyframe = n.is_multiple_of(30);
    // The VP9 bitstream, section 6.2: frame marker, profile 0, key or inter frame, shown.
    let mut data: Vec<u8> = if keyframe {
        vec![0x82, 0x49, 0x83, 0x42, 0x00, 0x13, 0xf0, 0x0e, 0xf0]
    } else {
        vec![0x86, 0x00]
    };
    data.extend((0..2_000).map(|k| (k % 250) as u8 + 2));
    let video = RuntimeData::Video(EncodedVideo {
        codec: VideoCodec::Vp9,
        data: data.into(),
        timestamp: Duration::from_millis(20) * n as u32,
        keyframe,
        captured: None,
    });
    let message = RuntimeData::Text(format!("{host}: {n}").into());
    world.act(host, |transport, now| {
        // What cannot be sent, since nobody is connected any more, is part of the history.
        let _ = transport.broadcast(now, &audio);
        let _ = transport.broadcast(now, &video);
        if n.is_multiple_of(10) {
            let _ = transport.broadcast(now, &message);
        }
    });
}

/// The digest of a seed's history in a process of its own.
fn elsewhere(seed: u64, run: usize) -> String {
    let output = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("determinism-{}-{seed}-{run}", std::process::id()));
    let result = Command::new(std::env::current_exe().expect("this test's path"))
        .args(["--exact", "--ignored", "one_history_for_another_process"])
        .env(SEED, seed.to_string())
        .env(OUTPUT, &output)
        .output()
        .expect("it starts");
    assert!(result.status.success(), "{}", String::from_utf8_lossy(&result.stdout));
    let digest = std::fs::read_to_string(&output).expect("its digest");
    std::fs::remove_file(&output).expect("its digest can be removed");
    digest
}

#[test]
#[ignore = "the test of processes starts it"]
fn one_history_for_another_process() {
    let seed = std::env::var(SEED).expect("a seed").parse().expect("a number");
    std::fs::write(std::env::var(OUTPUT).expect("a file"), history(seed).value()).unwrap();
}

#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
#[test]
fn a_seed_gives_one_history_in_one_process_and_in_others() {
    let first = history(1);
    assert_eq!(first.mode(), Mode::Bytes);
    let second = history(1);
    assert_eq!(first.difference(&second), None);
    for run in 0..2 {
        assert_eq!(elsewhere(1, run), first.value(), "process {run}");
    }
}

#[test]
fn other_seeds_give_other_histories() {
    let (one, two) = (history(1), history(2));
    assert_ne!(one.value(), two.value());
    assert!(one.difference(&two).expect("they differ").contains("record"));
}

#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
#[test]
fn only_isolated_threads_have_virtual_time_and_seeded_randomness() {
    assert!(!interpose::active());
    let drawn = || std::collections::hash_map::RandomState::new();
    let probe = || (interpose::active(), Instant::now(), std::time::SystemTime::now());
    assert_eq!(isolated(1, probe), isolated(2, probe));
    assert!(isolated(1, interpose::active));
    let (before, seen) = (Instant::now(), isolated(1, Instant::now));
    while Instant::now() == before {}
    assert_eq!(isolated(1, Instant::now), seen);
    use std::hash::BuildHasher;
    let numbers = || isolated(3, || drawn().hash_one(0));
    assert_eq!(numbers(), numbers());
    assert_ne!(numbers(), isolated(4, || drawn().hash_one(0)));
    let fresh = || std::thread::spawn(move || drawn().hash_one(0)).join().unwrap();
    assert_ne!(fresh(), fresh());
}

#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
#[test]
fn the_systems_randomness_is_part_of_the_history() {
    assert!(history(3).difference(&history_with(3, 4)).is_some());
}

/// The functions that the macro defines.
const INTERPOSED: [&str; 2] = ["getrandom", "clock_gettime"];

/// Other ways to the same of the C library: nothing here takes them.
const OTHER_WAYS: [&str; 5] =
    ["getentropy", "arc4random_buf", "gettimeofday", "time", "timespec_get"];

/// What here calls the macro, by the names of their targets. The program's is that of the library's own tests too.
const CALLERS: [&str; 6] = ["capture", "determinism", "memory", "rtcmesh_sim", "seeds", "tables"];

/// Which of those functions an object file or a program defines.
fn defined(file: &[u8]) -> Vec<String> {
    let Ok(file) = object::File::parse(file) else { return Vec::new() };
    let symbols = file.symbols().chain(file.dynamic_symbols());
    let ours = symbols.filter(|symbol| symbol.is_definition());
    let mut names: Vec<String> =
        ours.filter_map(|symbol| Some(symbol.name().ok()?.to_owned())).collect();
    names.retain(|name| INTERPOSED.contains(&name.as_str()));
    names.sort();
    names.dedup();
    names
}

/// The same of all objects in a library.
fn defined_in_library(file: &[u8]) -> Vec<String> {
    let Ok(archive) = object::read::archive::ArchiveFile::parse(file) else { return Vec::new() };
    let members = archive.members().filter_map(|member| member.ok()?.data(file).ok());
    members.flat_map(defined).collect()
}

/// Builds the program `rtcmesh`, which does not call the macro, into the folder of this test's profile.
fn build_program(folder: &std::path::Path) {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--offline", "-p", "rtcmesh-cli", "--bin", "rtcmesh", "--target-dir"]);
    cargo.arg(folder.parent().expect("the target's folder"));
    if folder.ends_with("release") {
        cargo.arg("--release");
    }
    let built = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).status().expect("cargo starts");
    assert!(built.success());
}

#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
#[test]
fn only_callers_of_the_macro_have_its_functions() {
    let this = std::env::current_exe().expect("this test's path");
    let content = std::fs::read(&this).expect("this test can be read");
    assert_eq!(defined(&content), ["clock_gettime", "getrandom"]);

    let file = object::File::parse(&*content).expect("a program");
    let imported = file.dynamic_symbols().filter(|symbol| symbol.is_undefined());
    let imported: Vec<&str> = imported.filter_map(|symbol| symbol.name().ok()).collect();
    assert!(imported.contains(&"syscall"), "imports are seen");
    assert!(!imported.iter().any(|name| OTHER_WAYS.contains(name)), "{imported:?}");

    let folder = this.parent().expect("a folder");
    let program = folder.with_file_name("rtcmesh");
    if !program.exists() {
        build_program(folder.parent().expect("the profile's folder"));
    }
    let beside = std::fs::read_dir(folder).expect("its folder can be read");
    let paths = beside.map(|entry| entry.expect("an entry").path());
    let (mut libraries, mut programs) = (0, 0);
    for path in paths.chain([program]) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let target = name.rsplit_once('-').map_or(&*name, |(target, _)| target);
        // Others may be built at this moment: what is gone or unfinished defines nothing.
        if name.starts_with("librtcmesh") && name.ends_with(".rlib") {
            let Ok(content) = std::fs::read(&path) else { continue };
            assert_eq!(defined_in_library(&content), Vec::<String>::new(), "{name}");
            libraries += 1;
        } else if path.extension().is_none() && path.is_file() && !CALLERS.contains(&target) {
            let Ok(content) = std::fs::read(&path) else { continue };
            assert_eq!(defined(&content), Vec::<String>::new(), "{name}");
            programs += 1;
        }
    }
    assert!(libraries >= 2, "the core and the simulation: {libraries}");
    assert!(programs >= 1, "no program was looked at");
}

#[test]
#[should_panic(expected = "on purpose")]
fn a_panic_goes_on_in_the_caller() {
    isolated(1, || panic!("on purpose"));
}

#[test]
fn signaling_counts_once_it_is_sent_even_if_it_never_arrives() {
    let sent = |text: &str| {
        let mut world = World::new(1);
        let stranger = world.add_stranger();
        assert!(world.send_signaling(stranger, "/room", &[text.to_owned()]));
        world.digest.value()
    };
    assert_eq!(sent("a"), sent("a"));
    assert_ne!(sent("a"), sent("bb"));
}
