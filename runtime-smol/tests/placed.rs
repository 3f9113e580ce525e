//! A transport whose driver the application spawns itself, on one thread.

use rtcmesh_runtime::conformance::guarded;
use rtcmesh_smol::config::Config;
use rtcmesh_smol::{SignalingServer, SignalingServerOptions, WebRtcTransport};

#[test]
fn a_driver_runs_on_a_local_executor() {
    guarded("a driver on a local executor", || {
        let listen = ([127, 0, 0, 1], 0).into();
        let server = SignalingServer::bind([listen], SignalingServerOptions::new()).unwrap();
        let url = format!("ws://{}/", server.local_addr().unwrap());
        let local = smol::LocalExecutor::new();
        smol::block_on(local.run(async {
            let (transport, driver) =
                WebRtcTransport::new(Config::new(url)).unwrap().into_driver().unwrap();
            let driving = local.spawn(driver);
            assert_eq!(transport.start().await, Ok(()));
            transport.shutdown().await;
            driving.await;
        }));
    });
}
