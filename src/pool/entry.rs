//! What the pool keeps with each call: the question, and where the outcome goes.

use std::cell::{OnceCell, RefCell};
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::rc::Rc;
use std::sync::Arc;

use memchr::memmem;
use tokio::sync::watch;

use super::outbox::Outbox;
use super::terms::Terms;
use crate::base::{Call, Failure, Outcome, OwnName, PartSender, Progress, Question, Reply, Timing};
use crate::observe::metrics::{CallOutcome, RouteMetrics};
use crate::policy::Fingerprint;
use crate::sync::at_once::Hold;
use crate::wire::Refused;

/// What the books keep with each call. Its caller has the same, to find the outcome in it.
pub(super) type Payload = Rc<Entry>;

/// What the pool keeps with each call.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) question: Question,
    pub(super) outbox: Outbox,
    pub(super) route: Arc<RouteMetrics>,
    pub(super) progress: RefCell<Delivery>,
    /// Where its progress goes; empty until there is some that its caller is told.
    pub(super) shown: OnceCell<watch::Sender<Progress>>,
    /// The name by which the caller may cancel the call.
    pub(super) own_name: Option<Box<OwnName>>,
    /// The call counts as one of its caller's as long as it is in the books.
    hold: RefCell<Option<Hold>>,
    /// What a background call needs to begin; `None` for the call of a caller.
    pub(super) terms: Option<Box<Terms>>,
}

/// How much of its answer the caller of one call has got.
#[derive(Debug, Default)]
pub(super) enum Delivery {
    /// Nothing.
    #[default]
    Before,
    /// Parts of the answer, and further ones go here.
    Open(PartSender),
    /// The failure of a part. The rest of the answer is dropped.
    Failed(Failure),
    /// Another outcome. The answer is dropped.
    Unwanted,
}

impl Entry {
    /// The entry of a call, which takes its question, its name and its hold out of it. `terms` are those
    /// of a background call.
    pub(super) fn of(call: &mut Call, route: Arc<RouteMetrics>, terms: Option<Terms>) -> Payload {
        let question = std::mem::take(&mut call.question);
        Self::new(question, call.own_name.take(), route, call.hold.take(), terms)
    }

    /// The entry of a question that keeps this hold until its call has left the books.
    #[inline]
    pub(super) fn new(
        question: Question,
        own_name: Option<Box<OwnName>>,
        route: Arc<RouteMetrics>,
        hold: Option<Hold>,
        terms: Option<Terms>,
    ) -> Payload {
        Rc::new(Self {
            question,
            outbox: Outbox::default(),
            route,
            progress: RefCell::default(),
            shown: OnceCell::new(),
            own_name,
            hold: RefCell::new(hold),
            terms: terms.map(Box::new),
        })
    }

    /// Notes that the call has left the books. Its caller may still have to take the outcome.
    pub(super) fn has_left(&self) {
        self.hold.take();
    }

    /// Fails a call that never got into the books.
    pub(super) fn refuse(&self, failure: Failure) {
        self.has_left();
        self.route.call(CallOutcome::Failed(failure.code()));
        self.outbox.put(Outcome { result: Err(failure), timing: Timing::default() });
    }

    /// Returns true if any part of the answer was seen. Then no other worker may answer it.
    pub(super) fn has_begun(&self) -> bool {
        !matches!(&*self.progress.borrow(), Delivery::Before)
    }

    /// Ends the parts, if there are any, with the result of the call. Returns the failure if the
    /// caller was told one already.
    pub(super) fn close(&self, result: &Result<Reply, Failure>) -> Option<Failure> {
        match self.progress.take() {
            Delivery::Open(sender) => {
                // An answer that came whole is the last of what its caller is told.
                if let Ok(reply) = result.as_ref()
                    && !reply.body.is_empty()
                {
                    sender.push(reply.body.clone());
                }
                sender.finish(result.as_ref().map(drop).map_err(Clone::clone));
                None
            }
            Delivery::Failed(failure) => Some(failure),
            Delivery::Before | Delivery::Unwanted => None,
        }
    }
}

/// Returns a function that tells questions apart by a hash. Its key is drawn at random, so nobody
/// can make a question that is taken for another, or learn a question from its fingerprint.
pub(super) fn fingerprints() -> impl Fn(&Payload) -> Fingerprint {
    let key = RandomState::new();
    move |entry| fingerprint(&key, &entry.question)
}

/// Hashes a question without its nonce and the kept answers in it, which differ from call to call.
/// The pieces around them are hashed each after its length, so that no text can pass for a nonce.
fn fingerprint(key: &RandomState, question: &Question) -> Fingerprint {
    let mut hasher = key.build_hasher();
    let mut piece = |text: &[u8]| {
        hasher.write_usize(text.len());
        hasher.write(text);
    };
    let mut without_nonce = |mut rest: &[u8]| {
        if let Some(nonce) = question.nonce.as_ref().filter(|nonce| !nonce.is_empty()) {
            while let Some(place) = memmem::find(rest, nonce) {
                piece(&rest[..place]);
                rest = &rest[place + nonce.len()..];
            }
        }
        piece(rest);
    };
    let text = &question.text;
    match &question.kept {
        None => without_nonce(text),
        Some(kept) => [&text[..kept.start], &text[kept.end..]].into_iter().for_each(without_nonce),
    }
    Fingerprint(hasher.finish())
}

/// Returns the failure of a call whose question the framing refused.
pub(super) fn unsendable(refused: &Refused) -> Failure {
    match refused {
        Refused::TooLong(too_long) => Failure::BodyTooLarge { limit: too_long.limit as u64 },
        Refused::Unfit(detail) => Failure::BadRequest { detail: (*detail).into() },
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn a_fingerprint_leaves_out_the_nonce_and_shows_where_it_stood() {
        let key = RandomState::new();
        let of = |text: &'static [u8], nonce: &'static [u8]| {
            let nonce = Some(nonce.into()).filter(|nonce: &Bytes| !nonce.is_empty());
            fingerprint(&key, &Question { nonce, ..Question::plain(Bytes::from_static(text)) })
        };
        assert_eq!(of(b"N1 a N1 b", b"N1"), of(b"N22 a N22 b", b"N22"));
        assert_ne!(of(b"N1 a N1 b", b"N1"), of(b"N1 a b N1", b"N1"));
        for other in [&b"\xff a N1 b"[..], b"N1 a \xff b", b"N1 a  b", b" a N1 b"] {
            assert_ne!(of(b"N1 a N1 b", b"N1"), of(other, b"N1"));
        }
        assert_ne!(of(b"\xff", b""), of(b"N1", b"N1"));
    }

    #[test]
    fn a_fingerprint_leaves_out_what_was_known_already() {
        let key = RandomState::new();
        let of = |text: &'static str, object: &[u8]| {
            let kept = Some(Box::new(2..4));
            let mut question = Question { kept, ..Question::plain(text) };
            question.tell_kept(object);
            fingerprint(&key, &question)
        };
        assert_eq!(of("7 {} x", b"{}"), of("7 {} x", br#"{"1":2}"#));
        assert_ne!(of("7 {} x", b"{}"), of("8 {} x", b"{}"));
        assert_ne!(of("7 {} x", b"{}"), of("7 {} y", b"{}"));
        assert_ne!(of("7 {} x", b"{}"), fingerprint(&key, &Question::plain("7 {} x")));
    }
}
