//! Many items in one request: each has its own outcome, and callers do not notice them.

use std::time::Duration;

use serde_json::Value;

use crate::keys::{bearer, with_keys};
use crate::support::{Answer, Connection, Plan, Server, Stopwatch, pause};

const LINES: &str = "Content-Type: application/jsonl";

/// A pool whose route `/` takes texts, and `/words` a parameter.
fn plan(pool: &str) -> Plan {
    routed(Server::with(pool))
}

fn routed(plan: Plan) -> Plan {
    plan.worker("demo-worker --journal seen")
        .route("match = \"POST /\"\nsend = \"{body}\"\nitems = 5000")
        .route("match = \"POST /kept\"\nsend = \"{body}\"\nitems = 100\nidempotent = true\ncache = \"1h\"")
        .route("match = \"POST /words?w={w}\"\nitems = 3")
}

/// Sends a batch and returns its lines.
fn batch(server: &Server, target: &str, fields: &[&str], body: &str) -> (Answer, Vec<Value>) {
    let answer = server.client().request("POST", target, fields, body);
    let lines = outcomes(&answer.body);
    (answer, lines)
}

fn outcomes(text: &str) -> Vec<Value> {
    let each = text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON"));
    each.collect()
}

/// What a line says in short: `0 200 "a"`, `1 400 bad_parameter`, `too_many_items`.
fn short(line: &Value) -> String {
    let what = match (&line["body"], &line["problem"]["code"]) {
        (Value::Null, code) => code.as_str().expect("a code").to_owned(),
        (body, _) => body.to_string(),
    };
    match line["index"].as_u64() {
        Some(index) => format!("{index} {} {what}", line["status"]),
        None => what,
    }
}

fn shorts(lines: &[Value]) -> Vec<String> {
    lines.iter().map(short).collect()
}

/// Begins a batch whose items come one by one.
fn begin(server: &Server, target: &str) -> Connection {
    let mut connection = server.client().connect();
    let head = format!(
        "POST {target} HTTP/1.1\r\nHost: localhost\r\n{LINES}\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    connection.send(head.as_bytes());
    connection
}

fn send(connection: &mut Connection, text: &str) {
    connection.send(format!("{:x}\r\n{text}\r\n", text.len()).as_bytes());
}

/// So many items, each of which takes so many milliseconds.
fn slow(count: u32, millis: u32) -> String {
    let items: Vec<String> = (0..count).map(|item| format!("sleep {millis} i{item}\n")).collect();
    items.concat()
}

#[test]
fn each_item_has_its_outcome_in_the_order_of_the_items() {
    // Two run at once, so `b` ends before `a`.
    let server = plan("workers = 4\nretries = 0").start();
    let body = "sleep 300 a\nb\n\ncrash now\nsleep 10 c";
    let (answer, lines) = batch(&server, "/", &[LINES], body);
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/jsonl"));
    let expected =
        ["0 200 \"sleep 300 a\"", "1 200 \"b\"", "2 502 worker_lost", "3 200 \"sleep 10 c\""];
    assert_eq!(shorts(&lines), expected);
    let line = server.wait_for_log("\"path\":\"/\"");
    assert!(line.contains("\"items\":4,\"failed\":1"), "{line}");
}

#[test]
fn an_array_is_a_batch_where_a_body_is_an_object_and_a_value_is_the_only_parameter() {
    let server = plan("workers = 2").start();
    let json = "Content-Type: application/json";
    let (_, lines) = batch(&server, "/words", &[json], " [\"a b\", {\"w\": \"c\"}, {\"v\": 1}]");
    assert_eq!(shorts(&lines), ["0 200 \"a b\"", "1 200 \"c\"", "2 400 bad_parameter"]);
    let (_, lines) = batch(&server, "/words", &[LINES], "\"a\"\nb\n\"c\"\n\"d\"\n");
    let expected = ["0 200 \"a\"", "1 400 bad_request", "2 200 \"c\"", "too_many_items"];
    assert_eq!(shorts(&lines), expected);
    let (_, lines) = batch(&server, "/words", &[json], "[\"a\", ");
    assert_eq!(shorts(&lines), ["0 200 \"a\"", "bad_request"], "the last line says what is wrong");
    let one = server.client().request("POST", "/words", &[json], "{\"w\": \"one\"}");
    assert_eq!((one.status, &*one.body), (200, "one"), "an object is a request as ever");
    let text = server.client().request("POST", "/", &[json], "[1]");
    assert_eq!(&*text.body, "[1]", "and so is an array that is the question itself");
}

#[test]
fn outcomes_come_as_items_end_if_the_caller_prefers_that() {
    let server = plan("workers = 4").start();
    let fields = [LINES, "Prefer: unordered"];
    let (answer, lines) = batch(&server, "/", &fields, "sleep 300 a\nb\n");
    assert_eq!(answer.header("preference-applied"), "unordered");
    assert_eq!(shorts(&lines), ["1 200 \"b\"", "0 200 \"sleep 300 a\""]);
}

#[test]
fn an_outcome_is_there_before_the_next_item_is_sent() {
    let server = plan("workers = 2").start();
    let mut connection = begin(&server, "/");
    for item in ["a", "b", "c"] {
        send(&mut connection, &format!("{item}\n"));
        if item == "a" {
            assert_eq!(connection.head().status, 200);
        }
        let told = connection.chunk().expect("a line");
        assert!(told.contains(&format!("\"body\":\"{item}\"")), "{told}");
    }
    connection.send(b"0\r\n\r\n");
    assert_eq!(connection.chunk().as_deref(), Some(""));
    assert_eq!(connection.post("/", "after").body, "after", "the connection is kept");
}

#[test]
fn callers_do_not_wait_for_items_and_no_item_waits_in_the_queue() {
    let server = plan("workers = 2").start();
    let items = slow(8, 400);
    let batch = server.client().later("POST", "/", &[LINES], &items);
    server.wait_until("items run", |s| s.metric("httpipe_workers{state=\"busy\"}") == 1.0);
    for _ in 0..5 {
        assert_eq!(server.metric("httpipe_queue_length"), 0.0);
        let answer = server.client().post("/", "quick");
        assert!(answer.is_within(Duration::from_millis(200)), "{answer:?}");
    }
    assert_eq!(outcomes(&batch.answer().body).len(), 8);
}

#[test]
fn the_rest_is_not_begun_when_the_caller_leaves() {
    let server = plan("workers = 2").start();
    let items = slow(20, 200);
    let batch = server.client().later("POST", "/", &[LINES], &items);
    server.wait_until("one has begun", |s| !s.seen().is_empty());
    batch.leave();
    server.wait_until("nothing runs", |s| s.metric("httpipe_workers{state=\"busy\"}") == 0.0);
    pause(Duration::from_millis(300), "nothing more is begun, which no event shows");
    assert!(server.seen().len() < 4, "{:?}", server.seen());
    let line = server.wait_for_log("\"path\":\"/\"");
    assert!(line.contains("\"items\":"), "{line}");
}

#[test]
fn items_are_read_no_faster_than_their_outcomes() {
    let server = plan("workers = 2").start();
    let mut connection = begin(&server, "/");
    connection.hold_little();
    let item = "x".repeat(100_000);
    // The server may stop reading, so nobody waits for the last to be taken.
    let sender = std::thread::spawn(move || {
        for _ in 0..300 {
            let text = format!("{:x}\r\n{item}\n\r\n", item.len() + 1);
            if !connection.try_send(text.as_bytes()) {
                break;
            }
        }
        connection
    });
    let seen = |server: &Server| server.seen().len();
    server.wait_until("some were asked", |s| seen(s) > 4);
    let before = std::cell::Cell::new(0);
    server.wait_until("no more are asked", |s| {
        pause(Duration::from_millis(300), "that nothing more is asked shows in time only");
        before.replace(seen(s)) == seen(s)
    });
    assert!(seen(&server) < 200, "{} were asked", seen(&server));
    assert!(server.memory() < 200 << 20, "{} bytes", server.memory());
    drop(server);
    drop(sender.join());
}

#[test]
fn items_are_kept_and_shared_as_requests_are() {
    let server = plan("workers = 2").start();
    let (_, lines) = batch(&server, "/kept", &[LINES], "a\nb\na\na\n");
    assert_eq!(lines.len(), 4);
    let (_, lines) = batch(&server, "/kept", &[LINES], "b\n");
    assert_eq!(shorts(&lines), ["0 200 \"b\""]);
    let mut seen = server.seen();
    seen.sort();
    assert_eq!(seen, ["a", "b"]);
}

#[test]
fn items_count_against_the_rate_of_a_key_and_a_batch_is_one_of_its_calls() {
    let names = ["slow --rate 3/1h", "narrow --calls 1"];
    let server = routed(with_keys("workers = 2", &names)).start();
    let (slow, narrow) = (bearer(&server, "slow"), bearer(&server, "narrow"));
    let (_, lines) = batch(&server, "/", &[LINES, &slow], "a\nb\nc\nd\n");
    let expected = ["0 200 \"a\"", "1 200 \"b\"", "2 200 \"c\"", "3 429 rate_limited"];
    assert_eq!(shorts(&lines), expected);
    let items = "sleep 300 a\nb\nc\nd\ne\nf\n";
    let first = server.client().later("POST", "/", &[LINES, &narrow], items);
    server.wait_until("it runs", |s| s.metric("httpipe_workers{state=\"busy\"}") == 1.0);
    let second = server.client().request("POST", "/", &[LINES, &narrow], items);
    assert_eq!((second.status, &*second.code()), (429, "too_many_calls"));
    assert!(outcomes(&first.answer().body).iter().all(|line| line["status"] == 200));
}

#[test]
fn a_server_that_stops_ends_what_runs_and_begins_nothing_more() {
    let mut server = plan("workers = 2").start();
    let items = slow(20, 500);
    let batch = server.client().later("POST", "/", &[LINES], &items);
    server.wait_until("one has begun", |s| !s.seen().is_empty());
    let stopping = Stopwatch::start();
    server.signal("TERM");
    let lines = outcomes(&batch.answer().body);
    assert_eq!(short(&lines[0]), "0 200 \"sleep 500 i0\"", "what runs is ended");
    assert_eq!(short(lines.last().expect("lines")), "draining", "and the last line says why");
    assert_eq!(server.exit_code(), 0);
    assert!(stopping.took().is_below(Duration::from_secs(5)), "{:?}", stopping.took());
}

#[test]
fn a_body_without_progress_ends_the_batch() {
    let server = plan("workers = 2").top("limits.body_timeout = \"500ms\"").start();
    let mut connection = begin(&server, "/");
    let waiting = Stopwatch::start();
    send(&mut connection, "sleep 700 a\nsleep 100 b\n");
    assert_eq!(connection.head().status, 200);
    let mut told = String::new();
    while let Some(chunk) = connection.chunk().filter(|chunk| !chunk.is_empty()) {
        told += &chunk;
    }
    let expected = ["0 200 \"sleep 700 a\"", "1 200 \"sleep 100 b\"", "request_timeout"];
    assert_eq!(shorts(&outcomes(&told)), expected);
    assert!(waiting.took().is_below(Duration::from_secs(5)), "{:?}", waiting.took());
}

#[test]
fn the_time_of_a_batch_is_over_by_its_own_words() {
    let server = plan("workers = 2").start();
    let mut batch = server.client().connect();
    let fields = ["Content-Type: application/jsonl", "X-Timeout: 300ms"];
    batch.ask("POST", "/", &fields, "sleep 60000 a\n");
    let lines = outcomes(&batch.answer().body);
    assert_eq!(shorts(&lines), ["timeout"]);
    let detail = lines[0]["problem"]["detail"].as_str().expect("a text");
    assert!(detail.starts_with("the `X-Timeout` of the batch passed after"), "{detail}");
}

#[test]
fn a_batch_that_waits_for_its_caller_hears_that_the_server_stops() {
    let mut server = plan("workers = 2").start();
    let mut batch = begin(&server, "/");
    batch.send(b"2\r\na\n\r\n");
    server.wait_until("it is answered", |s| !s.seen().is_empty());
    let stopping = Stopwatch::start();
    server.signal("TERM");
    let lines = outcomes(&batch.answer().body);
    assert_eq!(shorts(&lines), ["0 200 \"a\"", "draining"]);
    assert_eq!(server.exit_code(), 0);
    assert!(stopping.took().is_below(Duration::from_secs(5)), "{:?}", stopping.took());
}
