//! str0m 0.25.0: it begins the SCTP association as DTLS client alone, though either side may (RFC 8841, section 10.2),
//! and the other side may leave it to the offerer.

use std::process::ExitCode;
use std::time::Duration;

use rtcmesh_upstream::{Pair, compare};
use str0m::{Event, Rtc};

fn main() -> ExitCode {
    let mut pair = Pair::new(Rtc::builder);
    // The answerer, which is DTLS client, waits for the offerer's INIT, as werift 0.25 does.
    pair.ends[1].rtc.direct_api().start_sctp(false);
    pair.negotiate_channel("passive");
    let mut sent = [0; 2];
    pair.run_through(Duration::from_secs(120), |from, datagram| {
        // RFC 7983: DTLS; application data of DTLS 1.2, which is SCTP (RFC 6347, section 4.1).
        sent[from] += usize::from(datagram[0] == 23);
        true
    });
    for (end, sent) in pair.ends.iter().zip(sent) {
        let connected = end.events.iter().any(|event| matches!(event, Event::Connected));
        println!("connected: {connected}; packets of SCTP sent in two minutes: {sent}");
    }
    let open = pair.ends[0].events.iter().any(|event| matches!(event, Event::ChannelOpen(..)));
    compare(
        "the offerer's channel is open: true",
        &format!("the offerer's channel is open: {open}"),
    )
}
