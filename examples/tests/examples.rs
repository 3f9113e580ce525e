//! The examples as their users run them: whole processes that meet at a signaling server on loopback.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::f64::consts::TAU;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use hound::{SampleFormat, WavReader, WavSpec, WavWriter};
use rtcmesh_runtime::SignalingServerOptions;
use rtcmesh_tokio::SignalingServer;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

/// Far longer than anything here takes: only a program that hangs gets there.
const LIMIT: Duration = Duration::from_secs(60);
/// The programs: the same source on each runtime. Whoever meets in a test need not run on the same one.
const PROGRAMS: [&str; 3] = [
    env!("CARGO_BIN_EXE_on-tokio"),
    env!("CARGO_BIN_EXE_on-smol"),
    env!("CARGO_BIN_EXE_on-threads"),
];

/// A signaling server, and a folder for files.
struct Room {
    server: SignalingServer,
    folder: PathBuf,
}

impl Room {
    fn open(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("rtcmesh-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let addr = ([127, 0, 0, 1], 0).into();
        let server = SignalingServer::bind([addr], SignalingServerOptions::new()).unwrap();
        Self { server, folder }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A peer of this name in the room `room` of the server.
    fn peer(&self, program: &str, room: usize, name: &str, words: &[&str]) -> Command {
        let url = format!("ws://{}/{room}", self.server.local_addr().unwrap());
        let mut command = Command::new(program);
        command.args(words).args(["--url", &url, "--name", name]).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        command
    }

    async fn close(self) {
        std::fs::remove_dir_all(self.folder).unwrap();
        self.server.shutdown().await;
    }
}

fn start(command: &mut Command) -> Child {
    command.spawn().unwrap()
}

/// The exit code of a program, and what it says on its standard error output, which is piped.
async fn end(child: Child) -> (Option<i32>, String) {
    let output = timeout(LIMIT, child.wait_with_output()).await.expect("it hangs").unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

/// The output of a program that has to succeed.
async fn success(child: Child) -> String {
    let output = timeout(LIMIT, child.wait_with_output()).await.expect("it hangs").unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{} {text}", output.status);
    text
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The power of a tone of `hz` in samples at 48 kHz, as a share of all their power.
fn share(samples: &[f64], hz: f64) -> f64 {
    let (mut re, mut im, mut power) = (0.0, 0.0, 0.0);
    for (n, sample) in samples.iter().enumerate() {
        let phase = TAU * hz * n as f64 / 48_000.0;
        re += sample * phase.cos();
        im += sample * phase.sin();
        power += sample * sample;
    }
    2.0 * (re * re + im * im) / (samples.len() as f64 * power).max(f64::MIN_POSITIVE)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wav_file_is_heard_at_the_other_end() {
    let room = Room::open("voice");
    let spoken = room.file("spoken.wav");
    let spec = WavSpec {
        channels: 2,
        sample_rate: 16_000,
        bits_per_sample: 16,
        sample_format: SampleFormat::Int,
    };
    // A second of one tone, then a second of another.
    let mut writer = WavWriter::create(&spoken, spec).unwrap();
    for n in 0..32_000 {
        let hz = if n < 16_000 { 440.0 } else { 880.0 };
        let sample = (10_000.0 * (TAU * hz * f64::from(n) / 16_000.0).sin()) as i16;
        writer.write_sample(sample).unwrap();
        writer.write_sample(sample).unwrap();
    }
    writer.finalize().unwrap();

    for (number, program) in PROGRAMS.into_iter().enumerate() {
        let heard = room.file("heard.wav");
        let ear = start(&mut room.peer(PROGRAMS[0], number, "ear", &["listen", text(&heard)]));
        let mouth = start(&mut room.peer(program, number, "mouth", &["speak", text(&spoken)]));
        let (said, _) = tokio::join!(success(mouth), success(ear));
        assert_eq!(said, "spoken: 2.0 s\n");

        let mut reader = WavReader::open(&heard).unwrap();
        assert_eq!((reader.spec().sample_rate, reader.spec().channels), (48_000, 1));
        let samples: Vec<f64> = reader.samples::<i16>().map(|s| s.unwrap().into()).collect();
        // Pieces of 100 ms that are one tone or the other, and loud: most of what was spoken.
        let mut loud = samples.chunks_exact(4_800).filter(|piece| {
            piece.iter().map(|sample| sample * sample).sum::<f64>() > 4_800.0 * 3_000.0 * 3_000.0
        });
        let tones = |hz| move |piece: &&[f64]| share(piece, hz) > 0.9;
        let (low, high) =
            (loud.clone().filter(tones(440.0)).count(), loud.clone().filter(tones(880.0)).count());
        assert!(low >= 5 && high >= 5, "{low} and {high} tenths of a second");
        let first = loud.next().unwrap();
        assert!(share(first, 880.0) < 0.9, "the end was heard first");
    }
    room.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_arrives_byte_for_byte_with_its_progress() {
    let room = Room::open("transfer");
    for (number, (program, size)) in
        PROGRAMS.into_iter().flat_map(|program| [(program, 3_000_001), (program, 0)]).enumerate()
    {
        let (sent, received) = (room.file("sent"), room.file("received"));
        let content: Vec<u8> =
            (0..size).map(|n: u32| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        std::fs::write(&sent, &content).unwrap();
        let receiver =
            start(&mut room.peer(PROGRAMS[0], number, "a", &["receive", text(&received)]));
        let sender = start(&mut room.peer(program, number, "b", &["send", text(&sent)]));
        let (told, heard) = tokio::join!(success(sender), success(receiver));
        let steps = if size == 0 { 0 } else { 10 };
        for progress in [told, heard] {
            let lines: Vec<_> = progress.lines().collect();
            assert_eq!(lines[0], format!("{size} bytes"));
            assert_eq!(lines.len(), 1 + steps, "{progress}");
            assert!(steps == 0 || lines[steps] == "100 %", "{progress}");
        }
        assert!(std::fs::read(received).unwrap() == content, "it is not what was sent");
    }
    room.close().await;
}

/// A chat, by its standard input and output.
struct Chatter {
    name: &'static str,
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Chatter {
    fn new(name: &'static str, mut command: Command) -> Self {
        let mut child = start(&mut command);
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { name, child, input, output }
    }

    /// Reads what it prints, up to the line that is wanted.
    async fn until(&mut self, mut wanted: impl FnMut(&str) -> bool) {
        let read = async {
            loop {
                let line = self.output.next_line().await.unwrap().expect("it has ended");
                eprintln!("{}: {line}", self.name);
                if wanted(&line) {
                    break;
                }
            }
        };
        timeout(LIMIT, read).await.expect("it was never said");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn three_chat_across_runtimes_and_leave_when_their_input_ends() {
    let room = Room::open("chat");
    let chatter = |program, name| Chatter::new(name, room.peer(program, 0, name, &["chat"]));
    let mut alice = chatter(PROGRAMS[0], "alice");
    let mut bob = chatter(PROGRAMS[1], "bob");
    let mut carol = chatter(PROGRAMS[2], "carol");
    for chatter in [&mut alice, &mut bob, &mut carol] {
        let mut come = 0;
        chatter
            .until(|line| {
                come += usize::from(line.ends_with("has come"));
                come == 2
            })
            .await;
    }
    alice.input.write_all("hello \u{7} all\n".as_bytes()).await.unwrap();
    bob.until(|line| line == "alice: hello   all").await;
    carol.until(|line| line == "alice: hello   all").await;
    carol.input.write_all(b"hello alice\n").await.unwrap();
    alice.until(|line| line == "carol: hello alice").await;

    // Its output stays open: it has something to say to the end.
    let Chatter { mut child, input, output: _output, .. } = alice;
    drop(input);
    assert!(timeout(LIMIT, child.wait()).await.expect("it hangs").unwrap().success());
    bob.until(|line| line == "* alice has gone: closed by the peer").await;
    carol.until(|line| line == "* alice has gone: closed by the peer").await;
    drop((bob, carol));
    room.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chat_whose_output_nobody_reads_ends_quietly() {
    let room = Room::open("unread");
    for (number, program) in PROGRAMS.into_iter().enumerate() {
        let mut command = room.peer(program, number, "alice", &["chat"]);
        command.stderr(Stdio::piped());
        let mut alice = Chatter::new("alice", command);
        alice.until(|line| line == "* you are alice").await;
        let Chatter { child, input, output, .. } = alice;
        drop(output);
        let mut bob = Chatter::new("bob", room.peer(PROGRAMS[0], number, "bob", &["chat"]));
        assert_eq!(end(child).await, (Some(0), String::new()));
        drop(input);
        bob.until(|line| line.starts_with("* alice has gone: ")).await;
    }
    room.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_heard_or_received_is_told() {
    let room = Room::open("strange");
    for (number, program) in PROGRAMS.into_iter().enumerate() {
        let chatter = |room: &Room, number| {
            Chatter::new("bob", room.peer(PROGRAMS[0], number, "bob", &["chat"]))
        };
        let file = room.file("file");
        let mut listener = room.peer(program, 2 * number, "ear", &["listen", text(&file)]);
        let listener = start(listener.stderr(Stdio::piped()));
        let mut bob = chatter(&room, 2 * number);
        bob.until(|line| line == "* ear has come").await;
        drop(bob.input);
        let told = "error: bob left before anything was heard: closed by the peer\n";
        assert_eq!(end(listener).await, (Some(1), told.into()));
        assert!(!file.exists(), "an empty file is left");

        let mut receiver = room.peer(program, 2 * number + 1, "a", &["receive", text(&file)]);
        let receiver = start(receiver.stderr(Stdio::piped()));
        let mut bob = chatter(&room, 2 * number + 1);
        bob.until(|line| line == "* a has come").await;
        bob.input.write_all(b"hello\n").await.unwrap();
        let told = "error: expected the size of a file, a number of bytes, and got \"hello\"\n";
        assert_eq!(end(receiver).await, (Some(1), told.into()));
        assert!(!file.exists(), "an empty file is left");
    }
    room.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_are_told_with_what_they_are_about() {
    let room = Room::open("errors");
    let missing = room.file("missing");
    for program in PROGRAMS {
        for (words, told) in [
            (&["speak", text(&missing)], "missing: "),
            (&["send", text(&missing)], "missing: "),
            (&["chat", "--name=no spaces"], "peer_id"),
            (&["chat", "--with=?"], "allow"),
        ] {
            let url = format!("ws://{}/", room.server.local_addr().unwrap());
            let mut command = Command::new(program);
            command.args(words).args(["--url", &url]).stdin(Stdio::null());
            let output = timeout(LIMIT, command.output()).await.expect("it hangs").unwrap();
            let error = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(1), "{words:?}: {error}");
            assert!(error.starts_with("error: ") && error.contains(told), "{words:?}: {error}");
        }
        let help = Command::new(program).arg("--help").output().await.unwrap();
        let help = String::from_utf8(help.stdout).unwrap();
        for word in ["chat", "speak", "listen", "send", "receive", "--url", "--name", "--with"] {
            assert!(help.contains(word), "{word}: {help}");
        }
    }
    room.close().await;
}

#[test]
fn each_is_short() {
    let mut files = 0;
    for file in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src")).unwrap() {
        let path = file.unwrap().path();
        let lines = std::fs::read_to_string(&path).unwrap().lines().count();
        assert!(lines < 60, "{}: {lines} lines", path.display());
        files += 1;
    }
    assert!(files >= 6, "{files} files");
}
