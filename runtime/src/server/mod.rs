//! The signaling server: one port for the WebSocket, the page, health and metrics.

pub(crate) mod http;

pub use http::{Assets, Origins};
