//! Answers that announce a wrong length are refused before memory is allocated for them, and their
//! worker is replaced.

use crate::support::Server;

/// What a worker writes, as `printf` takes it, and the reason under which its exit is counted.
type Lie = (&'static str, &'static str);

const TOO_BIG: &str = "too_big";
const BROKEN: &str = "bad_answer";

/// Writes what the question says, byte for byte.
const PROGRAM: &str = "while read -r answer; do printf -- \"$answer\"; done";

fn start(framing: &str, message_max: &str) -> Server {
    start_with(framing, message_max, "10s")
}

fn start_with(framing: &str, message_max: &str, timeout: &str) -> Server {
    Server::with(&format!(
        "workers = 1\nretries = 0\ntimeout = \"{timeout}\"\nstop_grace = \"50ms\"\n\
         message_max = \"{message_max}\"\nframing = {{ send = \"line\", reply = \"{framing}\" }}"
    ))
    .worker("sh program")
    .file("program", PROGRAM)
    .start()
}

/// `good` is an answer whose message is `ok`.
fn lies_are_found(framing: &str, message_max: &str, good: &str, lies: &[Lie]) {
    let server = start(framing, message_max);
    assert_eq!(server.answers(good).body, "ok", "{framing}");
    let (memory, descriptors) = (server.memory(), server.descriptors());
    for (number, (lie, reason)) in (1..).zip(lies) {
        let answer = server.answers(lie);
        assert_eq!((answer.status, answer.code().as_str()), (502, "bad_answer"), "{lie}");
        assert!(!answer.body.contains("secret"), "what it wrote is not for callers: {answer:?}");
        server.wait_until(&format!("the exit after `{lie}` was counted"), |s| {
            s.metric("httpipe_worker_exits_total") == f64::from(number)
        });
        let exits = format!("httpipe_worker_exits_total{{reason=\"{reason}\"}}");
        let same = lies[..number as usize].iter().filter(|(_, other)| other == reason).count();
        assert_eq!(server.metric(&exits), same as f64, "{framing} {lie}");
        assert_eq!(server.answers(good).body, "ok", "after `{lie}`");
    }
    server.wait_for_log("\"message\":\"worker lost\"");
    server.wait_until("nothing is left", |s| {
        s.workers().len() == 1 && s.zombies() == 0 && s.descriptors() <= descriptors + 1
    });
    let grown = server.memory().saturating_sub(memory);
    assert!(grown < 8 << 20, "{framing}: {grown} bytes more");
}

#[test]
fn headers_with_impossible_lengths() {
    lies_are_found(
        "content-length",
        "1MiB",
        r"Content-Length: 2\r\n\r\nok",
        &[
            (r"Content-Length: -1\r\n\r\nsecret", BROKEN),
            (r"Content-Length: +6\r\n\r\nsecret", BROKEN),
            (r"Content-Length: 12abc\r\n\r\nsecretsecret", BROKEN),
            (r"Content-Length: 0x6\r\n\r\nsecret", BROKEN),
            (r"Content-Length:\r\n\r\nsecret", BROKEN),
            (r"Content-Type: text/plain\r\n\r\nsecret", BROKEN),
            (r"Content-Length: 6\r\nContent-Length: 5\r\n\r\nsecret", BROKEN),
            (r"secret\r\n\r\n", BROKEN),
            (r"Content-Length: 1048577\r\n\r\nsecret", TOO_BIG),
            (r"Content-Length: 1099511627776\r\n\r\nsecret", TOO_BIG),
            (r"Content-Length: 9223372036854775808\r\n\r\nsecret", TOO_BIG),
            (r"Content-Length: 18446744073709551616\r\n\r\nsecret", TOO_BIG),
            (r"Content-Length: 99999999999999999999999999999999999999\r\n\r\nsecret", TOO_BIG),
        ],
    );
}

#[test]
fn a_header_without_an_end() {
    let server = start("content-length", "1MiB");
    let line = "X-Long: secret secret secret secret secret secret\\r\\n";
    let answer = server.answers(&line.repeat(400));
    assert_eq!((answer.status, answer.code().as_str()), (502, "bad_answer"));
    assert_eq!(server.answers(r"Content-Length: 2\r\n\r\nok").body, "ok");
}

#[test]
fn binary_prefixes_above_the_limit() {
    let good = r"\000\000\000\002ok";
    lies_are_found(
        "u32",
        "1MiB",
        good,
        &[
            (r"\377\377\377\377secret", TOO_BIG),
            (r"\177\377\377\377secret", TOO_BIG),
            (r"\000\020\000\001secret", TOO_BIG),
            // The other byte order: 100 663 296 bytes instead of 6.
            (r"\006\000\000\000secret", TOO_BIG),
        ],
    );
    let good = r"\002\000\000\000ok";
    lies_are_found("u32le", "1MiB", good, &[(r"\377\377\377\377secret", TOO_BIG)]);
    lies_are_found("u16", "1KiB", r"\000\002ok", &[(r"\377\377secret", TOO_BIG)]);
}

#[test]
fn netstrings_that_are_none() {
    lies_are_found(
        "netstring",
        "1MiB",
        "2:ok,",
        &[
            ("999999999999:secret,", TOO_BIG),
            ("99999999999999999999999999999999999999999999:secret,", TOO_BIG),
            ("-6:secret,", BROKEN),
            ("06:secret,", BROKEN),
            (":secret,", BROKEN),
            ("6secret,", BROKEN),
            ("6:secret;", BROKEN),
            ("5:secret,", BROKEN),
        ],
    );
}

/// The length is larger than the rest: the program waits for input in the middle of its answer.
#[test]
fn an_answer_shorter_than_its_length_fails_at_once() {
    for (framing, answer, good) in [
        ("content-length", r"Content-Length: 100\r\n\r\nshort", r"Content-Length: 2\r\n\r\nok"),
        ("u32", r"\000\000\001\000short", r"\000\000\000\002ok"),
        ("u16", r"\000", r"\000\002ok"),
        ("netstring", "100:short,", "2:ok,"),
    ] {
        let server = start_with(framing, "1MiB", "800ms");
        assert_eq!(server.answers(answer).code(), "bad_answer", "{framing}");
        assert_eq!(server.answers(good).body, "ok", "{framing}");
    }
}

/// The length is smaller than the rest: the worker has written bytes that belong to no call.
#[test]
fn bytes_after_a_whole_answer_reach_no_other_call() {
    for (framing, answer, good) in [
        ("content-length", r"Content-Length: 2\r\n\r\noksecret", r"Content-Length: 2\r\n\r\nok"),
        ("u16", r"\000\002oksecret", r"\000\002ok"),
        ("netstring", "2:ok,secret", "2:ok,"),
    ] {
        let server = start(framing, "1KiB");
        let first = server.answers(answer);
        assert!(!first.body.contains("secret"), "{framing}: {first:?}");
        server.wait_until("its worker is gone", |s| s.metric("httpipe_worker_exits_total") == 1.0);
        assert_eq!(server.answers(good).body, "ok", "{framing}");
    }
}
