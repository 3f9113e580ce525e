//! Opening a WebSocket as a client: from the URL to the end of the handshake.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use tungstenite::http::Uri;

use crate::runtime::{Runtime, Timer};
use crate::stream::Stream;
use crate::tls::{Session, TlsError, TlsOptions};
use crate::ws::{Opening, Socket};

/// The time that an address has before the next one is tried beside it (RFC 8305, section 5).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);
/// The most addresses that are tried.
const MAX_ATTEMPTS: usize = 8;
/// The time from the URL to the open WebSocket.
pub(crate) const OPEN_TIMEOUT: Duration = Duration::from_secs(10);

/// Where a WebSocket URL leads.
struct Target {
    uri: Uri,
    host: String,
    port: u16,
    tls: bool,
}

impl Target {
    fn parse(url: &str) -> Result<Self, String> {
        let uri: Uri = url.parse().map_err(|error| format!("invalid URL: {error}"))?;
        let tls = match uri.scheme_str() {
            Some("ws") => false,
            Some("wss") => true,
            _ => return Err("invalid URL: the scheme is neither ws nor wss".into()),
        };
        let host = uri.host().unwrap_or_default();
        // An IPv6 address is written in brackets (RFC 3986, section 3.2.2).
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return Err("invalid URL: it names no host".into());
        }
        let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
        Ok(Self { uri, host, port, tls })
    }
}

/// Opens a WebSocket within [`OPEN_TIMEOUT`], trusting whom `tls` says (`wss:` alone asks). The error is a text for logs and people.
pub(crate) async fn dial<R: Runtime>(
    runtime: R,
    url: String,
    tls: TlsOptions,
) -> Result<Socket<R::Tcp>, String> {
    let mut limit = runtime.timer(runtime.now() + OPEN_TIMEOUT);
    let mut attempt = pin!(dial_without_limit(runtime, &url, &tls));
    poll_fn(|cx| {
        if let Poll::Ready(result) = attempt.as_mut().poll(cx) {
            return Poll::Ready(result);
        }
        limit.poll(cx).map(|()| Err(format!("no connection within {OPEN_TIMEOUT:?}")))
    })
    .await
}

async fn dial_without_limit<R: Runtime>(
    runtime: R,
    url: &str,
    tls: &TlsOptions,
) -> Result<Socket<R::Tcp>, String> {
    let target = Target::parse(url)?;
    let addrs = runtime
        .resolve(target.host.clone(), target.port)
        .await
        .map_err(|error| format!("the name of the server cannot be resolved: {error}"))?;
    let tcp = Race::new(&runtime, addrs)
        .await
        .map_err(|error| format!("the server cannot be reached: {error}"))?;
    let session = target
        .tls
        .then(|| Session::client(tls.client_config()?, &target.host))
        .transpose()
        .map_err(|error: TlsError| error.to_string())?;
    let mut opening = Opening::new(Stream::new(tcp, session), &target.uri)?;
    poll_fn(|cx| opening.poll(cx)).await
}

type Attempt<T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send>>;

/// Attempts to connect to one of several addresses: the next one starts when the last one failed or
/// has had its time, and the first to succeed wins (RFC 8305, without its sorting by history).
struct Race<R: Runtime> {
    runtime: R,
    waiting: VecDeque<SocketAddr>,
    running: Vec<Attempt<R::Tcp>>,
    next_start: R::Timer,
    last_error: Option<io::Error>,
}

impl<R: Runtime> Race<R> {
    fn new(runtime: &R, addrs: Vec<SocketAddr>) -> Self {
        Self {
            runtime: runtime.clone(),
            waiting: interleave(addrs),
            running: Vec::new(),
            next_start: runtime.timer(runtime.now()),
            last_error: None,
        }
    }

    fn start_next(&mut self) {
        if let Some(addr) = self.waiting.pop_front() {
            self.running.push(Box::pin(self.runtime.connect_tcp(addr)));
            self.next_start.reset(self.runtime.now() + ATTEMPT_DELAY);
        }
    }
}

impl<R: Runtime> Unpin for Race<R> {}

impl<R: Runtime> Future for Race<R> {
    type Output = io::Result<R::Tcp>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let mut at = 0;
            while let Some(attempt) = self.running.get_mut(at) {
                match attempt.as_mut().poll(cx) {
                    Poll::Ready(Ok(stream)) => return Poll::Ready(Ok(stream)),
                    Poll::Ready(Err(error)) => {
                        self.last_error = Some(error);
                        drop(self.running.remove(at));
                    }
                    Poll::Pending => at += 1,
                }
            }
            if self.waiting.is_empty() {
                if !self.running.is_empty() {
                    return Poll::Pending;
                }
                let none = || io::Error::new(io::ErrorKind::NotFound, "it has no address");
                return Poll::Ready(Err(self.last_error.take().unwrap_or_else(none)));
            }
            if !self.running.is_empty() && self.next_start.poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.start_next();
        }
    }
}

/// Alternates the address families, in the order of the resolver otherwise (RFC 8305, section 4), so
/// that one broken family costs one delay.
fn interleave(addrs: Vec<SocketAddr>) -> VecDeque<SocketAddr> {
    let first_is_v6 = addrs.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) =
        addrs.into_iter().partition(|addr| addr.is_ipv6() == first_is_v6);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut mixed = VecDeque::new();
    loop {
        let pair = [first.next(), second.next()];
        if pair == [None, None] || mixed.len() >= MAX_ATTEMPTS {
            return mixed;
        }
        mixed.extend(pair.into_iter().flatten());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let target = Target::parse("wss://example.org/room?x=1").unwrap();
        assert_eq!((target.host.as_str(), target.port, target.tls), ("example.org", 443, true));
        let target = Target::parse("ws://[::1]:8080/").unwrap();
        assert_eq!((target.host.as_str(), target.port, target.tls), ("::1", 8080, false));
        for (url, word) in [("http://a/", "scheme"), ("ws://", "URL"), ("", "URL"), ("a b", "URL")]
        {
            let error = Target::parse(url).err().unwrap();
            assert!(error.contains(word), "{url}: {error}");
        }
    }

    #[test]
    fn families_alternate_and_are_bounded() {
        let addr = |text: &str| text.parse::<SocketAddr>().unwrap();
        let (a, b, c) = (addr("[::1]:1"), addr("[::2]:1"), addr("1.2.3.4:1"));
        assert_eq!(interleave(vec![a, b, c]), [a, c, b]);
        assert_eq!(interleave(vec![c, a, b]), [c, a, b]);
        assert!(interleave(vec![a; 50]).len() <= MAX_ATTEMPTS + 1);
        assert!(interleave(Vec::new()).is_empty());
    }
}
