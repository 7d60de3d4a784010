//! Reads what the head of a request says besides its parameters.
//!
//! Pure: the time at which the head ended is an argument.

use std::time::Instant;

use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue};

use crate::base::Failure;
use crate::base::units::parse_duration;

/// A name that is parsed once: a text would be parsed at each lookup.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const X_TIMEOUT: HeaderName = HeaderName::from_static("x-timeout");

/// Longest `X-Request-Id` that is accepted from a caller.
const REQUEST_ID_MAX: usize = 64;

/// Returns the caller's own request id, if it may appear in logs and headers.
pub fn own_request_id(given: Option<&HeaderValue>) -> Option<&str> {
    let id = given?.to_str().ok()?;
    let sane = (1..=REQUEST_ID_MAX).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    sane.then_some(id)
}

/// Returns when the caller stops waiting: `X-Timeout`, counted from the end of the head.
pub fn caller_deadline(headers: &HeaderMap, head_end: Instant) -> Result<Option<Instant>, Failure> {
    let Some(value) = headers.get(X_TIMEOUT) else { return Ok(None) };
    let unreadable = || bad_request("`X-Timeout` is not one duration, such as `800ms`");
    let value = value.to_str().map_err(|_| unreadable())?;
    let timeout = parse_duration(value).map_err(|_| unreadable())?;
    if headers.get_all(X_TIMEOUT).iter().nth(1).is_some() {
        return Err(unreadable());
    }
    Ok(Some(head_end + timeout))
}

/// Returns the length of the body, if the head declares it.
pub fn declared_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Refuses compressed bodies: a small one may unpack to any size.
pub fn check_encoding(headers: &HeaderMap) -> Result<(), Failure> {
    let encodings = headers.get_all(CONTENT_ENCODING).iter();
    let mut each = encodings.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    if each.all(|encoding| encoding.trim_ascii().eq_ignore_ascii_case(b"identity")) {
        return Ok(());
    }
    let detail = "the body must not have a `Content-Encoding`";
    Err(Failure::UnsupportedMediaType { detail: detail.into() })
}

/// Returns the content type, if it is text.
pub fn content_type(headers: &HeaderMap) -> Option<&str> {
    headers.get(CONTENT_TYPE)?.to_str().ok()
}

fn bad_request(detail: &'static str) -> Failure {
    Failure::BadRequest { detail: detail.into() }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::HeaderName;
    use http::HeaderValue;

    use super::*;

    fn headers(fields: &[(&'static str, &'static [u8])]) -> HeaderMap {
        let field = |(name, value): &(&'static str, &'static [u8])| {
            let value = HeaderValue::from_bytes(value).expect("a header value");
            (HeaderName::from_static(name), value)
        };
        fields.iter().map(field).collect()
    }

    #[test]
    fn a_sane_request_id_is_taken_over() {
        let own = |value: &'static [u8]| {
            own_request_id(headers(&[("x-request-id", value)]).get(X_REQUEST_ID)).map(str::to_owned)
        };
        assert_eq!(own(b"3f-A_b.9"), Some("3f-A_b.9".to_owned()));
        assert!(own(&[b'a'; 64]).is_some());
        for value in [&b""[..], &[b'a'; 65], b"a b", b"a\"", b"\xff", b"a,b", b"${x}"] {
            assert_eq!(own(value), None, "{value:?}");
        }
    }

    #[test]
    fn a_timeout_counts_from_the_end_of_the_head() {
        let start = Instant::now();
        let deadline = |value| caller_deadline(&headers(&[("x-timeout", value)]), start);
        assert_eq!(deadline(b"800ms"), Ok(Some(start + Duration::from_millis(800))));
        assert_eq!(caller_deadline(&HeaderMap::new(), start), Ok(None));
        for value in [&b""[..], b"800", b"-1s", b"1 parsec", b"\xff", b"nan s", b"1e999s"] {
            assert!(deadline(value).is_err(), "{value:?}");
        }
        let mut twice = headers(&[("x-timeout", b"1s")]);
        twice.append("x-timeout", HeaderValue::from_static("2s"));
        assert!(caller_deadline(&twice, start).is_err());
    }

    #[test]
    fn compressed_bodies_are_refused() {
        let check = |value| check_encoding(&headers(&[("content-encoding", value)]));
        assert!(check(b"identity").is_ok() && check(b"Identity, identity").is_ok());
        for value in [&b"gzip"[..], b"identity, zstd", b"", b"\xff"] {
            assert!(check(value).is_err(), "{value:?}");
        }
        assert!(check_encoding(&HeaderMap::new()).is_ok());
    }
}
