//! The header fields that are looked for in every request, found in one pass: most requests have
//! few fields, and to look each one up costs more.
//!
//! Pure.

use http::header::{HeaderMap, HeaderValue};

use super::site::Marks;

/// What is found.
#[derive(Clone, Copy, Debug, Default)]
pub struct HeadFields<'a> {
    /// By which a browser says for which page it asks.
    pub marks: Marks<'a>,
    /// The first `X-Request-Id`.
    pub request_id: Option<&'a HeaderValue>,
    /// There is an `X-Timeout`.
    pub has_timeout: bool,
    /// There is an `If-None-Match`.
    pub has_tags: bool,
    /// There is a `Prefer`.
    pub has_preferences: bool,
    /// How many there are of `Host`.
    pub(super) hosts: usize,
    /// How many there are of `Transfer-Encoding`, and the last of them.
    pub(super) codings: usize,
    pub(super) coding: Option<&'a HeaderValue>,
}

impl<'a> HeadFields<'a> {
    /// Finds them.
    pub fn of(headers: &'a HeaderMap) -> Self {
        let mut found = Self::default();
        for (name, value) in headers {
            match name.as_str() {
                "host" => {
                    found.marks.host = Some(value);
                    found.hosts += 1;
                }
                "origin" => found.marks.origin = Some(value),
                "sec-fetch-site" => found.marks.site = Some(value),
                "transfer-encoding" => {
                    found.coding = Some(value);
                    found.codings += 1;
                }
                "x-request-id" => found.request_id = found.request_id.or(Some(value)),
                "x-timeout" => found.has_timeout = true,
                "if-none-match" => found.has_tags = true,
                "prefer" => found.has_preferences = true,
                _ => {}
            }
        }
        found
    }
}
