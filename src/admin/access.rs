//! The gate before the pages: decides who may see or do what.
//!
//! Pure. A page in the operator's own browser can send requests to a loopback port. With a name
//! of its own that resolves to loopback (DNS rebinding) it can even read the answers. It cannot
//! make the browser send a `Host` other than that name, nor a header of ours without a preflight,
//! which is refused. It knows neither the token nor the operator's key, so a request with one of
//! them needs none of these marks.

use http::header::{AUTHORIZATION, HOST};
use http::request::Parts;
use http::{HeaderMap, Uri};

use super::key::OperatorKey;
use crate::config::{Hosts, Secret};
use crate::net::fields::HeadFields;
use crate::net::site::is_loopback;
use crate::observe::metrics::Denial;

/// What a page asks of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// No page of another site may ask. A token is never necessary.
    Health,
    /// No page of another site may ask, and if there is a token, the request has it.
    Look,
    /// And the request is marked as one of an operator.
    Change,
    /// The request has the token or the key.
    Secret,
}

/// What a request shows of who sends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    /// Nothing.
    Stranger,
    /// The token of the configuration.
    Token,
    /// The operator's key.
    Key,
}

impl Who {
    /// Returns true if it is an operator, who may read contents and arguments.
    pub(super) fn is_operator(self) -> bool {
        self != Self::Stranger
    }
}

/// The gate of one listener.
#[derive(Debug)]
pub(super) struct AdminGate {
    /// `admin_token`.
    token: Option<Secret>,
    key: Option<OperatorKey>,
}

impl AdminGate {
    pub(super) fn new(token: Option<Secret>, key: Option<OperatorKey>) -> Self {
        Self { token, key }
    }

    /// Returns true if a sender may learn what only operators are told.
    pub(super) fn trusts(&self, who: Who) -> bool {
        who.is_operator() || self.token.is_none()
    }

    /// Decides about one request. `is_guarded`: the listener is loopback, which pages of other sites
    /// reach too.
    pub(super) fn check(
        &self,
        need: Need,
        request: &Parts,
        hosts: &Hosts,
        is_guarded: bool,
    ) -> Result<Who, Denial> {
        let who = match self.who(&request.headers) {
            Err(_) if need == Need::Health => Who::Stranger,
            who => who?,
        };
        if who.is_operator() {
            return Ok(who);
        }
        if self.token.is_some() && need != Need::Health {
            return Err(Denial::NoToken);
        }
        if self.token.is_none() && is_guarded && is_foreign(request, hosts) {
            return Err(Denial::Foreign);
        }
        match need {
            Need::Secret => Err(Denial::NoToken),
            Need::Change if !is_deliberate(&request.headers, &request.uri) => Err(Denial::Unmarked),
            Need::Health | Need::Look | Need::Change => Ok(who),
        }
    }

    /// Reads the credentials of a request. Those of another scheme, as of a proxy before this
    /// server, are none.
    fn who(&self, headers: &HeaderMap) -> Result<Who, Denial> {
        let mut given = headers.get_all(AUTHORIZATION).iter().filter_map(|value| bearer(value));
        let Some(first) = given.next() else { return Ok(Who::Stranger) };
        if given.next().is_some() {
            return Err(Denial::WrongToken);
        }
        // Both are always compared, so that the time does not reveal which of them is near.
        let is_token = self.token.as_ref().is_some_and(|it| equal(first, it.reveal().as_bytes()));
        let is_key = self.key.as_ref().is_some_and(|it| equal(first, it.reveal().as_bytes()));
        match (is_token, is_key) {
            (true, _) => Ok(Who::Token),
            (false, true) => Ok(Who::Key),
            (false, false) => Err(Denial::WrongToken),
        }
    }
}

/// Returns the token of a Bearer, with nothing around it.
fn bearer(value: &http::HeaderValue) -> Option<&[u8]> {
    let value = value.as_bytes();
    let (scheme, given) = value.split_at_checked("Bearer".len())?;
    let is_bearer =
        scheme.eq_ignore_ascii_case(b"Bearer") && given.first().is_none_or(|b| *b == b' ');
    is_bearer.then(|| given.trim_ascii())
}

/// Returns true if a web page of another site may have sent this.
fn is_foreign(request: &Parts, hosts: &Hosts) -> bool {
    let marks = HeadFields::of(&request.headers).marks;
    let is_any = *hosts == Hosts::Any;
    !is_any && (marks.foreign_host(request, hosts).is_some() || marks.foreign_page(hosts).is_some())
}

/// Returns true if the request has the marks that no web page can give it.
fn is_deliberate(headers: &HeaderMap, uri: &Uri) -> bool {
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
    use http::Request;

    use super::*;
    use Denial::{Foreign, NoToken, Unmarked, WrongToken};

    const KEY: &str = "00112233445566778899aabbccddeeff";
    const LOCAL: (&str, &str) = ("host", "127.0.0.1:3001");
    const OURS: (&str, &str) = ("httpipe-admin", "1");
    const WITH_KEY: (&str, &str) = ("authorization", "Bearer 00112233445566778899aabbccddeeff");
    const WITH_TOKEN: (&str, &str) = ("authorization", "Bearer secret");
    const WITH_WRONG: (&str, &str) = ("authorization", "Bearer guess");
    /// A name of a page's own that resolves to loopback.
    const REBOUND: (&str, &str) = ("host", "evil.example:3001");
    const OTHER_SITE: (&str, &str) = ("origin", "http://evil.example");
    const NAVIGATED: (&str, &str) = ("sec-fetch-site", "cross-site");

    fn parts(uri: &str, list: &[(&'static str, &str)]) -> Parts {
        let mut request = Request::builder().uri(uri);
        for (name, value) in list {
            request = request.header(*name, *value);
        }
        request.body(()).expect("a request").into_parts().0
    }

    fn gate(token: Option<&str>) -> AdminGate {
        AdminGate::new(token.map(|it| Secret::from(it.to_owned())), OperatorKey::read(KEY))
    }

    type Row<'a> = (&'a [(&'static str, &'static str)], [Result<Who, Denial>; 4]);

    /// Checks each request against what it gets for [`Need::Health`], `Look`, `Change`, `Secret`.
    fn table(gate: &AdminGate, is_guarded: bool, rows: &[Row<'_>]) {
        let hosts = Hosts::Named(["ops.example".into()].into());
        for (fields, expected) in rows {
            let needs = [Need::Health, Need::Look, Need::Change, Need::Secret];
            let request = parts("/reload", fields);
            let seen = needs.map(|need| gate.check(need, &request, &hosts, is_guarded));
            assert_eq!(seen, *expected, "{fields:?}, guarded: {is_guarded}");
        }
    }

    const ANYBODY: Result<Who, Denial> = Ok(Who::Stranger);
    const BY_KEY: [Result<Who, Denial>; 4] = [Ok(Who::Key); 4];
    const BY_TOKEN: [Result<Who, Denial>; 4] = [Ok(Who::Token); 4];
    const SHUT: [Result<Who, Denial>; 4] = [Err(Foreign); 4];
    const WRONG: [Result<Who, Denial>; 4] =
        [ANYBODY, Err(WrongToken), Err(WrongToken), Err(WrongToken)];

    #[test]
    fn without_a_token_loopback_may_look_and_only_the_key_may_act() {
        let look = [ANYBODY, ANYBODY, Err(Unmarked), Err(NoToken)];
        let change = [ANYBODY, ANYBODY, ANYBODY, Err(NoToken)];
        let wrong_from_afar = [Err(Foreign), Err(WrongToken), Err(WrongToken), Err(WrongToken)];
        table(
            &gate(None),
            true,
            &[
                (&[LOCAL], look),
                (&[LOCAL, OURS], change),
                (&[LOCAL, ("httpipe-admin", "0")], look),
                (&[], look),
                (&[OURS], look),
                (&[("host", "ops.example"), OURS], look),
                (&[REBOUND], SHUT),
                (&[REBOUND, OURS], SHUT),
                (&[LOCAL, OURS, OTHER_SITE], SHUT),
                (&[LOCAL, NAVIGATED], SHUT),
                (&[LOCAL, WITH_KEY], BY_KEY),
                (&[REBOUND, OTHER_SITE, WITH_KEY], BY_KEY),
                (&[LOCAL, OURS, WITH_WRONG], WRONG),
                (&[LOCAL, OURS, WITH_TOKEN], WRONG),
                (&[REBOUND, WITH_WRONG], wrong_from_afar),
                (&[LOCAL, OURS, WITH_KEY, WITH_WRONG], WRONG),
                (&[LOCAL, OURS, ("authorization", "Basic b3BzOng=")], change),
            ],
        );
    }

    #[test]
    fn a_token_shuts_everything_but_health_and_the_key_opens_as_it_does() {
        let shut = [ANYBODY, Err(NoToken), Err(NoToken), Err(NoToken)];
        for is_guarded in [true, false] {
            table(
                &gate(Some("secret")),
                is_guarded,
                &[
                    (&[LOCAL, OURS], shut),
                    (&[REBOUND, OURS, OTHER_SITE], shut),
                    (&[LOCAL, ("authorization", "Basic secret")], shut),
                    (&[REBOUND, WITH_TOKEN], BY_TOKEN),
                    (&[REBOUND, WITH_KEY], BY_KEY),
                    (&[LOCAL, OURS, WITH_WRONG], WRONG),
                ],
            );
        }
    }

    #[test]
    fn a_socket_file_is_no_matter_of_web_pages() {
        let change = [ANYBODY, ANYBODY, ANYBODY, Err(NoToken)];
        let look = [ANYBODY, ANYBODY, Err(Unmarked), Err(NoToken)];
        let rows: [Row<'_>; 3] =
            [(&[LOCAL, OURS], change), (&[REBOUND, OURS], look), (&[LOCAL, WITH_KEY], BY_KEY)];
        table(&gate(None), false, &rows);
    }

    #[test]
    fn without_key_and_token_nobody_acts() {
        let gate = AdminGate::new(None, None);
        let hosts = Hosts::Any;
        for value in ["Bearer ", "Bearer", "Bearer 00112233445566778899aabbccddeeff"] {
            let request = parts("/", &[LOCAL, OURS, ("authorization", value)]);
            assert_eq!(
                gate.check(Need::Secret, &request, &hosts, true),
                Err(WrongToken),
                "{value}"
            );
        }
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
            ("Bearersecret", false),
            ("Basic secret", false),
            ("secret", false),
        ] {
            let request = parts("/", &[("authorization", value)]);
            let who = gate(Some("secret")).check(Need::Secret, &request, &Hosts::Any, true);
            assert_eq!(who == Ok(Who::Token), has, "{value}");
        }
        let twice = [("authorization", "Bearer secret"), ("authorization", "Bearer x")];
        let who = gate(Some("secret")).who(&parts("/", &twice).headers);
        assert_eq!(who, Err(WrongToken));
    }

    #[test]
    fn a_deliberate_request_names_this_machine_everywhere_and_has_our_header() {
        for (list, uri, deliberate) in [
            (vec![LOCAL, OURS], "/reload", true),
            (vec![LOCAL, OURS], "http://localhost/reload", true),
            (vec![LOCAL, OURS], "http://evil.example/reload", false),
            (vec![("host", "evil.example"), OURS], "/reload", false),
            (vec![LOCAL, ("host", "evil.example"), OURS], "/reload", false),
            (vec![OURS], "/reload", false),
            (vec![LOCAL], "/reload", false),
            (vec![LOCAL, ("httpipe-admin", "0")], "/reload", false),
        ] {
            let request = parts(uri, &list);
            assert_eq!(is_deliberate(&request.headers, &request.uri), deliberate, "{list:?} {uri}");
        }
    }
}
