//! dimpl 0.9.0: a connection of DTLS 1.3 that is in use is given up when the acknowledgement of its last flight does not come.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use rtcmesh_upstream::compare;
use rtcmesh_upstream::dtls::{Certificates, End};

/// How long nothing comes through, from the moment at which the server is connected too.
const OUTAGE: Duration = Duration::from_secs(20);

fn main() -> ExitCode {
    let begin = Instant::now();
    let mut ends = End::pair(&Certificates::new(), begin);
    let mut back = None;
    let mut happens = "both are connected after two minutes".to_owned();
    'time: for tenths in 0..1_200 {
        let now = begin + Duration::from_millis(100) * tenths;
        let mut says = true;
        while std::mem::take(&mut says) {
            for from in 0..2 {
                for datagram in ends[from].turn(now, 100) {
                    says = true;
                    if from == 1 && ends[1].connected {
                        back.get_or_insert(now + OUTAGE);
                    }
                    if back.is_none_or(|back| back <= now) {
                        ends[1 - from].receive(&datagram);
                    }
                }
            }
            if let Some(error) = ends.iter().find_map(|end| end.error.clone()) {
                happens = format!("{error} after {:.1} s", (now - begin).as_secs_f64());
                break 'time;
            }
        }
        if tenths % 10 == 9 {
            ends.iter_mut().for_each(|end| end.send(b"data"));
        }
    }
    let [client, server] = &ends;
    println!(
        "the path is down for {OUTAGE:?} from the acknowledgement on, and loses nothing after that"
    );
    println!("connected: client {}, server {}", client.connected, server.connected);
    println!(
        "data that have come: to the client {}, to the server {}",
        client.received, server.received
    );
    compare("both are connected after two minutes", &happens)
}
