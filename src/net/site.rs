//! Finds out whether a request comes from a web page of another site.
//!
//! Pure. A page in a browser on this machine can send requests to a loopback port. With a name of
//! its own that resolves to loopback (DNS rebinding) it can even read the answers. It cannot make
//! the browser send a `Host` other than that name, nor leave out `Origin` and `Sec-Fetch-Site`
//! where the browser sends them.

use http::Method;
use http::header::HeaderValue;
use http::request::Parts;

use crate::config::Hosts;

/// The fields by which a browser says for which page it asks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Marks<'a> {
    pub(super) host: Option<&'a HeaderValue>,
    pub(super) origin: Option<&'a HeaderValue>,
    pub(super) site: Option<&'a HeaderValue>,
}

/// What shows that a request is not for this server, or not from its own pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Foreign<'a> {
    /// It is for this host.
    Host(&'a str),
    /// It comes from a page of this origin.
    Origin(&'a str),
    /// It comes from a page of another site, whose origin the browser does not say.
    Site,
}

impl<'a> Marks<'a> {
    /// Returns the origin of the page that asks, if the browser says it.
    pub fn origin(&self) -> Option<&'a str> {
        self.origin.map(shown)
    }

    /// Returns the host that the request is for, if it is none of this server's. A request without
    /// any host is of no browser.
    pub fn foreign_host(&self, head: &'a Parts, hosts: &Hosts) -> Option<Foreign<'a>> {
        // That of CONNECT is where a tunnel would lead.
        let authority = head.uri.authority().filter(|_| head.method != Method::CONNECT);
        let authority = authority.map(http::uri::Authority::as_str);
        let host = self.host.filter(|host| !is_usual(host.as_bytes())).map(shown);
        let named = [host, authority];
        named.into_iter().flatten().find(|host| !is_own(host, hosts)).map(Foreign::Host)
    }

    /// Returns what shows that a page of another site asks. The origin is the better witness: a
    /// page of another port of this machine is `cross-site` if it says `localhost` and the request
    /// says `127.0.0.1`.
    pub fn foreign_page(&self, hosts: &Hosts) -> Option<Foreign<'a>> {
        match (self.origin(), self.site) {
            (Some(origin), _) => {
                let host = origin.split_once("://").map(|(_, host)| host);
                let is_own = host.is_some_and(|host| is_own(host, hosts));
                (!is_own).then_some(Foreign::Origin(origin))
            }
            (None, Some(site)) => (site == "cross-site").then_some(Foreign::Site),
            (None, None) => None,
        }
    }
}

impl<'a> Marks<'a> {
    /// Returns what shows that a page asks that is not of the host and port that the request is for.
    pub fn page_of_another(&self, head: &'a Parts) -> Option<Foreign<'a>> {
        let authority = head.uri.authority().map(http::uri::Authority::as_str);
        let own = self.host.map(shown).or(authority);
        match (self.origin(), self.site) {
            (Some(origin), _) => {
                let host = origin.split_once("://").map(|(_, host)| host);
                (host.is_none() || host != own).then_some(Foreign::Origin(origin))
            }
            (None, site) => site.filter(|site| *site == "cross-site").map(|_| Foreign::Site),
        }
    }
}

/// Returns true if this host is, with or without a port, one of the two names that almost every request has. They are
/// names of every server.
fn is_usual(host: &[u8]) -> bool {
    let rest = host.strip_prefix(b"127.0.0.1").or_else(|| host.strip_prefix(b"localhost"));
    match rest {
        Some([b':', port @ ..]) => port.iter().all(u8::is_ascii_digit),
        Some(rest) => rest.is_empty(),
        None => false,
    }
}

/// Returns a value as text; empty if it is not text, which is no name of this server.
fn shown(value: &HeaderValue) -> &str {
    value.to_str().unwrap_or("(not ASCII)")
}

/// Returns true if this host, with or without a port, is a name of this server.
fn is_own(host: &str, hosts: &Hosts) -> bool {
    match (without_port(host), hosts) {
        (_, Hosts::Any) => true,
        (Some(name), Hosts::Named(_)) => is_loopback_name(name) || hosts.has(name),
        (None, Hosts::Named(_)) => false,
    }
}

/// Returns true if this host, with or without a port, is the machine's name for itself.
pub fn is_loopback(host: &str) -> bool {
    without_port(host).is_some_and(is_loopback_name)
}

/// Returns the name in `name:port`; `None` if the text after the colon is not a port.
fn without_port(host: &str) -> Option<&str> {
    match host.bytes().rposition(|byte| byte == b':') {
        Some(colon) if !host.ends_with(']') => {
            let is_port = host[colon + 1..].bytes().all(|byte| byte.is_ascii_digit());
            is_port.then(|| &host[..colon])
        }
        _ => Some(host),
    }
}

fn is_loopback_name(name: &str) -> bool {
    if let Some(address) = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
        return address.parse::<std::net::Ipv6Addr>().is_ok_and(|address| address.is_loopback());
    }
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<std::net::Ipv4Addr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::super::fields::HeadFields;
    use super::*;

    fn named(names: &[&str]) -> Hosts {
        Hosts::Named(names.iter().map(|name| (*name).into()).collect())
    }

    fn head(target: &str, fields: &[(&'static str, &str)]) -> Parts {
        let mut request = Request::builder().uri(target);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).expect("a request").into_parts().0
    }

    /// Is this request from elsewhere?
    fn foreign(target: &str, fields: &[(&'static str, &str)], hosts: &Hosts) -> bool {
        let head = head(target, fields);
        let marks = HeadFields::of(&head.headers).marks;
        marks.foreign_host(&head, hosts).or_else(|| marks.foreign_page(hosts)).is_some()
    }

    #[test]
    fn names_of_this_machine_are_loopback_and_nothing_else_is() {
        for host in ["localhost", "LocalHost:3001", "127.0.0.1", "127.8.9.1:1", "[::1]", "[::1]:3"]
        {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "",
            ":3001",
            "example.org",
            "localhost.example.org",
            "127.0.0.1.example.org",
            "128.0.0.1",
            "0.0.0.0",
            "[::2]:3001",
            "::1",
            "localhost:x",
            "user@localhost",
            "evil:80@127.0.0.1",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn a_host_is_own_if_it_is_loopback_or_named() {
        let hosts = named(&["api.example"]);
        for (target, host, is_foreign) in [
            ("/", "localhost:3000", false),
            ("/", "api.example", false),
            ("/", "API.example:8443", false),
            ("/", "evil.example", true),
            ("/", "api.example.evil.example", true),
            ("/", "", true),
            ("http://evil.example/", "localhost", true),
            ("http://localhost/", "localhost", false),
            ("http://localhost/", "evil.example", true),
            // What only begins like the two usual names.
            ("/", "localhost.evil.example", true),
            ("/", "127.0.0.1.evil.example", true),
            ("/", "localhost:80.evil.example", true),
            ("/", "127.0.0.1:80:x", true),
            ("/", "localhost:x", true),
            ("/", "localhost]", true),
            ("/", "localhost:", false),
            ("/", "127.0.0.10", false),
            ("/", "LOCALHOST:1", false),
        ] {
            assert_eq!(foreign(target, &[("host", host)], &hosts), is_foreign, "{target} {host}");
            assert!(!foreign(target, &[("host", host)], &Hosts::Any), "{target} {host}");
        }
        assert!(!foreign("/", &[], &hosts), "HTTP/1.0 needs no host, and a browser sends one");
    }

    #[test]
    fn a_page_is_own_if_its_origin_is_or_if_the_browser_says_so() {
        let hosts = named(&["api.example"]);
        let local = ("host", "localhost:3000");
        for (field, value, is_foreign) in [
            ("origin", "http://localhost:5173", false),
            ("origin", "http://127.0.0.1", false),
            ("origin", "https://api.example", false),
            ("origin", "https://evil.example", true),
            ("origin", "https://localhost.evil.example", true),
            ("origin", "null", true),
            ("origin", "", true),
            ("sec-fetch-site", "none", false),
            ("sec-fetch-site", "same-origin", false),
            ("sec-fetch-site", "same-site", false),
            ("sec-fetch-site", "cross-site", true),
        ] {
            assert_eq!(foreign("/", &[local, (field, value)], &hosts), is_foreign, "{value}");
        }
        let both = [local, ("origin", "http://127.0.0.1:1"), ("sec-fetch-site", "cross-site")];
        assert!(!foreign("/", &both, &hosts), "both are names of this machine");
    }

    #[test]
    fn a_page_of_another_origin_is_no_page_of_this_server() {
        let is_another = |fields: &[(&'static str, &str)]| {
            let head = head("/", fields);
            HeadFields::of(&head.headers).marks.page_of_another(&head).is_some()
        };
        let host = ("host", "api.example:8443");
        assert!(!is_another(&[host]), "a program");
        assert!(!is_another(&[host, ("origin", "https://api.example:8443")]));
        assert!(!is_another(&[host, ("sec-fetch-site", "same-origin")]));
        assert!(!is_another(&[host, ("sec-fetch-site", "none")]), "typed by its reader");
        assert!(is_another(&[host, ("origin", "https://evil.example")]));
        assert!(is_another(&[host, ("origin", "https://api.example")]), "another port");
        assert!(is_another(&[host, ("origin", "null")]));
        assert!(is_another(&[host, ("sec-fetch-site", "cross-site")]));
    }
}
