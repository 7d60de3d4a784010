//! What was seen of one worker that was tried.
//!
//! Pure: data only. `trial` collects it, `diagnosis` says what it means.

use std::time::Duration;

use bytes::Bytes;

use crate::worker::spawn::Exit;

/// One worker from its start to the end of the trial.
#[derive(Debug)]
pub(super) struct Seen {
    /// From its start to the moment it was ready to be asked.
    pub(super) start: Duration,
    /// At that moment it was seen to wait for its input.
    pub(super) waited: bool,
    /// What it wrote before it was asked anything.
    pub(super) banner: Banner,
    /// What it was asked and how it answered, oldest first.
    pub(super) exchanges: Vec<Exchange>,
    /// How the trial ended.
    pub(super) end: End,
    /// The last lines of its stderr.
    pub(super) words: Vec<String>,
}

/// What a worker wrote before it was asked anything.
#[derive(Debug, Default)]
pub(super) struct Banner {
    /// All of it.
    pub(super) bytes: Vec<u8>,
    /// Where what `ready` takes away ends; `None`: `ready` does not match, or is not set.
    pub(super) taken: Option<usize>,
}

/// A question and what came of it.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) stage: Stage,
    pub(super) question: Bytes,
    /// `None`: the greeting needs no answer.
    pub(super) answer: Option<Bytes>,
    /// The answer itself showed that it is for this question.
    pub(super) proven: bool,
    pub(super) took: Duration,
    /// Everything that came since the question, up to a while after the answer.
    pub(super) raw: Vec<u8>,
    /// What of it is behind the answer.
    pub(super) extra: Vec<u8>,
    /// Where there was too much: what came when the probe was sent again.
    pub(super) again: Vec<u8>,
}

/// Which part of the start it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Banner,
    /// A greeting, counted from 1.
    Hello(usize),
    Probe,
}

/// How the trial of a worker ended.
#[derive(Debug)]
pub(super) enum End {
    /// It did all that was asked of it.
    Ready,
    /// It ended by itself; `stage` is what it was to do next.
    Ended { exit: Exit, after: Duration, stage: Stage },
    /// It closed its output and runs on.
    Closed { stage: Stage },
    /// It did not say what it was to say.
    Silent(Silence),
    /// What it wrote cannot be cut into messages, or belongs to no call.
    OutOfStep { stage: Stage, why: String, raw: Vec<u8> },
    /// The question cannot be sent.
    Unsendable { stage: Stage, why: String },
}

/// A worker that did not say what it was to say.
#[derive(Debug)]
pub(super) struct Silence {
    pub(super) stage: Stage,
    pub(super) question: Bytes,
    /// How long it was waited for.
    pub(super) waited: Duration,
    /// Bytes of the question that it did not read.
    pub(super) unread: u64,
    /// It is blocked reading its input, so that nothing more can come.
    pub(super) waits: bool,
    /// CPU time it used in the last second.
    pub(super) cpu_lately: Duration,
    /// It wanted to run all that second.
    pub(super) runs: bool,
    /// What it wrote meanwhile, which is no whole message.
    pub(super) said: Vec<u8>,
    /// What it wrote when its input was closed.
    pub(super) at_end: Vec<u8>,
}

impl Seen {
    /// Did it do all that was asked of it?
    pub(super) fn is_ready(&self) -> bool {
        matches!(self.end, End::Ready)
    }

    /// Did it read its question and go back to waiting for another without a word?
    pub(super) fn is_held_back(&self) -> bool {
        matches!(&self.end, End::Silent(silence) if silence.is_held_back())
    }
}

impl Silence {
    /// Less CPU time in a second is idling.
    const IDLE: Duration = Duration::from_millis(100);

    /// It read everything and does nothing, and has said nothing.
    pub(super) fn is_held_back(&self) -> bool {
        self.said.is_empty() && self.unread == 0 && !self.computes()
    }

    /// It is still busy.
    pub(super) fn computes(&self) -> bool {
        self.runs || (!self.waits && self.cpu_lately >= Self::IDLE)
    }
}

impl Banner {
    /// What was said before any question and is taken away by nothing.
    pub(super) fn untaken(&self) -> &[u8] {
        &self.bytes[self.taken.unwrap_or(0)..]
    }
}
