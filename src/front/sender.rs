//! Who sends a request: who connects, and what the gate knows of them.
//!
//! Finds keys and addresses in the header; the gate decides about them.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Response, header};

use super::docs::is_navigation;
use super::problem::whole_seconds;
use super::routes::Found;
use super::{Front, FrontBody, cors};
use crate::base::{Failure, Rate};
use crate::gate::{KeyGate, ShownKey, Visitor};
use crate::net::site::Marks;
use crate::net::{Caller, WrittenHead};
use crate::observe::metrics::Turned;

/// The field with nothing but a key.
pub(super) const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
/// Longer than any key with any name, in base 64.
const BASIC_MAX: usize = 512;

/// Who sends a request.
#[derive(Clone, Copy)]
pub(super) struct RequestSender<'a> {
    /// Who connects.
    pub(super) caller: &'a Caller,
    /// What the gate knows of them; `None`: there is no gate.
    pub(super) visitor: Option<&'a Visitor>,
}

impl<'a> RequestSender<'a> {
    /// What the caller is called; `None`: they show no key.
    pub(super) fn name(self) -> Option<&'a str> {
        self.visitor.and_then(Visitor::name)
    }
}

/// A key as it stands in a header.
#[derive(Debug)]
pub enum KeyField<'a> {
    /// The key.
    Plain(&'a [u8]),
    /// `NAME:KEY`, decoded.
    Named(Vec<u8>),
    /// No key.
    Nothing,
    /// Two keys, or what is none.
    Wrong,
}

impl<'a> KeyField<'a> {
    /// Finds the key of a request. Two at once are wrong: which of them is meant is not guessed.
    pub fn of(headers: &'a HeaderMap) -> Self {
        let given = headers.get_all(AUTHORIZATION).iter().map(|value| (true, value));
        let mut given = given.chain(headers.get_all(X_API_KEY).iter().map(|value| (false, value)));
        match (given.next(), given.next()) {
            (None, _) => Self::Nothing,
            (Some((false, key)), None) => Self::Plain(key.as_bytes().trim_ascii()),
            (Some((true, credentials)), None) => Self::in_credentials(credentials),
            (Some(_), Some(_)) => Self::Wrong,
        }
    }

    fn in_credentials(value: &'a HeaderValue) -> Self {
        let value = value.as_bytes();
        let end = value.iter().position(|byte| *byte == b' ').unwrap_or(value.len());
        let (scheme, rest) = (&value[..end], value[end..].trim_ascii());
        if scheme.eq_ignore_ascii_case(b"Bearer") {
            return Self::Plain(rest);
        }
        if !scheme.eq_ignore_ascii_case(b"Basic") || rest.len() > BASIC_MAX {
            return Self::Wrong;
        }
        BASE64.decode(rest).map_or(Self::Wrong, Self::Named)
    }

    /// Returns the key for the gate.
    pub fn shown(&self) -> ShownKey<'_> {
        match self {
            Self::Plain(text) => ShownKey::Key { name: None, text },
            Self::Named(both) => match both.iter().position(|byte| *byte == b':') {
                Some(colon) => {
                    ShownKey::Key { name: Some(&both[..colon]), text: &both[colon + 1..] }
                }
                None => ShownKey::Wrong,
            },
            Self::Nothing => ShownKey::Nothing,
            Self::Wrong => ShownKey::Wrong,
        }
    }
}

impl Front {
    /// Lets a request in, or returns why not. The preflight of a browser has no key, and is let in
    /// where a page may ask and no program is asked.
    pub(super) fn receive(
        &self,
        gate: &KeyGate,
        head: &Parts,
        caller: &Caller,
        received: Instant,
    ) -> (Option<Visitor>, Option<Failure>) {
        if self.is_preflight(head) {
            return (None, None);
        }
        let (key, forwarded) = (KeyField::of(&head.headers), forwarded(&head.headers));
        let shown = (key.shown(), &*caller.names);
        let (visitor, decided) = gate.admit(caller.address, forwarded, shown, received);
        (Some(visitor), decided.err())
    }

    /// Returns why a request may not go on to its route; `index` is that of the route. Whose job it
    /// is about is looked at where the job is.
    pub(super) fn admitted(
        &self,
        index: Option<usize>,
        head: &Parts,
        marks: Marks<'_>,
        sender: RequestSender<'_>,
    ) -> Result<(), Failure> {
        self.door.admit(head, marks, sender.caller, self.cors_of(index, head))?;
        let name = index.map(|index| &*self.routes[index].name);
        match sender.visitor {
            Some(visitor) if !visitor.may_use(name) && self.about_job(head).is_none() => {
                Err(Failure::Forbidden)
            }
            _ => Ok(()),
        }
    }

    /// Counts what became of a visitor's request. Tells a refused one how to be let in, and others
    /// what is left of their rate.
    pub(super) fn note(
        &self,
        visitor: &Visitor,
        failure: Option<&Failure>,
        request: &HeaderMap,
        now: Instant,
        (written, response): (Option<&WrittenHead>, &mut Response<FrontBody>),
    ) {
        tell_the_way_in(response, failure, request);
        if let Some(gate) = &self.gate
            && !matches!(failure, Some(Failure::RateLimited { .. } | Failure::TooManyCalls { .. }))
            && let Some(left) = gate.left(visitor, now)
        {
            let told = RateTold::new(left.rate, left.count, left.whole_in);
            if !written.is_some_and(|head| head.extend(|to| told.write(to))) {
                told.put(response.headers_mut());
            }
        }
        let why = match failure {
            Some(Failure::Unauthorized) => Some(Turned::Unauthorized),
            Some(Failure::Forbidden) => Some(Turned::Forbidden),
            Some(Failure::RateLimited { rate: None, .. }) => Some(Turned::Guesses),
            Some(Failure::RateLimited { .. }) => Some(Turned::Rate),
            Some(Failure::TooManyCalls { .. }) => Some(Turned::Calls),
            _ => None,
        };
        if let Some(why) = why {
            self.callers.turned_away(why);
        }
        if let Some(name) = visitor.name() {
            self.callers.answered(name, response.status().as_u16());
        }
    }

    fn is_preflight(&self, head: &Parts) -> bool {
        self.has_cors
            && head.method == Method::OPTIONS
            && cors::asked_method(&head.headers).is_some()
            && matches!(self.table.find("OPTIONS", head.uri.path()), Found::Options { .. })
    }
}

/// Returns the values of `X-Forwarded-For`, in their order.
pub(super) fn forwarded(headers: &HeaderMap) -> impl DoubleEndedIterator<Item = &[u8]> {
    headers.get_all(X_FORWARDED_FOR).iter().map(HeaderValue::as_bytes)
}

/// Adds to the response of a refusal how to be let in, or when.
pub(super) fn tell_the_way_in<B>(
    response: &mut Response<B>,
    failure: Option<&Failure>,
    request: &HeaderMap,
) {
    let headers = response.headers_mut();
    match failure {
        Some(Failure::Unauthorized) => {
            let bearer = HeaderValue::from_static("Bearer realm=\"httpipe\"");
            headers.insert(header::WWW_AUTHENTICATE, bearer);
            // A browser asks a person for a name and a key, which a script would not want.
            if is_navigation(request) {
                let basic = "Basic realm=\"httpipe\", charset=\"UTF-8\"";
                headers.append(header::WWW_AUTHENTICATE, HeaderValue::from_static(basic));
            }
        }
        Some(Failure::RateLimited { rate: Some(rate), retry_after }) => {
            RateTold::new(*rate, 0, *retry_after).put(headers);
        }
        Some(Failure::TooManyCalls { most }) => {
            let policy = format!("\"calls\";q={most};qu=\"concurrent-requests\"");
            add(headers, RATE_LIMIT_POLICY, policy);
            add(headers, RATE_LIMIT, "\"calls\";r=0".to_owned());
        }
        _ => {}
    }
}

/// How many requests a caller may make, how many of them are left, and when there are more.
struct RateTold {
    /// How many in how many seconds.
    policy: [u64; 2],
    /// How many are left, and in how many seconds there are all.
    left: [u64; 2],
}

impl RateTold {
    fn new(rate: Rate, left: u64, until: Duration) -> Self {
        let policy = [rate.count.get().into(), whole_seconds(rate.period)];
        Self { policy, left: [left, whole_seconds(until)] }
    }

    /// Writes both fields as HTTP/1.1 has them.
    fn write(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(b"ratelimit-policy: ");
        requests(to, ["q=", ";w="], self.policy);
        to.extend_from_slice(b"\r\nratelimit: ");
        requests(to, ["r=", ";t="], self.left);
        to.extend_from_slice(b"\r\n");
    }

    /// Puts both fields into a header.
    fn put(&self, headers: &mut HeaderMap) {
        for (name, names, numbers) in [
            (RATE_LIMIT_POLICY, ["q=", ";w="], self.policy),
            (RATE_LIMIT, ["r=", ";t="], self.left),
        ] {
            let mut text = Vec::new();
            requests(&mut text, names, numbers);
            headers.insert(name, HeaderValue::try_from(text).expect("digits, words and quotes"));
        }
    }
}

/// Writes two numbers about requests. Every answer to a caller with a rate has two such texts, and this takes
/// half the time of `format!`.
fn requests(to: &mut Vec<u8>, names: [&str; 2], numbers: [u64; 2]) {
    let mut digits = itoa::Buffer::new();
    to.extend_from_slice(b"\"requests\";");
    for (name, number) in names.into_iter().zip(numbers) {
        to.extend_from_slice(name.as_bytes());
        to.extend_from_slice(digits.format(number).as_bytes());
    }
}

fn add(headers: &mut HeaderMap, name: HeaderName, value: String) {
    headers.insert(name, HeaderValue::try_from(value).expect("digits, words and quotes"));
}
