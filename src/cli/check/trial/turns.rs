//! One turn of a worker under trial: from a question to the moment at which it waits for its input
//! again, or ends where it gets one question.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use super::{Failed, TriedWorker};
use crate::cli::check::process::Event;
use crate::cli::check::questions::Planned;
use crate::cli::check::record::TrialEnd;
use crate::config::{ReplyShape, StreamEnd};
use crate::wire::{Decoder, Received};
use crate::worker::look::Look;
use crate::worker::turn::{NextLook, Over, Turn, TurnShape, Written};

/// The longest pause between two looks at a worker whose question is still being written.
const PAUSE_MAX: Duration = Duration::from_millis(250);

/// The answer that a turn ended with.
pub(super) struct TurnEnd {
    /// The answer, and whether it proves its question; `None`: there was no whole message.
    pub(super) answer: Option<(Bytes, bool)>,
    /// The time from the question to the answer.
    pub(super) took: Duration,
    /// What came when the answer would have been given out.
    pub(super) unasked: Vec<u8>,
    /// The program has ended or closed a pipe.
    pub(super) is_gone: bool,
}

impl TriedWorker<'_> {
    /// Waits until the turn is over: the worker has answered and waits for its input again.
    pub(super) async fn take_turn(
        &mut self,
        planned: &Planned,
        asked: Instant,
        deadline: Instant,
    ) -> Result<TurnEnd, Failed> {
        let mut turn = Turn::new(asked, TurnShape::of(&self.settings.program.wire));
        if !planned.is_answered {
            turn.wrote(asked, true);
        }
        let mut end =
            TurnEnd { answer: None, took: Duration::ZERO, unasked: Vec::new(), is_gone: false };
        loop {
            let now = Instant::now();
            let due = match turn.next_look() {
                _ if !self.worker.outgoing.is_empty() => now + PAUSE_MAX,
                NextLook::Soon => now,
                NextLook::At(time) => time,
            };
            let event = self.worker.next_event(due.min(deadline)).await;
            let mut has_output = matches!(event, Event::Output | Event::Ended);
            let mut look = None;
            if let Event::Nothing = event {
                look = Some(self.look(end.answer.is_some()));
                has_output = self.worker.read_rest();
                // It may have waited for room in the pipe, and has room now.
                look = look.filter(|_| !has_output);
            }
            if has_output {
                self.take_answer(&mut end, asked)?;
                turn.wrote(Instant::now(), end.answer.is_some() || !planned.is_answered);
            }
            if let Event::Ended | Event::Closed = event {
                end.is_gone = true;
                break;
            }
            let now = Instant::now();
            if let Some(look) = look.filter(|_| self.worker.outgoing.is_empty())
                && let Some(over) = turn.looked(now, look)
            {
                self.note(over, look);
                if over == Over::Uncertain {
                    self.end_answer(&mut end, asked);
                    end.unasked = self.linger().await;
                    return Ok(end);
                }
                break;
            }
            if now >= deadline || self.worker.has_much_output() {
                break;
            }
        }
        self.end_answer(&mut end, asked);
        if end.answer.is_some() || !planned.is_answered {
            return Ok(end);
        }
        if end.is_gone {
            return Err(self.gone().await);
        }
        let waits = self.watcher.look() == Look::Waits;
        Err(self.stall(asked, waits).await)
    }

    /// Closes the input once the question is written, and waits until the worker has ended.
    pub(super) async fn take_end(
        &mut self,
        asked: Instant,
        deadline: Instant,
    ) -> Result<TurnEnd, Failed> {
        let mut unread = None;
        loop {
            if self.worker.outgoing.is_empty() && self.worker.stdin.is_some() {
                unread = self.worker.end_input();
            }
            match self.worker.next_event(deadline).await {
                Event::Ended => break,
                Event::Closed => {
                    self.worker.outgoing.clear();
                    let ended = self.worker.process.ended();
                    if tokio::time::timeout_at(deadline.into(), ended).await.is_ok() {
                        break;
                    }
                }
                Event::Output | Event::TookInput | Event::Nothing => {}
            }
            if Instant::now() >= deadline || self.worker.has_much_output() {
                return Err(self.stall(asked, false).await);
            }
        }
        self.worker.read_rest();
        let unread = unread.map_or(0, |unread| unread.length());
        if unread > 0 && unread == self.question.len() as u64 {
            return Err(Failed::Other(Box::new(TrialEnd::Unread {
                question: self.question.clone(),
            })));
        }
        self.worker.incoming.clear();
        let mut answer = Bytes::copy_from_slice(&self.worker.output);
        if let ReplyShape::Pattern(_) = self.settings.program.wire.reply {
            let text = answer.strip_suffix(b"\n").unwrap_or(&answer);
            answer.truncate(text.strip_suffix(b"\r").unwrap_or(text).len());
        }
        let answer = Some((answer, true));
        Ok(TurnEnd { answer, took: asked.elapsed(), unasked: Vec::new(), is_gone: true })
    }

    /// Takes the answer from the output, if it is whole.
    fn take_answer(&mut self, end: &mut TurnEnd, asked: Instant) -> Result<(), Failed> {
        if end.answer.is_none() && !self.ends_answer() {
            end.answer = self.cut_answer()?;
            end.took = asked.elapsed();
        }
        Ok(())
    }

    /// Takes the answer of a turn that is over, where nothing else ends it.
    fn end_answer(&mut self, end: &mut TurnEnd, asked: Instant) {
        let stream = self.settings.program.wire.stream.as_ref();
        let ends_stream = stream.is_some_and(|stream| stream.end == StreamEnd::Turn);
        if !(self.ends_answer() || ends_stream) || end.is_gone {
            return;
        }
        self.worker.incoming.clear();
        let output = Bytes::copy_from_slice(&self.worker.output);
        end.answer = Written::default().answer(output, true).ok().map(|answer| (answer, false));
        end.took = asked.elapsed();
        self.correlator.forget_oldest();
    }

    /// Cuts the output into messages and returns the answer if it is complete.
    fn cut_answer(&mut self) -> Result<Option<(Bytes, bool)>, Failed> {
        while !self.worker.incoming.is_empty() {
            let nonce = self.correlator.oldest_nonce();
            let message = match self.decoder.next(&mut self.worker.incoming, nonce) {
                Ok(Some(message)) => message,
                Ok(None) => break,
                Err(broken) => {
                    let found = broken.found().map(|found| format!(": {found}"));
                    return Err(self.out_of_step(format!("{broken}{}", found.unwrap_or_default())));
                }
            };
            match self.correlator.received(message) {
                Received::Answer { text, proven, share, .. } if share.is_last() => {
                    return Ok(Some((text, proven)));
                }
                Received::Answer { .. }
                | Received::Aside { .. }
                | Received::Progress { .. }
                | Received::Notification
                | Received::Late { .. }
                | Received::Stray(_) => {}
                Received::WorkerAsks { reply } => {
                    self.encoder.encode(b"", &reply, None, &mut self.worker.outgoing).ok();
                }
                Received::Mismatch(why) => return Err(self.out_of_step(why)),
            }
        }
        Ok(None)
    }

    fn out_of_step(&self, why: String) -> Failed {
        let (phase, question, output) =
            (self.phase, self.question.clone(), self.worker.output.clone());
        Failed::Other(Box::new(TrialEnd::OutOfStep { phase, question, why, output }))
    }

    /// Removes complete notifications from the output after an answer.
    pub(super) fn without_notifications(&mut self, extra: Vec<u8>) -> Vec<u8> {
        let wire = &self.settings.program.wire;
        let mut decoder = Decoder::new(&wire.framing.reply, wire.message_max);
        let mut buffer = BytesMut::from(&extra[..]);
        while let Ok(Some(message)) = decoder.next(&mut buffer, None) {
            let received = self.correlator.received(message);
            if let Received::Mismatch(_) | Received::Stray(_) | Received::Answer { .. } = received {
                return extra;
            }
        }
        buffer.to_vec()
    }
}
