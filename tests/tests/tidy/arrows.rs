//! Who may know whom: the modules of the core, and the crates of the workspace (ARCHITECTURE.md).

use serde_json::Value;

use super::source::{Source, is_word};

/// The modules at the bottom of the core: everybody may know them, and they know no one above.
const LEAVES: &[&str] = &["id", "time", "trace", "rng", "net", "error", "media", "hostile"];

/// What each module of the core may know beside itself. `*` is everybody.
const MODULES: &[(&str, &[&[&str]])] = &[
    ("id", &[&["error", "trace"]]),
    ("time", &[&["trace"]]),
    ("trace", &[]),
    ("rng", &[&["trace"]]),
    ("hostile", &[]),
    ("net", &[&["id", "trace"]]),
    ("error", &[&["id", "trace"]]),
    ("media", &[&["id", "error", "trace"]]),
    ("config", &[LEAVES]),
    ("signaling", &[LEAVES]),
    ("ice", &[LEAVES]),
    ("sync", &[LEAVES, &["config"]]),
    ("codec", &[LEAVES, &["config"]]),
    ("peer", &[LEAVES, &["ice"]]),
    ("pipeline", &[LEAVES, &["config", "sync", "codec"]]),
    ("metrics", &[LEAVES]),
    ("transport", &[&["*"]]),
];

/// Crates that one module alone may name.
const OWNED: &[(&str, &str)] =
    &[("str0m", "peer"), ("str0m_aws_lc_rs", "peer"), ("dimpl", "peer"), ("fastrand", "peer")];

/// What is wrong with the modules of the core that `code` (path, code without tests) shows.
pub(crate) fn of_modules(code: &[(String, String)]) -> Vec<String> {
    let mut wrong = Vec::new();
    for (path, code) in code {
        let Some(module) = module_of(path) else { continue };
        let Some((_, allowed)) = MODULES.iter().find(|(name, _)| *name == module) else {
            wrong.push(format!("{path}: the module {module} is not in the table of arrows"));
            continue;
        };
        let may = |other: &str| {
            other == module || allowed.concat().iter().any(|&name| name == "*" || name == other)
        };
        for other in known(code) {
            // An item at the root of the crate is no module.
            if MODULES.iter().any(|(name, _)| *name == other) && !may(&other) {
                wrong.push(format!("{path}: {module} must not know {other}"));
            }
        }
        for (name, owner) in OWNED {
            if *owner != module && names(code, name) {
                wrong.push(format!("{path}: only {owner} may name {name}"));
            }
        }
    }
    wrong
}

/// The module of the core that a file belongs to.
fn module_of(path: &str) -> Option<&str> {
    let inside = path.strip_prefix("core/src/")?;
    let module = inside.split('/').next()?.trim_end_matches(".rs");
    (module != "lib").then_some(module)
}

/// The names that follow `crate::`, those of a group `crate::{…}` included.
fn known(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        if at > 0 && is_word(code.as_bytes()[at - 1]) {
            continue;
        }
        let rest = &code[at + "crate::".len()..];
        let Some(group) = rest.strip_prefix('{') else {
            found.push(word(rest));
            continue;
        };
        let mut depth = 0_usize;
        let mut expected = true;
        for (at, letter) in group.char_indices() {
            match letter {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => expected = true,
                _ if expected && !letter.is_whitespace() => {
                    found.push(word(&group[at..]));
                    expected = false;
                }
                _ => {}
            }
        }
    }
    found
}

/// The name at the start of `text`.
fn word(text: &str) -> String {
    text.chars().take_while(|c| c.is_ascii() && is_word(*c as u8)).collect()
}

/// Whether `code` holds the whole name `name`.
pub(crate) fn names(code: &str, name: &str) -> bool {
    let bytes = code.as_bytes();
    code.match_indices(name).any(|(at, _)| {
        let before = at > 0 && is_word(bytes[at - 1]);
        let after = bytes.get(at + name.len()).is_some_and(|&byte| is_word(byte));
        !before && !after
    })
}

/// What a crate's library and programs may depend on.
enum Crates {
    /// Of this workspace, only these.
    Ours(&'static [&'static str]),
    /// Everything of this workspace, and any runtime.
    All,
}

/// The async runtimes and what belongs to one of them.
const RUNTIMES: &[&str] =
    &["tokio", "tokio-util", "smol", "async-std", "async-io", "async-executor", "futures"];

/// For each crate: what of this workspace it may know, and the runtimes it may name.
const CRATES: &[(&str, Crates, &[&str])] = &[
    ("rtcmesh-core", Crates::Ours(&[]), &[]),
    ("rtcmesh-runtime", Crates::Ours(&["rtcmesh-core"]), &[]),
    ("rtcmesh-tokio", Crates::Ours(&["rtcmesh-core", "rtcmesh-runtime"]), &["tokio"]),
    ("rtcmesh-smol", Crates::Ours(&["rtcmesh-core", "rtcmesh-runtime"]), &["smol", "async-io"]),
    (
        "rtcmesh-cli",
        Crates::Ours(&["rtcmesh-core", "rtcmesh-runtime", "rtcmesh-tokio"]),
        &["tokio"],
    ),
    ("rtcmesh-sim", Crates::Ours(&["rtcmesh-core"]), &[]),
    ("rtcmesh-benches", Crates::All, &[]),
    ("rtcmesh-examples", Crates::All, &[]),
    ("web-time", Crates::Ours(&[]), &[]),
];

/// What is wrong with the crates of `metadata` (`cargo metadata --no-deps`). Dependencies of tests
/// may be anything: cargo refuses what would be a circle.
pub(crate) fn of_crates(metadata: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let name = package["name"].as_str().unwrap_or_default();
        let Some((_, ours, runtimes)) = CRATES.iter().find(|(known, ..)| *known == name) else {
            wrong.push(format!("the crate {name} is not in the table of arrows"));
            continue;
        };
        let Crates::Ours(ours) = ours else { continue };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let other = dependency["name"].as_str().unwrap_or_default();
            let of_tests = dependency["kind"].as_str() == Some("dev");
            let foreign = other.starts_with("rtcmesh") && !ours.contains(&other);
            let runtime = RUNTIMES.contains(&other) && !runtimes.contains(&other);
            if !of_tests && (foreign || runtime) {
                wrong.push(format!("{name} must not depend on {other}"));
            }
        }
    }
    wrong
}

/// What is wrong with the manifests: the oldest compiler is stated once, in the workspace.
pub(crate) fn of_versions(files: &[Source]) -> Vec<String> {
    let stated = |text: &str| {
        let line = text.lines().find(|line| line.starts_with("rust-version = "))?;
        Some(line.split('"').nth(1)?.to_owned())
    };
    let root = files.iter().find(|file| file.path == "Cargo.toml");
    let Some(version) = root.and_then(|root| stated(&root.text)) else {
        return vec!["Cargo.toml: no rust-version".to_owned()];
    };
    let mut wrong = Vec::new();
    for file in files.iter().filter(|file| file.path != "Cargo.toml") {
        // A workspace of its own has none to take it from: nothing of it is built with the project.
        let member = !file.text.lines().any(|line| line == "[workspace]");
        let takes = file.text.contains("rust-version.workspace = true");
        if file.path.ends_with("Cargo.toml") && member && !takes {
            wrong.push(format!("{}: it does not take the workspace's rust-version", file.path));
        }
        if file.text.split(|c: char| !c.is_ascii_digit() && c != '.').any(|part| part == version) {
            wrong.push(format!("{}: {version} is stated in Cargo.toml alone", file.path));
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn module(path: &str, code: &str) -> usize {
        of_modules(&[(path.to_owned(), code.to_owned())]).len()
    }

    #[test]
    fn a_module_that_knows_one_above_it_is_found() {
        for (path, code, wrong) in [
            ("core/src/id.rs", "use crate::error::ConfigError;", 0),
            ("core/src/id.rs", "use crate::config::Config;", 1),
            (
                "core/src/sync/jitter.rs",
                "use crate::sync::ring::Ring; use crate::time::Deadline;",
                0,
            ),
            ("core/src/sync/jitter.rs", "fn f() { crate::codec::decode() }", 1),
            (
                "core/src/codec/mod.rs",
                "use crate::{\n error::{A, B},\n peer::Peer, transport };",
                2,
            ),
            ("core/src/peer/sdp.rs", "use crate::signaling::Message;", 1),
            ("core/src/transport/mod.rs", "use crate::{peer, sync};", 0),
            ("core/src/lib.rs", "pub mod peer;", 0),
            ("core/src/other.rs", "", 1),
            ("core/src/peer/mod.rs", "use str0m::Rtc; fastrand::seed(1);", 0),
            ("core/src/transport/mod.rs", "use str0m::Rtc;", 1),
            ("core/src/rng.rs", "fastrand::u8(..)", 1),
            ("runtime/src/lib.rs", "use str0m::Rtc;", 0),
        ] {
            assert_eq!(module(path, code), wrong, "{path}: {code}");
        }
    }

    #[test]
    fn a_crate_that_depends_on_one_above_it_or_on_a_runtime_is_found() {
        let metadata = |name: &str, other: &str, kind: Option<&str>| json!({ "packages": [{ "name": name, "dependencies": [{ "name": other, "kind": kind }] }] });
        for (name, other, kind, wrong) in [
            ("rtcmesh-core", "serde", None, 0),
            ("rtcmesh-core", "tokio", None, 1),
            ("rtcmesh-core", "rtcmesh-runtime", None, 1),
            ("rtcmesh-runtime", "tokio", None, 1),
            ("rtcmesh-runtime", "tokio", Some("dev"), 0),
            ("rtcmesh-runtime", "tokio", Some("build"), 1),
            ("rtcmesh-sim", "rtcmesh-tokio", None, 1),
            ("rtcmesh-sim", "rtcmesh-tokio", Some("dev"), 0),
            ("rtcmesh-cli", "rtcmesh-tokio", None, 0),
            ("rtcmesh-benches", "rtcmesh-cli", None, 0),
            ("rtcmesh-unknown", "serde", None, 1),
        ] {
            let found = of_crates(&metadata(name, other, kind));
            assert_eq!(found.len(), wrong, "{name} on {other}: {found:?}");
        }
    }

    #[test]
    fn a_second_statement_of_the_oldest_compiler_is_found() {
        let root = || Source::new("Cargo.toml", "[workspace.package]\nrust-version = \"7.77\"\n");
        let wrong = |path, text| of_versions(&[root(), Source::new(path, text)]).len();
        assert_eq!(wrong("core/Cargo.toml", "rust-version.workspace = true\nfoo = \"17.77\""), 0);
        assert_eq!(wrong("core/Cargo.toml", "edition.workspace = true"), 1);
        assert_eq!(wrong("core/Cargo.toml", "rust-version = \"7.77\""), 2);
        assert_eq!(wrong("README.md", "It takes Rust 7.77 or newer"), 1);
        assert_eq!(of_versions(&[]).len(), 1);
    }
}
