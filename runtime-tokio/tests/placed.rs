//! A transport whose driver the application spawns itself, on one thread.

use rtcmesh_tokio::config::Config;
use rtcmesh_tokio::{SignalingServer, SignalingServerOptions, WebRtcTransport};

#[tokio::test]
async fn a_driver_runs_in_a_local_set() {
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
