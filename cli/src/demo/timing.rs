//! The part of the live table that tells how each voice is kept in time.

use crossterm::style::Color;
use rtcmesh_core::id::PeerId;
use rtcmesh_core::sync::SyncState;
use rtcmesh_core::transport::PeerState;

use super::board::{Pair, Snapshot};
use super::table::{Line, name};
use crate::reception::{drift, is_apart, state_name};

/// The loss from which on it is shown in red.
const HEAVY_LOSS: f64 = 0.05;

/// Figures of one pair, or the worst of each kind of several.
#[derive(Debug)]
struct Timing {
    /// How many pairs.
    pairs: usize,
    /// In how many of them the speaker's clock is known.
    synced: usize,
    state: SyncState,
    delay_ms: f64,
    loss: f64,
    drift: (Option<f64>, Option<f64>),
    concealed_ms: f64,
    offset_ms: Option<f64>,
}

impl Timing {
    fn of(pair: &Pair) -> Self {
        let sync = pair.reception.quality.sync;
        Self {
            pairs: 1,
            synced: usize::from(sync.state == SyncState::Synced),
            state: sync.state,
            delay_ms: sync.audio_delay_ms,
            loss: sync.audio_loss_rate,
            drift: (sync.clock_drift_ppm, sync.clock_drift_error_ppm),
            concealed_ms: pair.reception.concealed_ms(),
            offset_ms: sync.audio_sync_offset_ms,
        }
    }

    fn worst(self, other: Self) -> Self {
        let far = |value: Option<f64>| value.map_or(-1.0, f64::abs);
        Self {
            pairs: self.pairs + other.pairs,
            synced: self.synced + other.synced,
            state: self.state.min(other.state),
            delay_ms: self.delay_ms.max(other.delay_ms),
            loss: self.loss.max(other.loss),
            drift: if far(self.drift.0) < far(other.drift.0) { other.drift } else { self.drift },
            concealed_ms: self.concealed_ms.max(other.concealed_ms),
            offset_ms: if far(self.offset_ms) < far(other.offset_ms) {
                other.offset_ms
            } else {
                self.offset_ms
            },
        }
    }

    fn all<'a>(pairs: impl Iterator<Item = &'a Pair>) -> Option<Self> {
        pairs.filter(|pair| is_up(pair)).map(Self::of).reduce(Self::worst)
    }

    /// The columns after the names.
    fn push_to(&self, line: &mut Line, clock: String) {
        let known = self.synced == self.pairs;
        line.push(format!("{clock:>9}"), (!known).then_some(Color::Yellow));
        line.push(format!("{:>9.1}", self.delay_ms), None);
        let loss = (self.loss >= HEAVY_LOSS).then_some(Color::Red);
        line.push(format!("{:>8.1}", self.loss * 100.0), loss);
        line.push(format!("{:>14}", drift(self.drift.0, self.drift.1)), None);
        line.push(format!("{:>11.0}", self.concealed_ms), None);
        let offset = self.offset_ms.map_or_else(|| "-".into(), |ms| format!("{ms:+.0}"));
        line.push(
            format!("{offset:>8}"),
            self.offset_ms.is_some_and(is_apart).then_some(Color::Red),
        );
    }
}

fn is_up(pair: &Pair) -> bool {
    pair.state == PeerState::Connected
}

fn heading(names: &str) -> Line {
    let columns = ["clock", "held ms", "loss %", "drift ppm", "made up ms", "A/V ms"];
    let [clock, held, loss, drift, made_up, offset] = columns;
    Line::dim(format!("{names}{clock:>9}{held:>9}{loss:>8}{drift:>14}{made_up:>11}{offset:>8}"))
}

/// A row per pair that is connected.
fn pairs(snapshot: &Snapshot) -> Vec<Line> {
    let speakers: Vec<&PeerId> =
        snapshot.voices.iter().map(|voice| &voice.id).chain(&snapshot.guests).collect();
    let native = snapshot.voices.len();
    let mut lines = vec![heading(&format!("{:<10}{:<10}", "in time", "speaker"))];
    for (listener, row) in snapshot.voices.iter().zip(&snapshot.pairs) {
        let mut first = true;
        for (index, pair) in row.iter().enumerate() {
            let Some(pair) = pair.as_ref().filter(|pair| is_up(pair)) else { continue };
            let Some(speaker) = speakers.get(index) else { continue };
            let listener =
                if std::mem::take(&mut first) { name(&listener.id) } else { name_of("") };
            let mut line = Line::plain(listener);
            line.push(name(speaker), (index >= native).then_some(Color::Cyan));
            let timing = Timing::of(pair);
            timing.push_to(&mut line, state_name(timing.state).into());
            lines.push(line);
        }
    }
    lines
}

fn name_of(text: &str) -> String {
    format!("{text:<10}")
}

/// A row per native peer, over all that it hears; and one per guest, as the native peers hear it.
fn worst(snapshot: &Snapshot) -> Vec<Line> {
    let mut lines = vec![heading(&format!("{:<10}{:<10}", "in time", "worst of"))];
    let mut push = |id: &PeerId, color: Option<Color>, timing: Option<Timing>| {
        let mut line = Line::default();
        line.push(name(id), color);
        match timing {
            Some(timing) => {
                line.push(name_of(&timing.pairs.to_string()), None);
                timing.push_to(&mut line, format!("{}/{}", timing.synced, timing.pairs));
            }
            None => line.push("0", None),
        }
        lines.push(line);
    };
    for (voice, row) in snapshot.voices.iter().zip(&snapshot.pairs) {
        push(&voice.id, None, Timing::all(row.iter().flatten()));
    }
    let first = snapshot.voices.len();
    for (index, guest) in snapshot.guests.iter().enumerate() {
        let column = snapshot.pairs.iter().filter_map(|row| row.get(first + index)?.as_ref());
        push(guest, Some(Color::Cyan), Timing::all(column));
    }
    lines
}

/// As much as has room in so many lines: each pair for itself, the worst of each peer, or nothing.
pub(super) fn lines(snapshot: &Snapshot, room: usize) -> Vec<Line> {
    [pairs, worst]
        .into_iter()
        .map(|rows| rows(snapshot))
        .find(|rows| rows.len() <= room)
        .unwrap_or_default()
}

/// The worst of all pairs, in words.
pub(super) fn summary(snapshot: &Snapshot) -> String {
    let Some(timing) = Timing::all(snapshot.pairs.iter().flatten().flatten()) else {
        return "no clock known".into();
    };
    let mut words = format!(
        "{} of {} clocks known, audio held for {:.0} ms at most, {:.0} ms made up",
        timing.synced, timing.pairs, timing.delay_ms, timing.concealed_ms,
    );
    if let Some(offset) = timing.offset_ms {
        words += &format!(", video {offset:+.0} ms from its audio");
    }
    words
}
