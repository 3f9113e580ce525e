//! Deterministic simulation of rtcmesh meshes, and the project's suites.
