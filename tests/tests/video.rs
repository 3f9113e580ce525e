//! Encoded video passes through: every codec, both ways, offered at the start or on request.

mod common;

use std::time::Duration;

use common::{automatic, id, strangers};
use rtcmesh_core::config::VideoSettings;
use rtcmesh_core::error::SendError;
use rtcmesh_core::media::{EncodedVideo, RuntimeData, VideoCodec};
use rtcmesh_core::transport::{Event, Media};
use rtcmesh_sim::World;
use rtcmesh_sim::net::Loss;

/// Two connected peers that both wish for video.
fn pair(codec: VideoCodec) -> World {
    let mut video = VideoSettings::default();
    video.enabled = true;
    video.codec = codec;
    let mut world = strangers(1, [automatic("b").video(video), automatic("a").video(video)]);
    assert!(world.run_until(World::all_connected));
    world.run(Duration::from_millis(500));
    world
}

/// A frame of some thousand bytes whose beginning is that of a real one.
fn frame(codec: VideoCodec, n: usize) -> EncodedVideo {
    let keyframe = n.is_multiple_of(30);
    let mut data: Vec<u8> = match (codec, keyframe) {
        // RFC 6386, section 9.1: the frame tag, the start code, 320 × 240.
        (VideoCodec::Vp8, true) => vec![0x10, 0, 0, 0x9d, 0x01, 0x2a, 0x40, 0x01, 0xf0, 0x00],
        (VideoCodec::Vp8, false) => vec![0x11, 0, 0],
        // The VP9 bitstream, section 6.2: frame marker, profile 0, key or inter frame, shown.
        (VideoCodec::Vp9, true) => vec![0x82, 0x49, 0x83, 0x42, 0x00, 0x13, 0xf0, 0x0e, 0xf0],
        (VideoCodec::Vp9, false) => vec![0x86, 0x00],
        // An IDR slice or another one, after its start code (ITU-T H.264, annex B).
        (_, true) => vec![0, 0, 0, 1, 0x65],
        (_, false) => vec![0, 0, 0, 1, 0x41],
    };
    data.extend((0..4_000 + n).map(|k| (k % 250) as u8 + 2));
    let timestamp = Duration::from_micros(33_333) * n as u32;
    EncodedVideo { codec, data: data.into(), timestamp, keyframe, captured: None }
}

fn received(world: &World, host: usize) -> Vec<EncodedVideo> {
    let video = world.hosts[host].media.iter().filter_map(|media| match media {
        Media::Video { frame, .. } => Some(frame.clone()),
        _ => None,
    });
    video.collect()
}

fn send(world: &mut World, host: usize, to: &str, frame: EncodedVideo) -> Result<(), SendError> {
    let data = RuntimeData::Video(frame);
    world.act(host, |transport, now| transport.send_to_peer(now, to, &data))
}

#[test]
fn frames_of_every_codec_pass_both_ways_unchanged() {
    for codec in [VideoCodec::Vp8, VideoCodec::Vp9, VideoCodec::H264] {
        let mut world = pair(codec);
        for n in 0..60 {
            send(&mut world, 0, "a", frame(codec, n)).unwrap();
            send(&mut world, 1, "b", frame(codec, n)).unwrap();
            world.run(Duration::from_millis(33));
        }
        world.run(Duration::from_millis(500));
        for host in 0..2 {
            let frames = received(&world, host);
            assert!(frames.len() >= 59, "{codec:?}: {} frames", frames.len());
            for (n, got) in frames.iter().enumerate() {
                let sent = frame(codec, n);
                assert_eq!((got.codec, got.data == sent.data), (codec, true), "{codec:?}: {n}");
                assert_eq!(got.keyframe, sent.keyframe, "{codec:?}: {n}");
            }
            let between = frames[31].timestamp - frames[1].timestamp;
            assert!(between.abs_diff(Duration::from_secs(1)) < Duration::from_millis(1));
        }
    }
}

#[test]
fn video_is_offered_on_request_beside_a_live_connection() {
    let mut world = strangers(2, [automatic("b"), automatic("a")]);
    assert!(world.run_until(World::all_connected));
    world.run(Duration::from_millis(500));
    let refused = send(&mut world, 0, "a", frame(VideoCodec::Vp8, 0)).unwrap_err();
    assert!(matches!(refused, SendError::NotNegotiated { .. }), "{refused}");
    world.act(0, |transport, now| transport.offer_video(now, "a")).unwrap();
    world.run(Duration::from_millis(500));
    for n in 0..30 {
        send(&mut world, 0, "a", frame(VideoCodec::Vp8, n)).unwrap();
        world.run(Duration::from_millis(33));
    }
    assert!(received(&world, 1).len() >= 28);
    let ended = |event: &Event| matches!(event, Event::Closed { .. } | Event::Failed { .. });
    assert_eq!(world.hosts[0].count(ended), 0);
}

#[test]
fn lost_video_is_sent_again_and_a_keyframe_asked_for_where_that_is_not_enough() {
    let mut world = pair(VideoCodec::Vp8);
    for n in 0..10 {
        send(&mut world, 0, "a", frame(VideoCodec::Vp8, n)).unwrap();
        world.run(Duration::from_millis(33));
    }
    world.weather().loss = Loss::Every(20);
    for n in 10..200 {
        send(&mut world, 0, "a", frame(VideoCodec::Vp8, n)).unwrap();
        world.run(Duration::from_millis(33));
    }
    world.weather().loss = Loss::None;
    world.run(Duration::from_secs(1));
    assert!(received(&world, 1).len() > 180, "{}", received(&world, 1).len());
    // Nothing arrives for longer than is kept for repetition.
    world.cut(0, 1, true);
    for n in 200..260 {
        send(&mut world, 0, "a", frame(VideoCodec::Vp8, n * 30 + 1)).unwrap();
        world.run(Duration::from_millis(33));
    }
    world.cut(0, 1, false);
    for n in 260..400 {
        send(&mut world, 0, "a", frame(VideoCodec::Vp8, n * 30 + 1)).unwrap();
        world.run(Duration::from_millis(33));
    }
    let asked =
        |event: &Event| matches!(event, Event::KeyframeRequested { peer } if *peer == id("a"));
    assert!(world.hosts[0].count(asked) > 0);
    // It stops sending before the keyframe has come: after a while nobody asks any more, until it sends again.
    world.run(Duration::from_secs(6));
    world.hosts[0].events.clear();
    world.run(Duration::from_secs(60));
    assert_eq!(world.hosts[0].count(asked), 0);
    send(&mut world, 0, "a", frame(VideoCodec::Vp8, 400 * 30 + 1)).unwrap();
    world.run(Duration::from_secs(1));
    assert!(world.hosts[0].count(asked) > 0);
}

#[test]
fn malformed_frames_are_the_callers_mistake() {
    let mut world = pair(VideoCodec::Vp8);
    let empty = EncodedVideo { data: Vec::new().into(), ..frame(VideoCodec::Vp8, 0) };
    let error = send(&mut world, 0, "a", empty).unwrap_err();
    assert!(matches!(&error, SendError::InvalidData(text) if text.contains("data")), "{error}");
    send(&mut world, 0, "a", frame(VideoCodec::Vp8, 0)).unwrap();
}
