//! The async driver of rtcmesh, generic over a small Runtime trait.
