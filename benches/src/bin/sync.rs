//! Prints how adaptive playout does on traces of networks, beside other policies: delay, its 95th percentile,
//! loss beyond that of the network, interruptions a minute, and how much was stretched.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use rtcmesh_benches::sync::drift_tables::{DriftRow, drift_tables};
use rtcmesh_benches::sync::engine::Outcome;
use rtcmesh_benches::sync::ntp_tables::{NtpRow, ntp_tables};
use rtcmesh_benches::sync::trace::Trace;
use rtcmesh_benches::sync::{file, models, stress, table};

/// Playout policies on the seeded models of networks and on captured traces.
#[derive(Debug, Parser)]
struct Options {
    /// What the models are drawn from.
    #[arg(long, default_value_t = 9_000)]
    seed: u64,
    /// Which models are played.
    #[arg(long, value_enum, default_value_t = Models::Usual)]
    models: Models,
    /// How long the traces of the usual models are; the first 5 s do not count.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(10..=86_400))]
    seconds: u32,
    /// The clock of the timestamps in the files, in Hz.
    #[arg(long, value_name = "HZ", default_value_t = 48_000, value_parser = clap::value_parser!(u32).range(1..))]
    clock_rate: u32,
    /// A captured trace: lines of `arrival_ms rtp_timestamp`, one a packet; missing timestamps are lost packets.
    #[arg(long, value_name = "FILE")]
    trace: Vec<PathBuf>,
    /// One object a line instead of tables.
    #[arg(long)]
    json: bool,
}

/// Which models.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Models {
    /// Those of the figures: 38 traces.
    Usual,
    /// Lines that are worse, or change more: exaggerated captures.
    Stress,
    /// None: files alone.
    None,
}

fn main() -> ExitCode {
    let options = Options::parse();
    // Files first: who mistyped a name should not wait for the models.
    let files: Result<Vec<_>, _> =
        options.trace.iter().map(|path| file::read(path, options.clock_rate)).collect();
    let files = match files {
        Ok(files) => named_apart(files, &options.trace),
        Err(message) => {
            eprintln!("{message}");
            return ExitCode::from(2);
        }
    };
    let models = match options.models {
        Models::Usual => models::traces(options.seed, options.seconds),
        Models::Stress => stress::traces(options.seed),
        Models::None => Vec::new(),
    };
    if !models.is_empty() {
        playout("models", &models, options.json);
    }
    if !files.is_empty() {
        playout("files", &files, options.json);
    }
    clocks(options.seed, options.clock_rate, options.json);
    ExitCode::SUCCESS
}

/// Gives traces of files of the same name in several folders their paths as names.
fn named_apart(traces: Vec<Trace>, paths: &[PathBuf]) -> Vec<Trace> {
    let names: Vec<_> = traces.iter().map(|trace| trace.name.clone()).collect();
    let alone = |name: &String| names.iter().filter(|other| *other == name).count() == 1;
    let apart = traces.into_iter().zip(paths).map(|(trace, path)| {
        let name = if alone(&trace.name) { trace.name } else { path.display().to_string() };
        Trace { name, ..trace }
    });
    apart.collect()
}

/// Prints the tables of clock drift and of the map to wall clocks.
fn clocks(seed: u64, clock_rate: u32, json: bool) {
    let (drift, map) = (drift_tables(seed, clock_rate), ntp_tables(seed, clock_rate));
    if json {
        for row in drift.iter().map(DriftRow::json).chain(map.iter().map(NtpRow::json)) {
            println!("{row}");
        }
        return;
    }
    println!(
        "\nclock drift, ppm{:>30}{:>12}{:>9}{:>9}{:>9}",
        "after s", "by", "median", "p95", "covered"
    );
    for row in &drift {
        let DriftRow { model, seconds, estimator, median_ppm, p95_ppm, covered_pct, .. } = row;
        println!(
            "{model:36}{seconds:10}{estimator:>12}{median_ppm:9.2}{p95_ppm:9.2}{covered_pct:8.0}%"
        );
    }
    println!("\nRTP to wall clock, us{:>37}{:>9}{:>9}{:>9}", "by", "median", "p95", "max");
    for row in &map {
        let NtpRow { noise, estimator, median_us, p95_us, max_us, .. } = row;
        println!("{noise:46}{estimator:>12}{median_us:9.1}{p95_us:9.1}{max_us:9.1}");
    }
}

/// Prints the table of playout over `traces`, and the mean over them for people.
fn playout(of: &str, traces: &[Trace], json: bool) {
    if !json {
        println!("{}", table::head());
    }
    let mut found: Vec<Vec<Outcome>> = vec![Vec::new(); table::POLICIES.len()];
    for trace in traces {
        for ((policy, play), found) in table::POLICIES.iter().zip(&mut found) {
            let outcome = play(trace);
            found.push(outcome);
            match json {
                true => println!("{}", table::json(&trace.name, policy, &outcome)),
                false => println!("{}", table::row(&trace.name, policy, &outcome)),
            }
        }
    }
    if !json {
        for ((policy, _), found) in table::POLICIES.iter().zip(&found) {
            println!("{}", table::row(&format!("mean, {of}"), policy, &table::mean(found)));
        }
        println!();
    }
}
