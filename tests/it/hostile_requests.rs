//! Requests that can be read in two ways. However the server answers, no part of a body ever
//! becomes a question of its own.

use std::time::Duration;

use crate::support::{Plan, Server, request};

/// What the worker must never be asked.
const HIDDEN: &str = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 8\r\n\r\nsmuggled";

fn journaled() -> Plan {
    Server::with("workers = 1").worker("demo-worker --journal seen").top(
        "limits = { header = \"32KiB\", body = \"64KiB\", header_timeout = \"300ms\", \
         body_timeout = \"300ms\", idle_timeout = \"300ms\" }",
    )
}

/// Sends these bytes and returns the statuses that come until the server closes.
fn statuses(server: &Server, bytes: &[u8]) -> Vec<String> {
    let mut connection = server.client().connect();
    connection.try_send(bytes);
    let text = connection.rest();
    // A body may end without a line end, so a status line may follow it directly.
    let answers = text.split("HTTP/1.1 ").skip(1);
    answers.map(|answer| answer.chars().take(3).collect()).collect()
}

#[test]
fn nothing_of_a_body_is_ever_read_as_a_request() {
    let server = journaled().start();
    let long = format!("5;{}\r\nabcde\r\n0\r\n\r\n", "x".repeat(1 << 20));
    let chunked = "Transfer-Encoding: chunked";
    let table: &[(&str, &str)] = &[
        ("Content-Length: 3\r\nTransfer-Encoding: chunked", "0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\nContent-Length: 3", "3\r\nabc\r\n0\r\n\r\n"),
        ("Content-Length: 3\r\nContent-Length: 60", "abc"),
        ("Content-Length: +3", "abc"),
        ("Content-Length: 3,3", "abc"),
        ("Content-Length: 3, 60", "abc"),
        ("Content-Length: -1", ""),
        ("Content-Length: 0x3", "abc"),
        ("Content-Length: 3 3", "abc"),
        ("Content-Length: 18446744073709551616", "abc"),
        ("Content-Length : 3", "abc"),
        ("Content-Length\t: 3", "abc"),
        (" Content-Length: 3", "abc"),
        ("X: a\r\n Content-Length: 3", "abc"),
        ("Content-Length:\r\n 3", "abc"),
        ("X: \0\r\nContent-Length: 3", "abc"),
        ("X: a\rContent-Length: 60\r\nContent-Length: 3x", "abc"),
        ("Transfer-Encoding: xchunked", "0\r\n\r\n"),
        ("Transfer-Encoding: gzip, chunked", "0\r\n\r\n"),
        ("Transfer-Encoding: chunked, identity", "0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: x", "0\r\n\r\n"),
        ("Transfer-Encoding : chunked", "0\r\n\r\n"),
        ("Transfer-Encoding: \u{b}chunked", "0\r\n\r\n"),
        (chunked, "0x5\r\nabcde\r\n0\r\n\r\n"),
        (chunked, "+5\r\nabcde\r\n0\r\n\r\n"),
        (chunked, "-5\r\nabcde\r\n0\r\n\r\n"),
        (chunked, "10000000000000000\r\nabc\r\n0\r\n\r\n"),
        (chunked, "ffffffffffffffff\r\nabc\r\n0\r\n\r\n"),
        (chunked, "3\r\nabcd\r\n0\r\n\r\n"),
        (chunked, "3\nabc\r\n0\r\n\r\n"),
        (chunked, "3\r\nabc\r\n0\n\r\n"),
        (chunked, "\r\nabc\r\n0\r\n\r\n"),
        (chunked, &long),
    ];
    for (header, body) in table {
        let lie = format!("POST / HTTP/1.1\r\nHost: localhost\r\n{header}\r\n\r\n{body}{HIDDEN}");
        let seen = statuses(&server, lie.as_bytes());
        assert!(seen.len() <= 1, "{header:?} {:?}: {seen:?}", &body[..body.len().min(20)]);
        let is_honest = seen.iter().all(|status| status.starts_with('4') || status == "200");
        assert!(is_honest, "{header:?}: {seen:?}");
        assert!(!server.seen().contains(&"smuggled".to_owned()), "{header:?} {body:?}");
    }
    assert_eq!(server.answers("next").body, "next");
}

/// Equal lengths given twice, lines that end in a bare LF, and others that have one meaning only.
#[test]
fn odd_requests_with_a_single_meaning_are_answered() {
    let server = journaled().start();
    for bytes in [
        &b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc"[..],
        b"POST / HTTP/1.1\nHost: localhost\nContent-Length: 3\n\nabc",
        b"POST http://localhost/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc",
        b"\r\nPOST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nUpgrade: h2c\r\nConnection: Upgrade\r\nContent-Length: 3\r\n\r\nabc",
    ] {
        let next = request("POST", "/", &[], "next");
        let seen = statuses(&server, &[bytes, &next].concat());
        let text = String::from_utf8_lossy(bytes);
        assert!(seen == ["200", "200"] || seen == ["400"], "{text:?}: {seen:?}");
    }
    let seen = server.seen();
    assert!(seen.iter().all(|line| line == "abc" || line == "next"), "{seen:?}");
}

#[test]
fn targets_that_are_no_paths() {
    let server = journaled().start();
    for (line, expected) in [
        ("OPTIONS * HTTP/1.1", "204"),
        ("GET * HTTP/1.1", "400"),
        ("GET a HTTP/1.1", "400"),
        ("GET http://localhost HTTP/1.1", "400"),
        ("GET http://other HTTP/1.1", "403"),
        ("CONNECT a:80 HTTP/1.1", "405"),
        ("TRACE / HTTP/1.1", "405"),
        ("BREW / HTTP/1.1", "405"),
        ("GET / HTTP/3.0", "400"),
    ] {
        let bytes = format!("{line}\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        let seen = statuses(&server, bytes.as_bytes());
        assert_eq!(seen, [expected], "{line}");
    }
    for hosts in ["", "Host: localhost\r\nHost: b\r\n", "Host: a b\r\n", "Host: a/b\r\n"] {
        let bytes = format!("GET /?input=a HTTP/1.1\r\n{hosts}\r\n");
        assert_eq!(statuses(&server, bytes.as_bytes()), ["400"], "{hosts:?}");
    }
    assert!(server.seen().is_empty(), "{:?}", server.seen());
}

/// hyper refuses these heads itself, so `front` never sees a request.
#[test]
fn broken_heads_are_explained_counted_and_logged() {
    let server = Server::with("workers = 1")
        .top("limits = { header = \"128KiB\", header_timeout = \"300ms\" }")
        .top("log = { access = true }")
        .start();
    let large =
        format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(500 << 10));
    let long = format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "x".repeat(70 << 10));
    let second = "GET /?input=a HTTP/1.1\r\nHost: localhost\r\n\r\nGET / a b HTTP/1.1\r\n\r\n";
    for (bytes, status, code) in [
        ("no HTTP at all\r\n\r\n", 400, "bad_request"),
        ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400, "bad_request"),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "bad_request"),
        (second, 400, "bad_request"),
        ("GET / HTTP/1.1\r\nHos", 408, "request_timeout"),
        (&long, 414, "uri_too_long"),
        (&large, 431, "headers_too_large"),
    ] {
        let shown = &bytes[..bytes.len().min(40)];
        let series = format!("httpipe_requests_total{{route=\"none\",status=\"{status}\"}}");
        let before = server.metric(&series);
        let mut connection = server.client().connect();
        connection.try_send(bytes.as_bytes());
        let text = connection.rest();
        let last = text.rsplit("HTTP/1.1 ").next().expect("a response");
        assert!(last.starts_with(&status.to_string()), "{shown:?}: {text}");
        let (head, body) = last.split_once("\r\n\r\n").expect("a head and a body");
        let field = |name: &str| {
            let line = head.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap_or_else(|| panic!("no {name} in {head}")).to_owned()
        };
        let document: serde_json::Value = serde_json::from_str(body).expect("a document");
        assert_eq!(document["code"], code, "{shown:?}");
        assert_eq!(document["request_id"], field("x-request-id: "), "{shown:?}");
        assert_eq!(field("httpipe-failure: "), code);
        assert_eq!(field("connection: "), "close");
        assert_eq!(field("content-length: "), body.len().to_string());
        assert!(field("date: ").ends_with("GMT"), "{head}");
        let line = server.wait_for_log(&field("x-request-id: "));
        assert!(line.contains(code) && line.contains(&status.to_string()), "{line}");
        assert_eq!(server.metric(&series), before + 1.0, "{shown:?}");
    }
    assert_eq!(server.answers("next").body, "next");
}

#[test]
fn percent_signs_never_lead_to_another_route() {
    let server = journaled()
        .route("match = \"GET /a/{x}\"")
        .route("match = \"GET /word?text={text}\"")
        .start();
    let client = server.client();
    for path in ["/../a/b", "/%2e%2e/a/b", "/a/../a/b", "/a/b/", "//a/b", "/a%2fb", "/A/b"] {
        assert_eq!(client.get(path).status, 404, "{path}");
    }
    for (path, sent) in [
        ("/a/..", ".."),
        ("/a/%2e%2e", ".."),
        ("/a/..%2f..%2fetc", "../../etc"),
        ("/a/..%5c", "..\\"),
        ("/a/%252e", "%2e"),
        ("/a/+", "+"),
        ("/word?text=%2B+%2526", "+ %26"),
        ("/word?text=a%26b%3Dc", "a&b=c"),
        ("/word?%74ext=a", "a"),
        ("/word?text=a;text=b", "a;text=b"),
        ("/word?text=%E2%80%A8", "\u{2028}"),
    ] {
        let answer = client.get(path);
        assert_eq!((answer.status, answer.body.as_str()), (200, sent), "{path}");
    }
    let asked = server.seen().len();
    for path in [
        "/a/%",
        "/a/%zz",
        "/a/%0a",
        "/a/%00",
        "/a/%c0%ae",
        "/a/%ed%a0%80",
        "/a/%ff",
        "/word?text=a%0d%0ab",
        "/word?text=a&text=b",
        "/word?text=a&%74ext=b",
        "/word?text=%",
    ] {
        assert_eq!(client.get(path).status, 400, "{path}");
    }
    assert_eq!(server.seen().len(), asked, "none of them reached the worker");
}

#[test]
fn long_targets_many_fields_and_large_chunks_are_bounded() {
    let server = journaled().start();
    let client = server.client();
    assert_eq!(client.get("/?input=warm").status, 200);
    let before = server.memory();
    let long = client.get(&format!("/?input={}", "x".repeat(16 << 10)));
    assert!(matches!(long.status, 400 | 414 | 431), "{long:?}");
    let longer = client.get(&format!("/?input={}", "x".repeat(40 << 10)));
    assert!(matches!(longer.status, 414 | 431), "{longer:?}");
    let many: Vec<String> = (0..200).map(|number| format!("X-{number}: x")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let answer = client.request("GET", "/?input=a", &many, "");
    assert!(matches!(answer.status, 200 | 431), "{answer:?}");
    let big = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(500 << 10));
    let seen = statuses(&server, big.as_bytes());
    assert!(seen.is_empty() || seen == ["431"], "{seen:?}");
    let endless = format!(
        "POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        format!("1000\r\n{}\r\n", "y".repeat(4096)).repeat(40)
    );
    let seen = statuses(&server, endless.as_bytes());
    assert!(seen.is_empty() || seen == ["413"], "{seen:?}");
    let grown = server.memory().saturating_sub(before);
    assert!(grown < 8 << 20, "{grown} bytes more");
    assert_eq!(server.answers("next").body, "next");
}

#[test]
fn a_hundred_thousand_parameters_take_no_time() {
    let server = Server::with("workers = 1\nmessage_max = \"4MiB\"")
        .top("limits = { header = \"64KiB\", body = \"4MiB\" }")
        .route("match = \"POST /form?x={x}\"")
        .route("match = \"POST /all\"\nsend = \"json\"")
        .start();
    let form = "Content-Type: application/x-www-form-urlencoded";
    let many = "a=b&".repeat(100_000);
    for (target, body, expected) in [
        ("/form", format!("{many}x=found"), 200),
        ("/form", many.clone(), 400),
        ("/form", format!("{}x=1", "x=1&".repeat(100_000)), 400),
    ] {
        let answer = server.client().request("POST", target, &[form], &body);
        assert_eq!(answer.status, expected, "{answer:?}");
        assert!(answer.is_within(Duration::from_secs(3)), "{:?}", answer.took);
    }
    let distinct: Vec<String> = (0..100_000).map(|number| format!("a{number}=b")).collect();
    let answer = server.client().request("POST", "/all", &[form], &distinct.join("&"));
    assert!(matches!(answer.status, 200 | 400 | 413), "{}", answer.status);
    assert!(answer.is_within(Duration::from_secs(5)), "{:?}", answer.took);
}

#[test]
fn json_as_deep_as_it_is_long_is_refused_or_passed_on() {
    let server = Server::with("workers = 1\nreply = \"json\"")
        .route("match = \"POST /field?x={x}\"")
        .route("match = \"POST /value?x={x:json}\"")
        .route("match = \"POST /body\"\nsend = \"{body}\"")
        .start();
    let json = "Content-Type: application/json";
    for deep in [
        format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)),
        "[".repeat(100_000),
        format!("{{\"x\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000)),
        "{\"x\":".repeat(50_000),
        "{\"x\":1,\"x\":2}".to_owned(),
        "{\"x\":\"\\ud800\"}".to_owned(),
        "{\"x\":1e999999999}".to_owned(),
    ] {
        for target in ["/field", "/value", "/body"] {
            let answer = server.client().request("POST", target, &[json], &deep);
            let is_honest = matches!(answer.status, 200 | 400 | 502);
            assert!(is_honest, "{target} {:?}: {}", &deep[..12], answer.status);
        }
    }
    let answer = server.client().request("POST", "/value", &[json], "{\"x\":[1,2]}");
    assert_eq!(answer.body, "[1,2]");
}

#[test]
fn pipelined_requests_with_a_refused_one_among_them() {
    let server = journaled().start();
    let mut connection = server.client().connect();
    let mut bytes = Vec::new();
    for number in 0..20 {
        let target = if number == 9 { "/nowhere" } else { "/" };
        let body = if number == 9 { HIDDEN.to_owned() } else { number.to_string() };
        bytes.extend(request("POST", target, &[], &body));
    }
    connection.send(&bytes);
    for number in 0..20 {
        let Some(answer) = connection.try_answer() else {
            assert!(number > 9, "closed before the refused one was answered");
            break;
        };
        if number == 9 {
            assert_eq!(answer.code(), "no_route");
        } else {
            assert_eq!((answer.status, answer.body), (200, number.to_string()));
        }
    }
    assert!(!server.seen().contains(&"smuggled".to_owned()), "{:?}", server.seen());
}

#[test]
fn expect_headers_are_answered() {
    let server = journaled().start();
    for (expect, length, allowed) in [
        ("Expect: 100-continue", 10_000_000_u64, &["413"][..]),
        ("Expect: 100-continue", 5, &["100", "408"]),
        ("Expect: something-else", 5, &["408", "417", "400"]),
    ] {
        let head = format!(
            "POST / HTTP/1.1\r\nHost: localhost\r\n{expect}\r\nContent-Length: {length}\r\n\r\n"
        );
        let seen = statuses(&server, head.as_bytes());
        let is_allowed = seen.iter().all(|status| allowed.contains(&status.as_str()));
        assert!(is_allowed && !seen.is_empty(), "{expect} {length}: {seen:?}");
    }
    assert!(server.seen().is_empty(), "{:?}", server.seen());
}

#[test]
fn compressed_bodies_are_refused_unread() {
    let server = journaled().start();
    for coding in ["gzip", "zstd", "br", "gzip, gzip", "x"] {
        let header = format!("Content-Encoding: {coding}");
        let answer = server.client().request("POST", "/", &[&header], "abc");
        assert_eq!(answer.code(), "unsupported_media_type", "{coding}");
    }
    assert!(server.seen().is_empty());
}
