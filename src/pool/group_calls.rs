//! Asks a worker the questions of several calls as one, and answers them all (`batch`).
//!
//! The link of a worker keeps the calls of its group in the order of their questions. Their answers
//! are handed out together, or none of them is.

use std::rc::Rc;
use std::time::Instant;

use super::Pool;
use super::actions::Loss;
use super::entry::unsendable;
use super::links::Link;
use crate::base::{CallId, ExitReason, Failure, Question, WorkerId};
use crate::config::GroupShape;
use crate::wire::{Share, group};
use crate::worker::pipes::{Heard, OutOfStep, Silence, shown};
use crate::worker::turn::NoAnswer;

impl Pool {
    /// Gives a group of calls to a worker. Returns false if any of them was not given, and the books
    /// may have changed. A worker that was idle must not have written anything until this moment.
    pub(super) fn give_group(&self, now: Instant, worker: WorkerId, calls: Vec<CallId>) -> bool {
        let (Some(link), Some(shape)) = (self.links.get(worker), self.answers.group) else {
            return false;
        };
        let mut pipes = link.pipes.borrow_mut();
        let Some(pipes) = pipes.as_mut() else { return false };
        let waits = link.turns.get().is_some_and(|turns| turns.is_seen_waiting(now));
        let silence = if waits { Silence::Kept } else { pipes.silence() };
        if silence != Silence::Kept {
            self.unasked_before(now, &link, pipes, silence);
            return false;
        }
        let count = calls.len();
        let (calls, question) = self.fit_together(now, worker, shape, calls);
        let Some(first) = calls.first().copied() else { return false };
        let asked = match link.turns.get() {
            Some(turns) => turns.ask(now, pipes, first, &question),
            None => pipes.ask(first, &question),
        };
        if let Err(refused) = asked {
            for call in calls {
                self.refuse_in_worker(now, worker, call, unsendable(&refused));
            }
            return false;
        }
        self.metrics.gave_together(calls.len());
        let is_whole = calls.len() == count;
        link.group.replace(calls);
        link.wake();
        is_whole
    }

    /// Returns the calls of a group whose questions can go together, and their question. The others
    /// end.
    fn fit_together(
        &self,
        now: Instant,
        worker: WorkerId,
        shape: GroupShape,
        mut calls: Vec<CallId>,
    ) -> (Vec<CallId>, Question) {
        let text_of = |call: CallId| {
            let state = self.state.borrow();
            state.payload(call).map(|entry| entry.question.text.clone())
        };
        let mut texts = Vec::with_capacity(calls.len());
        calls.retain(|call| {
            let Some(text) = text_of(*call) else { return false };
            // Requests were checked, and jobs may have been asked of another program.
            if let Some(why) = group::unfit(shape, &text) {
                let failure = Failure::BadRequest { detail: why.into() };
                self.refuse_in_worker(now, worker, *call, failure);
                return false;
            }
            texts.push(text);
            true
        });
        let joined = group::join(shape, texts.iter().map(|text| &text[..]));
        (calls, Question::plain(joined))
    }

    /// Ends a call that could not be given to the worker that holds it.
    pub(super) fn refuse_in_worker(
        &self,
        now: Instant,
        worker: WorkerId,
        call: CallId,
        why: Failure,
    ) {
        let ended = self.state.borrow_mut().withdrawn(now, worker, call);
        self.refuse_given(ended, why);
    }

    /// Answers the calls of a group.
    ///
    /// # Errors
    ///
    /// Why none of them is answered: the worker did not answer each, or an answer may belong to
    /// another call.
    pub(super) async fn answer_group(
        self: &Rc<Self>,
        now: &mut Instant,
        link: &Link,
        heard: Heard,
    ) -> Result<(), String> {
        let Some(shape) = self.answers.group else { return Ok(()) };
        let calls = link.group.borrow().clone();
        let answers = group::split(shape, &heard.answer, calls.len()).inspect_err(|why| {
            self.report_bad_answer(link, why, &shown(&heard.answer), heard.question.len(), "");
        })?;
        let mut judged = Vec::with_capacity(calls.len());
        for (call, answer) in calls.into_iter().zip(answers) {
            let text = self.state.borrow().payload(call).map(|entry| entry.question.text.clone());
            let question = text.unwrap_or_default();
            if answer.len() > self.answers.most {
                let most = self.answers.most;
                let detail = format!("an answer longer than {most} bytes (`message_max`)");
                self.report_bad_answer(link, &detail, &shown(&answer), question.len(), "");
                judged.push((call, (false, Err(Failure::BadAnswer { detail: detail.into() }))));
                continue;
            }
            let heard = Heard { call, answer, question, proven: heard.proven, share: Share::Whole };
            judged.push((call, self.judge(now, link, heard).await?));
        }
        link.group.borrow_mut().clear();
        for (call, (good, result)) in judged {
            let ended = self.state.borrow_mut().answered(*now, link.worker, call, good);
            if let Some(ended) = ended {
                self.finish(ended, result);
            }
        }
        Ok(())
    }

    /// Ends the turn of a worker with a group. Returns a reason if the worker must be stopped: after
    /// anything but one good answer, nobody knows which of its calls was the cause.
    pub(super) async fn end_group_turn(
        self: &Rc<Self>,
        now: &mut Instant,
        link: &Link,
        first: CallId,
        paired: Result<Result<Heard, OutOfStep>, NoAnswer>,
    ) -> Option<ExitReason> {
        let detail = match paired {
            Ok(Ok(heard)) => self.answer_group(now, link, heard).await.err()?,
            Ok(Err(out)) => out.detail,
            Err(no_answer) => self.report_no_answer(link, first, no_answer),
        };
        link.note(detail.clone());
        let calls = link.group_size().max(1);
        let loss = Loss::BadAnswer { detail: detail.into(), calls };
        self.state.borrow_mut().lose(*now, link.worker, &loss, 0);
        Some(ExitReason::BadAnswer)
    }
}
