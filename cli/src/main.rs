//! The program rtcmesh.

// Doc comments of the command line are its help texts: for people at a terminal, not for rustdoc.
#![allow(rustdoc::bare_urls, rustdoc::broken_intra_doc_links, rustdoc::invalid_html_tags)]
// A program for people and scripts: what it has to say goes to its standard output.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod audio;
mod certificate;
mod demo;
mod figures;
mod join;
mod output;
mod page;
mod playout;
mod reception;
mod replay;
mod signal;
mod stop;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{ArgAction, CommandFactory, Parser, Subcommand};
use tracing_subscriber::EnvFilter;

/// How a command ends: with an exit code, or with an error that is told before the exit code 1.
type Outcome = Result<ExitCode, Box<dyn std::error::Error + Send + Sync>>;

/// A multi-peer WebRTC mesh.
#[derive(Debug, Parser)]
#[command(name = "rtcmesh", version, propagate_version = true, infer_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Log more to the standard error output: once what happens, twice details, three times all.
    ///
    /// The variable RTCMESH_LOG says it more finely, and goes first: `RTCMESH_LOG=rtcmesh_core=debug`.
    #[arg(short, long, global = true, action = ArgAction::Count)]
    verbose: u8,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Args),
    Join(join::Args),
    Replay(replay::Args),
    Signal(signal::Args),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    log_to_stderr(cli.verbose);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failure(&error),
    };
    let outcome = runtime.block_on(async {
        match cli.command {
            Command::Demo(args) => demo::run(args).await,
            Command::Join(args) => join::run(args).await,
            Command::Replay(args) => replay::run(&args),
            Command::Signal(args) => signal::run(args).await,
        }
    });
    output::finish();
    outcome.unwrap_or_else(|error| failure(error.as_ref()))
}

/// Ends a command whose arguments contradict each other as the parser itself would: with its usage and
/// the exit code 2.
fn usage_error(command: &str, kind: ErrorKind, message: impl std::fmt::Display) -> Outcome {
    let mut cli = Cli::command();
    cli.build();
    let command = cli.find_subcommand_mut(command).ok_or("there is no such command")?;
    command.error(kind, message).print()?;
    Ok(ExitCode::from(2))
}

/// Tells an error with its causes.
fn failure(error: &dyn std::error::Error) -> ExitCode {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let told = error.to_string();
        // Some errors tell their cause themselves.
        if !text.ends_with(&told) {
            text = format!("{text}: {told}");
        }
        cause = error.source();
    }
    complain(&text);
    ExitCode::FAILURE
}

/// Tells what went wrong.
fn complain(text: &str) {
    eprintln!("rtcmesh: {}", output::harmless(text));
}

fn log_to_stderr(verbose: u8) {
    let level = match verbose {
        // What a stranger sends is no warning: libraries beneath see it otherwise.
        0 => "warn,str0m=error,sctp_proto=off",
        1 => "info",
        2 => "debug",
        _ => "trace",
    };
    let filter = EnvFilter::try_from_env("RTCMESH_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
