//! The async driver of rtcmesh, written once for every runtime.

#[cfg(feature = "conformance")]
pub mod conformance;
mod dial;
mod runtime;
mod server;
mod stream;
mod tls;
mod ws;

pub use runtime::{Runtime, TcpListener, TcpStream, Timer, UdpSocket};
pub use server::{Assets, Origins};
pub use tls::{TlsError, TlsIdentity, TlsOptions};
