use proptest::prelude::*;
use rtcmesh_core::sync::SyncState;

use super::*;
use crate::demo::board::Voice;
use crate::reception::Reception;

fn snapshot(peers: usize, guests: usize) -> Snapshot {
    let voices: Vec<Voice> = (1..=peers)
        .map(|n| Voice {
            id: PeerId::new(format!("peer-{n}")).unwrap(),
            tone: 500.0 + 300.0 * n as f64,
        })
        .collect();
    let guests: Vec<PeerId> = (0..guests)
        .map(|n| PeerId::new(format!("a-browser-with-a-very-long-name-{n}")).unwrap())
        .collect();
    let pair = |listener: usize, speaker: usize| {
        let mut reception = Reception::default();
        let quality = &mut reception.quality;
        quality.latency_ms = Some(0.42);
        quality.bitrate_in_kbps = 40.0;
        quality.bitrate_out_kbps = 41.0;
        quality.sync.state = SyncState::Synced;
        quality.sync.audio_delay_ms = 23.4 + speaker as f64;
        quality.sync.clock_drift_ppm = Some(if speaker == 1 { -0.8 } else { 0.3 });
        quality.sync.clock_drift_error_ppm = Some(0.9);
        reception.counters.audio_samples_concealed = 480;
        (listener != speaker).then(|| Pair {
            state: PeerState::Connected,
            connected_after: None,
            recognised: true,
            audible: true,
            tone: voices.get(speaker).map(|voice| voice.tone),
            level_dbfs: -18.6,
            reception,
        })
    };
    let pairs = (0..peers)
        .map(|listener| (0..peers + guests.len()).map(|speaker| pair(listener, speaker)).collect())
        .collect();
    Snapshot { voices, guests, pairs }
}

fn text(snapshot: &Snapshot, size: (usize, usize)) -> Vec<String> {
    render(snapshot, Duration::from_secs(72), size).iter().map(Line::text).collect()
}

#[test]
fn five_peers_fit_into_a_terminal_of_80_by_24_with_everything() {
    let lines = text(&snapshot(5, 0), (80, 22));
    let expected = "\
01:12  5 peers  20 of 20 voices heard  Ctrl-C ends it

hears     peer-1     peer-2     peer-3     peer-4     peer-5
          800 Hz     1100 Hz    1400 Hz    1700 Hz    2000 Hz
peer-1               ● 1100 -19 ● 1400 -19 ● 1700 -19 ● 2000 -19
peer-2    ●  800 -19            ● 1400 -19 ● 1700 -19 ● 2000 -19
peer-3    ●  800 -19 ● 1100 -19            ● 1700 -19 ● 2000 -19
peer-4    ●  800 -19 ● 1100 -19 ● 1400 -19            ● 2000 -19
peer-5    ●  800 -19 ● 1100 -19 ● 1400 -19 ● 1700 -19

worst of  links  heard   rtt ms   loss %  jitter ms  in kbit/s  out kbit/s
peer-1        4      4      0.4      0.0        0.0        160         164
peer-2        4      4      0.4      0.0        0.0        160         164
peer-3        4      4      0.4      0.0        0.0        160         164
peer-4        4      4      0.4      0.0        0.0        160         164
peer-5        4      4      0.4      0.0        0.0        160         164
in time   worst of      clock  held ms  loss %     drift ppm made up ms  A/V ms
peer-1    4               4/4     27.4     0.0     -0.8 ±0.9         10       -
peer-2    4               4/4     27.4     0.0     +0.3 ±0.9         10       -
peer-3    4               4/4     27.4     0.0     -0.8 ±0.9         10       -
peer-4    4               4/4     27.4     0.0     -0.8 ±0.9         10       -
peer-5    4               4/4     26.4     0.0     -0.8 ±0.9         10       -";
    let trimmed: Vec<&str> = lines.iter().map(|line| line.trim_end()).collect();
    assert_eq!(trimmed.join("\n"), expected);
}

#[test]
fn browsers_have_a_column_and_a_row() {
    let lines = text(&snapshot(3, 1), (80, 22));
    assert!(lines[0].contains("3 peers and 1 guest "));
    assert!(lines[2].ends_with("a-browser- "), "{}", lines[2]);
    let rows = |words: &str| lines.iter().filter(|line| line.starts_with(words)).count();
    assert_eq!((rows("a-browser     3"), rows("a-browser 3  ")), (1, 1), "{lines:#?}");
}

#[test]
fn where_there_is_room_each_pair_has_a_row_of_its_own() {
    let mut snapshot = snapshot(2, 1);
    if let Some(pair) = &mut snapshot.pairs[0][2] {
        pair.reception.quality.sync.audio_sync_offset_ms = Some(-60.0);
        pair.reception.quality.sync.state = SyncState::Syncing;
        pair.reception.quality.sync.audio_loss_rate = 0.25;
    }
    let rows = render(&snapshot, Duration::ZERO, (80, 40));
    let lines: Vec<String> = rows.iter().map(Line::text).collect();
    let at = lines.iter().position(|line| line.starts_with("in time   speaker")).unwrap();
    assert_eq!(lines[at - 1], "");
    assert_eq!(
        lines[at + 1..],
        [
            "peer-1    peer-2       synced     24.4     0.0     -0.8 ±0.9         10       -",
            "          a-browser   syncing     25.4    25.0     +0.3 ±0.9         10     -60",
            "peer-2    peer-1       synced     23.4     0.0     +0.3 ±0.9         10       -",
            "          a-browser    synced     25.4     0.0     +0.3 ±0.9         10       -",
        ]
    );
    // What a listener would notice is in colour: a clock that is not known, losses, lips.
    let coloured = rows[at + 2].0.iter().filter(|span| span.1.is_some()).count();
    assert_eq!(coloured, 4, "the name and these three");
}

#[test]
fn the_line_for_files_names_the_worst_of_all() {
    let mut snapshot = snapshot(2, 1);
    if let Some(pair) = &mut snapshot.pairs[0][2] {
        pair.reception.quality.sync.audio_sync_offset_ms = Some(-60.0);
        pair.reception.quality.sync.state = SyncState::Syncing;
    }
    let line = plain(&snapshot, Duration::ZERO);
    assert!(line.contains("3 of 4 clocks known, audio held for 25 ms at most"), "{line}");
    assert!(line.ends_with("video -60 ms from its audio"), "{line}");
}

#[test]
fn cells_shrink_before_the_matrix_goes() {
    let ten = text(&snapshot(8, 0), (80, 30));
    assert!(ten.iter().any(|line| line.contains("● 1100  ")), "{ten:#?}");
    let many = text(&snapshot(20, 0), (80, 60));
    assert!(many.iter().any(|line| line.contains("● ● ● ●")), "{many:#?}");
    let low = text(&snapshot(20, 0), (80, 24));
    assert!(!low.iter().any(|line| line.contains("● ●")));
    assert_eq!(low.len(), 23);
    let lower = text(&snapshot(20, 0), (80, 10));
    assert_eq!(lower.last().unwrap(), "… and 14 more");
}

#[test]
fn colours_leave_the_text_as_it_is() {
    let mut line = Line::plain("a");
    line.push("b", Some(Color::Red));
    assert_eq!(line.text(), "ab");
    assert!(line.coloured().starts_with('a') && line.coloured().contains('b'));
}

#[test]
fn states_other_than_connected_are_named() {
    let mut snapshot = snapshot(2, 0);
    for (state, name) in [(PeerState::Failed, "× failed"), (PeerState::Connecting, "… connecti")]
    {
        if let Some(pair) = &mut snapshot.pairs[0][1] {
            pair.state = state;
        }
        let lines = text(&snapshot, (80, 24));
        assert!(lines.iter().any(|line| line.contains(name)), "{lines:#?}");
    }
}

proptest! {
    #[test]
    fn nothing_is_ever_wider_or_higher_than_the_terminal(
        peers in 2_usize..=50,
        guests in 0_usize..5,
        width in 0_usize..300,
        height in 0_usize..120,
    ) {
        let lines = text(&snapshot(peers, guests), (width, height));
        prop_assert!(lines.len() <= height);
        prop_assert!(lines.iter().all(|line| line.chars().count() <= width.max(NARROWEST)));
    }
}
