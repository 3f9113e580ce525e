//! The program `rtcmesh-sim` as it is used: its exit codes, the lines that repeat a failure, and its files.

use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// A world of three that everybody connects in, with acts in its last seconds; in no time at all it cannot have healed from them.
const SMALL: &[&str] = &["--seed", "3", "--scenario", "churn", "--peers", "3", "--minutes", "0.1"];
const FAILS: &[&str] = &["--healed-within", "0"];

fn program(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rtcmesh-sim"));
    command.args(arguments).output().expect("it starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

/// The arguments of the line that repeats a failure.
fn again(output: &Output) -> Vec<String> {
    let said = text(&output.stdout) + &text(&output.stderr);
    let line = said.lines().find(|line| line.contains("cargo run --release -p rtcmesh-sim"));
    let line = line.unwrap_or_else(|| panic!("no line repeats it: {said}"));
    let (_, arguments) = line.split_once(" -- ").expect("arguments of its own");
    arguments.split(' ').map(str::to_owned).collect()
}

fn json(arguments: &[&str]) -> (Output, Value) {
    let output = program(&[arguments, &["--json"]].concat());
    let object = serde_json::from_slice(&output.stdout).expect("one object");
    (output, object)
}

#[test]
fn what_passes_exits_with_0_and_tells_all_in_one_object() {
    let (output, object) = json(SMALL);
    assert_eq!(output.status.code(), Some(0), "{object}");
    assert_eq!((&object["seed"], &object["verdict"]), (&3.into(), &"pass".into()));
    assert_eq!(object["scenario"], "churn");
    assert_eq!(object["digest"].as_str().map(str::len), Some(64));
    assert!(object["virtual_seconds"].as_f64() > Some(9.0), "{object}");
    // A clock that moves in ticks may show none.
    let cpu = object["cpu_seconds"].as_f64().expect("a time");
    assert_eq!(object["times_real_time"].is_null(), cpu == 0.0, "{object}");
    assert_eq!(object["violations"], Value::Array(Vec::new()));
    assert_eq!(text(&output.stderr), "", "nobody looks at it");
}

#[test]
fn what_fails_exits_with_1_and_the_line_that_repeats_it_fails_in_the_same_way() {
    let (output, object) = json(&[SMALL, FAILS].concat());
    assert_eq!(output.status.code(), Some(1), "{object}");
    assert_eq!(object["verdict"], "fail");
    assert!(object["violations"][0].as_str().is_some_and(|what| what.contains("not connected")));
    let line = again(&output);
    let line: Vec<&str> = line.iter().map(String::as_str).collect();
    let (repeated, same) = json(&line);
    assert_eq!(repeated.status.code(), Some(1));
    assert_eq!((&same["digest"], &same["violations"]), (&object["digest"], &object["violations"]));
}

#[test]
fn of_what_fails_a_few_acts_suffice() {
    let output = program(&[SMALL, FAILS, &["--minimise"]].concat());
    assert_eq!(output.status.code(), Some(1));
    let line = again(&output);
    let acts = line.iter().skip_while(|word| *word != "--acts").nth(1).expect("which acts");
    assert_eq!(acts.split(',').count(), 1, "one crash, or one who has left: {acts}");
    let line: Vec<&str> = line.iter().map(String::as_str).collect();
    let shorter = program(&line);
    assert_eq!(shorter.status.code(), Some(1));
    assert!(text(&shorter.stdout).contains("not connected"), "{}", text(&shorter.stdout));
}

#[test]
fn a_timeline_and_a_capture_are_written_of_what_fails_too() {
    let folder = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let file = folder.join(format!("program-{}.txt", std::process::id()));
    let name = file.to_str().expect("a name");
    let output = program(&[SMALL, FAILS, &["--trace", name]].concat());
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let timeline = std::fs::read_to_string(&file).expect("a timeline");
    assert!(timeline.contains("everything is put right") && timeline.contains("not connected"));
    let capture = std::fs::read(folder.join(format!("{name}.pcapng"))).expect("a capture");
    // The section header block's type, as in any such file (draft-ietf-opsawg-pcapng, section 4.1).
    assert_eq!(capture[..4], [0x0a, 0x0d, 0x0d, 0x0a]);
    std::fs::remove_file(&file).expect("it can be removed");
    std::fs::remove_file(format!("{name}.pcapng")).expect("it can be removed");
}

#[test]
fn numbers_of_inputs_take_the_place_of_seeds() {
    let output = program(&["--inputs", "0..2", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let said = text(&output.stdout);
    let lines = said.lines().map(|line| serde_json::from_str(line).expect("an object a line"));
    let inputs: Vec<Value> = lines.map(|object: Value| object["input"].clone()).collect();
    assert_eq!(inputs, [0, 1]);
}

#[test]
fn what_cannot_be_meant_exits_with_2_and_says_why() {
    for (arguments, why) in [
        (&["--seeds", "7..7"][..], "empty"),
        (&["--seeds", "7"], "A..B"),
        (&["--seeds", "0..2", "--seed", "1"], "cannot be used with"),
        (&["--inputs", "0..2", "--seed", "1"], "cannot be used with"),
        (&["--peers", "1"], "2..=64"),
        (&["--peers", "65"], "2..=64"),
        (&["--scenario", "nothing"], "no scenario is called"),
        (&["--preset", "moon"], "moon"),
        (&["--minutes", "0"], "0.01 to 1440"),
        (&["--minutes", "NaN"], "0.01 to 1440"),
        (&["--healed-within", "111"], "0 to 110"),
        (&["--healed-within=-1"], "0 to 110"),
        (&["--seed", "1", "--acts", "100000"], "draws no act 100000"),
        (&["--acts", "1,x"], "invalid digit"),
        (&["--seeds", "0..2", "--trace", "/dev/null"], "one seed"),
        (&["--trace", "/nowhere/file"], "/nowhere/file"),
    ] {
        let output = program(arguments);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(why), "{arguments:?}: {said}");
        assert_eq!(text(&output.stdout), "", "{arguments:?}");
    }
}

#[test]
fn what_cannot_be_written_is_known_before() {
    let folder = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let file = folder.join(format!("program-{}-folder", std::process::id()));
    let name = file.to_str().expect("a name");
    let capture = format!("{name}.pcapng");
    std::fs::create_dir_all(&capture).expect("a folder in the capture's place");
    let output = program(&[SMALL, &["--trace", name]].concat());
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains(&capture), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "", "nothing was run");
    std::fs::remove_dir(&capture).expect("it can be removed");
    std::fs::remove_file(&file).expect("it can be removed");
}

#[test]
fn whoever_has_heard_enough_ends_it_without_a_word() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_rtcmesh-sim"))
        .args(["--seeds", "0..1000000", "--scenario", "talk", "--peers", "2"])
        .args(["--minutes", "0.01", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut line = String::new();
    let mut reader = BufReader::new(child.stdout.take().expect("its output"));
    reader.read_line(&mut line).expect("a line");
    drop(reader);
    assert!(serde_json::from_str::<Value>(&line).is_ok(), "{line}");
    let output = child.wait_with_output().expect("it ends");
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(2), String::new()));
}
