//! What the model must object to, and what not.

use rtcmesh_core::id::PeerId;
use rtcmesh_core::media::DataMessage;

use super::*;

fn peer(host: usize) -> PeerId {
    PeerId::new(format!("p{host}")).unwrap()
}

/// Three hosts: the third is in another room. The first two have a path.
fn model() -> Model {
    let mut model = Model::new([0, 0, 1].into_iter());
    model.path_possible(0, 1);
    model
}

fn connecting(host: usize) -> Event {
    Event::Connecting { peer: peer(host) }
}

fn connected(host: usize) -> Event {
    Event::Connected { peer: peer(host), after: Duration::ZERO }
}

fn closed(host: usize, by: ClosedBy) -> Event {
    Event::Closed { peer: peer(host), by }
}

fn data(host: usize, message: DataMessage, reliability: Reliability) -> Event {
    Event::Data { peer: peer(host), message, reliability }
}

/// Message `number` of p1, as it says, of its first connection.
fn message(from: u32, incarnation: u32, class: Class, number: u64) -> DataMessage {
    Tag { from, incarnation, epoch: 1, number }.message(class, 40)
}

/// What the model says of what p0 is told.
fn verdict(events: &[Event]) -> Vec<String> {
    let mut model = model();
    for (second, event) in (0..).zip(events) {
        model.event(Duration::from_secs(second), 0, event);
    }
    model.violations.iter().map(|violation| violation.what.clone()).collect()
}

fn objects(events: &[Event], to: &str) {
    let verdict = verdict(events);
    assert!(verdict.iter().any(|what| what.contains(to)), "{to:?}: {verdict:?}");
}

#[test]
fn a_story_in_its_order_is_fine() {
    let small = |number| data(1, message(1, 0, Class::Small, number), Reliability::Reliable);
    let again = |number| data(1, message(1, 1, Class::Small, number), Reliability::Reliable);
    let story = [
        connecting(1),
        connected(1),
        small(0),
        small(1),
        Event::Reconnecting { peer: peer(1) },
        Event::Reconnected { peer: peer(1) },
        closed(1, ClosedBy::Replaced),
        connecting(1),
        connected(1),
        again(0),
        closed(1, ClosedBy::Us),
    ];
    assert_eq!(verdict(&story), Vec::<String>::new());
}

#[test]
fn stories_out_of_order_are_objected_to() {
    objects(&[connected(1)], "of a peer that is Nothing");
    objects(&[connecting(1), connected(1), connected(1)], "of a peer that is Connected");
    objects(&[closed(1, ClosedBy::Us)], "of a peer that is Nothing");
    objects(&[connecting(2)], "another room");
    objects(&[connecting(7)], "nobody");
    let mut apart = Model::new([0, 0].into_iter());
    apart.event(Duration::ZERO, 0, &connecting(1));
    apart.event(Duration::ZERO, 0, &connected(1));
    assert!(apart.violations[0].what.contains("no path"));
}

#[test]
fn messages_that_are_wrong_are_objected_to() {
    let up = [connecting(1), connected(1)];
    let after = |events: &[Event]| [&up, events].concat();
    let of = |message, reliability| data(1, message, reliability);
    let small = |number| of(message(1, 0, Class::Small, number), Reliability::Reliable);
    objects(&after(&[small(1)]), "number 0 was due");
    objects(&after(&[small(0), small(0)]), "number 1 was due");
    objects(&after(&[of(message(0, 0, Class::Small, 0), Reliability::Reliable)]), "speaks for p0");
    objects(&after(&[of(DataMessage::text("hello"), Reliability::Reliable)]), "sent no message");
    let loose = of(message(1, 0, Class::Unreliable, 5), Reliability::Unreliable);
    objects(&after(&[loose.clone(), loose]), "came twice");
    objects(&after(&[of(message(1, 0, Class::Small, 0), Reliability::Unreliable)]), "came as");
    let later = of(message(1, 3, Class::Small, 0), Reliability::Reliable);
    objects(&after(&[later, small(0)]), "before the latest");
}

#[test]
fn in_peace_nothing_may_end() {
    let mut model = model();
    model.event(Duration::ZERO, 0, &connecting(1));
    model.event(Duration::ZERO, 0, &connected(1));
    model.calm = true;
    model.event(Duration::ZERO, 0, &Event::Reconnecting { peer: peer(1) });
    assert!(model.violations[0].what.contains("nothing is wrong"));
}

#[test]
fn nobody_ends_a_connection_in_anothers_name() {
    let long = Duration::from_secs(100);
    for honest in [true, false] {
        let mut model = model();
        for (host, other) in [(0, 1), (1, 0)] {
            model.event(Duration::ZERO, host, &connecting(other));
            model.event(Duration::ZERO, host, &connected(other));
        }
        if honest {
            model.event(long, 1, &closed(0, ClosedBy::Us));
        }
        model.event(long, 0, &closed(1, ClosedBy::Peer));
        model.all_looked(long, |_| true);
        assert_eq!(model.violations.is_empty(), honest, "{:?}", model.violations);
    }
}
