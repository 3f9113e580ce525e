//! All that an application needs of the crates underneath, but for what depends on the runtime: a crate of a
//! runtime gives it out as its own.

#[cfg(feature = "opus")]
pub use rtcmesh_core::transport::OpusVoice;
pub use rtcmesh_core::transport::{
    AudioData, AudioFrame, BroadcastStats, CaptureTime, ClosedBy, Event, Media, Metrics,
    PeerCounters, PeerInfo, PeerState, Quality, Replay, ReplayReport, SyncInfo, VideoTiming,
};
pub use rtcmesh_core::{config, error, id, media, signaling, sync, trace};

pub use crate::server::{Admission, Assets, Origins, ServerError, SignalingServerOptions};
pub use crate::tls::{TlsError, TlsIdentity, TlsOptions};
pub use crate::transport::{IoMetrics, RecordingFile, TransportEvent};
