//! Programs that read to the end of their input: each process gets one question, and its answer is
//! all that it writes until its end.
//!
//! The question is written and stdin closed. The process was started before, and waits at its first
//! read; the next one is started as soon as this one has its question.

use std::pin::pin;
use std::rc::Rc;
use std::time::Instant;

use bytes::Bytes;

use super::Pool;
use super::links::Link;
use super::steps::{Step, Steps};
use crate::base::{ExitReason, Failure, Reply};
use crate::config::{PoolSettings, ReplyShape};
use crate::worker::pipes::{Fault, Heard, OutOfStep, Pipes};
use crate::worker::process::{Exit, Process};
use crate::worker::stderr::LastWords;

/// How many of the last lines on stderr are told to a caller.
const LINES_MOST: usize = 5;

/// Attends to a worker that is ready, until it has to leave or has ended. Returns the reason; that of
/// its own end is [`ExitReason::Crash`], with its whole output in the pipes.
pub(super) async fn serve_once(pool: &Rc<Pool>, link: &Rc<Link>, process: &Process) -> ExitReason {
    pool.note_ready(link);
    let ended = pin!(process.ended());
    let mut steps = Steps::new(link, ended);
    loop {
        match steps.next().await {
            Step::Heard => {
                if let Some(reason) = pool.refuse_if_too_big(link) {
                    return reason;
                }
            }
            Step::Ordered(reason) if reason != ExitReason::Crash => return reason,
            Step::Ordered(_) => {
                steps.wait_for_end().await;
                break;
            }
            Step::Closed | Step::Ended => break,
            Step::Look => unreachable!("only a worker that takes turns is looked at"),
        }
    }
    let refused = link.drain(async || pool.refuse_if_too_big(link)).await;
    refused.or(link.ordered()).unwrap_or(ExitReason::Crash)
}

impl Pool {
    /// Returns true if a new worker, which reads to the end of its input, need not be seen waiting
    /// for it: calls wait, and the program has answered the last one. It finds its question when it
    /// looks for it.
    pub(super) fn is_wanted_at_once(&self, pipes: &Pipes, settings: &PoolSettings) -> bool {
        pipes.ends_with_answer()
            && settings.program.start.ready.is_none()
            && self.answers.ended_well.get()
            && self.state.borrow().queue_length() > 0
    }

    /// Returns a reason if a worker must be stopped because its answer is too long.
    fn refuse_if_too_big(self: &Rc<Self>, link: &Link) -> Option<ExitReason> {
        let limit = self.settings().program.wire.message_max;
        let length = link.pipes.borrow_mut().as_mut().map_or(0, |pipes| pipes.received().len());
        if length <= limit {
            return None;
        }
        let detail = format!("its answer is longer than {limit} bytes");
        let out = OutOfStep { fault: Fault::TooBig, detail, said: None };
        let now = Instant::now();
        let reason = self.out_of_step(now, link, out, 1);
        self.settle(now);
        Some(reason)
    }

    /// Ends the call of a worker that ended by itself, was reaped, and had read its question. Returns
    /// false if there is no such call: then the worker is lost.
    pub(super) async fn answered_by_end(
        self: &Rc<Self>,
        link: &Link,
        exit: &Exit,
        words: &LastWords,
    ) -> bool {
        let heard = {
            let mut pipes = link.pipes.borrow_mut();
            let Some(pipes) = pipes.as_mut().filter(|pipes| !pipes.is_idle()) else { return false };
            pipes.close_input();
            if pipes.unread() > 0 {
                link.note("it ended without reading its question".to_owned());
                return false;
            }
            if !matches!(exit, Exit::Code(_)) {
                return false;
            }
            let answer = pipes.take_rest();
            pipes.pair(self.without_line_end(answer))
        };
        let Ok(heard) = heard else { return false };
        let call = heard.call;
        let mut now = Instant::now();
        let (good, result) = self.judge_end(&mut now, link, heard, exit, words).await;
        let ended = self.state.borrow_mut().answered(now, link.worker, call, good);
        if let Some(ended) = ended {
            self.finish(ended, result);
        }
        *link.pipes.borrow_mut() = None;
        self.settle(now);
        true
    }

    async fn judge_end(
        &self,
        now: &mut Instant,
        link: &Link,
        heard: Heard,
        exit: &Exit,
        words: &LastWords,
    ) -> (bool, Result<Reply, Failure>) {
        let wire = &self.settings().program.wire;
        if *exit != Exit::Code(0) {
            let lines = if wire.error_is_stderr { words.lines() } else { Vec::new() };
            let last = &lines[lines.len().saturating_sub(LINES_MOST)..];
            let message = if last.is_empty() { exit.to_string() } else { last.join("\n") };
            let failure =
                Failure::ProgramError { status: wire.error_status, message: message.into() };
            return (true, Err(failure));
        }
        let judged = self.judge(now, link, heard).await;
        judged.unwrap_or_else(|detail| (false, Err(Failure::BadAnswer { detail: detail.into() })))
    }

    /// Drops the last line end of an answer that has to fit a pattern. Others stay as they are: they
    /// may be no text.
    fn without_line_end(&self, answer: Bytes) -> Bytes {
        if !matches!(self.settings().program.wire.reply, ReplyShape::Pattern(_)) {
            return answer;
        }
        let text = answer.strip_suffix(b"\n").unwrap_or(&answer);
        let length = text.strip_suffix(b"\r").unwrap_or(text).len();
        answer.slice(..length)
    }
}
