//! One WebSocket: what comes in goes to the machine, what the machine says goes out.

use std::future::poll_fn;
use std::mem;
use std::task::{Context, Poll};
use std::time::Duration;

use super::shared::{Membership, Out};
use crate::runtime::{Runtime, Timer};
use crate::ws::{Broken, Incoming, Socket};

/// The time for the end of a WebSocket, from the wish to close it: for what was queued before, and for
/// the closing handshake.
pub(super) const FAREWELL: Duration = Duration::from_millis(1500);
/// The bytes that are taken from the outbox at once: they go into one write.
const BATCH: usize = 8 * 1024;
/// How many messages are read, and batches written, before others have their turn.
const TURN: usize = 16;

/// Serves a WebSocket to its end.
pub(super) async fn run<R: Runtime>(socket: Socket<R::Tcp>, membership: Membership<R>) {
    let mut link = Link {
        socket,
        membership,
        batch: Vec::new(),
        written: Vec::new(),
        phase: Phase::Open,
        farewell: None,
    };
    poll_fn(|cx| link.poll(cx)).await;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Messages go both ways.
    Open,
    /// A close frame is on its way: the other side's is awaited.
    Closing,
    /// The last has been said: it has to be written, and the stream closed.
    Closed,
    /// The end of the other side's stream is awaited.
    Draining,
    /// Over.
    Over,
}

struct Link<R: Runtime> {
    socket: Socket<R::Tcp>,
    membership: Membership<R>,
    batch: Vec<Out>,
    /// Lengths of texts given to the socket and not yet told to the machine as written.
    written: Vec<usize>,
    phase: Phase,
    farewell: Option<Box<R::Timer>>,
}

impl<R: Runtime> Link<R> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.phase == Phase::Open {
            self.read(cx);
            self.write(cx);
        }
        if self.phase == Phase::Closing {
            self.await_close(cx);
        }
        if self.phase == Phase::Closed
            && let Poll::Ready(flushed) = self.socket.poll_flush(cx)
        {
            // After a close frame of each side the socket says that it is closed, not that all is well.
            let _ = flushed;
            match self.socket.poll_close_stream(cx) {
                Poll::Ready(Ok(())) => self.phase = Phase::Draining,
                Poll::Ready(Err(_)) => self.phase = Phase::Over,
                Poll::Pending => {}
            }
        }
        if self.phase == Phase::Draining && self.socket.poll_drain(cx).is_ready() {
            self.phase = Phase::Over;
        }
        match (&mut self.farewell, self.phase) {
            (_, Phase::Over) => Poll::Ready(()),
            (Some(timer), _) => timer.poll(cx),
            (None, _) => Poll::Pending,
        }
    }

    fn read(&mut self, cx: &mut Context<'_>) {
        for _ in 0..TURN {
            let Poll::Ready(incoming) = self.socket.poll_next(cx) else { return };
            match incoming {
                Ok(Incoming::Text(text)) => {
                    self.membership.input(|machine, now, link| {
                        machine.handle_text(now, link, &text);
                    });
                }
                Ok(Incoming::Binary) => {
                    self.membership.input(|machine, now, link| machine.handle_binary(now, link));
                }
                Ok(Incoming::Pong) => {
                    self.membership.input(|machine, now, link| machine.handle_pong(now, link));
                }
                Ok(Incoming::Close(code)) => {
                    self.membership.end(code);
                    self.say_farewell(Phase::Closing);
                    return;
                }
                Err(broken) => {
                    self.broke(&broken);
                    return;
                }
            }
        }
        cx.waker().wake_by_ref();
    }

    fn write(&mut self, cx: &mut Context<'_>) {
        for _ in 0..TURN {
            if self.phase != Phase::Open {
                return;
            }
            let closing = match self.socket.poll_flush(cx) {
                Poll::Ready(Ok(())) => {
                    self.membership.take(cx, &mut self.written, BATCH, &mut self.batch)
                }
                Poll::Ready(Err(broken)) => return self.broke(&broken),
                Poll::Pending => self.membership.take(cx, &mut Vec::new(), 0, &mut self.batch),
            };
            if closing {
                // What is queued before the close has its time too, but no more than that.
                self.say_farewell(Phase::Open);
            }
            if self.batch.is_empty() {
                return;
            }
            let mut batch = mem::take(&mut self.batch);
            for out in batch.drain(..) {
                let accepted = match out {
                    Out::Text(text) => {
                        self.written.push(text.len());
                        self.socket.send_text(&*text)
                    }
                    Out::Ping => self.socket.send_ping(),
                    Out::Close(code, reason) => {
                        self.say_farewell(Phase::Closing);
                        self.socket.send_close(code, reason)
                    }
                };
                if let Err(broken) = accepted {
                    self.broke(&broken);
                    break;
                }
                if self.phase != Phase::Open {
                    break;
                }
            }
            batch.clear();
            self.batch = batch;
        }
        cx.waker().wake_by_ref();
    }

    /// Reads until the other side's close frame, and past it.
    fn await_close(&mut self, cx: &mut Context<'_>) {
        for _ in 0..TURN {
            match self.socket.poll_next(cx) {
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(Broken::Stream(_))) => {
                    self.phase = Phase::Over;
                    return;
                }
                Poll::Ready(Err(_)) => {
                    self.phase = Phase::Closed;
                    return;
                }
                Poll::Pending => {
                    let _ = self.socket.poll_flush(cx);
                    return;
                }
            }
        }
        cx.waker().wake_by_ref();
    }

    fn broke(&mut self, broken: &Broken) {
        tracing::debug!(link = %self.membership.name(), %broken, "a WebSocket ended");
        self.membership.end(None);
        match broken {
            Broken::Closed => self.say_farewell(Phase::Closed),
            Broken::Protocol(code, reason) => {
                // It may not be accepted any more: then the other side sees the end of the stream.
                let _ = self.socket.send_close(*code, reason);
                self.say_farewell(Phase::Closed);
            }
            Broken::Stream(_) => self.phase = Phase::Over,
        }
    }

    /// Goes on to `phase`, which ends soon.
    fn say_farewell(&mut self, phase: Phase) {
        self.phase = phase;
        if self.farewell.is_none() {
            let runtime = self.membership.shared().runtime();
            self.farewell = Some(Box::new(runtime.timer(runtime.now() + FAREWELL)));
        }
    }
}
