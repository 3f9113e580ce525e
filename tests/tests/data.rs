//! Messages over data channels: every kind and size, in order, within bounds.

mod common;

use std::time::Duration;

use common::{automatic, channels_open, id, mesh, messages, strangers};
use rtcmesh_core::error::SendError;
use rtcmesh_core::media::{DataMessage, Reliability, RuntimeData};
use rtcmesh_core::transport::Event;
use rtcmesh_sim::World;
use rtcmesh_sim::net::Loss;
use serde_json::json;

fn send(world: &mut World, host: usize, to: &str, message: &DataMessage) -> Result<(), SendError> {
    world.act(host, |transport, now| transport.send_data_channel_message(now, to, message, None))
}

fn pair(seed: u64) -> World {
    let mut world = mesh(seed, 2);
    channels_open(&mut world);
    world
}

#[test]
fn every_kind_arrives_as_what_it_was_sent_as() {
    let mut world = pair(1);
    let sent = [
        DataMessage::text("grüß dich"),
        DataMessage::binary([0, 255, 1].as_slice()),
        DataMessage::Json(json!({"a": [1, null]})),
        DataMessage::text(""),
        DataMessage::binary([].as_slice()),
    ];
    for message in &sent {
        send(&mut world, 0, "p1", message).unwrap();
        world.run(Duration::from_millis(100));
    }
    let mut expected = sent.to_vec();
    // JSON within one message goes as text, so that anybody can read it.
    expected[2] = DataMessage::text(r#"{"a":[1,null]}"#);
    assert_eq!(messages(&world, 1, &id("p0")), expected);
}

#[test]
fn sizes_up_to_16_mb_arrive_whole_between_our_own() {
    let mut world = pair(2);
    let sizes = [1, 16 * 1024 - 14, 16 * 1024 - 13, 16 * 1024 - 12, 65_536, 300_000, 5_000_000];
    for size in sizes {
        let message = DataMessage::binary(vec![size as u8; size]);
        send(&mut world, 0, "p1", &message).unwrap();
        let got = |world: &World| messages(world, 1, &id("p0")).last() == Some(&message);
        assert!(world.run_until(got), "{size}");
    }
    let limit = DataMessage::binary(vec![3; DataMessage::MAX_SIZE]);
    send(&mut world, 0, "p1", &limit).unwrap();
    assert!(world.run_until(|world| messages(world, 1, &id("p0")).last() == Some(&limit)));
    let over = DataMessage::binary(vec![0; DataMessage::MAX_SIZE + 1]);
    let error = send(&mut world, 0, "p1", &over).unwrap_err();
    let (size, limit) = (DataMessage::MAX_SIZE + 1, DataMessage::MAX_SIZE);
    assert_eq!(error, SendError::MessageTooLarge { size, limit });
}

#[test]
fn a_small_message_is_not_stuck_behind_a_large_one() {
    let mut world = pair(3);
    world.weather().latency = Duration::from_millis(20);
    let large = DataMessage::binary(vec![7; 4 * 1024 * 1024]);
    send(&mut world, 0, "p1", &large).unwrap();
    world.run(Duration::from_millis(200));
    let begin = world.elapsed();
    let small = DataMessage::text("me first");
    send(&mut world, 0, "p1", &small).unwrap();
    assert!(world.run_until(|world| messages(world, 1, &id("p0")).contains(&small)));
    let took = world.elapsed() - begin;
    assert!(took < Duration::from_millis(100), "{took:?}");
    assert!(!messages(&world, 1, &id("p0")).contains(&large), "the large one is still under way");
    assert!(world.run_until(|world| messages(world, 1, &id("p0")).contains(&large)));
}

#[test]
fn reliable_messages_survive_losses_in_order() {
    let mut world = pair(4);
    world.weather().loss = Loss::Every(11);
    let sent: Vec<_> = (0..200).map(|n| DataMessage::text(format!("{n}"))).collect();
    for message in &sent {
        send(&mut world, 0, "p1", message).unwrap();
        world.run(Duration::from_millis(5));
    }
    assert!(world.run_until(|world| messages(world, 1, &id("p0")).len() == sent.len()));
    assert_eq!(messages(&world, 1, &id("p0")), sent);
}

#[test]
fn a_full_buffer_is_told_and_so_is_its_emptying() {
    let mut world = pair(5);
    world.weather().latency = Duration::from_millis(50);
    let message = DataMessage::binary(vec![1; 10 * 1024]);
    let mut sent = 0;
    let error = loop {
        match send(&mut world, 0, "p1", &message) {
            Ok(()) => sent += 1,
            Err(error) => break error,
        }
        assert!(sent < 10_000, "the buffer has a bound");
    };
    assert_eq!(error, SendError::SendBufferFull(id("p1")));
    let buffered = world.act(0, |transport, _| transport.buffered_amount("p1")).unwrap();
    assert!(buffered > 500 * 1024, "{buffered}");
    let low = |event: &Event| matches!(event, Event::BufferedAmountLow { .. });
    assert!(world.run_until(|world| world.hosts[0].count(low) == 1));
    send(&mut world, 0, "p1", &message).unwrap();
    assert!(world.run_until(|world| messages(world, 1, &id("p0")).len() == sent + 1));
}

#[test]
fn a_broadcast_reaches_all_and_tells_of_those_it_did_not() {
    let mut world =
        strangers(6, [automatic("a"), automatic("b"), automatic("c").enable_data_channel(false)]);
    let both = |world: &World| world.connected(0, 1) && world.connected(0, 2);
    assert!(world.run_until(both));
    world.run(Duration::from_secs(5));
    let data = RuntimeData::Text("all".into());
    let stats = world.act(0, |transport, now| transport.broadcast(now, &data)).unwrap();
    assert_eq!((stats.total_peers, stats.sent_count, stats.failed_count), (2, 1, 1));
    let (peer, reason) = &stats.failed_peers[0];
    assert_eq!(*peer, id("c"));
    assert!(matches!(reason, SendError::DataChannelNotAvailable { .. }), "{reason}");
    assert!(world.run_until(|world| messages(world, 1, &id("a")) == [DataMessage::text("all")]));
}

#[test]
fn unreliable_messages_come_over_their_own_channel() {
    let mut world = pair(7);
    world.run(Duration::from_secs(1));
    let message = DataMessage::text("maybe");
    let unreliable = Some(Reliability::Unreliable);
    world.act(0, |t, now| t.send_data_channel_message(now, "p1", &message, unreliable)).unwrap();
    let got =
        |event: &Event| matches!(event, Event::Data { reliability: Reliability::Unreliable, .. });
    assert!(world.run_until(|world| world.hosts[1].count(got) == 1));
}
