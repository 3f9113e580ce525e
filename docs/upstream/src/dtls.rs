//! The same for plain dimpl: one connection of DTLS 1.3, and one client and one server of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dimpl::{Config, Dtls, DtlsCertificate, Output, certificate};

/// Those of client and server.
pub struct Certificates([DtlsCertificate; 2]);

impl Certificates {
    #[expect(clippy::new_without_default, reason = "each is another one")]
    pub fn new() -> Self {
        Self(
            [0, 1].map(|_| certificate::generate_self_signed_certificate().expect("a certificate")),
        )
    }
}

/// One end.
pub struct End {
    dtls: Dtls,
    due: Instant,
    pub connected: bool,
    /// How many pieces of application data have come.
    pub received: usize,
    /// With what it has ended.
    pub error: Option<String>,
}

impl End {
    /// A client and a server, configured as str0m's.
    pub fn pair(certificates: &Certificates, now: Instant) -> [Self; 2] {
        let mut ends = [0, 1].map(|n| {
            let config =
                Config::builder().use_server_cookie(false).dangerously_set_rng_seed(n as u64);
            let config = Arc::new(config.build().expect("a configuration"));
            let dtls = Dtls::new_13(config, certificates.0[n].clone(), now);
            Self { dtls, due: now, connected: false, received: 0, error: None }
        });
        ends[0].dtls.set_active(true);
        // A server that has not been given the time panics at the first datagram.
        for end in &mut ends {
            end.dtls.handle_timeout(now).expect("nothing is due");
        }
        ends
    }

    /// Takes what it has to send, and gives it the time as often as it asks for it, until there are `most`.
    pub fn turn(&mut self, now: Instant, most: usize) -> Vec<Vec<u8>> {
        let mut datagrams = Vec::new();
        let mut buffer = [0; 2_048];
        while self.error.is_none() && datagrams.len() < most {
            match self.dtls.poll_output(&mut buffer) {
                Output::Packet(packet) => datagrams.push(packet.to_vec()),
                Output::Connected => self.connected = true,
                Output::ApplicationData(_) => self.received += 1,
                Output::Timeout(at) if at > now && self.due > now => {
                    self.due = at;
                    break;
                }
                Output::Timeout(at) => {
                    self.error =
                        self.dtls.handle_timeout(now).err().map(|error| format!("{error:?}"));
                    self.due = at.max(now + Duration::from_nanos(1));
                }
                _ => {}
            }
        }
        datagrams
    }

    pub fn receive(&mut self, datagram: &[u8]) {
        // What is damaged is no error: it is dropped (RFC 9147, section 4.5.2).
        let _ = self.dtls.handle_packet(datagram);
    }

    /// Sends application data, which wait where it is not connected.
    pub fn send(&mut self, data: &[u8]) {
        let _ = self.dtls.send_application_data(data);
    }
}
