//! The live table as lines of text: pure, so that it can be tested without a terminal.

use std::time::Duration;

use crossterm::style::{Color, Stylize};
use rtcmesh_core::id::PeerId;
use rtcmesh_core::transport::PeerState;

use super::board::{Pair, Snapshot};
use super::timing;

/// The width of the column of names.
const NAME: usize = 10;
/// The narrowest terminal that is drawn for: below, lines are cut.
const NARROWEST: usize = 20;

/// Text with a colour, or with none.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Span(pub(super) String, pub(super) Option<Color>);

/// One line of the table, never wider than the terminal.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Line(pub(super) Vec<Span>);

impl Line {
    pub(super) fn plain(text: impl Into<String>) -> Self {
        Self(vec![Span(text.into(), None)])
    }

    pub(super) fn dim(text: impl Into<String>) -> Self {
        Self(vec![Span(text.into(), Some(Color::DarkGrey))])
    }

    pub(super) fn push(&mut self, text: impl Into<String>, color: Option<Color>) {
        self.0.push(Span(text.into(), color));
    }

    /// Cuts what would not fit.
    fn cut(mut self, width: usize) -> Self {
        let mut left = width;
        for Span(text, _) in &mut self.0 {
            if let Some((end, _)) = text.char_indices().nth(left) {
                text.truncate(end);
            }
            left -= text.chars().count();
        }
        self
    }

    /// The text alone.
    pub(super) fn text(&self) -> String {
        self.0.iter().map(|Span(text, _)| text.as_str()).collect()
    }

    /// The text with the terminal's codes for its colours.
    pub(super) fn coloured(&self) -> String {
        let coloured = |Span(text, color): &Span| match color {
            Some(color) => text.as_str().with(*color).to_string(),
            None => text.clone(),
        };
        self.0.iter().map(coloured).collect()
    }
}

/// How a cell of the matrix looks, from the widest to the narrowest.
#[derive(Debug, Clone, Copy)]
enum Cell {
    /// Mark, tone and level: `● 1100 -19`.
    Full,
    /// Mark and tone.
    Tone,
    /// The mark alone.
    Mark,
}

impl Cell {
    const fn width(self) -> usize {
        match self {
            Self::Full => 11,
            Self::Tone => 8,
            Self::Mark => 2,
        }
    }

    fn text(self, pair: &Pair) -> String {
        let mark = mark(pair).0;
        let tone = pair.tone.map_or_else(|| "-".into(), |hz| format!("{hz:.0}"));
        match self {
            Self::Full if pair.state == PeerState::Connected => {
                format!("{mark} {tone:>4} {:>3.0}", pair.level_dbfs.max(-99.0))
            }
            Self::Tone if pair.state == PeerState::Connected => format!("{mark} {tone:>4}"),
            Self::Mark => mark.into(),
            Self::Full | Self::Tone => {
                let room = self.width() - 3;
                format!("{mark} {}", pair.state.name().chars().take(room).collect::<String>())
            }
        }
    }
}

/// The sign for how a pair stands.
fn mark(pair: &Pair) -> (&'static str, Color) {
    match pair.state {
        PeerState::Connected if pair.audible => ("●", Color::Green),
        PeerState::Connected => ("○", Color::Yellow),
        PeerState::Connecting | PeerState::Reconnecting => ("…", Color::Yellow),
        PeerState::Failed => ("×", Color::Red),
        _ => ("·", Color::DarkGrey),
    }
}

/// The table for a terminal of this size. What has no room is left out: how voices are kept in time, pair
/// by pair or at all, then the matrix, at last rows of figures.
pub(super) fn render(snapshot: &Snapshot, elapsed: Duration, size: (usize, usize)) -> Vec<Line> {
    let (width, height) = (size.0.max(NARROWEST), size.1);
    let native = snapshot.voices.len();
    let mut lines = vec![head(snapshot, elapsed), Line::default()];
    let figures = figures(snapshot);
    let columns = native + snapshot.guests.len();
    let cell = [Cell::Full, Cell::Tone, Cell::Mark]
        .into_iter()
        .find(|cell| NAME + columns * cell.width() <= width);
    // The matrix has two lines of heading and one below.
    if let Some(cell) = cell.filter(|_| lines.len() + native + 3 + figures.len() <= height) {
        lines.extend(matrix(snapshot, cell));
        lines.push(Line::default());
    }
    let room = height.saturating_sub(lines.len());
    if figures.len() > room {
        let left_out = figures.len() - room.saturating_sub(1);
        lines.extend(figures.into_iter().take(room.saturating_sub(1)));
        lines.push(Line::dim(format!("… and {left_out} more")));
    } else {
        lines.extend(figures);
        let room = height.saturating_sub(lines.len());
        let timing = timing::lines(snapshot, room);
        if !timing.is_empty() && timing.len() < room {
            lines.push(Line::default());
        }
        lines.extend(timing);
    }
    lines.truncate(height);
    lines.into_iter().map(|line| line.cut(width)).collect()
}

fn head(snapshot: &Snapshot, elapsed: Duration) -> Line {
    let mut line = Line::plain(format!("{}  {} peers", clock(elapsed), snapshot.voices.len()));
    if !snapshot.guests.is_empty() {
        line.push(format!(" and {}", guests(snapshot)), None);
    }
    let (audible, total) = (snapshot.audible(), snapshot.total());
    line.push(
        format!("  {audible} of {total} voices heard"),
        Some(if audible == total { Color::Green } else { Color::Yellow }),
    );
    line.push("  Ctrl-C ends it", Some(Color::DarkGrey));
    line
}

fn guests(snapshot: &Snapshot) -> String {
    match snapshot.guests.len() {
        1 => "1 guest".into(),
        more => format!("{more} guests"),
    }
}

/// Who hears whom: a row per listener, a column per speaker.
fn matrix(snapshot: &Snapshot, cell: Cell) -> Vec<Line> {
    let width = cell.width();
    let mut names = Line::dim(format!("{:<NAME$}", "hears"));
    let mut tones = Line::dim(format!("{:<NAME$}", ""));
    if !matches!(cell, Cell::Mark) {
        let short = |id: &PeerId| id.as_str().chars().take(width - 1).collect::<String>();
        for voice in &snapshot.voices {
            names.push(format!("{:<width$}", short(&voice.id)), None);
            let tone = format!("{:.0} Hz", voice.tone);
            tones.push(format!("{tone:<width$}"), Some(Color::DarkGrey));
        }
        for guest in &snapshot.guests {
            names.push(format!("{:<width$}", short(guest)), Some(Color::Cyan));
            tones.push(format!("{:<width$}", "guest"), Some(Color::DarkGrey));
        }
    } else {
        tones = Line::dim(format!("{:<NAME$}a column per speaker, in the same order", ""));
    }
    let rows = snapshot.voices.iter().zip(&snapshot.pairs).map(|(listener, row)| {
        let mut line = Line::plain(name(&listener.id));
        for (speaker, pair) in row.iter().enumerate() {
            let itself = snapshot.voices.get(speaker).is_some_and(|v| v.id == listener.id);
            let (text, color) = match pair {
                Some(pair) if !itself => (cell.text(pair), Some(mark(pair).1)),
                _ => (if itself { "" } else { "·" }.into(), Some(Color::DarkGrey)),
            };
            line.push(format!("{text:<width$}"), color);
        }
        line
    });
    [names, tones].into_iter().chain(rows).collect()
}

/// A name in its column.
pub(super) fn name(id: &PeerId) -> String {
    let short: String = id.as_str().chars().take(NAME - 1).collect();
    format!("{short:<NAME$}")
}

/// The figures of several pairs: the worst of each kind, and the sum of the bitrates.
#[derive(Debug, Default)]
struct Sum {
    links: usize,
    heard: usize,
    rtt_ms: Option<f64>,
    loss: f64,
    jitter_ms: f64,
    kbps: (f64, f64),
}

impl Sum {
    fn of<'a>(pairs: impl Iterator<Item = &'a Pair>) -> Self {
        let connected = pairs.filter(|pair| pair.state == PeerState::Connected);
        connected.fold(Self::default(), |sum, pair| Self {
            links: sum.links + 1,
            heard: sum.heard + usize::from(pair.audible),
            rtt_ms: match (sum.rtt_ms, pair.reception.quality.latency_ms) {
                (Some(one), Some(other)) => Some(one.max(other)),
                (one, other) => one.or(other),
            },
            loss: sum.loss.max(pair.reception.quality.packet_loss_rate),
            jitter_ms: sum.jitter_ms.max(pair.reception.quality.jitter_ms),
            kbps: (
                sum.kbps.0 + pair.reception.quality.bitrate_in_kbps,
                sum.kbps.1 + pair.reception.quality.bitrate_out_kbps,
            ),
        })
    }

    fn line(&self, id: &PeerId, color: Option<Color>) -> Line {
        let mut line = Line(vec![Span(name(id), color)]);
        let rtt = self.rtt_ms.map_or_else(|| "-".into(), |ms| format!("{ms:.1}"));
        line.push(format!("{:>5}{:>7}{rtt:>9}", self.links, self.heard), None);
        let loss = format!("{:>9.1}", self.loss * 100.0);
        line.push(loss, (self.loss >= 0.05).then_some(Color::Red));
        line.push(
            format!("{:>11.1}{:>11.0}{:>12.0}", self.jitter_ms, self.kbps.0, self.kbps.1),
            None,
        );
        line
    }
}

/// A row of figures per native peer, over all that it is connected to; and one per guest, as the native
/// peers see it.
fn figures(snapshot: &Snapshot) -> Vec<Line> {
    let mut lines = vec![Line::dim(format!(
        "{:<NAME$}{:>5}{:>7}{:>9}{:>9}{:>11}{:>11}{:>12}",
        "worst of", "links", "heard", "rtt ms", "loss %", "jitter ms", "in kbit/s", "out kbit/s"
    ))];
    let native = snapshot.voices.iter().zip(&snapshot.pairs);
    lines.extend(native.map(|(voice, row)| Sum::of(row.iter().flatten()).line(&voice.id, None)));
    let first = snapshot.voices.len();
    lines.extend(snapshot.guests.iter().enumerate().map(|(index, guest)| {
        let column = snapshot.pairs.iter().filter_map(|row| row.get(first + index)?.as_ref());
        Sum::of(column).line(guest, Some(Color::Cyan))
    }));
    lines
}

/// One line for outputs that are no terminals.
pub(super) fn plain(snapshot: &Snapshot, elapsed: Duration) -> String {
    let pairs = snapshot.pairs.iter().flatten().flatten();
    let sum = Sum::of(pairs);
    let rtt = sum.rtt_ms.map_or_else(|| "-".into(), |ms| format!("{ms:.1} ms"));
    format!(
        "{} {} peers, {}: {} of {} connected, {} heard; worst round trip {rtt}, loss {:.1} %, \
         jitter {:.1} ms; {:.0} kbit/s in all; {}",
        clock(elapsed),
        snapshot.voices.len(),
        guests(snapshot),
        snapshot.connected(),
        snapshot.total(),
        snapshot.audible(),
        sum.loss * 100.0,
        sum.jitter_ms,
        sum.kbps.0,
        timing::summary(snapshot),
    )
}

fn clock(elapsed: Duration) -> String {
    let seconds = elapsed.as_secs();
    format!("{:02}:{:02}", seconds / 60, seconds % 60)
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
