//! Connections over real sockets: how callers, limits and the server's stop end one.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use super::*;
use crate::base::ByteSize;
use crate::config::PerAddressSettings;
use crate::net::fields::HeadFields;
use crate::net::{Stream, conformance, refusal};

mod both_ways;
mod hostile;
#[cfg(feature = "tls")]
mod multiplexed;

const LAST: &str = "GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
const BIG: usize = 32 << 20;

fn limits() -> LimitSettings {
    LimitSettings {
        header: ByteSize(32 << 10),
        body: ByteSize(16 << 20),
        memory: ByteSize(256 << 20),
        header_timeout: Duration::from_secs(20),
        body_timeout: Duration::from_secs(20),
        write_timeout: Duration::from_secs(20),
        idle_timeout: Duration::from_secs(20),
        connections: 100,
        per_address: PerAddressSettings::new(None),
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
                    let service = async |head: &RequestHead, body, _: Arrival<'_>| {
                        answer(Request::from_parts(head.clone(), body), &saw).await
                    };
                    let permit = Permit::only();
                    serve(
                        Stream::Tcp(stream).into(),
                        &permit,
                        &limits,
                        service,
                        refusal::bare,
                        drain,
                    )
                    .await;
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
async fn answer(request: Request<RequestBody>, seen: &Seen) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    if conformance::check(&head, &HeadFields::of(&head.headers)).is_err() {
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
        stream.readable().await.unwrap();
        // A connection that is broken instead of ended fails the second of these.
        let part = vec![b'x'; 60_000];
        for _ in 0..10 {
            stream.write_all(&part).await.unwrap();
        }
        assert_eq!(statuses(&read_all(&mut stream).await), ["400"]);
    });
}

#[test]
fn a_unix_socket_and_another_thread_serve_the_same() {
    use crate::config::ListenAddress;
    use crate::net::Listener;
    use crate::net::accept::{self, ConnectionLimit};

    let name = format!("httpipe-connection-{}", std::process::id());
    let path = std::env::temp_dir().join(name);
    let listener = Listener::bind(&ListenAddress::Unix(path.clone())).unwrap();
    let drain = Drain::new();
    let (sender, accepted) = std::sync::mpsc::channel();
    let accepting = std::thread::spawn({
        let drain = drain.clone();
        move || {
            local(accept::accept(
                listener,
                ConnectionLimit::new(9, |_| {}),
                drain,
                |stream, permit| {
                    sender.send((stream.detach().unwrap(), permit)).unwrap();
                },
            ))
        }
    });
    let asking = std::thread::spawn(move || {
        let mut stream = std::os::unix::net::UnixStream::connect(path).unwrap();
        std::io::Write::write_all(&mut stream, LAST.as_bytes()).unwrap();
        std::io::read_to_string(stream).unwrap()
    });
    let (stream, permit) = accepted.recv().unwrap();
    local(async {
        let seen = Seen::default();
        let service = async |head: &RequestHead, body, _: Arrival<'_>| {
            answer(Request::from_parts(head.clone(), body), &seen).await
        };
        let stream = stream.open().unwrap();
        serve(stream.into(), &permit, &limits(), service, refusal::bare, drain.clone()).await;
    });
    assert!(asking.join().unwrap().ends_with("GET /last "));
    drain.begin();
    accepting.join().unwrap().unwrap();
}
