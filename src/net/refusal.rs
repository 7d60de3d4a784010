//! What a caller is told whose head never became a request.
//!
//! hyper answers a head that it cannot parse by itself: without a body and a request id, and
//! without a word to the server. `watched` withholds those words, so that the service can write
//! better ones, count them and log them.

use std::time::SystemTime;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, DATE};
use http::{Response, StatusCode};

/// Why a connection ends with a head that never became a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The bytes are not a head of HTTP/1.
    Malformed,
    /// The head did not arrive in time.
    Late,
    /// The target is longer than the parser takes.
    TargetTooLong,
    /// The head is larger than `limits.header`, or has too many fields.
    HeadTooLarge,
}

impl Refusal {
    /// Returns the status that belongs to it.
    fn status(self) -> StatusCode {
        match self {
            Self::Malformed => StatusCode::BAD_REQUEST,
            Self::Late => StatusCode::REQUEST_TIMEOUT,
            Self::TargetTooLong => StatusCode::URI_TOO_LONG,
            Self::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        }
    }

    /// Returns the refusal that hyper means by this status of its own.
    pub(super) fn of_status(status: &[u8]) -> Self {
        match status {
            b"414" => Self::TargetTooLong,
            b"431" => Self::HeadTooLarge,
            _ => Self::Malformed,
        }
    }

    /// Returns the refusal behind an error of hyper; `None`: it did not refuse a head.
    pub(super) fn of_error(error: &hyper::Error) -> Option<Self> {
        match (error.is_parse(), error.is_parse_too_large()) {
            (_, true) => Some(Self::HeadTooLarge),
            (true, false) => Some(Self::Malformed),
            (false, false) => None,
        }
    }
}

/// A response to a refusal that says no more than its status.
pub fn bare(refusal: Refusal) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = refusal.status();
    response
}

/// Returns a response as the bytes that end a connection.
pub(super) fn last_words(response: &Response<Bytes>) -> Vec<u8> {
    let status = response.status();
    let mut words = format!("HTTP/1.1 {status}\r\n").into_bytes();
    for (name, value) in response.headers() {
        if !matches!(*name, CONNECTION | CONTENT_LENGTH | DATE) {
            words.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
        }
    }
    let date = httpdate::fmt_http_date(SystemTime::now());
    let length = response.body().len();
    let rest = format!("connection: close\r\ncontent-length: {length}\r\ndate: {date}\r\n\r\n");
    words.extend_from_slice(rest.as_bytes());
    words.extend_from_slice(response.body());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_words_are_a_whole_response_that_ends_the_connection() {
        let mut response = bare(Refusal::HeadTooLarge);
        response.headers_mut().insert("x-request-id", "a-1".parse().unwrap());
        response.headers_mut().insert(CONNECTION, "close".parse().unwrap());
        *response.body_mut() = Bytes::from_static(b"too large");
        let words = String::from_utf8(last_words(&response)).unwrap();
        let start = "HTTP/1.1 431 Request Header Fields Too Large\r\nx-request-id: a-1\r\n\
                     connection: close\r\ncontent-length: 9\r\ndate: ";
        assert!(words.starts_with(start), "{words}");
        assert!(words.ends_with(" GMT\r\n\r\ntoo large"), "{words}");
    }

    #[test]
    fn every_refusal_is_known_by_its_status() {
        for refusal in [Refusal::Malformed, Refusal::TargetTooLong, Refusal::HeadTooLarge] {
            assert_eq!(Refusal::of_status(refusal.status().as_str().as_bytes()), refusal);
        }
    }
}
