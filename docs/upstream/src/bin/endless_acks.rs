//! dimpl 0.9.0: after one damaged datagram of a handshake of DTLS 1.3, acknowledgements without end, all at one instant.

use std::process::ExitCode;
use std::time::Instant;

use rtcmesh_upstream::compare;
use rtcmesh_upstream::dtls::{Certificates, End};

/// More than this at one instant is without end.
const MANY: usize = 1_000;

/// The client is given the server's first flight with one bit of this byte damaged. How many datagrams it gives out for it, at the
/// same instant, with the length of the last one. `None` behind the flight's end.
fn answers(certificates: &Certificates, byte: usize) -> Option<(usize, usize)> {
    let now = Instant::now();
    let [mut client, mut server] = End::pair(certificates, now);
    for hello in client.turn(now, MANY) {
        server.receive(&hello);
    }
    for mut flight in server.turn(now, MANY) {
        *flight.get_mut(byte)? ^= 1;
        client.receive(&flight);
    }
    let answers = client.turn(now, MANY);
    Some((answers.len(), answers.last().map_or(0, Vec::len)))
}

fn main() -> ExitCode {
    let certificates = Certificates::new();
    let all: Vec<_> = (0..).map_while(|byte| answers(&certificates, byte)).collect();
    let endless: Vec<usize> = (0..all.len()).filter(|byte| all[*byte].0 >= MANY).collect();
    println!(
        "the server's first flight has {} bytes, of which one is damaged each time",
        all.len()
    );
    for byte in [endless.first(), endless.last()].into_iter().flatten() {
        let (count, length) = all[*byte];
        println!(
            "byte {byte}: {count} datagrams at one instant and no end, the last of {length} bytes"
        );
    }
    compare("endless for 0 of the bytes", &format!("endless for {} of the bytes", endless.len()))
}
