//! The record of one trial: what a worker did from its start to its end.
//!
//! Pure: data only. `trial` fills it in, `diagnosis` interprets it.

use std::time::Duration;

use bytes::Bytes;

use crate::worker::process::Exit;

/// The record of one worker, from its start to the end of the trial.
#[derive(Debug)]
pub(super) struct Record {
    /// Time from the start of the process until it was ready for a question.
    pub(super) start: Duration,
    /// It was blocked reading its input when it was ready.
    pub(super) waited: bool,
    /// What it wrote before the first question.
    pub(super) banner: Banner,
    /// The questions it was asked and its answers, oldest first.
    pub(super) exchanges: Vec<Exchange>,
    /// How the trial ended.
    pub(super) end: TrialEnd,
    /// The last lines that it wrote to stderr.
    pub(super) words: Vec<String>,
}

/// What a worker wrote before the first question.
#[derive(Debug, Default)]
pub(super) struct Banner {
    /// All of it.
    pub(super) bytes: Vec<u8>,
    /// How many of these bytes `ready` removes; `None`: `ready` does not match, or is not set.
    pub(super) taken: Option<usize>,
}

/// One question and what the worker wrote after it.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) stage: Stage,
    pub(super) question: Bytes,
    /// The answer; `None`: the greeting has none.
    pub(super) answer: Option<Bytes>,
    /// The answer proves that it belongs to this question.
    pub(super) proven: bool,
    /// Time from the question to the answer.
    pub(super) took: Duration,
    /// All output after the question, including what came shortly after the answer.
    pub(super) raw: Vec<u8>,
    /// The part of `raw` that follows the answer.
    pub(super) extra: Vec<u8>,
    /// Output after a second probe. It is sent only if the first had `extra` output.
    pub(super) again: Vec<u8>,
}

/// A stage in the start of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Banner,
    /// The number of a greeting, counted from 1.
    Hello(usize),
    Probe,
}

/// How the trial of a worker ended.
#[derive(Debug)]
pub(super) enum TrialEnd {
    /// The worker passed every stage.
    Ready,
    /// The process ended by itself during `stage`.
    Ended { exit: Exit, after: Duration, stage: Stage },
    /// The worker closed its output and kept running.
    Closed { stage: Stage },
    /// The expected output did not arrive in time.
    Stalled(Stall),
    /// The output cannot be cut into messages, or a message matches no call.
    OutOfStep { stage: Stage, why: String, raw: Vec<u8> },
    /// The question cannot be sent with this framing.
    Unsendable { stage: Stage, why: String },
}

/// What is known about a worker whose expected output did not arrive in time.
#[derive(Debug)]
pub(super) struct Stall {
    pub(super) stage: Stage,
    pub(super) question: Bytes,
    /// How long the trial waited for the output.
    pub(super) waited: Duration,
    /// Bytes of the question that the worker did not read.
    pub(super) unread: u64,
    /// The worker is blocked reading its input, so it will write nothing more.
    pub(super) waits: bool,
    /// CPU time that it used in the last second.
    pub(super) recent_cpu: Duration,
    /// It was runnable throughout the last second.
    pub(super) runs: bool,
    /// What it wrote meanwhile; this is not a complete message.
    pub(super) said: Vec<u8>,
    /// What it wrote after its input was closed.
    pub(super) at_end: Vec<u8>,
}

impl Record {
    /// Returns true if the worker passed every stage.
    pub(super) fn is_ready(&self) -> bool {
        matches!(self.end, TrialEnd::Ready)
    }

    /// Returns true if the worker read its question and then went idle without writing anything.
    pub(super) fn is_held_back(&self) -> bool {
        matches!(&self.end, TrialEnd::Stalled(stall) if stall.is_held_back())
    }
}

impl Stall {
    /// A worker that uses less CPU time per second than this is idle.
    const IDLE: Duration = Duration::from_millis(100);

    /// Returns true if the worker read everything, is idle, and wrote nothing.
    pub(super) fn is_held_back(&self) -> bool {
        self.said.is_empty() && self.unread == 0 && !self.computes()
    }

    /// Returns true if the worker is still computing.
    pub(super) fn computes(&self) -> bool {
        self.runs || (!self.waits && self.recent_cpu >= Self::IDLE)
    }
}

impl Banner {
    /// Returns what the worker wrote before the first question and `ready` does not remove.
    pub(super) fn untaken(&self) -> &[u8] {
        &self.bytes[self.taken.unwrap_or(0)..]
    }
}
