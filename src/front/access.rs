//! What is written down about a request: its line in the log, and the id that joins it to
//! everything else that was said about it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::request::Parts;

use super::body::random;
use crate::base::{Failure, Timing};
use crate::observe::log::{AccessLine, AccessLog};

/// Longest part of a path that stands in the log, in bytes.
const PATH_MAX: usize = 1024;

/// Gives each request without an id of its own one that no other request has.
#[derive(Debug)]
pub struct RequestIds {
    /// What all of them begin with.
    base: String,
    next: AtomicU64,
}

/// What is known of a response once it is made.
#[derive(Clone, Copy, Debug)]
pub struct Account<'a> {
    /// Its status.
    pub status: u16,
    /// The match text of the route, or `none`.
    pub label: &'a str,
    /// From the end of the request's head.
    pub duration: Duration,
    /// Of its body.
    pub bytes: u64,
}

impl RequestIds {
    /// Ids that begin with a part of their own.
    pub fn new() -> Self {
        let base = format!("{:016x}-", u64::from_ne_bytes(random()));
        Self { base, next: AtomicU64::new(1) }
    }

    /// The next id.
    pub fn next(&self) -> String {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let mut id = String::with_capacity(self.base.len() + 20);
        id.push_str(&self.base);
        id.push_str(itoa::Buffer::new().format(number));
        id
    }
}

impl Default for RequestIds {
    fn default() -> Self {
        Self::new()
    }
}

impl Account<'_> {
    /// Writes the line of a request; `call` is what its call cost, if there was one.
    pub fn write(
        &self,
        log: &AccessLog,
        head: &Parts,
        call: Option<Timing>,
        failure: Option<&Failure>,
        request_id: &str,
    ) {
        log.write(&AccessLine {
            method: head.method.as_str(),
            path: capped(head.uri.path()),
            status: self.status,
            route: self.label,
            bytes: self.bytes,
            duration: self.duration,
            queue: call.map(|timing| timing.queue),
            work: call.map(|timing| timing.work),
            request_id,
            code: failure.map(Failure::code),
        });
    }
}

fn capped(path: &str) -> &str {
    &path[..path.floor_char_boundary(PATH_MAX)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_never_given_twice() {
        let (one, two) = (RequestIds::new(), RequestIds::new());
        let ids = [one.next(), one.next(), two.next()];
        assert!(ids[0] != ids[1] && ids[0] != ids[2], "{ids:?}");
        assert!(ids.iter().all(|id| id.len() <= 64));
    }

    #[test]
    fn long_paths_are_cut_between_characters() {
        assert_eq!(capped("/a"), "/a");
        assert_eq!(capped(&format!("/{}", "é".repeat(PATH_MAX))).len(), PATH_MAX - 1);
    }
}
