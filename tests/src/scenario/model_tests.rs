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
    model.path(Duration::ZERO, 0, 1, true);
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
        model.event(When::at(Duration::from_secs(second)), 0, event);
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
    apart.event(When::at(Duration::ZERO), 0, &connecting(1));
    apart.event(When::at(Duration::from_secs(2)), 0, &connected(1));
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
    model.event(When::at(Duration::ZERO), 0, &connecting(1));
    model.event(When::at(Duration::ZERO), 0, &connected(1));
    model.calm = true;
    model.event(When::at(Duration::ZERO), 0, &Event::Reconnecting { peer: peer(1) });
    assert!(model.violations[0].what.contains("nothing is wrong"));
}

#[test]
fn nobody_ends_a_connection_in_anothers_name() {
    let long = Duration::from_secs(100);
    for honest in [true, false] {
        let mut model = model();
        for (host, other) in [(0, 1), (1, 0)] {
            model.event(When::at(Duration::ZERO), host, &connecting(other));
            model.event(When::at(Duration::ZERO), host, &connected(other));
        }
        if honest {
            model.event(When::at(long), 1, &closed(0, ClosedBy::Us));
        }
        model.event(When::at(long), 0, &closed(1, ClosedBy::Peer));
        model.all_looked(long, |_| true);
        assert_eq!(model.violations.is_empty(), honest, "{:?}", model.violations);
    }
}

#[test]
fn who_is_parted_stays_apart() {
    let small = data(1, message(1, 0, Class::Small, 0), Reliability::Reliable);
    let lost = Event::Reconnecting { peer: peer(1) };
    let back = Event::Reconnected { peer: peer(1) };
    let stories = [
        vec![connecting(1), connected(1)],
        vec![connecting(1), connected(1), small],
        vec![connecting(1), connected(1), lost, back],
    ];
    // Told at a second and at two minutes; the path is gone since the minute, and an application may have slept since then.
    let (early, cut, late) =
        (Duration::from_secs(1), Duration::from_secs(60), Duration::from_secs(120));
    for story in stories {
        for (earliest, told, right) in
            [(early, early, true), (late, late, false), (cut, late, true)]
        {
            let mut model = model();
            let (last, before) = story.split_last().unwrap();
            before.iter().for_each(|event| model.event(When::at(Duration::ZERO), 0, event));
            if told > cut {
                model.path(cut, 1, 0, false);
            }
            model.event(When { earliest, told }, 0, last);
            assert_eq!(model.violations.is_empty(), right, "{last:?}: {:?}", model.violations);
        }
    }
}

#[test]
fn whoever_was_left_by_wish_stays_away() {
    for asked in [true, false] {
        let mut model = model();
        for event in [connecting(0), connected(0), closed(0, ClosedBy::Peer)] {
            model.wishes.ended(0, 1);
            model.event(When::at(Duration::ZERO), 1, &event);
        }
        if asked {
            model.wishes.forget(1, 0);
        }
        model.event(When::at(Duration::from_secs(60)), 1, &connecting(0));
        assert_eq!(model.violations.is_empty(), asked, "{:?}", model.violations);
    }
}

#[test]
fn what_was_not_fetched_excuses_as_many_messages_and_no_more() {
    let small = |number| data(1, message(1, 0, Class::Small, number), Reliability::Reliable);
    let up = [connecting(1), connected(1)];
    let lagged = |data| Event::Lagged { media: 0, data };
    let fine = [&up[..], &[lagged(3), small(2), small(4)]].concat();
    assert_eq!(verdict(&fine), Vec::<String>::new());
    objects(&[&up[..], &[lagged(3), small(2), small(5)]].concat(), "number 3 was due");
    let mut model = model();
    fine.iter().for_each(|event| model.event(When::at(Duration::ZERO), 0, event));
    model.dropped(Duration::ZERO, 0, (0, 3));
    assert_eq!(model.violations, []);
    model.dropped(Duration::ZERO, 0, (1, 3));
    assert_eq!(model.violations.len(), 1);
}

#[test]
fn answers_must_agree_with_events() {
    let long = Duration::from_secs(9);
    let up = vec![connecting(1), connected(1)];
    let over = vec![connecting(1), connected(1), closed(1, ClosedBy::Peer)];
    let cases = [
        (&[][..], true, false),
        (&[], false, true),
        (&up, true, true),
        (&up, false, false),
        (&over, true, true),
        (&over, false, true),
    ];
    for (events, answer, right) in cases {
        let mut model = model();
        events.iter().for_each(|event| model.event(When::at(Duration::ZERO), 0, event));
        model.answered(long, (0, 1), Duration::ZERO, answer);
        assert_eq!(model.violations.is_empty(), right, "{events:?} {answer}");
    }
}

#[test]
fn numbers_make_no_other_kind_of_violation() {
    let kind =
        |what: &str| Violation { at: Duration::ZERO, host: None, what: what.to_owned() }.kind();
    assert_eq!(kind("not connected with p1 90s after"), kind("not connected with p12 9.5s after"));
    assert_ne!(kind("1 messages have not arrived"), kind("1 datagrams not fetched"));
}
