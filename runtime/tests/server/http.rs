//! What a signaling port answers to requests, whatever they are.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rtcmesh_runtime::{Assets, Origins, SignalingServerOptions, TlsIdentity};

use crate::Running;
use crate::client::{Client, connect, exchange};

fn get(server: &Running, path: &str) -> (String, Vec<u8>) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    exchange(connect(server.addr), request.as_bytes())
}

/// An upgrade request from a page of `origin`.
fn upgrade(path: &str, origin: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nHost: mesh.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Origin: {origin}\r\n\r\n"
    )
    .into_bytes()
}

#[test]
fn files_health_and_metrics_are_served_beside_the_rooms() {
    let large = vec![b'x'; 3_000_000];
    let assets = Assets::new().with("/", "text/html; charset=utf-8", b"<p>page".as_slice()).with(
        "/large",
        "text/plain",
        large.clone(),
    );
    let server = Running::start(SignalingServerOptions::new().assets(assets));
    let (head, body) = get(&server, "/?room=x");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert_eq!(body, b"<p>page");
    assert!(get(&server, "/large").1 == large);
    assert_eq!(get(&server, "/healthz").1, b"ok\n");
    let (head, body) = get(&server, "/metrics");
    assert!(head.contains("text/plain; version=0.0.4"), "{head}");
    assert!(String::from_utf8(body).unwrap().contains("# TYPE rtcmesh_"));
    let (head, _) = get(&server, "/favicon.ico");
    assert!(head.starts_with("HTTP/1.1 404 "), "{head}");
    // `/` is a page and a room.
    Client::join(server.addr, "/", "a");
}

#[test]
fn requests_that_are_none_are_refused() {
    let server = Running::start(SignalingServerOptions::new());
    let long = format!("/{}", "r".repeat(128));
    let huge = format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(20_000));
    for (request, status) in [
        (b"\x16\x03\x01\x02\x00\x01\x00 what TLS says first".to_vec(), "400"),
        (b"hello?\r\n\r\n".to_vec(), "400"),
        (upgrade(&long, "https://a.example"), "400"),
        (huge.into_bytes(), "431"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc".to_vec(), "405"),
    ] {
        let (head, _) = exchange(connect(server.addr), &request);
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
    }
    Client::join(server.addr, &format!("/{}", "r".repeat(127)), "a");
}

#[test]
fn a_head_may_come_in_any_pieces_and_with_the_first_message_behind_it() {
    let server = Running::start(SignalingServerOptions::new());
    let mut stream = connect(server.addr);
    let mut bytes = upgrade("/", "https://a.example");
    bytes.extend(b"\x81\x85\0\0\0\0hello"); // a masked text frame, which is no JSON
    for byte in bytes {
        stream.write_all(&[byte]).unwrap();
    }
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains("-32700") {
        let mut buffer = [0; 512];
        let count = stream.read(&mut buffer).unwrap();
        assert_ne!(count, 0, "{}", String::from_utf8_lossy(&seen));
        seen.extend(&buffer[..count]);
    }
    assert!(seen.starts_with(b"HTTP/1.1 101 "));
}

#[test]
fn pages_of_other_origins_are_refused_where_the_server_says_so() {
    let origins = Origins::Listed(vec!["https://a.example".into()]);
    let server = Running::start(SignalingServerOptions::new().origins(origins));
    let (head, _) = exchange(connect(server.addr), &upgrade("/", "https://b.example"));
    assert!(head.starts_with("HTTP/1.1 403 "), "{head}");
    let mut stream = connect(server.addr);
    stream.write_all(&upgrade("/", "https://a.example")).unwrap();
    let mut status = [0; 13];
    stream.read_exact(&mut status).unwrap();
    assert_eq!(&status, b"HTTP/1.1 101 ");
    // No page at all.
    Client::join(server.addr, "/", "a");
}

type Encrypted = rustls::StreamOwned<rustls::ClientConnection, TcpStream>;

/// A server with TLS, and how to reach it.
fn encrypted() -> (Running, impl Fn(&Running) -> Encrypted) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let identity =
        TlsIdentity::from_pem(&made.cert.pem(), &made.signing_key.serialize_pem()).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let config = Arc::new(config);
    let connect = move |server: &Running| {
        let name = "localhost".try_into().unwrap();
        let session = rustls::ClientConnection::new(config.clone(), name).unwrap();
        rustls::StreamOwned::new(session, connect(server.addr))
    };
    (Running::start(SignalingServerOptions::new().tls(identity)), connect)
}

#[test]
fn everything_works_encrypted_too() {
    let (server, connect) = encrypted();
    let (head, body) =
        exchange(connect(&server), b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert_eq!(body, b"ok\n");
    let mut a = Client::over(connect(&server), "wss://localhost/");
    a.announce("a");
    let mut b = Client::over(connect(&server), "wss://localhost/");
    b.announce("b");
    assert_eq!(a.expect("peer.announced")["peer_id"], "b");
    assert_eq!(b.expect("peer.announced")["peer_id"], "a");
}

#[test]
fn plain_requests_to_an_encrypted_port_get_a_plain_refusal() {
    let (server, connect_encrypted) = encrypted();
    let (head, _) = exchange(connect(server.addr), b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 400 "), "{head}");
    // The beginning of a handshake that goes wrong: an alert, or just the end.
    let mut stream = connect(server.addr);
    stream.write_all(&[22; 600]).unwrap();
    let _ = stream.read_to_end(&mut Vec::new());
    Client::over(connect_encrypted(&server), "wss://localhost/");
}
