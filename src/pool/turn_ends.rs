//! What a pool does with the turns of its workers: reads what is written in them, looks whether
//! they are over, and answers their calls.

use std::rc::Rc;
use std::time::Instant;

use bytes::Bytes;

use super::Pool;
use super::actions::Loss;
use super::entry::{Delivery, unsendable};
use super::links::Link;
use super::turns::{EndedTurn, REST_EVERY, Turns};
use crate::base::{CallId, ExitReason, Failure, Outcome, Reply, ReplyForm};
use crate::observe::metrics::Dropping;
use crate::worker::listener::StrayReason;
use crate::worker::look::Look;
use crate::worker::pipes::shown;
use crate::worker::ready::question;
use crate::worker::turn::{NoAnswer, TurnShape, Written};

impl Pool {
    /// Handles what a worker wrote in its turn, from one read. Returns a reason if the worker must
    /// be stopped.
    pub(super) async fn heard_in_turn(
        self: &Rc<Self>,
        now: Instant,
        link: &Link,
        turns: &Turns,
    ) -> Option<ExitReason> {
        if turns.is_resting() {
            let said = link.pipes.borrow_mut().as_mut().map(|pipes| {
                let said = pipes.take_rest();
                pipes.unasked(&said)
            });
            let reason = self.unasked(now, link, said?);
            self.settle(now);
            return Some(reason);
        }
        let mut now = now;
        let mut parts = Vec::new();
        let taken = match link.pipes.borrow_mut().as_mut() {
            Some(pipes) => {
                turns.take_in(now, pipes, self.answers.come_in_parts.then_some(&mut parts))
            }
            None => Ok(0),
        };
        self.pass_progress_on(now, link);
        for part in parts {
            self.take_part(&mut now, link, part).await;
        }
        match taken {
            Ok(late) => self.metrics.message_dropped(Dropping::Late, late),
            Err(out) => {
                let reason = self.out_of_step(now, link, out, 1);
                self.settle(now);
                return Some(reason);
            }
        }
        None
    }

    /// Looks at a worker, and ends its turn if that is over. Returns a reason if the worker
    /// must be stopped.
    pub(super) async fn look(self: &Rc<Self>, link: &Link) -> Option<ExitReason> {
        let turns = link.turns.get()?;
        let now = Instant::now();
        if turns.is_resting() {
            return self.end_rest(now, link, turns);
        }
        let (look, read) = turns.look_at(link.pipes.borrow_mut().as_mut()?);
        if read > 0 {
            // It may have waited for room in the pipe, and has room now: another look is due.
            return self.heard_in_turn(now, link, turns).await;
        }
        if let Some(ended) = turns.looked(now, look) {
            if look != Look::Waits {
                self.tell_uncertain(look);
            }
            let mut now = now;
            let reason = self.end_turn(&mut now, link, turns, ended).await;
            self.settle(now);
            return reason;
        }
        None
    }

    /// Gives a worker that has rested its question. Returns a reason if the worker must be stopped.
    fn end_rest(self: &Rc<Self>, now: Instant, link: &Link, turns: &Turns) -> Option<ExitReason> {
        let (call, question) = turns.rested()?;
        // The pipes are free again before `settle`, which may give this worker another question.
        let asked = {
            let mut pipes = link.pipes.borrow_mut();
            let pipes = pipes.as_mut()?;
            if pipes.read_rest() > 0 {
                let said = pipes.take_rest();
                Err(pipes.unasked(&said))
            } else {
                Ok(pipes.ask(call, &question))
            }
        };
        match asked {
            Ok(Ok(())) => turns.begin(now, call, false),
            Ok(Err(refused)) => {
                let group = link.group.take();
                let calls = if group.is_empty() { vec![call] } else { group };
                for call in calls {
                    self.refuse_in_worker(now, link.worker, call, unsendable(&refused));
                }
                self.settle(now);
            }
            Err(out) => {
                let reason = self.unasked(now, link, out);
                self.settle(now);
                return Some(reason);
            }
        }
        None
    }

    /// Ends the turn of a worker that has ended. One whole answer counts.
    pub(super) async fn end_last_turn(self: &Rc<Self>, link: &Link) {
        let Some(turns) = link.turns.get() else { return };
        let Some(ended) = turns.cut_short() else { return };
        let has_rest = link.pipes.borrow_mut().as_mut().is_some_and(|it| !it.received().is_empty());
        let is_whole = if self.answers.come_in_parts {
            ended.has_all_parts
        } else {
            // No message of `framing = "turn"` is whole before the program waits again.
            ended.written.is_one() && !has_rest
        };
        if is_whole {
            let mut now = Instant::now();
            self.end_turn(&mut now, link, turns, ended).await;
            self.settle(now);
        }
    }

    /// Ends the call of a turn. Returns a reason if the worker must be stopped. Moves `now` on if that
    /// took long.
    ///
    /// A program that waits after it has written nothing, or a part of a message, may take the next
    /// question for the rest of this one: an open quote, a prompt. So it gets no other question,
    /// unless it wrote nothing and then answers the pool's probe.
    async fn end_turn(
        self: &Rc<Self>,
        now: &mut Instant,
        link: &Link,
        turns: &Turns,
        ended: EndedTurn,
    ) -> Option<ExitReason> {
        let EndedTurn { call, written, has_all_parts, is_probe, look } = ended;
        if is_probe {
            self.end_probe(*now, link, turns, call, written);
            return None;
        }
        if self.answers.come_in_parts {
            return self.end_stream(*now, link, call, has_all_parts || turns.ends_stream);
        }
        let (is_silent, paired) = {
            let mut pipes = link.pipes.borrow_mut();
            let pipes = pipes.as_mut()?;
            let rest = pipes.take_rest();
            let is_silent = written.is_empty() && rest.is_empty();
            let paired = written
                .answer(rest, turns.shape == TurnShape::All)
                .map(|answer| pipes.pair(answer));
            pipes.close_turn();
            (is_silent, paired)
        };
        if self.answers.group.is_some() {
            return self.end_group_turn(now, link, call, paired).await;
        }
        let (good, result) = match paired {
            Ok(Ok(heard)) => self.judge(now, link, heard).await.unwrap_or_else(bad_answer),
            Ok(Err(out)) => bad_answer(out.detail),
            Err(no_answer) => {
                // An event loop may still work on this question when the next one comes.
                let is_open =
                    no_answer.is_open || look == Look::MayWait { reads: false, runs: false };
                let detail = self.report_no_answer(link, call, no_answer);
                if is_open && !(is_silent && self.has_probe()) {
                    return Some(self.lose_open(*now, link, detail));
                }
                bad_answer(detail)
            }
        };
        let now = *now;
        if is_silent {
            if self.probe(now, link, turns, call, &result) {
                return None;
            }
            self.state.borrow_mut().part_with(link.worker);
        }
        let ended = self.state.borrow_mut().answered(now, link.worker, call, good);
        if let Some(ended) = ended {
            self.finish(ended, result);
        }
        None
    }

    fn has_probe(&self) -> bool {
        self.settings.borrow().program.start.probe.is_some()
    }

    /// Asks the probe of a worker that has written nothing, before it gets another question. The
    /// caller is told its result at once; the call stays with the worker until the probe is
    /// answered. Returns false if the pool has no probe.
    fn probe(
        &self,
        now: Instant,
        link: &Link,
        turns: &Turns,
        call: CallId,
        result: &Result<Reply, Failure>,
    ) -> bool {
        let settings = self.settings();
        let Some(probe) = &settings.program.start.probe else { return false };
        let mut pipes = link.pipes.borrow_mut();
        let Some(pipes) = pipes.as_mut() else { return false };
        if pipes.ask(call, &question(&probe.send)).is_err() {
            return false;
        }
        turns.begin(now, call, true);
        let timing = self.state.borrow_mut().has_begun(now, call);
        let state = self.state.borrow();
        if let (Some(timing), Some(entry)) = (timing, state.payload(call)) {
            self.tell_early(now, entry, Outcome { result: result.clone(), timing });
            *entry.progress.borrow_mut() = match result {
                Ok(_) => Delivery::Unwanted,
                Err(failure) => Delivery::Failed(failure.clone()),
            };
        }
        true
    }

    /// Ends the call that a worker held while it was asked the probe. Parts with the worker unless
    /// the answer is right.
    fn end_probe(
        self: &Rc<Self>,
        now: Instant,
        link: &Link,
        turns: &Turns,
        call: CallId,
        written: Written,
    ) {
        let rest = link.pipes.borrow_mut().as_mut().map(|pipes| {
            pipes.close_turn();
            pipes.take_rest()
        });
        let answer = written.answer(rest.unwrap_or_default(), turns.shape == TurnShape::All);
        let settings = self.settings();
        let wanted = settings.program.start.probe.as_ref().and_then(|probe| probe.reply.as_ref());
        let is_right = answer.is_ok_and(|answer| match wanted {
            Some(wanted) => answer == wanted.as_bytes(),
            None => !answer.is_empty(),
        });
        let mut state = self.state.borrow_mut();
        if !is_right {
            state.part_with(link.worker);
        }
        let ended = state.answered(now, link.worker, call, is_right);
        drop(state);
        if let Some(ended) = ended {
            self.finish(ended, Ok(Reply { body: Bytes::new(), form: ReplyForm::Plain }));
        }
    }

    /// Loses a worker that may wait for the rest of a question.
    fn lose_open(&self, now: Instant, link: &Link, detail: String) -> ExitReason {
        link.note(format!("{detail}, and may wait for the rest of the question"));
        let loss = Loss::BadAnswer { detail: detail.into(), calls: 1 };
        self.state.borrow_mut().lose(now, link.worker, &loss, 0);
        ExitReason::BadAnswer
    }

    fn end_stream(
        self: &Rc<Self>,
        now: Instant,
        link: &Link,
        call: CallId,
        is_whole: bool,
    ) -> Option<ExitReason> {
        if let Some(pipes) = link.pipes.borrow_mut().as_mut() {
            let has_rest = !pipes.take_rest().is_empty();
            self.metrics.message_dropped(Dropping::Late, u64::from(has_rest));
            pipes.close_turn();
        }
        if !is_whole {
            let detail = "the program waits for its input in the middle of its answer";
            let failure = Failure::BadAnswer { detail: detail.into() };
            self.break_off(now, call, &failure, Delivery::Failed(failure.clone()));
            return Some(self.lose_open(now, link, detail.to_owned()));
        }
        self.pass_on(now, link, call, None);
        let ended = self.state.borrow_mut().answered(now, link.worker, call, true);
        if let Some(ended) = ended {
            self.finish(ended, Ok(Reply { body: Bytes::new(), form: ReplyForm::Plain }));
        }
        None
    }

    /// Logs what was written in a turn that has no answer. Returns the words for the caller.
    pub(super) fn report_no_answer(
        &self,
        link: &Link,
        call: CallId,
        no_answer: NoAnswer,
    ) -> String {
        let NoAnswer { detail, written, .. } = no_answer;
        if let Some(pipes) = &*link.pipes.borrow() {
            for message in &written {
                pipes.tell_stray(message, StrayReason::Mismatch);
            }
        }
        let said: Vec<String> = written.iter().map(|message| shown(message)).collect();
        let said = said.join(", then ");
        let asked = self.state.borrow().payload(call).map_or(0, |entry| entry.question.text.len());
        let hint = if written.is_empty() {
            "does it hold its output back (`python3 -u`, `sed -u`, `stdbuf -oL`), or has it no \
             answer to this question? With `framing = { send = \"line\", reply = \"turn\" }` no \
             output is an empty answer"
        } else {
            "logs belong on stderr; with `framing = { send = \"line\", reply = \"turn\" }` an \
             answer may have any number of lines"
        };
        self.report_bad_answer(link, &detail, &said, asked, hint);
        detail
    }

    /// Logs, once for the pool, that its program cannot be seen to wait.
    pub(super) fn tell_uncertain(&self, look: Look) {
        if self.answers.told_uncertain.replace(true) {
            return;
        }
        tracing::warn!(
            pool = self.name(),
            why = look.doubt(),
            hint = "let it repeat the question in its answer (`{input}` in `reply`), or use ids",
            "the program cannot be seen to wait for its input: extra output may reach \
             up to {REST_EVERY} wrong callers before it is found"
        );
    }
}

fn bad_answer(detail: String) -> (bool, Result<Reply, Failure>) {
    (false, Err(Failure::BadAnswer { detail: detail.into() }))
}
