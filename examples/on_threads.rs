//! The examples on a runtime of their own: `cargo run -p rtcmesh-examples --bin on-threads -- --help`.

mod custom_runtime;

use std::process::ExitCode;

fn main() -> ExitCode {
    custom_runtime::block_on(rtcmesh_examples::main::<custom_runtime::Threads>())
}
