//! `rtcmesh signal`: the signaling server alone.

use crate::Outcome;

/// Run a signaling server.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) async fn run(_args: Args) -> Outcome {
    Ok(std::process::ExitCode::SUCCESS)
}
