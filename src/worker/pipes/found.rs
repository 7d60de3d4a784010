//! What is found in the output of a worker.
//!
//! Pure: data.

use bytes::Bytes;

use crate::base::CallId;
use crate::wire::{MessageReader, ReadMessage, Share};

/// Numbers of messages that answered no call, since the last `take_dropped`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Notifications, which ask for nothing.
    pub notifications: u64,
    /// Questions of the worker. It was told that there is no such method.
    pub questions: u64,
    /// Answers to calls that were cancelled or given up.
    pub late: u64,
    /// Messages that cannot be answers.
    pub strays: u64,
    /// The first of those, as the log shows it, and why it is no answer.
    pub stray: Option<(String, &'static str)>,
}

impl Dropped {
    /// Returns true if there was any such message.
    pub(super) fn is_any(&self) -> bool {
        self.notifications | self.questions | self.late | self.strays != 0
    }
}

/// An answer with its call; not yet judged.
#[derive(Debug)]
pub struct Heard {
    /// The call that it answers.
    pub call: CallId,
    /// The bytes of the answer.
    pub answer: Bytes,
    /// The question of the call.
    pub question: Bytes,
    /// The answer itself showed which call it belongs to.
    pub proven: bool,
    /// Which share of the whole answer this is.
    pub share: Share,
}

/// What a look at an idle worker's output found.
#[derive(Debug, PartialEq, Eq)]
pub enum Silence {
    /// It wrote nothing, as agreed.
    Kept,
    /// It wrote this while nothing was asked.
    Broken(Bytes),
    /// It has closed its output.
    Closed,
}

/// A large message whose call is not known before all of it is read.
#[derive(Debug)]
pub struct LargeMessage {
    pub(super) message: Bytes,
    pub(super) reader: MessageReader,
}

impl LargeMessage {
    /// Reads it, which takes long.
    pub fn read(self) -> ReadMessage {
        self.reader.read(self.message)
    }
}
