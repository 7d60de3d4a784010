//! `reply = "http"`: the worker chooses status, headers and body of the response, but not those
//! headers that frame it or that the server adds to every response.

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use crate::support::{Answer, Over, Server};

/// Starts a server whose workers answer with the question itself.
fn start() -> Server {
    Server::with("workers = 2\nretries = 0\nreply = \"http\"").start()
}

/// Answers that do not describe a response.
const NO_RESPONSE: [&str; 12] = [
    r#"{"status":99,"body":"secret"}"#,
    r#"{"status":100,"body":"secret"}"#,
    r#"{"status":101,"body":"secret"}"#,
    r#"{"status":600,"body":"secret"}"#,
    r#"{"status":1000,"body":"secret"}"#,
    r#"{"status":65736,"body":"secret"}"#,
    r#"{"status":-200,"body":"secret"}"#,
    r#"{"status":"200 OK\r\nX: secret","body":"secret"}"#,
    r#"{"status":204,"body":"secret"}"#,
    r#"{"status":205,"body":"secret"}"#,
    r#"{"status":304,"body":"secret"}"#,
    r#"{"status":200,"status":201,"body":"secret"}"#,
];

/// Headers that would end early, or that belong to the server.
const NO_HEADERS: [&str; 17] = [
    r#""X-A":"a\r\nSet-Cookie: secret=1""#,
    r#""X-A":"a\nSet-Cookie: secret=1""#,
    r#""X-A":"a\rSet-Cookie: secret=1""#,
    r#""X-A":"a\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret""#,
    r#""X-A":["fine","a\r\nSet-Cookie: secret=1"]"#,
    r#""X-A":"secret\u0000""#,
    r#""X-A":"secret\u007f""#,
    r#""X-A: b\r\nSet-Cookie":"secret=1""#,
    r#""X A":"secret""#,
    r#""":"secret""#,
    r#""Content-Length":"1""#,
    r#""CONTENT-LENGTH":"999""#,
    r#""Transfer-Encoding":"chunked""#,
    r#""Connection":"close""#,
    r#""Upgrade":"secret""#,
    r#""Keep-Alive":"timeout=1""#,
    r#""Httpipe-Failure":"timeout""#,
];

/// Each is refused on a kept connection, and the next answer on that connection is right.
#[test]
fn answers_that_make_no_response_or_would_frame_one_are_bad_answers() {
    let server = start();
    let headers = NO_HEADERS
        .map(|header| format!("{{\"status\":200,\"headers\":{{{header}}},\"body\":\"secret\"}}"));
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let other = scope.spawn(|| other_caller(&server, &over));
        let until_here = Over(&over);
        let mut caller = server.client().connect();
        for (number, bad) in NO_RESPONSE.into_iter().chain(headers.iter().map(|h| &**h)).enumerate()
        {
            let answer = caller.post("/", bad);
            assert_eq!((answer.status, answer.code().as_str()), (502, "bad_answer"), "{bad}");
            assert!(!format!("{answer:?}").contains("secret"), "{bad}: {answer:?}");
            let token = format!("next-{number}");
            let next = caller.post("/", &json!({ "status": 201, "body": token }).to_string());
            assert_eq!((next.status, &next.body), (201, &token), "after {bad}");
        }
        drop(until_here);
        assert!(other.join().expect("the other caller saw only right answers") > 0);
    });
    server.wait_until("all is as before", |s| s.workers().len() == 2 && s.zombies() == 0);
}

/// Asks for allowed statuses and headers until `over`. Returns how many answers there were.
fn other_caller(server: &Server, over: &AtomicBool) -> usize {
    let mut caller = server.client().connect();
    let mut rounds = 0;
    while !over.load(Ordering::Relaxed) {
        let token = format!("token-{rounds}");
        let status = 200 + rounds % 400;
        let said = json!({ "status": status, "headers": { "X-Token": token } }).to_string();
        let answer = caller.post("/", &said);
        assert_eq!(usize::from(answer.status), status, "{answer:?}");
        assert_eq!(answer.header("x-token"), token, "the answer to another question: {answer:?}");
        rounds += 1;
    }
    rounds
}

/// How often an answer has this header.
fn count(answer: &Answer, name: &str) -> usize {
    answer.headers().filter(|(other, _)| *other == name).count()
}

#[test]
fn headers_that_every_response_has_are_there_once_and_are_the_servers() {
    let server = start();
    let said = json!({ "status": 200, "body": "x", "headers": {
        "X-Request-Id": "secret", "Server-Timing": "secret", "X-Content-Type-Options": "secret",
        "Set-Cookie": ["a=1", "b=2"], "X-Tab": "a\tb", "X-Latin": "\u{e9}",
    }});
    let answer = server.answers(&said.to_string());
    assert_eq!((answer.status, answer.body.as_str()), (200, "x"));
    for name in ["x-request-id", "server-timing", "x-content-type-options", "content-length"] {
        assert_eq!(count(&answer, name), 1, "{name}: {answer:?}");
    }
    assert!(!format!("{answer:?}").contains("secret"), "{answer:?}");
    assert_eq!(count(&answer, "set-cookie"), 2);
    assert_eq!((answer.header("x-tab"), answer.header("x-latin")), ("a\tb", "\u{e9}"));
}

/// A caller that expects a body after such a status would misread the next answer.
#[test]
fn statuses_without_a_body_leave_the_connection_in_step() {
    let server = start();
    let mut caller = server.client().connect();
    for status in [204, 205, 304, 204] {
        let answer = caller.post("/", &json!({ "status": status }).to_string());
        assert_eq!((answer.status, answer.body.as_str()), (status, ""), "{answer:?}");
        assert_eq!(answer.header("transfer-encoding"), "", "{answer:?}");
        assert_eq!(count(&answer, "content-length"), usize::from(status == 205), "{answer:?}");
        assert_eq!(caller.post("/", r#"{"body":"next"}"#).body, "next");
    }
    caller.ask("HEAD", "/?input=%7B%22status%22%3A203%2C%22body%22%3A%22four%22%7D", &[], "");
    let head = caller.head();
    assert_eq!((head.status, head.header("content-length")), (203, "4"));
    assert_eq!(caller.post("/", r#"{"body":"next"}"#).body, "next");
}

/// Otherwise "try again later" would be repeated for an hour.
#[test]
fn responses_whose_status_is_a_failure_are_not_kept() {
    let server = Server::with("workers = 1\nreply = \"http\"")
        .worker("demo-worker --journal seen")
        .route("match = \"GET /?input={input}\"\ncache = \"1h\"")
        .start();
    let mut asked = 0;
    for (status, is_kept) in [
        (200, true),
        (203, true),
        (301, true),
        (304, false),
        (404, false),
        (500, false),
        (503, false),
    ] {
        let target = format!("/?input=%7B%22status%22%3A{status}%7D");
        for round in 0..2 {
            let answer = server.client().get(&target);
            assert_eq!(answer.status, status);
            let kept = answer.header("cache-status");
            let hit = kept.contains("hit");
            assert_eq!(hit, is_kept && round == 1, "{status}: {kept}");
            assert_eq!(kept.contains("stored"), is_kept && round == 0, "{status}: {kept}");
            assert_eq!(answer.header("cache-control").is_empty(), !is_kept, "{answer:?}");
            asked += usize::from(!hit);
        }
    }
    assert_eq!(server.seen().len(), asked);
}
