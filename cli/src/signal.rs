//! `rtcmesh signal`: the signaling server alone.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::error::ErrorKind;
use rtcmesh_core::signaling::ServerConfig;
use rtcmesh_runtime::{Origins, SignalingServerOptions, TlsIdentity};
use rtcmesh_tokio::SignalingServer;

use crate::Outcome;
use crate::stop::asked_to_stop;

/// Run a signaling server: where peers find each other.
///
/// Peers connect by WebSocket. The path of the URL is the room, and peers see only their own:
/// ws://HOST:PORT/any-name. Media and messages go directly between peers and never through here.
///
/// On the same port: /healthz says ok, /metrics has counters as Prometheus text, and with --page there is
/// a page to join from a browser. It runs until Ctrl-C or the signal TERM, and then tells its clients.
///
/// The exit code is 0 after that, 2 if the command line is wrong, and 1 if the server cannot be started.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The address and port to listen on; may be repeated. Port 0 is any free one; 0.0.0.0 is every IPv4
    /// address of this machine, [::] every one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    listen: Vec<SocketAddr>,
    /// Serve wss:// and https:// with this certificate chain (PEM, the server's own first).
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The private key of the certificate (PEM).
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Let only pages from this origin (like https://example.org) connect; may be repeated. Without it pages
    /// from anywhere may. Programs, which state no origin, always may.
    #[arg(long, value_name = "ORIGIN", value_parser = origin)]
    allow_origin: Vec<String>,
    /// Serve a page to join from a browser at /, and its client for other pages at /rtcmesh.js.
    #[arg(long)]
    page: bool,
    #[command(flatten)]
    limits: Limits,
}

const EXAMPLES: &str = "\
Examples:
  For this machine, with a page:
    rtcmesh signal --page
  For everybody, with a certificate:
    rtcmesh signal --listen [::]:443 --tls-cert chain.pem --tls-key key.pem --page
  For the pages of one site alone:
    rtcmesh signal --listen 0.0.0.0:8080 --allow-origin https://example.org";

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Limits")]
struct Limits {
    /// Messages per second that each connection may send in the long run.
    #[arg(long, value_name = "N", default_value_t = ServerConfig::default().messages_per_second)]
    messages_per_second: u32,
    /// Messages that each connection may send at once.
    #[arg(long, value_name = "N", default_value_t = ServerConfig::default().message_burst)]
    message_burst: u32,
    /// Connections from one network address.
    #[arg(long, value_name = "N", default_value_t = ServerConfig::default().connections_per_address)]
    connections_per_address: usize,
    /// Announces per second from one network address.
    #[arg(long, value_name = "N", default_value_t = ServerConfig::default().announces_per_second)]
    announces_per_second: u32,
    /// Peers in one room.
    #[arg(long, value_name = "N", default_value_t = ServerConfig::default().peers_per_room)]
    peers_per_room: usize,
    /// Connections in all.
    #[arg(long, value_name = "N", default_value_t = ServerConfig::default().connections)]
    connections: usize,
    /// Bytes that may wait for a client before it counts as stuck and is dropped.
    #[arg(long, value_name = "BYTES", default_value_t = ServerConfig::default().queue_bytes)]
    queue_bytes: usize,
}

impl Limits {
    fn config(&self) -> ServerConfig {
        let mut config = ServerConfig::default();
        config.messages_per_second = self.messages_per_second;
        config.message_burst = self.message_burst;
        config.connections_per_address = self.connections_per_address;
        config.announces_per_second = self.announces_per_second;
        config.peers_per_room = self.peers_per_room;
        config.connections = self.connections;
        config.queue_bytes = self.queue_bytes;
        config
    }
}

/// An origin as browsers state it (RFC 6454, section 6.2): a scheme, a host, perhaps a port, and no more.
pub(crate) fn origin(text: &str) -> Result<String, String> {
    let shown = text.trim_end_matches('/');
    match shown.split_once("://") {
        Some((scheme, host))
            if !scheme.is_empty()
                && !host.is_empty()
                && !host.contains(|c: char| "/?#@".contains(c) || c.is_whitespace()) =>
        {
            Ok(shown.to_owned())
        }
        _ => Err("an origin is a scheme and a host, like https://example.org:8443".to_owned()),
    }
}

/// Runs the command.
pub(crate) async fn run(args: Args) -> Outcome {
    let config = args.limits.config();
    if let Err(error) = config.validate() {
        let message = format!("--{}: {}", error.field.replace('_', "-"), error.reason);
        return crate::usage_error("signal", ErrorKind::ValueValidation, message);
    }
    let mut options = SignalingServerOptions::new().config(config);
    if !args.allow_origin.is_empty() {
        options = options.origins(Origins::Listed(args.allow_origin.clone()));
    }
    if args.page {
        options = options.assets(crate::page::assets());
    }
    let encrypted = args.tls_cert.is_some();
    if let (Some(certificate), Some(key)) = (&args.tls_cert, &args.tls_key) {
        let (chain, private) = (read(certificate)?, read(key)?);
        let identity = TlsIdentity::from_pem(&chain, &private)
            .map_err(|error| format!("{}, {}: {error}", certificate.display(), key.display()))?;
        options = options.tls(identity);
    }

    let server = SignalingServer::bind(args.listen, options)?;
    for addr in server.local_addrs() {
        println!("signaling  {}", url("ws", encrypted, *addr));
        if args.page {
            println!("page       {}", url("http", encrypted, *addr));
        }
    }
    asked_to_stop().await;
    server.shutdown().await;
    Ok(ExitCode::SUCCESS)
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// The URL by which this machine reaches a server that listens on `addr`.
fn url(scheme: &str, encrypted: bool, addr: SocketAddr) -> String {
    let host = match addr.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    let s = if encrypted { "s" } else { "" };
    format!("{scheme}{s}://{}/", SocketAddr::new(host, addr.port()))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        args: Args,
    }

    fn parse(line: &str) -> Result<Args, String> {
        let line = format!("signal {line}");
        let command = Command::try_parse_from(line.split_whitespace());
        command.map(|command| command.args).map_err(|error| error.to_string())
    }

    #[test]
    fn the_defaults_are_those_of_the_machine() {
        let args = parse("").unwrap();
        assert_eq!(args.limits.config(), ServerConfig::default());
        assert_eq!(args.listen, ["127.0.0.1:8080".parse().unwrap()]);
    }

    #[test]
    fn each_limit_reaches_its_setting() {
        let args = parse(
            "--messages-per-second 1 --message-burst 2 --connections-per-address 3 \
             --announces-per-second 4 --peers-per-room 5 --connections 6 --queue-bytes 70000",
        );
        let config = args.unwrap().limits.config();
        assert_eq!((config.messages_per_second, config.message_burst), (1, 2));
        assert_eq!((config.connections_per_address, config.announces_per_second), (3, 4));
        assert_eq!((config.peers_per_room, config.connections), (5, 6));
        assert_eq!(config.queue_bytes, 70_000);
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        for (line, named) in [
            ("--tls-cert a.pem", "--tls-key"),
            ("--tls-key a.pem", "--tls-cert"),
            ("--listen localhost", "--listen"),
            ("--allow-origin example.org", "origin"),
            ("--allow-origin https://example.org/page", "origin"),
            ("--connections many", "--connections"),
        ] {
            let error = parse(line).unwrap_err();
            assert!(error.contains(named), "{line}: {error}");
        }
        let args = parse("--allow-origin https://a.example/ --allow-origin http://b:81").unwrap();
        assert_eq!(args.allow_origin, ["https://a.example", "http://b:81"]);
    }

    #[test]
    fn addresses_are_shown_so_that_they_can_be_opened() {
        let of = |addr: &str, encrypted| url("ws", encrypted, addr.parse().unwrap());
        assert_eq!(of("0.0.0.0:80", false), "ws://127.0.0.1:80/");
        assert_eq!(of("[::]:443", true), "wss://[::1]:443/");
        assert_eq!(of("10.0.0.1:8080", false), "ws://10.0.0.1:8080/");
    }
}
