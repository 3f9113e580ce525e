//! A blocking client: a WebSocket, or bytes.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};
use tungstenite::client::IntoClientRequest;
use tungstenite::protocol::CloseFrame;
use tungstenite::{Message, WebSocket};

/// The guard against a server that does not answer. None takes this long.
pub(crate) const GUARD: Duration = Duration::from_secs(20);

pub(crate) fn connect(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(GUARD)).unwrap();
    stream.set_write_timeout(Some(GUARD)).unwrap();
    stream
}

/// Sends `request` and reads to the end: head and body of the answer.
pub(crate) fn exchange(mut stream: impl Read + Write, request: &[u8]) -> (String, Vec<u8>) {
    stream.write_all(request).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end =
        answer.windows(4).position(|four| four == b"\r\n\r\n").map_or(answer.len(), |n| n + 4);
    let body = answer.split_off(end);
    (String::from_utf8(answer).unwrap(), body)
}

/// A WebSocket, as one peer uses it.
pub(crate) struct Client<S: Read + Write> {
    pub(crate) socket: WebSocket<S>,
    next_id: u64,
}

impl Client<TcpStream> {
    /// Opens a WebSocket in `room`.
    pub(crate) fn open(addr: SocketAddr, room: &str) -> Self {
        Self::over(connect(addr), &format!("ws://{addr}{room}"))
    }

    /// Opens one and announces `id`.
    pub(crate) fn join(addr: SocketAddr, room: &str, id: &str) -> Self {
        let mut client = Self::open(addr, room);
        let result = client.announce(id);
        assert_eq!(result["result"]["status"], "registered", "{result}");
        client
    }
}

impl<S: Read + Write> Client<S> {
    pub(crate) fn over(stream: S, url: &str) -> Self {
        let request = url.into_client_request().unwrap();
        let socket = match tungstenite::client(request, stream) {
            Ok((socket, _)) => socket,
            Err(error) => panic!("no WebSocket: {error}"),
        };
        Self { socket, next_id: 1 }
    }

    pub(crate) fn send(&mut self, message: &Value) {
        self.socket.send(Message::text(message.to_string())).unwrap();
    }

    pub(crate) fn notify(&mut self, method: &str, params: Value) {
        self.send(&json!({"jsonrpc": "2.0", "method": method, "params": params}));
    }

    /// Sends a request and gives the answer to it; what comes before it must not.
    pub(crate) fn request(&mut self, method: &str, params: Value) -> Value {
        let id = self.next_id;
        self.next_id += 1;
        self.send(&json!({"jsonrpc": "2.0", "method": method, "params": params, "id": id}));
        let answer = self.receive();
        assert_eq!(answer["id"], id, "{answer}");
        answer
    }

    pub(crate) fn announce(&mut self, id: &str) -> Value {
        self.request("peer.announce", json!({"peer_id": id, "capabilities": ["audio", "data"]}))
    }

    /// The next text.
    pub(crate) fn receive(&mut self) -> Value {
        loop {
            match self.socket.read().unwrap() {
                Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// The next text, which has to be this notification: its params.
    pub(crate) fn expect(&mut self, method: &str) -> Value {
        let message = self.receive();
        assert_eq!(message["method"], method, "{message}");
        message["params"].clone()
    }

    /// Reads until the close frame.
    pub(crate) fn closed(&mut self) -> Option<CloseFrame> {
        loop {
            if let Message::Close(frame) = self.socket.read().unwrap() {
                return frame;
            }
        }
    }
}
