//! The closed list of failure codes.
//!
//! Pure. A code is what callers, logs and metrics know a failure by; it never changes its
//! meaning. [`Failure`](super::Failure) adds what happened this time, and `front::problem` has
//! the status of each. `docs/reference/failures.md` explains them all.

use std::fmt;
use std::str::FromStr;

/// A kind of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// `bad_request`
    BadRequest,
    /// `bad_parameter`
    BadParameter,
    /// `unsendable`
    Unsendable,
    /// `unauthorized`
    Unauthorized,
    /// `forbidden`
    Forbidden,
    /// `forbidden_origin`
    ForbiddenOrigin,
    /// `no_route`
    NoRoute,
    /// `method_not_allowed`
    MethodNotAllowed,
    /// `request_timeout`
    RequestTimeout,
    /// `body_too_large`
    BodyTooLarge,
    /// See [`Failure::TooManyItems`](super::Failure::TooManyItems).
    TooManyItems,
    /// `uri_too_long`
    UriTooLong,
    /// `unsupported_media_type`
    UnsupportedMediaType,
    /// `rate_limited`
    RateLimited,
    /// `too_many_calls`
    TooManyCalls,
    /// `headers_too_large`
    HeadersTooLarge,
    /// `program_error`
    ProgramError,
    /// `cancelled`
    Cancelled,
    /// `poisonous`
    Poisonous,
    /// `internal`
    Internal,
    /// `worker_lost`
    WorkerLost,
    /// `bad_answer`
    BadAnswer,
    /// `queue_full`
    QueueFull,
    /// `queue_timeout`
    QueueTimeout,
    /// `no_worker`
    NoWorker,
    /// `busy`
    Busy,
    /// `draining`
    Draining,
    /// `timeout`
    Timeout,
    /// `jobs_full`
    JobsFull,
    /// `store_failed`
    StoreFailed,
    /// `no_job`
    NoJob,
    /// `not_ended`
    NotEnded,
    /// `key_reused`
    KeyReused,
    /// `canceled`
    JobCanceled,
}

impl Code {
    /// Every code, in the order of declaration.
    pub const ALL: [Self; 34] = [
        Self::BadRequest,
        Self::BadParameter,
        Self::Unsendable,
        Self::Unauthorized,
        Self::Forbidden,
        Self::ForbiddenOrigin,
        Self::NoRoute,
        Self::MethodNotAllowed,
        Self::RequestTimeout,
        Self::BodyTooLarge,
        Self::TooManyItems,
        Self::UriTooLong,
        Self::UnsupportedMediaType,
        Self::RateLimited,
        Self::TooManyCalls,
        Self::HeadersTooLarge,
        Self::ProgramError,
        Self::Cancelled,
        Self::Poisonous,
        Self::Internal,
        Self::WorkerLost,
        Self::BadAnswer,
        Self::QueueFull,
        Self::QueueTimeout,
        Self::NoWorker,
        Self::Busy,
        Self::Draining,
        Self::Timeout,
        Self::JobsFull,
        Self::StoreFailed,
        Self::NoJob,
        Self::NotEnded,
        Self::KeyReused,
        Self::JobCanceled,
    ];

    /// Returns the stable text of the code.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::BadParameter => "bad_parameter",
            Self::Unsendable => "unsendable",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::ForbiddenOrigin => "forbidden_origin",
            Self::NoRoute => "no_route",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::RequestTimeout => "request_timeout",
            Self::BodyTooLarge => "body_too_large",
            Self::TooManyItems => "too_many_items",
            Self::UriTooLong => "uri_too_long",
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::RateLimited => "rate_limited",
            Self::TooManyCalls => "too_many_calls",
            Self::HeadersTooLarge => "headers_too_large",
            Self::ProgramError => "program_error",
            Self::Cancelled => "cancelled",
            Self::Poisonous => "poisonous",
            Self::Internal => "internal",
            Self::WorkerLost => "worker_lost",
            Self::BadAnswer => "bad_answer",
            Self::QueueFull => "queue_full",
            Self::QueueTimeout => "queue_timeout",
            Self::NoWorker => "no_worker",
            Self::Busy => "busy",
            Self::Draining => "draining",
            Self::Timeout => "timeout",
            Self::JobsFull => "jobs_full",
            Self::StoreFailed => "store_failed",
            Self::NoJob => "no_job",
            Self::NotEnded => "not_ended",
            Self::KeyReused => "key_reused",
            Self::JobCanceled => "canceled",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(self.as_str())
    }
}

/// A text that is not a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownCode;

impl FromStr for Code {
    type Err = UnknownCode;

    fn from_str(text: &str) -> Result<Self, UnknownCode> {
        Self::ALL.into_iter().find(|code| code.as_str() == text).ok_or(UnknownCode)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_whole_and_in_the_order_of_declaration() {
        assert!(Code::ALL.iter().enumerate().all(|(place, code)| *code as usize == place));
    }

    #[test]
    fn a_code_can_be_read_back_from_its_text() {
        for code in Code::ALL {
            assert_eq!(code.to_string().parse(), Ok(code));
        }
        for text in ["", "Timeout", "timeout ", "ok", "abandoned"] {
            assert_eq!(text.parse::<Code>(), Err(UnknownCode), "{text}");
        }
    }
}
