//! Connections over real sockets: what hostile bytes meet, and how each limit ends one.

use std::cell::{Cell, RefCell};
use std::fmt::Write as _;
use std::future::Future;

use bytes::Bytes;
use http::StatusCode;
use http_body_util::{BodyExt, Full};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use super::*;
use crate::base::ByteSize;
use crate::net::conformance;

const LAST: &str = "GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
const BIG: usize = 32 << 20;

fn limits() -> LimitSettings {
    LimitSettings {
        header: ByteSize(32 << 10),
        body: ByteSize(16 << 20),
        header_timeout: Duration::from_secs(20),
        body_timeout: Duration::from_secs(20),
        write_timeout: Duration::from_secs(20),
        idle_timeout: Duration::from_secs(20),
        connections: 100,
    }
}

/// What the service saw and did.
#[derive(Default)]
struct Seen {
    requests: RefCell<Vec<String>>,
    slow: Cell<usize>,
    changed: Notify,
    release: Notify,
}

impl Seen {
    async fn until(&self, condition: impl Fn(&Self) -> bool) {
        let wait = async {
            while !condition(self) {
                self.changed.notified().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), wait).await.expect("it happens in time");
    }

    fn count_slow(&self, change: isize) {
        self.slow.set(self.slow.get().checked_add_signed(change).unwrap());
        self.changed.notify_one();
    }
}

struct Server {
    address: std::net::SocketAddr,
    drain: Drain,
    seen: Rc<Seen>,
}

impl Server {
    async fn start(limits: LimitSettings) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (drain, seen) = (Drain::new(), Rc::new(Seen::default()));
        let (tasks, saw) = (drain.clone(), Rc::clone(&seen));
        #[expect(clippy::disallowed_methods, reason = "the accept loop is no connection")]
        tokio::task::spawn_local(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (limits, drain, saw) = (limits.clone(), tasks.clone(), Rc::clone(&saw));
                tasks.spawn_local(async move {
                    let service = async |request, _| answer(request, &saw).await;
                    serve(Stream::Tcp(stream), &limits, service, drain).await;
                });
            }
        });
        Self { address, drain, seen }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends bytes and reads until the server closes.
    async fn ask(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect().await;
        stream.write_all(bytes).await.unwrap();
        read_all(&mut stream).await
    }
}

async fn read_all(stream: &mut TcpStream) -> String {
    let mut all = Vec::new();
    let read = stream.read_to_end(&mut all);
    tokio::time::timeout(Duration::from_secs(10), read).await.expect("it closes").unwrap();
    String::from_utf8(all).unwrap()
}

async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut all = Vec::new();
    let read = async {
        while !all.ends_with(end.as_bytes()) {
            let byte = stream.read_u8().await.expect("more comes");
            all.push(byte);
        }
    };
    tokio::time::timeout(Duration::from_secs(10), read).await.expect("it is answered");
    String::from_utf8(all).unwrap()
}

fn statuses(text: &str) -> Vec<&str> {
    text.split("HTTP/1.1 ").skip(1).map(|response| &response[..3]).collect()
}

/// Echoes what it saw; what it must not serve gets 400.
async fn answer(request: Request<Incoming>, seen: &Seen) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    if conformance::check(&head).is_err() {
        return refuse();
    }
    let line = format!("{} {}", head.method, head.uri.path());
    match head.uri.path() {
        "/slow" => {
            seen.requests.borrow_mut().push(line.clone());
            seen.count_slow(1);
            let left = LeftGuard(seen);
            seen.release.notified().await;
            drop(left);
            return Response::new(Full::from(line));
        }
        "/unread" => {
            seen.requests.borrow_mut().push(line.clone());
            return Response::new(Full::from(line));
        }
        "/big" => {
            seen.requests.borrow_mut().push(line);
            seen.changed.notify_one();
            return Response::new(Full::from(vec![b'x'; BIG]));
        }
        _ => {}
    }
    let Ok(body) = body.collect().await else {
        seen.requests.borrow_mut().push(format!("{line} broken"));
        return refuse();
    };
    let text = format!("{line} {}", String::from_utf8_lossy(&body.to_bytes()));
    seen.requests.borrow_mut().push(text.trim_end().to_owned());
    Response::new(Full::from(text))
}

struct LeftGuard<'a>(&'a Seen);

impl Drop for LeftGuard<'_> {
    fn drop(&mut self) {
        self.0.count_slow(-1);
    }
}

fn refuse() -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from("refused"));
    *response.status_mut() = StatusCode::BAD_REQUEST;
    response.headers_mut().insert(http::header::CONNECTION, "close".parse().unwrap());
    response
}

fn local<F: Future>(test: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(tokio::runtime::LocalOptions::default())
        .unwrap()
        .block_on(test)
}

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

/// How a caller leaves.
#[derive(Clone, Copy, Debug)]
enum Leaving {
    Close,
    HalfClose,
    Reset,
}

#[test]
fn the_work_for_a_caller_that_left_is_dropped_at_once() {
    let slow = "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n";
    let unread = format!(
        "POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 400000\r\n\r\n{}",
        "x".repeat(50_000)
    );
    for (name, bytes) in [
        ("alone", slow.to_owned()),
        ("with a pipelined request", slow.repeat(2)),
        ("with many pipelined requests", slow.repeat(1500)),
        ("with a body that nobody reads", unread),
    ] {
        for leaving in [Leaving::Close, Leaving::HalfClose, Leaving::Reset] {
            local(async {
                let server = Server::start(limits()).await;
                let mut stream = server.connect().await;
                stream.write_all(bytes.as_bytes()).await.unwrap();
                server.seen.until(|seen| seen.slow.get() == 1).await;
                let kept = leave(stream, leaving).await;
                server.seen.until(|seen| seen.slow.get() == 0).await;
                assert_eq!(server.seen.requests.borrow().len(), 1, "{name} {leaving:?}");
                drop(kept);
            });
        }
    }
}

async fn leave(mut stream: TcpStream, leaving: Leaving) -> Option<TcpStream> {
    match leaving {
        Leaving::Close => None,
        Leaving::HalfClose => {
            stream.shutdown().await.unwrap();
            Some(stream)
        }
        Leaving::Reset => {
            stream.set_zero_linger().unwrap();
            None
        }
    }
}

const SHORT: Duration = Duration::from_millis(150);

#[test]
fn a_silent_connection_is_closed_without_a_word() {
    local(async {
        let server = Server::start(LimitSettings { header_timeout: SHORT, ..limits() }).await;
        let began = Instant::now();
        assert_eq!(server.ask(b"").await, "");
        assert!(began.elapsed() >= SHORT);
    });
}

#[test]
fn a_trickled_head_gets_a_408_in_time() {
    local(async {
        let server = Server::start(LimitSettings { header_timeout: SHORT, ..limits() }).await;
        let mut stream = server.connect().await;
        let mut got = [0; 12];
        stream.write_all(b"GET /a HTTP/1.1\r\n").await.unwrap();
        let mut trickled = 0;
        // A byte each time that nothing came for a while.
        while tokio::time::timeout(SHORT / 5, stream.readable()).await.is_err() {
            stream.write_all(b"X").await.unwrap();
            trickled += 1;
            assert!(trickled < 500, "the trickle keeps the connection open");
        }
        stream.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"HTTP/1.1 408");
    });
}

#[test]
fn an_idle_connection_is_closed_but_not_one_that_works() {
    local(async {
        let limits = LimitSettings { idle_timeout: SHORT, header_timeout: SHORT, ..limits() };
        let server = Server::start(limits).await;
        let mut stream = server.connect().await;
        stream.write_all(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        let early = tokio::time::timeout(SHORT * 4, stream.readable()).await;
        assert!(early.is_err(), "a call is not idle");
        server.seen.release.notify_one();
        read_until(&mut stream, "GET /slow").await;
        assert_eq!(read_all(&mut stream).await, "");
    });
}

#[test]
fn a_caller_that_does_not_read_is_given_up() {
    local(async {
        let server = Server::start(LimitSettings { write_timeout: SHORT, ..limits() }).await;
        let mut stream = server.connect().await;
        stream.write_all(b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        server.seen.until(|seen| !seen.requests.borrow().is_empty()).await;
        assert_eq!(server.drain.finish(Duration::from_secs(10)).await, 0);
        let mut got = Vec::new();
        let error = stream.read_to_end(&mut got).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        assert!(got.len() < BIG, "{} bytes", got.len());
    });
}

#[test]
fn a_caller_that_reads_gets_all_of_a_long_answer() {
    local(async {
        let server = Server::start(limits()).await;
        let text = server.ask(b"GET /big HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
        assert_eq!(text.split("\r\n\r\n").nth(1).unwrap().len(), BIG);
    });
}

#[test]
fn a_drain_closes_what_is_idle_and_waits_for_what_is_not() {
    local(async {
        let server = Server::start(limits()).await;
        let mut idle = server.connect().await;
        idle.write_all(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        read_until(&mut idle, "GET /a ").await;
        let mut silent = server.connect().await;
        let mut busy = server.connect().await;
        busy.write_all(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        server.seen.until(|seen| seen.slow.get() == 1).await;

        server.drain.begin();
        idle.write_all(b"GET /b HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        read_until(&mut idle, "GET /b ").await;

        assert_eq!(server.drain.finish(Duration::from_millis(50)).await, 1, "only the busy one");
        assert_eq!(read_all(&mut idle).await, "");
        assert_eq!(read_all(&mut silent).await, "");
        server.seen.release.notify_one();
        let text = read_all(&mut busy).await;
        assert!(text.contains("connection: close") && text.ends_with("GET /slow"), "{text}");
        assert_eq!(server.drain.finish(Duration::from_secs(10)).await, 0);
    });
}

#[test]
fn a_refusal_reaches_a_caller_that_is_still_sending() {
    local(async {
        let server = Server::start(limits()).await;
        let mut stream = server.connect().await;
        let head = "GET /a HTTP/1.1\r\nHost : a\r\nContent-Length: 600000\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&vec![b'x'; 600_000]).await.unwrap();
        assert_eq!(statuses(&read_all(&mut stream).await), ["400"]);
    });
}

#[test]
fn a_unix_socket_and_another_thread_serve_the_same() {
    use crate::config::ListenAddress;
    use crate::net::{Listener, Slots, accept};

    let name = format!("httpipe-connection-{}", std::process::id());
    let path = std::env::temp_dir().join(name);
    let listener = Listener::bind(&ListenAddress::Unix(path.clone())).unwrap();
    let drain = Drain::new();
    let (sender, accepted) = std::sync::mpsc::channel();
    let accepting = std::thread::spawn({
        let drain = drain.clone();
        move || {
            local(accept::accept(listener, Slots::new(9, |_| {}), drain, |stream, slot| {
                sender.send((stream.detach().unwrap(), slot)).unwrap();
            }))
        }
    });
    let asking = std::thread::spawn(move || {
        let mut stream = std::os::unix::net::UnixStream::connect(path).unwrap();
        std::io::Write::write_all(&mut stream, LAST.as_bytes()).unwrap();
        std::io::read_to_string(stream).unwrap()
    });
    let (stream, _slot) = accepted.recv().unwrap();
    local(async {
        let seen = Seen::default();
        let service = async |request, _| answer(request, &seen).await;
        serve(stream.open().unwrap(), &limits(), service, drain.clone()).await;
    });
    assert!(asking.join().unwrap().ends_with("GET /last "));
    drain.begin();
    accepting.join().unwrap().unwrap();
}
