//! rtcmesh without a runtime: the core in a plain loop over `std::net::UdpSocket`. It connects to whoever is in the
//! room, and tells how loud it hears them. `docs/embedding.md` walks through it.
use std::net::{TcpStream, UdpSocket};
use std::time::{Duration, Instant, SystemTime};
use std::{env, error::Error, io, io::Write as _};

use rtcmesh_core::net::IoEvent::{Interfaces, LinkText, LinkUp, UdpBound};
use rtcmesh_core::net::{Datagram, IoCommand};
use rtcmesh_core::transport::{AudioData, Media, Transport};
use rtcmesh_core::{config::Config, rng::Seed};
use tungstenite::{Error::Io, Message, WebSocket};

fn main() -> Result<(), Box<dyn Error>> {
    let server = env::args().nth(1).ok_or("usage: blocking HOST:PORT")?;
    let (mut seed, mut buffer) = ([0; 32], [0; 2048]);
    getrandom::fill(&mut seed)?;
    let (now, unix_now) = (Instant::now(), SystemTime::UNIX_EPOCH.elapsed()?);
    let config = Config::new(format!("ws://{server}/"));
    let mut mesh = Transport::new(config, Seed::from_bytes(seed), now, unix_now)?;
    mesh.start(now)?;
    let (mut udp, mut signaling) = (None::<(_, UdpSocket)>, None::<(_, WebSocket<_>)>);
    let tick = Duration::from_millis(10);
    loop {
        let due = mesh.poll_timeout().map_or(tick, |deadline| deadline.at - Instant::now());
        if let Some((socket, ref udp)) = udp {
            udp.set_read_timeout(Some(due.clamp(Duration::from_millis(1), tick)))?;
            if let Ok((length, remote)) = udp.recv_from(&mut buffer) {
                let payload = &buffer[..length];
                mesh.handle_datagram(Instant::now(), Datagram { socket, remote, payload });
            }
        }
        let now = Instant::now();
        if let Some((link, ref mut ws)) = signaling {
            match ws.read() {
                Ok(Message::Text(text)) => mesh.handle_io(now, LinkText { link, text: &text }),
                Err(Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => drop(other?),
            }
        }
        mesh.handle_timeout(now);

        while let Some(sent) = mesh.poll_transmit() {
            let _ = udp.as_ref().map(|(_, udp)| udp.send_to(&sent.payload, sent.remote));
        }
        while let Some(command) = mesh.poll_command() {
            match command {
                IoCommand::WatchInterfaces => {
                    let ours = TcpStream::connect(&server)?.local_addr()?.ip();
                    mesh.handle_io(now, Interfaces(&[ours]));
                }
                IoCommand::BindUdp { socket, addr } => {
                    let local = udp.insert((socket, UdpSocket::bind(addr)?)).1.local_addr()?;
                    mesh.handle_io(now, UdpBound { socket, local });
                }
                IoCommand::OpenLink { link, url } => {
                    let opened = tungstenite::client(url, TcpStream::connect(&server)?)?.0;
                    opened.get_ref().set_nonblocking(true)?;
                    signaling = Some((link, opened));
                    mesh.handle_io(now, LinkUp { link });
                }
                IoCommand::SendLink { text, .. } => {
                    signaling.as_mut().map_or(Ok(()), |(_, ws)| ws.send(Message::text(text)))?;
                }
                _ => {} // What it has no use for any more.
            }
        }
        while let Some(event) = mesh.poll_event() {
            writeln!(io::stdout(), "{event:?}")?; // Where nobody reads on, it ends.
        }
        while let Some(Media::Audio { peer, frame }) = mesh.poll_media() {
            let AudioData::Decoded(audio) = frame.data else { continue };
            let peak = audio.samples.iter().fold(0_f32, |peak, sample| peak.max(sample.abs()));
            if frame.rtp % 48_000 < 480 {
                // Once a second.
                writeln!(io::stdout(), "{peer} is heard: {:.0} % of full scale", peak * 100.0)?;
            }
        }
    }
}
