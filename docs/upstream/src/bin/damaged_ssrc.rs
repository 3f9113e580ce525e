//! str0m 0.25.0: one packet of RTP whose SSRC was damaged on its way ends a stream for good.

use std::process::ExitCode;
use std::time::Duration;

use rtcmesh_upstream::{Pair, compare};
use str0m::media::{Frequency, MediaTime};
use str0m::{Event, Rtc};

fn main() -> ExitCode {
    let mut pair = Pair::new(Rtc::builder);
    let mid = pair.negotiate_audio();
    pair.run(Duration::from_secs(2));
    for n in 0..500 {
        let now = pair.now;
        let writer = pair.ends[0].rtc.writer(mid).expect("to be connected");
        let pt = writer.payload_params().next().expect("a codec").pt();
        let time = MediaTime::new(960 * n, Frequency::FORTY_EIGHT_KHZ);
        writer.write(pt, now, time, vec![0xf8, 0xff, 0xfe]).expect("to take a frame");
        pair.wake();
        pair.run_through(Duration::from_millis(20), |from, datagram| {
            // RTP (RFC 7983; RFC 5761), the third packet: one bit of its SSRC (RFC 3550, section 5.1).
            let is_rtp = (128..=191).contains(&datagram[0]) && !(192..=223).contains(&datagram[1]);
            if n == 2 && from == 0 && is_rtp {
                println!("one bit of packet {n} of 500 is damaged, in its SSRC");
                datagram[11] ^= 4;
            }
            true
        });
    }
    pair.run(Duration::from_secs(1));
    let frames = pair.ends[1].events.iter().filter(|event| matches!(event, Event::MediaData(_)));
    compare("499 frames have come", &format!("{} frames have come", frames.count()))
}
