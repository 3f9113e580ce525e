//! The addresses of this machine's network interfaces, watched by looking.

use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::transport::report::Report;

/// The time between two looks. Reading them costs some 0.1 ms; a changed network is noticed earlier by
/// what fails on it.
const INTERVAL: Duration = Duration::from_secs(5);

/// How the addresses are read.
pub(crate) type Read = fn() -> io::Result<Vec<IpAddr>>;

/// A watch over the addresses.
pub(crate) struct Interfaces {
    read: Read,
    last: Option<Vec<IpAddr>>,
    next: Instant,
}

impl Interfaces {
    /// A watch whose first look is due at once.
    pub(crate) fn new(read: Read, now: Instant) -> Self {
        Self { read, last: None, next: now }
    }

    /// When the next look is due.
    pub(crate) fn next_look(&self) -> Instant {
        self.next
    }

    /// Looks where it is due; the first look and each change are reported.
    pub(crate) fn look(&mut self, now: Instant) -> Option<Report> {
        if now < self.next {
            return None;
        }
        self.next = now + INTERVAL;
        let found = match (self.read)() {
            Ok(mut found) => {
                found.sort_unstable();
                found.dedup();
                found
            }
            Err(error) => {
                tracing::warn!(%error, "the network interfaces cannot be read");
                // None at all is an answer too: whoever waits for the first one would wait for ever.
                self.last.clone().unwrap_or_default()
            }
        };
        if self.last.as_ref() == Some(&found) {
            return None;
        }
        self.last = Some(found.clone());
        Some(Report::Interfaces(found))
    }
}

/// The addresses of all interfaces that are up, loopback included.
pub(crate) fn system() -> io::Result<Vec<IpAddr>> {
    let up = if_addrs::get_if_addrs()?.into_iter().filter(if_addrs::Interface::is_oper_up);
    // An IPv6 link-local address means nothing without its interface (RFC 4007, section 6), which an
    // `IpAddr` cannot name.
    let usable = |ip: &IpAddr| !matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
    Ok(up.map(|interface| interface.ip()).filter(usable).collect())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    thread_local! {
        static FOUND: Cell<Option<u8>> = const { Cell::new(None) };
    }

    /// `10.0.0.n` twice, or an error.
    fn read() -> io::Result<Vec<IpAddr>> {
        let n = FOUND.get().ok_or(io::ErrorKind::PermissionDenied)?;
        Ok(vec![IpAddr::from([10, 0, 0, n]); 2])
    }

    fn one(n: u8) -> Option<Report> {
        Some(Report::Interfaces(vec![IpAddr::from([10, 0, 0, n])]))
    }

    #[test]
    fn the_first_look_and_each_change_are_reported() {
        let start = Instant::now();
        let mut interfaces = Interfaces::new(read, start);
        FOUND.set(Some(1));
        assert_eq!(interfaces.look(start), one(1));
        FOUND.set(Some(2));
        assert_eq!(interfaces.look(start + INTERVAL / 2), None, "looked too early");
        assert_eq!(interfaces.look(interfaces.next_look()), one(2));
        assert_eq!(interfaces.look(interfaces.next_look()), None, "told the same again");
        FOUND.set(None);
        assert_eq!(interfaces.look(interfaces.next_look()), None, "told of a failed look");
        FOUND.set(Some(3));
        assert_eq!(interfaces.look(interfaces.next_look()), one(3));
    }

    #[test]
    fn a_first_look_that_fails_is_answered_too() {
        FOUND.set(None);
        let start = Instant::now();
        let report = Interfaces::new(read, start).look(start);
        assert_eq!(report, Some(Report::Interfaces(Vec::new())));
    }

    #[test]
    fn the_system_has_a_loopback_address() {
        assert!(system().unwrap().iter().any(IpAddr::is_loopback));
    }
}
