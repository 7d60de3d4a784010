//! The header fields with which the responses of a route begin, made once: to copy a map costs a
//! fraction of filling it field by field.
//!
//! What differs from response to response has its place in the map, and is put in later.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use http::header::{self, HeaderName, HeaderValue};

use super::header_text::HeaderText;
use super::request::X_REQUEST_ID;
use crate::config::RouteAction;

/// How long a call waited and worked.
pub(super) const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
/// What the cache did.
pub(super) const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// What the header of a response without a call says of its time.
const NO_TIME: &str = "queue;dur=0.000, work;dur=0.000";
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
            let mut kept = new.clone();
            kept.insert(header::CACHE_CONTROL, max_age(ttl));
            for later in [header::AGE, CACHE_STATUS, header::ETAG] {
                kept.insert(later, HeaderValue::from_static(""));
            }
            kept
        });
        Self { content_type, new, kept }
    }

    /// Returns the beginning of a response.
    pub(super) fn begin(&self) -> HeaderMap {
        self.new.clone()
    }

    /// Returns the beginning of a response with a kept answer. `Age`, `Cache-Status` and `ETag` must
    /// be put in.
    pub(super) fn begin_kept(&self) -> HeaderMap {
        self.kept.as_ref().unwrap_or(&self.new).clone()
    }
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

/// How long others may keep an answer.
pub(super) fn max_age(ttl: Duration) -> HeaderValue {
    HeaderText::value(|it| {
        it.text("max-age=");
        it.number(ttl.as_secs());
    })
}
