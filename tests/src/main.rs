//! The program `rtcmesh-sim`: worlds from seeds, each checked against the model.

mod program;

use std::process::ExitCode;

// One seed gives one history, byte for byte.
rtcmesh_sim::interpose!();

fn main() -> ExitCode {
    program::main()
}
