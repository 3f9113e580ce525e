//! The server's limits.

use crate::error::{ConfigError, within};

/// The limits of a signaling server. The defaults are those of the wire contract.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ServerConfig {
    /// Messages per second and connection, beyond the burst: 1 to 100,000, default 200.
    pub messages_per_second: u32,
    /// Messages that a connection may send at once: 1 to 1,000,000, default 1,000.
    pub message_burst: u32,
    /// Connections per network address: 1 to 1,000,000, default 2,000. Many peers share one address.
    pub connections_per_address: usize,
    /// Announces per second and network address: 1 to 1,000,000, default 500.
    pub announces_per_second: u32,
    /// Peers per room: 2 to 100,000, default 1,000.
    pub peers_per_room: usize,
    /// Connections in all: 1 to 10,000,000, default 25,000.
    pub connections: usize,
    /// Bytes that may wait for a client: 64 KiB to 1 GiB, default 4 MiB.
    pub queue_bytes: usize,
    /// Whether the embedder is asked about each announce; default: all are accepted.
    pub authorize: bool,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            messages_per_second: 200,
            message_burst: 1_000,
            connections_per_address: 2_000,
            announces_per_second: 500,
            peers_per_room: 1_000,
            connections: 25_000,
            queue_bytes: 4 * 1024 * 1024,
            authorize: false,
        }
    }
}

impl ServerConfig {
    /// Checks every field.
    ///
    /// # Errors
    /// Names the first one that is out of its bounds.
    pub fn validate(&self) -> Result<(), ConfigError> {
        within("messages_per_second", self.messages_per_second, 1, 100_000, "")?;
        within("message_burst", self.message_burst, 1, 1_000_000, "")?;
        within("connections_per_address", self.connections_per_address, 1, 1_000_000, "")?;
        within("announces_per_second", self.announces_per_second, 1, 1_000_000, "")?;
        within("peers_per_room", self.peers_per_room, 2, 100_000, "")?;
        within("connections", self.connections, 1, 10_000_000, "")?;
        within("queue_bytes", self.queue_bytes, 64 * 1024, 1024 * 1024 * 1024, "")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_name_their_field() {
        let ok = ServerConfig::default();
        assert_eq!(ok.validate(), Ok(()));
        let field = |config: ServerConfig| config.validate().unwrap_err().field;
        assert_eq!(field(ServerConfig { message_burst: 0, ..ok.clone() }), "message_burst");
        assert_eq!(field(ServerConfig { peers_per_room: 1, ..ok.clone() }), "peers_per_room");
        assert_eq!(field(ServerConfig { queue_bytes: 1, ..ok }), "queue_bytes");
    }
}
