//! What can be asked, for operators: the document, and the page with a form for each route.

use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, ETAG, HeaderMap, HeaderName, IF_NONE_MATCH,
    REFERRER_POLICY,
};
use http::{HeaderValue, StatusCode};

use super::{Operator, PageResponse, reply};
use crate::openapi;
use crate::openapi::page::{FILES, HTML, POLICY, PageFile, page};

/// Where the page is.
pub(super) const PLACE: &str = "/docs";

/// What is at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DocsPage {
    /// The document.
    Document,
    /// The page itself.
    Whole,
    /// A file that it fetches.
    File(&'static PageFile),
}

impl DocsPage {
    /// Returns what is at this path.
    pub(super) fn at(path: &str) -> Option<Self> {
        if path == openapi::PATH {
            return Some(Self::Document);
        }
        let below = path.strip_prefix(PLACE)?;
        match below.strip_prefix('/') {
            None => below.is_empty().then_some(Self::Whole),
            Some("openapi.json") => Some(Self::Document),
            Some(name) => FILES.iter().find(|file| file.name == name).map(Self::File),
        }
    }

    /// Answers a request for it.
    pub(super) async fn answer<O: Operator>(
        self,
        operator: &O,
        request: &HeaderMap,
    ) -> PageResponse {
        let mut response = match self {
            Self::Document => {
                let (text, etag) = operator.document().await;
                let is_known = request.get(IF_NONE_MATCH).is_some_and(|tag| *tag == etag);
                let (status, text) = if is_known {
                    (StatusCode::NOT_MODIFIED, Bytes::new())
                } else {
                    (StatusCode::OK, text)
                };
                let mut response = reply(status, openapi::CONTENT_TYPE, text);
                let etag = HeaderValue::try_from(etag).expect("hexadecimal digits and quotes");
                response.headers_mut().insert(ETAG, etag);
                response
            }
            Self::Whole => reply(StatusCode::OK, HTML, page(PLACE, PLACE, None)),
            Self::File(file) => reply(StatusCode::OK, file.content_type, file.bytes),
        };
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        for name in ["cross-origin-opener-policy", "cross-origin-resource-policy"] {
            let same_origin = HeaderValue::from_static("same-origin");
            headers.insert(HeaderName::from_static(name), same_origin);
        }
        response
    }
}
