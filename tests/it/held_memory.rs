//! Bodies that arrive and answers that wait for their readers share one memory limit.

use crate::support::{Connection, Pending, Server};

const MEBI: f64 = 1_048_576.0;
const HELD: &str = "httpipe_held_bytes";
const REFUSED: &str = "httpipe_requests_total{route=\"POST /\",status=\"503\"}";

/// A request that announces 1 MiB and keeps the last byte of it back.
fn large_request(server: &Server) -> Connection {
    let mut caller = server.client().connect();
    caller.send(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1048576\r\n\r\n");
    // The server may have refused it before all was sent.
    caller.try_send(&vec![b'a'; (1 << 20) - 1]);
    caller
}

#[test]
fn large_bodies_that_arrive_at_once_take_no_more_than_their_limit() {
    let server = Server::with("workers = 1\nmessage_max = \"2MiB\"")
        .top("limits = { body = \"1MiB\", memory = \"4MiB\" }")
        .start();
    let before = server.memory();
    let callers: Vec<_> = (0..40).map(|_| large_request(&server)).collect();
    server.wait_until("most are refused", |s| s.metric(REFUSED) >= 30.0);
    let held = server.metric(HELD);
    assert!((1.0 * MEBI..=4.0 * MEBI).contains(&held), "{held} bytes are held");
    let grown = server.memory().saturating_sub(before);
    assert!(grown < 24 << 20, "{grown} bytes for at most 4 MiB of bodies");
    assert_eq!(server.answers("small ones are served").status, 200);
    let refused = server.client().post("/", &"a".repeat(1 << 20));
    assert_eq!((refused.status, refused.code().as_str()), (503, "busy"), "{refused:?}");
    assert_eq!(refused.header("retry-after"), "1");
    drop(callers);
    server.wait_until("nothing is held", |s| s.metric(HELD) == 0.0);
    assert_eq!(server.client().post("/", &"a".repeat(1 << 20)).status, 200);
    server.wait_until("nothing is held", |s| s.metric(HELD) == 0.0);
}

#[test]
fn answers_that_nobody_reads_take_no_more_than_their_limit() {
    let server = Server::with("workers = 2\nmessage_max = \"20MiB\"")
        .top("limits = { memory = \"64MiB\" }")
        .start();
    let ask = |_| server.client().post_later("/", "huge 16MiB a");
    let callers: Vec<_> = (0..12).map(ask).collect();
    server.wait_until("some are refused", |s| s.metric(REFUSED) >= 8.0);
    let held = server.metric(HELD);
    assert!((16.0 * MEBI..=64.0 * MEBI).contains(&held), "{held} bytes are held");
    assert_eq!(server.answers("small ones are served").status, 200);
    callers.into_iter().for_each(Pending::leave);
    server.wait_until("nothing is held", |s| s.metric(HELD) == 0.0);
    assert_eq!(server.answers("huge 16MiB a").body.len(), 16 << 20);
}

/// Each is asked for twice: by a caller who reads it, after whom it is kept, and by one who does not.
#[test]
fn kept_answers_that_nobody_reads_take_no_more_than_their_limit() {
    let server = Server::with("workers = 1\nmessage_max = \"8MiB\"")
        .top("limits = { body = \"1MiB\", memory = \"16MiB\" }\ncache = { memory = \"12MiB\" }")
        .route("match = \"POST /\"\ncache = \"1h\"\nidempotent = true")
        .start();
    let kept = |name: &str| {
        let question = format!("huge 4MiB {name}");
        server.wait_until("it is kept", |s| {
            let answer = s.client().post("/", &question);
            // Those before it may still have all the room.
            answer.status == 503 || answer.header("cache-status").starts_with("httpipe; hit")
        });
        server.client().post_later("/", &question)
    };
    let same: Vec<_> = (0..6).map(|_| kept("same")).collect();
    server.wait_until("it is counted once", |s| s.metric(HELD) == 4.0 * MEBI);
    let others: Vec<_> = (0..8).map(|number| kept(&number.to_string())).collect();
    server.wait_until("there is no room left", |s| s.metric(HELD) > 12.0 * MEBI);
    server.wait_until("some are refused", |s| s.metric(REFUSED) >= 4.0);
    let held = server.metric(HELD);
    assert!(held <= 16.0 * MEBI, "{held} bytes are held");
    for caller in same {
        assert_eq!(caller.answer().body.len(), 4 << 20, "each gets its whole answer");
    }
    others.into_iter().for_each(Pending::leave);
    server.wait_until("nothing is held", |s| s.metric(HELD) == 0.0);
}

/// Answers each question with 12 MiB in lines, and then `END`.
const LONG: &str = r#"
import sys
for line in sys.stdin:
    sys.stdout.write(("x" * 4095 + "\n") * 3072 + "END\n")
    sys.stdout.flush()
"#;

#[test]
fn parts_that_nobody_reads_take_no_more_than_their_limit_and_come_all() {
    let server = Server::with("workers = 6\nstream = \"until:END\"\nstream_buffer = \"16MiB\"")
        .top("limits = { memory = \"8MiB\", body = \"1MiB\" }")
        .worker("python3 long.py")
        .file("long.py", LONG)
        .start();
    let before = server.memory();
    let callers: Vec<_> = (0..6).map(|_| server.client().post_later("/", "a")).collect();
    server.wait_until("much is held", |s| s.metric(HELD) > 6.0 * MEBI);
    server.wait_until("no more is read", |s| {
        let held = s.metric(HELD);
        assert!(held <= 8.0 * MEBI, "{held} bytes are held");
        s.metric("httpipe_workers{state=\"busy\"}") == 6.0
    });
    let grown = server.memory().saturating_sub(before);
    assert!(grown < 32 << 20, "{grown} bytes for at most 8 MiB of parts");
    for caller in callers {
        assert_eq!(caller.answer().body.len(), 12 << 20, "each gets its whole answer");
    }
    server.wait_until("nothing is held", |s| s.metric(HELD) == 0.0);
}

#[test]
fn a_memory_without_room_for_one_body_is_a_problem() {
    let ended = Server::with("").top("limits = { body = \"4MiB\", memory = \"3MiB\" }").refused();
    assert_eq!(ended.code, 2, "{ended:?}");
    assert!(ended.stderr.contains("has no room for a `body` of 4MiB"), "{}", ended.stderr);
}
