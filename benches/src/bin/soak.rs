//! Runs calls of many hours through a sync manager in virtual time, and prints what became of them.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use rtcmesh_benches::sync::hours::hours as playback;
use rtcmesh_core::sync::soak;

/// A call of many hours in virtual time: jitter, drift, losses, pauses and restarts.
#[derive(Debug, Parser)]
struct Options {
    /// What it is drawn from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How long it is.
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    hours: u64,
    /// How long the clean streams are that are rendered first, in hours.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=100))]
    clean: u64,
}

fn main() -> ExitCode {
    let Options { seed, hours, clean } = Options::parse();
    let mut clear = true;
    for ppm in [0.0, 500.0, -500.0] {
        let found = playback(clean, ppm);
        println!("{clean} h of a clean stream, {ppm:+} ppm: {found:?}");
        let few = found.sent - found.decoded <= 10;
        clear &= few && found.disordered == 0 && found.concealed == 0;
    }
    if !clear {
        eprintln!("something was lost, repeated, out of order or made up");
        return ExitCode::FAILURE;
    }
    let began = Instant::now();
    let found = soak(began, seed, Duration::from_secs(hours * 3_600));
    let took = began.elapsed().as_secs_f64();
    match found {
        Ok(figures) => {
            println!("{hours} h in {took:.1} s: {figures:#?}");
            ExitCode::SUCCESS
        }
        Err(what) => {
            eprintln!("seed {seed}: {what}");
            ExitCode::FAILURE
        }
    }
}
