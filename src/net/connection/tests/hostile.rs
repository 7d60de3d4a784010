//! What hostile or broken bytes meet: pinned down shape by shape, over real sockets.

use std::fmt::Write as _;

use super::*;

/// What it is, the bytes, the statuses that come back, and what the service saw.
type Row<'a> = (&'a str, &'a [u8], &'a [&'a str], &'a [&'a str]);

/// Sends each request with another one after it, and compares the statuses that come back
/// and what the service saw.
fn table(rows: &[Row]) {
    local(async {
        for (name, bytes, expected, saw) in rows {
            let server = Server::start(limits()).await;
            let text = server.ask(&[bytes, LAST.as_bytes()].concat()).await;
            assert_eq!(statuses(&text), *expected, "{name}: {text}");
            assert_eq!(*server.seen.requests.borrow(), *saw, "{name}");
        }
    });
}

#[test]
fn no_length_that_can_be_read_in_two_ways_is_served_and_followed() {
    table(&[
        (
            "TE and CL: one answer by TE, then the end",
            b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            &["200"],
            &["POST /a abc"],
        ),
        (
            "CL and TE in the other order",
            b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
            &["200"],
            &["POST /a"],
        ),
        (
            "two different CL",
            b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
            &["400"],
            &[],
        ),
        (
            "two equal CL are one",
            b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
            &["200", "200"],
            &["POST /a abc", "GET /last"],
        ),
        ("CL: +3", b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc", &["400"], &[]),
        ("CL: 3,3", b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3,3\r\n\r\nabc", &["400"], &[]),
        ("CL: -1", b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\nabc", &["400"], &[]),
        (
            "CL: 2^64",
            b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551616\r\n\r\nabc",
            &["400"],
            &[],
        ),
        (
            "TE: xchunked",
            b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
            &["400"],
            &[],
        ),
        (
            "TE: gzip, chunked",
            b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            &["400"],
            &[],
        ),
        (
            "TE twice",
            b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            &["400"],
            &[],
        ),
        (
            "TE in HTTP/1.0",
            b"POST /a HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            &["400"],
            &[],
        ),
    ]);
}

#[test]
fn no_broken_chunk_is_served_and_followed() {
    let chunked = |rest: &str| {
        format!("POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{rest}")
            .into_bytes()
    };
    let extension = "x".repeat(1 << 20);
    let broken: &[&str] = &["POST /a broken"];
    for (name, rest) in [
        ("0x5", "0x5\r\nabcde\r\n0\r\n\r\n".to_owned()),
        ("2^64", "10000000000000000\r\nabc\r\n0\r\n\r\n".to_owned()),
        ("a long extension", format!("5;{extension}\r\nabcde\r\n0\r\n\r\n")),
        ("0 and a bare LF", "0\n\r\n".to_owned()),
        ("negative", "-1\r\nabc\r\n0\r\n\r\n".to_owned()),
        ("no line end after the data", "3\r\nabcd\r\n0\r\n\r\n".to_owned()),
    ] {
        table(&[(name, &chunked(&rest), &["400"], broken)]);
    }
    table(&[(
        "a short extension",
        &chunked("3;a=b\r\nabc\r\n0\r\n\r\n"),
        &["200", "200"],
        &["POST /a abc", "GET /last"],
    )]);
}

#[test]
fn no_head_with_ambiguous_bytes_is_served() {
    table(&[
        ("obs-fold", b"GET /a HTTP/1.1\r\nHost: a\r\nX: 1\r\n 2\r\n\r\n", &["400"], &[]),
        ("NUL in a value", b"GET /a HTTP/1.1\r\nHost: a\r\nX: 1\x002\r\n\r\n", &["400"], &[]),
        ("CR in a value", b"GET /a HTTP/1.1\r\nHost: a\r\nX: 1\r2\r\n\r\n", &["400"], &[]),
        ("space before the colon", b"GET /a HTTP/1.1\r\nHost : a\r\n\r\n", &["400"], &[]),
        ("space in a name", b"GET /a HTTP/1.1\r\nHost: a\r\nX Y: 1\r\n\r\n", &["400"], &[]),
        ("no Host", b"GET /a HTTP/1.1\r\n\r\n", &["400"], &[]),
        ("two Hosts", b"GET /a HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", &["400"], &[]),
        ("asterisk", b"GET * HTTP/1.1\r\nHost: a\r\n\r\n", &["400"], &[]),
        ("no path", b"GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n", &["400"], &[]),
        ("HTTP/3.0", b"GET /a HTTP/3.0\r\nHost: a\r\n\r\n", &["400"], &[]),
        ("HTTP/0.9", b"GET /a\r\n\r\n", &["400"], &[]),
        (
            "a bare LF ends a line",
            b"GET /a HTTP/1.1\nHost: a\n\n",
            &["200", "200"],
            &["GET /a", "GET /last"],
        ),
        (
            "absolute-form",
            b"GET http://b/a HTTP/1.1\r\nHost: a\r\n\r\n",
            &["200", "200"],
            &["GET /a", "GET /last"],
        ),
        (
            "OPTIONS *",
            b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
            &["200", "200"],
            &["OPTIONS *", "GET /last"],
        ),
    ]);
}

#[test]
fn the_http_2_preface_gets_a_400() {
    table(&[("preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0", &["400"], &[])]);
}

#[test]
fn too_much_head_is_refused() {
    let head = |target: usize, headers: usize, value: usize| {
        let mut head = format!("GET /{} HTTP/1.1\r\nHost: a\r\n", "t".repeat(target));
        for index in 0..headers {
            write!(head, "X{index}: {}\r\n", "v".repeat(value)).unwrap();
        }
        (head + "\r\n").into_bytes()
    };
    let target = format!("GET /{}", "t".repeat(16 << 10));
    table(&[
        (
            "a target within the limit",
            &head(16 << 10, 0, 0),
            &["200", "200"],
            &[&target, "GET /last"],
        ),
        ("a long target", &head(40 << 10, 0, 0), &["431"], &[]),
        ("200 headers", &head(0, 200, 1), &["431"], &[]),
        ("500 KiB of headers", &head(0, 50, 10 << 10), &["431"], &[]),
    ]);
}

#[test]
fn a_target_that_no_parser_takes_gets_a_414_where_heads_may_be_that_long() {
    local(async {
        let limits = LimitSettings { header: ByteSize(1 << 20), ..limits() };
        let server = Server::start(limits).await;
        let target = "t".repeat(70 << 10);
        let text =
            server.ask(format!("GET /{target} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await;
        assert_eq!(statuses(&text), ["414"]);
    });
}

#[test]
fn what_a_body_holds_is_never_a_request() {
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    let with = |line: &str, extra: &str| {
        let length = smuggled.len();
        format!("{line} HTTP/1.1\r\nHost: a\r\n{extra}Content-Length: {length}\r\n\r\n{smuggled}")
            .into_bytes()
    };
    let body = format!("POST /a {}", smuggled.trim_end());
    table(&[
        ("read", &with("POST /a", ""), &["200", "200"], &[&body, "GET /last"]),
        (
            "upgrade",
            &with("POST /a", "Upgrade: foo\r\nConnection: upgrade\r\n"),
            &["200", "200"],
            &[&body, "GET /last"],
        ),
        (
            "left unread, but here",
            &with("POST /unread", ""),
            &["200", "200"],
            &["POST /unread", "GET /last"],
        ),
    ]);
    // Left unread, and not yet here: the connection ends.
    table(&[(
        "left unread, not all of it here",
        b"POST /unread HTTP/1.1\r\nHost: a\r\nContent-Length: 500000\r\n\r\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n",
        &["200"],
        &["POST /unread"],
    )]);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let mut bytes = String::new();
    let mut expected = Vec::new();
    for index in 0..20 {
        if index == 3 {
            bytes += "POST /unread HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
            expected.push("POST /unread".to_owned());
        } else {
            write!(bytes, "GET /{index} HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
            expected.push(format!("GET /{index}"));
        }
    }
    expected.push("GET /last".to_owned());
    let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
    table(&[("twenty", bytes.as_bytes(), &["200"; 21], &expected)]);
}

#[test]
fn an_answer_does_not_wait_for_the_pipelined_request_behind_it() {
    local(async {
        let server = Server::start(limits()).await;
        let mut stream = server.connect().await;
        let both = "GET /a HTTP/1.1\r\nHost: a\r\n\r\nGET /slow HTTP/1.1\r\nHost: a\r\n\r\nGET /b";
        stream.write_all(both.as_bytes()).await.unwrap();
        read_until(&mut stream, "GET /a ").await;
        server.seen.until(|seen| seen.slow.get() == 1).await;
    });
}

#[test]
fn http_1_0_is_closed_unless_it_asks_to_be_kept() {
    local(async {
        let server = Server::start(limits()).await;
        let text = server.ask(b"GET /a HTTP/1.0\r\n\r\n").await;
        assert!(text.starts_with("HTTP/1.0 200"), "{text}");
        let kept = format!("GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n{LAST}");
        let text = server.ask(kept.as_bytes()).await;
        assert!(text.contains("connection: keep-alive") && text.ends_with("GET /last "), "{text}");
    });
}

#[test]
fn head_has_no_body() {
    local(async {
        let server = Server::start(limits()).await;
        let head = "HEAD /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        let text = server.ask(head.as_bytes()).await;
        assert!(text.contains("content-length: 8\r\n") && text.ends_with("\r\n\r\n"), "{text}");
    });
}
