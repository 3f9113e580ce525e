//! `rtcmesh replay`: a recording in the same machine once more.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use rtcmesh_tokio::trace::{self, Header};
use rtcmesh_tokio::{Replay, ReplayReport};
use serde_json::{Value, json};

use crate::Outcome;
use crate::output::Output;

/// Replay a recording of `rtcmesh join --trace`.
///
/// Feeds everything that the peer was told to the same state machines, with the recording in the place of the network
/// and of the WebRTC engine, and compares what they decide: events, deadlines, datagrams, signaling. It needs no
/// network, no keys and no media.
///
/// The exit code is 0 if everything went as recorded, up to where the recording ends. It is 1 at the first
/// difference, which is shown, and where the file cannot be read, or holds the latest entries only (`--trace-latest`)
/// behind a state that another build has written: those can be shown.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The recording.
    file: PathBuf,
    /// Print what is in it, one line per entry, instead of replaying it. It works with any part of a recording.
    #[arg(long)]
    show: bool,
    /// Print JSON: one object, or with --show one per line.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Outcome {
    let named = |error: &dyn std::fmt::Display| format!("{}: {error}", args.file.display());
    let bytes = std::fs::read(&args.file).map_err(|error| named(&error))?;
    let output = Output::new(args.json);
    if args.show {
        return show(bytes, output).map_err(|error| named(&error).into());
    }
    let replay = Replay::new(bytes, Instant::now()).map_err(|error| match error {
        trace::RecordingError::Ring { .. } | trace::RecordingError::ForeignState { .. } => {
            format!("{} (--show prints them)", named(&error))
        }
        _ => named(&error),
    })?;
    let header = replay.header().clone();
    let report = replay.run();
    output.object(&object(&header, &report));
    // A line each: within one, control characters are shown and not obeyed.
    for line in words(&header, &report).lines() {
        output.note(line);
    }
    Ok(if report.is_equal() && !report.damaged { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn show(bytes: Vec<u8>, output: Output) -> Result<ExitCode, trace::RecordingError> {
    let mut entries = trace::entries(bytes)?;
    let header = entries.header().clone();
    output.object(&json!({"header": header}));
    output.note(heading(&header));
    for entry in &mut entries {
        let entry = entry?;
        output
            .object(&json!({"record": entry.record, "offset": entry.offset, "entry": entry.json}));
        output.note(format_args!("{:>6}  {}", entry.record, entry.text));
    }
    Ok(ExitCode::SUCCESS)
}

fn object(header: &Header, report: &ReplayReport) -> Value {
    json!({
        "peer": header.peer,
        "core": header.core,
        "ring": header.ring,
        "equal": report.is_equal(),
        "records": report.records,
        "calls": report.calls,
        "events": report.events,
        "seconds": seconds(report),
        "difference": report.difference,
        "ended": report.ended,
    })
}

fn seconds(report: &ReplayReport) -> f64 {
    report.nanoseconds as f64 / 1e9
}

fn heading(header: &Header) -> String {
    format!("A recording of {}, by rtcmesh {}", header.peer, header.core)
}

fn words(header: &Header, report: &ReplayReport) -> String {
    let mut text = heading(header);
    if header.ring {
        text.push_str(", of the latest entries and the state before them");
    }
    let _ = write!(
        text,
        ": {} records, {} calls, {} events and frames in {:.3} s",
        report.records,
        report.calls,
        report.events,
        seconds(report)
    );
    match &report.difference {
        None => text.push_str("\nEverything went as recorded."),
        Some(difference) => {
            let _ = write!(
                text,
                "\nThe first difference: {} (record {}, offset {})\n  expected: {}\n  got:      {}",
                difference.what,
                difference.record,
                difference.offset,
                difference.expected,
                difference.got
            );
        }
    }
    if let Some(ended) = &report.ended {
        let _ = write!(text, "\nIt ended there: {ended}.");
    }
    text
}
