//! What is served without hyper is served as hyper serves it, byte by byte.

use std::collections::VecDeque;
use std::task::Context;

use hyper::body::{Frame, SizeHint};
use tokio::io::ReadBuf;
use tokio::net::UnixStream;

use super::*;
use crate::net::WrittenHead;
use crate::net::conduit::Conduit;
use crate::net::stream::{Reader, Writer};

/// A connection that is served by hyper alone.
#[derive(Clone)]
struct HypersConduit(PlainConduit);

impl Conduit for HypersConduit {
    const LEAVING_IS_READ: bool = false;
    const CAN_REST: bool = false;

    fn writer(&self) -> &Rc<Writer> {
        self.0.writer()
    }

    fn poll_readable(&self, context: &mut Context<'_>) -> Poll<()> {
        self.0.poll_readable(context)
    }

    fn poll_read(
        &self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.0.poll_read(context, buffer)
    }

    fn poll_write(
        &self,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
        watch: &Watch,
    ) -> Poll<io::Result<usize>> {
        self.0.poll_write(context, parts, watch)
    }

    fn poll_flush(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_flush(context)
    }

    fn poll_end(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_end(context)
    }

    fn say_last(&self, words: &[u8]) {
        self.0.say_last(words);
    }

    fn into_reader(self) -> Option<Reader> {
        self.0.into_reader()
    }
}

/// A body that waits before each of its pieces.
struct PieceBody {
    pieces: VecDeque<io::Result<Bytes>>,
    length: Option<u64>,
    waits: bool,
}

impl PieceBody {
    fn of(pieces: impl IntoIterator<Item = io::Result<Bytes>>, length: Option<u64>) -> Self {
        Self { pieces: pieces.into_iter().collect(), length, waits: true }
    }

    fn whole(text: impl Into<Bytes>) -> Self {
        let text = text.into();
        let length = Some(text.len() as u64);
        Self::of((!text.is_empty()).then_some(Ok(text)), length)
    }
}

impl Body for PieceBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if std::mem::replace(&mut self.waits, false) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.waits = self.pieces.len() > 1;
        Poll::Ready(self.pieces.pop_front().map(|piece| piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.length.is_some() && self.pieces.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map(SizeHint::with_exact).unwrap_or_default()
    }
}

const PATHS: [&str; 13] = [
    "/text",
    "/empty",
    "/nothing",
    "/unchanged",
    "/nothing-more",
    "/listed",
    "/odd",
    "/fields",
    "/begun",
    "/last",
    "/long",
    "/parts",
    "/broken",
];

fn answer_to(path: &str, written: Option<&WrittenHead>) -> Response<PieceBody> {
    let part = |text: &'static str| Ok(Bytes::from_static(text.as_bytes()));
    let long = || Bytes::from(vec![b'x'; 200_000]);
    let body = match path {
        "/nothing" | "/unchanged" | "/empty" => PieceBody::whole(""),
        "/long" => PieceBody::whole(long()),
        "/parts" => PieceBody::of([part("a"), Ok(long()), part("bc"), part("d")], None),
        "/too-long" | "/too-short" => PieceBody::of([part("a"), part("bcd")], None),
        "/broken" => PieceBody::of([part("a"), Err(io::Error::other("it broke"))], None),
        _ => PieceBody::whole(path.to_owned()),
    };
    let response = Response::builder();
    let response = match path {
        "/nothing" => response.status(204).header("x-a", "1"),
        "/unchanged" => response.status(304).header("etag", "\"1\""),
        "/nothing-more" => response.status(204),
        "/listed" => response.header("connection", "keep-alive, Close"),
        "/odd" => response.status(499),
        "/fields" => response
            .header("date", "Sun, 06 Nov 1994 08:49:37 GMT")
            .header("set-cookie", "a=1")
            .header("x-b", "2")
            .header("set-cookie", "b=2")
            .header("x-empty", ""),
        "/begun" => {
            let begin = |written: &WrittenHead| {
                written.begin(|to| to.extend_from_slice(b"x-a: 1\r\nx-b: 2\r\n"));
            };
            let response = match written.map(begin) {
                Some(()) => response,
                None => response.header("x-a", "1").header("x-b", "2"),
            };
            response.header("x-c", "3")
        }
        "/last" => response.header("connection", "close"),
        "/too-long" => response.header("content-length", "2"),
        "/too-short" => response.header("content-length", "5"),
        _ => response.header("content-type", "text/plain"),
    };
    response.body(body).expect("a response")
}

/// Returns what the service was asked, and all that the caller got.
async fn exchange(by_hyper: bool, request: &[u8]) -> (Vec<String>, String) {
    let (mut caller, stream) = UnixStream::pair().expect("sockets");
    let (asked, changed) = (RefCell::new(Vec::new()), Notify::new());
    let service = async |head: &RequestHead, body: RequestBody, arrival: Arrival<'_>| {
        let length = body.collect().await.map_or(0, |body| body.to_bytes().len());
        let path = head.uri.path().to_owned();
        let RequestHead { method, uri, version, headers, .. } = head;
        asked.borrow_mut().push(format!("{method} {uri:?} {version:?} {headers:?} {length}"));
        changed.notify_one();
        answer_to(&path, arrival.written)
    };
    let permit = Permit::only();
    let (limits, drain) = (limits(), Drain::new());
    let conduit = PlainConduit::new(Stream::Unix(stream));
    let watch = Rc::new(Watch::new(now(), permit.seat()));
    let served = async {
        let refuse = refusal::bare;
        if by_hyper {
            let conduit = HypersConduit(conduit);
            serve_http1(conduit, watch, &permit, &limits, service, refuse, drain).await;
        } else {
            serve_http1(conduit, watch, &permit, &limits, service, refuse, drain).await;
        }
    };
    let asks = async {
        caller.write_all(request).await.expect("it reads");
        let mut got = Vec::new();
        tokio::select! {
            // What never becomes a request ends the connection.
            read = caller.read_to_end(&mut got) => drop(read),
            () = changed.notified() => {
                // It fails if the connection ends with the first answer.
                caller.write_all(LAST.as_bytes()).await.ok();
                caller.read_to_end(&mut got).await.ok();
            }
        }
        // So that the server need not read on.
        caller.shutdown().await.ok();
        got
    };
    let both = async { tokio::join!(served, asks).1 };
    let got = tokio::time::timeout(Duration::from_secs(10), both).await.expect("it ends");
    let text = String::from_utf8(got).expect("UTF-8");
    let undated = text.split("\r\n").filter(|line| !line.ends_with("GMT") || line.contains("1994"));
    (asked.into_inner(), undated.collect::<Vec<_>>().join("\n"))
}

#[test]
fn what_is_served_without_hyper_is_served_as_by_hyper() {
    let mut requests: Vec<Vec<u8>> = Vec::new();
    for path in PATHS {
        for method in ["GET", "HEAD", "POST"] {
            requests.push(format!("{method} {path} HTTP/1.1\r\nHost: a\r\n\r\n").into());
        }
    }
    for fields in [
        "Connection: close\r\n",
        "Connection: Keep-Alive\r\n",
        "Connection: keep-alive, close\r\n",
        "Connection: close\r\nConnection: keep-alive\r\n",
        "Connection: upgrade\r\nUpgrade: a\r\n",
        "Content-Length: 2\r\n\r\nab",
        "Content-Length: 0\r\n",
        "Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n",
        "Expect: 100-continue\r\n",
        "TE: trailers\r\nX-A:  1\t \r\nx-a: 2\r\nX-Empty:\r\nX-Quoted: \"\\\"\"\r\n",
        "X : 1\r\n",
        " folded\r\n",
    ] {
        requests.push(format!("GET /text HTTP/1.1\r\nHost: a\r\n{fields}\r\n").into());
    }
    let mut many = "GET /text HTTP/1.1\r\nHost: a\r\n".to_owned();
    many.extend((0..65).map(|number| format!("X-{number}: {number}\r\n")));
    let long = format!("GET /text?{} HTTP/1.1\r\nHost: a\r\n\r\n", "q".repeat(9_000));
    requests.extend([many.clone() + "\r\n", many.repeat(2) + "\r\n", long].map(String::into_bytes));
    requests.extend(
        [
            &b"GET /text HTTP/1.0\r\nHost: a\r\n\r\n"[..],
            b"\r\nGET /text HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET http://b/text?c=d HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET /text?%zz=%#e HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET * HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET text HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET /text HTTP/1.1\nHost: a\n\n",
            b"GET /text HTTP/1.1\r\nHost: a\r\nX-A: \xc3\xa9\xff\r\n\r\n",
            b"GET /text HTTP/1.1\r\nHost: a\r\nX-A: \x01\r\n\r\n",
            b"GET /text HTTP/1.1\r\n\r\n",
            b"get /text HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET  /text HTTP/1.1\r\nHost: a\r\n\r\n",
            b"G\x00T /text HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET /text HTTP/1.1\r\nHost: a\r\n\r\nGET /empty HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET /text HTTP/1.1\r\nHost: a\r\n\r\nnothing else\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        ]
        .map(<[u8]>::to_vec),
    );
    for request in requests {
        let (ours, hypers) =
            local(async { (exchange(false, &request).await, exchange(true, &request).await) });
        assert_eq!(ours, hypers, "{}", String::from_utf8_lossy(&request));
    }
}

#[test]
fn a_body_that_is_not_as_long_as_was_said_ends_the_connection() {
    for (path, sent) in [("/too-long", "a"), ("/too-short", "abcd")] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
        let (asked, got) = local(exchange(false, request.as_bytes()));
        assert_eq!(asked.len(), 1, "{asked:?}");
        let body = got.rsplit_once("\n\n").map(|(_, body)| body);
        assert!(body.is_some_and(|body| sent.starts_with(body)), "{got}");
    }
}

#[test]
fn an_answer_that_waits_for_its_next_part_leaves_the_room_to_others() {
    let parts = "GET /parts HTTP/1.1\r\nHost: a\r\n\r\n";
    let text = "GET /text HTTP/1.1\r\nHost: a\r\n\r\n";
    let both = local(async {
        tokio::join!(exchange(false, parts.as_bytes()), exchange(false, text.as_bytes()))
    });
    let alone = |request: &str| local(exchange(false, request.as_bytes()));
    assert_eq!(both, (alone(parts), alone(text)));
}
