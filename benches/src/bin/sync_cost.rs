//! Prints what the sync manager costs for each packet that is inserted and popped. `--json`: one object.
#![allow(clippy::print_stdout)]

use rtcmesh_benches::arguments::Arguments;
use rtcmesh_benches::sync::manager::cost;

/// The goal of audio, with its target, in nanoseconds.
const GOAL: f64 = 150.0;

fn main() {
    let (audio, both) = (cost(false), cost(true));
    if Arguments::of_process().has("--json") {
        println!("{}", serde_json::json!({"audio_ns": audio, "audio_video_ns": both}));
        return;
    }
    println!("sync manager, insert and pop, ns a packet of audio: {audio:.0}   goal <= {GOAL:.0}");
    println!("with a frame of video for each, and lip-sync:      {both:.0}");
}
