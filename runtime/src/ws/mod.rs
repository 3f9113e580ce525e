//! A WebSocket (RFC 6455) over a byte stream, as a thing to poll: the machine is tungstenite's.

use std::fmt;
use std::io::{self, ErrorKind};
use std::task::{Context, Poll, ready};

use tungstenite::error::CapacityError;
use tungstenite::handshake::client::ClientHandshake;
use tungstenite::handshake::{HandshakeError, MidHandshake};
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{CloseFrame, Message, Role, WebSocketConfig};
use tungstenite::{Error, Utf8Bytes, WebSocket};

use crate::runtime::TcpStream;
use crate::stream::Stream;

/// The largest message that the signaling contract allows, in bytes.
const CONTRACT_MESSAGE: usize = 1_000_000;
/// The largest message that is read: above the contract's limit, so that the signaling machine
/// can answer a message that is somewhat too large with an error instead of a cut connection.
pub(crate) const MAX_MESSAGE: usize = CONTRACT_MESSAGE + 256 * 1024;
/// Bytes that are read from the stream at once.
const READ_BUFFER: usize = 4 * 1024;
/// Bytes that are gathered before they are written without being asked.
const WRITE_BUFFER: usize = 16 * 1024;
/// The bound of what is accepted for writing and not yet written: the largest message (one sent by us
/// may be larger than what we read, by the members that the server adds), and control frames.
const MAX_WRITE_BUFFER: usize = 2 * MAX_MESSAGE;

/// How many control frames are read on the way to a message before others have their turn.
const MAX_CONTROL_FRAMES: usize = 32;

fn config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_write_buffer_size(MAX_WRITE_BUFFER)
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE))
}

/// What came in.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Incoming {
    /// A text message.
    Text(Utf8Bytes),
    /// A binary message: its content has no meaning in signaling.
    Binary,
    /// The answer to a ping.
    Pong,
    /// A close frame, with its code if it had one. The end of the stream follows.
    Close(Option<u16>),
}

/// How a WebSocket ended.
#[derive(Debug)]
pub(crate) enum Broken {
    /// In order: close frames went both ways.
    Closed,
    /// The other side broke the protocol or a limit: this close code tells it.
    Protocol(u16, String),
    /// The stream ended or failed.
    Stream(String),
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("closed"),
            Self::Protocol(code, what) => write!(f, "{what} (close code {code})"),
            Self::Stream(what) => f.write_str(what),
        }
    }
}

impl From<Error> for Broken {
    fn from(error: Error) -> Self {
        match error {
            Error::ConnectionClosed | Error::AlreadyClosed => Self::Closed,
            Error::Io(error) => Self::Stream(error.to_string()),
            Error::Capacity(CapacityError::MessageTooLong { .. }) => {
                Self::Protocol(CloseCode::Size.into(), error.to_string())
            }
            Error::Utf8(_) => Self::Protocol(CloseCode::Invalid.into(), error.to_string()),
            Error::Protocol(tungstenite::error::ProtocolError::ResetWithoutClosingHandshake) => {
                Self::Stream(error.to_string())
            }
            Error::Protocol(_) => Self::Protocol(CloseCode::Protocol.into(), error.to_string()),
            error => Self::Stream(error.to_string()),
        }
    }
}

/// An open WebSocket.
pub(crate) struct Socket<T> {
    inner: WebSocket<Stream<T>>,
    heard: u64,
}

impl<T: TcpStream> Socket<T> {
    /// The server's side of a stream whose HTTP upgrade has been answered; `rest` was read after it.
    pub(crate) fn accepted(stream: Stream<T>, rest: Vec<u8>) -> Self {
        let inner = WebSocket::from_partially_read(stream, rest, Role::Server, Some(config()));
        Self { inner, heard: 0 }
    }

    /// How many messages and control frames have come in: one that stands still is silent.
    pub(crate) fn heard(&self) -> u64 {
        self.heard
    }

    /// The next message. Pings are answered on the way.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Incoming, Broken>> {
        self.inner.get_mut().attend(cx);
        for _ in 0..MAX_CONTROL_FRAMES {
            let message = ready!(or_pending(self.inner.read()))?;
            self.heard += 1;
            // The answers to pings and close frames, which reading queues.
            if let Poll::Ready(result) = or_pending(self.inner.flush()) {
                match result {
                    // Told again by the next read, after the message in hand.
                    Ok(()) | Err(Error::ConnectionClosed | Error::AlreadyClosed) => {}
                    Err(error) => return Poll::Ready(Err(error.into())),
                }
            }
            return Poll::Ready(Ok(match message {
                Message::Text(text) => Incoming::Text(text),
                Message::Binary(_) => Incoming::Binary,
                Message::Pong(_) => Incoming::Pong,
                Message::Close(frame) => Incoming::Close(frame.map(|frame| frame.code.into())),
                Message::Ping(_) | Message::Frame(_) => continue,
            }));
        }
        // Somebody sends nothing but pings, as fast as we read: the others want their turn.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Ready once everything accepted so far has been written.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        self.inner.get_mut().attend(cx);
        or_pending(self.inner.flush()).map_err(Broken::from)
    }

    /// Accepts a text for writing. To be called after [`Socket::poll_flush`] was ready: the buffer then
    /// holds what a few calls give.
    pub(crate) fn send_text(&mut self, text: impl Into<Utf8Bytes>) -> Result<(), Broken> {
        accept(self.inner.write(Message::Text(text.into())))
    }

    /// Accepts a ping for writing.
    pub(crate) fn send_ping(&mut self) -> Result<(), Broken> {
        accept(self.inner.write(Message::Ping(Vec::new().into())))
    }

    /// Accepts a close frame for writing, after which nothing else can be sent.
    pub(crate) fn send_close(&mut self, code: u16, reason: &str) -> Result<(), Broken> {
        // A close frame has at most 125 bytes, two of them the code (RFC 6455, section 5.5).
        let end = (0..=reason.len().min(123)).rev().find(|end| reason.is_char_boundary(*end));
        let reason = reason.get(..end.unwrap_or(0)).unwrap_or_default();
        let frame = CloseFrame { code: code.into(), reason: reason.into() };
        accept(self.inner.close(Some(frame)))
    }

    /// Reads what still comes and throws it away, until the end of the stream or its failure. After a
    /// close of ours that the other side has not read yet: a stream dropped with unread bytes in it is
    /// reset, and the close frame lost (RFC 9293, section 3.6.1).
    pub(crate) fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut scrap = [0; 1024];
        for _ in 0..MAX_CONTROL_FRAMES {
            match ready!(self.inner.get_mut().poll_read(cx, &mut scrap)) {
                Ok(0) | Err(_) => return Poll::Ready(()),
                Ok(_) => {}
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Closes the stream under it.
    pub(crate) fn poll_close_stream(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner.get_mut().poll_close(cx)
    }
}

/// A message that the socket did not take at once is in the buffer: it goes out with the next flush.
fn accept(result: Result<(), Error>) -> Result<(), Broken> {
    match or_pending(result) {
        Poll::Pending => Ok(()),
        Poll::Ready(result) => Ok(result?),
    }
}

fn or_pending<V>(result: Result<V, Error>) -> Poll<Result<V, Error>> {
    match result {
        Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => Poll::Pending,
        result => Poll::Ready(result),
    }
}

/// A client's opening handshake (RFC 6455, section 4.1) under way.
pub(crate) struct Opening<T: TcpStream>(Option<MidHandshake<ClientHandshake<Stream<T>>>>);

impl<T: TcpStream> Opening<T> {
    /// Starts it over `stream`, which leads to the host of `url`.
    pub(crate) fn new(stream: Stream<T>, url: &tungstenite::http::Uri) -> Result<Self, String> {
        use tungstenite::client::IntoClientRequest;
        let request = url.clone().into_client_request().map_err(|error| error.to_string())?;
        let handshake = ClientHandshake::start(stream, request, Some(config()))
            .map_err(|error| error.to_string())?;
        Ok(Self(Some(handshake)))
    }

    /// The open WebSocket, or why there is none.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Socket<T>, String>> {
        let Some(mut handshake) = self.0.take() else { return Poll::Pending };
        handshake.get_mut().get_mut().attend(cx);
        match handshake.handshake() {
            Ok((inner, _)) => Poll::Ready(Ok(Socket { inner, heard: 0 })),
            Err(HandshakeError::Interrupted(handshake)) => {
                self.0 = Some(handshake);
                Poll::Pending
            }
            Err(HandshakeError::Failure(error)) => Poll::Ready(Err(error.to_string())),
        }
    }
}

#[cfg(test)]
mod tests;
