//! When the machine is called, and how little the driver does otherwise.

use std::time::Duration;

use super::*;

const MS: Duration = Duration::from_millis(1);

#[test]
fn the_machine_is_called_at_its_deadline() {
    let mesh = Mesh::with_sockets(&[]);
    let start = mesh.world.now();
    mesh.script(|script| script.timers = vec![start + 20 * MS, start + 10 * MS]);
    for (pass, calls) in [(9, 0), (1, 1), (9, 1), (1, 2), (10_000, 2)] {
        mesh.world.pass(pass * MS);
        assert_eq!(mesh.script(|script| script.timeouts), calls, "after {pass} ms more");
    }
}

#[test]
fn an_unchanged_timer_is_not_set_anew() {
    let mesh = Mesh::with_sockets(&[1]);
    let deadline = mesh.world.now() + 1_000 * MS;
    mesh.script(|script| script.timers.push(deadline));
    let resets = mesh.world.resets();
    for _ in 0..100 {
        mesh.world.udp(near(1), |udp| udp.incoming.push_back(Ok((far(), b"x".to_vec()))));
        mesh.world.pass(MS);
    }
    assert_eq!(mesh.world.resets(), resets);
    mesh.script(|script| script.timers.push(deadline - 500 * MS));
    assert_eq!(mesh.world.resets(), resets + 1);
}

#[test]
fn a_machine_that_is_due_without_end_does_not_keep_the_processor() {
    let mesh = Mesh::with_sockets(&[1]);
    let due = mesh.world.now();
    mesh.script(|script| {
        script.stuck = true;
        script.timers.push(due);
    });
    let before = mesh.script(|script| script.timeouts);
    mesh.world.pass(1_000 * MS);
    let calls = mesh.script(|script| script.timeouts) - before;
    assert!((100..1_000).contains(&calls), "{calls} calls in a second");
    mesh.world.udp(near(1), |udp| udp.incoming.push_back(Ok((far(), b"x".to_vec()))));
    mesh.world.run();
    assert!(mesh.log().contains(&"1 received x".into()), "deaf while the machine is stuck");
}

#[test]
fn a_deadline_that_moves_away_sets_no_timer() {
    let mesh = Mesh::with_sockets(&[1]);
    let start = mesh.world.now();
    mesh.script(|script| script.timers.push(start + 50 * MS));
    let resets = mesh.world.resets();
    for n in 1..=100 {
        mesh.script(|script| script.timers = vec![start + (50 + n) * MS]);
        mesh.world.udp(near(1), |udp| udp.incoming.push_back(Ok((far(), b"x".to_vec()))));
        mesh.world.run();
    }
    assert_eq!(mesh.world.resets(), resets);
    mesh.world.pass(149 * MS);
    assert_eq!(mesh.script(|script| script.timeouts), 0);
    mesh.world.pass(MS);
    assert_eq!(mesh.script(|script| script.timeouts), 1);
    assert_eq!(mesh.world.resets(), resets + 1, "set once, when the earlier one had fired");
}

#[test]
fn many_commands_between_two_turns_wake_the_driver_once() {
    let mesh = Mesh::with_sockets(&[1]);
    for n in 1..=100 {
        let command = IoCommand::CloseUdp { socket: SocketId(100 + n) };
        mesh.handle.shared().command(|state, _| state.machine.commands.push_back(command));
    }
    assert_eq!(mesh.world.run(), 1);
    assert!(mesh.script(|script| script.commands.is_empty()));
}

#[test]
fn what_a_command_sends_leaves_without_the_driver() {
    let mesh = Mesh::with_sockets(&[1]);
    let later = mesh.world.now() + 10 * MS;
    let send = |text: &str| {
        mesh.handle.shared().command(|state, _| {
            state.machine.timers = vec![later];
            state.machine.transmit(1, far(), text);
        });
    };
    send("0");
    assert_eq!(mesh.world.run(), 1, "it learns of the deadline");
    assert_eq!(mesh.sent(1), ["0"]);
    for n in 1..100 {
        // To look at a socket wakes the driver.
        mesh.world.run();
        let text = n.to_string();
        send(&text);
        assert_eq!(mesh.world.run(), 0);
        assert_eq!(mesh.sent(1), [text]);
    }
    // A full socket keeps them, and wakes the driver once it is not.
    mesh.world.udp(near(1), |udp| udp.full = true);
    mesh.world.run();
    send("100");
    assert_eq!(mesh.world.run(), 0);
    mesh.world.udp(near(1), |udp| udp.full = false);
    assert_eq!(mesh.world.run(), 1);
    assert_eq!(mesh.sent(1), ["100"]);
}
