//! HTTP/2: calls over it, callers that reset, flood or do not read, and how a connection ends.

use std::io::{Read as _, Write as _};

use crate::support::tls::{TlsSocket, secure};
use crate::support::{Browser, Server, shell, skipped};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// `:method: POST`, `:scheme: https`, `:path: /`, `:authority: localhost`.
const POST: &[u8] = b"\x83\x87\x84\x41\x09localhost";

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("it is short").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A whole request with this body.
fn post(stream: u32, body: &str) -> Vec<u8> {
    let head = frame(HEADERS, END_HEADERS, stream, POST);
    [head, frame(DATA, END_STREAM, stream, body.as_bytes())].concat()
}

#[derive(Debug, PartialEq, Eq)]
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

/// A caller that speaks in frames.
struct Peer(TlsSocket);

impl Peer {
    fn connect(server: &Server, settings: &[u8]) -> Self {
        let mut socket = TlsSocket::with(server.address(), &[b"h2"]).expect("a connection");
        let start = [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frame(SETTINGS, 0, 0, settings)];
        socket.write_all(&start.concat()).expect("the server reads");
        Self(socket)
    }

    fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).expect("the server reads");
    }

    /// Reads the next frame; `None`: the connection has ended.
    fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        self.0.read_exact(&mut payload).ok()?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        Some(Frame { kind: head[3], flags: head[4], stream, payload })
    }

    /// Reads on until a frame of this kind.
    fn until(&mut self, kind: u8, stream: u32) -> Option<Frame> {
        loop {
            let frame = self.next()?;
            if (frame.kind, frame.stream) == (kind, stream) {
                return Some(frame);
            }
        }
    }

    /// Reads the answer on a stream: its first byte says the status 200 if it is 0x88.
    fn answer(&mut self, stream: u32) -> (u8, String) {
        let head = self.until(HEADERS, stream).expect("a head");
        let mut body = Vec::new();
        let mut flags = head.flags;
        while flags & END_STREAM == 0 {
            let frame = self.until(DATA, stream).expect("a body");
            body.extend(frame.payload);
            flags = frame.flags;
        }
        (head.payload[0], String::from_utf8_lossy(&body).into_owned())
    }
}

const OK: u8 = 0x88;

#[test]
fn streams_are_answered_as_they_are_ready_and_the_authority_is_the_host() {
    let Some(plan) = secure("workers = 2") else { return };
    let plan = plan.route("match = \"POST /\"\nsend = \"{body} {header.host} {method} {path}\"");
    let server = plan.start();
    let mut peer = Peer::connect(&server, &[]);
    peer.send(&[post(1, "sleep 300"), post(3, "echo")].concat());
    let (status, quick) = peer.answer(3);
    assert_eq!((status, quick.contains("localhost POST /")), (OK, true), "{quick}");
    assert_eq!(peer.answer(1).0, OK);
    // Two hosts that differ are none.
    let two = [POST, b"\x66\x05other"].concat();
    peer.send(&frame(HEADERS, END_HEADERS | END_STREAM, 5, &two));
    assert_ne!(peer.answer(5).0, OK);
}

#[test]
fn who_resets_a_stream_has_left_and_the_others_stay() {
    let Some(plan) = secure("workers = 2\ntimeout = \"60s\"") else { return };
    let server = plan.start();
    let mut peer = Peer::connect(&server, &[]);
    peer.send(&post(1, "sleep 20000"));
    server.wait_for_count("httpipe_workers{state=\"busy\"}", 1.0);
    peer.send(&frame(RST_STREAM, 0, 1, &8_u32.to_be_bytes()));
    server.wait_for_count("httpipe_calls_total{outcome=\"abandoned\"}", 1.0);
    peer.send(&post(3, "a"));
    assert_eq!(peer.answer(3).0, OK);
}

/// Answers nothing, and notes what it is asked to hold.
const HOLDS: &str = "import json, sys
for line in sys.stdin:
    if json.loads(line).get('method') == 'hold': open('held', 'w').write(line)
";

/// Each of them counts its calls from 1. Without `trust` nothing tells them apart.
#[test]
fn callers_whose_proxy_has_one_connection_do_not_cancel_each_others_calls() {
    for trust in ["trust = [\"127.0.0.1\"]", ""] {
        let Some(plan) = secure("workers = 1\nmatching = \"json-id\"") else { return };
        let plan = plan.top(trust).file("holds.py", HOLDS);
        cancels_behind_a_proxy(&plan.worker("python3 holds.py").start(), !trust.is_empty());
    }
}

fn cancels_behind_a_proxy(server: &Server, is_trusted: bool) {
    let mut proxy = Peer::connect(server, &[]);
    let pass_on = |proxy: &mut Peer, stream: u32, address: &str, body: &str| {
        let field = [b"\0\x0fx-forwarded-for\x09", address.as_bytes()].concat();
        let head = frame(HEADERS, END_HEADERS, stream, &[POST, &field].concat());
        proxy.send(&[head, frame(DATA, END_STREAM, stream, body.as_bytes())].concat());
    };
    let hold = r#"{"jsonrpc":"2.0","id":1,"method":"hold"}"#;
    let cancel = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#;
    pass_on(&mut proxy, 1, "192.0.2.1", hold);
    server.wait_until("it is held", |server| server.read("held").contains("hold"));
    pass_on(&mut proxy, 3, "192.0.2.2", cancel);
    if is_trusted {
        server.wait_for_count("httpipe_messages_dropped_total{reason=\"cancel\"}", 1.0);
        pass_on(&mut proxy, 5, "192.0.2.1", cancel);
    }
    let (status, body) = proxy.answer(1);
    assert!(status != OK && body.contains("cancelled"), "{body}");
}

#[test]
fn who_does_not_read_loses_the_stream_and_keeps_the_connection() {
    let Some(plan) = secure("workers = 1") else { return };
    let server = plan.top("limits = { write_timeout = \"500ms\" }").start();
    // SETTINGS_INITIAL_WINDOW_SIZE is 0.
    let mut peer = Peer::connect(&server, &[0, 4, 0, 0, 0, 0]);
    peer.send(&post(1, "a"));
    peer.until(HEADERS, 1).expect("a head");
    let reset = peer.until(RST_STREAM, 1).expect("a reset");
    assert_eq!(reset.payload, 8_u32.to_be_bytes(), "CANCEL");
    peer.send(&frame(PING, 0, 0, b"are-you?"));
    assert_eq!(peer.until(PING, 0).expect("an answer").payload, b"are-you?");
}

/// All of the answer is with hyper then, and its worker is free. The connection has no stream that anybody
/// works on, so it is idle.
#[test]
fn a_last_piece_that_nobody_takes_ends_with_its_connection() {
    let Some(plan) = secure("workers = 1") else { return };
    let server = plan.top("limits = { idle_timeout = \"500ms\" }").start();
    // SETTINGS_INITIAL_WINDOW_SIZE is 1.
    let mut peer = Peer::connect(&server, &[0, 4, 0, 0, 0, 1]);
    peer.send(&post(1, "hello"));
    assert_eq!(peer.until(DATA, 1).expect("as much as there is room for").payload.len(), 1);
    peer.until(GOAWAY, 0).expect("a GOAWAY");
    server.wait_for_count("httpipe_connections", 0.0);
}

/// A flood: its name, what comes first, and what then comes many times.
type Flood<'a> = (&'a str, &'a [u8], &'a dyn Fn(u32) -> Vec<u8>);

/// The end of a GOAWAY that says `ENHANCE_YOUR_CALM`.
const CALM_DOWN: [u8; 4] = 11_u32.to_be_bytes();

/// Sends many of these, and returns true if the server ends the connection because they are too many.
fn is_sent_away(server: &Server, first: &[u8], many: impl Fn(u32) -> Vec<u8>) -> bool {
    let mut peer = Peer::connect(server, &[]);
    peer.send(first);
    for number in 0..200 {
        let bytes: Vec<u8> = (0..50).flat_map(|it| many(number * 50 + it)).collect();
        // The server may have closed.
        if peer.0.write_all(&bytes).is_err() {
            break;
        }
    }
    peer.until(GOAWAY, 0).is_some_and(|frame| frame.payload[4..8] == CALM_DOWN)
}

#[test]
fn floods_are_sent_away_and_cost_no_neighbour_a_call() {
    let Some(plan) = secure("workers = 1") else { return };
    let server = plan.start();
    let mut neighbour = Peer::connect(&server, &[]);
    neighbour.send(&post(1, "a"));
    assert_eq!(neighbour.answer(1).0, OK);
    let before = server.memory();
    let open = frame(HEADERS, END_HEADERS, 1, POST);
    let endless = frame(HEADERS, 0, 1, POST);
    let floods: [Flood<'_>; 5] = [
        ("PING", &[], &|_| frame(PING, 0, 0, b"12345678")),
        ("SETTINGS", &[], &|_| frame(SETTINGS, 0, 0, &[])),
        ("empty DATA", &open, &|_| frame(DATA, 0, 1, &[])),
        ("CONTINUATION", &endless, &|_| frame(CONTINUATION, 0, 1, &[0x40, 1, b'a', 1, b'b'])),
        ("rapid reset", &[], &|number| {
            let stream = 2 * number + 1;
            let head = frame(HEADERS, END_HEADERS | END_STREAM, stream, POST);
            [head, frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())].concat()
        }),
    ];
    for (stream, (name, first, many)) in (3..).step_by(2).zip(floods) {
        assert!(is_sent_away(&server, first, many), "{name}");
        neighbour.send(&post(stream, "a"));
        assert_eq!(neighbour.answer(stream).0, OK, "{name}");
    }
    let grown = server.memory().saturating_sub(before);
    assert!(grown < 32 << 20, "{grown}");
}

#[test]
fn a_stop_says_goaway_and_finishes_what_has_begun() {
    let Some(plan) = secure("workers = 1") else { return };
    let mut server = plan.start();
    let mut peer = Peer::connect(&server, &[]);
    peer.send(&post(1, "sleep 500"));
    server.wait_for_count("httpipe_workers{state=\"busy\"}", 1.0);
    server.signal("TERM");
    peer.until(GOAWAY, 0).expect("a GOAWAY");
    assert_eq!(peer.answer(1).0, OK);
    assert_eq!(server.exit_code(), 0);
}

#[test]
fn an_idle_connection_ends_with_goaway() {
    let Some(plan) = secure("workers = 1") else { return };
    let server = plan.top("limits = { idle_timeout = \"300ms\" }").start();
    let mut peer = Peer::connect(&server, &[]);
    peer.send(&post(1, "a"));
    assert_eq!(peer.answer(1).0, OK);
    let last = peer.until(GOAWAY, 0).expect("a GOAWAY");
    assert_eq!(last.payload, [0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0], "`NO_ERROR`");
    assert_eq!(peer.next(), None);
}

#[test]
fn another_implementation_finds_no_fault() {
    let Some(plan) = secure("workers = 2") else { return };
    if shell("h2load --version >/dev/null").0 != 0 {
        return skipped("h2load is not installed", "`apt-get install nghttp2-client` does it");
    }
    let server = plan.start();
    let url = format!("https://{}/?input=a", server.address());
    let (code, said) = shell(&format!("h2load -n 1000 -c 3 -m 20 '{url}'"));
    assert_eq!((code, said.contains("1000 succeeded")), (0, true), "{said}");
    assert!(said.contains("Application protocol: h2"), "{said}");
}

/// Their bodies may be under way when they are refused.
#[test]
fn who_is_refused_before_the_body_is_read_is_told_so() {
    let Some(plan) = secure("workers = 1") else { return };
    if shell("curl --version | grep -q HTTP2").0 != 0 {
        return skipped("curl has no HTTP/2", "`apt-get install curl` does it");
    }
    let server = plan.worker("cat").route("match = \"POST /\"").start();
    let url = format!("https://{}/nothing", server.address());
    let ask = format!("curl --http2 -sk -o /dev/null -w '%{{http_code}} ' -d hello {url}");
    let (_, said) = shell(&format!("for n in 1 2 3 4 5 6 7 8 9 10; do {ask}; done"));
    assert_eq!(said, "404 ".repeat(10));

    // The stream is not reset with the answer, while its body may still be under way.
    let mut peer = Peer::connect(&server, &[]);
    let mut is_reset = |stream| {
        // `:path: /index.html`.
        peer.send(&frame(HEADERS, END_HEADERS, stream, b"\x83\x87\x85\x41\x09localhost"));
        peer.answer(stream);
        peer.send(&frame(PING, 0, 0, b"are-you?"));
        let until = std::iter::from_fn(|| peer.next()).take_while(|it| it.kind != PING);
        until.filter(|it| it.kind == RST_STREAM).count() > 0
    };
    // On a busy machine the second may be over in which the server reads on.
    assert!((1..9).step_by(2).any(|stream| !is_reset(stream)));
}

/// It is larger than the windows of a stream and of a connection.
#[test]
fn a_large_body_goes_both_ways() {
    let Some(plan) = secure("workers = 1") else { return };
    if shell("curl --version | grep -q HTTP2").0 != 0 {
        return skipped("curl has no HTTP/2", "`apt-get install curl` does it");
    }
    let server = plan.worker("cat").route("match = \"POST /\"").start();
    let (url, dir) = (server.address(), server.dir().display());
    let make = "head -c 5242880 /dev/zero | tr '\\0' a >large";
    let ask = "curl --http2 -sk --data-binary @large -w '%{http_version} %{http_code}' -o got";
    let (code, said) =
        shell(&format!("cd '{dir}' && {make} && {ask} https://{url}/ && cmp large got"));
    assert_eq!((code, said.trim()), (0, "2 200"));
}

/// Over HTTP/1 a browser opens six connections to a server, and the seventh page would hang.
#[test]
fn twenty_pages_of_a_browser_wait_for_events_at_once() {
    let Some(plan) = secure("workers = 20\nstream = \"until:END\"") else { return };
    let server = plan
        .worker("sh tick.sh")
        .file("tick.sh", "while read -r line; do echo part; sleep 600; done")
        .route("match = \"GET /events?n={n}\"")
        .route("match = \"GET /page\"\ntext = \"here\"")
        .start();
    server.wait_for_count("httpipe_workers{state=\"ready\"}", 20.0);
    let Some(browser) = Browser::open(&format!("https://{}/page", server.address())) else {
        return;
    };
    browser.wait_until("document.body?.innerText === 'here'");
    browser.evaluate(
        "window.opened = 0; for (let n = 0; n < 20; n++) { \
         new EventSource(`/events?n=${n}`).onopen = () => window.opened++; }",
    );
    browser.wait_until("window.opened === 20");
    assert_eq!(browser.evaluate("fetch('/page').then((response) => response.text())"), "here");
    let protocol = "performance.getEntriesByType('navigation')[0].nextHopProtocol";
    assert_eq!(browser.evaluate(protocol), "h2");
}
