//! Values that look like the end of a question, like an answer, or like a tag or nonce of the
//! server. Each reaches a worker once and unchanged, or is refused before any worker sees it.

use serde_json::json;

use crate::support::{Pending, Server};

/// Values that contain an end or a beginning of some framing.
const FORGED: [&str; 12] = [
    "3:abc,",
    "999999999999:",
    ",",
    "Content-Length: 3\r\n\r\nabc",
    "\r\n\r\n",
    "a\nb\n\n",
    "\0\0\0\u{3}abc",
    "\0",
    "{nonce}",
    "{body}{0}$x%s\"'\\",
    "17 tagged",
    "\u{2028}\u{85}\u{b}\u{c}",
];

/// `cat` is a worker for every framing that announces lengths.
#[test]
fn values_in_framings_with_a_length_may_hold_anything() {
    for framing in ["netstring", "u16", "u32", "u32le", "content-length"] {
        let server =
            Server::with(&format!("workers = 1\nframing = \"{framing}\"")).worker("cat").start();
        for value in FORGED {
            let answer = server.answers(value);
            // One final line end of a body is dropped.
            let expected = value.strip_suffix('\n').unwrap_or(value);
            let expected = expected.strip_suffix('\r').unwrap_or(expected);
            assert_eq!((answer.status, answer.body.as_str()), (200, expected), "{framing}");
        }
        assert_eq!(server.metric("httpipe_worker_exits_total"), 0.0, "{framing}");
    }
}

/// Each call has its own end, so no caller can write it. This worker puts each word of its
/// question on a line of its own, the nonce last.
#[test]
fn an_end_with_a_nonce_cannot_be_forged() {
    let keys = "workers = 1\nframing = { send = \"line\", reply = \"until:{nonce}\\n\" }";
    let server = Server::with(keys)
        .worker("sh program")
        .file("program", "while read -r line; do for x in $line; do echo \"$x\"; done; done")
        .route("match = \"POST /\"\nsend = \"{body} {nonce}\"")
        .start();
    for value in ["a", "a {nonce} b", "a 0123456789abcdef0123456789abcdef b"] {
        let answer = server.answers(value);
        let expected = value.replace(' ', "\n") + "\n";
        assert_eq!((answer.status, answer.body), (200, expected));
    }
    assert_eq!(server.metric("httpipe_worker_exits_total"), 0.0);
}

/// If callers know the end, a value that contains it is refused.
#[test]
fn a_known_end_is_refused_before_a_worker_sees_it() {
    let server = Server::with("workers = 1\nframing = \"until:##\"").worker("cat").start();
    for value in ["##", "a##b", "##a"] {
        let answer = server.answers(value);
        assert_eq!((answer.status, answer.code().as_str()), (400, "unsendable"), "{value}");
    }
    assert_eq!(server.answers("a#b").body, "a#b");
    assert_eq!(server.metric("httpipe_calls_total"), 1.0);
}

/// In some programs a first character switches modes. A prefix in `send` prevents that; without it,
/// the value is sent unchanged.
#[test]
fn values_that_are_commands_to_some_programs_are_sent_as_they_are() {
    let server = Server::with("workers = 1")
        .worker("demo-worker --journal seen")
        .route("match = \"GET /plain?x={x}\"")
        .route("match = \"GET /marked?x={x}\"\nsend = \"^{x}\"")
        .start();
    let values = ["", "   ", "-e", "@a", "!a", ".quit", "*", "#a", "~", "&", "%25"];
    for value in values {
        let target = value.replace(' ', "%20").replace('#', "%23").replace('&', "%26");
        let expected = value.replace("%25", "%");
        let plain = server.client().get(&format!("/plain?x={target}"));
        assert_eq!((plain.status, plain.body.as_str()), (200, expected.as_str()));
        let marked = server.client().get(&format!("/marked?x={target}"));
        assert_eq!(marked.body, format!("^{expected}"));
    }
    assert_eq!(server.seen().len(), 2 * values.len());
}

fn speaks_json() -> Server {
    Server::with(
        "workers = 1\nmatching = \"json-id\"\njsonrpc = false\nin_flight = 8\nreply = \"json\"",
    )
    .worker("demo-worker")
    .start()
}

/// The caller's own id comes back byte for byte, whatever it is.
#[test]
fn ids_come_back_as_they_were() {
    let server = speaks_json();
    for id in
        ["7", "-0", "1e3", "1.0", "\"1\"", "\"\"", "\"\\ud800\"", "\"a\\u0000b\"", "\"\u{e9}\""]
    {
        let question = format!("{{\"q\":\"\\ud83d\",\"id\":{id},\"n\":1.10}}");
        let answer = server.answers(&question);
        assert_eq!((answer.status, answer.body.as_str()), (200, question.as_str()));
    }
    assert_eq!(server.metric("httpipe_worker_exits_total"), 0.0);
}

#[test]
fn callers_with_the_same_id_get_their_own_answers() {
    let server = speaks_json();
    let callers: Vec<(usize, Pending)> = (0..40)
        .map(|number| {
            let question = json!({ "id": 7, "q": format!("token-{number}") }).to_string();
            (number, server.client().post_later("/", &question))
        })
        .collect();
    for (number, caller) in callers {
        let answer = caller.answer().json();
        assert_eq!((&answer["id"], &answer["q"]), (&json!(7), &json!(format!("token-{number}"))));
    }
}

#[test]
fn text_that_is_not_json_never_reaches_a_program_that_reads_json() {
    let server =
        Server::with("workers = 1\nmatching = \"json-id\"\njsonrpc = false\nreply = \"json\"")
            .worker("demo-worker --journal seen")
            .start();
    let deep = format!("{{\"id\":1,\"a\":{}1", "[".repeat(100_000));
    for bad in ["", "{bad", "{\"id\":1}}", "{\"id\":1,\"id\":2}", "{\"id\":01}", "'a'", &deep] {
        let answer = server.answers(bad);
        assert_eq!(answer.status, 400, "{}: {answer:?}", &bad[..bad.len().min(40)]);
    }
    let mut raw = server.client().connect();
    raw.send(
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 17\r\n\r\n{\"id\":1,\"a\":\"\xff\xfe\"}",
    );
    assert_eq!(raw.answer().status, 400);
    assert_eq!(server.seen(), Vec::<String>::new());
    assert_eq!(server.answers("{\"id\":1}").body, "{\"id\":1}");
}
