//! One connection until it is a WebSocket, or has been answered otherwise: TLS, one HTTP request.

use std::future::{Future, poll_fn};
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use rtcmesh_core::id::LinkId;

use super::http::{self, Head, Request, Status};
use super::link;
use super::shared::{Membership, Shared};
use crate::runtime::{Runtime, TcpStream, Timer};
use crate::stream::Stream;
use crate::tls::Session;
use crate::ws::Socket;

/// The time from the acceptance of a connection to the end of its request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// The time that an answer may take to reach its reader.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// How much of a head is read at once, in bytes.
const HEAD_CHUNK: usize = 1024;
/// The longest path of a room, in bytes, without a trailing slash (the contract, rooms).
const MAX_PATH: usize = 128;
/// The first byte of a TLS connection: the type of a handshake record (RFC 8446, section 5.1).
const TLS_HANDSHAKE: u8 = 22;

type Opened<R> = Option<(Socket<<R as Runtime>::Tcp>, Membership<R>)>;

/// Serves one connection to its end.
pub(super) async fn serve<R: Runtime>(shared: Arc<Shared<R>>, tcp: R::Tcp, remote: IpAddr) {
    let name = shared.arrive();
    // A listener for both families shows IPv4 addresses in their mapped form (RFC 4291, 2.5.5.2).
    let remote = remote.to_canonical();
    let opened = {
        // On the heap, so that a WebSocket does not carry the space of its opening along.
        let mut opening: Pin<Box<dyn Future<Output = io::Result<Opened<R>>> + Send>> =
            Box::pin(open(shared.clone(), tcp, name, remote));
        poll_fn(|cx| match opening.as_mut().poll(cx) {
            Poll::Pending => shared.poll_unwanted(cx, name).map(|()| Ok(None)),
            opened => opened,
        })
        .await
    };
    shared.opened(name);
    match opened {
        Ok(Some((socket, membership))) => link::run(socket, membership).await,
        Ok(None) => {}
        Err(error) => tracing::debug!(link = %name, %error, "a connection failed before its time"),
    }
}

async fn open<R: Runtime>(
    shared: Arc<Shared<R>>,
    tcp: R::Tcp,
    name: LinkId,
    remote: IpAddr,
) -> io::Result<Opened<R>> {
    let deadline = shared.runtime().now() + HEAD_TIMEOUT;
    let mut limit = shared.runtime().timer(deadline);
    let mut reading: Pin<Box<dyn Future<Output = _> + Send>> = Box::pin(read(&shared, tcp));
    let read = poll_fn(|cx| match reading.as_mut().poll(cx) {
        Poll::Pending => limit.poll(cx).map(|()| None),
        Poll::Ready(read) => Poll::Ready(Some(read)),
    })
    .await;
    drop(reading);
    let (mut stream, mut head, request) = match read {
        None => return Ok(None),
        Some(read) => match read? {
            Read::Request(stream, head, request) => (stream, head, request),
            Read::Bad(stream, status) => {
                answer(&shared, stream, http::refusal(status)).await;
                return Ok(None);
            }
            Read::Nothing => return Ok(None),
        },
    };
    let (response, membership) = match respond(&shared, &head, &request, name, remote) {
        Ok(upgraded) => upgraded,
        Err(refusal) => {
            answer(&shared, stream, refusal).await;
            return Ok(None);
        }
    };
    let mut written = 0;
    poll_fn(|cx| stream.poll_write_all(cx, &response, &mut written)).await?;
    let rest = head.split_off(request.length.min(head.len()));
    let socket = Socket::accepted(stream, rest);
    if membership.unwanted() {
        // It is told so, and stays among those that may be sent away at any time.
        link::run(socket, membership).await;
        return Ok(None);
    }
    Ok(Some((socket, membership)))
}

/// What came first on a connection.
enum Read<T> {
    /// A request: what was read so far, and what its head says.
    Request(Stream<T>, Vec<u8>, Request),
    /// Something to refuse.
    Bad(Stream<T>, Status),
    /// The end.
    Nothing,
}

async fn read<R: Runtime>(shared: &Shared<R>, mut tcp: R::Tcp) -> io::Result<Read<R::Tcp>> {
    let mut stream = match &shared.tls {
        None => Stream::new(tcp, None),
        Some(identity) => {
            let mut first = vec![0; HEAD_CHUNK];
            let count = poll_fn(|cx| tcp.poll_read(cx, &mut first)).await?;
            first.truncate(count);
            match first.first() {
                None => return Ok(Read::Nothing),
                Some(&TLS_HANDSHAKE) => {
                    let session = Session::server(identity).map_err(io::Error::other)?;
                    Stream::partially_read(tcp, first, Some(session))
                }
                // Plain HTTP, most likely: a plain answer says more than an alert of TLS.
                Some(_) => return Ok(Read::Bad(Stream::new(tcp, None), Status::BadRequest)),
            }
        }
    };
    let mut head = Vec::new();
    loop {
        let end = head.len();
        head.resize(end + HEAD_CHUNK, 0);
        let space = head.get_mut(end..).unwrap_or_default();
        let count = poll_fn(|cx| stream.poll_read(cx, space)).await?;
        head.truncate(end + count);
        if count == 0 {
            return Ok(Read::Nothing);
        }
        match http::read_head(&head) {
            Head::Partial => {}
            Head::Complete(request) => return Ok(Read::Request(stream, head, request)),
            Head::Bad(status) => return Ok(Read::Bad(stream, status)),
        }
    }
}

/// The answer to a request: with `Ok` it becomes a WebSocket, with `Err` the connection ends.
fn respond<R: Runtime>(
    shared: &Arc<Shared<R>>,
    head: &[u8],
    request: &Request,
    name: LinkId,
    remote: IpAddr,
) -> Result<(Vec<u8>, Membership<R>), Vec<u8>> {
    if !request.upgrade {
        return Err(http::answer(request, &shared.assets, || shared.metrics().prometheus()));
    }
    if !shared.origins.allow(request.origin.as_deref(), request.host.as_deref()) {
        tracing::debug!(link = %name, origin = ?request.origin, "refused: the page's origin");
        return Err(http::refusal(Status::Forbidden));
    }
    if request.path.strip_suffix('/').unwrap_or(&request.path).len() > MAX_PATH {
        return Err(http::refusal(Status::BadRequest));
    }
    let head = head.get(..request.length).unwrap_or(head);
    let response = http::upgrade(head).map_err(http::refusal)?;
    let member = shared.open(name, &request.path, remote);
    let member = member.ok_or_else(|| http::refusal(Status::Unavailable))?;
    Ok((response, member))
}

/// Writes an answer and ends the connection, once the other side has read it or its time is over.
async fn answer<R: Runtime>(shared: &Shared<R>, mut stream: Stream<R::Tcp>, answer: Vec<u8>) {
    let mut limit = shared.runtime().timer(shared.runtime().now() + ANSWER_TIMEOUT);
    let (mut written, mut closed) = (0, false);
    let mut scrap = [0; 512];
    poll_fn(|cx| {
        if limit.poll(cx).is_ready() {
            return Poll::Ready(());
        }
        if !closed {
            // What cannot be written or closed any more needs no reader either.
            match stream.poll_write_all(cx, &answer, &mut written) {
                Poll::Ready(Ok(())) => {}
                pending => return pending.map(drop),
            }
            match stream.poll_close(cx) {
                Poll::Ready(Ok(())) => closed = true,
                pending => return pending.map(drop),
            }
        }
        // A stream that is dropped with unread bytes in it is reset, and the answer lost with it
        // (RFC 9293, section 3.6.1): the rest of the request is read away.
        for _ in 0..32 {
            match stream.poll_read(cx, &mut scrap) {
                Poll::Ready(Ok(count)) if count > 0 => {}
                over_or_pending => return over_or_pending.map(drop),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
