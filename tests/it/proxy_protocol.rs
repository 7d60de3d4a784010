//! Proxies that say for whom they connect, that do not, and strangers who pretend to be one.

use std::time::Duration;

use crate::support::{Plan, Server, request};

/// For 192.0.2.7, port 8080.
const HEADER: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x07\x0a\x00\x00\x01\x1f\x90\x01\xbb";

fn plan(trust: &str) -> Plan {
    let keys =
        format!("trust = [\"{trust}\"]\nproxy_protocol = true\nlog = {{ level = \"debug\" }}");
    Server::with("workers = 1").top(&keys)
}

#[test]
fn a_proxy_says_for_whom_it_connects() {
    let server = plan("127.0.0.1").start();
    let mut whole = server.client().connect();
    whole.send(&[HEADER, &request("POST", "/", &["X-Forwarded-For: 203.0.113.9"], "a")].concat());
    assert_eq!(whole.answer().status, 200);
    let line = server.wait_for_log("192.0.2.7:8080");
    assert!(line.contains("\"addr\":\"192.0.2.7\""), "what the caller says does not count: {line}");
    assert_eq!(whole.post("/", "b").status, 200, "one header is enough");
    let mut split = server.client().connect();
    split.send_slowly(HEADER, Duration::from_millis(1));
    assert_eq!(split.post("/", "a").status, 200);
    let mut local = server.client().connect();
    local.send(b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00");
    assert_eq!(local.post("/", "a").status, 200);
    server.wait_for_log(&format!("\"peer\":\"{}\"", local.own_address()));
}

#[test]
fn a_proxy_that_does_not_is_not_served_and_the_log_says_so_once() {
    let server = plan("127.0.0.1").top("limits = { header_timeout = \"300ms\" }").start();
    for bytes in [
        &request("POST", "/", &[], "a")[..],
        b"PROXY TCP4 192.0.2.7 10.0.0.1 8080 443\r\n",
        // Longer than any.
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff",
        // Too short for its addresses.
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x00GET / HTTP/1.1\r\n\r\n",
        // It never ends.
        &HEADER[..20],
        b"",
    ] {
        let mut connection = server.client().connect();
        connection.send(bytes);
        assert_eq!(connection.rest(), "", "{}", bytes.escape_ascii());
    }
    server.wait_for_count("httpipe_connections", 0.0);
    let warned = |line: &&String| line.contains("warn") && line.contains("of a proxy was closed");
    assert_eq!(server.log_lines().iter().filter(warned).count(), 1);
}

#[test]
fn a_stranger_cannot_pretend_to_be_a_proxy() {
    let server = plan("10.0.0.0/8").start();
    let mut pretends = server.client().connect();
    pretends.send(&[HEADER, &request("POST", "/", &[], "a")].concat());
    assert_eq!(pretends.answer().status, 400);
    assert_eq!(server.client().post("/", "a").status, 200);
    assert!(!server.log_lines().iter().any(|line| line.contains("192.0.2.7")));
}

#[test]
fn without_anybody_to_trust_it_is_refused() {
    let ended = Server::with("workers = 1").top("proxy_protocol = true").refused();
    assert_eq!(ended.code, 2);
    assert!(ended.stderr.contains("`proxy_protocol` has no effect without `trust`"));
}

#[cfg(feature = "tls")]
#[test]
fn tls_begins_after_the_header() {
    use crate::support::tls::{TlsSocket, secure};
    use std::io::{Read as _, Write as _};

    let Some(plan) = secure("workers = 1") else { return };
    let server = plan.top("trust = [\"127.0.0.1\"]\nproxy_protocol = true").start();
    let mut socket = TlsSocket::after(HEADER, server.address(), &[]).expect("a connection");
    socket.write_all(&request("POST", "/", &["Connection: close"], "a")).expect("it reads");
    let mut said = String::new();
    socket.read_to_string(&mut said).expect("an orderly end");
    assert!(said.starts_with("HTTP/1.1 200"), "{said}");
    server.wait_for_log("192.0.2.7:8080");
}
