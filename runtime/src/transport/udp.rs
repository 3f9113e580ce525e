//! The UDP sockets of one mesh: a batch of datagrams in, single ones out, and what waits for a socket
//! that is full.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, ErrorKind};
use std::mem;
use std::net::SocketAddr;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use rtcmesh_core::id::SocketId;
use rtcmesh_core::net::{Datagram, Transmit};

use crate::runtime::{Runtime, UdpSocket};
use crate::transport::report::Report;
use crate::transport::shared::{Counters, count};

/// Datagrams that are received before the machine is given them.
const BATCH: usize = 32;
/// The room for each of them: WebRTC keeps below the path's 1,500 bytes.
const SLOT: usize = 2048;
/// Datagrams that wait for one socket. The newest is dropped above it: the network would do the same.
const MAX_BACKLOG: usize = 1024;
/// Errors of receiving, without a datagram between them, after which a socket counts as broken.
const MAX_ERRORS: u32 = 16;
/// How long a socket that was closed still sends what waits for it.
const LINGER: Duration = Duration::from_secs(1);

/// The sockets.
pub(crate) struct Sockets<R: Runtime> {
    bound: BTreeMap<SocketId, Bound<R::Udp>>,
    inbox: Inbox,
    /// Where the last batch ended for want of room: the next one begins after it.
    resume_after: Option<SocketId>,
}

struct Bound<U> {
    io: U,
    backlog: VecDeque<Transmit>,
    errors: u32,
    /// When it is closed, whatever still waits.
    closing: Option<Instant>,
}

impl<R: Runtime> Sockets<R> {
    pub(crate) fn new() -> Self {
        Self { bound: BTreeMap::new(), inbox: Inbox::new(), resume_after: None }
    }

    /// Binds a socket, and tells what came of it.
    pub(crate) fn bind(&mut self, runtime: &R, socket: SocketId, addr: SocketAddr) -> Report {
        let bound = runtime.bind_udp(addr).and_then(|io| Ok((io.local_addr()?, io)));
        match bound {
            Ok((local, io)) => {
                let bound = Bound { io, backlog: VecDeque::new(), errors: 0, closing: None };
                self.bound.insert(socket, bound);
                Report::UdpBound { socket, local }
            }
            Err(error) => Report::UdpFailed { socket, error: error.to_string() },
        }
    }

    /// Closes a socket once what waits for it is sent.
    pub(crate) fn close(&mut self, socket: SocketId, now: Instant) {
        if let Some(bound) = self.bound.get_mut(&socket) {
            bound.closing = Some(now + LINGER);
            if bound.backlog.is_empty() {
                self.bound.remove(&socket);
            }
        }
    }

    /// Whether nothing waits to be sent.
    pub(crate) fn is_flushed(&self) -> bool {
        self.bound.values().all(|bound| bound.backlog.is_empty())
    }

    /// When a closed socket is given up.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.bound.values().filter_map(|bound| bound.closing).min()
    }

    /// Receives a batch from all sockets. `true`: there may be more.
    pub(crate) fn receive(
        &mut self,
        cx: &mut Context<'_>,
        counters: &Counters,
        reports: &mut Vec<Report>,
    ) -> bool {
        self.inbox.clear();
        let split = self.resume_after.take();
        let after = |id: &SocketId| split.is_some_and(|split| *id > split);
        let mut broken = Vec::new();
        for first_part in [true, false] {
            for (&id, bound) in &mut self.bound {
                if after(&id) != first_part {
                    continue;
                }
                match bound.receive(cx, id, &mut self.inbox, counters) {
                    Ok(false) => {}
                    Ok(true) => {
                        self.resume_after = Some(id);
                        break;
                    }
                    Err(error) => broken.push((id, error.to_string())),
                }
            }
            if self.resume_after.is_some() {
                break;
            }
        }
        for (socket, error) in broken {
            self.bound.remove(&socket);
            reports.push(Report::UdpFailed { socket, error });
        }
        self.resume_after.is_some()
    }

    /// What the last batch has.
    pub(crate) fn received(&self) -> impl Iterator<Item = Datagram<'_>> {
        self.inbox.datagrams()
    }

    /// Sends what waits for sockets that were full, and gives up sockets that were closed.
    pub(crate) fn flush(&mut self, cx: &mut Context<'_>, now: Instant, counters: &Counters) {
        self.bound.retain(|_, bound| {
            bound.flush(cx, counters);
            let given_up = bound.closing.is_some_and(|limit| limit <= now);
            if given_up {
                bound.backlog.iter().for_each(|_| count(&counters.dropped));
            }
            !(given_up || bound.closing.is_some() && bound.backlog.is_empty())
        });
    }

    /// Sends a datagram, or lets it wait until its socket can.
    pub(crate) fn send(&mut self, cx: &mut Context<'_>, transmit: Transmit, counters: &Counters) {
        match self.bound.get_mut(&transmit.socket) {
            Some(bound) if bound.backlog.is_empty() => {
                if bound.send(cx, &transmit, counters).is_pending() {
                    bound.backlog.push_back(transmit);
                }
            }
            Some(bound) if bound.backlog.len() < MAX_BACKLOG => bound.backlog.push_back(transmit),
            _ => count(&counters.dropped),
        }
    }
}

impl<U: UdpSocket> Bound<U> {
    /// Receives until there is nothing more (`false`) or no more room (`true`).
    fn receive(
        &mut self,
        cx: &mut Context<'_>,
        id: SocketId,
        inbox: &mut Inbox,
        counters: &Counters,
    ) -> io::Result<bool> {
        let mut passed_over = 0;
        while let Some(slot) = inbox.slot().filter(|_| passed_over < BATCH) {
            match self.io.poll_recv(cx, slot) {
                Poll::Pending => return Ok(false),
                // What fills its slot was probably cut off.
                Poll::Ready(Ok((length, _))) if length >= SLOT => {
                    count(&counters.oversized);
                    passed_over += 1;
                }
                Poll::Ready(Ok((length, remote))) => {
                    self.errors = 0;
                    inbox.filled.push((id, remote, length));
                }
                Poll::Ready(Err(error)) => {
                    count(&counters.receive_errors);
                    passed_over += 1;
                    if !is_about_earlier(&error) {
                        self.errors += 1;
                        if self.errors >= MAX_ERRORS {
                            return Err(error);
                        }
                    }
                }
            }
        }
        Ok(true)
    }

    fn flush(&mut self, cx: &mut Context<'_>, counters: &Counters) {
        let mut backlog = mem::take(&mut self.backlog);
        while backlog.front().is_some_and(|next| self.send(cx, next, counters).is_ready()) {
            backlog.pop_front();
        }
        self.backlog = backlog;
    }

    fn send(&mut self, cx: &mut Context<'_>, transmit: &Transmit, counters: &Counters) -> Poll<()> {
        self.io.poll_send(cx, transmit.remote, &transmit.payload).map(|result| {
            if let Err(error) = result {
                count(&counters.send_errors);
                tracing::trace!(socket = %transmit.socket, %error, "a datagram could not be sent");
            }
        })
    }
}

/// Whether an error of receiving tells what became of a datagram sent earlier (ICMP), and nothing of
/// the socket.
fn is_about_earlier(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionReset
            | ErrorKind::ConnectionRefused
            | ErrorKind::ConnectionAborted
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
            | ErrorKind::Interrupted
            | ErrorKind::WouldBlock
    )
}

/// Received datagrams on their way to the machine, in one buffer that is used again and again.
struct Inbox {
    buffer: Box<[u8]>,
    filled: Vec<(SocketId, SocketAddr, usize)>,
}

impl Inbox {
    fn new() -> Self {
        Self { buffer: vec![0; BATCH * SLOT].into(), filled: Vec::with_capacity(BATCH) }
    }

    fn clear(&mut self) {
        self.filled.clear();
    }

    /// The room for the next datagram.
    fn slot(&mut self) -> Option<&mut [u8]> {
        self.buffer.chunks_exact_mut(SLOT).nth(self.filled.len())
    }

    fn datagrams(&self) -> impl Iterator<Item = Datagram<'_>> {
        self.filled.iter().zip(self.buffer.chunks_exact(SLOT)).map(
            |(&(socket, remote, length), slot)| Datagram {
                socket,
                remote,
                payload: slot.get(..length).unwrap_or_default(),
            },
        )
    }
}
