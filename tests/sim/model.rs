//! Calls, workers and the queue, as seen from outside of a pool.

use std::ops::Range;
use std::time::{Duration, Instant};

use httpipe::testing::base::{CallId, TenantId, WorkerId};

/// The place of a call among all that arrived.
pub(crate) type Serial = usize;
/// `Err` says which rule does not hold.
pub(crate) type Checked = Result<(), String>;

const TARGET_LEAST: Duration = Duration::from_millis(5);
const OUTGROWN: Range<Duration> = Duration::from_millis(100)..Duration::from_secs(1);

/// Why a call may fail in this step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blame {
    Lost,
    Doubt,
    RanOut,
}

/// One call as its caller and the workers see it.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is known for itself")]
pub(crate) struct Ask {
    pub(crate) id: Option<CallId>,
    pub(crate) tenant: TenantId,
    pub(crate) idempotent: bool,
    pub(crate) accepted: Instant,
    pub(crate) waits_until: Instant,
    pub(crate) latest: Instant,
    pub(crate) caller_deadline: Option<Instant>,
    pub(crate) was_given: bool,
    pub(crate) holders: Vec<WorkerId>,
    /// How often it was given to a second worker while the first held it.
    pub(crate) rescues: u32,
    pub(crate) may_be_read: bool,
    pub(crate) suspected: u32,
    pub(crate) alone_since: Option<Instant>,
    pub(crate) told: u32,
    pub(crate) ended: Option<Instant>,
    /// It was taken out of the pipe of a worker.
    pub(crate) is_taken_back: bool,
    pub(crate) requeued: (u64, usize),
    pub(crate) blame: Option<(u64, Blame)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Starting,
    Serving,
    Leaving,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Inside {
    pub(crate) id: CallId,
    pub(crate) serial: Serial,
    pub(crate) given: Instant,
}

/// One worker as it sees itself.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) stage: Stage,
    pub(crate) started: Instant,
    pub(crate) held: Vec<Inside>,
    /// Calls that were given up and not answered since.
    pub(crate) given_up: Vec<Inside>,
    /// When it last answered any call.
    pub(crate) heard_at: Option<Instant>,
    pub(crate) head_since: Instant,
    pub(crate) idle_since: Instant,
    pub(crate) used: u64,
    pub(crate) calls: u64,
    pub(crate) proven: bool,
    /// A call behind its head was given to another worker.
    pub(crate) is_rescued: bool,
}

/// Whether the queue stands: at every moment of a whole interval, the oldest of the calls that
/// no worker has had yet had waited longer than the target.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    above_since: Option<Instant>,
    pub(crate) is_long: bool,
    /// The oldest has waited so long that the newest goes first while workers are added.
    pub(crate) may_be_outgrown: bool,
}

impl Standing {
    pub(crate) fn look(&mut self, now: Instant, oldest: Option<Instant>, wait: Duration) {
        let target = (wait / 10).max(TARGET_LEAST);
        let above = oldest.map(|accepted| accepted + target).filter(|above| *above <= now);
        self.above_since = above.map(|above| self.above_since.unwrap_or(above));
        let is_long = self.above_since.is_some_and(|since| now >= since + wait / 2);
        self.is_long = self.above_since.is_some() && (self.is_long || is_long);
        let waited = oldest.map(|accepted| now.duration_since(accepted));
        self.may_be_outgrown = waited.is_some_and(|waited| OUTGROWN.contains(&waited));
    }
}

pub(crate) fn ensure(holds: bool, what: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(what()) }
}

/// A pool of one server decides what only those of several do.
pub(crate) fn unshared() -> Checked {
    Err("nothing is shared with other servers".to_owned())
}
