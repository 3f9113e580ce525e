//! What is fetched from a transport, as it is written down and compared.

use serde_json::{Value, json};

use crate::media::DataMessage;
use crate::net::{IoCommand, Transmit};
use crate::trace::{Entry, MAX_FRAME, Sketch, Tape};
use crate::transport::event::{AudioData, Event, Media, Outcome};

fn pass(tape: &Tape, queue: &str, what: Value) {
    tape.pass(&Entry::Output { queue: queue.to_owned(), what });
}

pub(in crate::transport) fn transmit(tape: &Tape, transmit: &Transmit) {
    let remote = tape.labels(|labels| labels.address(transmit.remote));
    pass(tape, "datagram", json!([transmit.socket.0, remote, Sketch::of(&transmit.payload)]));
}

pub(in crate::transport) fn command(tape: &Tape, command: &IoCommand) {
    let what = match command {
        IoCommand::WatchInterfaces => json!("WatchInterfaces"),
        IoCommand::BindUdp { socket, addr } => {
            json!({"BindUdp": [socket.0, tape.labels(|labels| labels.address(*addr))]})
        }
        IoCommand::CloseUdp { socket } => json!({"CloseUdp": socket.0}),
        IoCommand::OpenLink { link, url } => {
            json!({"OpenLink": [link.0, tape.labels(|labels| labels.url(url))]})
        }
        IoCommand::SendLink { link, text } => {
            let text = tape.labels(|labels| labels.signaling(text));
            // As a value: the order of members that got labels is another one.
            let value: Value = serde_json::from_str(&text).unwrap_or(Value::String(text));
            json!({"SendLink": [link.0, value]})
        }
        IoCommand::CloseLink { link, code } => json!({"CloseLink": [link.0, code]}),
    };
    pass(tape, "command", what);
}

pub(in crate::transport) fn outcome(tape: &Tape, outcome: &Outcome) {
    let text = tape.labels(|labels| labels.text(&format!("{outcome:?}")));
    pass(tape, "outcome", Value::from(text));
}

/// A message's kind and size.
fn size(message: &DataMessage) -> Value {
    let kind = match message {
        DataMessage::Text(_) => "text",
        DataMessage::Json(_) => "JSON",
        DataMessage::Binary(_) => "binary",
    };
    json!([kind, message.size()])
}

pub(in crate::transport) fn event(tape: &Tape, event: &Event) {
    let what = match event {
        Event::Data { peer, message, reliability } => {
            json!({"Data": [peer, size(message), format!("{reliability:?}")]})
        }
        Event::PeerDiscovered { peer, capabilities, user_data } => {
            let user_data = tape.labels(|labels| labels.user_data(user_data));
            json!({"PeerDiscovered": [peer, capabilities, user_data]})
        }
        other => Value::from(tape.labels(|labels| labels.text(&format!("{other:?}")))),
    };
    pass(tape, "event", what);
}

pub(in crate::transport) fn media(tape: &Tape, media: &Media) {
    let what = match media {
        Media::Audio { peer, frame } => {
            let data = match &frame.data {
                AudioData::Decoded(audio) => {
                    json!(["samples", audio.samples.len(), audio.sample_rate, audio.channels])
                }
                AudioData::Encoded(packet) => {
                    json!(["opus", packet.opus.len(), packet.duration.as_micros() as u64])
                }
                AudioData::Packet(packet) => {
                    let arrived = tape.nanos(packet.arrived);
                    json!(["packet", packet.payload.len(), packet.sequence, arrived, packet.dtx])
                }
            };
            let flags = format!("{:?}", (frame.concealed, frame.pause, frame.capture));
            let drift = format!("{:?}", frame.clock_drift_ppm);
            let times = [tape.nanos(frame.at), frame.delay.as_nanos() as i64];
            json!({"Audio": [peer, frame.rtp, times, flags, drift, data]})
        }
        Media::Video { peer, frame, contiguous, timing } => {
            let times = [
                tape.nanos(timing.at),
                timing.delay.as_nanos() as i64,
                frame.timestamp.as_nanos() as i64,
            ];
            let rest =
                format!("{:?}", (timing.capture, timing.framerate, timing.audio_sync_offset_ms));
            let size = frame.data.len().min(MAX_FRAME);
            let what = (size, frame.keyframe, contiguous, frame.codec);
            json!({"Video": [peer, timing.rtp, times, rest, what]})
        }
    };
    pass(tape, "media", what);
}
