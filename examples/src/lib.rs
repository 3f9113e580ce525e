//! What the examples do, written once for every runtime: chat, voice from file to file, and transfer of files.
//!
//! Each is one function over any [`Runtime`], and takes nothing but the public API of rtcmesh. The
//! programs `on-…` beside this folder are no more than the choice of the runtime.

// Doc comments of the command line are its help texts: for people at a terminal, not for rustdoc.
#![allow(rustdoc::bare_urls)]
// Programs for people: what they have to say goes to the standard output.
#![allow(clippy::print_stdout, clippy::print_stderr)]

pub mod chat;
pub mod listen;
mod progress;
pub mod receive;
pub mod send;
pub mod speak;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use rtcmesh_core::config::Config;
use rtcmesh_core::transport::Event;
use rtcmesh_runtime::{Events, Runtime, TransportEvent};

/// Whatever ends an example early: it is told, and the exit code is 1.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// Examples of rtcmesh. Peers meet at a signaling server: `cargo run -p rtcmesh-cli -- signal` is one.
#[derive(Debug, Parser)]
struct Options {
    /// The signaling server; the path is the room.
    #[arg(long, global = true, default_value = "ws://127.0.0.1:8080/")]
    url: String,
    /// This peer's name [default: a new one].
    #[arg(long, global = true)]
    name: Option<String>,
    /// The only peers to connect with, by their names [default: everybody in the room].
    #[arg(long, global = true, value_name = "NAME")]
    with: Vec<String>,
    #[command(subcommand)]
    example: Example,
}

#[derive(Debug, Subcommand)]
enum Example {
    /// Sends each line of the standard input to everybody in the room, and prints what the others say.
    Chat,
    /// Speaks a WAV file (mono or stereo, 8 to 48 kHz) to everybody, from when the first peer is connected.
    Speak {
        /// What to speak.
        wav: PathBuf,
    },
    /// Writes what the first peer says into a WAV file, until that peer leaves.
    Listen {
        /// What to write; a file that is there is replaced.
        wav: PathBuf,
    },
    /// Sends a file to the first peer, and shows the progress.
    Send {
        /// What to send.
        file: PathBuf,
    },
    /// Receives a file from the first peer that sends one, and shows the progress.
    Receive {
        /// What to write; a file that is there is replaced.
        file: PathBuf,
    },
}

/// The examples as a program: reads the command line, and runs what it names on the runtime that the
/// caller is in. Tells errors on the standard error output.
pub async fn main<R: Runtime>() -> ExitCode {
    let Options { url, name, with, example } = Options::parse();
    let mut config = Config::new(url).allow(with);
    config.peer_id = name;
    let outcome = match example {
        Example::Chat => chat::chat::<R>(config).await,
        Example::Speak { wav } => speak::speak::<R>(config, &wav).await,
        Example::Listen { wav } => listen::listen::<R>(config, &wav).await,
        Example::Send { file } => send::send::<R>(config, &file).await,
        Example::Receive { file } => receive::receive::<R>(config, &file).await,
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Waits for the event that `wanted` accepts.
///
/// # Errors
/// Where a peer leaves or is lost meanwhile, and at the end of the mesh.
async fn wait<R: Runtime>(
    events: &mut Events<R>,
    mut wanted: impl FnMut(&Event) -> bool,
) -> Result<(), Error> {
    while let Some(event) = events.next().await {
        match event {
            TransportEvent::Event(event) if wanted(&event) => return Ok(()),
            TransportEvent::Event(Event::Closed { peer, by }) => {
                return Err(format!("{peer} has left: {by}").into());
            }
            TransportEvent::Event(Event::Failed { peer, fault }) => {
                return Err(format!("{peer}: {fault}").into());
            }
            _ => {}
        }
    }
    Err("the mesh has ended".into())
}

/// An error that names the file which it is about.
fn about<E: std::fmt::Display>(file: &Path) -> impl Fn(E) -> Error {
    move |error| format!("{}: {error}", file.display()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        <Options as clap::CommandFactory>::command().debug_assert();
    }
}
