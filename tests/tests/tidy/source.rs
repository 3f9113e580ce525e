//! Reading the tree: its files, and Rust text without its comments, its strings and its tests.

use std::fs;
use std::path::{Path, PathBuf};

/// Folders that hold nothing of ours.
const FOREIGN: [&str; 4] = ["target", ".git", ".cache", "node_modules"];

/// One file of the repository.
pub(crate) struct Source {
    /// Its path from the root, with `/`.
    pub(crate) path: String,
    /// What it says.
    pub(crate) text: String,
}

impl Source {
    /// A file as a test makes it up.
    pub(crate) fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned() }
    }
}

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every text file below `folder` whose name ends with one of `endings`, in the order of the paths.
pub(crate) fn files(folder: &Path, endings: &[&str]) -> Vec<Source> {
    let mut found = Vec::new();
    collect(folder, "", endings, &mut found);
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn collect(folder: &Path, prefix: &str, endings: &[&str], found: &mut Vec<Source>) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let path = format!("{prefix}{name}");
        let kind = entry.file_type().unwrap();
        if kind.is_dir() && !FOREIGN.contains(&name.as_str()) {
            collect(&entry.path(), &format!("{path}/"), endings, found);
        } else if kind.is_file() && endings.iter().any(|ending| name.ends_with(ending)) {
            found.push(Source { path, text: fs::read_to_string(entry.path()).unwrap() });
        }
    }
}

/// `text` with comments and what is inside string and character literals blanked out. Lines and
/// columns (in bytes) stay where they are.
pub(crate) fn code(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = literal_end(bytes, at);
        if end == at {
            at += 1;
            continue;
        }
        for byte in &mut code[at..end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = end;
    }
    String::from_utf8(code).unwrap()
}

/// Where the comment or literal that starts at `at` ends; `at` itself where none does.
fn literal_end(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    let starts_word = at == 0 || !is_word(bytes[at - 1]);
    if rest.starts_with(b"//") {
        return at + rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len());
    }
    if rest.starts_with(b"/*") {
        let (mut depth, mut end) = (0_usize, 0);
        while end < rest.len() {
            match &rest[end..] {
                [b'/', b'*', ..] => (depth, end) = (depth + 1, end + 2),
                [b'*', b'/', ..] if depth == 1 => return at + end + 2,
                [b'*', b'/', ..] => (depth, end) = (depth - 1, end + 2),
                _ => end += 1,
            }
        }
        return bytes.len();
    }
    // r"…", r#"…"#, br"…": the same number of # on both sides, and no escapes.
    let raw = usize::from(rest[0] == b'b');
    if starts_word && rest.get(raw) == Some(&b'r') {
        let hashes = rest[raw + 1..].iter().take_while(|&&byte| byte == b'#').count();
        if rest.get(raw + 1 + hashes) == Some(&b'"') {
            let close = [b"\"".to_vec(), vec![b'#'; hashes]].concat();
            let open = raw + 2 + hashes;
            let length = rest[open..].windows(close.len()).position(|part| part == close);
            return at + length.map_or(rest.len(), |length| open + length + close.len());
        }
    }
    match rest {
        [b'"', ..] => at + quoted(rest, b'"'),
        // A lifetime has no second quote after one character.
        [b'\'', b'\\', ..] => at + quoted(rest, b'\''),
        [b'\'', tail @ ..] => {
            let width = tail.first().map_or(0, |&byte| match byte {
                0xf0.. => 4,
                0xe0.. => 3,
                0xc0.. => 2,
                _ => 1,
            });
            if tail.get(width) == Some(&b'\'') { at + width + 2 } else { at }
        }
        _ => at,
    }
}

/// The length of a literal that starts with `quote`.
fn quoted(rest: &[u8], quote: u8) -> usize {
    let mut end = 1;
    while end < rest.len() && rest[end] != quote {
        end += if rest[end] == b'\\' { 2 } else { 1 };
    }
    (end + 1).min(rest.len())
}

/// Whether `byte` can be part of a name.
pub(crate) fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// `code` (see [`code`]) with every item under `#[cfg(test)]` blanked out, and the paths, from the
/// file's folder, of the files that such items name.
pub(crate) fn without_tests(source: &Source) -> (String, Vec<String>) {
    let mut code = code(&source.text);
    let mut test_files = Vec::new();
    while let Some(start) = code.find("#[cfg(test)]") {
        let rest = &code[start..];
        let brace = rest.find('{').unwrap_or(rest.len());
        let semicolon = rest.find(';').unwrap_or(rest.len());
        let length = if semicolon < brace {
            test_files.extend(module_file(source, &source.text[start..start + semicolon]));
            semicolon + 1
        } else {
            block_end(rest.as_bytes(), brace)
        };
        let blank: String =
            rest[..length].chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect();
        code.replace_range(start..start + length, &blank);
    }
    (code, test_files)
}

/// Whether the file `path` is one of the modules in `files` (see [`without_tests`]), or below one.
pub(crate) fn among(path: &str, files: &[String]) -> bool {
    files.iter().any(|file| {
        let below = path.strip_prefix(file.trim_end_matches(".rs"));
        path == file || below.is_some_and(|rest| rest.starts_with('/'))
    })
}

/// Where the block that opens at `brace` ends.
fn block_end(code: &[u8], brace: usize) -> usize {
    let mut depth = 0_usize;
    for (at, byte) in code.iter().enumerate().skip(brace) {
        match byte {
            b'{' => depth += 1,
            b'}' if depth == 1 => return at + 1,
            b'}' => depth -= 1,
            _ => {}
        }
    }
    code.len()
}

/// The file of the module that `item` (`#[path = "…"] mod name`) declares, as a path from the root.
fn module_file(source: &Source, item: &str) -> Option<String> {
    let (folder, file) = source.path.rsplit_once('/').unwrap_or(("", &source.path));
    if let Some((_, rest)) = item.split_once("#[path = \"") {
        return Some(format!("{folder}/{}", rest.split('"').next()?));
    }
    let (_, name) = item.rsplit_once("mod ")?;
    Some(match file {
        "mod.rs" | "lib.rs" | "main.rs" => format!("{folder}/{name}.rs"),
        _ => format!("{folder}/{}/{name}.rs", file.trim_end_matches(".rs")),
    })
}

#[test]
fn comments_and_literals_are_blanked_out_and_nothing_else() {
    for (text, expected) in [
        ("a // b\nc", "a     \nc"),
        ("a /* b /* c */ d */ e", "a                   e"),
        (r#"a("b\"c") d"#, r"a(      ) d"),
        (r##"a(r#"b"c"#) d"##, "a(        ) d"),
        (r#"a(br"b\") d"#, "a(      ) d"),
        ("'{' '\\'' b'}' 'é'", "         b       "),
        ("fn a<'a>(b: &'a str) {}", "fn a<'a>(b: &'a str) {}"),
        ("bar\"x\"", "bar   "),
    ] {
        // Blanks are counted in bytes.
        assert_eq!(code(text).trim_end(), expected.trim_end(), "{text}");
        assert_eq!(code(text).len(), text.len(), "{text}");
    }
}

#[test]
fn tests_are_blanked_out_and_their_files_named() {
    let text = "a\n#[cfg(test)]\n#[path = \"b_tests.rs\"]\nmod tests;\nc\n#[cfg(test)]\nmod d {\n { '}' }\n}\ne";
    let (code, files) = without_tests(&Source::new("core/src/b.rs", text));
    assert_eq!(code.split_whitespace().collect::<String>(), "ace");
    assert_eq!(code.lines().count(), text.lines().count());
    assert_eq!(files, ["core/src/b_tests.rs"]);
    let inside = |path| without_tests(&Source::new(path, "#[cfg(test)]\nmod tests;")).1;
    assert_eq!(inside("core/src/peer/mod.rs"), ["core/src/peer/tests.rs"]);
    assert_eq!(inside("core/src/time.rs"), ["core/src/time/tests.rs"]);
}

#[test]
fn a_test_module_includes_what_is_below_it() {
    let files = ["core/src/peer/tests.rs".to_owned()];
    for (path, inside) in [
        ("core/src/peer/tests.rs", true),
        ("core/src/peer/tests/mod.rs", true),
        ("core/src/peer/tests/pair.rs", true),
        ("core/src/peer/tests_not.rs", false),
        ("core/src/peer.rs", false),
    ] {
        assert_eq!(among(path, &files), inside, "{path}");
    }
}
