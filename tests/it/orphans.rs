//! No process outlives the server, however it ends.

use crate::support::Server;

#[test]
fn a_server_that_is_killed_takes_its_workers_along() {
    let mut server =
        Server::with("workers = 3").worker("demo-worker --ignore-term --ignore-eof").start();
    server.wait_until("there are three", |s| s.workers().len() == 3);
    server.signal("KILL");
    assert_eq!(server.exit_code(), -1);
    server.wait_until("all have gone", |s| s.offspring().is_empty());
}

#[test]
fn a_server_that_is_killed_takes_along_what_its_workers_left_behind() {
    let mut server = Server::with("workers = 1").start();
    assert_eq!(server.answers("fork 3 a").status, 200);
    server.wait_until("all have begun", |s| s.offspring().len() >= 4);
    server.signal("KILL");
    assert_eq!(server.exit_code(), -1);
    server.wait_until("all have gone", |s| s.offspring().is_empty());
}

#[test]
fn a_stop_takes_them_along_too() {
    let mut server = Server::with("workers = 2\nstop_grace = \"100ms\"")
        .worker("demo-worker --ignore-term --ignore-eof")
        .start();
    assert_eq!(server.answers("fork 3 a").status, 200);
    server.signal("TERM");
    assert_eq!(server.exit_code(), 0);
    server.wait_until("all have gone", |s| s.offspring().is_empty());
}

#[test]
fn a_worker_killed_from_outside_is_replaced() {
    let server = Server::with("workers = 2").start();
    assert_eq!(server.answers("warm").status, 200);
    let before = server.workers();
    server.signal_worker(before[0], "KILL");
    server.wait_until("there are two again", |s| {
        let now = s.workers();
        now.len() == 2 && !now.contains(&before[0])
    });
    server.wait_for_count("httpipe_worker_exits_total{reason=\"crash\"}", 1.0);
}

#[test]
fn a_killed_guard_is_replaced_before_anything_else_happens() {
    let mut server = Server::with("workers = 1").start();
    assert_eq!(server.answers("fork 3 a").status, 200);
    server.wait_until("all have begun", |s| s.offspring().len() >= 4);
    let first = server.kill_guard();
    server.wait_for_log("guard process was lost; another has started");
    assert_ne!(server.guard(), Some(first));
    server.signal("KILL");
    assert_eq!(server.exit_code(), -1);
    server.wait_until("all have gone", |s| s.offspring().is_empty());
}
