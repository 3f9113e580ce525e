//! Signaling: JSON-RPC 2.0 over WebSocket text frames. Typed messages, the client's machine and the
//! server's machine; neither knows a socket or a clock.

mod capabilities;
mod stub;
pub use stub::*;

pub use capabilities::Capabilities;
