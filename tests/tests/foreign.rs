//! Foreign peers' ways in signaling, as the mesh sees them: texts of the server, written by hand.

mod common;

use std::time::Duration;

use common::{id, manual};
use rtcmesh_core::id::LinkId;
use rtcmesh_core::net::IoEvent;
use rtcmesh_core::transport::Event;
use rtcmesh_sim::World;
use serde_json::json;

const OFFER: &str = include_str!("../../core/src/peer/fixtures/libwebrtc.sdp");

/// One host, which a foreign peer called `f` finds by the server's texts alone.
fn world() -> World {
    let mut world = World::new(1);
    world.signaling_latency = Duration::from_millis(50);
    let host = world.add(manual("n"));
    world.start_all();
    assert!(world.run_until(|world| world.started(host)));
    world
}

fn receive(world: &mut World, method: &str, params: serde_json::Value) {
    let text = json!({"jsonrpc": "2.0", "method": method, "params": params}).to_string();
    world.act(0, |transport, now| {
        for link in 0..3 {
            transport.handle_io(now, IoEvent::LinkText { link: LinkId(link), text: &text });
        }
    });
}

fn offer(world: &mut World, request: &str) {
    let sdp = OFFER.replace('\n', "\r\n");
    let params = json!({
        "from": "f", "to": "n", "sdp": sdp, "can_trickle_ice_candidates": true, "request_id": request,
    });
    receive(world, "peer.offer", params);
}

fn failures(world: &World) -> usize {
    world.hosts[0].count(|event| matches!(event, Event::Failed { .. }))
}

#[test]
fn an_answer_that_comes_too_late_for_its_offer_ends_nothing_when_there_is_a_newer_one() {
    let mut world = world();
    offer(&mut world, "first");
    world.run(Duration::from_millis(25));
    offer(&mut world, "second");
    // The server knows neither offer, so that it refuses both answers, one after the other.
    world.run(Duration::from_millis(90));
    assert_eq!(failures(&world), 0, "the first answer's refusal has come");
    world.run(Duration::from_millis(50));
    assert_eq!(failures(&world), 1, "and the second one's");
    assert!(world.hosts[0].peer(&id("f")).is_none());
}
