//! What is written down about a request: its line in the log, and the id that joins the line to
//! everything else about the request.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::body::random;
use super::sender::RequestSender;
use crate::base::{Failure, Timing};
use crate::observe::log::{AccessLine, AccessLog, KnownText};

/// How many bytes of a path the log shows at most.
const PATH_MAX: usize = 1024;
/// How many bytes of a method the log shows at most.
const METHOD_MAX: usize = 32;

/// Makes a unique id for each request that brings none.
#[derive(Debug)]
pub struct RequestIds {
    /// The part that all ids share.
    base: [u8; BASE_LENGTH],
    next: AtomicU64,
}

/// An id that the server made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestId {
    text: [u8; BASE_LENGTH + NUMBER_MOST],
    length: usize,
}

/// Sixteen hexadecimal digits and a dash.
const BASE_LENGTH: usize = 17;
/// How many digits a number of 64 bits has at most.
const NUMBER_MOST: usize = 20;

/// What is known of a request once its response is made.
#[derive(Clone, Copy)]
pub struct Account<'a> {
    /// When it was answered, or its caller left.
    pub at: Instant,
    /// The method of the request; `-`: it never became one.
    pub method: &'a str,
    /// The path of the request; `-`: it never became one.
    pub path: &'a str,
    /// The status of the response; `None`: the caller left before there was one.
    pub status: Option<u16>,
    /// The match text of the route, or `none`.
    pub label: &'a KnownText,
    /// From the end of the request's head.
    pub duration: Duration,
    /// The length of the response's body.
    pub bytes: u64,
    /// The caller.
    pub(super) sender: RequestSender<'a>,
    /// The value of `X-Request-Id`.
    pub request_id: &'a str,
}

impl RequestIds {
    /// Ids that begin with a random part.
    pub fn new() -> Self {
        let text = format!("{:016x}-", u64::from_ne_bytes(random()));
        let base = text.as_bytes().try_into().expect("it is written with all its digits");
        Self { base, next: AtomicU64::new(1) }
    }

    /// Returns the next id.
    pub fn next(&self) -> RequestId {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let mut digits = itoa::Buffer::new();
        let digits = digits.format(number).as_bytes();
        let mut text = [0; BASE_LENGTH + NUMBER_MOST];
        text[..BASE_LENGTH].copy_from_slice(&self.base);
        let length = BASE_LENGTH + digits.len();
        text[BASE_LENGTH..length].copy_from_slice(digits);
        RequestId { text, length }
    }
}

impl RequestId {
    /// Returns the text of the id.
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.text[..self.length]).expect("it is made of digits and a dash")
    }
}

impl Default for RequestIds {
    fn default() -> Self {
        Self::new()
    }
}

impl Account<'_> {
    /// Writes the line of a request. `call` is what its call cost, if there was one.
    pub fn write(&self, log: &AccessLog, call: Option<Timing>, failure: Option<&Failure>) {
        log.write(&self.line(call, failure));
    }

    /// Writes the line of a batch: how many items were told of, and how many of them failed.
    pub fn write_batch(
        &self,
        log: &AccessLog,
        (items, failed): (u64, u64),
        failure: Option<&Failure>,
    ) {
        log.write(&AccessLine { items: Some((items, failed)), ..self.line(None, failure) });
    }

    fn line<'a>(&'a self, call: Option<Timing>, failure: Option<&'a Failure>) -> AccessLine<'a> {
        AccessLine {
            at: self.at,
            method: capped(self.method, METHOD_MAX),
            path: capped(self.path, PATH_MAX),
            status: self.status,
            route: self.label,
            bytes: self.bytes,
            duration: self.duration,
            queue: call.map(|timing| timing.queue),
            work: call.map(|timing| timing.work),
            worker: call.and_then(|timing| timing.worker),
            host: call.and_then(|timing| timing.away).map(|away| away.host),
            call: call.and_then(|timing| timing.call),
            peer: &self.sender.caller.peer,
            caller: self.sender.name(),
            address: self.sender.visitor.and_then(|visitor| visitor.address),
            request_id: self.request_id,
            code: failure.map(|failure| failure.code().as_str()),
            items: None,
        }
    }
}

fn capped(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_never_given_twice() {
        let (one, two) = (RequestIds::new(), RequestIds::new());
        let ids = [one.next(), one.next(), two.next()];
        assert!(ids[0] != ids[1] && ids[0] != ids[2], "{ids:?}");
        assert!(ids.iter().all(|id| id.as_str().len() <= 64));
    }

    #[test]
    fn long_paths_are_cut_between_characters() {
        assert_eq!(capped("/a", PATH_MAX), "/a");
        assert_eq!(capped(&format!("/{}", "é".repeat(PATH_MAX)), PATH_MAX).len(), PATH_MAX - 1);
    }
}
