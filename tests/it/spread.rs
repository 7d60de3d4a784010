//! Pools over several hosts: real servers, with a real NATS between them.

use std::thread;

use rustix::process::Signal;

use crate::support::nats::Nats;
use crate::support::{Plan, Server};

/// A server that shares the calls of its pool through this NATS, with further keys of the pool.
fn shared(nats: &Nats, keys: &str) -> Plan {
    let top = format!("[spread]\nnats = \"{}\"\n", nats.url());
    Server::with(&format!("spread = true\n{keys}")).top(&top)
}

/// A front end without workers.
fn front(nats: &Nats, keys: &str) -> Server {
    shared(nats, &format!("workers = 0\n{keys}")).start_unready()
}

/// A host without a listener.
fn host(nats: &Nats, keys: &str) -> Server {
    let server = shared(nats, keys).option("--listen").option("off").start_host();
    server.wait_until_ready();
    server
}

/// Waits until the front end can place so many calls.
fn wait_for_slots(front: &Server, slots: u64) {
    front.wait_until("it sees the workers of others", |it| {
        it.status()["pools"][0]["away"]["slots"] == slots
    });
}

#[test]
fn a_call_of_a_front_end_without_workers_is_answered_by_a_host_without_listeners() {
    let Some(nats) = Nats::start("") else { return };
    let front = front(&nats, "");
    assert_eq!(front.admin().get("/ready").status, 503, "nobody can answer");
    let host = host(&nats, "workers = 2");
    front.wait_until_ready();
    assert_eq!(front.answers("a").body, "a");
    assert_eq!(host.metric(r#"httpipe_calls_total{pool="main",route="spread",outcome="ok"}"#), 1.0);
    let status = front.status();
    assert_eq!(status["spread"]["connected"], true);
    assert_eq!(status["spread"]["hosts"][0]["pools"][0]["shares"], true);
}

#[test]
fn a_server_with_a_free_worker_keeps_its_calls() {
    let Some(nats) = Nats::start("") else { return };
    let front = shared(&nats, "workers = 1").start();
    let host = host(&nats, "workers = 1");
    front.wait_until("it sees the host", |it| it.status()["pools"][0]["away"]["slots"] == 1);
    for _ in 0..20 {
        assert_eq!(front.answers("a").body, "a");
    }
    let elsewhere = r#"httpipe_calls_total{pool="main",route="spread",outcome="ok"}"#;
    assert_eq!(host.metric(elsewhere), 0.0, "its own worker was free each time");
}

#[test]
fn hosts_of_another_version_get_no_calls() {
    let Some(nats) = Nats::start("") else { return };
    let front = front(&nats, "version = \"2\"");
    let other = host(&nats, "version = \"1\"\nworkers = 1");
    front.wait_until("it sees the host", |it| {
        it.status()["spread"]["hosts"][0]["pools"][0]["shares"] == false
    });
    assert_eq!(front.admin().get("/ready").status, 503);
    let same = host(&nats, "version = \"2\"\nworkers = 1");
    front.wait_until_ready();
    assert_eq!(front.answers("a").body, "a");
    let elsewhere = r#"httpipe_calls_total{pool="main",route="spread",outcome="ok"}"#;
    assert_eq!((other.metric(elsewhere), same.metric(elsewhere)), (0.0, 1.0));
}

#[test]
fn no_call_is_lost_where_nats_is_killed_and_comes_back() {
    let Some(mut nats) = Nats::start("") else { return };
    let front = front(&nats, "");
    let _host = host(&nats, "workers = 2");
    wait_for_slots(&front, 2);
    thread::scope(|scope| {
        let calls: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| (0..50).map(|_| front.answers("a").body).all(|it| it == "a")))
            .collect();
        nats.kill();
        front.wait_until("it is cut off", |it| it.status()["spread"]["connected"] == false);
        nats.start_again();
        for call in calls {
            assert!(call.join().expect("a caller"), "each call was answered");
        }
    });
    let error = front.status()["spread"]["last_error"].to_string();
    assert!(error.contains("nats://127.0.0.1"), "{error}");
}

#[test]
fn a_host_that_drains_ends_what_it_has() {
    let Some(nats) = Nats::start("") else { return };
    let front = front(&nats, "");
    let mut host = host(&nats, "workers = 1");
    wait_for_slots(&front, 1);
    let pending = front.client().get_later("/?input=sleep%201s");
    host.wait_for_count(r#"httpipe_workers{pool="main",state="busy"}"#, 1.0);
    host.signal("TERM");
    assert_eq!(pending.answer().status, 200);
    assert_eq!(host.exit_code(), 0);
    wait_for_slots(&front, 0);
}

#[test]
fn a_server_starts_without_nats_and_serves_with_its_own_workers() {
    let Some(mut nats) = Nats::start("") else { return };
    nats.kill();
    let server = shared(&nats, "workers = 1").start();
    assert_eq!(server.answers("a").body, "a");
    assert_eq!(server.status()["spread"]["connected"], false);
    nats.start_again();
    server.wait_until("it has connected", |it| it.status()["spread"]["connected"] == true);
    nats.signal(Signal::STOP);
    server.wait_until("it is cut off", |it| it.status()["spread"]["connected"] == false);
    nats.signal(Signal::CONT);
    server.wait_until("it has connected", |it| it.status()["spread"]["connected"] == true);
}
