//! Signaling over real streams: encrypted, over IPv6, and with other sides that close one half of the connection.

use std::future::poll_fn;
use std::io;

use rtcmesh_core::config::ConnectMode;
use rtcmesh_core::transport::Event;

use super::room::{Peer, Room};
use super::{MOST, both, polled, within};
use crate::dial::dial;
use crate::runtime::{Runtime, TcpListener, TcpStream};
use crate::server::http::{Head, read_head, upgrade};
use crate::server::{SignalingServer, SignalingServerOptions};
use crate::stream::Stream;
use crate::tls::{TlsIdentity, TlsOptions};
use crate::ws::{Incoming, Socket};

pub(super) async fn check<R: Runtime>(runtime: &R) {
    within(runtime, "TLS", tls(runtime)).await;
    for (family, loopback) in super::system::families(runtime) {
        within(runtime, &format!("signaling over {family}"), async {
            let room = Room::open_at(runtime, loopback);
            let [alice, mut bob] = room.acquainted().await;
            alice.transport.shutdown().await;
            bob.until(|event| matches!(event, Event::PeerGone { .. }).then_some(())).await;
        })
        .await;
    }
    within(runtime, "a client that closes half", half_closed_by_a_client(runtime)).await;
    within(runtime, "a request that closes half", half_closed_early(runtime)).await;
    within(runtime, "a server that closes half", half_closed_by_a_server(runtime)).await;
    within(runtime, "a server that ends", server_ends(runtime)).await;
}

fn down(event: &Event) -> Option<String> {
    match event {
        Event::SignalingDown { reason, .. } => Some(reason.clone()),
        _ => None,
    }
}

async fn tls<R: Runtime>(runtime: &R) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let pem = made.cert.pem();
    let identity = TlsIdentity::from_pem(&pem, &made.signing_key.serialize_pem());
    let options = SignalingServerOptions::new().tls(identity.expect("one that fits its key"));
    let listen = ([127, 0, 0, 1], 0).into();
    let server = SignalingServer::bind_in(runtime.clone(), [listen], options).expect("a server");
    let port = server.local_addr().expect("its address").port();
    let url = format!("wss://localhost:{port}/room");

    let Peer { transport, events } = Peer::new(runtime, &url, "alice", ConnectMode::Manual);
    let trusting = TlsOptions::new().trust_pem(&pem).expect("the certificate");
    let alice = Peer { transport: transport.tls(trusting), events };
    assert_eq!(alice.transport.start().await, Ok(()));
    alice.transport.shutdown().await;

    let mut bob = Peer::new(runtime, &url, "bob", ConnectMode::Manual);
    let transport = bob.transport.clone();
    let distrust = async {
        let reason = bob.until(down).await;
        assert!(reason.contains("certificate"), "{reason}");
        bob.transport.shutdown().await;
    };
    let (started, ()) = both(transport.start(), distrust).await;
    assert!(started.is_err(), "a server that nobody trusts was joined");
}

/// A WebSocket without a transport behind it.
async fn connect<R: Runtime>(room: &Room<R>) -> Socket<R::Tcp> {
    let opened = dial(room.runtime.clone(), room.url.clone(), TlsOptions::new()).await;
    opened.unwrap_or_else(|error| panic!("a WebSocket: {error}"))
}

/// Reads a WebSocket to its end.
async fn until_over<T: TcpStream>(socket: &mut Socket<T>) -> Option<u16> {
    loop {
        match poll_fn(|cx| socket.poll_next(cx)).await {
            Ok(Incoming::Close(code)) => return code,
            Ok(_) => {}
            Err(_) => return None,
        }
    }
}

/// Reads a WebSocket to its end, and drops it: nobody has to wait for its farewell.
async fn until_gone<T: TcpStream>(mut socket: Socket<T>) -> Option<u16> {
    until_over(&mut socket).await
}

async fn half_closed_by_a_client<R: Runtime>(runtime: &R) {
    let room = Room::open(runtime);
    let mut socket = connect(&room).await;
    poll_fn(|cx| socket.poll_close_stream(cx)).await.expect("to close the writing half");
    until_over(&mut socket).await;
    // One that is announced is gone to the others.
    let mut alice = room.join("alice", ConnectMode::Manual).await;
    let mut socket = connect(&room).await;
    let announce = r#"{"jsonrpc":"2.0","method":"peer.announce","params":{"peer_id":"bob","capabilities":["data"]},"id":1}"#;
    socket.send_text(announce).expect("to send");
    poll_fn(|cx| socket.poll_flush(cx)).await.expect("to send");
    alice.until(|event| matches!(event, Event::PeerDiscovered { .. }).then_some(())).await;
    poll_fn(|cx| socket.poll_close_stream(cx)).await.expect("to close the writing half");
    until_over(&mut socket).await;
    alice.until(|event| matches!(event, Event::PeerGone { .. }).then_some(())).await;
}

async fn half_closed_early<R: Runtime>(runtime: &R) {
    let room = Room::open(runtime);
    let addr = room.server.local_addr().expect("its address");
    let whole = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
    for length in [0, 1, 10, whole.len()] {
        let mut stream = runtime.connect_tcp(addr).await.expect("to connect");
        let mut request = whole.get(..length).unwrap_or_default();
        while !request.is_empty() {
            let count = poll_fn(|cx| stream.poll_write(cx, request)).await.expect("to write");
            request = request.get(count..).unwrap_or_default();
        }
        poll_fn(|cx| stream.poll_close(cx)).await.expect("to close the writing half");
        let mut answer = Vec::new();
        let mut buffer = [0; 512];
        while let Ok(count @ 1..) = poll_fn(|cx| stream.poll_read(cx, &mut buffer)).await {
            answer.extend_from_slice(buffer.get(..count).unwrap_or_default());
        }
        // A whole request is answered, though no other will follow.
        assert_eq!(answer.starts_with(b"HTTP/1.1 200"), length == whole.len(), "{length} bytes");
    }
}

/// Accepts a WebSocket as any server does.
async fn accept<R: Runtime>(listener: &mut R::Listener) -> io::Result<Socket<R::Tcp>> {
    let (tcp, _) = poll_fn(|cx| listener.poll_accept(cx)).await?;
    let mut stream = Stream::new(tcp, None);
    let mut head = Vec::new();
    let request = loop {
        let mut buffer = [0; 512];
        let count = poll_fn(|cx| stream.poll_read(cx, &mut buffer)).await?;
        assert_ne!(count, 0, "the client left before its request was whole");
        head.extend_from_slice(buffer.get(..count).unwrap_or_default());
        match read_head(&head) {
            Head::Complete(request) => break request,
            Head::Partial => {}
            Head::Bad(_) => panic!("a bad request of our own client"),
        }
    };
    let rest = head.split_off(request.length);
    let response = upgrade(&head).unwrap_or_else(|_| panic!("no upgrade of our own client"));
    let mut written = 0;
    poll_fn(|cx| stream.poll_write_all(cx, &response, &mut written)).await?;
    Ok(Socket::accepted(stream, rest))
}

async fn half_closed_by_a_server<R: Runtime>(runtime: &R) {
    let mut listener = runtime.listen_tcp(([127, 0, 0, 1], 0).into()).expect("to listen");
    let url = format!("ws://{}/", super::system::addr(listener.local_addr()));
    let mut alice = Peer::new(runtime, &url, "alice", ConnectMode::Manual);
    let transport = alice.transport.clone();
    let server = async {
        let mut socket = accept::<R>(&mut listener).await.expect("to accept");
        poll_fn(|cx| socket.poll_close_stream(cx)).await.expect("to close the writing half");
        // The client closes its own half, instead of waiting for more.
        until_over(&mut socket).await;
        // And comes again.
        let again = accept::<R>(&mut listener).await;
        assert!(alice.until(down).await.contains("closing handshake"));
        alice.transport.shutdown().await;
        drop(again);
    };
    let (started, ()) = both(transport.start(), server).await;
    assert!(started.is_err(), "it has announced itself to nobody");
}

async fn server_ends<R: Runtime>(runtime: &R) {
    let room = Room::open(runtime);
    let mut orderly = connect(&room).await;
    let mut alice = room.join("alice", ConnectMode::Manual).await;
    let Room { server, .. } = room;
    let (code, ()) = both(until_over(&mut orderly), server.shutdown()).await;
    assert_eq!(code, Some(1001), "going away");
    let reason = alice.until(down).await;
    assert!(reason.contains("1001"), "{reason}");
    // Shutting down can be given up at any point: the server ends all the same.
    for polls in 0..MOST {
        let room = Room::open(runtime);
        let socket = connect(&room).await;
        let shutdown = polled(room.server.shutdown(), polls);
        let (code, ended) = both(until_gone(socket), shutdown).await;
        assert_eq!(code, Some(1001), "after {polls} polls");
        if ended.is_some() {
            return;
        }
    }
    panic!("a shutdown of a server: it is polled without end");
}
