//! The header fields with which the responses of a route begin, made once: to copy a map costs a
//! fraction of filling it field by field.
//!
//! What differs from response to response has its place in the map, and is put in later. These places
//! are the first of the map, so they are found without a look-up.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::HeaderMap;
use http::header::{self, HeaderName, HeaderValue};

use super::header_text::{HeaderText, NO_TIME};
use super::request::X_REQUEST_ID;
use crate::base::Timing;
use crate::cache::Stored;
use crate::config::RouteAction;

/// How long a call waited and worked.
pub(super) const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
/// What the cache did.
pub(super) const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// How many fields [`common`] has.
const COMMON: usize = 3;
/// How many of them [`put_own`] puts in, and how many [`put_age`].
const OWN: usize = 2;
const OF_AGE: usize = 3;
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The beginnings of the responses of a route.
#[derive(Debug)]
pub struct Headings {
    /// Of answers that are passed on as they are.
    pub(super) plain: Heading,
    /// Of answers that are JSON.
    pub(super) json: Heading,
}

/// The beginning of the responses with one content type.
#[derive(Debug)]
pub(super) struct Heading {
    /// The content type.
    pub(super) content_type: HeaderValue,
    new: HeaderMap,
    /// With the fields of a kept answer; `None`: the route keeps none.
    kept: Option<HeaderMap>,
    /// The fields behind those of the response itself, as HTTP/1.1 has them.
    written: Vec<u8>,
    written_kept: Option<WrittenKept>,
}

/// The heading of a kept answer, as HTTP/1.1 has it.
#[derive(Debug)]
pub(super) struct WrittenKept {
    /// The fields before those of its age, and those behind.
    before: Vec<u8>,
    behind: Vec<u8>,
}

/// The headings of all routes. Many routes share theirs.
#[derive(Debug, Default)]
pub(super) struct AllHeadings(HashMap<(HeaderValue, Option<Duration>), Arc<Headings>>);

impl AllHeadings {
    /// Returns the headings of a route that does this.
    pub(super) fn of_route(&mut self, action: &RouteAction) -> Arc<Headings> {
        match action {
            RouteAction::Text { content_type, .. } => self.of(content_type.as_str(), None),
            RouteAction::Call(call) => self.of(call.content_type.as_str(), call.cache),
        }
    }

    /// Returns the headings of a route with this content type, which keeps answers for this long.
    pub(super) fn of(&mut self, content_type: &str, ttl: Option<Duration>) -> Arc<Headings> {
        let content_type = HeaderValue::from_str(content_type);
        let content_type = content_type.expect("a content type fits into a header");
        let new = || Arc::new(Headings::new(content_type.clone(), ttl));
        Arc::clone(self.0.entry((content_type.clone(), ttl)).or_insert_with(new))
    }
}

impl Headings {
    fn new(content_type: HeaderValue, ttl: Option<Duration>) -> Self {
        Self { plain: Heading::new(content_type, ttl), json: Heading::new(JSON, ttl) }
    }
}

impl Heading {
    fn new(content_type: HeaderValue, ttl: Option<Duration>) -> Self {
        let mut new = common();
        new.insert(header::CONTENT_TYPE, content_type.clone());
        let kept = ttl.map(|ttl| {
            let mut kept = common();
            for later in [header::AGE, CACHE_STATUS, header::ETAG] {
                kept.insert(later, HeaderValue::from_static(""));
            }
            kept.insert(header::CONTENT_TYPE, content_type.clone());
            kept.insert(header::CACHE_CONTROL, max_age(ttl));
            kept
        });
        let written = lines(new.iter().skip(OWN));
        let written_kept = kept.as_ref().map(|kept| WrittenKept {
            before: lines(kept.iter().take(COMMON).skip(OWN)),
            behind: lines(kept.iter().skip(COMMON + OF_AGE)),
        });
        Self { content_type, new, kept, written, written_kept }
    }

    /// Returns the beginning of a response.
    pub(super) fn begin(&self) -> HeaderMap {
        self.new.clone()
    }

    /// Returns the beginning of a response with a kept answer. [`put_age`] must put its fields in.
    pub(super) fn begin_kept(&self) -> HeaderMap {
        self.kept.as_ref().unwrap_or(&self.new).clone()
    }

    /// Writes what [`Self::begin`] returns, with the time of its call and the id of its request.
    pub(super) fn write(&self, to: &mut Vec<u8>, timing: Timing, id: &str) {
        write_own(to, timing, id);
        to.extend_from_slice(&self.written);
    }

    /// Returns what writes what [`Self::begin_kept`] returns; `None`: the route keeps none.
    pub(super) fn written_kept(&self) -> Option<&WrittenKept> {
        self.written_kept.as_ref()
    }
}

impl WrittenKept {
    /// Writes the heading with the time of its call, the id of its request, its age, what the cache did,
    /// and its tag.
    pub(super) fn write(
        &self,
        to: &mut Vec<u8>,
        (timing, id): (Timing, &str),
        [age, status, etag]: [&[u8]; OF_AGE],
    ) {
        write_own(to, timing, id);
        let parts: [&[u8]; 9] = [
            &self.before,
            b"age: ",
            age,
            b"\r\ncache-status: ",
            status,
            b"\r\netag: ",
            etag,
            b"\r\n",
            &self.behind,
        ];
        to.reserve(parts.iter().map(|part| part.len()).sum());
        for part in parts {
            to.extend_from_slice(part);
        }
    }
}

/// Writes what [`put_own`] puts in.
fn write_own(to: &mut Vec<u8>, timing: Timing, id: &str) {
    to.extend_from_slice(b"server-timing: ");
    if timing == Timing::default() {
        to.extend_from_slice(NO_TIME.as_bytes());
    } else {
        HeaderText(to).timing(timing);
    }
    to.extend_from_slice(b"\r\nx-request-id: ");
    to.extend_from_slice(id.as_bytes());
    to.extend_from_slice(b"\r\n");
}

/// Writes fields as HTTP/1.1 has them.
fn lines<'a>(fields: impl Iterator<Item = (&'a HeaderName, &'a HeaderValue)>) -> Vec<u8> {
    let line = |(name, value): (&HeaderName, &HeaderValue)| {
        [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat()
    };
    fields.flat_map(line).collect()
}

/// The fields of every response. The id of its request must be put in, and the times of its call if
/// there was one.
pub(super) fn common() -> HeaderMap {
    let mut fields = HeaderMap::new();
    fields.insert(SERVER_TIMING, HeaderValue::from_static(NO_TIME));
    fields.insert(X_REQUEST_ID, HeaderValue::from_static(""));
    fields.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    fields
}

/// Puts in what only this response has: the id of its request, and the times of its call if there was
/// one.
pub(super) fn put_own(headers: &mut HeaderMap, time: Option<HeaderValue>, id: HeaderValue) {
    let mut fields = headers.iter_mut();
    if let (Some((first, times)), Some((second, ids))) = (fields.next(), fields.next())
        && first.as_str() == SERVER_TIMING.as_str()
        && second.as_str() == X_REQUEST_ID.as_str()
    {
        if let Some(time) = time {
            *times = time;
        }
        *ids = id;
        return;
    }
    // A program may have written fields before ours.
    if let Some(time) = time {
        headers.insert(SERVER_TIMING, time);
    }
    headers.insert(X_REQUEST_ID, id);
}

/// Puts in what a kept answer says of its age, and its tag, where [`Heading::begin_kept`] left room.
///
/// # Errors
///
/// It left none. The values come back.
pub(super) fn put_age(
    headers: &mut HeaderMap,
    [age, status, etag]: [HeaderValue; 3],
) -> Result<(), [HeaderValue; 3]> {
    let mut fields = headers.iter_mut().skip(COMMON);
    match (fields.next(), fields.next(), fields.next()) {
        (Some((first, ages)), Some((second, statuses)), Some((third, etags)))
            if *first == header::AGE
                && second.as_str() == CACHE_STATUS.as_str()
                && *third == header::ETAG =>
        {
            (*ages, *statuses, *etags) = (age, status, etag);
            Ok(())
        }
        _ => Err([age, status, etag]),
    }
}

/// The values of `Age` and `Cache-Status` of a kept answer.
pub(super) fn of_age(ttl: Duration, age: Duration) -> [Bytes; 2] {
    let (age, left) = (age.as_secs(), ttl.saturating_sub(age).as_secs());
    [age.to_string().into(), format!("httpipe; hit; ttl={left}").into()]
}

/// What the header of a kept answer says of its age now.
pub(super) fn age_fields(stored: &Stored, now: Instant) -> [Bytes; 2] {
    let age = now.saturating_duration_since(stored.since);
    stored.age_fields.at(age.as_secs(), || of_age(stored.ttl, age))
}

/// How long others may keep an answer.
pub(super) fn max_age(ttl: Duration) -> HeaderValue {
    HeaderText::value(|it| {
        it.text("max-age=");
        it.number(ttl.as_secs());
    })
}
