//! The pages for operators: health, metrics, status, reload, and pardon for poisonous questions.
//!
//! The pages ask an [`Operator`], which stands for the rest of the server. The listener and its
//! connections are in `net`.

mod access;
mod audience;
mod docs;
mod events;
mod jobs;
pub mod key;
mod page;
mod page_body;
mod paths;
mod record;
mod tap;
mod tap_stream;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Response, StatusCode};

use self::access::{AdminGate, Who};
use self::audience::Audience;
pub use self::jobs::{JobObstacle, JobQuery, JobRequest};
use self::key::OperatorKey;
pub use self::page_body::PageBody;
use self::paths::{Deed, Page};
use crate::base::WorkerId;
use crate::config::{Hosts, Secret};
use crate::net::{Caller, RequestHead};
use crate::observe::metrics::{Denial, Metrics, OperatorAction, text};
use crate::observe::tap::Tap;
use crate::report::{About, Status, WorkerRecord};

/// What the pages need of the server. All of it runs on the thread of the admin listener.
pub trait Operator {
    /// Returns a picture of the server at this moment, without its history. It is `whole` for
    /// operators only: arguments of commands may hold secrets.
    fn status(&self, whole: bool) -> Status;

    /// Returns what [`Operator::status`] does, with the last ten minutes.
    fn hello(&self, whole: bool) -> Status;

    /// Returns when the next second begins, which ends a sample of each pool.
    fn next_second(&self) -> Instant;

    /// Returns the names by which a request may call a loopback listener.
    fn hosts(&self) -> Arc<Hosts>;

    /// Returns the token that operators must send, if there is one.
    fn token(&self) -> Option<Secret>;

    /// Returns what callers can ask, as an OpenAPI document, and its entity tag.
    fn document(&self) -> impl Future<Output = (Bytes, String)>;

    /// Returns how many taps are open.
    fn taps(&self) -> usize;

    /// Lets a tap hear the workers that it wishes for. Returns false if there is no such pool.
    fn attach_tap(&self, tap: &Rc<Tap>) -> bool;

    /// Returns what is known of a worker that was lost; `None` if there is no record of it.
    fn record(&self, worker: WorkerId) -> Option<WorkerRecord>;

    /// Measures what workers use, unless that was done within the last second.
    fn measure(&self) -> impl Future<Output = ()>;

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

    /// Replaces all workers of a pool; no call is lost. Returns how many, and `None` if there is no
    /// such pool.
    fn recycle_pool(&self, name: &str) -> Option<usize>;

    /// Replaces one worker; no call is lost. Returns the name of its pool, and `None` if there is no
    /// such worker.
    fn recycle_worker(&self, worker: WorkerId) -> Option<String>;

    /// Kills the process group of one worker. Returns the name of its pool, and `None` if there is no
    /// such worker.
    fn kill_worker(&self, worker: WorkerId) -> Option<String>;

    /// Does something about jobs. Returns what is shown of it.
    ///
    /// # Errors
    ///
    /// Why that cannot be done.
    fn jobs(
        &self,
        request: JobRequest,
    ) -> impl Future<Output = Result<serde_json::Value, JobObstacle>>;
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
    key: Option<OperatorKey>,
    audience: Rc<Audience>,
    /// What the readers of `/events` know of the pools.
    known: RefCell<Vec<(String, Option<About>)>>,
}

type PageResponse = Response<PageBody>;

impl<O: Operator> Admin<O> {
    /// Creates the pages of `operator`. If there is a token, every page with data requires it, or
    /// the operator's `key`.
    pub fn new(operator: O, metrics: Arc<Metrics>, key: Option<OperatorKey>) -> Self {
        Self { operator, metrics, key, audience: Rc::default(), known: RefCell::default() }
    }

    /// Returns the gate as it is configured now.
    fn gate(&self) -> AdminGate {
        AdminGate::new(self.operator.token(), self.key.clone())
    }

    /// Answers one request with this head, without reading its body.
    pub async fn handle(&self, request: &RequestHead, caller: &Caller) -> PageResponse {
        if let Some(file) = page::file(request) {
            return file;
        }
        let page = Page::at(request.uri.path());
        let need = page.as_ref().map_or(access::Need::Look, Page::need);
        let hosts = self.operator.hosts();
        let who = match self.gate().check(need, request, &hosts, caller.is_guarded) {
            Ok(who) => who,
            Err(denial) => {
                self.metrics.admin_denied(denial);
                return denied(denial);
            }
        };
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
            Page::Ready => ready(&self.operator.status(false), self.gate().trusts(who)),
            Page::Metrics => self.metrics().await,
            Page::Status => self.status_page(who).await,
            Page::Events => self.events(who).await,
            Page::Tap => self.tap(request.uri.query(), &By { who, caller }),
            Page::Reload => self.reload(request.uri.query(), &By { who, caller }).await,
            Page::Poisonous => self.forgive(&By { who, caller }),
            Page::Record(worker) => self.record(&worker, &By { who, caller }),
            Page::Jobs => self.list_jobs(request.uri.query()).await,
            Page::Job(request) => self.act_on_jobs(request, &By { who, caller }).await,
            Page::Deed(deed) => self.act(&deed, &By { who, caller }),
            Page::Docs(docs) => docs.answer(&self.operator, &request.headers).await,
        }
    }

    async fn metrics(&self) -> PageResponse {
        self.operator.measure().await;
        self.operator.refresh_gauges();
        reply(StatusCode::OK, text::CONTENT_TYPE, self.metrics.render())
    }

    async fn reload(&self, query: Option<&str>, by: &By<'_>) -> PageResponse {
        let Some(replace) = Replace::read(query) else {
            let detail = "/reload takes `?workers`, or `?workers=POOL`, and nothing else";
            return problem(StatusCode::BAD_REQUEST, detail);
        };
        self.metrics.admin_action(OperatorAction::Reload);
        by.log("an operator reloads", "", "");
        match self.operator.reload(replace).await {
            Ok(report) => reply(StatusCode::OK, PLAIN, report),
            Err(problems) => problem(StatusCode::CONFLICT, &problems),
        }
    }

    fn forgive(&self, by: &By<'_>) -> PageResponse {
        self.metrics.admin_action(OperatorAction::Forgive);
        by.log("an operator forgives poisonous questions", "", "");
        let forgiven = self.operator.forgive_poisonous();
        json(StatusCode::OK, JSON, &serde_json::json!({ "forgiven": forgiven }))
    }

    fn act(&self, deed: &Deed, by: &By<'_>) -> PageResponse {
        match deed {
            Deed::RecyclePool(name) => {
                let Some(workers) = self.operator.recycle_pool(name) else {
                    return no_such_pool(name, &self.operator.status(false));
                };
                self.metrics.admin_action(OperatorAction::RecyclePool);
                by.log("an operator replaces the workers of a pool", name, "");
                let done = serde_json::json!({ "pool": name, "replaced": workers });
                json(StatusCode::OK, JSON, &done)
            }
            Deed::RecycleWorker(worker) => {
                let did = "an operator replaces a worker";
                let action = OperatorAction::RecycleWorker;
                self.act_on_worker(worker, action, did, by, |id| self.operator.recycle_worker(id))
            }
            Deed::KillWorker(worker) => {
                let did = "an operator kills a worker";
                let action = OperatorAction::KillWorker;
                self.act_on_worker(worker, action, did, by, |id| self.operator.kill_worker(id))
            }
        }
    }

    fn act_on_worker(
        &self,
        name: &str,
        action: OperatorAction,
        did: &str,
        by: &By<'_>,
        act: impl FnOnce(WorkerId) -> Option<String>,
    ) -> PageResponse {
        let id = worker_of(name);
        let Some(pool) = id.and_then(act) else {
            let detail = format!(
                "there is no worker `{}`; `/status.json` has the `id` of each",
                name.escape_debug()
            );
            return problem(StatusCode::NOT_FOUND, &detail);
        };
        self.metrics.admin_action(action);
        by.log(did, &pool, name);
        let done = serde_json::json!({ "pool": pool, "worker": id.map(|id| id.0) });
        json(StatusCode::OK, JSON, &done)
    }
}

/// Reads the number of a worker.
fn worker_of(name: &str) -> Option<WorkerId> {
    let is_number = name.bytes().all(|byte| byte.is_ascii_digit());
    name.parse().ok().filter(|_| is_number).map(WorkerId)
}

/// Who makes the server do something.
struct By<'a> {
    who: Who,
    caller: &'a Caller,
}

impl By<'_> {
    fn log(&self, did: &str, pool: &str, worker: &str) {
        let by = match self.who {
            Who::Stranger => "nothing but the header",
            Who::Token => "admin_token",
            Who::Key => "the operator's key",
        };
        let peer = &*self.caller.peer;
        match (pool, worker) {
            ("", _) => tracing::info!(peer, by, "{did}"),
            (_, "") => tracing::info!(peer, by, pool, "{did}"),
            _ => tracing::info!(peer, by, pool, worker = worker.parse::<u64>().ok(), "{did}"),
        }
    }
}

/// Tells a sender why the gate is shut, and what opens it.
fn denied(denial: Denial) -> PageResponse {
    match denial {
        Denial::WrongToken | Denial::NoToken => {
            let detail = if denial == Denial::WrongToken {
                "this is neither the admin token nor the operator's key of this server; the key \
                 changes with each start, and `httpipe open` opens the page with it"
            } else {
                "send the admin token or the operator's key, as in `Authorization: Bearer TOKEN`; \
                 `httpipe open` opens the page with the key"
            };
            let mut reply = problem(StatusCode::UNAUTHORIZED, detail);
            reply.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            reply
        }
        Denial::Foreign => problem(
            StatusCode::FORBIDDEN,
            "the request names another host, or comes from a web page of another site: use a \
             loopback name such as `localhost`, or add the name to `hosts`",
        ),
        Denial::Unmarked => problem(
            StatusCode::FORBIDDEN,
            "send the header `Httpipe-Admin: 1` and a loopback `Host`, or set \
             `admin_token` and send `Authorization: Bearer TOKEN`",
        ),
    }
}

fn no_such_pool(name: &str, status: &Status) -> PageResponse {
    let names: Vec<String> = status.pools.iter().map(|pool| format!("`{}`", pool.name)).collect();
    let name = name.escape_debug();
    let detail = format!("there is no pool `{name}`; the pools are {}", names.join(", "));
    problem(StatusCode::NOT_FOUND, &detail)
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
const EVENTS: &str = "text/event-stream";
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

    use http::Request;
    use http_body_util::BodyExt as _;

    use super::*;
    use crate::report::fixture;

    /// A server with a made-up status, which notes what it is told to do.
    struct Fake {
        status: Status,
        metrics: Arc<Metrics>,
        reload: Result<String, String>,
        token: RefCell<Option<Secret>>,
        told: RefCell<Vec<&'static str>>,
    }

    impl Operator for &Fake {
        fn status(&self, _whole: bool) -> Status {
            self.status.clone()
        }

        fn hello(&self, _whole: bool) -> Status {
            fixture::full()
        }

        fn next_second(&self) -> Instant {
            Instant::now() + Duration::from_secs(1)
        }

        fn hosts(&self) -> Arc<Hosts> {
            Arc::new(Hosts::Named(["ops.example".into()].into()))
        }

        fn token(&self) -> Option<Secret> {
            self.token.borrow().clone()
        }

        async fn document(&self) -> (Bytes, String) {
            (Bytes::from_static(b"{}"), "\"0\"".to_owned())
        }

        fn taps(&self) -> usize {
            0
        }

        fn attach_tap(&self, tap: &Rc<Tap>) -> bool {
            tap.wish().pool.is_none()
        }

        fn record(&self, worker: WorkerId) -> Option<WorkerRecord> {
            (worker.0 == 5).then(fixture::record)
        }

        async fn measure(&self) {}

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

        fn recycle_pool(&self, name: &str) -> Option<usize> {
            (name == "fib").then(|| self.told.borrow_mut().push("recycle pool"))?;
            Some(4)
        }

        fn recycle_worker(&self, worker: WorkerId) -> Option<String> {
            (worker.0 == 7).then(|| self.told.borrow_mut().push("recycle worker"))?;
            Some("fib".to_owned())
        }

        fn kill_worker(&self, worker: WorkerId) -> Option<String> {
            (worker.0 == 7).then(|| self.told.borrow_mut().push("kill worker"))?;
            Some("fib".to_owned())
        }

        async fn jobs(&self, request: JobRequest) -> Result<serde_json::Value, JobObstacle> {
            match request {
                JobRequest::List(_) => Ok(serde_json::json!({ "jobs": [] })),
                _ => Err(JobObstacle::Unknown),
            }
        }
    }

    fn fake() -> Fake {
        let status = fixture::status(&[("fib", 1, 0)]);
        Fake {
            status,
            metrics: Metrics::new(),
            reload: Ok("fib: unchanged\n".to_owned()),
            told: RefCell::default(),
            token: RefCell::default(),
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
        *fake.token.borrow_mut() = token.map(|token| Secret::from(token.to_owned()));
        let admin = Admin::new(fake, Arc::clone(&fake.metrics), None);
        let caller = Caller {
            peer: "127.0.0.1:9".into(),
            address: None,
            is_guarded: true,
            names: Box::default(),
            connection: 1,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let (request, ()) = request.into_parts();
            let (head, body) = admin.handle(&request, &caller).await.into_parts();
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
            ("GET /", 200, "text/html; charset=utf-8"),
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
            assert_eq!(ask(&fake, None, request("secret")).status, 401, "{line}");
            assert!(fake.told.borrow().is_empty(), "{line}");
            assert_eq!(ask(&fake, Some("secret"), request("secret")).status, 200, "{line}");
        }
    }

    #[test]
    fn an_unknown_path_lists_all_pages() {
        let missed = ask(&fake(), None, request("GET /nowhere")).body;
        assert!(Page::FIXED.iter().all(|page| missed.contains(page.path())), "{missed}");
    }

    #[test]
    fn what_is_done_to_workers_needs_a_secret_and_unknown_names_are_not_found() {
        for (line, status, told) in [
            ("POST /pools/fib/recycle", 200, "recycle pool"),
            ("POST /workers/7/recycle", 200, "recycle worker"),
            ("POST /workers/%37/kill", 200, "kill worker"),
            ("GET /workers/7/kill", 405, ""),
            ("POST /pools/nowhere/recycle", 404, ""),
            ("POST /workers/8/kill", 404, ""),
            ("POST /workers/+7/kill", 404, ""),
            ("POST /workers/99999999999999999999999/recycle", 404, ""),
            ("POST /workers/%1b%5b2J/recycle", 404, ""),
        ] {
            let fake = fake();
            assert_eq!(ask(&fake, None, request(line)).status, 401, "{line}");
            assert!(fake.told.borrow().is_empty(), "{line}");
            let mut with = request(line);
            with.headers_mut().insert("authorization", HeaderValue::from_static("Bearer secret"));
            let seen = ask(&fake, Some("secret"), with);
            assert_eq!(seen.status, status, "{line}");
            assert!(!seen.body.contains('\u{1b}'), "{}", seen.body);
            assert_eq!(fake.told.borrow().concat(), told, "{line}");
        }
    }

    #[test]
    fn a_record_needs_a_secret_and_one_that_is_not_there_is_not_found() {
        for (line, status, content_type) in [
            ("GET /records/5", 200, JSON),
            ("GET /records/6", 404, PROBLEM),
            ("GET /records/+5", 404, PROBLEM),
            ("GET /records/", 404, PROBLEM),
            ("GET /records/%1b%5b2J", 404, PROBLEM),
            ("POST /records/5", 405, PROBLEM),
        ] {
            let refused = ask(&fake(), None, request(line));
            assert_eq!((refused.status, &*refused.content_type), (401, PROBLEM), "{line}");
            let mut with = request(line);
            with.headers_mut().insert("authorization", HeaderValue::from_static("Bearer secret"));
            let seen = ask(&fake(), Some("secret"), with);
            assert_eq!((seen.status, &*seen.content_type), (status, content_type), "{line}");
            assert!(!seen.body.contains('\u{1b}'), "{}", seen.body);
        }
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
