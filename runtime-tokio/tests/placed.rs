//! A transport whose driver the application spawns itself, on one thread.

// To clippy, what only helps tests is no test.
#![allow(clippy::unwrap_used)]

use rtcmesh_runtime::conformance::guarded;
use rtcmesh_tokio::config::Config;
use rtcmesh_tokio::{SignalingServer, SignalingServerOptions, WebRtcTransport};

async fn in_a_local_set() {
    let listen = ([127, 0, 0, 1], 0).into();
    let server = SignalingServer::bind([listen], SignalingServerOptions::new()).unwrap();
    let url = format!("ws://{}/", server.local_addr().unwrap());
    let local = tokio::task::LocalSet::new();
    local
        .run_until(async {
            let (transport, driver) =
                WebRtcTransport::new(Config::new(url)).unwrap().into_driver().unwrap();
            let driving = tokio::task::spawn_local(driver);
            assert_eq!(transport.start().await, Ok(()));
            transport.shutdown().await;
            driving.await.unwrap();
        })
        .await;
}

#[test]
fn a_driver_runs_in_a_local_set() {
    guarded("a driver in a local set", || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(in_a_local_set());
    });
}
