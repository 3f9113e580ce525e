//! A fixed buffer: what is not there in time is lost.

use super::engine::{Outcome, PULL, Record};
use super::trace::Trace;

/// Plays `trace`, every packet `hold` ms after the first one's
/// transit.
pub fn play(trace: &Trace, hold: f64) -> Outcome {
    let mut record = Record::new(trace);
    let Some(&(first, arrival)) = trace.arrivals().first() else { return record.outcome() };
    // What is played at a time has the RTP time of that time less this.
    let offset = arrival - first as f64 * trace.frame + hold;
    let mut interrupted = false;
    for pull in 0.. {
        let now = trace.phase + f64::from(pull) * PULL;
        if !record.at(now) {
            break;
        }
        let (mut media, end) = ((now - offset).max(0.0), now + PULL - offset);
        while media < end - 1e-9 {
            let n = ((media + 1e-9) / trace.frame) as usize;
            let length = ((n + 1) as f64 * trace.frame).min(end) - media;
            let sent = trace.packets.get(n).and_then(|packet| packet.arrival);
            if sent.is_some_and(|arrival| arrival <= now) {
                record.packet(n);
                record.play(media, length, media - (now - offset));
                interrupted = false;
            } else {
                record.make_up(length);
                if sent.is_some() && !interrupted {
                    record.glitch();
                    interrupted = true;
                }
            }
            media += length;
        }
    }
    record.outcome()
}
