//! A call and what comes back: what every room between HTTP and a worker hands on.
//!
//! Pure: data only.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{Failure, RouteId};
use crate::sync::parts;

/// The text of one question, before framing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The rendered `send` template, without the end that the framing adds.
    pub text: Bytes,
    /// What `{nonce}` was rendered to; `None` where the route's `send` does not use it.
    /// An `until:` framing that holds `{nonce}` looks for this text.
    pub nonce: Option<Bytes>,
}

impl Question {
    /// A question without a nonce.
    pub fn plain(text: impl Into<Bytes>) -> Self {
        Self { text: text.into(), nonce: None }
    }
}

/// One question to a pool, with what the pool must know to treat it rightly.
#[derive(Clone, Debug)]
pub struct Call {
    /// The route it came by; metrics are counted under it.
    pub route: RouteId,
    /// What is asked.
    pub question: Question,
    /// May it run twice? Only such a call is retried, sent ahead or rescued.
    pub idempotent: bool,
    /// When its caller stops waiting (`X-Timeout`), over everything; `None`: when the pool says.
    pub caller_deadline: Option<Instant>,
}

/// A successful answer, judged and shaped: nothing is left to check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// What the response's body will be.
    pub body: Bytes,
    /// What kind of body it is.
    pub form: ReplyForm,
}

impl Reply {
    /// Would it do for others who ask the same later? Not where the program itself says that it
    /// failed, nor where it says that nothing has changed, which is for one caller only.
    pub fn may_be_kept(&self) -> bool {
        match &self.form {
            ReplyForm::Http { status, .. } => *status < 400 && *status != 304,
            ReplyForm::Plain | ReplyForm::Json => true,
            ReplyForm::Parts(..) => false,
        }
    }
}

/// What the bytes of a [`Reply`] are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplyForm {
    /// The answer as the program wrote it; the route says its content type.
    Plain,
    /// A JSON document: captures of a `reply` pattern, or `reply = "json"`.
    Json,
    /// `reply = "http"`: the program chose status and headers. Both were checked: the status is
    /// from 200 to 599, no header is hop-by-hop, a length, or holds a control character.
    Http {
        /// The status code.
        status: u16,
        /// Names in lower case, with their values.
        headers: Vec<(String, String)>,
    },
    /// The answer comes in parts, of which at least one is there; `body` is empty.
    Parts(PartForm, Parts),
}

/// What the parts of an answer are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartForm {
    /// Bytes as the program wrote them; the route says their content type.
    Plain,
    /// Each is a JSON document.
    Json,
}

/// The parts of one answer, for its caller. Dropping the last clone means that the caller has
/// left.
pub type Parts = parts::Parts<Failure>;

/// The worker's end of [`Parts`].
pub type PartSender = parts::Sender<Failure>;

/// Tells a worker whether the caller of [`Parts`] keeps up.
pub type PartGate = parts::Gate<Failure>;

/// Makes the two ends of an answer in parts; the worker is held back beyond `limit` bytes.
pub fn answer_in_parts(limit: usize) -> (PartSender, Parts) {
    parts::channel(limit, Failure::Internal)
}

/// How long one call waited and worked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    /// From acceptance to the last hand-over to a worker.
    pub queue: Duration,
    /// From that hand-over to the answer or failure.
    pub work: Duration,
}

/// How one call ended, or that its parts have begun to come. There is exactly one for each
/// accepted call.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The answer, or why there is none.
    pub result: Result<Reply, Failure>,
    /// What it cost.
    pub timing: Timing,
}
