//! What a worker held when it was lost.
//!
//! Pure: data only.

use std::time::Duration;

use crate::base::CallId;
use crate::policy::Fingerprint;

/// A call that was in a worker when the worker was lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inside {
    /// The call.
    pub call: CallId,
    /// The match text of its route.
    pub route: String,
    /// How long it had been in the worker.
    pub since: Duration,
    /// Bytes of its question.
    pub bytes: usize,
    /// How many workers it had cost before.
    pub retries: u32,
    /// Its caller had left, or another worker had answered it.
    pub abandoned: bool,
    /// The worker had not read it.
    pub unread: bool,
    /// The fingerprint of its question, where it is known or soon made.
    pub question: Option<Fingerprint>,
}

/// The calls that a worker held when it was lost.
#[derive(Clone, Debug, Default)]
pub(super) struct Insides {
    pub(super) calls: Vec<Inside>,
    pub(super) more: usize,
}

/// What the books say of a worker that was lost.
#[derive(Clone, Debug)]
pub struct LostWorker {
    /// The calls that it held, oldest first.
    pub inside: Vec<Inside>,
    /// How many more calls it held.
    pub inside_more: usize,
    /// How many answers it still owed to calls that had been given up.
    pub given_up: usize,
    /// How many calls it was given.
    pub calls: u64,
    /// How long it lived.
    pub age: Duration,
}
