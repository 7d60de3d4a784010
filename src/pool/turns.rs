//! Workers that take turns, because their answers do not show which question they are for.
//!
//! The call stays with its worker until the turn is over (`worker::turn` says when). So a question
//! is only ever handed to a worker that waits for its input, and what a worker writes in one turn
//! can only belong to the question of that turn.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use crate::base::{CallId, Question};
use crate::config::{StreamEnd, WireSettings};
use crate::wire::{Refused, Share};
use crate::worker::look::{Look, Watcher};
use crate::worker::pipes::{Heard, OutOfStep, Pipes};
use crate::worker::turn::{NextLook, Over, Turn, TurnShape, Written};

/// A worker that cannot be seen to wait rests after every this many questions. Extra output shows
/// while it rests, so it is found within this many calls.
pub(super) const REST_EVERY: u32 = 64;
/// The shortest and the longest rest.
const REST: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(100));

/// The turns of one worker.
#[derive(Debug)]
pub(super) struct Turns {
    watcher: RefCell<Watcher>,
    /// What the worker writes in one turn.
    pub(super) shape: TurnShape,
    /// The parts of an answer end with the turn and with nothing else.
    pub(super) ends_stream: bool,
    now: RefCell<Now>,
    /// Turns in a row whose end was uncertain.
    uncertain: Cell<u32>,
    /// How long the longest of these lasted.
    longest: Cell<Duration>,
    /// When the worker was last seen to wait, with nothing of its output left to read.
    seen_waiting: Cell<Option<Instant>>,
    /// No look has shown it waiting yet, so it may read its input in a way that no look shows.
    reads_unseen: Cell<bool>,
}

/// What a worker does now.
#[derive(Debug, Default)]
enum Now {
    /// It waits for a question.
    #[default]
    Waits,
    /// It is left idle until this time. Then it is given this question.
    Rests { call: CallId, question: Question, until: Instant },
    /// It has a question, or the probe after a question of this call that had no answer.
    Asked { call: CallId, turn: Turn, written: Written, has_all_parts: bool, is_probe: bool },
}

impl Turns {
    /// `uncertain` is the last look before its first question, if that did not show it waiting.
    pub(super) fn new(watcher: Watcher, wire: &WireSettings, uncertain: Option<Look>) -> Self {
        Self {
            watcher: RefCell::new(watcher),
            shape: TurnShape::of(wire),
            ends_stream: wire.stream.as_ref().is_some_and(|stream| stream.end == StreamEnd::Turn),
            now: RefCell::default(),
            uncertain: Cell::new(0),
            longest: Cell::new(Duration::ZERO),
            seen_waiting: Cell::new(None),
            reads_unseen: Cell::new(uncertain == Some(Look::Works)),
        }
    }

    /// Gives a worker its question, or lets it rest before.
    pub(super) fn ask(
        &self,
        now: Instant,
        pipes: &mut Pipes,
        call: CallId,
        question: &Question,
    ) -> Result<(), Refused> {
        if self.uncertain.get() >= REST_EVERY {
            self.uncertain.set(0);
            let (least, most) = REST;
            let until = now + self.longest.take().clamp(least, most);
            *self.now.borrow_mut() = Now::Rests { call, question: question.clone(), until };
            return Ok(());
        }
        debug_assert!(pipes.is_idle(), "the turn before is closed");
        pipes.ask(call, question)?;
        self.begin(now, call, false);
        Ok(())
    }

    /// Returns when the next look is due, if any is.
    pub(super) fn next_look(&self, pipes: &Pipes) -> Option<NextLook> {
        match &*self.now.borrow() {
            Now::Waits => None,
            Now::Rests { until, .. } => Some(NextLook::At(*until)),
            // While a part of the question is not written, the turn cannot be over.
            Now::Asked { turn, .. } => pipes.is_flushed().then(|| turn.next_look()),
        }
    }

    /// Returns true if the worker was seen to wait at this very moment.
    pub(super) fn is_seen_waiting(&self, now: Instant) -> bool {
        self.seen_waiting.get() == Some(now)
    }

    fn is_silent(&self) -> bool {
        matches!(&*self.now.borrow(), Now::Asked { turn, .. } if turn.is_silent())
    }

    fn has_answer(&self) -> bool {
        matches!(&*self.now.borrow(), Now::Asked { written, .. } if !written.is_empty())
    }

    /// Returns true if the worker answered some time ago and still works.
    fn has_long_answered(&self) -> bool {
        let now = self.now.borrow();
        let Now::Asked { turn, .. } = &*now else { return false };
        self.has_answer() && turn.next_look() != NextLook::Soon
    }

    /// Returns true if the worker has written something in this turn.
    pub(super) fn has_output(&self) -> bool {
        matches!(&*self.now.borrow(), Now::Asked { turn, .. } if !turn.is_silent())
    }

    pub(super) fn is_resting(&self) -> bool {
        matches!(&*self.now.borrow(), Now::Rests { .. })
    }

    /// Cuts what was read into messages. If answers come in parts, appends them to `parts`. Returns
    /// how many messages came after the last part.
    pub(super) fn take_in(
        &self,
        now: Instant,
        pipes: &mut Pipes,
        parts: Option<&mut Vec<Heard>>,
    ) -> Result<u64, OutOfStep> {
        let mut state = self.now.borrow_mut();
        let Now::Asked { turn, written, has_all_parts, .. } = &mut *state else {
            let said = pipes.take_rest();
            return Err(pipes.unasked(&said));
        };
        let mut late = 0;
        match parts {
            None => {
                while let Some(message) = pipes.cut()? {
                    written.add(message);
                }
            }
            Some(parts) => {
                while let Some(message) = pipes.cut()? {
                    if *has_all_parts {
                        late += 1;
                        continue;
                    }
                    let mut heard = pipes.pair(message)?;
                    *has_all_parts = heard.share.is_last();
                    // The call ends with the turn, not with its last part.
                    match heard.share {
                        Share::End => continue,
                        Share::Last => heard.share = Share::Part,
                        Share::Whole | Share::Part | Share::Aside => {}
                    }
                    parts.push(heard);
                }
            }
        }
        turn.wrote(now, !written.is_empty() || *has_all_parts);
        Ok(late)
    }

    /// Looks at the worker, and reads what is left. Returns how many bytes that was.
    pub(super) fn look_at(&self, pipes: &mut Pipes) -> (Look, usize) {
        // Before the look, or the worker may read it in between.
        let is_read = pipes.is_read();
        let mut watcher = self.watcher.borrow_mut();
        let mut look = if self.is_silent() { watcher.look_closely() } else { watcher.look() };
        if matches!(look, Look::Waits | Look::MayWait { .. }) {
            self.reads_unseen.set(false);
        }
        if !is_read {
            // A stopped worker still seems to wait, although it has not read the question.
            look = Look::Works;
        } else if look == Look::Works && self.reads_unseen.get() {
            look = Look::Hidden;
        }
        if look == Look::Works && self.has_long_answered() && pipes.is_stdin_closed() {
            // It has answered, and will not wait for input again.
            look = Look::Waits;
        }
        if look == Look::Works {
            // Nothing ends now, and the runtime tells of what is there to be read.
            return (look, 0);
        }
        // After the look: everything that it wrote before it waited is in the pipe now.
        (look, pipes.read_rest())
    }

    /// Ends the turn if it is over after this look.
    pub(super) fn looked(&self, now: Instant, look: Look) -> Option<EndedTurn> {
        let mut state = self.now.borrow_mut();
        let Now::Asked { turn, .. } = &mut *state else { return None };
        let over = turn.looked(now, look)?;
        match over {
            Over::Certain => {
                self.seen_waiting.set(Some(now));
                self.uncertain.set(0);
                self.longest.set(Duration::ZERO);
            }
            Over::Uncertain => {
                self.uncertain.update(|turns| turns + 1);
                self.longest.set(self.longest.get().max(turn.lasted()));
            }
        }
        EndedTurn::of(std::mem::take(&mut *state), look)
    }

    /// Ends the rest of a worker. Returns the call whose question it is to be given now.
    pub(super) fn rested(&self) -> Option<(CallId, Question)> {
        match self.now.take() {
            Now::Rests { call, question, .. } => Some((call, question)),
            other => {
                *self.now.borrow_mut() = other;
                None
            }
        }
    }

    /// Notes that a worker was asked a question, or the probe.
    pub(super) fn begin(&self, now: Instant, call: CallId, is_probe: bool) {
        let turn = Turn::new(now, self.shape);
        let written = Written::default();
        *self.now.borrow_mut() = Now::Asked { call, turn, written, has_all_parts: false, is_probe };
    }

    /// Ends the turn because the worker has ended. One that rested had no turn, and rests on.
    pub(super) fn cut_short(&self) -> Option<EndedTurn> {
        if self.is_resting() {
            return None;
        }
        EndedTurn::of(self.now.take(), Look::Waits)
    }
}

/// A turn that is over.
pub(super) struct EndedTurn {
    pub(super) call: CallId,
    pub(super) written: Written,
    pub(super) has_all_parts: bool,
    /// It answers the probe.
    pub(super) is_probe: bool,
    /// The look that ended it.
    pub(super) look: Look,
}

impl EndedTurn {
    fn of(now: Now, look: Look) -> Option<Self> {
        match now {
            Now::Asked { call, written, has_all_parts, is_probe, .. } => {
                Some(Self { call, written, has_all_parts, is_probe, look })
            }
            Now::Waits | Now::Rests { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests;
