//! `rtcmesh join`: one native peer.

mod book;
mod calls;
mod commands;
mod echo;
mod report;
mod session;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use clap::error::ErrorKind;
use rtcmesh_core::config::{Config, ConnectMode, VideoSettings};
use rtcmesh_core::id::PeerId;
use rtcmesh_tokio::trace::RecordOptions;
use rtcmesh_tokio::{RecordingFile, TlsOptions, WebRtcTransport};
use serde_json::{Map, Value};

use crate::Outcome;
use crate::audio::{AudioChoice, Source};
use crate::figures::seconds;
use crate::output::Output;
use crate::playout::PlayoutArgs;
use session::Session;

/// The member of `user_data` by which such a peer tells that nothing will be heard of it.
const SENDS_AUDIO: &str = "sends_audio";
/// A program for experiments joins rooms of any sensible size.
const MAX_PEERS: usize = 100;

/// Join a mesh as one native peer.
///
/// Announces itself at a signaling server, connects to other peers (natively or in browsers), sends them
/// audio, listens to theirs, and tells what happens: one line per event, every few seconds how each peer is
/// received, and a summary at the end. Video of others is received, kept in time with their audio, and counted.
///
/// The exit code is 0 only if every wished peer was connected and heard: every id that --connect names,
/// or at least one peer with `all` or `none`. Heard means that audio arrived, where audio was
/// negotiated. It is 2 if the command line is wrong, and 1 otherwise.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The signaling server, ws:// or wss://. The path is the room.
    #[arg(long, value_name = "WS", value_parser = url)]
    url: String,
    /// The name of this peer: 1 to 64 of a-z A-Z 0-9 - _.
    #[arg(long)]
    id: PeerId,
    /// Whom to connect to: `all` that are announced, `none` (only answer), or these ids, each called as
    /// soon as it is announced and again when it fails.
    #[arg(long, value_name = "all|none|ID,...", default_value = "all")]
    connect: Connect,
    /// What to send: a tone of 20 to 20000 Hz, a WAV file (mono or stereo, 8 to 48 kHz) over and over, or
    /// nothing. What others send is received in any case.
    #[arg(long, value_name = "tone:HZ|FILE.wav|none", default_value = "tone:440")]
    audio: AudioChoice,
    /// What video to send: none, or what each peer sends, back to it.
    #[arg(long, value_enum, default_value_t = VideoChoice::None)]
    video: VideoChoice,
    #[command(flatten)]
    playout: PlayoutArgs,
    /// Take commands from the standard input, one a line: `/jitter N` holds what arrives for N ms (50 to 200)
    /// from now on, `/peers` tells how each peer is received, `/leave` ends it as Ctrl-C does.
    #[arg(long)]
    commands: bool,
    /// Write what each peer sends to DIR/<peer>.wav (48 kHz, 16 bits). The folder is made.
    #[arg(long, value_name = "DIR")]
    record: Option<PathBuf>,
    /// Record what this peer is told and what it decides into a file, for `rtcmesh replay`: signaling without secrets, no
    /// media and no messages. Only its owner can read it.
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Of that recording keep the latest N MiB only, in memory, and write them at the end: enough for a peer that runs
    /// for days. It is replayed from there on, by the same build.
    #[arg(long, value_name = "N", requires = "trace", value_parser = clap::value_parser!(u16).range(1..=1_024))]
    trace_latest: Option<u16>,
    /// Replace the addresses in that file by others of their kind.
    #[arg(long, requires = "trace")]
    mask_addresses: bool,
    /// Send every data message back to its sender unchanged, but never an echo of such a message: the same
    /// message again within 3 seconds counts as one.
    #[arg(long)]
    echo: bool,
    /// Leave so many seconds after the first connection. Without it: at Ctrl-C.
    ///
    /// With `--connect none` the others get 3 seconds more to leave first.
    #[arg(long, value_name = "N", value_parser = seconds)]
    seconds: Option<Duration>,
    /// Give up if there is no connection after so many seconds.
    #[arg(long, value_name = "S", default_value = "45", value_parser = seconds)]
    timeout: Duration,
    /// Print one JSON object per line: each event, every second the quality of each connection, and at the end
    /// the summary.
    #[arg(long)]
    json: bool,
    /// For wss://: trust the certificates in this PEM file too.
    #[arg(long, value_name = "FILE")]
    tls_ca: Option<PathBuf>,
    /// For wss://: accept any certificate. Anybody in between can listen and interfere.
    #[arg(long)]
    insecure: bool,
}

const EXAMPLES: &str = "\
Examples:
  Two peers that hear each other for 10 seconds:
    rtcmesh join --url ws://127.0.0.1:8080/ --id alice --connect none --audio tone:440 --seconds 10
    rtcmesh join --url ws://127.0.0.1:8080/ --id bob --connect alice --audio tone:880 --seconds 10
  Record everybody in a room, and say nothing:
    rtcmesh join --url wss://example.org/room --id recorder --audio none --record recordings
  Answer data messages, for tests:
    rtcmesh join --url ws://127.0.0.1:8080/ --id echo --connect none --echo --json";

/// What video is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum VideoChoice {
    None,
    Echo,
}

/// Whom to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Connect {
    /// Everybody that is announced.
    All,
    /// Nobody: whoever calls is answered.
    None,
    /// These.
    Ids(BTreeSet<PeerId>),
}

impl FromStr for Connect {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "all" => Ok(Self::All),
            "none" => Ok(Self::None),
            ids => ids
                .split(',')
                .map(|id| PeerId::new(id).map_err(|error| format!("{id:?}: {error}")))
                .collect::<Result<_, _>>()
                .map(Self::Ids),
        }
    }
}

impl Connect {
    /// The ids that were named.
    fn named(&self) -> BTreeSet<PeerId> {
        match self {
            Self::Ids(ids) => ids.clone(),
            Self::All | Self::None => BTreeSet::new(),
        }
    }
}

fn url(text: &str) -> Result<String, String> {
    Config::new(text).validate().map_err(|error| error.reason)?;
    Ok(text.into())
}

impl Args {
    fn config(&self) -> Config {
        let mode = match self.connect {
            Connect::All => ConnectMode::Automatic,
            Connect::None | Connect::Ids(_) => ConnectMode::Manual,
        };
        let mut user_data = Map::new();
        if self.audio == AudioChoice::None {
            user_data.insert(SENDS_AUDIO.into(), Value::Bool(false));
        }
        // There is a section for it in any case: what others send is received.
        let mut video = VideoSettings::default();
        video.enabled = true;
        let config = Config::new(&self.url)
            .peer_id(self.id.as_str())
            .connect(mode)
            .user_data(user_data)
            .max_peers(MAX_PEERS.max(self.connect.named().len()))
            .video(video)
            .rtcp_interval_ms(1_000);
        self.playout.apply(config)
    }

    /// Begins the recording that is wished.
    fn trace(&self, transport: &WebRtcTransport) -> Result<Option<RecordingFile>, String> {
        let Some(path) = &self.trace else { return Ok(None) };
        let mut options = RecordOptions::default();
        options.mask_addresses = self.mask_addresses;
        if let Some(latest) = self.trace_latest {
            (options.ring, options.max_bytes) = (true, usize::from(latest) * 1024 * 1024);
        }
        let recording = transport.record_to(path, &options);
        recording.map(Some).map_err(|error| format!("--trace {}: {error}", path.display()))
    }

    fn tls(&self) -> Result<TlsOptions, String> {
        let mut options = TlsOptions::new();
        if let Some(path) = &self.tls_ca {
            let named = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
            let pem = std::fs::read_to_string(path).map_err(|error| named(&error))?;
            options = options.trust_pem(&pem).map_err(|error| named(&error))?;
        }
        Ok(if self.insecure { options.danger_accept_any_certificate() } else { options })
    }
}

/// Runs the command.
pub(crate) async fn run(args: Args) -> Outcome {
    let give_up = Instant::now() + args.timeout;
    if args.connect.named().contains(&args.id) {
        let message = format!("--connect names {}, which is this peer itself", args.id);
        return crate::usage_error("join", ErrorKind::ValueValidation, message);
    }
    let source = Source::open(&args.audio)?;
    if let Some(folder) = &args.record {
        std::fs::create_dir_all(folder)
            .map_err(|error| format!("--record {}: {error}", folder.display()))?;
    }
    let transport = WebRtcTransport::new(args.config())?.tls(args.tls()?);
    let recording = args.trace(&transport)?;
    let output = Output::new(args.json);
    let session = Session::new(&args, transport, output, give_up);
    let unfulfilled = session.run(source).await;
    if let Some((recording, path)) = recording.zip(args.trace.as_ref()) {
        recording.finish().map_err(|error| format!("--trace {}: {error}", path.display()))?;
    }
    for complaint in &unfulfilled {
        crate::complain(complaint);
    }
    Ok(if unfulfilled.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        args: Args,
    }

    fn parse(more: &[&str]) -> Result<Args, String> {
        let words = ["join", "--url", "ws://localhost/room", "--id", "me"];
        Program::try_parse_from(words.iter().chain(more))
            .map(|program| program.args)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn the_defaults_are_those_of_the_help() {
        let args = parse(&[]).unwrap();
        assert_eq!((&args.connect, &args.audio), (&Connect::All, &AudioChoice::Tone(440.0)));
        assert_eq!((args.timeout, args.seconds), (Duration::from_secs(45), None));
        assert_eq!(args.config().connect, ConnectMode::Automatic);
        assert!(args.config().validate().is_ok());
        assert!(args.config().video.enabled && args.video == VideoChoice::None && !args.commands);
    }

    #[test]
    fn named_peers_are_called_by_command() {
        let args = parse(&["--connect", "b,a,b", "--audio", "none", "--seconds", "2.5"]).unwrap();
        let ids: Vec<String> = args.connect.named().iter().map(ToString::to_string).collect();
        assert_eq!(ids, ["a", "b"]);
        assert_eq!(args.config().connect, ConnectMode::Manual);
        assert_eq!(args.config().user_data[SENDS_AUDIO], false);
        assert_eq!(args.seconds, Some(Duration::from_millis(2_500)));
    }

    #[test]
    fn wrong_values_are_named() {
        for (words, word) in [
            (["--connect", "a,,b"], "at least 1 character"),
            (["--connect", "a b"], "byte 1"),
            (["--audio", "tone:x"], "no frequency"),
            (["--seconds", "0"], "above 0"),
            (["--timeout", "soon"], "number of seconds"),
            (["--url", "http://localhost/"], "ws"),
            (["--id", "a/b"], "byte 1"),
            (["--jitter-ms", "20"], "50..=200"),
            (["--playout", "none"], "adaptive"),
            (["--prefer", "both"], "low-delay"),
            (["--video", "cat"], "echo"),
        ] {
            let required = [["--url", "ws://localhost/"], ["--id", "me"]];
            let others = required.into_iter().filter(|pair| pair[0] != words[0]).flatten();
            let line = ["join"].into_iter().chain(others).chain(words);
            let error = Program::try_parse_from(line).unwrap_err().to_string();
            assert!(error.contains(word) && error.contains(words[0]), "{words:?}: {error}");
        }
    }

    #[test]
    fn a_missing_certificate_file_is_named() {
        let args = parse(&["--tls-ca", "no/such.pem"]).unwrap();
        assert!(args.tls().unwrap_err().starts_with("no/such.pem: "));
    }
}
