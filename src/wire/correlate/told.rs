//! Which call belongs to what a worker says of how far it is.
//!
//! Pure.

use bytes::Bytes;

use super::{Correlator, Received};
use crate::config::ProgressShape;
use crate::wire::{echo, progress};

impl<T: Clone> Correlator<T> {
    /// Takes messages of this shape for progress.
    #[must_use]
    pub fn telling(self, shape: ProgressShape) -> Self {
        Self { progress: Some(shape), ..self }
    }

    /// Returns how far a call is, if this message about the call at this place says so.
    pub(super) fn told(&self, place: usize, text: &[u8]) -> Option<Received<T>> {
        let call = &self.calls[place];
        let progress = progress::read(self.progress.as_ref()?, &call.question, text)?;
        if call.is_given_up {
            return Some(Received::Late { ended: None });
        }
        Some(Received::Progress { token: call.token.clone(), progress })
    }

    /// Returns how far the oldest call is, if this message about it says so.
    pub fn told_of_oldest(&self, message: &[u8]) -> Option<Received<T>> {
        if self.calls.is_empty() { None } else { self.told(0, message) }
    }

    /// Finds the call whose question this message repeats, if it says how far that call is.
    pub(super) fn told_by_echo<'a>(
        &self,
        questions: &(impl Iterator<Item = &'a Bytes> + Clone),
        message: &Bytes,
    ) -> Option<Received<T>> {
        let pattern = progress::echoing(self.progress.as_ref()?)?;
        let place = echo::find(questions, std::slice::from_ref(pattern), message).ok()?;
        self.told(self.wanted_first(place), message)
    }
}
