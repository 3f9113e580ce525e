//! str0m 0.25.0, sctp-proto 0.10.8: after an outage, data wait for a timer of SCTP that has doubled meanwhile.

use std::process::ExitCode;
use std::time::Duration;

use rtcmesh_upstream::{Pair, compare};
use str0m::Rtc;

/// Shorter than what ends a connection of ICE.
const OUTAGE: Duration = Duration::from_secs(33);

fn main() -> ExitCode {
    let config = || {
        let mut config = Rtc::builder();
        // ICE does not give up within the outage.
        config.set_max_stun_retransmits(60);
        config
    };
    let mut pair = Pair::new(config);
    let id = pair.negotiate_channel("actpass");
    pair.run(Duration::from_secs(5));
    pair.ends[0].write(id, b"within the outage").expect("an open channel");
    pair.wake();
    pair.run_through(OUTAGE, |_, _| false);
    let back = pair.now;
    while pair.ends[1].messages().is_empty() && pair.now < back + Duration::from_secs(120) {
        pair.run(Duration::from_millis(100));
    }
    let waited = (pair.now - back).as_secs_f64();
    println!("the message came {waited:.1} s after an outage of {OUTAGE:?}");
    let soon = waited <= 3.0;
    compare(
        "within 3 s of the outage's end: true",
        &format!("within 3 s of the outage's end: {soon}"),
    )
}
