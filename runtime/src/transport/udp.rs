//! The UDP sockets of one mesh: batches of datagrams in and out, singly or in trains, and what waits for a
//! socket that is full.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use rtcmesh_core::id::SocketId;
use rtcmesh_core::net::{Datagram, Transmit};

use crate::runtime::{Received, Runtime, UdpSocket};
use crate::transport::report::Report;
use crate::transport::shared::{Counters, count};

/// Datagrams that are received before the machine is given them. The first that comes is given at once: to look whether
/// there are more is a call of the system, and the answer to a single datagram shall not wait for it.
const BATCH: usize = 32;
/// The room for each of them: WebRTC keeps below the path's 1,500 bytes.
const SLOT: usize = 2048;
/// The longest payload of UDP over IPv6 and over IPv4 (RFC 768, 8200 and 791: 65,535 less the headers).
const MAX_DATAGRAM: usize = 65_535;
const MAX_TRAIN: usize = 65_507;
/// Room for a round's datagrams one by one, or for coalesced ones after them.
const INBOX: usize = 2 * 65_536;
/// Larger ones are not joined: where one is above the path's size, the system refuses the whole train. What
/// fits 1,500 bytes of Ethernet with the headers of IPv6 and UDP.
const MAX_SEGMENT: usize = 1_452;
/// Of how many datagrams it is looked whether they come in trains, and how many of them have to follow one of
/// the same sender and size for coalescing to pay: it makes such 0.33 µs cheaper and others 0.5 µs dearer (see
/// [`SegmentOffload`](crate::SegmentOffload)).
const WATCHED: u16 = 256;
const PAYS: u16 = 192;
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
    /// Datagrams that are sent at once, one after the other.
    joined: Vec<u8>,
    /// Where the last batch ended for want of room: the next one begins after it.
    resume_after: Option<SocketId>,
}

struct Bound<U> {
    io: U,
    /// What is still to be sent.
    backlog: VecDeque<Transmit>,
    /// It could take no more in this round.
    full: bool,
    /// It was not found to refuse datagrams that are sent at once.
    joins: bool,
    trains: Trains,
    errors: u32,
    /// When it is closed, whatever still waits.
    closing: Option<Instant>,
}

/// How datagrams are received.
enum Trains {
    /// One by one, and how many of the latest followed one of the same sender and size.
    Watched { seen: u16, following: u16 },
    /// One by one, since the socket cannot do otherwise.
    Single,
    /// By the train.
    Coalesced,
}

impl<R: Runtime> Sockets<R> {
    pub(crate) fn new() -> Self {
        let (inbox, joined) = (Inbox::new(), Vec::new());
        Self { bound: BTreeMap::new(), inbox, joined, resume_after: None }
    }

    /// Binds a socket, and tells what came of it.
    pub(crate) fn bind(&mut self, runtime: &R, socket: SocketId, addr: SocketAddr) -> Report {
        let bound = runtime.bind_udp(addr).and_then(|io| Ok((io.local_addr()?, io)));
        match bound {
            Ok((local, io)) => {
                self.bound.insert(socket, Bound::new(io));
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
        let more = self.resume_after.is_some();
        self.inbox.limit = if more { BATCH } else { 1 };
        more
    }

    /// Whether the last batch is empty.
    pub(crate) fn is_quiet(&self) -> bool {
        self.inbox.filled.is_empty()
    }

    /// What the last batch has.
    pub(crate) fn received(&self) -> impl Iterator<Item = Datagram<'_>> {
        self.inbox.datagrams()
    }

    /// Sends what the machine wants sent and what waits for sockets that were full, and gives up sockets
    /// that were closed.
    pub(crate) fn send(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        transmits: &mut Vec<Transmit>,
        counters: &Counters,
    ) {
        for bound in self.bound.values_mut() {
            bound.full = false;
            bound.flush(cx, &mut self.joined, counters);
        }
        for transmit in transmits.drain(..) {
            match self.bound.get_mut(&transmit.socket) {
                Some(bound) if bound.backlog.len() < MAX_BACKLOG => {
                    bound.backlog.push_back(transmit);
                }
                _ => count(&counters.dropped),
            }
        }
        self.bound.retain(|_, bound| {
            if !bound.full {
                bound.flush(cx, &mut self.joined, counters);
            }
            let given_up = bound.closing.is_some_and(|limit| limit <= now);
            if given_up {
                bound.backlog.iter().for_each(|_| count(&counters.dropped));
            }
            !(given_up || bound.closing.is_some() && bound.backlog.is_empty())
        });
    }
}

impl<U: UdpSocket> Bound<U> {
    fn new(io: U) -> Self {
        Self {
            io,
            backlog: VecDeque::new(),
            full: false,
            joins: true,
            trains: Trains::Watched { seen: 0, following: 0 },
            errors: 0,
            closing: None,
        }
    }

    /// Receives until there is nothing more (`false`) or no more room (`true`).
    fn receive(
        &mut self,
        cx: &mut Context<'_>,
        id: SocketId,
        inbox: &mut Inbox,
        counters: &Counters,
    ) -> io::Result<bool> {
        let coalesces = matches!(self.trains, Trains::Coalesced);
        let room = if coalesces { MAX_DATAGRAM } else { SLOT };
        let mut passed_over = 0;
        while let Some(buffer) = inbox.room(room).filter(|_| passed_over < BATCH) {
            let received = if coalesces {
                self.io.poll_recv_coalesced(cx, buffer)
            } else {
                self.io.poll_recv(cx, buffer).map_ok(|(length, remote)| Received {
                    remote,
                    length,
                    segment: length,
                })
            };
            match received {
                Poll::Pending => return Ok(false),
                // What fills its slot was probably cut off.
                Poll::Ready(Ok(received)) if received.length.min(received.segment) >= SLOT => {
                    let train = received.length.div_ceil(received.segment);
                    (0..train).for_each(|_| count(&counters.oversized));
                    passed_over += 1;
                }
                Poll::Ready(Ok(received)) => {
                    self.errors = 0;
                    let follows = inbox.push(id, received);
                    if self.trains.watch(follows) {
                        self.coalesce();
                        // It may be read in another way from now on.
                        return Ok(true);
                    }
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

    fn coalesce(&mut self) {
        self.trains = if self.io.coalesce() { Trains::Coalesced } else { Trains::Single };
    }

    /// Sends until nothing waits, or the socket is full.
    fn flush(&mut self, cx: &mut Context<'_>, joined: &mut Vec<u8>, counters: &Counters) {
        loop {
            let train = self.train();
            let Some(first) = self.backlog.front() else { return };
            let mut refused = false;
            if train > 1 {
                joined.clear();
                for transmit in self.backlog.iter().take(train) {
                    joined.extend_from_slice(&transmit.payload);
                }
                let segment = first.payload.len();
                match self.io.poll_send_segments(cx, first.remote, segment, joined) {
                    Poll::Pending => {
                        self.full = true;
                        return;
                    }
                    Poll::Ready(Ok(())) => {
                        self.backlog.drain(..train);
                        continue;
                    }
                    // Any other error is of the moment: trains are tried again.
                    Poll::Ready(Err(error)) => refused = is_refusal(&error),
                }
            }
            match self.io.poll_send(cx, first.remote, &first.payload) {
                Poll::Pending => {
                    self.full = true;
                    return;
                }
                // One by one they pass.
                Poll::Ready(Ok(())) => self.joins &= !refused,
                Poll::Ready(Err(error)) => {
                    count(&counters.send_errors);
                    tracing::trace!(socket = %first.socket, %error, "a datagram could not be sent");
                }
            }
            self.backlog.pop_front();
        }
    }

    /// How many of what waits can be sent at once.
    fn train(&mut self) -> usize {
        let mut waiting = self.backlog.iter();
        let Some(first) = waiting.next().filter(|_| self.joins) else { return 1 };
        let segment = first.payload.len();
        if segment > MAX_SEGMENT {
            return 1;
        }
        let (mut count, mut total, mut ended) = (1, segment, false);
        for next in waiting {
            let size = next.payload.len();
            let fits = !ended
                && next.remote == first.remote
                && (1..=segment).contains(&size)
                && total + size <= MAX_TRAIN;
            // Asked last: for it the socket may have to try.
            if !fits || count >= self.io.max_segments() {
                break;
            }
            count += 1;
            total += size;
            ended = size < segment;
        }
        count
    }
}

impl Trains {
    /// Learns of a datagram, and whether it follows one of its kind. `true`: to coalesce would pay.
    fn watch(&mut self, follows: bool) -> bool {
        let Self::Watched { seen, following } = self else { return false };
        *seen += 1;
        *following += u16::from(follows);
        if *seen < WATCHED {
            return false;
        }
        let pays = *following >= PAYS;
        (*seen, *following) = (0, 0);
        pays
    }
}

/// The number of `EIO`.
const EIO: i32 = 5;

/// Whether an error of sending a train may mean that the socket, its path or its device takes none: `EIO` and `EINVAL` on Linux
/// (udp(7), `UDP_SEGMENT`), and an adapter's own word.
fn is_refusal(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::InvalidInput)
        || error.raw_os_error() == Some(EIO)
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
    )
}

/// Received datagrams on their way to the machine, in one buffer that is used again and again.
struct Inbox {
    buffer: Box<[u8]>,
    used: usize,
    filled: Vec<Filled>,
    /// How many it takes.
    limit: usize,
    /// The latest datagram, if it came with those of this batch: its socket, sender and length.
    last: Option<(SocketId, SocketAddr, usize)>,
}

/// Where a datagram is in the buffer.
struct Filled {
    socket: SocketId,
    remote: SocketAddr,
    start: usize,
    length: usize,
}

impl Inbox {
    fn new() -> Self {
        let (buffer, filled) = (vec![0; INBOX].into(), Vec::with_capacity(BATCH));
        Self { buffer, used: 0, filled, limit: 1, last: None }
    }

    fn clear(&mut self) {
        self.filled.clear();
        self.used = 0;
        if self.limit == 1 {
            self.last = None;
        }
    }

    /// Room of this size for what is received next.
    fn room(&mut self, size: usize) -> Option<&mut [u8]> {
        let end = self.used + size;
        if self.filled.len() < self.limit { self.buffer.get_mut(self.used..end) } else { None }
    }

    /// Takes what was received into the room. `true`: it is of the same sender and size as the one before.
    fn push(&mut self, socket: SocketId, received: Received) -> bool {
        let Received { remote, length, segment } = received;
        let this = Some((socket, remote, length));
        let follows = self.last == this;
        self.last = this;
        let (start, end) = (self.used, self.used + length);
        let mut at = start;
        loop {
            let length = segment.max(1).min(end - at);
            self.filled.push(Filled { socket, remote, start: at, length });
            at += length;
            if at >= end {
                break;
            }
        }
        self.used = end;
        follows
    }

    fn datagrams(&self) -> impl Iterator<Item = Datagram<'_>> {
        self.filled.iter().map(|filled| Datagram {
            socket: filled.socket,
            remote: filled.remote,
            payload: self
                .buffer
                .get(filled.start..)
                .and_then(|rest| rest.get(..filled.length))
                .unwrap_or_default(),
        })
    }
}
