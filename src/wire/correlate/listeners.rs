//! Which call belongs to what a worker says before its answer, and the callers who listen to it.
//!
//! Pure.

use std::ops::Range;

use bytes::Bytes;

use super::{Correlator, Received};
use crate::wire::asides::{self, Subject};
use crate::wire::json_id;

impl<T: Clone> Correlator<T> {
    /// Finds the call that a notification of the worker is about. Returns `None` if it is about none
    /// whose caller listens.
    pub(super) fn said(&mut self, message: &Bytes) -> Option<Received<T>> {
        if self.calls.iter().all(|call| call.asides.is_none()) {
            return None;
        }
        let (place, text) = match asides::subject(message) {
            Subject::Progress(token) => {
                let token = token?;
                let (tag, own) = asides::token(&message[token.clone()])?;
                let place = self.place_of_tag(tag)?;
                let asides = self.calls[place].asides.as_ref()?;
                (place, asides.with_own_token(message, &token, own)?)
            }
            Subject::Withdrawn(id) => {
                let id = id?;
                let mut all = self.calls.iter_mut().enumerate();
                all.find_map(|(place, call)| {
                    Some((place, call.asides.as_mut()?.withdraw(message, &id)?))
                })?
            }
            Subject::Unnamed => (self.only_call()?, message.clone()),
        };
        Some(Received::Aside { token: self.calls[place].token.clone(), text })
    }

    /// Finds the call that a question of the worker, with the id at this place, belongs to.
    pub(super) fn asked(&mut self, message: &Bytes, id: &Range<usize>) -> Option<Received<T>> {
        let place = self.only_call()?;
        let call = &mut self.calls[place];
        let text = call.asides.as_mut()?.ask(message, id)?;
        Some(Received::Aside { token: call.token.clone(), text })
    }

    /// Returns the place of the only call that the worker can be at work on, if its caller listens.
    /// Messages that do not say which call they are about can only be about this one. A call that
    /// was cancelled, and has had no answer, may still be worked on.
    fn only_call(&self) -> Option<usize> {
        let is_only = self.calls.len() == 1 && self.cancelled.are_answered();
        (is_only && self.calls[0].asides.is_some()).then_some(0)
    }

    /// Returns true if a question of the worker with this name waits for a caller.
    pub fn has_asked(&self, name: &[u8]) -> bool {
        let mut all = self.calls.iter().filter_map(|call| call.asides.as_ref());
        all.any(|asides| asides.has_asked(name))
    }

    /// Returns the id that the worker gave to its question that a caller answers under this name.
    pub fn answer_of_caller(&mut self, name: &[u8]) -> Option<Bytes> {
        self.calls.iter_mut().find_map(|call| call.asides.as_mut()?.answered(name))
    }

    /// Returns the token that the worker gave to its question that a caller makes progress with.
    pub fn progress_of_caller(&self, name: &[u8]) -> Option<Bytes> {
        self.calls.iter().find_map(|call| call.asides.as_ref()?.progressed(name))
    }

    /// Notes that the caller of a call is told nothing from now on, except the answer.
    pub fn stop_listening(&mut self, token: &T)
    where
        T: PartialEq,
    {
        if let Some(place) = self.calls.iter().position(|call| call.token == *token) {
            self.close(place);
        }
    }

    /// Returns true if questions of the worker wait for [`Correlator::take_refusals`].
    pub fn has_refusals(&self) -> bool {
        !self.refusals.is_empty()
    }

    /// Returns the answers to questions of the worker that nobody answers any longer.
    pub fn take_refusals(&mut self) -> Vec<Bytes> {
        std::mem::take(&mut self.refusals)
    }

    pub(super) fn close(&mut self, place: usize) {
        if let Some(asides) = self.calls[place].asides.take() {
            self.refusals.extend(asides.close().map(|id| json_id::unanswerable(&id)));
        }
    }
}
