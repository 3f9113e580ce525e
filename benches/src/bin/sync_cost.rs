//! Prints what the sync manager costs for each packet that is inserted and popped. `--json`: one object.
#![allow(clippy::print_stdout)]

use rtcmesh_benches::arguments::Arguments;
use rtcmesh_benches::sync::manager::{Cost, buffer_cost, cost};

/// The goal of audio, with its target, in nanoseconds.
const GOAL: f64 = 150.0;

fn main() {
    let buffer = buffer_cost();
    let (audio, both) = (cost(false), cost(true));
    if Arguments::of_process().has("--json") {
        let object = |cost: Cost| serde_json::json!({"usual_ns": cost.usual, "mean_ns": cost.mean});
        println!(
            "{}",
            serde_json::json!({
                "buffer_ns": buffer, "audio": object(audio), "audio_video": object(both)
            })
        );
        return;
    }
    println!("{:44}{buffer:9.0}{:12}   goal <= {GOAL:.0}", "jitter buffer with its target", "");
    println!(
        "{:44}{:>9}{:>12}",
        "sync manager, insert and pop, ns a packet", "usual", "with drift"
    );
    println!("{:44}{:9.0}{:12.0}", "audio, with all clocks", audio.usual, audio.mean);
    println!("{:44}{:9.0}{:12.0}", "and a frame of video, in step", both.usual, both.mean);
}
