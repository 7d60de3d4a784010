//! Who hears what goes through the pipes of a worker.
//!
//! Pure: what is done with it is decided elsewhere.

use std::fmt;

use crate::base::CallId;
use crate::config::WireSettings;

/// How the call of an answer was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FoundBy {
    /// The answer itself shows it.
    Proof,
    /// It came in the turn of this call.
    Turn,
    /// It came in this order, and nothing proves it.
    Order,
}

impl FoundBy {
    /// Returns how the calls of answers are found on this wire.
    pub fn of(wire: &WireSettings) -> Self {
        if wire.proves_question() {
            Self::Proof
        } else if wire.takes_turns || wire.ends_with_answer() {
            Self::Turn
        } else {
            Self::Order
        }
    }

    /// Returns the word for it in the events of `/tap`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Proof => "proof",
            Self::Turn => "turn",
            Self::Order => "order",
        }
    }
}

/// Why a message answers no call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StrayReason {
    /// Nothing was asked.
    Unasked,
    /// The protocol lets the worker write it: a notification, or a question of its own.
    Aside,
    /// Nobody waits for the answer any longer.
    Late,
    /// It cannot be the answer that is due.
    Mismatch,
}

impl StrayReason {
    /// Returns the word for it in the events of `/tap`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Unasked => "unasked",
            Self::Aside => "aside",
            Self::Late => "late",
            Self::Mismatch => "mismatch",
        }
    }
}

/// Hears what goes through the pipes of one worker. It copies what it wants to keep, and returns
/// soon.
pub trait WireListener: fmt::Debug {
    /// These bytes were written to the worker. `call` is the first call whose question begins in
    /// them.
    fn wrote(&self, bytes: &[u8], call: Option<CallId>);

    /// These bytes were read from the worker, as they came.
    fn read(&self, bytes: &[u8]);

    /// This message was cut from them, and answers this call, as this shows.
    fn cut(&self, message: &[u8], call: CallId, by: FoundBy);

    /// This was cut from them, and answers no call for this reason.
    fn stray(&self, message: &[u8], why: StrayReason);
}
