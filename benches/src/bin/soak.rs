//! Runs calls of many hours through a sync manager in virtual time, and prints what became of them.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
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
}

fn main() -> ExitCode {
    let Options { seed, hours } = Options::parse();
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
