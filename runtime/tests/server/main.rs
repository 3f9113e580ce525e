//! The signaling server over real sockets on loopback: clients are blocking ones, as others write them.

// Helpers of tests are tests.
#![allow(clippy::unwrap_used)]

mod client;
mod http;
mod lifetime;
mod signaling;

use std::net::{Ipv4Addr, SocketAddr};

use rtcmesh_runtime::SignalingServerOptions;
use rtcmesh_tokio::SignalingServer;

/// A server with the runtime that it lives in.
struct Running {
    runtime: tokio::runtime::Runtime,
    server: Option<SignalingServer>,
    addr: SocketAddr,
}

impl Running {
    fn start(options: SignalingServerOptions) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let server = {
            let _context = runtime.enter();
            SignalingServer::bind([(Ipv4Addr::LOCALHOST, 0).into()], options).unwrap()
        };
        let addr = server.local_addr().unwrap();
        Self { runtime, server: Some(server), addr }
    }

    fn metrics(&self) -> String {
        self.server.as_ref().unwrap().metrics().prometheus()
    }

    fn shutdown(&mut self) {
        self.runtime.block_on(self.server.take().unwrap().shutdown());
    }
}
