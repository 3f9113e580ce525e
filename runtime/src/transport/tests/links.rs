//! Links to a signaling server, from the opening to the end.

use std::io;
use std::time::Duration;

use rtcmesh_core::id::LinkId;
use tungstenite::WebSocket;
use tungstenite::protocol::{CloseFrame, Message};

use super::world::Pipe;
use super::*;
use crate::stream::Stream;

const SECOND: Duration = Duration::from_secs(1);

/// A signaling server of one connection.
struct Server(WebSocket<Stream<Pipe>>);

impl Server {
    /// The messages that have come in.
    fn read(&mut self) -> Vec<Message> {
        std::iter::from_fn(|| self.0.read().ok()).collect()
    }

    /// The messages that have come in and that still come in while room is made for them.
    fn read_all(&mut self, mesh: &Mesh) -> Vec<Message> {
        let mut messages = Vec::new();
        for _ in 0..100 {
            messages.extend(self.read());
            mesh.world.run();
        }
        messages
    }

    fn send(&mut self, mesh: &Mesh, message: Message) {
        self.0.send(message).unwrap();
        mesh.world.run();
    }
}

fn open_link(mesh: &Mesh) {
    mesh.command(IoCommand::OpenLink { link: LinkId(7), url: "ws://mesh.example/room".into() });
}

fn send(mesh: &Mesh, text: impl Into<String>) {
    mesh.command(IoCommand::SendLink { link: LinkId(7), text: text.into() });
}

fn close(mesh: &Mesh, code: u16) {
    mesh.command(IoCommand::CloseLink { link: LinkId(7), code });
}

/// A mesh with an open link, and the server at its other end.
fn linked() -> (Mesh, Server) {
    linked_with(&[])
}

fn linked_with(sockets: &[u64]) -> (Mesh, Server) {
    let mesh = Mesh::with_sockets(sockets);
    let far = mesh.world.listen();
    open_link(&mesh);
    let server = Server(tungstenite::accept(Stream::new(far, None)).ok().unwrap());
    mesh.world.run();
    assert_eq!(mesh.log(), ["link 7 up"]);
    (mesh, server)
}

#[test]
fn texts_pass_both_ways_in_order() {
    let (mesh, mut server) = linked();
    mesh.script(|script| {
        for n in 0..1_000 {
            let text = n.to_string();
            script.commands.push_back(IoCommand::SendLink { link: LinkId(7), text });
        }
    });
    let expected: Vec<_> = (0..1_000).map(|n| Message::text(n.to_string())).collect();
    assert_eq!(server.read_all(&mesh), expected);
    for n in 0..100 {
        server.0.write(Message::text(n.to_string())).unwrap();
    }
    server.send(&mesh, Message::binary(vec![1]));
    let expected: Vec<_> = (0..100).map(|n| format!("link 7: {n}")).collect();
    assert_eq!(mesh.log(), expected);
}

#[test]
fn datagrams_do_not_wait_for_a_link_and_a_flood_of_them_leaves_it_its_turn() {
    let (mesh, mut server) = linked_with(&[1]);
    let flood = (0..10_000).map(|_| Ok((far(), b"x".to_vec())));
    mesh.world.udp(near(1), |udp| udp.incoming.extend(flood));
    server.send(&mesh, Message::text("hello"));
    let log = mesh.log();
    let heard = log.iter().position(|line| line == "link 7: hello").unwrap();
    // Sixteen rounds of at most 32 datagrams.
    assert!((1..=512).contains(&heard), "after {heard} of {} datagrams", log.len() - 1);
}

#[test]
fn a_server_that_cannot_be_reached_is_told_of() {
    let mesh = Mesh::with_sockets(&[]);
    open_link(&mesh);
    let log = mesh.log();
    assert!(log[0].starts_with("link 7 down, code None: the server cannot be reached"), "{log:?}");
    mesh.command(IoCommand::OpenLink { link: LinkId(8), url: "http://mesh.example/".into() });
    let log = mesh.log();
    assert!(log[0].starts_with("link 8 down, code None: invalid URL"), "{log:?}");
}

#[test]
fn a_server_that_does_not_answer_is_given_up_after_ten_seconds() {
    let mesh = Mesh::with_sockets(&[]);
    let _far = mesh.world.listen();
    open_link(&mesh);
    mesh.world.pass(SECOND * 99 / 10);
    assert!(mesh.log().is_empty());
    mesh.world.pass(SECOND / 10);
    assert_eq!(mesh.log(), ["link 7 down, code None: no connection within 10s"]);
}

#[test]
fn the_close_code_of_the_server_is_told() {
    let (mesh, mut server) = linked();
    server.0.close(Some(CloseFrame { code: 4001.into(), reason: "taken over".into() })).unwrap();
    mesh.world.run();
    assert_eq!(mesh.log(), ["link 7 down, code Some(4001): closed by the server with code 4001"]);
    assert!(matches!(server.read()[..], [Message::Close(Some(_))]), "the close is answered");
}

#[test]
fn a_cut_connection_is_told_of() {
    let (mesh, server) = linked();
    drop(server);
    mesh.world.run();
    let log = mesh.log();
    assert!(log[0].starts_with("link 7 down, code None: "), "{log:?}");
    send(&mesh, "too late");
    assert!(mesh.log().is_empty());
}

#[test]
fn what_is_queued_goes_out_before_the_close_frame() {
    let (mesh, mut server) = linked();
    send(&mesh, "first");
    mesh.script(|script| {
        let (link, text) = (LinkId(7), "x".repeat(500_000));
        script.commands.push_back(IoCommand::SendLink { link, text });
        script.commands.push_back(IoCommand::CloseLink { link, code: 1001 });
    });
    let read = server.read_all(&mesh);
    assert_eq!(read.len(), 3);
    assert_eq!(read[0], Message::text("first"));
    assert!(matches!(&read[1], Message::Text(text) if text.len() == 500_000));
    assert!(matches!(&read[2], Message::Close(Some(frame)) if u16::from(frame.code) == 1001));
    mesh.world.run();
    assert!(mesh.log().is_empty(), "told of what it asked for");
}

#[test]
fn a_closed_link_waits_for_the_answer_of_the_server_for_a_second_at_most() {
    let (mesh, mut server) = linked();
    close(&mesh, 1000);
    server.send(&mesh, Message::text("unheard"));
    let ended = mesh.spawn(|handle| async move { handle.shutdown().await });
    mesh.world.pass(SECOND / 2);
    assert_eq!(ended.take(), None, "the server has not answered");
    server.read();
    mesh.world.run();
    assert_eq!(ended.take(), Some(()));
    assert_eq!(mesh.log(), ["shutdown"]);

    let (mesh, _server) = linked();
    close(&mesh, 1000);
    let ended = mesh.spawn(|handle| async move { handle.shutdown().await });
    mesh.world.pass(SECOND);
    assert_eq!(ended.take(), Some(()));
}

#[test]
fn a_link_that_is_closed_while_it_opens_is_never_told_of() {
    let mesh = Mesh::with_sockets(&[]);
    let far = mesh.world.listen();
    open_link(&mesh);
    close(&mesh, 1000);
    drop(far);
    mesh.world.pass(SECOND * 20);
    assert!(mesh.log().is_empty());
}

#[test]
fn a_silent_server_is_given_up_and_a_pinging_one_is_not() {
    let (mesh, mut server) = linked();
    for _ in 0..10 {
        mesh.world.pass(SECOND * 20);
        server.send(&mesh, Message::Ping(Vec::new().into()));
        assert!(matches!(server.read()[..], [Message::Pong(_)]), "pings are answered");
    }
    assert!(mesh.log().is_empty());
    mesh.world.pass(SECOND * 59);
    assert!(mesh.log().is_empty());
    mesh.world.pass(SECOND);
    assert_eq!(mesh.log(), ["link 7 down, code None: nothing was heard from the server for 60s"]);
}

#[test]
fn a_server_that_breaks_the_protocol_is_told_so() {
    let (mesh, mut server) = linked();
    // A masked frame is a client's alone (RFC 6455, section 5.1).
    let stream = server.0.get_mut();
    io::Write::write_all(stream, &[0x81, 0x81, 1, 2, 3, 4, b'x' ^ 1]).unwrap();
    mesh.world.run();
    let log = mesh.log();
    assert!(log[0].starts_with("link 7 down, code None: "), "{log:?}");
    let read = server.read();
    assert!(
        matches!(&read[..], [Message::Close(Some(frame))] if u16::from(frame.code) == 1002),
        "{read:?}"
    );
}

#[test]
fn a_server_that_takes_no_messages_is_given_up() {
    let mesh = Mesh::with_sockets(&[]);
    let _far = mesh.world.listen();
    open_link(&mesh);
    // It is not open yet, and will not be: what is queued has a bound.
    for _ in 0..20 {
        send(&mesh, "x".repeat(1_000_000));
    }
    assert_eq!(mesh.log(), ["link 7 down, code None: the server takes no messages"]);
}

#[test]
fn a_closed_link_to_a_server_that_reads_nothing_is_given_up() {
    let (mesh, server) = linked();
    for _ in 0..5 {
        send(&mesh, "x".repeat(500_000));
    }
    close(&mesh, 1000);
    let ended = mesh.spawn(|handle| async move { handle.shutdown().await });
    mesh.world.pass(SECOND * 9 / 10);
    assert_eq!(ended.take(), None);
    mesh.world.pass(SECOND / 10);
    assert_eq!(ended.take(), Some(()));
    drop(server);
}
