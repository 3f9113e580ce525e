//! What a server counts, and its text for Prometheus.

use std::fmt::Write as _;

/// A server's gauges, and its counters since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerMetrics {
    /// Connections now.
    pub connections: u64,
    /// Rooms with at least one peer, now.
    pub rooms: u64,
    /// Announced peers now, with those that are absent and expected back.
    pub peers: u64,
    /// Peers whose connection broke and whose id is reserved, now.
    pub absent: u64,
    /// Bytes that wait to be written, now.
    pub queued_bytes: u64,
    /// Messages received.
    pub messages_in: u64,
    /// Bytes received.
    pub bytes_in: u64,
    /// Messages sent.
    pub messages_out: u64,
    /// Bytes sent.
    pub bytes_out: u64,
    /// Announces accepted.
    pub announces: u64,
    /// Of these, those that took a place over with its key.
    pub resumes: u64,
    /// Offers forwarded.
    pub offers: u64,
    /// Answers forwarded.
    pub answers: u64,
    /// Candidates forwarded.
    pub candidates: u64,
    /// Candidates of unknown negotiations or to absent peers, dropped.
    pub candidates_dropped: u64,
    /// Disconnects forwarded.
    pub disconnects: u64,
    /// Offers without an answer in time.
    pub offers_expired: u64,
    /// Error replies.
    pub errors: u64,
    /// Notifications that were wrong, and dropped.
    pub invalid_notifications: u64,
    /// Connections, messages and announces beyond a limit.
    pub limited: u64,
    /// Clients that were dropped because they did not read.
    pub stuck: u64,
    /// Clients that were dropped because they did not answer pings.
    pub silent: u64,
    /// Connections between peers that were reported as made.
    pub reported_connected: u64,
    /// Connections between peers that were reported as failed.
    pub reported_failed: u64,
}

impl ServerMetrics {
    /// The text exposition format of Prometheus, version 0.0.4.
    pub fn prometheus(&self) -> String {
        let gauges = [
            ("connections", "Open WebSocket connections.", self.connections),
            ("rooms", "Rooms with at least one peer.", self.rooms),
            ("peers", "Announced peers.", self.peers),
            ("absent_peers", "Peers whose connection broke and whose id is reserved.", self.absent),
            ("queued_bytes", "Bytes that wait to be written.", self.queued_bytes),
        ];
        let counters = [
            ("messages_received", "Messages received.", self.messages_in),
            ("bytes_received", "Bytes received in messages.", self.bytes_in),
            ("messages_sent", "Messages sent.", self.messages_out),
            ("bytes_sent", "Bytes sent in messages.", self.bytes_out),
            ("announces", "Announces accepted.", self.announces),
            ("resumes", "Announces that took their place over with its key.", self.resumes),
            ("offers", "Offers forwarded.", self.offers),
            ("answers", "Answers forwarded.", self.answers),
            ("candidates", "Candidates forwarded.", self.candidates),
            ("candidates_dropped", "Candidates dropped.", self.candidates_dropped),
            ("disconnects", "Disconnects forwarded.", self.disconnects),
            ("offers_expired", "Offers without an answer in time.", self.offers_expired),
            ("errors", "Error replies.", self.errors),
            ("invalid_notifications", "Wrong notifications dropped.", self.invalid_notifications),
            ("limited", "Connections, messages and announces over a limit.", self.limited),
            ("stuck_clients", "Clients dropped because they did not read.", self.stuck),
            ("silent_clients", "Clients dropped because they did not answer.", self.silent),
            ("reported_connected", "Peer connections reported as made.", self.reported_connected),
            ("reported_failed", "Peer connections reported as failed.", self.reported_failed),
        ];
        let mut text = String::new();
        // Writing into a string cannot fail.
        for (name, help, value) in gauges {
            let name = format!("rtcmesh_signaling_{name}");
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}");
        }
        for (name, help, value) in counters {
            let name = format!("rtcmesh_signaling_{name}_total");
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} counter\n{name} {value}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_has_help_type_and_value_of_each() {
        let text = ServerMetrics { offers: 7, ..ServerMetrics::default() }.prometheus();
        assert!(text.contains("\nrtcmesh_signaling_offers_total 7\n"), "{text}");
        assert!(text.contains("# TYPE rtcmesh_signaling_peers gauge\n"));
        assert_eq!(text.lines().count() % 3, 0);
    }
}
