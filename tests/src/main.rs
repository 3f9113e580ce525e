//! The program `rtcmesh-sim`: worlds from seeds, each checked against the model.

mod program;

use std::process::ExitCode;

/// Counts what is held, so that a world that leaves something behind is seen.
#[global_allocator]
static ALLOCATOR: cap::Cap<std::alloc::System> = cap::Cap::new(std::alloc::System, usize::MAX);

// One seed gives one history, byte for byte.
rtcmesh_sim::interpose!();

fn main() -> ExitCode {
    program::main()
}
