//! Decides who may ask: by the Bearer token, or by marks that no web page can give its requests.
//!
//! Pure. A page in the operator's own browser can send requests to a loopback port. With a name
//! of its own that resolves to loopback (DNS rebinding) it can even read the answers. It cannot
//! make the browser send a `Host` other than that name, nor a header of ours without a preflight,
//! which is refused. It does not know the token either, so a request with the token needs none
//! of these marks.

use http::header::{AUTHORIZATION, HOST};
use http::{HeaderMap, Uri};

use crate::net::site::is_loopback;

/// Returns true if the request carries the token. Takes the same time wherever the two begin to
/// differ.
pub(super) fn has_token(headers: &HeaderMap, token: &str) -> bool {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return false };
    let Some((scheme, given)) = value.as_bytes().split_at_checked("Bearer ".len()) else {
        return false;
    };
    scheme.eq_ignore_ascii_case(b"Bearer ") && equal(given.trim_ascii(), token.as_bytes())
}

/// Returns true if the request has the marks that no web page can give it.
pub(super) fn is_deliberate(headers: &HeaderMap, uri: &Uri) -> bool {
    let mut hosts = headers.get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
    host.to_str().is_ok_and(is_loopback)
        && uri.authority().is_none_or(|authority| is_loopback(authority.as_str()))
        && headers.get("httpipe-admin").is_some_and(|value| value == "1")
}

/// Returns true if the two are equal. Always looks at all of `given`, so that the time reveals
/// only its length, which the caller knows.
fn equal(given: &[u8], expected: &[u8]) -> bool {
    let mut difference = given.len() ^ expected.len();
    for (place, byte) in given.iter().enumerate() {
        let other = expected.get(place).copied().unwrap_or(!*byte);
        difference = std::hint::black_box(difference | usize::from(byte ^ other));
    }
    difference == 0 && !expected.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(list: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in list {
            headers.append(*name, value.parse().expect("a header value"));
        }
        headers
    }

    #[test]
    fn only_the_whole_token_is_the_token() {
        for (value, has) in [
            ("Bearer secret", true),
            ("bearer secret", true),
            ("Bearer  secret", true),
            ("Bearer secre", false),
            ("Bearer secrets", false),
            ("Bearer Secret", false),
            ("Bearer ", false),
            ("Bearer", false),
            ("Basic secret", false),
            ("secret", false),
        ] {
            assert_eq!(has_token(&headers(&[("authorization", value)]), "secret"), has, "{value}");
        }
        let twice = [("authorization", "Bearer secret"), ("authorization", "Bearer x")];
        assert!(!has_token(&headers(&twice), "secret"));
        assert!(!has_token(&headers(&[]), "secret"));
        assert!(!has_token(&headers(&[("authorization", "Bearer ")]), ""), "no token is no key");
    }

    #[test]
    fn a_deliberate_request_names_this_machine_everywhere_and_has_our_header() {
        let ours = ("httpipe-admin", "1");
        let local = ("host", "127.0.0.1:3001");
        for (list, uri, deliberate) in [
            (vec![local, ours], "/reload", true),
            (vec![local, ours], "http://localhost/reload", true),
            (vec![local, ours], "http://evil.example/reload", false),
            (vec![("host", "evil.example"), ours], "/reload", false),
            (vec![local, ("host", "evil.example"), ours], "/reload", false),
            (vec![ours], "/reload", false),
            (vec![local], "/reload", false),
            (vec![local, ("httpipe-admin", "0")], "/reload", false),
        ] {
            let uri: Uri = uri.parse().expect("a URI");
            assert_eq!(is_deliberate(&headers(&list), &uri), deliberate, "{list:?} {uri}");
        }
    }
}
