//! Every way in which a call, or the request for it, can fail.
//!
//! Pure: a closed list without HTTP in it; `front::problem` maps it to statuses. The texts are
//! for callers and reveal nothing about the inside of the server. What operators need besides
//! goes to the log, where the failure is found.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Code, Conduct, Rate};

/// Why a call failed. It is cheap to clone: callers that share a run share its failure. Written
/// down, each goes by its code, so that files of an earlier version can be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// The request is malformed.
    BadRequest {
        /// What is wrong with it.
        detail: Cow<'static, str>,
    },
    /// A parameter is missing, given twice, or not of its type.
    BadParameter {
        /// Its name in the route.
        parameter: Arc<str>,
        /// What was expected, or the configured `missing` text.
        detail: Arc<str>,
    },
    /// A value holds bytes that would break the framing of the pool.
    Unsendable {
        /// The parameter that holds them, or `body`.
        parameter: Arc<str>,
        /// Which bytes, in words.
        detail: Cow<'static, str>,
    },
    /// The request has no key, or a wrong one. Which of the two is told to nobody.
    Unauthorized,
    /// The key of the request is not for this route.
    Forbidden,
    /// The request is for another host, or comes from a web page of another site.
    ForbiddenOrigin {
        /// Which of the two.
        detail: Cow<'static, str>,
    },
    /// No route matches the path.
    NoRoute,
    /// A route matches the path, but none with this method.
    MethodNotAllowed {
        /// The methods of these routes, as the `Allow` header lists them.
        allow: Arc<str>,
    },
    /// The head did not arrive within `limits.header_timeout`, or the body within
    /// `limits.body_timeout`.
    RequestTimeout,
    /// The body is longer than `limits.body`, or the question longer than `message_max`.
    BodyTooLarge {
        /// The limit, in bytes.
        limit: u64,
    },
    /// A batch has more items than its route takes.
    TooManyItems {
        /// How many it takes.
        most: u64,
    },
    /// The request's target is longer than 65,534 bytes.
    UriTooLong,
    /// The route's parameters cannot be read from a body of this type.
    UnsupportedMediaType {
        /// Which types can be read.
        detail: Cow<'static, str>,
    },
    /// The caller asks too often.
    RateLimited {
        /// How often it may; `None`: it sent wrong keys too often.
        rate: Option<Rate>,
        /// When it may again.
        retry_after: Duration,
    },
    /// The caller has as many calls at once as it may.
    TooManyCalls {
        /// How many.
        most: u32,
    },
    /// The head is larger than `limits.header`, or has too many fields.
    HeadersTooLarge,
    /// The program reported an error (the `error` pattern matched).
    ProgramError {
        /// `error_status` of the pool.
        status: u16,
        /// The pattern's `{message}`.
        message: Arc<str>,
    },
    /// The caller cancelled the call by a message of its protocol.
    Cancelled,
    /// The question has ended several workers and is refused for a while.
    Poisonous,
    /// A fault of the server.
    Internal,
    /// The worker ended before it answered.
    WorkerLost {
        /// How it ended, in words: `exit code 1`, `signal 9`.
        exit: Arc<str>,
    },
    /// The worker wrote something that is not an answer of the configured shape.
    BadAnswer {
        /// What is wrong with it.
        detail: Arc<str>,
    },
    /// The queue had no room.
    QueueFull {
        /// Which limit was reached, with its value.
        detail: Arc<str>,
        /// When trying again is likely to help.
        retry_after: Duration,
    },
    /// No worker was free within `queue.wait`.
    QueueTimeout {
        /// How long the call waited.
        waited: Duration,
        /// When trying again is likely to help.
        retry_after: Duration,
    },
    /// The pool has no worker that takes calls, and cannot start one now.
    NoWorker {
        /// The text after `no worker is ready,`.
        why: Arc<str>,
        /// When the next start is tried.
        retry_after: Duration,
    },
    /// The memory for requests and answers is in use.
    Busy,
    /// The server is stopping.
    Draining,
    /// The program did not answer in time.
    Timeout {
        /// The time limit that passed.
        after: Duration,
        /// What the program was seen to do, if it was looked at.
        conduct: Option<Conduct>,
    },
    /// The time of a whole batch, which its caller chose, is over.
    BatchTimeout {
        /// The time that has passed.
        after: Duration,
    },
    /// The server ended while a job ran, and does not begin it again.
    ServerEnded,
    /// No more jobs are accepted now.
    JobsFull {
        /// Which limit was reached, with its value.
        detail: Arc<str>,
        /// When trying again may help.
        retry_after: Duration,
    },
    /// The file of the jobs cannot be read or written now.
    StoreFailed,
    /// There is no job of this name for this caller.
    NoJob,
    /// The job has no answer yet.
    NotEnded,
    /// The caller has asked something else under the same `Idempotency-Key`.
    KeyReused,
    /// The job was canceled, so it has no answer.
    #[serde(rename = "canceled")]
    JobCanceled,
}

impl Failure {
    /// Says what is wrong with an argument: `must be a number`, or `[2].x must be a number` if
    /// that is inside of it.
    pub fn bad_argument(name: &str, why: &str) -> Self {
        let (place, why) = match why.split_once(' ') {
            Some((place, rest)) if why.starts_with(['.', '[']) => (place, rest),
            _ => ("", why),
        };
        let detail = format!("`{name}{place}` {why}").into();
        Self::BadParameter { parameter: name.into(), detail }
    }

    /// Returns the code of this failure.
    pub fn code(&self) -> Code {
        match self {
            Self::BadRequest { .. } => Code::BadRequest,
            Self::BadParameter { .. } => Code::BadParameter,
            Self::Unsendable { .. } => Code::Unsendable,
            Self::Unauthorized => Code::Unauthorized,
            Self::Forbidden => Code::Forbidden,
            Self::ForbiddenOrigin { .. } => Code::ForbiddenOrigin,
            Self::NoRoute => Code::NoRoute,
            Self::MethodNotAllowed { .. } => Code::MethodNotAllowed,
            Self::RequestTimeout => Code::RequestTimeout,
            Self::BodyTooLarge { .. } => Code::BodyTooLarge,
            Self::TooManyItems { .. } => Code::TooManyItems,
            Self::UriTooLong => Code::UriTooLong,
            Self::UnsupportedMediaType { .. } => Code::UnsupportedMediaType,
            Self::RateLimited { .. } => Code::RateLimited,
            Self::TooManyCalls { .. } => Code::TooManyCalls,
            Self::HeadersTooLarge => Code::HeadersTooLarge,
            Self::ProgramError { .. } => Code::ProgramError,
            Self::Cancelled => Code::Cancelled,
            Self::Poisonous => Code::Poisonous,
            Self::Internal => Code::Internal,
            Self::WorkerLost { .. } | Self::ServerEnded => Code::WorkerLost,
            Self::BadAnswer { .. } => Code::BadAnswer,
            Self::QueueFull { .. } => Code::QueueFull,
            Self::QueueTimeout { .. } => Code::QueueTimeout,
            Self::NoWorker { .. } => Code::NoWorker,
            Self::Busy => Code::Busy,
            Self::Draining => Code::Draining,
            Self::Timeout { .. } | Self::BatchTimeout { .. } => Code::Timeout,
            Self::JobsFull { .. } => Code::JobsFull,
            Self::StoreFailed => Code::StoreFailed,
            Self::NoJob => Code::NoJob,
            Self::NotEnded => Code::NotEnded,
            Self::KeyReused => Code::KeyReused,
            Self::JobCanceled => Code::JobCanceled,
        }
    }
}

#[cfg(test)]
impl Failure {
    /// Makes a failure of this code, with made-up details.
    pub(crate) fn sample(code: Code) -> Self {
        let retry_after = Duration::from_millis(2100);
        let waited = Duration::from_secs(5);
        match code {
            Code::BadRequest => Self::BadRequest { detail: "x".into() },
            Code::BadParameter => Self::BadParameter { parameter: "n".into(), detail: "x".into() },
            Code::Unsendable => {
                Self::Unsendable { parameter: "n".into(), detail: "a NUL byte".into() }
            }
            Code::Unauthorized => Self::Unauthorized,
            Code::Forbidden => Self::Forbidden,
            Code::ForbiddenOrigin => Self::ForbiddenOrigin { detail: "x".into() },
            Code::NoRoute => Self::NoRoute,
            Code::MethodNotAllowed => Self::MethodNotAllowed { allow: "GET".into() },
            Code::RequestTimeout => Self::RequestTimeout,
            Code::BodyTooLarge => Self::BodyTooLarge { limit: 16 },
            Code::TooManyItems => Self::TooManyItems { most: 1000 },
            Code::UriTooLong => Self::UriTooLong,
            Code::UnsupportedMediaType => Self::UnsupportedMediaType { detail: "x".into() },
            Code::RateLimited => Self::RateLimited { rate: "100/1m".parse().ok(), retry_after },
            Code::TooManyCalls => Self::TooManyCalls { most: 4 },
            Code::HeadersTooLarge => Self::HeadersTooLarge,
            Code::ProgramError => Self::ProgramError { status: 418, message: "x".into() },
            Code::Cancelled => Self::Cancelled,
            Code::Poisonous => Self::Poisonous,
            Code::Internal => Self::Internal,
            Code::WorkerLost => Self::WorkerLost { exit: "exit code 1".into() },
            Code::BadAnswer => Self::BadAnswer { detail: "x".into() },
            Code::QueueFull => Self::QueueFull { detail: "x".into(), retry_after },
            Code::QueueTimeout => Self::QueueTimeout { waited, retry_after },
            Code::NoWorker => Self::NoWorker { why: "x".into(), retry_after },
            Code::Busy => Self::Busy,
            Code::Draining => Self::Draining,
            Code::Timeout => Self::Timeout { after: waited, conduct: Some(Conduct::Silent) },
            Code::JobsFull => Self::JobsFull { detail: "x".into(), retry_after },
            Code::StoreFailed => Self::StoreFailed,
            Code::NoJob => Self::NoJob,
            Code::NotEnded => Self::NotEnded,
            Code::KeyReused => Self::KeyReused,
            Code::JobCanceled => Self::JobCanceled,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_failure() {
        for code in Code::ALL {
            assert_eq!(Failure::sample(code).code(), code);
        }
    }
}
