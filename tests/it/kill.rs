//! A call that takes too long ends its worker: TERM, grace, KILL, the whole group.

use std::time::Duration;

use crate::support::Server;

const KEYS: &str = "workers = 1\nretries = 0\ntimeout = \"600ms\"\nstop_grace = \"100ms\"";

#[test]
fn a_worker_that_hangs_is_ended_and_replaced() {
    let server = Server::with(KEYS).start();
    let old = server.workers();
    let answer = server.answers("hang");
    assert_eq!((answer.status, answer.code().as_str()), (504, "timeout"));
    assert!(answer.took >= Duration::from_millis(590), "{answer:?}");
    assert!(answer.is_within(Duration::from_secs(2)), "{answer:?}");
    server.wait_until("the old worker has gone", |s| !s.is_alive(old[0]));
    server.wait_for_count("httpipe_worker_exits_total{reason=\"timeout\"}", 1.0);
    assert_eq!(server.answers("next").body, "next");
}

#[test]
fn a_worker_that_ignores_term_is_killed() {
    let server = Server::with(KEYS).worker("demo-worker --ignore-term --ignore-eof").start();
    let old = server.workers();
    assert_eq!(server.answers("hang").code(), "timeout");
    server.wait_until("the old worker has gone", |s| !s.is_alive(old[0]));
}

#[test]
fn a_worker_that_stopped_itself_is_killed() {
    let server = Server::with(KEYS).start();
    assert_eq!(server.answers("stop-self now").code(), "timeout");
    assert_eq!(server.answers("next").body, "next");
}

#[test]
fn the_whole_group_goes_with_its_worker() {
    let server = Server::with(KEYS).start();
    let before = server.offspring().len();
    assert_eq!(server.answers("fork 5 a").status, 200);
    server.wait_until("all have begun", |s| s.offspring().len() == before + 5);
    assert_eq!(server.answers("hang").code(), "timeout");
    server.wait_until("what it left behind has gone", |s| s.offspring().len() == before);
}

#[test]
fn an_answer_that_stops_halfway_or_only_drips_is_a_timeout_too() {
    let server = Server::with(KEYS).start();
    assert_eq!(server.answers("half-stall abcdef").code(), "timeout");
    assert_eq!(server.answers("dribble 50 abcdef").code(), "timeout");
    assert_eq!(server.answers("next").body, "next");
}

#[test]
fn a_worker_that_reads_no_more_does_not_hold_the_server() {
    let keys = format!("{KEYS}\nreply = \"{{input}}|{{result}}\"\nin_flight = 1");
    let server = Server::with(&keys).worker("demo-worker --pair").start();
    assert_eq!(server.answers("stop-reading").status, 200);
    // More than a pipe holds, so that the write itself cannot end.
    let answer = server.answers(&"x".repeat(1 << 20));
    assert_eq!(answer.code(), "timeout");
    assert_eq!(server.answers("next").json()["result"], "next");
}

#[test]
fn a_worker_that_left_its_group_is_killed_by_its_process_id() {
    let program = r#"
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.setpgid(0, os.getpgid(os.getppid()))
for line in sys.stdin:
    if line == "hang\n":
        break
    print(line, end="", flush=True)
time.sleep(1000)
"#;
    let keys = format!("{KEYS}\nprobe = {{ send = \"up\" }}");
    let mut server =
        Server::with(&keys).worker("python3 leaves.py").file("leaves.py", program).start();
    let old = server.workers();
    assert_eq!(server.answers("hang").code(), "timeout");
    server.wait_until("the old worker has gone", |s| !s.is_alive(old[0]));
    server.wait_until("the next one answers", |s| s.answers("next").body == "next");
    server.signal("TERM");
    assert_eq!(server.exit_code(), 0);
}
