//! Rules for single files: what is pure stays pure, files have one subject and say which, and what is
//! written down for people is true.

use std::path::Path;

use super::arrows::names;
use super::source::Source;

/// The most lines that a file has before its tests.
const MAX_LINES: usize = 600;

/// What the core must not name outside its tests, and what to do instead.
const IMPURE: &[(&str, &str)] = &[
    ("UdpSocket", "ask for sockets by IoCommand"),
    ("TcpStream", "ask for links by IoCommand"),
    ("TcpListener", "ask for links by IoCommand"),
    ("Instant::now", "take `now` as an argument"),
    ("SystemTime::now", "take the wall clock as an argument"),
    ("std::thread", "hand work out, and let the caller run it"),
    ("thread::spawn", "hand work out, and let the caller run it"),
    ("thread::sleep", "ask for a deadline"),
    ("std::fs", "hand bytes out, and let the caller keep them"),
    ("std::env", "take settings by the configuration"),
    ("std::process", "leave processes to the caller"),
    ("async fn", "be polled"),
    ("async move", "be polled"),
    ("tokio", "be polled"),
    ("smol", "be polled"),
    ("rand", "draw from crate::rng"),
    ("getrandom", "take a Seed"),
];

/// Marks of work left undone.
const UNDONE: [&str; 4] = ["TODO", "FIXME", "XXX", "HACK"];

/// What makes a file of the core depend on more than its arguments; `code` is without tests.
pub(crate) fn impure(path: &str, code: &str) -> Vec<String> {
    IMPURE
        .iter()
        .filter(|(name, _)| names(code, name))
        .map(|(name, instead)| format!("{path}: {name} in the core: {instead}"))
        .collect()
}

/// A file that is too long before its tests; `code` is without tests.
pub(crate) fn too_long(path: &str, code: &str) -> Option<String> {
    let lines = code.trim_end().lines().count();
    (lines > MAX_LINES).then(|| format!("{path}: {lines} lines before its tests: split it"))
}

/// Work left undone.
pub(crate) fn undone(source: &Source) -> Vec<String> {
    let mut wrong = Vec::new();
    for (number, line) in source.text.lines().enumerate() {
        if let Some(mark) = UNDONE.iter().find(|mark| names(line, mark)) {
            wrong.push(format!("{}:{}: {mark}: do it, or file an issue", source.path, number + 1));
        }
    }
    wrong
}

/// A file that does not say what it is about.
pub(crate) fn without_subject(source: &Source) -> Option<String> {
    (!source.text.starts_with("//! ")).then(|| format!("{}: no //! at its start", source.path))
}

/// Code blocks without a language: the tests of the README would take them for Rust.
pub(crate) fn unlabelled_blocks(source: &Source) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut open = false;
    for (number, line) in source.text.lines().enumerate() {
        if let Some(label) = line.trim_start().strip_prefix("```") {
            if !open && label.trim().is_empty() {
                wrong.push(format!(
                    "{}:{}: a code block without a language",
                    source.path,
                    number + 1
                ));
            }
            open = !open;
        }
    }
    wrong
}

/// Links of a Markdown file to files that are not there.
pub(crate) fn dead_links(source: &Source, root: &Path) -> Vec<String> {
    let folder = root.join(&source.path);
    let mut wrong = Vec::new();
    for (number, line) in source.text.lines().enumerate() {
        for part in line.split("](").skip(1) {
            let target = part.split([')', '#']).next().unwrap_or_default();
            let outside =
                target.is_empty() || target.contains("://") || target.starts_with("mailto:");
            if !outside && !folder.with_file_name(target).exists() {
                wrong.push(format!("{}:{}: {target} is not there", source.path, number + 1));
            }
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::super::source::root;
    use super::*;

    #[test]
    fn each_impurity_is_found() {
        for (name, _) in IMPURE {
            let code = format!("fn f() {{ {name}; }}");
            assert!(!impure("core/src/a.rs", &code).is_empty(), "{name}");
        }
        for pure in ["use rand_chacha::ChaCha20Rng;", "fn at(now: Instant) {}", "struct NotTokio;"]
        {
            assert_eq!(impure("core/src/a.rs", pure), Vec::<String>::new());
        }
    }

    #[test]
    fn a_file_over_the_limit_is_found_whatever_its_tests_add() {
        let lines = |count: usize| "x\n".repeat(count);
        assert_eq!(too_long("a.rs", &lines(MAX_LINES)), None);
        assert!(too_long("a.rs", &lines(MAX_LINES + 1)).is_some());
        assert_eq!(too_long("a.rs", &format!("x{}", "\n".repeat(2 * MAX_LINES))), None);
    }

    #[test]
    fn work_left_undone_is_found_with_its_line() {
        for mark in UNDONE {
            let found = undone(&Source::new("a.rs", &format!("fn a() {{}}\n// {mark}: later\n")));
            assert_eq!(found.len(), 1, "{mark}");
            assert!(found[0].starts_with("a.rs:2:"), "{found:?}");
        }
        assert!(undone(&Source::new("a.rs", "HACKING METHOD_TODOS")).is_empty());
    }

    #[test]
    fn a_file_without_a_subject_is_found() {
        assert!(without_subject(&Source::new("a.rs", "use std::fmt;")).is_some());
        assert!(without_subject(&Source::new("a.rs", "//!\n")).is_some());
        assert_eq!(without_subject(&Source::new("a.rs", "//! Ids.\n")), None);
    }

    #[test]
    fn a_code_block_without_a_language_is_found() {
        let found = unlabelled_blocks(&Source::new("a.md", "```sh\nls\n```\ntext\n```\nls\n```\n"));
        assert_eq!(found, ["a.md:5: a code block without a language"]);
    }

    #[test]
    fn a_link_to_nowhere_is_found() {
        let text = "[a](Cargo.toml) [b](https://example.org) [c](#here)\n[d](tests/none.rs#L1)";
        let found = dead_links(&Source::new("README.md", text), &root());
        assert_eq!(found, ["README.md:2: tests/none.rs is not there"]);
    }
}
