//! What is kept of a worker while it lives, for its record if it is lost.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::observe::tap::Recorder;
use crate::worker::pipes::Pipes;
use crate::worker::usage;

/// What is kept of a worker while it lives, for its record.
#[derive(Debug, Default)]
pub(super) struct Traces {
    contents: RefCell<Option<Rc<Recorder>>>,
    left: Cell<Left>,
}

/// What a worker left behind.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Left {
    /// How many bytes of questions it had not read; `None` while that was not noted.
    pub(super) unread: Option<u64>,
    /// How many bytes it had written that are no whole message.
    pub(super) half_said: u64,
    /// How many bytes of memory it had, if it had not ended.
    pub(super) memory: Option<u64>,
}

impl Traces {
    /// Keeps this many exchanges from now on.
    pub(super) fn keep(&self, exchanges: usize) {
        let mut contents = self.contents.borrow_mut();
        if exchanges == 0 {
            *contents = None;
        } else {
            contents.get_or_insert_default().keep(exchanges);
        }
    }

    /// Returns where exchanges are kept, if any are.
    pub(super) fn contents(&self) -> Option<Rc<Recorder>> {
        self.contents.borrow().clone()
    }

    /// Notes what is in the pipes of a worker that is about to be let go. What was noted first
    /// stands.
    pub(super) fn note_pipes(&self, pipes: &Pipes) {
        let left = self.left.get();
        if left.unread.is_none() {
            let (unread, half_said) = (Some(pipes.unread_bytes()), pipes.half_said_bytes());
            self.left.set(Left { unread, half_said, ..left });
        }
    }

    /// Notes how much memory the process has, if it has not ended.
    pub(super) fn note_memory(&self, process: u32) {
        let memory = usage::of(process).ok().map(|used| used.memory.0);
        let memory = memory.filter(|memory| *memory > 0);
        self.left.set(Left { memory, ..self.left.get() });
    }

    /// Returns what it left behind, as far as that was noted.
    pub(super) fn left(&self) -> Left {
        self.left.get()
    }
}
