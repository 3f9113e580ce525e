//! Figures of one connection.

use crate::trace::state::saved;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Counters and estimates of one connection.
#[derive(Debug, Clone, Default)]
pub(crate) struct PeerFigures {
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) audio_packets_in: u64,
    pub(crate) audio_packets_out: u64,
    pub(crate) audio_packets_lost: u64,
    pub(crate) video_frames_in: u64,
    pub(crate) video_frames_out: u64,
    pub(crate) messages_in: u64,
    pub(crate) messages_out: u64,
    /// Large messages that were given up.
    pub(crate) lost_messages: u64,
    /// Datagrams, candidates, descriptions or messages that made no sense.
    pub(crate) malformed: u64,
    /// Answers and candidates of negotiations that are over.
    pub(crate) stale: u64,
    /// Offers that met an offer of ours.
    pub(crate) glare: u64,
    /// Media that nobody fetched.
    pub(crate) media_dropped: u64,
    /// The round trip of the latest connectivity check, or of RTCP.
    pub(crate) rtt: Option<Duration>,
    /// The addresses in use: ours, theirs.
    pub(crate) path: Option<(SocketAddr, SocketAddr)>,
    /// The share of our packets that the other side reported as lost, 0 to 1.
    pub(crate) remote_loss: Option<f32>,
    audio: Option<Reception>,
}

saved!(struct PeerFigures {
    bytes_in, bytes_out, audio_packets_in, audio_packets_out, audio_packets_lost,
    video_frames_in, video_frames_out, messages_in, messages_out, lost_messages, malformed,
    stale, glare, media_dropped, rtt, path, remote_loss, audio,
});

/// RFC 3550's view of one stream: appendix A.3 for what is lost, A.8 for jitter.
#[derive(Debug, Clone, Copy)]
struct Reception {
    first: u64,
    highest: u64,
    arrived: Instant,
    rtp: u32,
    jitter: f64,
}

saved!(struct Reception { first, highest, arrived, rtp, jitter });

/// Audio's RTP clock, whatever its encoder's bandwidth (RFC 7587, section 4.1).
const AUDIO_CLOCK: f64 = 48_000.0;

impl PeerFigures {
    pub(super) fn on_audio(&mut self, arrived: Instant, sequence: u64, rtp: u32) {
        self.audio_packets_in += 1;
        let Some(reception) = &mut self.audio else {
            let first = sequence;
            self.audio = Some(Reception { first, highest: sequence, arrived, rtp, jitter: 0.0 });
            return;
        };
        // A stream that begins anew begins its count anew.
        if sequence.abs_diff(reception.highest) > 10_000 {
            let lost = self.audio_packets_lost;
            self.audio = None;
            self.audio_packets_in -= 1;
            self.on_audio(arrived, sequence, rtp);
            self.audio_packets_lost = lost;
            return;
        }
        let between = match arrived.checked_duration_since(reception.arrived) {
            Some(after) => after.as_secs_f64(),
            None => -(reception.arrived - arrived).as_secs_f64(),
        };
        let sent = f64::from(rtp.wrapping_sub(reception.rtp) as i32) / AUDIO_CLOCK;
        // Silence between talkspurts says nothing about the network.
        if sent.abs() < 1.0 {
            reception.jitter += ((between - sent).abs() - reception.jitter) / 16.0;
        }
        reception.arrived = arrived;
        reception.rtp = rtp;
        if sequence > reception.highest {
            self.audio_packets_lost += sequence - reception.highest - 1;
            reception.highest = sequence;
        } else if sequence >= reception.first {
            // It was counted as lost, and came after all.
            self.audio_packets_lost = self.audio_packets_lost.saturating_sub(1);
        }
    }

    /// The interarrival jitter of received audio, in seconds.
    pub(crate) fn jitter(&self) -> f64 {
        self.audio.map_or(0.0, |reception| reception.jitter)
    }

    pub(super) fn on_pair(&mut self, rtt: Option<Duration>, path: (SocketAddr, SocketAddr)) {
        self.rtt = rtt.or(self.rtt);
        self.path = Some(path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loss_counts_gaps_and_takes_back_what_came_late() {
        let start = Instant::now();
        let mut figures = PeerFigures::default();
        let mut packet = |sequence: u64| {
            let at = start + Duration::from_millis(20 * (sequence - 100));
            figures.on_audio(at, sequence, (sequence as u32) * 960);
            figures.audio_packets_lost
        };
        assert_eq!([packet(100), packet(101), packet(104), packet(102)], [0, 0, 2, 1]);
        assert_eq!(packet(20_000), 1);
        assert_eq!(figures.audio_packets_in, 5);
    }

    #[test]
    fn jitter_is_that_of_rfc_3550() {
        let start = Instant::now();
        let mut figures = PeerFigures::default();
        for n in 0..1_000u64 {
            // Every other packet 10 ms late: each difference of transit times is 10 ms.
            let at = start + Duration::from_millis(20 * n + 10 * (n % 2));
            figures.on_audio(at, n, (n as u32) * 960);
        }
        assert!((figures.jitter() - 0.010).abs() < 0.0005, "{}", figures.jitter());
    }
}
