//! UDP sockets of the world: what comes, and what becomes of what is sent, is as a test says.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::task::{Context, Poll, Waker};

use super::World;
use crate::runtime::{Received, UdpSocket};

/// One UDP socket as a test sees it.
#[derive(Default)]
pub(crate) struct Udp {
    /// What is received next.
    pub(crate) incoming: VecDeque<io::Result<(SocketAddr, Vec<u8>)>>,
    /// What was sent.
    pub(crate) sent: Vec<Vec<u8>>,
    /// Sending waits.
    pub(crate) full: bool,
    /// Sending fails.
    pub(crate) refuses: bool,
    /// Sending waits after so many datagrams more.
    pub(crate) room: Option<usize>,
    /// How many datagrams are taken at once; none or one: it cannot.
    pub(crate) segments: usize,
    /// What the device behind it thinks of that: sending several at once fails.
    pub(crate) refuses_segments: bool,
    /// How many datagrams the calls that tried to send had, taken or not.
    pub(crate) calls: Vec<usize>,
    /// What is received can be coalesced.
    pub(crate) coalesces: bool,
    /// What is received is coalesced.
    pub(crate) coalesced: bool,
    pub(super) reader: Option<Waker>,
    pub(super) writer: Option<Waker>,
}

pub(crate) struct Bound {
    pub(super) world: World,
    pub(super) addr: SocketAddr,
}

impl UdpSocket for Bound {
    fn poll_recv(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<(usize, SocketAddr)>> {
        let mut inner = self.world.inner();
        let udp = inner.udp.get_mut(&self.addr).unwrap();
        assert!(!udp.coalesced, "what is coalesced was to be read one by one");
        let Some(next) = udp.incoming.pop_front() else {
            udp.reader = Some(cx.waker().clone());
            return Poll::Pending;
        };
        Poll::Ready(next.map(|(remote, payload)| {
            // What is too long is cut, as systems do.
            let length = payload.len().min(buffer.len());
            buffer[..length].copy_from_slice(&payload[..length]);
            (length, remote)
        }))
    }

    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        remote: SocketAddr,
        payload: &[u8],
    ) -> Poll<io::Result<()>> {
        self.send(cx, remote, &[payload], false)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.addr)
    }

    fn max_segments(&mut self) -> usize {
        self.world.inner().udp[&self.addr].segments.max(1)
    }

    fn poll_send_segments(
        &mut self,
        cx: &mut Context<'_>,
        remote: SocketAddr,
        segment: usize,
        payload: &[u8],
    ) -> Poll<io::Result<()>> {
        let datagrams: Vec<_> = payload.chunks(segment).collect();
        let (segments, refuses) = {
            let inner = self.world.inner();
            let udp = &inner.udp[&self.addr];
            (udp.segments, udp.refuses_segments)
        };
        assert!((2..=segments).contains(&datagrams.len()) && payload.len() <= 65_507);
        self.send(cx, remote, &datagrams, refuses)
    }

    fn coalesce(&mut self) -> bool {
        let mut inner = self.world.inner();
        let udp = inner.udp.get_mut(&self.addr).unwrap();
        udp.coalesced = udp.coalesces;
        udp.coalesced
    }

    fn poll_recv_coalesced(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<Received>> {
        assert!(buffer.len() >= 65_535, "a train would be cut");
        let mut inner = self.world.inner();
        let udp = inner.udp.get_mut(&self.addr).unwrap();
        assert!(udp.coalesced, "what is not coalesced");
        let Some(first) = udp.incoming.pop_front() else {
            udp.reader = Some(cx.waker().clone());
            return Poll::Pending;
        };
        let (remote, mut joined) = first?;
        let segment = joined.len();
        // Those of one sender and size, and a shorter one at the end.
        let mut whole = segment > 0;
        while let Some(Ok((from, next))) = udp.incoming.front().filter(|_| whole) {
            let train = joined.len() + next.len() <= 65_507 && joined.len() / segment < 64;
            if !train || *from != remote || next.is_empty() || next.len() > segment {
                break;
            }
            whole = next.len() == segment;
            joined.extend_from_slice(next);
            udp.incoming.pop_front();
        }
        buffer[..joined.len()].copy_from_slice(&joined);
        Poll::Ready(Ok(Received { remote, length: joined.len(), segment }))
    }
}

impl Bound {
    /// Sends all of these or none.
    fn send(
        &self,
        cx: &Context<'_>,
        remote: SocketAddr,
        these: &[&[u8]],
        refuses: bool,
    ) -> Poll<io::Result<()>> {
        let mut inner = self.world.inner();
        let udp = inner.udp.get_mut(&self.addr).unwrap();
        if udp.full || udp.room.is_some_and(|room| room < these.len()) {
            udp.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        udp.calls.push(these.len());
        if refuses {
            // EIO: what Linux says of a device that cannot segment.
            return Poll::Ready(Err(io::Error::from_raw_os_error(5)));
        }
        if udp.refuses {
            return Poll::Ready(Err(ErrorKind::NetworkUnreachable.into()));
        }
        udp.room = udp.room.map(|room| room - these.len());
        let these = these.iter().map(|payload| payload.to_vec());
        // To nobody here: a test wants to see it.
        let Some(receiver) = inner.udp.get_mut(&remote) else {
            inner.udp.get_mut(&self.addr).unwrap().sent.extend(these);
            return Poll::Ready(Ok(()));
        };
        receiver.incoming.extend(these.map(|payload| Ok((self.addr, payload))));
        let reader = receiver.reader.take();
        drop(inner);
        if let Some(reader) = reader {
            reader.wake();
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        let mut inner = self.world.inner();
        if let Some(udp) = inner.udp.remove(&self.addr) {
            inner.sent_by_closed.extend(udp.sent);
        }
    }
}
