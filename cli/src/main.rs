//! The program rtcmesh.
fn main() {}
