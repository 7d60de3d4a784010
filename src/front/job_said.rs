//! What the answer to a request about a job is made of.
//!
//! Pure: data only.

use bytes::Bytes;
use http::StatusCode;
use http::header::{HeaderName, HeaderValue};

use super::parts::PartsBody;

/// What the answer to a request about a job is made of.
#[derive(Debug)]
pub(super) struct JobSaid {
    pub(super) status: StatusCode,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) body: JobBody,
}

/// The body of that answer.
#[derive(Clone, Debug)]
pub(super) enum JobBody {
    /// It is there.
    Whole(Bytes),
    /// It comes with each change.
    Events(PartsBody),
}
