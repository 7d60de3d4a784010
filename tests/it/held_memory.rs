//! Bodies that arrive and answers that wait for their readers share one memory limit.

use crate::keys::{bearer, with_keys};
use crate::support::{Connection, Pending, Server, whole_machine};

const MEBI: f64 = 1_048_576.0;
const HELD: &str = "httpipe_held_bytes";
const REFUSED: &str = "httpipe_requests_total{route=\"POST /\",status=\"503\"}";

/// A request that announces 1 MiB and keeps the last byte of it back.
fn large_request(server: &Server) -> Connection {
    unfinished(server, "Accept: */*", 1 << 20)
}

/// A request with this field that announces a body and keeps the last byte of it back.
fn unfinished(server: &Server, field: &str, length: usize) -> Connection {
    let mut caller = server.client().connect();
    let head = format!("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n{field}");
    caller.send(format!("{head}\r\n\r\n").as_bytes());
    // The server may have refused it before all was sent.
    caller.try_send(&vec![b'a'; length - 1]);
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

/// Their answers are in a file, and are read from there only into memory that is left for them.
#[test]
fn answers_of_jobs_take_no_more_than_their_limit_while_they_are_read() {
    let server = Server::with("workers = 2\nmessage_max = \"20MiB\"")
        .top("limits = { memory = \"16MiB\" }\njobs = {}")
        .route("match = \"POST /\"\njobs = true")
        .start();
    let fields = ["Prefer: respond-async"];
    let accepted = server.client().request("POST", "/", &fields, "huge 8MiB a");
    let job = accepted.header("location").to_owned();
    let ended = server.client().request("GET", &job, &["Prefer: wait=10"], "");
    assert_eq!(ended.json()["state"], "succeeded");
    let before = server.peak_memory();
    let result = format!("{job}/result");
    let callers: Vec<_> = (0..40).map(|_| server.client().get_later(&result)).collect();
    let refused = "httpipe_requests_total{route=\"none\",status=\"503\"}";
    server.wait_until("most are refused", |s| s.metric(refused) >= 30.0);
    let grown = server.peak_memory().saturating_sub(before);
    assert!(grown < 64 << 20, "{grown} bytes for two answers of 8 MiB");
    callers.into_iter().for_each(Pending::leave);
    server.wait_until("nothing is held", |s| s.metric(HELD) == 0.0);
    assert_eq!(server.client().get(&result).body.len(), 8 << 20);
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

/// Answers each question with one part of 8 MiB.
const ONE_LARGE_PART: &str = r#"
import sys
for line in sys.stdin:
    sys.stdout.write("x" * (8 << 20) + "\nEND\n")
    sys.stdout.flush()
"#;

/// A part is with the connection as soon as it has come.
#[test]
fn a_large_part_that_nobody_reads_is_counted_until_it_is_sent() {
    let server = Server::with("workers = 2\nmessage_max = \"10MiB\"\nstream = \"until:END\"")
        .top("limits = { memory = \"32MiB\", body = \"1MiB\" }")
        .worker("python3 part.py")
        .file("part.py", ONE_LARGE_PART)
        .start();
    let callers: Vec<_> = (0..12).map(|_| server.client().post_later("/", "a")).collect();
    server.wait_until("most are refused", |s| {
        let held = s.metric(HELD);
        assert!(held <= 32.0 * MEBI, "{held} bytes are held");
        s.metric(REFUSED) >= 8.0
    });
    assert!(server.metric(HELD) >= 8.0 * MEBI);
    callers.into_iter().for_each(Pending::leave);
    server.wait_until("nothing is held", |s| s.metric(HELD) == 0.0);
    assert_eq!(server.answers("a").body.len(), (8 << 20) + 1, "one that is read comes whole");
}

/// Two items hang in the workers that there are for them, and the others wait.
#[test]
fn items_that_wait_take_no_more_than_their_limit() {
    let server = Server::with("workers = 4\nmessage_max = \"2MiB\"")
        .top("limits = { memory = \"6MiB\", body = \"2MiB\" }")
        .route("match = \"POST /\"\nitems = 1000")
        .start();
    let begin = |items: &str| {
        let mut caller = server.client().connect();
        let head = "POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\
                    Content-Type: application/jsonl";
        let length = items.len();
        // The server may end the batch before all was sent.
        caller.try_send(format!("{head}\r\n\r\n{length:x}\r\n{items}\r\n").as_bytes());
        caller
    };
    let hanging = begin("hang\nhang\n");
    server.wait_for_count("httpipe_workers{state=\"busy\"}", 2.0);
    let item = "a".repeat(3 << 19) + "\n";
    let callers: Vec<_> = (0..6).map(|_| begin(&item)).collect();
    server.wait_until("items are counted", |s| s.metric(HELD) >= 4.5 * MEBI);
    let held = server.metric(HELD);
    assert!(held <= 6.0 * MEBI, "{held} bytes are held");
    server.wait_for_log("\"code\":\"busy\"");
    drop((hanging, callers));
    server.wait_until("nothing is held", |s| s.metric(HELD) == 0.0);
}

#[test]
fn a_memory_without_room_for_one_body_is_a_problem() {
    let ended = Server::with("").top("limits = { body = \"4MiB\", memory = \"3MiB\" }").refused();
    assert_eq!(ended.code, 2, "{ended:?}");
    assert!(ended.stderr.contains("has no room for a `body` of 4MiB"), "{}", ended.stderr);
}

/// With the limits as they are if nothing is said: 16 MiB a body, 256 MiB in sum.
#[test]
fn a_key_takes_a_quarter_of_the_memory_and_others_go_on() {
    let _alone = whole_machine();
    let server = with_keys("workers = 1", &["alice", "bob"]).start();
    let (alice, bob) = (bearer(&server, "alice"), bearer(&server, "bob"));
    let before = server.memory();
    let callers: Vec<_> = (0..100).map(|_| unfinished(&server, &alice, 16_700_000)).collect();
    server.wait_until("most are refused", |s| s.metric(REFUSED) >= 96.0);
    let held = server.metric(HELD);
    assert!((40.0 * MEBI..=64.0 * MEBI).contains(&held), "{held} bytes are held");
    let grown = server.memory().saturating_sub(before);
    assert!(grown < 128 << 20, "{grown} bytes for at most 64 MiB of bodies");
    let of_bob = unfinished(&server, &bob, 16_700_000);
    server.wait_until("all of it is here", |s| s.metric(HELD) >= held + 16_700_000.0);
    let large = "b".repeat(1_000_000);
    let other = server.client().request("POST", "/", &[&bob], &large);
    assert_eq!((other.status, other.body.len()), (200, large.len()));
    let small = server.client().request("POST", "/", &[&alice], "small ones are served");
    assert_eq!(small.status, 200, "{small:?}");
    let refused = server.client().request("POST", "/", &[&alice], &large);
    assert_eq!((refused.status, refused.code().as_str()), (503, "busy"), "{refused:?}");
    assert_eq!(refused.header("retry-after"), "1");
    drop((callers, of_bob));
    server.wait_until("nothing is held", |s| s.metric(HELD) == 0.0);
    assert_eq!(server.client().request("POST", "/", &[&alice], &large).status, 200);
}

#[test]
fn questions_that_wait_are_counted_once_whatever_they_are_made_of() {
    let server = Server::with("workers = 1\nmessage_max = \"3MiB\"")
        .top("limits = { body = \"2MiB\", memory = \"8MiB\" }")
        .route("match = \"POST /\"")
        .route("match = \"POST /copied\"\nsend = \"{body:json} x\"")
        .start();
    let busy = server.client().post_later("/", "hang");
    server.wait_for_count("httpipe_workers{state=\"busy\"}", 1.0);
    let body = "a".repeat(1 << 20);
    let same = server.client().post_later("/", &body);
    server.wait_until("one waits", |s| s.metric("httpipe_queue_length") == 1.0);
    let first = server.metric(HELD);
    assert!((MEBI..2.0 * MEBI).contains(&first), "the question is the body: {first}");
    let copied = server.client().post_later("/copied", &body);
    server.wait_until("both wait", |s| s.metric("httpipe_queue_length") == 2.0);
    assert_eq!(server.metric(HELD) - first, MEBI + 4.0, "the question instead of the body");
    for caller in [busy, same, copied] {
        caller.leave();
    }
    server.wait_until("nothing is held", |s| s.metric(HELD) == 0.0);
}
