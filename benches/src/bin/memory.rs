//! Prints allocations per packet, and the heap of an idle connection. `--json`: one object.
#![allow(clippy::print_stdout)]

use rtcmesh_benches::arguments::Arguments;
use rtcmesh_benches::frames::Kind;
use rtcmesh_benches::memory::{CONNECTION_GOAL, connection, engine_connection, per_packet};
use serde_json::json;

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

fn main() {
    let json = Arguments::of_process().has("--json");
    let _profiler = dhat::Profiler::builder().testing().build();
    let mut report = serde_json::Map::new();
    if !json {
        println!("{:28}{:>9}{:>9}", "allocations per packet", "ours", "engine");
    }
    for kind in [Kind::Audio, Kind::Video] {
        let found = per_packet(kind);
        for (way, ours, engine) in
            [("tx", found.ours.0, found.engine.0), ("rx", found.ours.1, found.engine.1)]
        {
            let name = format!("{} {way}", kind.name());
            if !json {
                println!("{name:28}{ours:9}{engine:9}");
            }
            report.insert(name, json!({"ours": ours, "engine": engine}));
        }
    }
    let (ours, engine) = (connection(2, 6), engine_connection());
    if !json {
        let kib = |bytes: usize| bytes as f64 / 1024.0;
        println!(
            "idle connection, KiB an end:{:9.1}{:9.1}   goal <= {:.0}",
            kib(ours),
            kib(engine),
            kib(CONNECTION_GOAL)
        );
    } else {
        let bytes = json!({"ours": ours, "engine": engine, "goal": CONNECTION_GOAL});
        report.insert("idle connection, bytes an end".into(), bytes);
        println!("{}", serde_json::Value::Object(report));
    }
}
