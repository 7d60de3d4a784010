//! What a request is answered with, before it is a response.

use std::cell::RefCell;
use std::sync::Arc;

use bytes::Bytes;

use super::batch::lines::BatchBody;
use super::docs::ShownBody;
use super::heading::Headings;
use super::job_said::JobSaid;
use crate::base::{Failure, ReplyForm, Timing};
use crate::call::{Answer, CacheUse};
use crate::observe::metrics::CacheResult;
use crate::sync::memory::{Exhausted, Memory, SMALL};

/// What a request is answered with. Numbers are indices of routes. What is rare is in a box, because
/// each of these is moved about.
#[derive(Debug)]
pub(super) enum Said {
    /// The methods of the path, and the route that a preflight asks about.
    Options(Arc<str>, Option<usize>),
    Text(usize),
    Answer(usize, Answer),
    /// The answers to a batch.
    Batch(usize, Bytes, Timing),
    /// The outcomes of many items follow as they end.
    Items(usize, RefCell<Option<Box<BatchBody>>>),
    /// Passed on; there is no answer.
    Accepted(usize),
    /// What can be asked.
    Docs(Box<ShownBody>),
    /// What became of a job.
    Job(Option<usize>, Box<JobSaid>),
    /// The answer of a job, and the beginning of its response.
    Kept(Option<usize>, Box<(Answer, Arc<Headings>)>),
    Failure(Option<usize>, Failure),
}

/// Returns what the metrics call a use of the cache.
pub(super) fn result_of(cache: &CacheUse) -> CacheResult {
    match cache {
        CacheUse::Hit(_) | CacheUse::SharedHit(_) => CacheResult::Hit,
        CacheUse::Miss(_) => CacheResult::Miss,
        CacheUse::Collapsed(_) | CacheUse::SharedRun(_) => CacheResult::Collapsed,
    }
}

impl Said {
    /// Counts the bytes of an answer until they are sent; without room for them the answer is
    /// `busy`. A kept answer is counted once, however many read it: the cache may drop it while
    /// they still do.
    pub(super) fn hold(&mut self, memory: &Arc<Memory>) {
        match self {
            Self::Answer(_, Answer { result, cache, .. }) => {
                if let Ok(reply) = result {
                    let held = match (&reply.form, cache.as_ref().and_then(CacheUse::stored)) {
                        (ReplyForm::Parts(_, parts), _) => {
                            parts.count_in(memory.reservation()).map(|()| Bytes::new())
                        }
                        // Such a piece is not counted.
                        _ if reply.body.len() <= SMALL => return,
                        (_, Some(stored)) => memory.lend(&stored.lent, &stored.reply.body),
                        (_, None) => memory.hold(std::mem::take(&mut reply.body)),
                    };
                    match held {
                        Ok(body) => reply.body = body,
                        Err(Exhausted) => *result = Err(Failure::Busy),
                    }
                }
            }
            Self::Batch(index, replies, _) => match memory.hold(std::mem::take(replies)) {
                Ok(body) => *replies = body,
                Err(Exhausted) => *self = Self::Failure(Some(*index), Failure::Busy),
            },
            Self::Options(..)
            | Self::Text(_)
            | Self::Items(..)
            | Self::Accepted(_)
            | Self::Docs(_)
            | Self::Job(..)
            // Its bytes were counted before they were read.
            | Self::Kept(..)
            | Self::Failure(..) => {}
        }
    }

    /// Returns what the call cost, if there was one.
    pub(super) fn call(&self) -> Option<Timing> {
        match self {
            Self::Answer(
                _,
                Answer { cache: Some(CacheUse::Hit(_) | CacheUse::SharedHit(_)), .. },
            ) => None,
            Self::Answer(_, answer) => Some(answer.timing),
            Self::Batch(_, _, timing) => Some(*timing),
            _ => None,
        }
    }

    /// Returns true if all is known that the log says of the request. A batch has its line at its end.
    pub(super) fn has_ended(&self) -> bool {
        !matches!(self, Self::Items(..))
    }

    /// Returns the route of the request, if it has one.
    pub(super) fn route(&self) -> Option<usize> {
        match self {
            Self::Options(_, index)
            | Self::Failure(index, _)
            | Self::Job(index, _)
            | Self::Kept(index, _) => *index,
            Self::Docs(_) => None,
            Self::Text(index)
            | Self::Answer(index, _)
            | Self::Batch(index, ..)
            | Self::Items(index, _)
            | Self::Accepted(index) => Some(*index),
        }
    }

    pub(super) fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Failure(_, failure) => Some(failure),
            Self::Answer(_, answer) => answer.result.as_ref().err(),
            Self::Kept(_, kept) => kept.0.result.as_ref().err(),
            Self::Job(..)
            | Self::Options(..)
            | Self::Text(_)
            | Self::Batch(..)
            | Self::Items(..)
            | Self::Accepted(_)
            | Self::Docs(_) => None,
        }
    }
}
