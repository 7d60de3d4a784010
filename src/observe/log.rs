//! The log: buffered lines on stderr, text or JSON, dropped and counted when stderr blocks.

use std::time::Duration;

/// Writes one line for each request, or none if that is switched off. Cheap to clone.
#[derive(Clone, Debug)]
pub struct AccessLog {}

/// What one request was.
#[derive(Clone, Copy, Debug)]
pub struct AccessLine<'a> {
    /// The method as it came.
    pub method: &'a str,
    /// The path as it came, before decoding.
    pub path: &'a str,
    /// The response's status.
    pub status: u16,
    /// The match text of the route, or `none`.
    pub route: &'a str,
    /// Bytes of the response's body.
    pub bytes: u64,
    /// From the end of the request's head to the response.
    pub duration: Duration,
    /// How much of that its call waited; `None`: there was no call.
    pub queue: Option<Duration>,
    /// How much of that its call was in a worker; `None`: there was no call.
    pub work: Option<Duration>,
    /// What the response calls it in `X-Request-Id`.
    pub request_id: &'a str,
    /// The failure code; `None`: it did not fail.
    pub code: Option<&'a str>,
}

impl AccessLog {
    /// A log that writes nothing.
    pub fn off() -> Self {
        Self {}
    }

    /// Is anything written? If not, a caller need not make the line.
    pub fn is_on(&self) -> bool {
        false
    }

    /// Writes the line of one request. Never waits.
    pub fn write(&self, _access: &AccessLine<'_>) {}
}
