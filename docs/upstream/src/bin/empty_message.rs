//! str0m 0.25.0: an empty message stops its data channel (RFC 8831, section 6.6).

use std::process::ExitCode;
use std::time::Duration;

use rtcmesh_upstream::{Pair, compare};
use str0m::Rtc;

fn main() -> ExitCode {
    let mut pair = Pair::new(Rtc::builder);
    let id = pair.negotiate_channel("actpass");
    pair.run(Duration::from_secs(2));
    for message in [&b"one"[..], b"", b"three", b"three"] {
        let taken = pair.ends[0].write(id, message);
        println!("write of {} bytes: {taken:?}", message.len());
        pair.wake();
        pair.run(Duration::from_secs(1));
    }
    pair.run(Duration::from_secs(300));
    let come = format!("messages of {:?} bytes have come", pair.ends[1].messages());
    compare("messages of [3, 0, 5, 5] bytes have come", &come)
}
