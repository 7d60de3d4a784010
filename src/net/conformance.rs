//! Refuses heads that RFC 9112 forbids to serve and that the parser lets through.
//!
//! Pure. The parser itself refuses what is not HTTP/1. If a request has both `Transfer-Encoding`
//! and `Content-Length`, the parser shows only the first and closes the connection afterwards.

use http::request::Parts;
use http::{HeaderValue, Method, Version};

use super::fields::HeadFields;

/// Checks that a request with this head, which has these fields, may be served.
///
/// # Errors
///
/// The detail of the response, a 400. The connection must end with it, because its two ends may
/// disagree about where the request ends.
pub fn check(head: &Parts, fields: &HeadFields<'_>) -> Result<(), &'static str> {
    check_host(head, fields)?;
    check_target(head)?;
    check_transfer_encoding(fields)
}

fn check_host(head: &Parts, fields: &HeadFields<'_>) -> Result<(), &'static str> {
    match (fields.hosts, fields.marks.host) {
        (0, _) if head.version >= Version::HTTP_11 => Err("the request has no Host header"),
        (2.., _) => Err("the request has more than one Host header"),
        (_, Some(host)) if !is_host(host) => Err("the Host header is not a host name"),
        _ => Ok(()),
    }
}

/// Only the characters that a host and a port can be written with; it may be empty.
fn is_host(value: &HeaderValue) -> bool {
    // All of it, without a branch for each byte.
    value.as_bytes().iter().fold(true, |is, byte| is & HOST_CHARACTERS[usize::from(*byte)])
}

const HOST_CHARACTERS: [bool; 256] = {
    let mut table = [false; 256];
    let others = b"-._~%!$&'()*+;=:[]";
    let mut byte = 0;
    while byte < table.len() {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let mut place = 0;
    while place < others.len() {
        table[others[place] as usize] = true;
        place += 1;
    }
    table
};

fn check_target(head: &Parts) -> Result<(), &'static str> {
    let path = head.uri.path();
    if head.method == Method::CONNECT {
        // Its target is an authority, without a path.
        return Ok(());
    }
    match path.as_bytes().first() {
        Some(b'/') => Ok(()),
        Some(b'*') if head.method == Method::OPTIONS && path == "*" => Ok(()),
        _ => Err("the request target is not a path"),
    }
}

fn check_transfer_encoding(fields: &HeadFields<'_>) -> Result<(), &'static str> {
    match (fields.codings, fields.coding) {
        (0, _) => Ok(()),
        (1, Some(coding)) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(()),
        _ => Err("the only supported transfer coding is chunked, applied once"),
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn check(head: &Parts) -> Result<(), &'static str> {
        super::check(head, &HeadFields::of(&head.headers))
    }

    fn head(method: &str, target: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().method(method).uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn there_is_exactly_one_host_and_it_looks_like_one() {
        for (hosts, good) in [
            (&[("host", "a.example:3000")][..], true),
            (&[("host", "[::1]:3000")], true),
            (&[("host", "")], true),
            (&[], false),
            (&[("host", "a"), ("host", "a")], false),
            (&[("host", "a, b")], false),
            (&[("host", "a/b")], false),
            (&[("host", "user@a")], false),
        ] {
            assert_eq!(check(&head("GET", "/", hosts)).is_ok(), good, "{hosts:?}");
        }
    }

    #[test]
    fn http_1_0_needs_no_host() {
        let mut old = head("GET", "/", &[]);
        old.version = Version::HTTP_10;
        assert_eq!(check(&old), Ok(()));
    }

    #[test]
    fn a_target_is_a_path_but_for_options_and_connect() {
        for (method, target, good) in [
            ("GET", "/a?b", true),
            ("GET", "http://a.example/b", true),
            ("OPTIONS", "*", true),
            ("GET", "*", false),
            ("GET", "a.example:80", false),
            ("CONNECT", "a.example:80", true),
        ] {
            let head = head(method, target, &[("host", "a")]);
            assert_eq!(check(&head).is_ok(), good, "{method} {target}");
        }
    }

    #[test]
    fn chunked_is_the_only_transfer_coding() {
        for (codings, good) in [
            (&["chunked"][..], true),
            (&["Chunked"], true),
            (&["gzip, chunked"], false),
            (&["chunked", "chunked"], false),
            (&["chunked, chunked"], false),
        ] {
            let mut headers = vec![("host", "a")];
            headers.extend(codings.iter().map(|coding| ("transfer-encoding", *coding)));
            assert_eq!(check(&head("POST", "/", &headers)).is_ok(), good, "{codings:?}");
        }
    }
}
