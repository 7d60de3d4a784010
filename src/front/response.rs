//! The response that an answer, a failure or a fixed text becomes.
//!
//! Pure: the time is an argument.

use std::cell::RefCell;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::request::Parts;
use http::{HeaderMap, Response, StatusCode};
use hyper::body::{Body, Frame, SizeHint};

use super::batch::lines::BatchBody;
use super::docs::{Docs, ShownBody};
use super::header_text::HeaderText;
use super::heading::{
    CACHE_STATUS, Heading, Headings, age_fields, common, max_age, of_age, put_age, put_own,
};
use super::job_said::{JobBody, JobSaid};
use super::parts::{BrokenOff, PartsBody, Style};
use super::preference::PREFERENCE_APPLIED;
use super::problem::ProblemDocument;
use crate::base::{Failure, Reply, ReplyForm, Timing};
use crate::cache::Stored;
use crate::call::{Answer, CacheUse};
use crate::net::WrittenHead;
use crate::openapi::page::{HTML, POLICY};
use crate::sync::pieces;

const CROSS_ORIGIN_OPENER_POLICY: HeaderName =
    HeaderName::from_static("cross-origin-opener-policy");
const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName =
    HeaderName::from_static("cross-origin-resource-policy");
const HTTPIPE_FAILURE: HeaderName = HeaderName::from_static("httpipe-failure");

/// The body of a response.
#[derive(Debug)]
pub enum FrontBody {
    /// Nothing is left to send.
    Empty,
    /// The whole body.
    Full(Bytes),
    /// The body comes in parts. In a box, because each response is moved about.
    Parts(Box<PartsBody>),
    /// The outcomes of many items, as they end.
    Batch(Box<BatchBody>),
}

impl FrontBody {
    fn whole(bytes: Bytes) -> Self {
        if bytes.is_empty() { Self::Empty } else { Self::Full(bytes) }
    }

    /// Returns what is left of a body that does not come in parts.
    pub(super) fn into_bytes(self) -> Bytes {
        match self {
            Self::Empty | Self::Parts(_) | Self::Batch(_) => Bytes::new(),
            Self::Full(bytes) => bytes,
        }
    }

    /// Returns how many bytes are still to be sent; 0 if that is not known.
    pub fn length(&self) -> u64 {
        match self {
            Self::Empty | Self::Parts(_) | Self::Batch(_) => 0,
            Self::Full(bytes) => bytes.len() as u64,
        }
    }
}

impl Body for FrontBody {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        match &mut *self {
            Self::Parts(parts) => {
                let next = std::task::ready!(Pin::new(&mut **parts).poll_next(context));
                return Poll::Ready(next.map(|part| part.map(Frame::data)));
            }
            Self::Batch(batch) => {
                let next = std::task::ready!(batch.poll_next(context));
                return Poll::Ready(next.map(|lines| Ok(Frame::data(lines))));
            }
            Self::Empty | Self::Full(_) => {}
        }
        Poll::Ready(match std::mem::replace(&mut *self, Self::Empty) {
            Self::Empty | Self::Parts(_) | Self::Batch(_) => None,
            Self::Full(bytes) => Some(Ok(Frame::data(bytes))),
        })
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Empty)
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Parts(_) | Self::Batch(_) => SizeHint::new(),
            Self::Empty | Self::Full(_) => SizeHint::with_exact(self.length()),
        }
    }
}

/// What every response carries, and what it leaves out.
#[derive(Clone, Copy, Debug)]
pub struct Manner<'a> {
    /// The value of `X-Request-Id`.
    pub request_id: &'a str,
    /// It answers HEAD: with the header of GET and no body.
    pub head: bool,
    /// The connection ends with it.
    pub close: bool,
    /// Where its head may be written if it is like most; `None`: it is made as a map.
    pub written: Option<&'a WrittenHead>,
}

/// The response to a failure.
pub fn of_failure(failure: &Failure, timing: Timing, manner: Manner<'_>) -> Response<FrontBody> {
    let problem = ProblemDocument::of(failure);
    let body = Bytes::from(problem.body(manner.request_id));
    let mut response = new(problem.status, body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    headers.insert(HTTPIPE_FAILURE, HeaderValue::from_static(problem.code.as_str()));
    if let Some(seconds) = problem.retry_after {
        headers.insert(header::RETRY_AFTER, seconds.into());
    }
    if let Some(allow) = &problem.allow {
        headers.insert(header::ALLOW, value(allow));
    }
    finish(response, timing, manner)
}

/// The response to OPTIONS.
pub fn of_options(allow: &str, manner: Manner<'_>) -> Response<FrontBody> {
    let mut response = new(204, Bytes::new());
    response.headers_mut().insert(header::ALLOW, value(allow));
    finish(response, Timing::default(), manner)
}

/// The response of a route with a fixed answer.
pub fn of_text(text: &Bytes, headings: &Headings, manner: Manner<'_>) -> Response<FrontBody> {
    if let Some(to) = manner.written {
        to.begin(|to| headings.plain.write(to, Timing::default(), manner.request_id));
        return Response::new(FrontBody::whole(text.clone()));
    }
    let response = begun(headings.plain.begin(), text.clone());
    finish(response, Timing::default(), manner)
}

/// The response to a batch of messages.
pub fn of_batch(replies: &Bytes, timing: Timing, manner: Manner<'_>) -> Response<FrontBody> {
    let mut response = new(200, replies.clone());
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    finish(response, timing, manner)
}

/// The response to many items, whose outcomes follow as they end.
pub(super) fn of_items(
    batch: &RefCell<Option<Box<BatchBody>>>,
    manner: Manner<'_>,
) -> Response<FrontBody> {
    let batch = batch.take().expect("a response is made once");
    let is_unordered = batch.is_unordered;
    let mut response = begun(common(), Bytes::new());
    *response.body_mut() = FrontBody::Batch(batch);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/jsonl"));
    if is_unordered {
        headers.insert(PREFERENCE_APPLIED, HeaderValue::from_static("unordered"));
    }
    finish(response, Timing::default(), manner)
}

/// The response to a message that was passed on and has no answer.
pub fn of_accepted(manner: Manner<'_>) -> Response<FrontBody> {
    finish(new(202, Bytes::new()), Timing::default(), manner)
}

/// The response that has the answer of a job.
pub(super) fn of_kept(
    kept: &(Answer, Arc<Headings>),
    request: &HeaderMap,
    now: Instant,
    manner: Manner<'_>,
) -> Response<FrontBody> {
    of_answer(&kept.0, &kept.1, request, false, now, manner)
}

/// The response that says what became of a job.
pub(super) fn of_job(job: &JobSaid, manner: Manner<'_>) -> Response<FrontBody> {
    let body = match &job.body {
        JobBody::Whole(bytes) => FrontBody::whole(bytes.clone()),
        JobBody::Events(parts) => FrontBody::Parts(Box::new(parts.clone())),
    };
    let mut response = Response::new(body);
    *response.status_mut() = job.status;
    *response.headers_mut() = common();
    response.headers_mut().extend(job.headers.iter().cloned());
    finish(response, Timing::default(), manner)
}

/// The response that shows what can be asked.
pub(super) fn of_docs(
    shown: &ShownBody,
    request: &HeaderMap,
    manner: Manner<'_>,
) -> Response<FrontBody> {
    let is_known = shown.etag.as_ref().is_some_and(|etag| has_tag(request, etag.as_bytes()));
    let (status, body) = if is_known { (304, Bytes::new()) } else { (200, shown.bytes.clone()) };
    let mut response = new(status, body);
    let headers = response.headers_mut();
    if !is_known {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(shown.content_type));
    }
    if let Some(etag) = &shown.etag {
        headers.insert(header::ETAG, value(etag));
    }
    add_page_fields(headers);
    finish(response, Timing::default(), manner)
}

/// Shows a person in a browser what can be asked, instead of a document for programs. Nothing else
/// of the response changes.
pub(super) fn show_instead(
    response: &mut Response<FrontBody>,
    docs: &Docs,
    head: &Parts,
    failure: &Failure,
    manner: Manner<'_>,
) {
    let problem = ProblemDocument::of(failure);
    let title = format!("{} {}", problem.status, problem.code);
    let shown = docs.instead(head, failure, (&title, &problem.detail), manner.request_id);
    if let Some(page) = shown {
        *response.body_mut() = FrontBody::whole(page);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(HTML));
        add_page_fields(headers);
    }
}

/// Adds what a browser must know of the page and its files.
fn add_page_fields(headers: &mut HeaderMap) {
    // Checked each time, so a new version of the server is seen at once.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(CROSS_ORIGIN_OPENER_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert(CROSS_ORIGIN_RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
}

/// The response to a call. `request` is the header of the request; `may_be_known`: it reads, and names
/// tags of answers that its caller has.
pub fn of_answer(
    answer: &Answer,
    headings: &Headings,
    request: &HeaderMap,
    may_be_known: bool,
    now: Instant,
    manner: Manner<'_>,
) -> Response<FrontBody> {
    if let Some(response) = written(answer, headings, now, manner) {
        return response;
    }
    let mut response = match &answer.result {
        Ok(reply) => of_reply(reply, answer.cache.as_ref(), headings, request, manner),
        Err(failure) => of_failure(failure, answer.timing, manner),
    };
    if let Some(cache) = &answer.cache {
        let is_programs = matches!(&answer.result, Ok(Reply { form: ReplyForm::Http { .. }, .. }));
        let stored = add_cache_fields(response.headers_mut(), cache, is_programs, now);
        let unchanged = stored.filter(|_| may_be_known).is_some_and(|stored| {
            let own =
                || response.headers().get(header::ETAG).map_or(&*stored.etag, |it| it.as_bytes());
            let tag = |own: &[u8]| has_tag(request, own.strip_prefix(b"W/").unwrap_or(own));
            response.status() == StatusCode::OK && tag(own())
        });
        if unchanged {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            *response.body_mut() = FrontBody::Empty;
            response.headers_mut().remove(header::CONTENT_TYPE);
        }
    }
    match answer.result {
        Ok(_) => finish(response, answer.timing, manner),
        Err(_) => response,
    }
}

/// Writes the head of an answer that is as most are, and returns the response to it.
fn written(
    answer: &Answer,
    headings: &Headings,
    now: Instant,
    manner: Manner<'_>,
) -> Option<Response<FrontBody>> {
    let (to, reply) = (manner.written?, answer.result.as_ref().ok()?);
    let heading = match reply.form {
        ReplyForm::Plain => &headings.plain,
        ReplyForm::Json => &headings.json,
        ReplyForm::Http { .. } | ReplyForm::Parts(..) => return None,
    };
    let (timing, id) = (answer.timing, manner.request_id);
    match &answer.cache {
        None => to.begin(|to| heading.write(to, timing, id)),
        Some(CacheUse::Hit(stored)) => {
            let kept = heading.written_kept()?;
            let [age, status] = age_fields(stored, now);
            to.begin(|to| kept.write(to, (timing, id), [&*age, &*status, &*stored.etag]));
        }
        Some(_) => return None,
    }
    Some(Response::new(FrontBody::whole(reply.body.clone())))
}

fn of_reply(
    reply: &Reply,
    cache: Option<&CacheUse>,
    headings: &Headings,
    request: &HeaderMap,
    manner: Manner<'_>,
) -> Response<FrontBody> {
    let body = reply.body.clone();
    let begin = |heading: &Heading| match cache {
        Some(CacheUse::Hit(_) | CacheUse::SharedHit(_)) => heading.begin_kept(),
        _ => heading.begin(),
    };
    match &reply.form {
        ReplyForm::Plain => begun(begin(&headings.plain), body),
        ReplyForm::Json => begun(begin(&headings.json), body),
        ReplyForm::Http { status, headers } => {
            let mut response = new(*status, body);
            for (name, text) in headers {
                // Both were checked with the answer, so both can be made.
                if let (Ok(name), Ok(value)) =
                    (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(text))
                {
                    response.headers_mut().append(name, value);
                }
            }
            // What every response has is the server's, and there once.
            for (name, value) in &common() {
                response.headers_mut().insert(name, value.clone());
            }
            response
        }
        ReplyForm::Parts(form, parts) => {
            let style = Style::of(form, request);
            let parts = PartsBody::new(parts.clone(), form, style, manner.request_id);
            let mut response = begun(common(), Bytes::new());
            *response.body_mut() = FrontBody::Parts(Box::new(parts));
            let kind = match style {
                Style::Raw | Style::Text => headings.plain.content_type.clone(),
                Style::JsonLines => HeaderValue::from_static("application/jsonl"),
                Style::Events => HeaderValue::from_static("text/event-stream"),
            };
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_TYPE, kind);
            if style == Style::Events {
                headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
            }
            response
        }
    }
}

fn new(status: u16, body: Bytes) -> Response<FrontBody> {
    let mut response = begun(common(), body);
    *response.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response
}

/// A response that begins with these fields, which have those of [`common`].
fn begun(headers: HeaderMap, body: Bytes) -> Response<FrontBody> {
    let (mut parts, ()) = Response::new(()).into_parts();
    parts.headers = headers;
    Response::from_parts(parts, FrontBody::whole(body))
}

/// Puts in what only this response has. `Content-Length` is set where it is known, so that HEAD has it.
fn finish(
    mut response: Response<FrontBody>,
    timing: Timing,
    manner: Manner<'_>,
) -> Response<FrontBody> {
    let bodiless = matches!(response.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if bodiless || manner.head {
        let length = response.body().size_hint().exact();
        *response.body_mut() = FrontBody::Empty;
        if let Some(length) = length
            && !bodiless
        {
            response.headers_mut().insert(header::CONTENT_LENGTH, length.into());
        }
    }
    let headers = response.headers_mut();
    let time = (timing != Timing::default()).then(|| HeaderText::value(|it| it.timing(timing)));
    let id = HeaderValue::from_maybe_shared(pieces::copied(manner.request_id.as_bytes()));
    put_own(headers, time, id.unwrap_or_else(|_| HeaderValue::from_static("")));
    if manner.close {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Adds the fields of a response that the cache served, and returns the kept answer, if any.
/// `is_programs`: the program has written the header.
fn add_cache_fields<'a>(
    headers: &mut HeaderMap,
    cache: &'a CacheUse,
    is_programs: bool,
    now: Instant,
) -> Option<&'a Stored> {
    let (stored, status) = match cache {
        CacheUse::Hit(stored) => {
            let [age, status] = age_fields(stored, now);
            let fields = [age, status, stored.etag.clone()].map(shared);
            // The program may have written the header.
            let Err([age, status, _]) = put_age(headers, fields) else { return Some(stored) };
            headers.insert(header::AGE, age);
            (Some(&**stored), status)
        }
        CacheUse::SharedHit(stored) => {
            let age = now.saturating_duration_since(stored.since);
            let [age, status] = of_age(stored.ttl, age);
            headers.insert(header::AGE, shared(age));
            (Some(&**stored), shared([&*status, b"; detail=shared"].concat().into()))
        }
        CacheUse::SharedRun(stored) => {
            let status = HeaderValue::from_static("httpipe; fwd=miss; collapsed; detail=shared");
            (stored.as_deref(), status)
        }
        CacheUse::Miss(Some(stored)) => {
            (Some(&**stored), HeaderValue::from_static("httpipe; fwd=miss; stored"))
        }
        CacheUse::Miss(None) => (None, HeaderValue::from_static("httpipe; fwd=miss")),
        CacheUse::Collapsed(stored) => {
            (stored.as_deref(), HeaderValue::from_static("httpipe; fwd=miss; collapsed"))
        }
    };
    headers.insert(CACHE_STATUS, status);
    if let Some(stored) = stored {
        // What the program says itself stays.
        if !headers.contains_key(header::CACHE_CONTROL) {
            headers.insert(header::CACHE_CONTROL, max_age(stored.ttl));
        }
        if !(is_programs && headers.contains_key(header::ETAG)) {
            headers.insert(header::ETAG, shared(stored.etag.clone()));
        }
    }
    stored
}

/// Returns true if `If-None-Match` holds this entity tag, compared weakly.
fn has_tag(request: &HeaderMap, tag: &[u8]) -> bool {
    request.get_all(header::IF_NONE_MATCH).iter().any(|value| {
        let mut rest = value.as_bytes();
        loop {
            rest = rest.trim_ascii_start();
            match rest {
                [b'*', ..] => return true,
                [b',', after @ ..] => {
                    rest = after;
                    continue;
                }
                _ => {}
            }
            // A tag may hold a comma, so tags are parsed, not split.
            let quoted = rest.strip_prefix(b"W/").unwrap_or(rest);
            let end = quoted.iter().skip(1).position(|byte| *byte == b'"');
            let (Some(b'"'), Some(end)) = (quoted.first(), end) else { return false };
            if quoted[..end + 2] == *tag {
                return true;
            }
            rest = &quoted[end + 2..];
        }
    })
}

/// A header value of a text that the server made or checked.
fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// A header value that shares a kept text instead of copying it.
fn shared(text: Bytes) -> HeaderValue {
    let value = HeaderValue::from_maybe_shared(text);
    value.unwrap_or_else(|_| HeaderValue::from_static(""))
}
