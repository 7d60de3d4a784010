//! What the worker says of how far its calls are.

use super::Pipes;
use crate::base::{CallId, Progress};

impl Pipes {
    /// Returns how far calls are, of which the worker has said so since the last call of this function;
    /// `None`: of none.
    pub fn take_progress(&mut self) -> Option<Vec<(CallId, Progress)>> {
        (!self.progress.is_empty()).then(|| std::mem::take(&mut self.progress))
    }

    /// Notes how far a call is. What was said of it before is forgotten, so a worker that says this
    /// again and again takes no memory.
    pub(super) fn note_progress(&mut self, call: CallId, progress: Progress) {
        match self.progress.iter_mut().find(|(known, _)| *known == call) {
            Some((_, latest)) => *latest = progress,
            None => self.progress.push((call, progress)),
        }
    }
}
