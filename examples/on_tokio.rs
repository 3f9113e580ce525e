//! The examples on tokio: `cargo run -p rtcmesh-examples --bin on-tokio -- --help`.

use std::process::ExitCode;

use rtcmesh_tokio::TokioRuntime;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    rtcmesh_examples::main::<TokioRuntime>().await
}
