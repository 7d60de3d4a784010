//! The record of one trial: what a worker did from its start to its end.
//!
//! Pure: data only. `trial` fills it in, `diagnosis` interprets it.

use std::time::Duration;

use bytes::Bytes;

use crate::base::Conduct;
use crate::doctor::Signs;
use crate::worker::look::Look;
use crate::worker::process::Exit;

/// How many bytes of a worker's output are kept. Output of this size is taken to be endless.
pub(super) const OUTPUT_MAX: usize = 1 << 20;

/// The record of one worker, from its start to the end of the trial.
#[derive(Debug)]
pub(super) struct Record {
    /// Time from the start of the process until it could be asked.
    pub(super) start: Duration,
    /// It could be asked: it waited for its input, or could not be seen to.
    pub(super) is_started: bool,
    /// The first look that showed no wait for input when the program was asked or had answered;
    /// `None`: it was always seen to wait.
    pub(super) doubt: Option<Look>,
    /// What it wrote before the first question.
    pub(super) banner: RecordedBanner,
    /// The questions it was asked and its answers, oldest first.
    pub(super) exchanges: Vec<Exchange>,
    /// How the trial ended.
    pub(super) end: TrialEnd,
    /// What it wrote when its input was closed after an empty answer.
    pub(super) output_at_end: Vec<u8>,
    /// The last lines that it wrote to stderr.
    pub(super) stderr: Vec<String>,
}

/// What a worker wrote before the first question.
#[derive(Debug, Default)]
pub(super) struct RecordedBanner {
    /// All of it.
    pub(super) bytes: Vec<u8>,
    /// How many of these bytes `ready` removes; `None`: `ready` does not match, or is not set.
    pub(super) taken: Option<usize>,
}

/// One question and what the worker wrote after it.
#[derive(Clone, Debug)]
pub(super) struct Exchange {
    pub(super) phase: TrialPhase,
    pub(super) question: Bytes,
    /// The answer; `None`: the greeting has none.
    pub(super) answer: Option<Bytes>,
    /// The answer proves that it belongs to this question.
    pub(super) proven: bool,
    /// Time from the question to the answer.
    pub(super) took: Duration,
    /// All output after the question, until the worker waited for its input again.
    pub(super) output: Vec<u8>,
    /// The part of `output` that follows the answer.
    pub(super) extra: Vec<u8>,
    /// What came when the answer would have been given out, while nothing was asked.
    pub(super) unasked: Vec<u8>,
}

/// What a worker is being tried with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TrialPhase {
    /// It starts; nothing was asked yet.
    Start,
    /// The number of a greeting, counted from 1.
    Hello(usize),
    /// The probe of the configuration.
    Probe,
    /// A question that was made up.
    Sample,
}

/// How the trial of a worker ended.
#[derive(Debug)]
pub(super) enum TrialEnd {
    /// The worker passed every phase.
    Passed,
    /// The process ended by itself.
    Ended { exit: Exit, after: Duration, phase: TrialPhase, question: Bytes },
    /// The worker closed its output and kept running.
    Closed { phase: TrialPhase },
    /// The expected output did not come.
    Stalled(Stall),
    /// The output cannot be cut into messages, or a message matches no call.
    OutOfStep { phase: TrialPhase, question: Bytes, why: String, output: Vec<u8> },
    /// The worker got one question, and ended without reading it.
    Unread { question: Bytes },
    /// The question cannot be sent with this framing.
    Unsendable { phase: TrialPhase, why: String },
}

/// What is known about a worker whose expected output did not come.
#[derive(Debug)]
pub(super) struct Stall {
    pub(super) phase: TrialPhase,
    pub(super) question: Bytes,
    /// How long the trial waited for the output.
    pub(super) waited: Duration,
    /// Bytes of the question that the worker did not read.
    pub(super) unread: u64,
    /// The worker waits for its input, so it writes nothing more.
    pub(super) waits: bool,
    /// CPU time that it used in the last second.
    pub(super) recent_cpu: Duration,
    /// It was runnable throughout the last second.
    pub(super) runs: bool,
    /// What it wrote meanwhile; this is not a complete message.
    pub(super) output: Vec<u8>,
    /// What it wrote after its input was closed.
    pub(super) output_at_end: Vec<u8>,
}

impl Record {
    /// Returns true if the worker passed every phase with one answer to each question.
    pub(super) fn is_passed(&self) -> bool {
        matches!(self.end, TrialEnd::Passed)
            && self.output_at_end.is_empty()
            && self.exchanges.iter().all(|it| it.extra.is_empty() && it.unasked.is_empty())
    }

    /// Returns true if the worker read its question and then went idle without writing anything.
    pub(super) fn is_silent(&self) -> bool {
        match &self.end {
            TrialEnd::Stalled(stall) => stall.is_silent(),
            _ => !self.output_at_end.is_empty(),
        }
    }

    /// Returns what the worker wrote only after its input had been closed.
    pub(super) fn late_output(&self) -> &[u8] {
        match &self.end {
            TrialEnd::Stalled(stall) => &stall.output_at_end,
            _ => &self.output_at_end,
        }
    }

    /// Returns everything that the worker wrote after each question, unless it was one answer.
    pub(super) fn misframed(&self) -> Vec<&[u8]> {
        let stalled = match &self.end {
            TrialEnd::Stalled(stall) if stall.phase != TrialPhase::Start => Some(&stall.output[..]),
            _ => None,
        };
        let is_wrong = stalled.is_some_and(|output| !output.is_empty())
            || self.exchanges.iter().any(|it| it.answer.is_some() && !it.extra.is_empty());
        let answered = self.exchanges.iter().filter(|it| it.answer.is_some());
        let outputs = answered.map(|it| &it.output[..]).chain(stalled);
        if is_wrong { outputs.collect() } else { Vec::new() }
    }

    /// Returns the text that the banner ends with, and each answer too.
    pub(super) fn prompt(&self) -> Option<&[u8]> {
        let outputs = self.misframed();
        let prompt = self.banner.bytes.rsplit(|byte| *byte == b'\n').next()?;
        let is_prompt = !prompt.is_empty() && !outputs.is_empty();
        (is_prompt && outputs.iter().all(|output| output.ends_with(prompt))).then_some(prompt)
    }
}

impl Stall {
    /// Returns true if the worker read everything, is idle, and wrote nothing.
    pub(super) fn is_silent(&self) -> bool {
        matches!(self.signs().conduct(), Conduct::HoldsOutput | Conduct::Silent)
    }

    /// Returns what was seen of the worker in its last second.
    pub(super) fn signs(&self) -> Signs {
        Signs {
            watched: Duration::from_secs(1),
            cpu: self.recent_cpu,
            runs: self.runs,
            writes: false,
            has_part: !self.output.is_empty(),
            unread: self.unread,
            waits: self.waits,
        }
    }
}

impl RecordedBanner {
    /// Returns what the worker wrote before the first question and `ready` does not remove.
    pub(super) fn untaken(&self) -> &[u8] {
        &self.bytes[self.taken.unwrap_or(0)..]
    }
}
