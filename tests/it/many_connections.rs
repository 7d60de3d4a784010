//! Callers who are slow, idle, or many.

use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::support::{Connection, Plan, Server, pause, request, whole_machine};

fn hasty() -> Plan {
    Server::with("workers = 1").worker("demo-worker --journal seen").top(
        "limits = { header_timeout = \"400ms\", body_timeout = \"400ms\", \
         write_timeout = \"400ms\", idle_timeout = \"600ms\" }",
    )
}

/// Raises the limit of descriptors for this process and the servers that it starts.
fn raise_limit(wanted: u64) {
    let limit = getrlimit(Resource::Nofile);
    assert!(
        limit.maximum.is_none_or(|most| most >= wanted),
        "`ulimit -Hn` of {limit:?} is too low"
    );
    if limit.current.is_some_and(|now| now < wanted) {
        let raised = Rlimit { current: Some(wanted), maximum: limit.maximum };
        setrlimit(Resource::Nofile, raised).expect("up to the maximum it may be raised");
    }
}

#[test]
fn three_hundred_who_drip_their_heads_are_all_closed_while_others_are_served() {
    let _alone = whole_machine();
    raise_limit(4096);
    let server = hasty().start();
    let descriptors = server.descriptors();
    let mut slow: Vec<Connection> = (0..300).map(|_| server.client().connect()).collect();
    let end = Instant::now() + Duration::from_millis(900);
    let mut round = 0;
    while Instant::now() < end {
        for connection in &mut slow {
            connection.try_send(b"G");
        }
        let question = format!("others {round}");
        assert_eq!(server.answers(&question).body, question);
        round += 1;
        pause(Duration::from_millis(20), "one byte of each head at a time");
    }
    server.wait_until("all of them are closed", |s| s.descriptors() <= descriptors + 3);
    assert!(server.seen().iter().all(|line| line.starts_with("others")));
}

#[test]
fn bodies_that_drip_hold_no_worker() {
    let _alone = whole_machine();
    let server = hasty().start();
    let mut slow: Vec<Connection> = (0..50).map(|_| server.client().connect()).collect();
    for connection in &mut slow {
        connection.send(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n");
    }
    for round in 0..20 {
        for connection in &mut slow {
            connection.try_send(b"x");
        }
        let answer = server.answers("others");
        assert_eq!(answer.body, "others");
        assert!(answer.is_within(Duration::from_millis(500)), "round {round}: {answer:?}");
        pause(Duration::from_millis(30), "one byte of each body at a time");
    }
    for mut connection in slow {
        let rest = connection.rest();
        assert!(rest.is_empty() || rest.starts_with("HTTP/1.1 408"), "{rest}");
    }
    assert!(server.seen().iter().all(|line| line == "others"));
}

/// Its worker is free as soon as the server has read the answer, and the answer is dropped at
/// `write_timeout`.
#[test]
fn a_caller_that_does_not_read_its_large_answer_holds_no_worker_for_long() {
    let server = Server::with("workers = 1\nmessage_max = \"64MiB\"")
        .top("limits = { write_timeout = \"500ms\" }")
        .start();
    assert_eq!(server.answers("warm").status, 200);
    let (memory, descriptors) = (server.memory(), server.descriptors());
    let mut lazy = server.client().connect();
    lazy.send(&request("POST", "/", &[], "huge 24MiB"));
    server.wait_until("its worker is free", |s| {
        s.metric("httpipe_calls_total{outcome=\"ok\"}") == 2.0
            && s.metric("httpipe_workers{state=\"ready\"}") == 1.0
    });
    assert_eq!(server.answers("others").body, "others");
    server.wait_until("it was given up", |s| s.descriptors() <= descriptors + 1);
    server.wait_until("its answer is forgotten", |s| s.memory().saturating_sub(memory) < 16 << 20);
    lazy.close();
}

#[test]
fn thousands_of_idle_connections_cost_little_and_take_nothing_from_others() {
    let _alone = whole_machine();
    raise_limit(12_000);
    let server = Server::with("workers = 1").start();
    assert_eq!(server.answers("warm").status, 200);
    let (descriptors, memory) = (server.descriptors(), server.memory());
    let mut idle: Vec<Connection> = (0..5000).map(|_| server.client().connect()).collect();
    let mut last = idle.pop().expect("there are many");
    assert_eq!(last.post("/", "last").body, "last");
    server.wait_until("all are accepted", |s| s.metric("httpipe_connections") >= 5000.0);
    let each = server.memory().saturating_sub(memory) / 5000;
    assert!(each < 32 << 10, "{each} bytes for each idle connection");
    let answer = server.answers("others");
    assert_eq!(answer.body, "others");
    assert!(answer.is_within(Duration::from_secs(1)), "{answer:?}");
    drop(idle);
    last.close();
    server.wait_until("all are forgotten", |s| s.descriptors() <= descriptors + 2);
}

#[test]
fn connections_above_the_limit_wait_their_turn() {
    let server = Server::with("workers = 1")
        .top("limits = { connections = 5, header_timeout = \"200ms\", idle_timeout = \"200ms\" }")
        .start();
    let kept: Vec<Connection> = (0..20).map(|_| server.client().connect()).collect();
    // Silent connections time out five at a time.
    assert_eq!(server.answers("patient").body, "patient");
    drop(kept);
}

#[test]
fn the_longest_idle_connection_makes_room_for_a_new_one() {
    let server = Server::with("workers = 1").top("limits = { connections = 5 }").start();
    let mut kept: Vec<Connection> = (0..5).map(|_| server.client().connect()).collect();
    for connection in &mut kept {
        assert_eq!(connection.post("/", "first").body, "first");
    }
    let answer = server.answers("new");
    assert_eq!(answer.body, "new");
    assert!(answer.is_within(Duration::from_secs(2)), "{answer:?}");
    assert!(kept[0].rest().is_empty(), "the oldest is closed");
    for connection in &mut kept[1..] {
        assert_eq!(connection.post("/", "still there").body, "still there");
    }
}

#[test]
fn callers_that_wait_for_their_answers_keep_their_places() {
    let server = Server::with("workers = 5").top("limits = { connections = 5 }").start();
    server.wait_until("all are ready", |s| s.metric("httpipe_workers{state=\"ready\"}") == 5.0);
    let waiting: Vec<_> = (0..5).map(|_| server.client().post_later("/", "sleep 300 a")).collect();
    server.wait_until("all work", |s| s.metric("httpipe_workers{state=\"busy\"}") == 5.0);
    assert_eq!(server.answers("patient").body, "patient");
    for caller in waiting {
        assert_eq!(caller.answer().status, 200);
    }
}

/// If a caller leaves, its answer reaches no other caller, whenever it leaves.
#[test]
fn callers_who_leave_at_any_moment_leave_no_answer_to_others() {
    let _alone = whole_machine();
    let server = Server::with("workers = 2\nreply = \"{input}|{result}\"")
        .worker("demo-worker --pair")
        .start();
    let mut random = 7_u64;
    for round in 0..1000 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let question = format!("sleep {} left-{round}", (random >> 60) / 4);
        let leaving = server.client().post_later("/", &question);
        pause(Duration::from_micros(random >> 53), "the moment at which the caller leaves");
        leaving.leave();
        let token = format!("token-{round}");
        assert_eq!(server.answers(&token).json()["result"], token);
    }
    server.wait_until("nothing is left", |s| {
        s.metric("httpipe_queue_length") == 0.0
            && s.metric("httpipe_workers{state=\"ready\"}") == 2.0
    });
    assert_eq!(server.metric("httpipe_worker_exits_total"), 0.0);
}
