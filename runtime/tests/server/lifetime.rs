//! From the listening port to the last close frame.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::Instant;

use rtcmesh_runtime::{ServerError, SignalingServerOptions};
use rtcmesh_tokio::SignalingServer;
use tungstenite::Message;

use crate::Running;
use crate::client::{Client, GUARD, connect};

#[test]
fn a_shutdown_closes_all_with_going_away_and_frees_the_port() {
    let mut server = Running::start(SignalingServerOptions::new());
    let addr = server.addr;
    let mut a = Client::join(addr, "/", "a");
    let mut silent = connect(addr);
    let mut half = connect(addr);
    half.write_all(b"GET / HT").unwrap();
    // A client that never answers the close frame: it costs the shutdown its bound, and no more.
    let _stuck = Client::join(addr, "/", "stuck");
    let start = Instant::now();
    server.shutdown();
    assert!(start.elapsed() < GUARD / 2, "{:?}", start.elapsed());
    assert_eq!(
        loop {
            if let Message::Close(frame) = a.socket.read().unwrap() {
                break frame.map(|frame| u16::from(frame.code));
            }
        },
        Some(1001)
    );
    for stream in [&mut silent, &mut half] {
        assert!(matches!(stream.read(&mut [0; 1]), Ok(0) | Err(_)));
    }
    assert!(TcpStream::connect(addr).is_err());
    let _context = server.runtime.enter();
    SignalingServer::bind([addr], SignalingServerOptions::new()).unwrap();
}

#[test]
fn dropping_it_is_a_shutdown_too() {
    let mut server = Running::start(SignalingServerOptions::new());
    let mut a = Client::join(server.addr, "/", "a");
    drop(server.server.take());
    assert_eq!(a.closed().unwrap().code, 1001.into());
    // The end of the stream follows, orderly.
    assert!(matches!(a.socket.read(), Err(tungstenite::Error::ConnectionClosed)));
}

#[test]
fn an_address_in_use_is_named() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let addr = taken.local_addr().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _context = runtime.enter();
    let free = (Ipv4Addr::LOCALHOST, 0).into();
    let error = SignalingServer::bind([free, addr], SignalingServerOptions::new()).unwrap_err();
    assert!(matches!(&error, ServerError::Listen { addr: named, .. } if *named == addr));
    assert!(error.to_string().contains(&addr.to_string()), "{error}");
}

#[test]
fn outside_of_a_runtime_there_is_no_server() {
    let error = SignalingServer::bind([], SignalingServerOptions::new()).unwrap_err();
    assert!(matches!(error, ServerError::System(_)), "{error}");
}

#[test]
fn a_crowd_that_never_asks_keeps_nobody_out() {
    let server = Running::start(SignalingServerOptions::new());
    // More connections than may be under way at once: those that have waited longest are sent away.
    let mut crowd: Vec<_> = (0..1100).map(|_| connect(server.addr)).collect();
    Client::join(server.addr, "/", "a");
    assert!(matches!(crowd[0].read(&mut [0; 1]), Ok(0) | Err(_)));
}
