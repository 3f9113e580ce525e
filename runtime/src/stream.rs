//! A byte stream as TLS and WebSocket machines want it: `Read` and `Write` that say `WouldBlock`,
//! plain or encrypted. The waker of the task that polls is kept beside the stream, since `Read` and
//! `Write` take no context: [`Stream::attend`] sets it before every use.

use std::io::{self, ErrorKind, Read, Write};
use std::task::{Context, Poll, Waker};

use crate::runtime::TcpStream;
use crate::tls::Session;

/// A poll-based stream seen as a non-blocking one.
struct Bridge<T> {
    io: T,
    waker: Waker,
    /// What was read before the bridge was built, and is read first.
    ahead: Vec<u8>,
}

impl<T: TcpStream> Read for Bridge<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.ahead.is_empty() {
            let count = self.ahead.as_slice().read(buffer)?;
            self.ahead.drain(..count);
            return Ok(count);
        }
        or_would_block(self.io.poll_read(&mut Context::from_waker(&self.waker), buffer))
    }
}

impl<T: TcpStream> Write for Bridge<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        or_would_block(self.io.poll_write(&mut Context::from_waker(&self.waker), bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn or_would_block<V>(poll: Poll<io::Result<V>>) -> io::Result<V> {
    match poll {
        Poll::Ready(result) => result,
        Poll::Pending => Err(ErrorKind::WouldBlock.into()),
    }
}

/// Turns the non-blocking convention back into the polling one.
pub(crate) fn or_pending<V>(result: io::Result<V>) -> Poll<io::Result<V>> {
    match result {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Poll::Pending,
        result => Poll::Ready(result),
    }
}

/// A plain or encrypted byte stream.
pub(crate) struct Stream<T> {
    bridge: Bridge<T>,
    tls: Option<Box<Session>>,
}

impl<T: TcpStream> Stream<T> {
    /// `io` as it is, or inside the TLS session, whose handshake happens with the first use.
    pub(crate) fn new(io: T, tls: Option<Session>) -> Self {
        Self::partially_read(io, Vec::new(), tls)
    }

    /// The same, where `ahead` has been read from `io` already.
    pub(crate) fn partially_read(io: T, ahead: Vec<u8>, tls: Option<Session>) -> Self {
        let bridge = Bridge { io, waker: Waker::noop().clone(), ahead };
        Self { bridge, tls: tls.map(Box::new) }
    }

    /// Makes the current task the one that is woken when a later `WouldBlock` is over.
    pub(crate) fn attend(&mut self, cx: &Context<'_>) {
        self.bridge.waker.clone_from(cx.waker());
    }

    /// Reads some bytes; 0 is the end.
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.attend(cx);
        or_pending(self.read(buffer))
    }

    /// Writes what is left of `bytes` from `*written` on.
    pub(crate) fn poll_write_all(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
        written: &mut usize,
    ) -> Poll<io::Result<()>> {
        self.attend(cx);
        while let Some(rest) = bytes.get(*written..).filter(|rest| !rest.is_empty()) {
            match self.write(rest) {
                Ok(0) => return Poll::Ready(Err(ErrorKind::WriteZero.into())),
                Ok(count) => *written += count,
                result => return or_pending(result.map(drop)),
            }
        }
        or_pending(self.flush())
    }

    /// Says goodbye (close_notify, if encrypted) and closes the writing half.
    pub(crate) fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.attend(cx);
        if let Some(tls) = &mut self.tls {
            tls.close();
            match or_pending(tls.push(&mut self.bridge)) {
                Poll::Ready(Ok(())) => {}
                pending_or_broken => return pending_or_broken,
            }
        }
        self.bridge.io.poll_close(cx)
    }
}

impl<T: TcpStream> Read for Stream<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.tls {
            None => self.bridge.read(buffer),
            Some(tls) => tls.read(&mut self.bridge, buffer),
        }
    }
}

impl<T: TcpStream> Write for Stream<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.tls {
            None => self.bridge.write(bytes),
            Some(tls) => tls.write(&mut self.bridge, bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.tls {
            None => Ok(()),
            Some(tls) => tls.push(&mut self.bridge),
        }
    }
}
