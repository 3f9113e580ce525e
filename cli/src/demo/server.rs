//! The signaling server of the demo, with the page on the same port.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use rtcmesh_runtime::{Origins, SignalingServerOptions, TlsError, TlsIdentity, TlsOptions};
use rtcmesh_tokio::SignalingServer;

use super::Args;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// The running server.
pub(super) struct DemoServer {
    server: SignalingServer,
    addr: SocketAddr,
    /// The self-signed certificate, as PEM.
    certificate: Option<String>,
}

impl DemoServer {
    /// Listens where the arguments say.
    pub(super) fn start(args: &Args) -> Result<Self, Error> {
        let wanted = SocketAddr::new(args.listen, args.port);
        let origins = Origins::Same { also: args.allow_origin.clone() };
        let mut options =
            SignalingServerOptions::new().origins(origins).assets(crate::page::assets());
        let mut certificate = None;
        if args.tls {
            let (chain, key) = crate::certificate::self_signed(names(args.listen))?;
            options = options.tls(TlsIdentity::from_pem(&chain, &key)?);
            certificate = Some(chain);
        }
        let server = SignalingServer::bind([wanted], options)?;
        let addr = server.local_addr().ok_or("the server has no address")?;
        Ok(Self { server, addr, certificate })
    }

    fn scheme(&self, plain: &str) -> String {
        if self.certificate.is_some() { format!("{plain}s") } else { plain.into() }
    }

    /// The page's address, as another device can open it where it can be reached at all.
    pub(super) fn page(&self) -> String {
        let host = if self.addr.ip().is_unspecified() {
            outward_address(self.addr.ip()).unwrap_or_else(|| loopback(self.addr.ip()))
        } else {
            self.addr.ip()
        };
        format!("{}://{}/", self.scheme("http"), SocketAddr::new(host, self.addr.port()))
    }

    /// Where the native peers signal.
    pub(super) fn url(&self) -> String {
        let host = match self.addr.ip() {
            ip if ip.is_unspecified() => loopback(ip),
            ip => ip,
        };
        format!("{}://{}/", self.scheme("ws"), SocketAddr::new(host, self.addr.port()))
    }

    /// Whom the native peers trust: nobody but this very server.
    pub(super) fn trust(&self) -> Result<TlsOptions, TlsError> {
        match &self.certificate {
            Some(certificate) => TlsOptions::new().trust_pem(certificate),
            None => Ok(TlsOptions::new()),
        }
    }

    /// Closes every connection and the port.
    pub(super) async fn shutdown(self) {
        self.server.shutdown().await;
    }
}

const fn loopback(like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
    }
}

/// The names in the certificate.
fn names(listen: IpAddr) -> Vec<String> {
    let mut names: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into();
    let ip = if listen.is_unspecified() { outward_address(listen) } else { Some(listen) };
    names.extend(ip.filter(|ip| !ip.is_loopback()).map(|ip| ip.to_string()));
    names
}

/// The address by which this machine reaches others: the system chooses it for a socket towards an
/// address for documentation (RFC 5737, RFC 3849). Nothing is sent.
fn outward_address(like: IpAddr) -> Option<IpAddr> {
    let socket = UdpSocket::bind(SocketAddr::new(like, 0)).ok()?;
    let target: IpAddr = match like {
        IpAddr::V4(_) => Ipv4Addr::new(192, 0, 2, 1).into(),
        IpAddr::V6(_) => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(),
    };
    socket.connect((target, 9)).ok()?;
    socket.local_addr().ok().map(|addr| addr.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_names_this_machine_once() {
        let names_of = |ip: &str| names(ip.parse().unwrap());
        assert_eq!(names_of("127.0.0.1"), ["localhost", "127.0.0.1", "::1"]);
        assert_eq!(names_of("10.1.2.3"), ["localhost", "127.0.0.1", "::1", "10.1.2.3"]);
    }
}
