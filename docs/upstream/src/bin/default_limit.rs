//! str0m 0.25.0: an association that begins before the answer has the default limit of message sizes, 64 KiB.

use std::process::ExitCode;
use std::time::Duration;

use rtcmesh_upstream::{Pair, compare};
use str0m::Rtc;
use str0m::change::{SdpAnswer, SdpOffer};

const LIMIT: u32 = 256 * 1024;

fn main() -> ExitCode {
    let mut pair = Pair::new(|| Rtc::builder().set_sctp_max_message_size(LIMIT));
    pair.negotiate_audio();
    pair.run(Duration::from_secs(2));
    // A data section comes later, offered by the second, which is DTLS server: the first, DTLS client, begins as it answers.
    let mut change = pair.ends[1].rtc.sdp_api();
    let id = change.add_channel("late".into());
    let (offer, pending) = change.apply().expect("a data section to offer");
    let offer = SdpOffer::from_sdp_string(&offer.to_sdp_string()).expect("its own offer");
    let answer = pair.ends[0].rtc.sdp_api().accept_offer(offer).expect("an answer").to_sdp_string();
    let says = answer.lines().find(|line| line.starts_with("a=max-message-size"));
    println!("the answer says {}", says.unwrap_or("nothing"));
    // The answer goes through a server; the INIT of who has given it is there before.
    pair.wake();
    pair.run(Duration::from_millis(100));
    let answer = SdpAnswer::from_sdp_string(&answer).expect("its own answer");
    pair.ends[1].rtc.sdp_api().accept_answer(pending, answer).expect("to take the answer");
    pair.wake();
    pair.run(Duration::from_secs(1));
    let taken = pair.ends[1].write(id, &vec![7; 64 * 1024 + 1]);
    pair.wake();
    pair.run(Duration::from_secs(2));
    println!("the other way: {:?}", pair.ends[0].write(id, &vec![7; 64 * 1024 + 1]));
    compare("write of 65537 bytes: Ok(true)", &format!("write of 65537 bytes: {taken:?}"))
}
