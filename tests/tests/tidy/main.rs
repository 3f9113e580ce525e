//! The rules of the source tree that no compiler checks. Each check is itself tested on a bad sample,
//! beside it.

// To clippy, what only helps tests is no test.
#![allow(clippy::unwrap_used)]

mod arrows;
mod rules;
mod source;

use std::process::Command;

use source::{Source, files, root, without_tests};

/// The Rust files of the workspace: all of them, and, of those that are no tests, the path and the
/// code without tests.
fn rust() -> (Vec<Source>, Vec<(String, String)>) {
    let all = files(&root(), &[".rs"]);
    assert!(all.iter().any(|file| file.path == "core/src/lib.rs"), "the tree is not where it was");
    let mut code = Vec::new();
    let mut test_files = Vec::new();
    for file in &all {
        let (text, named) = without_tests(file);
        test_files.extend(named);
        code.push((file.path.clone(), text));
    }
    code.retain(|(path, _)| !source::among(path, &test_files));
    (all, code)
}

/// Fails with all of `wrong`, one a line.
#[track_caller]
fn nothing(wrong: Vec<String>) {
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn modules_of_the_core_know_only_those_below_them() {
    nothing(arrows::of_modules(&rust().1));
}

#[test]
fn crates_know_only_those_below_them() {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    nothing(arrows::of_crates(&serde_json::from_slice(&output.stdout).unwrap()));
}

#[test]
fn the_core_is_pure() {
    let (_, code) = rust();
    let core = code.iter().filter(|(path, _)| path.starts_with("core/src/"));
    nothing(core.flat_map(|(path, code)| rules::impure(path, code)).collect());
}

#[test]
fn files_have_one_subject_and_name_it() {
    let (all, code) = rust();
    // The tests of a file that stand in a file of their own have its subject.
    let own = all.iter().filter(|file| code.iter().any(|(path, _)| *path == file.path));
    let mut wrong: Vec<_> = own.filter_map(rules::without_subject).collect();
    wrong.extend(code.iter().filter_map(|(path, code)| rules::too_long(path, code)));
    nothing(wrong);
}

#[test]
fn nothing_is_left_undone() {
    let all = files(&root(), &[".rs", ".js", ".toml", ".md", ".yml"]);
    // The marks themselves are written here.
    let others = all.iter().filter(|file| file.path != "tests/tests/tidy/rules.rs");
    nothing(others.flat_map(rules::undone).collect());
}

#[test]
fn the_oldest_compiler_is_stated_once() {
    nothing(arrows::of_versions(&files(&root(), &[".toml", ".md"])));
}

#[test]
fn documents_point_to_what_is_there() {
    let documents = files(&root(), &[".md"]);
    let mut wrong: Vec<_> =
        documents.iter().flat_map(|file| rules::dead_links(file, &root())).collect();
    wrong.extend(documents.iter().flat_map(rules::unlabelled_blocks));
    nothing(wrong);
}
