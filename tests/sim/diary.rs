//! What happens under a seed, in words: to be read, or as a digest to be compared.

use std::cell::RefCell;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Instant;

use httpipe::testing::pool::actions::Action;

use super::model::Serial;

/// Notes what happens.
#[derive(Debug)]
pub(crate) struct Diary {
    began: Instant,
    is_shown: bool,
    /// `None` if nobody compares it.
    digest: Option<RefCell<DefaultHasher>>,
}

impl Diary {
    pub(crate) fn new(began: Instant, is_shown: bool) -> Self {
        Self { began, is_shown, digest: None }
    }

    /// Makes a digest from now on.
    pub(crate) fn compare(&mut self) {
        self.digest = Some(RefCell::default());
    }

    /// A digest of the events and of the decisions, each with its time.
    pub(crate) fn digest(&self) -> Option<u64> {
        self.digest.as_ref().map(|digest| digest.borrow().finish())
    }

    pub(crate) fn note(&self, step: u64, now: Instant, what: impl FnOnce() -> String) {
        if !self.is_shown && self.digest.is_none() {
            return;
        }
        let (at, what) = (now - self.began, what());
        if self.is_shown {
            eprintln!("{step:>6} {:>12.6} {what}", at.as_secs_f64());
        }
        if let Some(digest) = &self.digest {
            (at, what).hash(&mut *digest.borrow_mut());
        }
    }
}

/// A decision in words, without times that differ from run to run.
pub(crate) fn decided(action: &Action<Serial>) -> String {
    match action {
        Action::Fail(ended, failure) => {
            format!("       -> Fail {} {:?} {failure:?}", ended.payload, ended.timing)
        }
        _ => format!("       -> {action:?}"),
    }
}
