//! The async driver of rtcmesh, written once for every runtime.

pub mod api;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod dial;
mod offload;
mod runtime;
mod server;
pub mod sockets;
mod stream;
mod tls;
mod transport;
mod ws;

#[cfg(feature = "machine")]
#[doc(hidden)]
pub use transport::machine;

pub use offload::SegmentOffload;
pub use runtime::{Received, Runtime, TcpListener, TcpStream, Timer, UdpSocket};
pub use server::{
    Admission, Assets, Origins, ServerError, SignalingServer, SignalingServerOptions,
};
pub use tls::{TlsError, TlsIdentity, TlsOptions};
pub use transport::{
    Events, IoMetrics, RecordingFile, TransportDriver, TransportEvent, WebRtcTransport,
};
