//! Sending from tasks whose turn is limited.

use std::future::poll_fn;
use std::task::Poll;

use rtcmesh_runtime::{Runtime, UdpSocket};
use rtcmesh_tokio::TokioRuntime;

/// Commands send from the calling task, and another one is woken for what could not be sent.
#[tokio::test]
async fn what_a_task_sends_is_not_limited_by_its_turn() {
    let runtime = TokioRuntime::current().unwrap();
    let mut near = runtime.bind_udp(([127, 0, 0, 1], 0).into()).unwrap();
    let far = std::net::UdpSocket::bind(("127.0.0.1", 0)).unwrap();
    let remote = far.local_addr().unwrap();
    // The runtime learns of a new socket by and by that it can be written to.
    poll_fn(|cx| near.poll_send(cx, remote, b"first")).await.unwrap();
    let sent = poll_fn(|cx| {
        // Above the 128 operations of a turn, and read at once: neither side is ever full.
        let sent = (0..1_000).take_while(|_| {
            let sent = near.poll_send(cx, remote, b"x").map(Result::unwrap).is_ready();
            sent && far.recv_from(&mut [0; 8]).is_ok()
        });
        Poll::Ready(sent.count())
    })
    .await;
    assert_eq!(sent, 1_000);
}
