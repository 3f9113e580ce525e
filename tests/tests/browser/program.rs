//! The program `rtcmesh`, built and run as its users do.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long the program may take to say what is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running signaling server with its page, ended when dropped.
pub(crate) struct Signal {
    program: Program,
    /// Its WebSocket address.
    pub(crate) socket: String,
    /// The address of its page.
    pub(crate) page: String,
}

/// A running native peer, ended when dropped.
pub(crate) struct Join(Program);

/// A running program and the lines of its standard output.
struct Program {
    process: Child,
    lines: Receiver<String>,
}

impl Signal {
    /// Starts one on a free port of loopback.
    pub(crate) fn start() -> Result<Self, String> {
        let program = Program::start(&["signal", "--listen", "127.0.0.1:0", "--page"])?;
        let mut signal = Self { program, socket: String::new(), page: String::new() };
        let end = Instant::now() + PATIENCE;
        while signal.socket.is_empty() || signal.page.is_empty() {
            let line = signal.program.line(end).map_err(|error| format!("signal: {error}"))?;
            for word in line.split_whitespace() {
                if word.starts_with("ws://") {
                    signal.socket = word.to_owned();
                } else if word.starts_with("http://") && signal.page.is_empty() {
                    signal.page = word.to_owned();
                }
            }
        }
        Ok(signal)
    }
}

impl Join {
    /// Starts the peer `id` at `signal`; it calls `callees` (as `--connect` takes them), echoes what it
    /// is told, and sends a tone of `hz`.
    pub(crate) fn start(signal: &Signal, id: &str, callees: &str, hz: u32) -> Result<Self, String> {
        Self::start_with(signal, id, callees, hz, &[])
    }

    /// The same, with more options.
    pub(crate) fn start_with(
        signal: &Signal,
        id: &str,
        callees: &str,
        hz: u32,
        more: &[&str],
    ) -> Result<Self, String> {
        let tone = format!("tone:{hz}");
        let mut args = vec!["join", "--url", &signal.socket, "--id", id, "--connect", callees];
        args.extend(["--audio", &tone, "--echo", "--json"]);
        args.extend(more);
        Program::start(&args).map(Self)
    }

    /// The next event of this name; those before it are let go.
    pub(crate) fn event(&mut self, name: &str) -> Result<Value, String> {
        let end = Instant::now() + PATIENCE;
        let mut before = Vec::new();
        loop {
            let line = self.0.line(end).map_err(|error| {
                format!("no event {name}: {error}; before that: {}", before.join(" "))
            })?;
            let event: Value =
                serde_json::from_str(&line).map_err(|error| format!("{line}: {error}"))?;
            if event["event"] == name {
                return Ok(event);
            }
            before.push(line);
        }
    }

    /// Ends it as Ctrl-C does. The result: its summary, and whether it was content.
    pub(crate) fn stop(mut self) -> Result<(Value, bool), String> {
        // The shell's own: a minimal system has no program of that name.
        let kill = format!("kill -INT {}", self.0.process.id());
        let asked = Command::new("sh").args(["-c", &kill]).status();
        if !asked.is_ok_and(|status| status.success()) {
            return Err(format!("{kill} failed"));
        }
        let summary = self.event("summary")?;
        let status = self.0.process.wait().map_err(|error| error.to_string())?;
        Ok((summary, status.success()))
    }
}

impl Program {
    fn start(args: &[&str]) -> Result<Self, String> {
        let mut process = Command::new(built()?)
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("rtcmesh {}: {error}", args.join(" ")))?;
        let output = process.stdout.take().ok_or("no standard output")?;
        let (tell, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if tell.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Self { process, lines })
    }

    /// The next line, before `end`.
    fn line(&mut self, end: Instant) -> Result<String, String> {
        let patience = end.saturating_duration_since(Instant::now());
        self.lines.recv_timeout(patience).map_err(|error| match error {
            mpsc::RecvTimeoutError::Timeout => "nothing said in time".to_owned(),
            mpsc::RecvTimeoutError::Disconnected => "the program has ended".to_owned(),
        })
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The program, built once. It is another crate's, so cargo does not build it for this suite; with
/// the features of `scripts/test` little or nothing is left to build after it.
fn built() -> Result<&'static Path, String> {
    static PROGRAM: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    PROGRAM.get_or_init(build).as_deref().map_err(String::clone)
}

fn build() -> Result<PathBuf, String> {
    let output = Command::new(env!("CARGO"))
        .args(["build", "--workspace", "--all-features", "--bin", "rtcmesh"])
        .args(["--message-format", "json-render-diagnostics"])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("cargo: {error}"))?;
    if !output.status.success() {
        return Err("rtcmesh cannot be built".to_owned());
    }
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["target"]["name"] == "rtcmesh")
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .ok_or_else(|| "cargo built no rtcmesh".to_owned())
}
