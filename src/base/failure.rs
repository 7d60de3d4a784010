//! Every way in which one call, or the request that should have become one, can fail.
//!
//! Pure: a closed list without HTTP in it; `front::problem` has the one table that makes
//! statuses of it. Texts here are for callers and say nothing about the inside of the
//! server; what operators need besides goes to the log where the failure is found.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

/// Why one call failed. Cheap to clone: callers who share a run share its failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The request itself cannot be understood.
    BadRequest {
        /// What was wrong with it.
        detail: Cow<'static, str>,
    },
    /// A parameter is missing, given twice, or not of its type.
    BadParameter {
        /// Its name in the route.
        parameter: Arc<str>,
        /// What was expected; the configured `missing` text where it is absent.
        detail: Arc<str>,
    },
    /// A value holds bytes that would break the framing of the pool.
    Unsendable {
        /// The parameter that holds them, or `body`.
        parameter: Arc<str>,
        /// Which bytes, in words.
        detail: Cow<'static, str>,
    },
    /// No route has this path.
    NoRoute,
    /// Some route has this path, none with this method.
    MethodNotAllowed {
        /// The methods that some route has, as the `Allow` header lists them.
        allow: Arc<str>,
    },
    /// The body did not arrive within `limits.body_timeout`.
    RequestTimeout,
    /// The body is longer than `limits.body`, or the question longer than `message_max`.
    BodyTooLarge {
        /// The limit, in bytes.
        limit: u64,
    },
    /// The request's target is longer than the server reads.
    UriTooLong,
    /// The body is of a kind from which the route's parameters cannot be read.
    UnsupportedMediaType {
        /// What would be understood.
        detail: Cow<'static, str>,
    },
    /// More or longer header fields than the server takes.
    HeadersTooLarge,
    /// The program itself said that it cannot answer (the `error` pattern).
    ProgramError {
        /// `error_status` of the pool.
        status: u16,
        /// The pattern's `{message}`.
        message: Arc<str>,
    },
    /// This question has cost several workers and is refused for a while.
    Poisonous,
    /// A fault of ours.
    Internal,
    /// The worker ended before it answered.
    WorkerLost {
        /// How it ended, in words: `exit code 1`, `signal 9`.
        exit: Arc<str>,
    },
    /// What the worker wrote is no answer of the agreed shape.
    BadAnswer {
        /// What was wrong.
        detail: Arc<str>,
    },
    /// The queue had no room.
    QueueFull {
        /// Which limit it was, with its number.
        detail: Arc<str>,
        /// When trying again is likely to help.
        retry_after: Duration,
    },
    /// No worker was free within `queue.wait`.
    QueueTimeout {
        /// How long it waited.
        waited: Duration,
        /// When trying again is likely to help.
        retry_after: Duration,
    },
    /// The pool has no worker that takes calls, and cannot start one now.
    NoWorker {
        /// What follows `no worker is ready,`.
        why: Arc<str>,
        /// When the next start is tried.
        retry_after: Duration,
    },
    /// The server is stopping.
    Draining,
    /// The program did not answer in time.
    Timeout {
        /// The time that passed.
        after: Duration,
    },
}

impl Failure {
    /// The stable code that callers, logs and metrics know this failure by.
    pub fn code(&self) -> &'static str {
        match self {
            Self::BadRequest { .. } => "bad_request",
            Self::BadParameter { .. } => "bad_parameter",
            Self::Unsendable { .. } => "unsendable",
            Self::NoRoute => "no_route",
            Self::MethodNotAllowed { .. } => "method_not_allowed",
            Self::RequestTimeout => "request_timeout",
            Self::BodyTooLarge { .. } => "body_too_large",
            Self::UriTooLong => "uri_too_long",
            Self::UnsupportedMediaType { .. } => "unsupported_media_type",
            Self::HeadersTooLarge => "headers_too_large",
            Self::ProgramError { .. } => "program_error",
            Self::Poisonous => "poisonous",
            Self::Internal => "internal",
            Self::WorkerLost { .. } => "worker_lost",
            Self::BadAnswer { .. } => "bad_answer",
            Self::QueueFull { .. } => "queue_full",
            Self::QueueTimeout { .. } => "queue_timeout",
            Self::NoWorker { .. } => "no_worker",
            Self::Draining => "draining",
            Self::Timeout { .. } => "timeout",
        }
    }
}
