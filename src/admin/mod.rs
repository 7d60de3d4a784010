//! The pages for operators: health, metrics, status, reload, and pardon for poisonous questions.
//!
//! The pages ask an [`Operator`], which stands for the rest of the server. The listener and its
//! connections are in `net`.

mod access;
mod audience;
mod events;
mod page_body;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS};
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode};

use self::audience::Audience;
pub use self::page_body::PageBody;
use crate::config::Hosts;
use crate::net::site::Marks;
use crate::observe::metrics::{Metrics, text};
use crate::report::{About, Status};

/// What the pages need of the server. All of it runs on the thread of the admin listener.
pub trait Operator {
    /// Returns a picture of the server at this moment, without its history.
    fn status(&self) -> Status;

    /// Returns a picture of the server at this moment, with the last ten minutes.
    fn hello(&self) -> Status;

    /// Returns when the next second begins, which ends a sample of each pool.
    fn next_second(&self) -> Instant;

    /// Returns the names by which a request may call a loopback listener.
    fn hosts(&self) -> Arc<Hosts>;

    /// Sets the gauges that are not set where their values change.
    fn refresh_gauges(&self);

    /// Does what SIGHUP does, and replaces the workers that `replace` names. Returns what it did,
    /// one line for each pool. If the new configuration is refused, the old one stays.
    ///
    /// # Errors
    ///
    /// The problems, in words for the operator.
    fn reload(&self, replace: Replace) -> impl Future<Output = Result<String, String>>;

    /// Forgets which questions are poisonous, and returns how many there were.
    fn forgive_poisonous(&self) -> usize;
}

/// Which workers a reload replaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Replace {
    /// Those of pools whose program has changed.
    Changed,
    /// All.
    All,
    /// Those of this pool, and of pools whose program has changed.
    Pool(String),
}

/// Answers the requests of operators.
#[derive(Debug)]
pub struct Admin<O> {
    operator: O,
    metrics: Arc<Metrics>,
    token: Option<String>,
    audience: Rc<Audience>,
    /// What the readers of `/events` know of the pools.
    known: RefCell<Vec<(String, Option<About>)>>,
}

type PageResponse = Response<PageBody>;

/// One page for operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Page {
    Live,
    Ready,
    Metrics,
    Status,
    Events,
    Reload,
    Poisonous,
}

impl Page {
    const ALL: [Self; 7] = [
        Self::Live,
        Self::Ready,
        Self::Metrics,
        Self::Status,
        Self::Events,
        Self::Reload,
        Self::Poisonous,
    ];

    fn path(self) -> &'static str {
        match self {
            Self::Live => "/live",
            Self::Ready => "/ready",
            Self::Metrics => "/metrics",
            Self::Status => "/status.json",
            Self::Events => "/events",
            Self::Reload => "/reload",
            Self::Poisonous => "/poisonous",
        }
    }

    fn at(path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|page| page.path() == path)
    }

    /// Returns all paths, for the response to an unknown one.
    fn list() -> String {
        Self::ALL.map(Self::path).join(", ")
    }

    /// Returns the methods that the page takes, as `Allow` lists them.
    fn allow(self) -> &'static str {
        match self {
            Self::Live | Self::Ready | Self::Metrics | Self::Status => "GET, HEAD",
            Self::Events => "GET",
            Self::Reload => "POST",
            Self::Poisonous => "DELETE",
        }
    }

    fn takes(self, method: &Method) -> bool {
        self.allow().split(", ").any(|allowed| allowed == method.as_str())
    }
}

impl<O: Operator> Admin<O> {
    /// Creates the pages of `operator`. If there is a `token`, every page but `/live` requires it.
    pub fn new(operator: O, metrics: Arc<Metrics>, token: Option<String>) -> Self {
        Self { operator, metrics, token, audience: Rc::default(), known: RefCell::default() }
    }

    /// Answers one request, without reading its body. `is_guarded` is true if the listener is
    /// loopback, which web pages of other sites must not use.
    pub async fn handle<B>(&self, request: Request<B>, is_guarded: bool) -> PageResponse {
        let (request, _) = request.into_parts();
        let page = Page::at(request.uri.path());
        let may = |token: &String| access::has_token(&request.headers, token);
        let is_trusted = self.token.as_ref().is_none_or(may);
        if !matches!(page, Some(Page::Live | Page::Ready)) && !is_trusted {
            let detail = "send the admin token, as in `Authorization: Bearer TOKEN`";
            let mut reply = problem(StatusCode::UNAUTHORIZED, detail);
            reply.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            return reply;
        }
        if self.token.is_none() && is_guarded && self.is_foreign(&request) {
            return problem(
                StatusCode::FORBIDDEN,
                "the request names another host, or comes from a web page of another site: use a \
                 loopback name such as `localhost`, or add the name to `hosts`",
            );
        }
        let Some(page) = page else {
            let detail = format!("the pages are {}", Page::list());
            return problem(StatusCode::NOT_FOUND, &detail);
        };
        if !page.takes(&request.method) {
            let detail = format!("{} takes {}", request.uri.path(), page.allow());
            let mut reply = problem(StatusCode::METHOD_NOT_ALLOWED, &detail);
            reply.headers_mut().insert(ALLOW, HeaderValue::from_static(page.allow()));
            return reply;
        }
        match page {
            Page::Live => reply(StatusCode::OK, PLAIN, "live\n"),
            Page::Ready => ready(&self.operator.status(), is_trusted),
            Page::Metrics => self.metrics(),
            Page::Status => json(StatusCode::OK, JSON, &self.status()),
            Page::Events => self.events(),
            Page::Reload | Page::Poisonous => {
                // If there is a token, this request has it, and no web page knows it.
                if self.token.is_none() && !access::is_deliberate(&request.headers, &request.uri) {
                    return problem(
                        StatusCode::FORBIDDEN,
                        "send the header `Httpipe-Admin: 1` and a loopback `Host`, or set \
                         `admin_token` and send `Authorization: Bearer TOKEN`",
                    );
                }
                self.act(page, request.uri.query()).await
            }
        }
    }

    /// Returns true if a web page of another site may have sent this. Requests with the token need
    /// no such check, because no page knows the token.
    fn is_foreign(&self, request: &Parts) -> bool {
        let hosts = self.operator.hosts();
        let marks = Marks::of(&request.headers);
        let is_any = *hosts == Hosts::Any;
        !is_any
            && (marks.foreign_host(request, &hosts).is_some()
                || marks.foreign_page(&hosts).is_some())
    }

    fn metrics(&self) -> PageResponse {
        self.operator.refresh_gauges();
        reply(StatusCode::OK, text::CONTENT_TYPE, self.metrics.render())
    }

    async fn act(&self, page: Page, query: Option<&str>) -> PageResponse {
        if page == Page::Poisonous {
            let forgiven = self.operator.forgive_poisonous();
            return json(StatusCode::OK, JSON, &serde_json::json!({ "forgiven": forgiven }));
        }
        let Some(replace) = Replace::read(query) else {
            let detail = "/reload takes `?workers`, or `?workers=POOL`, and nothing else";
            return problem(StatusCode::BAD_REQUEST, detail);
        };
        match self.operator.reload(replace).await {
            Ok(report) => reply(StatusCode::OK, PLAIN, report),
            Err(problems) => problem(StatusCode::CONFLICT, &problems),
        }
    }
}

impl Replace {
    /// Reads the query of a request to reload.
    fn read(query: Option<&str>) -> Option<Self> {
        // Names of pools never need percent signs.
        match query.unwrap_or_default().split_once('=') {
            Some(("workers", "")) => Some(Self::All),
            Some(("workers", pool)) => Some(Self::Pool(pool.to_owned())),
            Some(_) => None,
            None => match query {
                None | Some("") => Some(Self::Changed),
                Some("workers") => Some(Self::All),
                Some(_) => None,
            },
        }
    }
}

const PLAIN: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const PROBLEM: &str = "application/problem+json";

/// Who is not trusted, as a load balancer without the token, learns no names.
fn ready(status: &Status, is_trusted: bool) -> PageResponse {
    match status.not_ready() {
        None => reply(StatusCode::OK, PLAIN, "ready\n"),
        Some(_) if !is_trusted => problem(StatusCode::SERVICE_UNAVAILABLE, "not ready"),
        Some(why) => problem(StatusCode::SERVICE_UNAVAILABLE, &why),
    }
}

/// Returns a problem document of RFC 9457. It has no `code`: only failures of callers have one.
fn problem(status: StatusCode, detail: &str) -> PageResponse {
    let document = serde_json::json!({
        "type": "about:blank",
        "title": status.canonical_reason().unwrap_or("Problem"),
        "status": status.as_u16(),
        "detail": detail,
    });
    json(status, PROBLEM, &document)
}

fn json(
    status: StatusCode,
    content_type: &'static str,
    body: &impl serde::Serialize,
) -> PageResponse {
    let mut text = serde_json::to_vec(body).expect("numbers, texts and lists of them are JSON");
    text.push(b'\n');
    reply(status, content_type, text)
}

fn reply(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> PageResponse {
    let mut reply = Response::new(PageBody::from(body.into()));
    *reply.status_mut() = status;
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    reply
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http_body_util::BodyExt as _;

    use super::*;
    use crate::report::fixture;

    /// A server with a made-up status, which notes what it is told to do.
    struct Fake {
        status: Status,
        metrics: Arc<Metrics>,
        reload: Result<String, String>,
        told: RefCell<Vec<&'static str>>,
    }

    impl Operator for &Fake {
        fn status(&self) -> Status {
            self.status.clone()
        }

        fn hello(&self) -> Status {
            fixture::full()
        }

        fn next_second(&self) -> Instant {
            Instant::now() + Duration::from_secs(1)
        }

        fn hosts(&self) -> Arc<Hosts> {
            Arc::new(Hosts::Named(["ops.example".into()].into()))
        }

        fn refresh_gauges(&self) {
            self.metrics.cache_bytes(self.status.cache.bytes);
        }

        async fn reload(&self, replace: Replace) -> Result<String, String> {
            self.told.borrow_mut().push(match replace {
                Replace::Changed => "reload",
                Replace::All => "replace all",
                Replace::Pool(_) => "replace one",
            });
            self.reload.clone()
        }

        fn forgive_poisonous(&self) -> usize {
            self.told.borrow_mut().push("forgive");
            3
        }
    }

    fn fake() -> Fake {
        let status = fixture::status(&[("fib", 1, 0)]);
        Fake {
            status,
            metrics: Metrics::new(),
            reload: Ok("fib: unchanged\n".to_owned()),
            told: RefCell::default(),
        }
    }

    /// One answer, flattened for comparing.
    #[derive(Debug)]
    struct Seen {
        status: u16,
        content_type: String,
        allow: Option<String>,
        body: String,
    }

    fn ask(fake: &Fake, token: Option<&str>, request: Request<()>) -> Seen {
        let admin = Admin::new(fake, Arc::clone(&fake.metrics), token.map(str::to_owned));
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let (head, body) = admin.handle(request, true).await.into_parts();
            let body = body.collect().await.expect("cannot fail").to_bytes();
            let header =
                |name| head.headers.get(name).map(|v| v.to_str().expect("text").to_owned());
            Seen {
                status: head.status.as_u16(),
                content_type: header(CONTENT_TYPE).expect("always there"),
                allow: header(ALLOW),
                body: String::from_utf8(body.to_vec()).expect("UTF-8"),
            }
        })
    }

    /// A request `METHOD /path` with the marks that no web page can give it.
    fn request(line: &str) -> Request<()> {
        let (method, path) = line.split_once(' ').expect("METHOD /path");
        let request = Request::builder().method(method).uri(path);
        let request = request.header("host", "localhost:3001").header("httpipe-admin", "1");
        request.body(()).expect("a request")
    }

    #[test]
    fn every_page_takes_its_methods_and_no_other() {
        for (line, status, content_type) in [
            ("GET /live", 200, PLAIN),
            ("HEAD /live", 200, PLAIN),
            ("GET /ready", 200, PLAIN),
            ("GET /metrics", 200, text::CONTENT_TYPE),
            ("GET /status.json", 200, JSON),
            ("GET /status.json?pretty", 200, JSON),
            ("POST /reload", 200, PLAIN),
            ("DELETE /poisonous", 200, JSON),
            ("POST /live", 405, PROBLEM),
            ("OPTIONS /reload", 405, PROBLEM),
            ("GET /reload", 405, PROBLEM),
            ("POST /poisonous", 405, PROBLEM),
            ("GET /", 404, PROBLEM),
            ("GET /live/", 404, PROBLEM),
            ("GET /Live", 404, PROBLEM),
        ] {
            let seen = ask(&fake(), None, request(line));
            assert_eq!((seen.status, &*seen.content_type), (status, content_type), "{line}");
        }
    }

    #[test]
    fn a_wrong_method_is_told_the_right_ones() {
        for (line, allow) in
            [("PUT /ready", "GET, HEAD"), ("GET /reload", "POST"), ("GET /poisonous", "DELETE")]
        {
            assert_eq!(ask(&fake(), None, request(line)).allow.as_deref(), Some(allow), "{line}");
        }
    }

    #[test]
    fn a_pool_without_workers_is_named_and_the_server_is_not_ready_but_alive() {
        let status = fixture::status(&[("fib", 0, 0), ("good", 1, 0)]);
        let fake = Fake { status, ..fake() };
        let seen = ask(&fake, None, request("GET /ready"));
        assert_eq!(seen.status, 503);
        assert!(seen.body.contains("`fib`") && !seen.body.contains("good"), "{}", seen.body);
        assert_eq!(ask(&fake, None, request("GET /live")).status, 200);
    }

    #[test]
    fn if_there_is_a_token_every_page_but_live_and_ready_requires_it() {
        for (line, given, status) in [
            ("GET /live", None, 200),
            ("GET /ready", None, 200),
            ("GET /metrics", None, 401),
            ("GET /status.json", Some("Bearer wrong"), 401),
            ("GET /events", None, 401),
            ("POST /reload", None, 401),
            ("DELETE /poisonous", None, 401),
            ("GET /nowhere", None, 401),
            ("GET /metrics", Some("Bearer secret"), 200),
            ("POST /reload", Some("Bearer secret"), 200),
        ] {
            let mut request = request(line);
            if let Some(given) = given {
                let value = given.parse().expect("a header value");
                request.headers_mut().insert(http::header::AUTHORIZATION, value);
            }
            let seen = ask(&fake(), Some("secret"), request);
            assert_eq!(seen.status, status, "{line} {given:?}");
            assert!(!seen.body.contains("secret"), "{}", seen.body);
        }
    }

    #[test]
    fn without_the_token_nobody_learns_what_is_not_ready() {
        let fake = Fake { status: fixture::status(&[("fib", 0, 0)]), ..fake() };
        for (given, is_named) in [("Bearer secret", true), ("Bearer wrong", false)] {
            let mut request = request("GET /ready");
            request.headers_mut().insert("authorization", HeaderValue::from_static(given));
            let seen = ask(&fake, Some("secret"), request);
            assert_eq!((seen.status, seen.body.contains("fib")), (503, is_named), "{given}");
        }
    }

    #[test]
    fn a_request_that_a_web_page_could_send_changes_nothing() {
        for line in ["POST /reload", "DELETE /poisonous"] {
            for header in ["host", "httpipe-admin"] {
                let fake = fake();
                let mut request = request(line);
                request.headers_mut().insert(header, HeaderValue::from_static("evil.example"));
                assert_eq!(ask(&fake, None, request).status, 403, "{line} {header}");
                assert!(fake.told.borrow().is_empty(), "{line} {header}");
            }
        }
    }

    #[test]
    fn the_token_is_deliberate_enough_whatever_the_host() {
        for line in ["POST /reload", "DELETE /poisonous"] {
            let (method, path) = line.split_once(' ').expect("METHOD /path");
            let request = |token: &str| {
                let request = Request::builder().method(method).uri(path);
                let request = request.header("host", "other.example:3001");
                request.header("authorization", format!("Bearer {token}")).body(()).expect("one")
            };
            let fake = fake();
            assert_eq!(ask(&fake, Some("wrong"), request("secret")).status, 401, "{line}");
            assert_eq!(ask(&fake, None, request("secret")).status, 403, "{line}");
            assert!(fake.told.borrow().is_empty(), "{line}");
            assert_eq!(ask(&fake, Some("secret"), request("secret")).status, 200, "{line}");
        }
    }

    #[test]
    fn a_page_is_found_at_its_path_and_an_unknown_path_lists_all_pages() {
        for page in Page::ALL {
            assert_eq!(Page::at(page.path()), Some(page));
        }
        let missed = ask(&fake(), None, request("GET /nowhere")).body;
        assert!(Page::ALL.iter().all(|page| missed.contains(page.path())), "{missed}");
    }

    #[test]
    fn a_refused_reload_reports_all_problems() {
        let fake = Fake { reload: Err("unknown key `wrokers`\nsecond".to_owned()), ..fake() };
        let seen = ask(&fake, None, request("POST /reload"));
        assert_eq!((seen.status, &*seen.content_type), (409, PROBLEM));
        let document: serde_json::Value = serde_json::from_str(&seen.body).expect("JSON");
        assert_eq!(document["detail"], "unknown key `wrokers`\nsecond");
        assert_eq!(document["status"], 409);
        assert_eq!(*fake.told.borrow(), ["reload"]);
    }

    #[test]
    fn a_reload_is_told_whose_workers_to_replace_and_says_what_it_did() {
        for (line, status, told) in [
            ("POST /reload", 200, "reload"),
            ("POST /reload?", 200, "reload"),
            ("POST /reload?workers", 200, "replace all"),
            ("POST /reload?workers=", 200, "replace all"),
            ("POST /reload?workers=fib", 200, "replace one"),
            ("POST /reload?worker", 400, ""),
            ("POST /reload?pool=fib", 400, ""),
        ] {
            let fake = fake();
            let seen = ask(&fake, None, request(line));
            assert_eq!(seen.status, status, "{line}");
            assert_eq!(fake.told.borrow().concat(), told, "{line}");
            assert!(status != 200 || seen.body == "fib: unchanged\n", "{}", seen.body);
        }
    }

    #[test]
    fn forgiving_says_how_many_questions_there_were() {
        let fake = fake();
        let seen = ask(&fake, None, request("DELETE /poisonous"));
        assert_eq!(seen.body, "{\"forgiven\":3}\n");
        assert_eq!(*fake.told.borrow(), ["forgive"]);
    }

    #[test]
    fn a_scrape_shows_the_cache_as_it_is() {
        let seen = ask(&fake(), None, request("GET /metrics"));
        assert!(seen.body.contains("\nhttpipe_cache_bytes 600\n"), "{}", seen.body);
    }
}
