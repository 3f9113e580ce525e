//! The examples on smol: `cargo run -p rtcmesh-examples --bin on-smol -- --help`.

use std::process::ExitCode;

use rtcmesh_smol::SmolRuntime;

fn main() -> ExitCode {
    smol::block_on(rtcmesh_examples::main::<SmolRuntime>())
}
