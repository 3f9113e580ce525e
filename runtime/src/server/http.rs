//! The little HTTP/1.1 (RFC 9112) that a signaling port speaks beside WebSocket: reading one request
//! head, deciding what it asks for, writing one response. Pure: bytes in, bytes out.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use tungstenite::error::{Error, ProtocolError};
use tungstenite::handshake::machine::TryParse;
use tungstenite::handshake::server::{Request as UpgradeRequest, create_response, write_response};

/// The largest request head that is read, in bytes.
pub(crate) const MAX_HEAD: usize = 16 * 1024;
/// The most header lines in it.
const MAX_HEADERS: usize = 100;

/// The content security policy (CSP level 3) of pages: everything from this server, except WebSockets,
/// since a page may signal elsewhere, and scripts and styles written into the page itself.
const PAGE_POLICY: &str = "default-src 'self'; script-src 'self' 'unsafe-inline' blob:; \
    style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; \
    media-src 'self' blob: mediastream:; connect-src 'self' ws: wss:; \
    base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// Which pages in browsers may open a WebSocket here, by the `Origin` that the browser states (RFC 6455,
/// section 10.2). A request without an `Origin` comes from no page, and is always allowed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origins {
    /// Any page.
    #[default]
    Any,
    /// Pages from this very server (the origin's host and port are those of the `Host` header), and
    /// those of the origins named.
    Same {
        /// Further origins, like `https://example.org`.
        also: Vec<String>,
    },
    /// Pages of these origins, like `https://example.org`.
    Listed(Vec<String>),
}

impl Origins {
    /// Whether a request with these headers may become a WebSocket.
    pub(crate) fn allow(&self, origin: Option<&str>, host: Option<&str>) -> bool {
        let Some(origin) = origin else { return true };
        let listed = |list: &[String]| {
            list.iter().any(|one| one.trim_end_matches('/').eq_ignore_ascii_case(origin))
        };
        match self {
            Self::Any => true,
            Self::Listed(list) => listed(list),
            Self::Same { also } => same_host(origin, host) || listed(also),
        }
    }
}

/// Whether the origin's host and port are those of the `Host` header; a scheme's own port may be left out.
fn same_host(origin: &str, host: Option<&str>) -> bool {
    let (Some((scheme, authority)), Some(host)) = (origin.split_once("://"), host) else {
        return false;
    };
    let default_port = if scheme.eq_ignore_ascii_case("https") { ":443" } else { ":80" };
    let plain = |text: &str| text.strip_suffix(default_port).unwrap_or(text).to_ascii_lowercase();
    plain(authority) == plain(host)
}

/// The files that a signaling server gives to browsers: what a path answers, and of which type it is.
/// The paths `/healthz` and `/metrics` are the server's own.
#[derive(Clone, Default)]
pub struct Assets(BTreeMap<Cow<'static, str>, Asset>);

#[derive(Clone)]
struct Asset {
    content_type: Cow<'static, str>,
    body: Cow<'static, [u8]>,
}

impl Assets {
    /// No file: every path but the server's own is 404.
    pub fn new() -> Self {
        Self::default()
    }

    /// Answers `path` (starting with `/`) by `body` of the media type `content_type`.
    pub fn with(
        mut self,
        path: impl Into<Cow<'static, str>>,
        content_type: impl Into<Cow<'static, str>>,
        body: impl Into<Cow<'static, [u8]>>,
    ) -> Self {
        let asset = Asset { content_type: content_type.into(), body: body.into() };
        self.0.insert(path.into(), asset);
        self
    }
}

impl fmt::Debug for Assets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// The head of a request, as far as it matters here.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Request {
    method: String,
    /// The path, without the query.
    pub(crate) path: String,
    pub(crate) host: Option<String>,
    pub(crate) origin: Option<String>,
    /// Whether it asks for a WebSocket.
    pub(crate) upgrade: bool,
    /// How many bytes the head has.
    pub(crate) length: usize,
}

/// What the bytes read so far are.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Head {
    /// The beginning of a head.
    Partial,
    /// A head.
    Complete(Request),
    /// None, and none will come of it: the status to refuse it with.
    Bad(Status),
}

/// Reads a request head from the beginning of `bytes`.
pub(crate) fn read_head(bytes: &[u8]) -> Head {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut parser = httparse::Request::new(&mut headers);
    let length = match parser.parse(bytes) {
        Ok(httparse::Status::Complete(length)) if length <= MAX_HEAD => length,
        Ok(httparse::Status::Partial) if bytes.len() < MAX_HEAD => return Head::Partial,
        Ok(_) | Err(httparse::Error::TooManyHeaders) => return Head::Bad(Status::HeadTooLarge),
        Err(_) => return Head::Bad(Status::BadRequest),
    };
    let target = parser.path.unwrap_or_default();
    let path = target.split('?').next().unwrap_or_default();
    let (Ok(host), Ok(origin)) = (single(parser.headers, "host"), single(parser.headers, "origin"))
    else {
        return Head::Bad(Status::BadRequest);
    };
    if !path.starts_with('/') {
        return Head::Bad(Status::BadRequest);
    }
    let upgrade = parser.headers.iter().any(|header| {
        header.name.eq_ignore_ascii_case("upgrade")
            && header
                .value
                .split(|b| *b == b',')
                .any(|protocol| protocol.trim_ascii().eq_ignore_ascii_case(b"websocket"))
    });
    let method = parser.method.unwrap_or_default().to_owned();
    Head::Complete(Request { upgrade, method, path: path.to_owned(), host, origin, length })
}

/// The value of a header that may stand there once at most.
fn single(headers: &[httparse::Header<'_>], name: &str) -> Result<Option<String>, ()> {
    let mut values = headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name));
    let Some(first) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(());
    }
    std::str::from_utf8(first.value).map(|value| Some(value.trim().to_owned())).map_err(drop)
}

/// The statuses that are answered (RFC 9110, section 15).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    Ok,
    BadRequest,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    UpgradeRequired,
    HeadTooLarge,
    Unavailable,
}

impl Status {
    fn line(self) -> &'static str {
        match self {
            Self::Ok => "200 OK",
            Self::BadRequest => "400 Bad Request",
            Self::Forbidden => "403 Forbidden",
            Self::NotFound => "404 Not Found",
            Self::MethodNotAllowed => "405 Method Not Allowed",
            Self::UpgradeRequired => "426 Upgrade Required",
            Self::HeadTooLarge => "431 Request Header Fields Too Large",
            Self::Unavailable => "503 Service Unavailable",
        }
    }

    /// Headers that this status brings along.
    fn headers(self) -> &'static str {
        match self {
            Self::MethodNotAllowed => "Allow: GET, HEAD\r\n",
            // The version that we speak (RFC 6455, section 4.4).
            Self::UpgradeRequired => {
                "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nConnection: Upgrade\r\n"
            }
            Self::Unavailable => "Retry-After: 5\r\n",
            _ => "",
        }
    }
}

/// The answer to a request that is no WebSocket upgrade. `metrics` gives the text of `/metrics`.
pub(crate) fn answer(
    request: &Request,
    assets: &Assets,
    metrics: impl FnOnce() -> String,
) -> Vec<u8> {
    let head_only = match request.method.as_str() {
        "GET" => false,
        "HEAD" => true,
        _ => return refusal(Status::MethodNotAllowed),
    };
    const TEXT: &str = "text/plain; charset=utf-8";
    /// The text format of Prometheus, version 0.0.4.
    const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";
    match request.path.as_str() {
        "/healthz" => respond(Status::Ok, TEXT, b"ok\n", head_only),
        "/metrics" => respond(Status::Ok, METRICS, metrics().as_bytes(), head_only),
        path => match assets.0.get(path) {
            Some(asset) => respond(Status::Ok, &asset.content_type, &asset.body, head_only),
            None => respond(Status::NotFound, TEXT, b"404 Not Found\n", head_only),
        },
    }
}

/// A refusal: the status, in words.
pub(crate) fn refusal(status: Status) -> Vec<u8> {
    let body = format!("{}\n", status.line());
    respond(status, "text/plain; charset=utf-8", body.as_bytes(), false)
}

fn respond(status: Status, content_type: &str, body: &[u8], head_only: bool) -> Vec<u8> {
    let policy = if content_type.starts_with("text/html") {
        format!("Content-Security-Policy: {PAGE_POLICY}\r\n")
    } else {
        String::new()
    };
    let head = format!(
        "HTTP/1.1 {}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n{}{policy}\
         Cache-Control: no-cache\r\nX-Content-Type-Options: nosniff\r\n\
         Referrer-Policy: no-referrer\r\nConnection: close\r\n\r\n",
        status.line(),
        body.len(),
        status.headers(),
    );
    let mut response = head.into_bytes();
    if !head_only {
        response.extend_from_slice(body);
    }
    response
}

/// The answer to a WebSocket upgrade (RFC 6455, section 4.2), or what to refuse it with.
pub(crate) fn upgrade(head: &[u8]) -> Result<Vec<u8>, Status> {
    let response = UpgradeRequest::try_parse(head)
        .and_then(|parsed| match parsed {
            Some((_, request)) => create_response(&request),
            None => Err(Error::Protocol(ProtocolError::HandshakeIncomplete)),
        })
        .map_err(|error| match error {
            Error::Protocol(ProtocolError::MissingSecWebSocketVersionHeader) => {
                Status::UpgradeRequired
            }
            Error::Protocol(ProtocolError::WrongHttpMethod) => Status::MethodNotAllowed,
            _ => Status::BadRequest,
        })?;
    let mut bytes = Vec::new();
    write_response(&mut bytes, &response).map_err(|_| Status::BadRequest)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(bytes: &[u8]) -> Request {
        match read_head(bytes) {
            Head::Complete(request) => request,
            other => panic!("{other:?}"),
        }
    }

    const UPGRADE: &str = "GET /room?token=1 HTTP/1.1\r\nHost: a.example\r\nUpgrade: WebSocket\r\n\
        Connection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: https://b.example\r\n\r\n";

    #[test]
    fn heads_are_read_whole_and_every_prefix_is_partial() {
        for end in 0..UPGRADE.len() {
            assert_eq!(read_head(&UPGRADE.as_bytes()[..end]), Head::Partial, "{end}");
        }
        let read = request(UPGRADE.as_bytes());
        assert_eq!((read.path.as_str(), read.upgrade), ("/room", true));
        assert_eq!(read.host.as_deref(), Some("a.example"));
        assert_eq!(read.origin.as_deref(), Some("https://b.example"));
        assert_eq!(read.length, UPGRADE.len());
    }

    #[test]
    fn garbage_and_oversize_are_refused() {
        assert_eq!(read_head(b"\x16\x03\x01\x02\x00"), Head::Bad(Status::BadRequest));
        assert_eq!(read_head(b"GET nowhere HTTP/1.1\r\n\r\n"), Head::Bad(Status::BadRequest));
        let twice = b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n";
        assert_eq!(read_head(twice), Head::Bad(Status::BadRequest));
        let long = format!("GET / HTTP/1.1\r\nX: {}", "a".repeat(MAX_HEAD));
        assert_eq!(read_head(long.as_bytes()), Head::Bad(Status::HeadTooLarge));
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(MAX_HEADERS + 1));
        assert_eq!(read_head(many.as_bytes()), Head::Bad(Status::HeadTooLarge));
    }

    #[test]
    fn upgrades_are_answered_with_the_key_of_the_rfc() {
        let response = String::from_utf8(upgrade(UPGRADE.as_bytes()).unwrap()).unwrap();
        assert!(response.starts_with("HTTP/1.1 101 "), "{response}");
        // RFC 6455, section 1.3.
        assert!(response.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{response}");
        let other_version = UPGRADE.replace("Version: 13", "Version: 8");
        assert_eq!(upgrade(other_version.as_bytes()), Err(Status::UpgradeRequired));
        let no_key = UPGRADE.replace("Sec-WebSocket-Key", "X");
        assert_eq!(upgrade(no_key.as_bytes()), Err(Status::BadRequest));
        let post = UPGRADE.replace("GET", "POST");
        assert_eq!(upgrade(post.as_bytes()), Err(Status::MethodNotAllowed));
    }

    #[test]
    fn plain_requests_are_answered_by_path() {
        let assets = Assets::new().with("/", "text/html; charset=utf-8", b"<p>".as_slice());
        let ask = |method: &str, path: &str| {
            let head = format!("{method} {path} HTTP/1.1\r\nHost: a\r\n\r\n");
            let answer = answer(&request(head.as_bytes()), &assets, || "up 1\n".into());
            String::from_utf8(answer).unwrap()
        };
        let page = ask("GET", "/?room=x");
        assert!(page.starts_with("HTTP/1.1 200 OK\r\n") && page.ends_with("\r\n\r\n<p>"), "{page}");
        assert!(page.contains("Content-Security-Policy: "), "{page}");
        assert!(page.contains("Connection: close\r\n"), "{page}");
        let head = ask("HEAD", "/");
        assert!(head.contains("Content-Length: 3\r\n") && head.ends_with("\r\n\r\n"), "{head}");
        assert!(ask("GET", "/healthz").ends_with("\r\n\r\nok\n"));
        assert!(ask("GET", "/metrics").ends_with("\r\n\r\nup 1\n"));
        assert!(ask("GET", "/rtcmesh.js").starts_with("HTTP/1.1 404 "));
        let post = ask("POST", "/");
        assert!(post.starts_with("HTTP/1.1 405 ") && post.contains("Allow: GET, HEAD"), "{post}");
    }

    #[test]
    fn origins_are_compared_whole() {
        let same = Origins::Same { also: vec!["https://friend.example/".into()] };
        assert!(same.allow(None, None));
        assert!(same.allow(Some("http://localhost:8080"), Some("LOCALHOST:8080")));
        assert!(same.allow(Some("https://a.example"), Some("a.example:443")));
        assert!(same.allow(Some("https://friend.example"), Some("a.example")));
        assert!(!same.allow(Some("http://localhost:8081"), Some("localhost:8080")));
        assert!(!same.allow(Some("https://a.example.evil.example"), Some("a.example")));
        assert!(!same.allow(Some("null"), Some("a.example")));
        assert!(!same.allow(Some("https://a.example"), None));
        let listed = Origins::Listed(vec!["https://a.example".into()]);
        assert!(listed.allow(Some("https://A.example"), Some("b")));
        assert!(!listed.allow(Some("https://a.example:8443"), Some("b")));
        assert!(Origins::Any.allow(Some("null"), None));
    }
}
