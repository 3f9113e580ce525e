use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Waker;

use super::*;
use crate::server::http;
use crate::tls::{Session, TlsIdentity, TlsOptions};

/// One direction of a pipe: at most `capacity` bytes under way.
#[derive(Default)]
struct Lane {
    bytes: VecDeque<u8>,
    closed: bool,
}

/// An end of an in-memory byte stream: what a TCP connection is, without a system.
struct Pipe {
    incoming: Arc<Mutex<Lane>>,
    outgoing: Arc<Mutex<Lane>>,
    capacity: usize,
}

fn pipe(capacity: usize) -> (Pipe, Pipe) {
    let (a, b) = (Arc::<Mutex<Lane>>::default(), Arc::<Mutex<Lane>>::default());
    (
        Pipe { incoming: a.clone(), outgoing: b.clone(), capacity },
        Pipe { incoming: b, outgoing: a, capacity },
    )
}

fn lock(lane: &Mutex<Lane>) -> MutexGuard<'_, Lane> {
    lane.lock().unwrap()
}

impl TcpStream for Pipe {
    fn poll_read(&mut self, _: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut lane = lock(&self.incoming);
        if lane.bytes.is_empty() && !lane.closed {
            return Poll::Pending;
        }
        let count = lane.bytes.len().min(buffer.len());
        for (slot, byte) in buffer.iter_mut().zip(lane.bytes.drain(..count)) {
            *slot = byte;
        }
        Poll::Ready(Ok(count))
    }

    fn poll_write(&mut self, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut lane = lock(&self.outgoing);
        let count = bytes.len().min(self.capacity - lane.bytes.len());
        if count == 0 {
            return Poll::Pending;
        }
        lane.bytes.extend(&bytes[..count]);
        Poll::Ready(Ok(count))
    }

    fn poll_close(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        lock(&self.outgoing).closed = true;
        Poll::Ready(Ok(()))
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        lock(&self.outgoing).closed = true;
    }
}

fn cx() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

/// Certificates of the two sides: what the client trusts, what the server shows.
fn identity() -> (TlsOptions, TlsIdentity) {
    let made = rcgen::generate_simple_self_signed(["mesh.example".to_owned()]).unwrap();
    let pem = made.cert.pem();
    let identity = TlsIdentity::from_pem(&pem, &made.signing_key.serialize_pem()).unwrap();
    (TlsOptions::new().trust_pem(&pem).unwrap(), identity)
}

/// The two ends of an open WebSocket, after a real handshake of both.
fn open(capacity: usize, tls: bool) -> (Socket<Pipe>, Socket<Pipe>) {
    let (near, far) = pipe(capacity);
    let (client_tls, server_tls) = if tls {
        let (options, identity) = identity();
        let config = options.client_config().unwrap();
        (
            Some(Session::client(config, "mesh.example").unwrap()),
            Some(Session::server(&identity).unwrap()),
        )
    } else {
        (None, None)
    };
    let url = "wss://mesh.example/room".parse().unwrap();
    let mut opening = Opening::new(Stream::new(near, client_tls), &url).unwrap();
    let mut stream = Stream::new(far, server_tls);
    let (mut head, mut answer, mut written) = (Vec::new(), Vec::new(), 0);
    for _ in 0..10_000 {
        if let Poll::Ready(client) = opening.poll(&mut cx()) {
            return (client.unwrap(), Socket::accepted(stream, Vec::new()));
        }
        let mut buffer = [0; 512];
        if let Poll::Ready(count) = stream.poll_read(&mut cx(), &mut buffer) {
            head.extend_from_slice(&buffer[..count.unwrap()]);
            if let http::Head::Complete(request) = http::read_head(&head) {
                assert!(request.upgrade && request.path == "/room");
                answer = http::upgrade(&head).unwrap();
            }
        }
        if !answer.is_empty() {
            let _ = stream.poll_write_all(&mut cx(), &answer, &mut written).map(Result::unwrap);
        }
    }
    panic!("no handshake");
}

type Log = Vec<Result<Incoming, String>>;

/// Moves everything both ways until `done` says enough, or nothing moves any more.
fn pump(a: &mut Socket<Pipe>, b: &mut Socket<Pipe>) -> (Log, Log) {
    let (mut at_a, mut at_b) = (Vec::new(), Vec::new());
    let (mut idle, mut a_over, mut b_over) = (0, false, false);
    while idle < 3 {
        idle += 1;
        for (socket, seen, over) in
            [(&mut *a, &mut at_a, &mut a_over), (&mut *b, &mut at_b, &mut b_over)]
        {
            let pending = format!("{:?}", socket.poll_flush(&mut cx()));
            if pending.contains("Pending") {
                idle = 0;
            }
            while !*over {
                let Poll::Ready(result) = socket.poll_next(&mut cx()) else { break };
                *over = result.is_err();
                seen.push(result.map_err(|error| error.to_string()));
                idle = 0;
            }
        }
    }
    (at_a, at_b)
}

#[test]
fn texts_pass_both_ways_plain_and_encrypted() {
    for tls in [false, true] {
        for capacity in [7, 1000, 1 << 20] {
            let (mut client, mut server) = open(capacity, tls);
            client.send_text("from the client").unwrap();
            server.send_text("from the server").unwrap();
            let (at_client, at_server) = pump(&mut client, &mut server);
            assert_eq!(at_client, [Ok(Incoming::Text("from the server".into()))]);
            assert_eq!(at_server, [Ok(Incoming::Text("from the client".into()))]);
        }
    }
}

#[test]
fn large_texts_that_cross_do_not_wait_for_each_other() {
    for tls in [false, true] {
        let (mut client, mut server) = open(4096, tls);
        let large = "x".repeat(CONTRACT_MESSAGE);
        client.send_text(large.clone()).unwrap();
        server.send_text(large.clone()).unwrap();
        let (at_client, at_server) = pump(&mut client, &mut server);
        assert!(at_client == [Ok(Incoming::Text(large.clone().into()))], "tls: {tls}");
        assert!(at_server == [Ok(Incoming::Text(large.into()))], "tls: {tls}");
    }
}

#[test]
fn pings_are_answered_and_pongs_seen() {
    let (mut client, mut server) = open(1000, true);
    server.send_ping().unwrap();
    let (at_client, at_server) = pump(&mut client, &mut server);
    assert_eq!((at_client, at_server), (vec![], vec![Ok(Incoming::Pong)]));
}

#[test]
fn closing_carries_its_code_both_ways() {
    let (mut client, mut server) = open(1000, false);
    client.send_close(1001, &"é".repeat(100)).unwrap();
    let (at_client, at_server) = pump(&mut client, &mut server);
    assert_eq!(at_server, [Ok(Incoming::Close(Some(1001))), Err("closed".into())]);
    assert_eq!(at_client, [Ok(Incoming::Close(Some(1001)))]);
    assert!(client.send_text("late").is_err());
    drop(server);
    assert!(matches!(client.poll_next(&mut cx()), Poll::Ready(Err(Broken::Closed))));
}

#[test]
fn what_is_larger_than_the_limit_names_the_close_code() {
    let (mut client, mut server) = open(1 << 22, false);
    client.send_text("x".repeat(MAX_MESSAGE)).unwrap();
    let (_, at_server) = pump(&mut client, &mut server);
    assert!(matches!(&at_server[..], [Ok(Incoming::Text(text))] if text.len() == MAX_MESSAGE));
    client.send_text("x".repeat(MAX_MESSAGE + 1)).unwrap();
    let (_, at_server) = pump(&mut client, &mut server);
    assert!(matches!(&at_server[..], [Err(error)] if error.contains("1009")), "{at_server:?}");
}

#[test]
fn a_cut_stream_is_no_orderly_end() {
    let (client, mut server) = open(1000, false);
    drop(client);
    assert!(matches!(server.poll_next(&mut cx()), Poll::Ready(Err(Broken::Stream(_)))));
}

/// A handshake of a client with such options with a server of this identity, which it calls by name.
fn handshake(options: &TlsOptions, identity: &TlsIdentity, name: &str) -> Result<(), String> {
    let (near, far) = pipe(1 << 20);
    let session = Session::client(options.client_config().unwrap(), name).unwrap();
    let mut client = Stream::new(near, Some(session));
    let mut server = Stream::new(far, Some(Session::server(identity).unwrap()));
    for _ in 0..100 {
        if let Poll::Ready(Err(error)) = client.poll_read(&mut cx(), &mut [0; 64]) {
            return Err(error.to_string());
        }
        let _ = server.poll_read(&mut cx(), &mut [0; 64]);
    }
    Ok(())
}

#[test]
fn a_server_that_nobody_vouches_for_is_refused() {
    let (_, identity) = identity();
    let error = handshake(&TlsOptions::new(), &identity, "mesh.example").unwrap_err();
    assert!(error.contains("certificate"), "{error}");
    let any = TlsOptions::new().danger_accept_any_certificate();
    assert_eq!(handshake(&any, &identity, "other.example"), Ok(()));
    let (options, identity_of_another) = self::identity();
    drop(identity_of_another);
    assert!(handshake(&options, &identity, "mesh.example").is_err());
}

#[test]
fn a_trusted_certificate_may_call_itself_an_authority_but_not_go_by_another_name_or_be_out_of_date()
{
    let made = |last_year: i32| {
        let mut params = rcgen::CertificateParams::new(["mesh.example".to_owned()]).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.not_after = rcgen::date_time_ymd(last_year, 1, 1);
        let key = rcgen::KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        let identity = TlsIdentity::from_pem(&pem, &key.serialize_pem()).unwrap();
        (TlsOptions::new().trust_pem(&pem).unwrap(), identity)
    };
    let (options, identity) = made(4000);
    assert_eq!(handshake(&options, &identity, "mesh.example"), Ok(()));
    assert!(handshake(&options, &identity, "other.example").unwrap_err().contains("name"));
    let (options_of_another, old) = (made(4000).0, made(2000));
    assert!(handshake(&options_of_another, &identity, "mesh.example").is_err());
    assert!(handshake(&old.0, &old.1, "mesh.example").unwrap_err().contains("expired"));
}

#[test]
fn bad_pem_texts_name_what_is_missing() {
    let made = rcgen::generate_simple_self_signed(["a.example".to_owned()]).unwrap();
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let error = |certificate: &str, key: &str| {
        TlsIdentity::from_pem(certificate, key).unwrap_err().to_string()
    };
    assert!(error("", &key).starts_with("certificate:"));
    assert!(error(&certificate, "nothing").starts_with("private key:"));
    let other = rcgen::generate_simple_self_signed(["a.example".to_owned()]).unwrap();
    assert!(error(&certificate, &other.signing_key.serialize_pem()).starts_with("TLS:"));
}
