//! Writes what is heard of coded speech over the seeded models of networks, by our playout and by the
//! crate `neteq`, as WAV files that `benches/quality.py` compares with the reference.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use rtcmesh_benches::quality::speech::Speech;
use rtcmesh_benches::quality::stream::Stream;
use rtcmesh_benches::quality::{Heard, outage, write_wav};
use rtcmesh_benches::sync::models;
use rtcmesh_benches::sync::trace::Trace;
use rtcmesh_core::sync::PlayoutTuning;
use serde_json::json;

/// What is heard of coded speech over the seeded models of networks.
#[derive(Debug, Parser)]
struct Options {
    /// What the models and the pauses are drawn from.
    #[arg(long, default_value_t = 9_000)]
    seed: u64,
    /// How long the speech and the traces are.
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u32).range(10..=3_600))]
    seconds: u32,
    /// The bitrate of the coded speech.
    #[arg(long, default_value_t = 32_000, value_parser = clap::value_parser!(u32).range(6_000..=128_000))]
    bitrate: u32,
    /// A sentence of a person as a WAV file, instead of synthetic speech: several are spoken in turns.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    speech: Vec<PathBuf>,
    /// Only the models whose names start so.
    #[arg(long, default_value = "")]
    model: String,
    /// Where the WAV files go.
    #[arg(long, value_name = "DIR", default_value = "target/quality")]
    out: PathBuf,
    /// One object a line instead of a table.
    #[arg(long)]
    json: bool,
}

/// The models that discontinuous transmission is played over.
const DTX_MODELS: [&str; 4] = ["lan", "gamma10", "loss5", "wifi"];
/// Its pauses are longer by that, in seconds: the encoder sends on for 0.2 s.
const DTX_PAUSE: f64 = 1.2;

/// A policy: its name, and what plays a stream by it.
type Entry = (&'static str, fn(&Trace, &Stream) -> Result<Heard, String>);

const POLICIES: &[Entry] = &[
    #[cfg(feature = "neteq")]
    ("neteq", rtcmesh_benches::quality::neteq_heard::play),
    ("rtcmesh", |trace, stream| ours(trace, stream, &PlayoutTuning::rtcmesh())),
    ("rtcmesh-safe", |trace, stream| ours(trace, stream, &PlayoutTuning::safe())),
];

fn ours(trace: &Trace, stream: &Stream, tuning: &PlayoutTuning) -> Result<Heard, String> {
    rtcmesh_benches::quality::ours_heard::play(trace, stream, tuning)
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::from(2)
        }
    }
}

fn run(options: &Options) -> Result<(), String> {
    if !options.json {
        println!(
            "{:14}{:14}{:>10}{:>11}{:>8}{:>11}",
            "trace", "policy", "made up %", "stretch %", "ops", "in pauses"
        );
    }
    let mut traces = models::traces(options.seed, options.seconds);
    let of_dtx = traces
        .iter()
        .filter(|trace| DTX_MODELS.iter().any(|model| trace.name.split('/').next() == Some(model)));
    let named = |trace: &Trace| Trace { name: format!("dtx-{}", trace.name), ..trace.clone() };
    let of_dtx = of_dtx.map(named).collect();
    traces.extend(outage::traces(options.seed, options.seconds));
    play(options, traces, &options.out, false)?;
    play(options, of_dtx, &options.out.join("dtx"), true)
}

/// Plays speech as each trace brings it, and writes what is heard into `folder`; with `dtx` speech with longer
/// pauses, in which nothing is sent.
fn play(options: &Options, mut traces: Vec<Trace>, folder: &Path, dtx: bool) -> Result<(), String> {
    traces.retain(|trace| trace.name.starts_with(&options.model));
    if traces.is_empty() {
        return Ok(());
    }
    let pause = if dtx { DTX_PAUSE } else { 0.0 };
    let seconds = f64::from(options.seconds);
    let speech = Speech::make(&options.speech, seconds, pause, options.seed)?;
    let mut stream = Stream::encode(&speech.samples, options.bitrate, dtx)?;
    if dtx {
        // What is not sent should sound like what was there.
        stream.reference = Stream::encode(&speech.samples, options.bitrate, false)?.reference;
    }
    std::fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    write_wav(&folder.join("reference.wav"), &stream.reference)?;
    write_json(&folder.join("sentences.json"), &json!(speech.sentences))?;
    for trace in traces {
        for (policy, play) in POLICIES {
            let heard = play(&trace, &stream)?;
            let file = format!("{}_{policy}.wav", trace.name.replace('/', "."));
            write_wav(&folder.join(&file), &heard.samples)?;
            let Heard { made_up_pct, stretched_pct, operations, in_pauses, .. } = heard;
            if options.json {
                println!(
                    "{}",
                    json!({"table": "heard", "trace": trace.name, "policy": policy, "file": file,
                    "made_up_pct": made_up_pct, "stretch_pct": stretched_pct,
                    "operations": operations, "in_pauses": in_pauses})
                );
            } else {
                println!(
                    "{:14}{policy:14}{made_up_pct:10.2}{stretched_pct:11.2}{operations:8}{in_pauses:11}",
                    trace.name
                );
            }
        }
    }
    Ok(())
}

fn write_json(path: &Path, value: &serde_json::Value) -> Result<(), String> {
    std::fs::write(path, value.to_string()).map_err(|error| format!("{}: {error}", path.display()))
}
