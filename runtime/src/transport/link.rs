//! The WebSocket links of one mesh to signaling servers, each from its opening to its end.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use rtcmesh_core::id::LinkId;

use crate::dial::dial;
use crate::runtime::Runtime;
use crate::tls::TlsOptions;
use crate::transport::report::Report;
use crate::ws::{Broken, Incoming, Socket};

/// A server pings every 20 s: one that is silent for three times that is gone, or the way to it.
const SILENCE: Duration = Duration::from_secs(60);
/// How long the close frame and what was queued before it may take, and the answer to it.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);
/// Messages that are read from a link before the machine is given them.
const READS: usize = 16;
/// Bytes of messages that go to the socket before it is flushed.
const WRITE_BATCH: usize = 16 * 1024;
/// Bytes of messages that wait for a link. The machine bounds its messages too, far below: a server
/// that takes none of them is gone.
const MAX_QUEUED: usize = 8 * 1024 * 1024;

/// The links.
pub(crate) struct Links<R: Runtime>(BTreeMap<LinkId, Link<R>>);

impl<R: Runtime> Links<R> {
    pub(crate) fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Begins to open a link.
    pub(crate) fn open(&mut self, runtime: &R, link: LinkId, url: String, tls: TlsOptions) {
        let dialing = Box::pin(dial(runtime.clone(), url, tls));
        // Opening has its own limit.
        let opened = Link {
            stage: Stage::Dialing(dialing),
            queue: VecDeque::new(),
            queued: 0,
            unflushed: false,
            heard: 0,
            limit: None,
        };
        self.0.insert(link, opened);
    }

    /// Queues a text. What is meant for a link that is gone is dropped: the machine was told, or will be.
    pub(crate) fn send(&mut self, link: LinkId, text: String, reports: &mut Vec<Report>) {
        let Some(open) = self.0.get_mut(&link) else { return };
        open.queued += text.len();
        open.queue.push_back(text);
        if open.queued > MAX_QUEUED {
            self.0.remove(&link);
            reports.push(down(link, None, "the server takes no messages".into()));
        }
    }

    /// Closes a link after what is queued. It is reported no more.
    pub(crate) fn close(&mut self, link: LinkId, code: u16, now: Instant) {
        let Some(closing) = self.0.remove(&link) else { return };
        if let Stage::Open(socket) = closing.stage {
            let stage = Stage::Closing { socket, code: Some(code) };
            let limit = Some(now + CLOSE_LIMIT);
            self.0.insert(link, Link { stage, limit, ..closing });
        }
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// When one of them is given up.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.0.values().filter_map(|link| link.limit).min()
    }

    /// Moves all of them on. `true`: there may be more to do.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        reports: &mut Vec<Report>,
    ) -> bool {
        let mut more = false;
        self.0.retain(|id, link| {
            let reads = match link.poll(cx, now, *id, reports) {
                Ok(reads) => reads,
                Err(End::Silently) => return false,
                Err(End::Down(code, reason)) => {
                    reports.push(down(*id, code, reason));
                    return false;
                }
            };
            more |= reads == Reads::More;
            true
        });
        more
    }
}

fn down(link: LinkId, code: Option<u16>, reason: String) -> Report {
    Report::LinkDown { link, code, reason }
}

struct Link<R: Runtime> {
    stage: Stage<R>,
    queue: VecDeque<String>,
    queued: usize,
    unflushed: bool,
    /// What the socket had heard at the last look.
    heard: u64,
    /// When it is given up.
    limit: Option<Instant>,
}

enum Stage<R: Runtime> {
    Dialing(Pin<Box<Dialing<R>>>),
    Open(Box<Socket<R::Tcp>>),
    /// Closed by us: `code` is in the close frame that is still to be sent.
    Closing {
        socket: Box<Socket<R::Tcp>>,
        code: Option<u16>,
    },
}

type Dialing<R> = dyn Future<Output = Result<Socket<<R as Runtime>::Tcp>, String>> + Send;

/// Whether a look at a socket saw everything that it has.
#[derive(PartialEq, Eq)]
enum Reads {
    All,
    More,
}

/// How a link ends.
enum End {
    /// Closed by us.
    Silently,
    /// Not by our wish: with the code of the other side's close frame, and the reason.
    Down(Option<u16>, String),
}

impl<R: Runtime> Link<R> {
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        id: LinkId,
        reports: &mut Vec<Report>,
    ) -> Result<Reads, End> {
        if let Stage::Dialing(dialing) = &mut self.stage {
            let Poll::Ready(result) = dialing.as_mut().poll(cx) else { return Ok(Reads::All) };
            let socket = result.map_err(|reason| End::Down(None, reason))?;
            self.stage = Stage::Open(Box::new(socket));
            self.limit = Some(now + SILENCE);
            reports.push(Report::LinkUp { link: id });
        }
        let reads = self.read(cx, id, reports)?;
        let _ = self.write(cx).map_err(|broken| self.broken(cx, broken))?;
        self.watch(now)?;
        Ok(reads)
    }

    /// Reads some messages.
    fn read(
        &mut self,
        cx: &mut Context<'_>,
        link: LinkId,
        reports: &mut Vec<Report>,
    ) -> Result<Reads, End> {
        let (socket, closing) = match &mut self.stage {
            Stage::Dialing(_) => return Ok(Reads::All),
            Stage::Open(socket) => (socket, false),
            Stage::Closing { socket, .. } => (socket, true),
        };
        for _ in 0..READS {
            let Poll::Ready(read) = socket.poll_next(cx) else { return Ok(Reads::All) };
            match read {
                Ok(Incoming::Text(text)) if !closing => {
                    reports.push(Report::LinkText { link, text });
                }
                Ok(Incoming::Text(_) | Incoming::Binary | Incoming::Pong) => {}
                Ok(Incoming::Close(code)) => {
                    // The answer went out with reading; a TLS session says goodbye too.
                    let _ = socket.poll_close_stream(cx);
                    return Err(if closing { End::Silently } else { End::by_server(code) });
                }
                Err(broken) => return Err(self.broken(cx, broken)),
            }
        }
        Ok(Reads::More)
    }

    /// Writes what is queued, and the close frame after it.
    fn write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        let (socket, code) = match &mut self.stage {
            Stage::Dialing(_) => return Poll::Ready(Ok(())),
            Stage::Open(socket) => (socket, None),
            Stage::Closing { socket, code } => (socket, Some(code)),
        };
        let mut code = code;
        loop {
            if self.unflushed {
                ready!(socket.poll_flush(cx))?;
                self.unflushed = false;
            }
            let mut accepted = 0;
            while accepted < WRITE_BATCH
                && let Some(text) = self.queue.pop_front()
            {
                accepted += text.len();
                self.unflushed = true;
                socket.send_text(text)?;
            }
            self.queued -= accepted;
            if self.queue.is_empty()
                && let Some(code) = code.as_mut().and_then(|code| code.take())
            {
                self.unflushed = true;
                socket.send_close(code, "")?;
            }
            if !self.unflushed {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Gives up where the limit has come.
    fn watch(&mut self, now: Instant) -> Result<(), End> {
        let over = self.limit.is_some_and(|limit| limit <= now);
        match &self.stage {
            Stage::Open(socket) if socket.heard() != self.heard => {
                self.heard = socket.heard();
                self.limit = Some(now + SILENCE);
                Ok(())
            }
            Stage::Open(_) if over => {
                Err(End::Down(None, format!("nothing was heard from the server for {SILENCE:?}")))
            }
            Stage::Closing { .. } if over => Err(End::Silently),
            Stage::Dialing(_) | Stage::Open(_) | Stage::Closing { .. } => Ok(()),
        }
    }

    /// The end of a socket that broke. A server that broke the protocol is told, if it still listens.
    fn broken(&mut self, cx: &mut Context<'_>, broken: Broken) -> End {
        let Stage::Open(socket) = &mut self.stage else { return End::Silently };
        if let Broken::Protocol(code, _) = &broken
            && socket.send_close(*code, "").is_ok()
        {
            let _ = socket.poll_flush(cx);
        }
        End::Down(None, broken.to_string())
    }
}

impl End {
    fn by_server(code: Option<u16>) -> Self {
        let reason = match code {
            Some(code) => format!("closed by the server with code {code}"),
            None => "closed by the server".to_owned(),
        };
        Self::Down(code, reason)
    }
}
