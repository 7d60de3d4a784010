//! Which web pages of other sites may ask and read answers (CORS).
//!
//! Pure. A browser asks before it sends what a plain form could not: the preflight, an OPTIONS
//! request with the method and the header fields that it wants. It shows an answer to a page only
//! if the answer names the page's origin.

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, HeaderName, HeaderValue, ORIGIN, VARY,
};

use crate::base::template::{Segment, Slot};
use crate::config::{Cors, RouteAction, RouteSettings, SendShape};

const REQUEST_PRIVATE: HeaderName =
    HeaderName::from_static("access-control-request-private-network");
const ALLOW_PRIVATE: HeaderName = HeaderName::from_static("access-control-allow-private-network");

/// What the server reads of any request.
const ALWAYS_READ: [&str; 5] =
    ["content-type", "accept", "if-none-match", "x-request-id", "x-timeout"];

/// Where callers show their keys.
const KEYS: [&str; 2] = ["authorization", "x-api-key"];

/// How the caller wishes to be answered.
const PREFER: &str = "prefer";
/// By which the caller finds a job again.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// How long a browser may remember a preflight, in seconds.
const REMEMBERED: HeaderValue = HeaderValue::from_static("600");

/// The header fields that a route reads, as a preflight lists them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reads {
    /// These.
    Listed(HeaderValue),
    /// All: the program gets the whole request.
    All,
}

impl Reads {
    /// Returns what this route reads. `reads_keys`: callers have keys.
    pub(super) fn of(route: &RouteSettings, reads_keys: bool) -> Self {
        let mut names = always(reads_keys);
        if let RouteAction::Call(call) = &route.action {
            if call.items.is_some() || call.jobs.is_some() {
                names.push(PREFER);
            }
            if call.jobs.is_some() {
                names.push(IDEMPOTENCY_KEY);
            }
            match &call.send {
                SendShape::Http => return Self::All,
                SendShape::Json | SendShape::Function(_) => {}
                SendShape::Template(template) => {
                    for segment in &template.segments {
                        if let Segment::Slot(Slot::Header(name)) = segment
                            && !names.contains(&&**name)
                        {
                            names.push(name);
                        }
                    }
                }
            }
        }
        Self::listed(&names)
    }

    /// Returns what is read of requests about jobs. `reads_keys`: callers have keys.
    pub(super) fn of_jobs(reads_keys: bool) -> Self {
        let mut names = always(reads_keys);
        names.push(PREFER);
        Self::listed(&names)
    }

    fn listed(names: &[&str]) -> Self {
        let listed = HeaderValue::from_str(&names.join(", "));
        Self::Listed(listed.expect("names of header fields fit into one"))
    }
}

/// Returns what is read of any request.
fn always(reads_keys: bool) -> Vec<&'static str> {
    let keys = if reads_keys { &KEYS[..] } else { &[] };
    [&ALWAYS_READ[..], keys].concat()
}

/// Returns the method that a preflight asks about; `None`: it is no preflight.
pub(super) fn asked_method(request: &HeaderMap) -> Option<&str> {
    request.get(ORIGIN)?;
    request.get(ACCESS_CONTROL_REQUEST_METHOD)?.to_str().ok()
}

/// Lets the page of the request read this response, if `cors` has its origin.
pub(super) fn permit(response: &mut HeaderMap, cors: &Cors, request: &HeaderMap) {
    if *cors != Cors::Any {
        // A cache must not give the response to a page of another origin.
        response.append(VARY, HeaderValue::from_static("Origin"));
    }
    let Some(origin) = allowed(cors, request) else {
        response.remove(ACCESS_CONTROL_ALLOW_ORIGIN);
        return;
    };
    let shown = if *cors == Cors::Any { HeaderValue::from_static("*") } else { origin.clone() };
    response.insert(ACCESS_CONTROL_ALLOW_ORIGIN, shown);
    response.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("*"));
}

/// Answers a preflight about a route that takes `methods` and reads `reads`.
pub(super) fn answer_preflight(
    response: &mut HeaderMap,
    cors: &Cors,
    request: &HeaderMap,
    methods: &HeaderValue,
    reads: &Reads,
) {
    if allowed(cors, request).is_none() {
        return;
    }
    response.remove(ACCESS_CONTROL_EXPOSE_HEADERS);
    response.insert(ACCESS_CONTROL_ALLOW_METHODS, methods.clone());
    let fields = match reads {
        Reads::Listed(names) => Some(names.clone()),
        Reads::All => request.get(ACCESS_CONTROL_REQUEST_HEADERS).cloned(),
    };
    if let Some(fields) = fields {
        response.insert(ACCESS_CONTROL_ALLOW_HEADERS, fields);
    }
    response.insert(ACCESS_CONTROL_MAX_AGE, REMEMBERED);
    if request.contains_key(REQUEST_PRIVATE) {
        response.insert(ALLOW_PRIVATE, HeaderValue::from_static("true"));
    }
}

/// The origin of the request, if it may read answers.
fn allowed<'a>(cors: &Cors, request: &'a HeaderMap) -> Option<&'a HeaderValue> {
    let origin = request.get(ORIGIN)?;
    origin.to_str().is_ok_and(|origin| cors.has(origin)).then_some(origin)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(list: &[(HeaderName, &str)]) -> HeaderMap {
        list.iter().map(|(name, value)| (name.clone(), value.parse().expect("a value"))).collect()
    }

    fn shown(map: &HeaderMap, name: HeaderName) -> Vec<&str> {
        map.get_all(name).iter().map(|value| value.to_str().expect("a text")).collect()
    }

    #[test]
    fn only_a_listed_origin_may_read_and_kept_answers_tell_origins_apart() {
        let cors = Cors::Listed(["https://app.example".into()].into());
        for (origin, expected) in [
            ("https://app.example", &["https://app.example"][..]),
            ("https://app.example.evil.example", &[]),
            ("http://app.example", &[]),
            ("null", &[]),
        ] {
            // What a program says of it does not count where the operator has said it.
            let own = [(ACCESS_CONTROL_ALLOW_ORIGIN, "*"), (VARY, "Accept")];
            let mut response = headers(&own);
            permit(&mut response, &cors, &headers(&[(ORIGIN, origin)]));
            assert_eq!(shown(&response, ACCESS_CONTROL_ALLOW_ORIGIN), expected, "{origin}");
            assert_eq!(shown(&response, VARY), ["Accept", "Origin"]);
        }
        let mut response = HeaderMap::new();
        permit(&mut response, &Cors::Any, &headers(&[(ORIGIN, "null")]));
        assert_eq!(shown(&response, ACCESS_CONTROL_ALLOW_ORIGIN), ["*"]);
        assert!(!response.contains_key(VARY));
    }
}
