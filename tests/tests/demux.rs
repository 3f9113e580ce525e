//! The index by which datagrams find their connections, compared with asking every engine.

mod common;

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use common::mesh;

#[test]
fn the_index_agrees_with_the_scan() {
    let mut world = mesh(1, 4);
    let compared = Rc::new(Cell::new(0));
    let counter = compared.clone();
    world.on_datagram(move |_, transport, now, datagram| {
        let (indexed, scanned) = transport.owners(now, datagram);
        if scanned.len() == 1 {
            assert_eq!(indexed.as_ref(), scanned.first());
            counter.set(counter.get() + 1);
        } else if let Some(indexed) = indexed {
            // A datagram that is too early for its engine, or one that several would take.
            assert!(scanned.is_empty() || scanned.contains(&indexed));
        }
    });
    let late = world.add(common::automatic("late"));
    world.act(late, |transport, now| transport.start(now)).unwrap();
    world.run(Duration::from_secs(60));
    assert!(world.all_connected());
    assert!(compared.get() > 500, "{}", compared.get());
}
