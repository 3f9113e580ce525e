//! str0m 0.25.0: one packet of RTP whose SSRC was damaged on its way, or that somebody has forged, ends a stream for good.

use std::process::ExitCode;
use std::time::Duration;

use rtcmesh_upstream::{Pair, compare};
use str0m::media::{Frequency, MediaTime};
use str0m::{Event, Rtc};

/// Eight seconds of 20 ms each.
const PACKETS: u64 = 400;

/// How many frames of audio come when one bit of the SSRC of packet `n` is damaged, or when a copy of the first packet with
/// such a bit comes beside packet `n`.
fn frames(n: u64, is_copy: bool) -> usize {
    let mut pair = Pair::new(Rtc::builder);
    let mid = pair.negotiate_audio();
    pair.run(Duration::from_secs(2));
    let mut first = None;
    for sent in 0..PACKETS {
        let now = pair.now;
        let writer = pair.ends[0].rtc.writer(mid).expect("to be connected");
        let pt = writer.payload_params().next().expect("a codec").pt();
        let time = MediaTime::new(960 * sent, Frequency::FORTY_EIGHT_KHZ);
        writer.write(pt, now, time, vec![0xf8, 0xff, 0xfe]).expect("to take a frame");
        pair.wake();
        pair.run_through(Duration::from_millis(20), |from, datagram| {
            // RTP (RFC 7983; RFC 5761).
            let is_rtp = (128..=191).contains(&datagram[0]) && !(192..=223).contains(&datagram[1]);
            if from == 0 && is_rtp && first.is_none() {
                first = Some(damaged(datagram));
            }
            if from == 0 && is_rtp && sent == n && !is_copy {
                *datagram = damaged(datagram);
            }
            true
        });
        if sent == n && is_copy {
            pair.deliver(1, first.clone().expect("a first packet"));
        }
    }
    pair.run(Duration::from_secs(1));
    pair.ends[1].events.iter().filter(|event| matches!(event, Event::MediaData(_))).count()
}

/// One bit of the SSRC (RFC 3550, section 5.1) is another.
fn damaged(packet: &[u8]) -> Vec<u8> {
    let mut packet = packet.to_vec();
    packet[11] ^= 4;
    packet
}

fn main() -> ExitCode {
    let mut fewest = usize::MAX;
    for (is_copy, what) in
        [(false, "is damaged"), (true, "is followed by a damaged copy of the first")]
    {
        let ends: Vec<u64> =
            (0..300).filter(|n| frames(*n, is_copy) < PACKETS as usize - 1).collect();
        let (Some(first), Some(last)) = (ends.first(), ends.last()) else { continue };
        let come = frames(*first, is_copy);
        println!("{} of 300 end the stream when one {what}: {first} to {last}", ends.len());
        println!("{come} of {PACKETS} frames have come when packet {first} {what}");
        fewest = fewest.min(come);
    }
    let fewest = fewest.min(PACKETS as usize - 1);
    compare("at least 399 frames have come", &format!("at least {fewest} frames have come"))
}
