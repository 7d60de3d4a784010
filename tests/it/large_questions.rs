//! Questions of many MiB. Above the limit they are refused at once. Otherwise they are delivered
//! whole and with bounded memory, while other calls are served.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::support::{Over, Server, request, whole_machine};

const LARGE: usize = 64 << 20;

/// Returns a text without repetition, so that a lost, doubled or moved part shows.
pub(crate) fn numbered(length: usize) -> String {
    let mut text = String::with_capacity(length + 16);
    let mut number = 0_u32;
    while text.len() < length {
        write!(text, "{number:x},").expect("a String takes all that is written");
        number += 1;
    }
    text.truncate(length);
    text
}

/// The server answers before the body arrives.
#[test]
fn a_question_above_the_limit_is_refused_by_its_declared_length() {
    let server = Server::with("workers = 1").worker("demo-worker --journal seen").start();
    let memory = server.memory();
    for head in ["", "Expect: 100-continue\r\n"] {
        let mut caller = server.client().connect();
        let head =
            format!("POST / HTTP/1.1\r\nHost: localhost\r\n{head}Content-Length: {LARGE}\r\n\r\n");
        caller.send(head.as_bytes());
        let answer = caller.answer();
        assert_eq!((answer.status, answer.code().as_str()), (413, "body_too_large"));
        assert!(answer.is_within(Duration::from_secs(1)), "{answer:?}");
    }
    let mut caller = server.client().connect();
    caller.send(b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n");
    let chunk = format!("100000\r\n{}\r\n", "x".repeat(1 << 20));
    let sent = (0..64).take_while(|_| caller.try_send(chunk.as_bytes())).count();
    assert!(sent < 64, "it is not read to its end");
    is_refused(&server, &"x".repeat(LARGE));
    let grown = server.memory().saturating_sub(memory);
    assert!(grown < 64 << 20, "{grown} bytes more for 16 MiB at most");
    assert_eq!(server.answers("next").body, "next");
    assert_eq!(server.seen(), ["next"]);
}

/// Sends the whole question before it reads. The caller must get the answer although the server did
/// not read the question.
fn is_refused(server: &Server, text: &str) {
    let mut caller = server.client().connect();
    caller.try_send(&request("POST", "/", &[], text));
    let answer = caller.answer();
    assert_eq!((answer.status, answer.code().as_str()), (413, "body_too_large"));
}

/// `cat` answers while it still reads, so neither side may wait for the other to finish.
#[test]
fn with_larger_limits_it_is_delivered_whole_while_others_are_served() {
    let _alone = whole_machine();
    for framing in ["line", "u32"] {
        let keys = format!(
            "workers = 2\nretries = 0\nmessage_max = \"64MiB\"\n\
                            framing = \"{framing}\""
        );
        let server = Server::with(&keys).worker("cat").top("limits = { body = \"64MiB\" }").start();
        assert_eq!(server.answers("warm").body, "warm");
        let memory = server.memory();
        let text = numbered(LARGE);
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let other = scope.spawn(|| other_caller(&server, &over));
            let until_here = Over(&over);
            let answer = server.answers(&text);
            assert_eq!((answer.status, answer.body.len()), (200, LARGE), "{framing}");
            assert!(answer.body == text, "{framing}: it came back as another");
            is_refused(&server, &format!("{text}x"));
            drop(until_here);
            let others = other.join().expect("others saw only right answers");
            assert!(others.rounds > 20, "{} answers of others", others.rounds);
            let slowest = others.slowest;
            assert!(
                slowest < answer.took,
                "another caller waited {slowest:?} until it was answered"
            );
            let grown = others.memory.saturating_sub(memory);
            assert!(grown < 5 * LARGE as u64, "{framing}: {grown} bytes more, at the most");
        });
        server.wait_until("its memory is given back", |s| {
            s.memory().saturating_sub(memory) < (LARGE / 4) as u64
        });
        assert_eq!(server.metric("httpipe_worker_exits_total"), 0.0);
    }
}

/// A JSON array of numbers with this many bytes: each of them is a token or a part of one.
fn json(length: usize) -> String {
    let mut text = String::with_capacity(length);
    text.push('[');
    while text.len() < length - 8 {
        text.push_str("1,-2.5,");
    }
    text.push_str("0]");
    text
}

/// Each byte of a large JSON text is looked at several times: as the value of a parameter, for its
/// `id`, and in the answer. Meanwhile the thread of the server is free for others.
#[test]
fn a_large_json_text_holds_up_no_other_caller() {
    let _alone = whole_machine();
    let keys = "workers = 2\nretries = 0\nmessage_max = \"16MiB\"\nreply = \"json\"\n\
                matching = \"json-id\"\njsonrpc = false";
    let server = Server::with(keys)
        .worker("cat")
        .top("threads = 1")
        .route("match = \"POST /\"\nsend = \"{body}\"")
        .route("match = \"POST /value?doc={doc:json}\"\nsend = '{\"doc\":{doc}}'")
        .start();
    let value = json(8 << 20);
    for (path, text, expected) in [
        ("/", format!("{{\"id\":\"x\",\"doc\":{value}}}"), None),
        ("/value", format!("{{\"doc\": {value} }}"), Some(format!("{{\"doc\":{value}}}"))),
    ] {
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let other = scope.spawn(|| other_json_caller(&server, &over));
            let until_here = Over(&over);
            let mut caller = server.client().connect();
            let asked = Instant::now();
            let json = ["Content-Type: application/json"];
            caller.send(&request("POST", path, &json, &text));
            let answer = caller.answer();
            let took = asked.elapsed();
            drop(until_here);
            assert!(answer.body == expected.unwrap_or(text), "{path}: it came back as another");
            let slowest = other.join().expect("others saw only right answers");
            assert!(slowest < took / 4, "{path}: {slowest:?} for others beside {took:?}");
        });
    }
}

/// Asks without a pause until `over`. Returns how long the slowest answer took.
fn other_json_caller(server: &Server, over: &AtomicBool) -> Duration {
    let mut caller = server.client().connect();
    let mut slowest = Duration::ZERO;
    for number in 0.. {
        let question = format!("{{\"id\":{number}}}");
        let asked = Instant::now();
        let answer = caller.post("/", &question);
        assert_eq!((answer.status, &answer.body), (200, &question));
        slowest = slowest.max(asked.elapsed());
        if over.load(Ordering::Relaxed) {
            break;
        }
    }
    slowest
}

/// What the other caller saw meanwhile.
#[derive(Default)]
struct Others {
    rounds: usize,
    slowest: Duration,
    /// The most memory that the server had, in bytes.
    memory: u64,
}

/// Asks without a pause until `over`.
fn other_caller(server: &Server, over: &AtomicBool) -> Others {
    let mut caller = server.client().connect();
    let mut others = Others::default();
    while !over.load(Ordering::Relaxed) {
        let token = format!("token-{}", others.rounds);
        let asked = Instant::now();
        let answer = caller.post("/", &token);
        assert_eq!((answer.status, &answer.body), (200, &token), "{}", answer.status);
        others.slowest = others.slowest.max(asked.elapsed());
        others.memory = others.memory.max(server.memory());
        others.rounds += 1;
    }
    others
}
