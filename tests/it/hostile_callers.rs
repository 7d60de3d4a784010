//! Callers that send slowly, send too much, or lie about where a request ends.

use std::time::Duration;

use crate::support::{Plan, Server, request};

fn limited() -> Plan {
    Server::with("workers = 1").worker("demo-worker --journal seen").top(
        "limits = { header = \"8KiB\", body = \"1KiB\", header_timeout = \"300ms\", \
         body_timeout = \"300ms\", idle_timeout = \"500ms\" }",
    )
}

#[test]
fn a_head_that_drips_in_is_cut_off_and_holds_no_worker() {
    let server = limited().start();
    let mut slow = server.client().connect();
    slow.send_slowly(b"POST / HTTP/1.1\r\nHost: te", Duration::from_millis(20));
    assert_eq!(server.answers("others").body, "others");
    let rest = slow.rest();
    assert!(rest.is_empty() || rest.starts_with("HTTP/1.1 408"), "{rest}");
}

#[test]
fn a_body_that_drips_in_is_cut_off_and_holds_no_worker() {
    let server = limited().start();
    let mut slow = server.client().connect();
    slow.send(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 500\r\n\r\nabc");
    assert_eq!(server.answers("others").body, "others");
    let rest = slow.rest();
    assert!(rest.starts_with("HTTP/1.1 408"), "{rest}");
    assert_eq!(server.seen(), ["others"]);
}

#[test]
fn a_silent_connection_is_closed() {
    let server = limited().start();
    assert_eq!(server.client().connect().rest(), "");
    let mut kept = server.client().connect();
    assert_eq!(kept.post("/", "a").body, "a");
    assert_eq!(kept.rest(), "");
}

#[test]
fn a_body_above_the_limit_is_refused_and_never_read_as_a_request() {
    let server = limited().start();
    let answer = server.client().post("/", &"x".repeat(2000));
    assert_eq!((answer.status, answer.code().as_str()), (413, "body_too_large"));
    let mut chunked = server.client().connect();
    chunked.send(b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n");
    chunked.send(format!("7d0\r\n{}\r\n0\r\n\r\n", "y".repeat(2000)).as_bytes());
    assert_eq!(chunked.answer().status, 413);
    assert!(server.seen().is_empty());
}

#[test]
fn a_head_above_the_limit_is_refused() {
    let server = limited().start();
    let header = format!("X-Long: {}", "x".repeat(20_000));
    let answer = server.client().request("GET", "/?input=a", &[&header], "");
    assert_eq!(answer.status, 431, "{answer:?}");
}

#[test]
fn pipelined_requests_are_answered_in_their_order() {
    let server = Server::with("workers = 4").start();
    let mut connection = server.client().connect();
    let mut bytes = Vec::new();
    for number in 0..20 {
        let pause = if number % 3 == 0 { "sleep 20 " } else { "" };
        bytes.extend(request("POST", "/", &[], &format!("{pause}{number}")));
    }
    connection.send(&bytes);
    for number in 0..20 {
        let body = connection.answer().body;
        assert_eq!(body.rsplit(' ').next(), Some(number.to_string().as_str()));
    }
}

#[test]
fn a_body_that_nobody_wanted_is_not_the_next_request() {
    let server = Server::with("workers = 1").worker("demo-worker --journal seen").start();
    let inner = request("POST", "/", &[], "smuggled");
    let mut connection = server.client().connect();
    connection.send(&request("POST", "/nowhere", &[], &String::from_utf8_lossy(&inner)));
    connection.send(&request("POST", "/", &[], "honest"));
    assert_eq!(connection.answer().status, 404);
    drop(connection.try_answer());
    assert!(!server.seen().contains(&"smuggled".to_owned()), "{:?}", server.seen());
}

#[test]
fn requests_that_lie_about_their_length_are_refused() {
    let server = limited().start();
    for lie in [
        "Content-Length: 3\r\nTransfer-Encoding: chunked",
        "Content-Length: 3\r\nContent-Length: 4",
        "Content-Length: +3",
        "Content-Length: -3",
        "Content-Length: 3x",
        "Transfer-Encoding: xchunked",
        "Content-Length : 3",
        "X: a\r\n folded: b\r\nContent-Length: 3x",
    ] {
        let mut connection = server.client().connect();
        connection.send(
            format!(
                "POST / HTTP/1.1\r\nHost: localhost\r\n{lie}\r\n\r\nabcPOST / HTTP/1.1\r\n\
                 Host: localhost\r\nContent-Length: 8\r\n\r\nsmuggled"
            )
            .as_bytes(),
        );
        let rest = connection.rest();
        assert!(!rest.contains("smuggled"), "{lie}: {rest}");
        assert!(rest.is_empty() || rest.starts_with("HTTP/1.1 4"), "{lie}: {rest}");
    }
    assert!(server.seen().is_empty(), "{:?}", server.seen());
}

#[test]
fn a_caller_that_expects_to_be_asked_is_asked() {
    let server = limited().start();
    let mut connection = server.client().connect();
    connection.send(
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n",
    );
    connection.send(b"abc");
    assert_eq!(connection.answer().body, "abc");
}

#[test]
fn a_caller_that_finished_sending_is_answered_or_closed() {
    let server = Server::with("workers = 1").start();
    let mut connection = server.client().connect();
    connection.send(&request("POST", "/", &["Connection: close"], "abc"));
    connection.finish_sending();
    let rest = connection.rest();
    assert!(rest.is_empty() || rest.ends_with("abc"), "{rest}");
}

#[test]
fn the_preface_of_http_2_is_refused_and_closed() {
    let server = limited().start();
    let mut connection = server.client().connect();
    connection.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    let rest = connection.rest();
    assert!(rest.starts_with("HTTP/1.1 400"), "{rest:?}");
}
