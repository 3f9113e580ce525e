//! `rtcmesh demo`: a whole mesh in one process, with a page for browsers to join it.

mod board;
mod peer;
mod screen;
mod server;
mod table;
mod timing;
mod tones;

use std::net::IpAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rtcmesh_core::config::{Config, ConnectMode, VideoSettings};
use rtcmesh_core::id::PeerId;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::Outcome;
use crate::figures::seconds;
use crate::output::Output;
use crate::playout::PlayoutArgs;
use crate::signal::origin;
use crate::stop::asked_to_stop;
use board::{Snapshot, Voice};
use peer::NativePeer;
use screen::Screen;
use server::DemoServer;

/// Connections that each native peer has left for browsers and other guests.
const ROOM_FOR_GUESTS: usize = 20;
/// How often pages are told how they are received.
const TELL_INTERVAL: Duration = Duration::from_secs(1);

/// Show a whole mesh: a signaling server, a web page, and native peers that hear each other.
///
/// Each native peer sends real audio to every other one: a recorded voice, and beneath it a tone of a
/// frequency of its own, by which every ear checks which voice it hears. The table shows who hears whom:
/// ● heard, ○ connected but not heard, … connecting, × failed. Below, how each voice is kept in time: whether
/// the sender's clock is known and how fast it runs, how long its audio is held, what was lost and made up,
/// and how far its video, if any, is ahead of it. Open the page in a browser to join them.
///
/// The exit code is 0 if every native peer has heard every other one at the end, 2 if the command line is
/// wrong, and 1 otherwise.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// How many native peers: 2 to 50. Each pair is a connection: 50 peers need a fast machine.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(2..=50))]
    peers: u16,
    /// End after so many seconds. Without it: at Ctrl-C.
    #[arg(long, value_name = "N", value_parser = seconds)]
    seconds: Option<Duration>,
    /// The port of the page and the signaling server; 0: any free one.
    #[arg(long, value_name = "P", default_value_t = 8080)]
    port: u16,
    /// Print nothing but one JSON object at the end. (The page's address goes to the standard error output.)
    #[arg(long)]
    json: bool,
    /// The address to listen on: 0.0.0.0 or :: for other devices in the network.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1")]
    listen: IpAddr,
    /// Serve https:// and wss:// with a self-signed certificate. Browsers on other devices give a page the
    /// microphone only then, once their user has accepted the certificate.
    #[arg(long)]
    tls: bool,
    /// Let pages from this origin (like https://example.org) join too. May be repeated. The demo's own page
    /// always may.
    #[arg(long, value_name = "ORIGIN", value_parser = origin)]
    allow_origin: Vec<String>,
    #[command(flatten)]
    playout: PlayoutArgs,
}

const EXAMPLES: &str = "\
Examples:
  Five peers and a page for this machine's browsers:
    rtcmesh demo
  A check for scripts:
    rtcmesh demo --peers 5 --seconds 10 --port 0 --json
  With the phones and laptops in the room:
    rtcmesh demo --listen 0.0.0.0 --tls";

/// Runs the command.
pub(crate) async fn run(args: Args) -> Outcome {
    let server = DemoServer::start(&args)?;
    let page = server.page();
    let output = Output::new(args.json);
    output.note(format_args!("Open {page} in a browser to join the mesh."));
    if args.json {
        eprintln!("page: {page}");
    }
    let mut stop = std::pin::pin!(asked_to_stop());
    let voices = voices(args.peers.into())?;
    let peers = tokio::select! {
        peers = start_peers(&server, &voices, args.playout) => peers?,
        () = &mut stop => return Err("stopped before all peers were announced".into()),
    };

    let begin = Instant::now();
    let end = async {
        match args.seconds {
            Some(seconds) => tokio::time::sleep(seconds).await,
            None => std::future::pending().await,
        }
    };
    let mut end = std::pin::pin!(end);
    let mut screen = Screen::new(args.json);
    let mut told = begin;
    let mut redraw = interval(screen.interval());
    redraw.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = redraw.tick() => {
                let tell = told.elapsed() >= TELL_INTERVAL;
                if tell {
                    told = Instant::now();
                }
                screen.show(&look(&peers, &voices, tell), begin.elapsed());
            }
            () = &mut end => break,
            () = &mut stop => break,
        }
    }
    let last = look(&peers, &voices, false);
    screen.show(&last, begin.elapsed());
    drop(screen);
    finish(peers, server).await;

    output.object(&last.summary(&page, begin.elapsed()));
    let ok = last.all_recognised();
    if ok {
        output.note(format_args!("Every peer heard every other one: {} voices.", last.total()));
    }
    for complaint in last.unheard() {
        output.note(&complaint);
        tracing::info!("{complaint}");
    }
    Ok(if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The names and tones of so many peers.
fn voices(peers: usize) -> Result<Vec<Voice>, Box<dyn std::error::Error + Send + Sync>> {
    (0..peers)
        .map(|index| {
            let id = PeerId::new(format!("peer-{}", index + 1))?;
            Ok(Voice { id, tone: tones::tone_of(index, peers) })
        })
        .collect()
}

/// Starts all peers at once and returns them in their order.
async fn start_peers(
    server: &DemoServer,
    voices: &[Voice],
    playout: PlayoutArgs,
) -> Result<Vec<NativePeer>, Box<dyn std::error::Error + Send + Sync>> {
    let mut starting = JoinSet::new();
    for index in 0..voices.len() {
        // Of browsers that send it: the native peers have none.
        let mut video = VideoSettings::default();
        video.enabled = true;
        let config = Config::new(server.url())
            .connect(ConnectMode::Automatic)
            .max_peers(voices.len() + ROOM_FOR_GUESTS)
            .video(video)
            .rtcp_interval_ms(1_000);
        let config = playout.apply(config);
        let (tls, voices) = (server.trust()?, voices.to_vec());
        starting.spawn(async move { (index, NativePeer::start(config, tls, voices, index).await) });
    }
    let mut peers = Vec::new();
    while let Some(started) = starting.join_next().await {
        let (index, peer) = started?;
        peers.push((index, peer?));
    }
    peers.sort_by_key(|(index, _)| *index);
    Ok(peers.into_iter().map(|(_, peer)| peer).collect())
}

fn look(peers: &[NativePeer], voices: &[Voice], tell: bool) -> Snapshot {
    peers.iter().for_each(|peer| peer.look(tell));
    let listeners: Vec<_> = peers.iter().map(NativePeer::listener).collect();
    Snapshot::of(voices, listeners.iter().map(|listener| &**listener), Instant::now())
}

/// All peers say goodbye at once; then the server goes.
async fn finish(peers: Vec<NativePeer>, server: DemoServer) {
    let mut leaving = JoinSet::new();
    for peer in peers {
        leaving.spawn(async move { peer.shutdown().await });
    }
    while leaving.join_next().await.is_some() {}
    server.shutdown().await;
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        args: Args,
    }

    fn parse(words: &[&str]) -> Result<Args, String> {
        let program = Program::try_parse_from(["demo"].iter().chain(words));
        program.map(|program| program.args).map_err(|error| error.to_string())
    }

    #[test]
    fn the_demo_is_for_this_machine_alone_unless_told_otherwise() {
        let args = parse(&[]).unwrap();
        assert!(args.listen.is_loopback() && !args.tls && args.allow_origin.is_empty());
        assert_eq!((args.peers, args.port, args.seconds), (5, 8080, None));
    }

    #[test]
    fn wrong_values_are_named() {
        for (words, word) in [
            (["--peers", "1"], "2..=50"),
            (["--peers", "51"], "2..=50"),
            (["--port", "65536"], "0..=65535"),
            (["--seconds", "0"], "above 0"),
            (["--listen", "here"], "IP address"),
            (["--allow-origin", "example.org"], "an origin is"),
        ] {
            let error = parse(&words).unwrap_err();
            assert!(error.contains(word) && error.contains(words[0]), "{words:?}: {error}");
        }
    }

    #[test]
    fn peers_have_names_of_their_own() {
        let voices = voices(50).unwrap();
        assert_eq!(voices[0].id.as_str(), "peer-1");
        assert_eq!(voices[49].id.as_str(), "peer-50");
    }
}
