//! What fuzzing has found its way by, played once more: the corpora of `fuzz/corpus`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use proptest::prelude::*;
use rtcmesh_core::{signaling, sync, transport};
use rtcmesh_sim::{hostile_datagrams, net};

type Target = fn(Instant, &[u8]);

/// What each target calls.
const TARGETS: &[(&str, Target)] = &[
    ("correction", |_, bytes| sync::hostile_correction(bytes)),
    ("datagrams", |_, bytes| hostile_datagrams(bytes)),
    ("demux", |_, bytes| transport::hostile_demux(bytes)),
    ("drift_fit", |_, bytes| sync::hostile_fit(bytes)),
    ("mesh", |_, bytes| rtcmesh_sim::scenario::hostile_mesh(bytes)),
    ("ntp_map", sync::hostile_map),
    ("peer", transport::hostile_peer),
    ("recording", transport::hostile),
    ("renderer", sync::hostile_renderer),
    ("ring", |_, bytes| sync::hostile_ring(bytes)),
    ("signaling_client", signaling::hostile_client),
    ("signaling_message", signaling::hostile_message),
    ("signaling_server", |start, bytes| drop(signaling::hostile_server(start, bytes))),
    ("stun", |_, bytes| net::hostile_stun(bytes)),
    ("sync_manager", sync::hostile),
    ("turn", |_, bytes| net::hostile_turn(bytes)),
];

/// The most files of a corpus, and bytes in them.
const MAX_FILES: usize = 200;
const MAX_BYTES: usize = 300 * 1024;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz")
}

/// Plays a target's corpus, in the order of the names.
fn replay(name: &str) {
    let (_, target) = TARGETS.iter().find(|(known, _)| *known == name).expect("a target");
    let folder = fuzz().join("corpus").join(name);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("readable").path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{folder:?} is empty");
    assert!(paths.len() <= MAX_FILES, "{folder:?}: {} files: minimise it", paths.len());
    let start = Instant::now();
    let mut size = 0;
    for path in paths {
        let bytes = fs::read(&path).expect("readable");
        size += bytes.len();
        let played = std::panic::catch_unwind(|| target(start, &bytes));
        assert!(played.is_ok(), "{path:?} breaks a promise");
    }
    assert!(size <= MAX_BYTES, "{folder:?}: {size} bytes: minimise it");
}

macro_rules! corpora {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            replay(stringify!($name));
        })*

        const REPLAYED: &[&str] = &[$(stringify!($name)),*];
    };
}

corpora! {
    correction datagrams demux drift_fit mesh ntp_map peer recording renderer ring signaling_client signaling_message
    signaling_server stun sync_manager turn
}

#[test]
fn every_target_is_replayed_and_told_of() {
    let targets = fs::read_dir(fuzz().join("fuzz_targets")).unwrap();
    let stem = |path: PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
    let targets: BTreeSet<String> = targets.map(|entry| stem(entry.unwrap().path())).collect();
    let replayed: BTreeSet<String> = REPLAYED.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(targets, replayed);
    let record = fs::read_to_string(fuzz().join("README.md")).unwrap();
    let manifest = fs::read_to_string(fuzz().join("Cargo.toml")).unwrap();
    for name in targets {
        assert!(
            manifest.contains(&format!("name = \"{name}\"")),
            "{name} is not in fuzz/Cargo.toml"
        );
        assert!(record.contains(&format!("| `{name}` |")), "{name} is not in fuzz/README.md");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn nobody_on_the_path_ends_a_connection(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        hostile_datagrams(&bytes);
    }
}
