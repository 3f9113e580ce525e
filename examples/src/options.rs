//! The command line. Doc comments are its help: for people at a terminal, not for rustdoc.

#![allow(rustdoc::bare_urls)]

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// Examples of rtcmesh. Peers meet at a signaling server: `cargo run -p rtcmesh-cli -- signal` is one.
#[derive(Debug, Parser)]
pub(crate) struct Options {
    /// The signaling server; the path is the room.
    #[arg(long, global = true, default_value = "ws://127.0.0.1:8080/")]
    pub(crate) url: String,
    /// This peer's name [default: a new one].
    #[arg(long, global = true)]
    pub(crate) name: Option<String>,
    /// The only peers to connect with, by their names [default: everybody in the room].
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) with: Vec<String>,
    #[command(subcommand)]
    pub(crate) example: Example,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Example {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        <Options as clap::CommandFactory>::command().debug_assert();
    }
}
