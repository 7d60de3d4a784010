//! Requests from start to end, against calls that a test answers itself.

use std::cell::RefCell;
use std::collections::{HashSet, VecDeque};
use std::rc::Rc;
use std::str::FromStr as _;
use std::time::Duration;

use http::Request;
use http::header::{self, HeaderMap};
use hyper::body::Body as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_util::task::TaskTracker;

use super::jobs::FrontJobs;
use super::parameters::tests::{int, route, text};
use super::routes::tests::fixed;
use super::testing::{Pieces, call, config};
use super::*;
use crate::base::parameter::ParameterKind;
use crate::base::{AwayTime, NodeId, Rate, Reply, ReplyForm, Word};
use crate::cache::{AgeFields, Stored};
use crate::call::CacheUse;
use crate::call::Request as Asking;
use crate::config::callers::AnonymousSettings;
use crate::config::{CallersSettings, JobRules};
use crate::gate::GateCounts;
use crate::jobs::forgetful_desk;
use crate::net::WrittenHead;

/// A page of another site.
const PAGE: &str = "https://page.example";

fn calling(path: &str, parameters: &[(&str, ParameterKind)], send: &str) -> RouteSettings {
    let mut route = route(path, parameters);
    route.action = RouteAction::Call(call(send, &route));
    route
}

fn cached(mut route: RouteSettings) -> RouteSettings {
    if let RouteAction::Call(call) = &mut route.action {
        call.cache = Some(Duration::from_hours(1));
    }
    route
}

fn with_batches(mut route: RouteSettings) -> RouteSettings {
    if let RouteAction::Call(call) = &mut route.action {
        call.items = Some(10);
    }
    route
}

fn front(routes: Vec<RouteSettings>) -> Arc<Front> {
    Arc::new(front_of(&config(routes)))
}

fn front_of(config: &Config) -> Front {
    let (limits, memory) = (config.limits.clone(), Memory::new(256 << 20));
    Front::new(config, limits, &Metrics::new(), AccessLog::off(), memory)
}

/// A front that lets each caller ask ten times a minute, and whose clock stands still.
fn counting_front(routes: Vec<RouteSettings>) -> Arc<Front> {
    let rate = Rate::from_str("10/1m").expect("a rate");
    let anonymous = Some(AnonymousSettings { rate: Some(rate), calls: None });
    let settings = CallersSettings { anonymous, ..CallersSettings::default() };
    let not_yet = Instant::now() + Duration::from_hours(1);
    let counts = GateCounts::new(not_yet, &Memory::new(256 << 20));
    Arc::new(front_of(&config(routes)).guarded(KeyGate::new(&settings, &counts)))
}

/// A front whose answers pages of [`PAGE`] may read.
fn front_for_pages(routes: Vec<RouteSettings>) -> Arc<Front> {
    let cors = Some(Arc::new(Cors::Listed(HashSet::from([PAGE.into()]))));
    let routes = routes.into_iter().map(|route| RouteSettings { cors: cors.clone(), ..route });
    Arc::new(front_of(&Config { cors: cors.clone(), ..config(routes.collect()) }))
}

/// Answers calls with the questions themselves, and remembers them.
#[derive(Clone, Default)]
struct Echo {
    asked: Rc<RefCell<Vec<Asking>>>,
    /// Given instead of the echo.
    told: Option<Answer>,
    panics: bool,
}

impl Calls for Echo {
    async fn call(&self, request: Box<Asking>) -> Answer {
        assert!(!self.panics, "the panic that a test asked for");
        let body = request.call.question.text.clone();
        self.asked.borrow_mut().push(*request);
        let timing = Timing {
            queue: Duration::from_micros(123),
            work: Duration::from_micros(1234),
            ..Timing::default()
        };
        let result = Ok(Reply { body, form: ReplyForm::Plain });
        self.told.clone().unwrap_or(Answer { result, timing, cache: None })
    }

    async fn tell(&self, _: usize, _: Word) -> Result<(), Failure> {
        Ok(())
    }
}

/// One who came by a socket file.
fn caller() -> Caller {
    Caller {
        peer: "unix".into(),
        address: None,
        is_guarded: false,
        names: Box::default(),
        connection: 0,
    }
}

struct Told {
    status: u16,
    headers: HeaderMap,
    body: String,
}

impl Told {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("a text"))
    }

    fn is(&self, status: u16, code: &str) {
        assert_eq!((self.status, self.header("httpipe-failure")), (status, code), "{}", self.body);
    }
}

/// Lets the front answer a request that has just come. The beginning of the response may be written.
async fn handle<B>(
    front: &Arc<Front>,
    calls: &Echo,
    request: Request<B>,
    written: Option<&WrittenHead>,
) -> Response<FrontBody>
where
    B: hyper::body::Body<Data = Bytes> + Unpin + 'static,
{
    let (head, body) = request.into_parts();
    let arrival = Arrival { at: Instant::now(), written };
    front.handle(calls, &head, body, &caller(), arrival).await
}

async fn ask_with(
    front: &Arc<Front>,
    calls: &Echo,
    text: &str,
    fields: &[(&'static str, &str)],
    body: Pieces,
) -> Told {
    let (method, target) = text.split_once(' ').expect("a method and a target");
    let mut request = Request::builder().method(method).uri(target).header("host", "test");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let request = request.body(body).expect("a request");
    let response = handle(front, calls, request, None).await;
    let (head, body) = response.into_parts();
    let body = match body {
        FrontBody::Empty => Bytes::new(),
        FrontBody::Full(bytes) => bytes,
        FrontBody::Parts(_) | FrontBody::Batch(_) => panic!("these answers come whole"),
    };
    Told {
        status: head.status.as_u16(),
        headers: head.headers,
        body: String::from_utf8(body.to_vec()).expect("UTF-8"),
    }
}

async fn ask(front: &Arc<Front>, calls: &Echo, text: &str) -> Told {
    ask_with(front, calls, text, &[], Pieces::of(&[])).await
}

fn fib() -> Arc<Front> {
    front(vec![
        calling("GET /fib", &[("num", int())], "fib {num}"),
        calling("POST /", &[], "{body}"),
        calling("POST /form", &[("a", text()), ("b", text())], "json"),
        fixed("GET /*"),
    ])
}

#[tokio::test]
async fn a_request_becomes_a_call_and_its_reply_a_response() {
    let calls = Echo::default();
    let told = ask(&fib(), &calls, "GET /fib?num=0010").await;
    assert_eq!((told.status, &*told.body), (200, "fib 10"));
    assert_eq!(told.header("content-type"), "text/plain; charset=utf-8");
    assert_eq!(told.header("server-timing"), "queue;dur=0.123, work;dur=1.234");
    assert_eq!(told.header("x-content-type-options"), "nosniff");
    assert!(!told.header("x-request-id").is_empty());
    assert_eq!(told.header("connection"), "");
    assert!(calls.asked.borrow()[0].keep.is_none());
}

/// Once it is accepted, its caller must learn its name, whatever fails then.
#[tokio::test]
async fn an_accepted_job_is_named_though_the_file_fails_meanwhile() {
    let mut route = calling("POST /", &[], "{body}");
    if let RouteAction::Call(call) = &mut route.action {
        let (timeout, wait) = (Duration::from_secs(1), Duration::from_secs(1));
        call.jobs = Some(JobRules { timeout, wait, keep: wait, priority: 0 });
    }
    let jobs = FrontJobs::new(forgetful_desk(), TaskTracker::new());
    let front = Arc::into_inner(front(vec![route])).expect("nobody else has it");
    let front = Arc::new(front.with_jobs(Some(jobs)));
    for wish in ["respond-async", "respond-async, wait=10"] {
        let body = Pieces::of(&[b"x"]);
        let told = ask_with(&front, &Echo::default(), "POST /", &[("prefer", wish)], body).await;
        assert_eq!(told.status, 202, "{wish}: {}", told.body);
        assert!(told.header("location").starts_with("/-/jobs/"), "{wish}");
        let look = ask(&front, &Echo::default(), &format!("GET {}", told.header("location"))).await;
        look.is(503, "store_failed");
    }
}

#[tokio::test]
async fn a_call_of_another_server_tells_what_the_way_took() {
    let result = Ok(Reply { body: "1".into(), form: ReplyForm::Plain });
    let host = NodeId(1 << 96).tag();
    let work = Duration::from_millis(2);
    let timing = Timing { work, away: Some(AwayTime { host, way_us: 345 }), ..Timing::default() };
    let calls = Echo { told: Some(Answer { result, timing, cache: None }), ..Echo::default() };
    let told = ask(&fib(), &calls, "GET /fib?num=10").await;
    assert_eq!(told.header("server-timing"), "queue;dur=0.000, spread;dur=0.345, work;dur=2.000");
}

#[tokio::test]
async fn a_fixed_answer_makes_no_call() {
    let calls = Echo::default();
    let told = ask(&fib(), &calls, "GET /anything").await;
    assert_eq!((told.status, &*told.body), (200, "Ok"));
    assert_eq!(told.header("server-timing"), "queue;dur=0.000, work;dur=0.000");
    let told = ask(&fib(), &calls, "HEAD /anything").await;
    assert_eq!((told.status, &*told.body, told.header("content-length")), (200, "", "2"));
    assert!(calls.asked.borrow().is_empty());
}

#[tokio::test]
async fn what_would_be_two_lines_never_reaches_a_worker() {
    let calls = Echo::default();
    let front = front(vec![
        calling("GET /q", &[("q", text())], "{q}"),
        calling("POST /", &[], "{body}"),
        calling("GET /h", &[], "{header.x-a} {path}"),
    ]);
    for value in ["1%0A2", "1%0D%0A", "1%0D", "%00", "%0A"] {
        let told = ask(&front, &calls, &format!("GET /q?q={value}")).await;
        told.is(400, "unsendable");
        assert!(told.body.contains(r#""parameter":"q""#), "{}", told.body);
    }
    for body in [&b"1\n2"[..], b"1\n\n", b"1\r", b"1\r\r\n", b"\0"] {
        let told = ask_with(&front, &calls, "POST /", &[], Pieces::of(&[body])).await;
        told.is(400, "unsendable");
        assert!(told.body.contains(r#""parameter":"body""#), "{}", told.body);
    }
    assert!(calls.asked.borrow().is_empty());
    let told = ask(&front, &calls, "GET /q?q=a%E2%80%A8b%C2%85c%0Bd%0Ce").await;
    assert_eq!(told.body, "a\u{2028}b\u{85}c\u{b}d\u{c}e");
}

#[tokio::test]
async fn one_final_line_end_of_a_body_is_dropped() {
    let calls = Echo::default();
    for (body, question) in [("1\n", "1"), ("1\r\n", "1"), ("1", "1"), ("\n", "")] {
        let body = Pieces::of(&[body.as_bytes()]);
        let told = ask_with(&fib(), &calls, "POST /", &[], body).await;
        assert_eq!((told.status, &*told.body), (200, question));
    }
}

#[tokio::test]
async fn values_are_put_in_once() {
    let front = front(vec![calling("GET /q", &[("q", text()), ("r", text())], "{q}-{r}")]);
    let told = ask(&front, &Echo::default(), "GET /q?q=%7Br%7D%7Bbody%7D$x%25s&r=%7Bq%7D").await;
    assert_eq!(told.body, "{r}{body}$x%s-{q}");
}

#[tokio::test]
async fn a_body_is_refused_at_its_limit_and_before_it_is_read_if_it_says_so() {
    let calls = Echo::default();
    let endless = || Pieces { pieces: VecDeque::from([&[b'a'; 1000][..]; 9]), endless: true };
    let says = |length| [("content-length", length)];
    let told = ask_with(&fib(), &calls, "POST /", &says("2049"), endless()).await;
    told.is(413, "body_too_large");
    assert_eq!(told.header("connection"), "close");
    let told = ask_with(&fib(), &calls, "POST /", &[], endless()).await;
    told.is(413, "body_too_large");
    assert_eq!(told.header("connection"), "close");
    let long = Pieces::of(&[&[b'a'; 1000], &[b'b'; 25]]);
    let told = ask_with(&fib(), &calls, "POST /", &[], long).await;
    told.is(413, "body_too_large");
    assert!(told.body.contains("1024 bytes"), "{}", told.body);
    assert_eq!(told.header("connection"), "");
    let pieces = Pieces::of(&[&[b'a'; 1000], b"b", b"c\n"]);
    let told = ask_with(&fib(), &calls, "POST /", &[], pieces).await;
    assert_eq!((told.status, told.body.len()), (200, 1002));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_end_holds_no_worker() {
    let calls = Echo::default();
    let slow = || Pieces { pieces: VecDeque::from([&b"1"[..]]), endless: true };
    let told = ask_with(&fib(), &calls, "POST /", &[], slow()).await;
    told.is(408, "request_timeout");
    assert_eq!(told.header("connection"), "close");
    let told = ask_with(&fib(), &calls, "POST /", &[("x-timeout", "800ms")], slow()).await;
    told.is(504, "timeout");
    assert!(calls.asked.borrow().is_empty());
}

#[tokio::test]
async fn compressed_bodies_and_unknown_kinds_are_refused() {
    let calls = Echo::default();
    let body = || Pieces::of(&[b"a=1&b=2"]);
    let zipped = [("content-encoding", "gzip")];
    ask_with(&fib(), &calls, "POST /", &zipped, body()).await.is(415, "unsupported_media_type");
    let told =
        ask_with(&fib(), &calls, "POST /form", &[("content-type", "text/xml")], body()).await;
    told.is(415, "unsupported_media_type");
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let told = ask_with(&fib(), &calls, "POST /form", &form, body()).await;
    assert_eq!((told.status, &*told.body), (200, r#"{"a":"1","b":"2"}"#));
}

#[tokio::test]
async fn an_unread_body_ends_the_connection() {
    let calls = Echo::default();
    let body = || Pieces::of(&[b"GET /fib?num=1 HTTP/1.1\r\n\r\n"]);
    for (request, status) in [("POST /none", 405), ("GET /x", 200), ("GET /fib?num=1", 200)] {
        let told = ask_with(&fib(), &calls, request, &[], body()).await;
        let close = told.header("connection") == "close";
        // The route of `/fib` looks for `num` in the body too, so it is read there.
        assert_eq!((told.status, close), (status, !request.contains("fib")), "{request}");
    }
}

#[tokio::test]
async fn methods_are_answered_as_http_has_it() {
    let calls = Echo::default();
    let front = front(vec![calling("GET /a", &[], "a"), calling("POST /b", &[], "b")]);
    let told = ask(&front, &calls, "HEAD /a").await;
    assert_eq!((told.status, &*told.body, told.header("content-length")), (200, "", "1"));
    let told = ask(&front, &calls, "OPTIONS /a").await;
    assert_eq!((told.status, told.header("allow")), (204, "GET, HEAD, OPTIONS"));
    let told = ask(&front, &calls, "DELETE /b").await;
    told.is(405, "method_not_allowed");
    assert_eq!(told.header("allow"), "POST, OPTIONS");
    ask(&front, &calls, "TRACE /a").await.is(405, "method_not_allowed");
    ask(&front, &calls, "GET /%2e%2e/a").await.is(404, "no_route");
    assert_eq!(calls.asked.borrow().len(), 1);
}

#[tokio::test]
async fn a_request_without_one_host_is_refused() {
    let request = Request::builder().uri("/x").body(Pieces::of(&[])).expect("a request");
    let response = handle(&fib(), &Echo::default(), request, None).await;
    assert_eq!(response.status(), 400);
    let twice = [("host", "other")];
    let told = ask_with(&fib(), &Echo::default(), "GET /x", &twice, Pieces::of(&[])).await;
    told.is(400, "bad_request");
}

#[tokio::test]
async fn a_caller_may_name_its_request_and_its_deadline() {
    let calls = Echo::default();
    let fields = [("x-request-id", "mine-1"), ("x-timeout", "800ms")];
    let told = ask_with(&fib(), &calls, "GET /fib?num=1", &fields, Pieces::of(&[])).await;
    assert_eq!(told.header("x-request-id"), "mine-1");
    assert!(calls.asked.borrow()[0].call.caller_deadline.is_some());
    let bad = [("x-request-id", "mine-2"), ("x-timeout", "-1s")];
    let told = ask_with(&fib(), &calls, "GET /fib?num=1", &bad, Pieces::of(&[])).await;
    told.is(400, "bad_request");
    assert!(told.body.contains(r#""request_id":"mine-2""#), "{}", told.body);
}

#[tokio::test]
async fn a_draining_front_refuses_everything_and_closes() {
    let (front, calls) = (fib(), Echo::default());
    front.ending.drain();
    let told = ask(&front, &calls, "GET /fib?num=1").await;
    told.is(503, "draining");
    assert_eq!((told.header("connection"), told.header("retry-after")), ("close", "1"));
    assert!(calls.asked.borrow().is_empty());
}

#[tokio::test]
async fn a_fault_of_ours_is_an_answer_that_says_nothing() {
    let calls = Echo { panics: true, ..Echo::default() };
    let told = ask(&fib(), &calls, "GET /fib?num=1").await;
    told.is(500, "internal");
    assert!(!told.body.contains("panic"), "{}", told.body);
}

/// An answer that was kept a minute ago for an hour.
fn kept() -> Answer {
    let body = Bytes::from_static(b"55");
    let stored = Arc::new(Stored {
        reply: Reply { body, form: ReplyForm::Json },
        etag: "\"a,b\"".into(),
        since: Instant::now().checked_sub(Duration::from_mins(1)).expect("a minute ago"),
        ttl: Duration::from_hours(1),
        lent: crate::sync::memory::Lent::default(),
        age_fields: AgeFields::default(),
    });
    Answer {
        result: Ok(stored.reply.clone()),
        timing: Timing::default(),
        cache: Some(CacheUse::Hit(stored)),
    }
}

/// Asks, and returns the fields of the head, and which of them were written.
async fn fields_of(
    front: &Arc<Front>,
    calls: &Echo,
    request: Request<Pieces>,
    written: Option<&WrittenHead>,
) -> Vec<String> {
    let response = handle(front, calls, request, written).await;
    let line = |(name, value): (&http::HeaderName, &HeaderValue)| {
        format!("{name}: {}\r\n", value.to_str().expect("text"))
    };
    response.headers().iter().map(line).collect()
}

/// The body tells whether it is a batch, so it is read before. A caller may be slow.
#[tokio::test]
async fn a_call_whose_body_was_waited_for_does_not_begin_before_the_body_was_there() {
    let front = front(vec![with_batches(calling("POST /", &[("a", int())], "json"))]);
    let calls = Echo::default();
    let fields = [("content-type", "application/json"), ("content-length", "7")];
    let told = ask_with(&front, &calls, "POST /", &fields, Pieces::of(&[b"{\"a\":", b"1}"])).await;
    assert_eq!((told.status, &*told.body), (200, "{\"a\":1}"));
    assert_eq!(calls.asked.borrow()[0].asked, None, "the clock tells");
}

#[tokio::test]
async fn a_head_is_written_as_its_map_would_be() {
    heads_are_written_as_maps(front, "").await;
}

#[tokio::test]
async fn a_head_is_written_as_its_map_would_be_behind_a_gate() {
    let left = "ratelimit-policy: \"requests\";q=10;w=60\r\nratelimit: \"requests\";r=9;t=6\r\n";
    heads_are_written_as_maps(counting_front, left).await;
}

#[tokio::test]
async fn a_head_is_written_as_its_map_would_be_for_a_page_of_another_site() {
    let may = "access-control-allow-origin: https://page.example\r\n";
    heads_are_written_as_maps(front_for_pages, may).await;
}

/// Looks at the heads of a front that `make` makes anew for each request. All of them have `shared`.
async fn heads_are_written_as_maps(make: fn(Vec<RouteSettings>) -> Arc<Front>, shared: &str) {
    let front = || {
        make(vec![
            cached(calling("GET /kept", &[], "{method}")),
            calling("GET /called", &[], "{method}"),
            fixed("GET /fixed"),
        ])
    };
    let away = Some(AwayTime { host: NodeId(1 << 96).tag(), way_us: 345 });
    let work = Duration::from_micros(2_345);
    let of_call = |form, away| Answer {
        result: Ok(Reply { body: "1".into(), form }),
        timing: Timing { work, away, ..Timing::default() },
        cache: None,
    };
    let header = |name: &str| (name.to_owned(), "x".to_owned());
    let of_program = ReplyForm::Http { status: 201, headers: vec![header("x-a")] };
    let failed = Answer { result: Err(Failure::Poisonous), ..kept() };
    let missed = Answer { cache: Some(CacheUse::Miss(None)), ..kept() };
    for (told, target, is_written) in [
        (kept(), "GET /kept", true),
        (kept(), "HEAD /kept", false),
        (kept(), "GET /called", false),
        (missed, "GET /kept", false),
        (failed, "GET /kept", false),
        (of_call(ReplyForm::Plain, None), "GET /called", true),
        (of_call(ReplyForm::Json, away), "GET /called", true),
        (of_call(of_program, None), "GET /called", false),
        (kept(), "GET /fixed", true),
        (kept(), "GET /nowhere", false),
    ] {
        let calls = Echo { told: Some(told), ..Echo::default() };
        let request = |tag: Option<&str>| {
            let (method, path) = target.split_once(' ').expect("a method and a path");
            let request = Request::builder().method(method).uri(path).header("host", "test");
            let request = request.header("x-request-id", "same").header("origin", PAGE);
            let request = tag.into_iter().fold(request, |it, tag| it.header("if-none-match", tag));
            request.body(Pieces::of(&[])).expect("a request")
        };
        let of_map = fields_of(&front(), &calls, request(None), None).await.concat();
        assert!(of_map.contains(shared), "{target}: {of_map}");
        let written = WrittenHead::default();
        let behind = fields_of(&front(), &calls, request(None), Some(&written)).await.concat();
        let text = String::from_utf8(written.into_text()).expect("text");
        assert_eq!(text.is_empty(), !is_written, "{target}");
        let fields = text.strip_prefix("HTTP/1.1 200 OK\r\n").unwrap_or_default();
        assert_eq!(format!("{fields}{behind}"), of_map, "{target}");
        let known = WrittenHead::default();
        fields_of(&front(), &calls, request(Some("*")), Some(&known)).await;
        assert_eq!(known.into_text(), b"", "{target}: its status may be another");
    }
}

#[tokio::test]
async fn a_kept_answer_is_served_with_its_age_and_tag() {
    let calls = Echo { told: Some(kept()), ..Echo::default() };
    let front = front(vec![cached(calling("GET /fib", &[("num", int())], "{num}"))]);
    let told = ask(&front, &calls, "GET /fib?num=10").await;
    assert_eq!((told.status, &*told.body), (200, "55"));
    assert_eq!(told.header("content-type"), "application/json");
    assert_eq!(told.header("age"), "60");
    assert_eq!(told.header("cache-control"), "max-age=3600");
    assert!(told.header("cache-status").starts_with("httpipe; hit; ttl=35"));
    assert_eq!(told.header("etag"), "\"a,b\"");
    for (tags, status) in [
        ("\"a,b\"", 304),
        ("\"x\", W/\"a,b\"", 304),
        ("*", 304),
        (", ,\"x\",,\"a,b\"", 304),
        ("\"a\"", 200),
        ("a,b", 200),
        ("\"a,b", 200),
        ("", 200),
    ] {
        let fields = [("if-none-match", tags)];
        let told = ask_with(&front, &calls, "GET /fib?num=10", &fields, Pieces::of(&[])).await;
        assert_eq!(told.status, status, "{tags}");
        assert_eq!(told.body.is_empty(), status == 304);
        assert!(status == 200 || told.header("content-length").is_empty());
        assert_eq!(told.header("etag"), "\"a,b\"");
    }
}

#[tokio::test]
async fn a_cached_route_says_how_it_was_served() {
    let failed = |cache| Answer {
        result: Err(Failure::Poisonous),
        timing: Timing::default(),
        cache: Some(cache),
    };
    let front = front(vec![cached(calling("GET /fib", &[("num", int())], "{num}"))]);
    for (cache, status) in [
        (CacheUse::Miss(None), "httpipe; fwd=miss"),
        (CacheUse::Collapsed(None), "httpipe; fwd=miss; collapsed"),
    ] {
        let calls = Echo { told: Some(failed(cache)), ..Echo::default() };
        let told = ask(&front, &calls, "GET /fib?num=010").await;
        told.is(422, "poisonous");
        assert_eq!(told.header("cache-status"), status);
        assert_eq!(told.header("cache-control"), "");
        let asked = calls.asked.borrow();
        assert_eq!(asked[0].call.question.text, "10", "what it is kept under");
        assert_eq!(asked[0].keep.as_ref().expect("it is kept").question, None);
    }
}

#[tokio::test]
async fn a_program_may_choose_status_and_headers() {
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let headers = vec![
        header("content-type", "text/html"),
        header("set-cookie", "a=1"),
        header("set-cookie", "b=2"),
        header("x-request-id", "forged"),
    ];
    let form = ReplyForm::Http { status: 201, headers };
    let result = Ok(Reply { body: Bytes::from_static(b"<p>"), form });
    let told = Answer { result, timing: Timing::default(), cache: None };
    let calls = Echo { told: Some(told), ..Echo::default() };
    let told = ask(&fib(), &calls, "GET /fib?num=1").await;
    assert_eq!((told.status, told.header("content-type")), (201, "text/html"));
    assert_eq!(told.headers.get_all(header::SET_COOKIE).iter().count(), 2);
    assert_ne!(told.header("x-request-id"), "forged");
}

#[tokio::test]
async fn every_request_is_counted_under_its_route() {
    let metrics = Metrics::new();
    let routes = vec![cached(calling("GET /fib", &[("num", int())], "{num}"))];
    let memory = Memory::new(256 << 20);
    let config = config(routes);
    let limits = config.limits.clone();
    let front = Arc::new(Front::new(&config, limits, &metrics, AccessLog::off(), memory));
    let cache = Some(CacheUse::Collapsed(None));
    let told = Answer { result: Err(Failure::Poisonous), timing: Timing::default(), cache };
    let calls = Echo { told: Some(told), ..Echo::default() };
    for request in ["GET /fib?num=1", "GET /fib?num=1", "GET /fib?num=x", "GET /none", "PUT /fib"] {
        ask(&front, &calls, request).await;
    }
    let shown = metrics.render();
    for line in [
        "httpipe_requests_total{route=\"GET /fib\",status=\"422\"} 2",
        "httpipe_requests_total{route=\"GET /fib\",status=\"400\"} 1",
        "httpipe_requests_total{route=\"none\",status=\"404\"} 1",
        "httpipe_requests_total{route=\"none\",status=\"405\"} 1",
        "httpipe_cache_total{route=\"GET /fib\",result=\"collapsed\"} 2",
    ] {
        assert!(shown.contains(line), "{line} is not in\n{shown}");
    }
}

#[tokio::test]
async fn over_a_connection_an_unread_body_is_never_taken_for_a_request() {
    let said = converse(
        "POST /none HTTP/1.1\r\nHost: a\r\nContent-Length: 33\r\n\r\n\
         GET /fib?num=1 HTTP/1.1\r\nHost: a\r\n\r\n",
    );
    let said = said.await;
    assert!(said.starts_with("HTTP/1.1 405 "), "{said}");
    assert_eq!(said.matches("HTTP/1.1 ").count(), 1, "{said}");
}

#[tokio::test]
async fn over_a_connection_nothing_is_invited_that_would_be_refused() {
    let said = converse(
        "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 9999\r\n\r\n",
    );
    let said = said.await;
    assert!(said.starts_with("HTTP/1.1 413 "), "{said}");
    assert!(said.contains("connection: close\r\n"), "{said}");
}

#[tokio::test]
async fn over_a_connection_pipelined_requests_are_answered_in_their_order() {
    let said = converse(
        "GET /fib?num=1 HTTP/1.1\r\nHost: a\r\n\r\n\
         POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody\
         HEAD /fib?num=3 HTTP/1.1\r\nHost: a\r\n\r\n\
         GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    );
    let said = said.await;
    let bodies = said.split("HTTP/1.1 200 OK\r\n").skip(1);
    let bodies = bodies.map(|one| one.split_once("\r\n\r\n").expect("a head").1);
    assert_eq!(bodies.collect::<Vec<_>>(), ["fib 1", "body", "", "Ok"]);
    assert_eq!(said.matches("content-length: 5\r\n").count(), 2, "{said}");
}

/// Says this over one connection of hyper's, and gives back what came until its end.
async fn converse(requests: &str) -> String {
    let (mut ours, theirs) = tokio::io::duplex(64 * 1024);
    let (front, calls) = (fib(), Echo::default());
    let service = hyper::service::service_fn(|request| async {
        let response = handle(&front, &calls, request, None).await;
        Ok::<_, std::convert::Infallible>(response)
    });
    let io = hyper_util::rt::TokioIo::new(theirs);
    let serving = hyper::server::conn::http1::Builder::new().serve_connection(io, service);
    let talking = async {
        ours.write_all(requests.as_bytes()).await.expect("the server reads");
        let mut said = String::new();
        ours.read_to_string(&mut said).await.expect("the server answers in UTF-8");
        said
    };
    let both = async { tokio::join!(serving, talking).1 };
    tokio::time::timeout(Duration::from_secs(20), both).await.expect("the connection ends")
}

#[test]
fn a_body_of_a_response_knows_its_length_and_its_end() {
    let body = FrontBody::Full(Bytes::from_static(b"abc"));
    assert_eq!((body.size_hint().exact(), body.is_end_stream()), (Some(3), false));
    assert!(FrontBody::Empty.is_end_stream());
}

proptest::proptest! {
    #[test]
    fn a_file_is_its_bytes_however_the_body_is_split(
        content in proptest::collection::vec(proptest::sample::select(b"\r\n-b:\0\xff".as_slice()), 0..200),
        sizes in proptest::collection::vec(1..40_usize, 1..20),
    ) {
        let head = b"--xyz\r\nContent-Disposition: form-data; name=doc; filename=a\r\n\r\n";
        let body = [head, &content[..], b"\r\n--xyz--"].concat();
        let mut rest: &'static [u8] = body.leak();
        let mut pieces = VecDeque::new();
        for size in sizes {
            let (piece, others) = rest.split_at(size.min(rest.len()));
            pieces.push_back(piece);
            rest = others;
        }
        pieces.push_back(rest);
        let file = ParameterKind::File { max_length: None };
        let front = front(vec![calling("POST /", &[("doc", file)], "{doc:base64}")]);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let told = runtime.expect("a runtime").block_on(async {
            let form = [("content-type", "multipart/form-data; boundary=xyz")];
            let body = Pieces { pieces, endless: false };
            ask_with(&front, &Echo::default(), "POST /", &form, body).await
        });
        let sent = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, &told.body);
        proptest::prop_assert_eq!((told.status, sent), (200, Ok(content)));
    }
}
