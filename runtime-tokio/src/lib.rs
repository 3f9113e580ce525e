//! rtcmesh on tokio.
