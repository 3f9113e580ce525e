//! What the examples do, written once for every runtime: chat, voice from file to file, and transfer of files.
//!
//! Each is one function over any [`Runtime`], and takes nothing but the public API of rtcmesh. The
//! programs `on-…` beside this folder are no more than the choice of the runtime.

// Programs for people: errors go to the standard error output.
#![allow(clippy::print_stderr)]

pub mod chat;
pub mod listen;
mod options;
mod progress;
pub mod receive;
pub mod send;
mod shared;
pub mod speak;

use std::process::ExitCode;

use clap::Parser;
use rtcmesh_core::config::Config;
use rtcmesh_runtime::Runtime;

use options::{Example, Options};
use shared::{about, wait};

/// Whatever ends an example early: it is told, and the exit code is 1.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

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
