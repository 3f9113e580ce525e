//! What stands between the engine and DTLS, so that what the network has lost does no lasting harm. SCTP's pauses are kept short: what it
//! has repeated is sent again every three seconds until it is acknowledged. And a lost acknowledgement of DTLS ends no connection.
//!
//! SCTP doubles the pause before each further try, up to a minute (RFC 9260, sections 6.3.3 and 16), and is not told that a path
//! is back; the engine has no setting for it (docs/upstream.md). libwebrtc has one: its pauses end after 3 s (dcsctp,
//! `max_timer_backoff_duration`). Here the same comes from outside: between the engine and DTLS, what SCTP sends passes in clear.
//! One packet of data is kept at most, the oldest that SCTP itself has had to send again, and one that tells what is given up.
//! Once they are acknowledged SCTP goes on with the rest by itself.

use std::fmt;
use std::time::{Duration, Instant};

use dimpl::TimeoutError;
use str0m::crypto::dtls::{DtlsImplError, DtlsInstance, DtlsOutput, ProtocolVersion};

use super::engine::passed_on;

/// The longest pause: libwebrtc's (`dcsctp_transport.cc`).
const MAX_PAUSE: Duration = Duration::from_secs(3);

/// Types of chunks (RFC 9260, section 3.2; RFC 3758, section 3.2).
const DATA: u8 = 0;
const SACK: u8 = 3;
const FORWARD_TSN: u8 = 192;

/// What is waited for.
#[derive(Debug, Default)]
struct Repeats {
    /// The highest TSN that was sent.
    highest: Option<u32>,
    /// The oldest data that SCTP has sent again.
    data: Option<Waiting>,
    /// The latest word of what is given up.
    skip: Option<Waiting>,
    /// When they are sent again; `None` until the time is known.
    due: Option<Instant>,
}

#[derive(Debug)]
struct Waiting {
    /// The TSN whose acknowledgement is waited for.
    tsn: u32,
    packet: Vec<u8>,
}

impl Repeats {
    const fn waits(&self) -> bool {
        self.data.is_some() || self.skip.is_some()
    }

    /// SCTP sends a packet.
    fn sent(&mut self, packet: &[u8]) {
        let waiting = |tsn| Some(Waiting { tsn, packet: packet.to_vec() });
        for (kind, tsn) in chunks(packet) {
            if kind == DATA && self.highest.is_none_or(|highest| is_after(tsn, highest)) {
                self.highest = Some(tsn);
            } else if kind == DATA && self.data.as_ref().is_none_or(|data| !is_after(tsn, data.tsn))
            {
                self.data = waiting(tsn);
                self.due = None;
            } else if kind == FORWARD_TSN {
                self.data.take_if(|data| data.is_covered(tsn));
                self.skip = waiting(tsn);
                self.due = None;
            }
        }
    }

    /// A packet of the other side's SCTP has come.
    fn received(&mut self, packet: &[u8]) {
        if !self.waits() {
            return;
        }
        for (_, tsn) in chunks(packet).filter(|(kind, _)| *kind == SACK) {
            self.data.take_if(|data| data.is_covered(tsn));
            self.skip.take_if(|skip| skip.is_covered(tsn));
        }
    }

    /// What is to be sent again now.
    fn due(&mut self, now: Instant) -> impl Iterator<Item = &[u8]> {
        let is_due = self.due.is_some_and(|due| due <= now);
        if is_due || self.due.is_none() {
            self.due = Some(now + MAX_PAUSE);
        }
        let both = [&self.skip, &self.data].into_iter().flatten().filter(move |_| is_due);
        both.map(|waiting| waiting.packet.as_slice())
    }
}

impl Waiting {
    /// Whether `tsn` and all before it includes this one.
    const fn is_covered(&self, tsn: u32) -> bool {
        !is_after(self.tsn, tsn)
    }
}

/// The chunks of a packet, each with its first number: a TSN in those that matter here. They follow a common header of 12 bytes,
/// padded to multiples of four (RFC 9260, section 3).
fn chunks(packet: &[u8]) -> impl Iterator<Item = (u8, u32)> {
    let mut rest = packet.get(12..).unwrap_or_default();
    std::iter::from_fn(move || {
        let [kind, _, high, low, a, b, c, d, ..] = *rest else { return None };
        let length = usize::from(u16::from_be_bytes([high, low])).max(4).next_multiple_of(4);
        rest = rest.get(length..).unwrap_or_default();
        Some((kind, u32::from_be_bytes([a, b, c, d])))
    })
}

/// Serial number arithmetic (RFC 1982).
const fn is_after(a: u32, b: u32) -> bool {
    a != b && a.wrapping_sub(b) < 1 << 31
}

/// One end of a DTLS connection that keeps SCTP's pauses short, and outlives a lost acknowledgement.
///
/// Generic over what is below it: it is asked several times a packet, and a call through a table would come on top each time.
pub(super) struct Repeating<D> {
    inner: D,
    repeats: Repeats,
    /// A time that has passed, for deadlines that are at once.
    born: Instant,
    /// Whether the handshake is complete.
    connected: bool,
    /// When DTLS is asked again after it gave up that its last flight is acknowledged.
    unacknowledged: Option<Instant>,
}

impl<D: DtlsInstance + 'static> Repeating<D> {
    pub(super) fn around(inner: D, now: Instant) -> Box<dyn DtlsInstance> {
        let repeats = Repeats::default();
        Box::new(Self { inner, repeats, born: now, connected: false, unacknowledged: None })
    }
}

impl<D> fmt::Debug for Repeating<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Repeating")
    }
}

impl<D: DtlsInstance> DtlsInstance for Repeating<D> {
    passed_on!(inner);

    fn poll_output<'a>(&mut self, buffer: &'a mut [u8]) -> DtlsOutput<'a> {
        let mut output = self.inner.poll_output(buffer);
        match &mut output {
            DtlsOutput::Connected => self.connected = true,
            DtlsOutput::ApplicationData(data) => self.repeats.received(data),
            DtlsOutput::Timeout(at) => {
                *at = self.unacknowledged.map_or(*at, |later| later.max(*at));
                if self.repeats.waits() {
                    *at = self.repeats.due.unwrap_or(self.born).min(*at);
                }
            }
            _ => {}
        }
        output
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), DtlsImplError> {
        match self.inner.handle_timeout(now) {
            // No try of the last flight was acknowledged: an outage can take them all (docs/upstream.md). The connection
            // works: it is ICE that tells when it is dead (RFC 7675).
            Err(DtlsImplError::Timeout(TimeoutError::Handshake)) if self.connected => {
                self.unacknowledged = Some(now + MAX_PAUSE);
            }
            told => {
                told?;
                self.unacknowledged = None;
            }
        }
        if self.repeats.waits() && !self.inner.is_closing() {
            for packet in self.repeats.due(now) {
                // It is one try more: SCTP makes its own.
                let _ = self.inner.send_application_data(packet);
            }
        }
        Ok(())
    }

    fn send_application_data(&mut self, data: &[u8]) -> Result<usize, DtlsImplError> {
        let taken = self.inner.send_application_data(data)?;
        if taken > 0 {
            self.repeats.sent(data);
        }
        Ok(taken)
    }

    fn close(&mut self) -> Result<(), DtlsImplError> {
        (self.repeats.data, self.repeats.skip) = (None, None);
        self.inner.close()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A packet with these chunks: a type, and the number that it begins with.
    fn packet(chunks: &[(u8, u32)]) -> Vec<u8> {
        let mut packet = vec![7; 12];
        for (kind, tsn) in chunks {
            // 13 bytes, and three of padding.
            packet.extend([*kind, 3, 0, 13]);
            packet.extend(tsn.to_be_bytes());
            packet.extend([9; 8]);
        }
        packet
    }

    fn due(repeats: &mut Repeats, now: Instant) -> Vec<Vec<u8>> {
        repeats.due(now).map(<[u8]>::to_vec).collect()
    }

    #[test]
    fn only_what_is_repeated_is_kept_and_sent_until_it_is_acknowledged() {
        let now = Instant::now();
        let mut repeats = Repeats::default();
        for tsn in [u32::MAX - 1, u32::MAX, 0, 1] {
            repeats.sent(&packet(&[(DATA, tsn)]));
            assert!(!repeats.waits());
        }
        let oldest = packet(&[(SACK, 50), (DATA, u32::MAX), (DATA, 0)]);
        repeats.sent(&oldest);
        repeats.sent(&packet(&[(DATA, 1)]));
        assert!(due(&mut repeats, now).is_empty(), "the time begins");
        for n in 1..3 {
            let at = now + MAX_PAUSE * n;
            assert!(due(&mut repeats, at - Duration::from_millis(1)).is_empty());
            assert_eq!(due(&mut repeats, at), std::slice::from_ref(&oldest));
        }
        repeats.received(&packet(&[(DATA, 5), (SACK, u32::MAX - 1)]));
        assert!(repeats.waits());
        repeats.received(&packet(&[(DATA, 5), (SACK, u32::MAX)]));
        assert!(!repeats.waits());
    }

    #[test]
    fn each_try_of_its_own_puts_ours_off() {
        let now = Instant::now();
        let mut repeats = Repeats::default();
        let data = packet(&[(DATA, 1)]);
        repeats.sent(&data);
        for second in 0..4 {
            repeats.sent(&data);
            assert!(due(&mut repeats, now + Duration::from_secs(second)).is_empty());
        }
        assert_eq!(due(&mut repeats, now + Duration::from_secs(3 + MAX_PAUSE.as_secs())), [data]);
    }

    #[test]
    fn what_is_given_up_is_told_in_place_of_what_it_skips() {
        let now = Instant::now();
        let mut repeats = Repeats::default();
        let data = |tsn| packet(&[(DATA, tsn)]);
        (1..=4).for_each(|tsn| repeats.sent(&data(tsn)));
        repeats.sent(&data(2));
        let skip = packet(&[(FORWARD_TSN, 3)]);
        repeats.sent(&skip);
        repeats.sent(&data(4));
        assert!(due(&mut repeats, now).is_empty());
        assert_eq!(due(&mut repeats, now + MAX_PAUSE), [skip, data(4)]);
        repeats.received(&packet(&[(SACK, 3)]));
        assert_eq!(due(&mut repeats, now + 2 * MAX_PAUSE), [data(4)]);
        repeats.received(&packet(&[(SACK, 4)]));
        assert!(!repeats.waits());
    }

    #[test]
    fn anything_can_be_a_packet() {
        let mut repeats = Repeats::default();
        for length in 0..64 {
            for byte in [0, 3, 192, 255] {
                let packet = vec![byte; length];
                repeats.sent(&packet);
                repeats.received(&packet);
            }
        }
    }
}
