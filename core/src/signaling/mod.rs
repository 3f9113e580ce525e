//! Signaling: JSON-RPC 2.0 over WebSocket text frames. Typed messages, the client's machine and the
//! server's machine; neither knows a socket or a clock.

mod capabilities;
mod client;
#[cfg(any(test, feature = "sim"))]
mod desk;
mod held;
#[cfg(any(test, feature = "sim"))]
mod hostile;
mod message;
mod outbox;
mod server;
#[cfg(test)]
mod tests;

pub use capabilities::Capabilities;
pub use client::{Client, ClientConfig, ClientCounters, ClientEvent};
#[cfg(any(test, feature = "sim"))]
pub use hostile::{hostile_client, hostile_message, hostile_server};
pub use message::{DisconnectReason, PeerConnectionState, ToPeer};
pub use server::{Server, ServerCommand, ServerConfig, ServerMetrics, Ticket, Verdict};
