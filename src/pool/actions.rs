//! What goes into a pool's books, and the actions that come out.
//!
//! Pure: data only.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::grouping::HalfId;
use crate::base::{CallId, Conduct, Failure, NodeId, RunId, Tenant, Timing, WorkerId};
use crate::policy::Fingerprint;

/// One thing that the shell must do. What is large and rare is boxed: each call moves some actions.
#[derive(Debug)]
pub enum Action<P> {
    /// Write the question of this call to this worker.
    Give {
        /// The worker that gets the call.
        worker: WorkerId,
        /// The call; its payload is in the books.
        call: CallId,
    },
    /// Write the questions of these calls to this worker as one, in this order (`batch`).
    GiveGroup {
        /// The worker that gets them.
        worker: WorkerId,
        /// The calls, at least one; their payloads are in the books.
        calls: Vec<CallId>,
    },
    /// Tell the caller that this call, which has left the books, failed.
    Fail(Box<Ended<P>>, Failure),
    /// This background call, or call of another server, has left the books, because its worker was
    /// lost. It may run again, and goes back to where it waited.
    GoesBack {
        /// What the shell keeps with it.
        payload: Box<P>,
        /// How many workers it has cost.
        retries: u32,
        /// Which half of a lost group it belongs to.
        half: HalfId,
    },
    /// Tell the server whose call this was that it failed, because its worker was lost. It has left the
    /// books.
    GuestLost {
        /// The call.
        ended: Box<Ended<P>>,
        /// Why it failed.
        failure: Failure,
        /// Its question can be the only reason why the worker was lost.
        blamed: bool,
    },
    /// This worker is reserved for a call of another server: claim one. Then call
    /// [`State::give_reserved`] or [`State::release`].
    ///
    /// [`State::give_reserved`]: super::state::State::give_reserved
    /// [`State::release`]: super::state::State::release
    Claim(WorkerId),
    /// Tell this host that nobody waits for this call any longer. What it still answers is dropped if
    /// the call has left the books.
    CallBack {
        /// The host.
        host: NodeId,
        /// The call.
        run: RunId,
    },
    /// Tell the caller that their own deadline has passed. The call itself runs on, abandoned.
    Expire {
        /// The call, still in the books.
        call: CallId,
        /// What the caller is told.
        failure: Failure,
    },
    /// Drop what this worker still answers to this call, which has taken too long. The worker
    /// goes on with its other calls.
    GiveUp {
        /// The worker.
        worker: WorkerId,
        /// The call. It may have left the books.
        call: CallId,
    },
    /// Look at this worker, whose oldest call runs long.
    Examine {
        /// The worker.
        worker: WorkerId,
        /// Its oldest call.
        call: CallId,
    },
    /// Look whether this worker computes and the processors are full, and tell [`State::seen`].
    ///
    /// [`State::seen`]: super::state::State::seen
    Sight(WorkerId),
    /// Put this worker so far behind others that compute (`nice`).
    StepBack {
        /// The worker.
        worker: WorkerId,
        /// How far.
        by: u8,
    },
    /// Let this worker come forward again. If that is not permitted, tell [`State::stays_back`].
    ///
    /// [`State::stays_back`]: super::state::State::stays_back
    ComeForward(WorkerId),
    /// Take back the calls that this worker has not read, and tell [`State::taken_back`]. It comes
    /// after all that was decided without these calls.
    ///
    /// [`State::taken_back`]: super::state::State::taken_back
    TakeBack(WorkerId),
    /// Start a worker under this name.
    Start(WorkerId),
    /// Log that this question is refused from now on because it has cost several workers.
    Refuse(Fingerprint),
    /// Stop this worker. It holds no calls and gets no more.
    Stop(WorkerId, StopReason),
    /// Kill this worker at once, because an operator wants it. It gets no more calls, and those it
    /// holds are lost with it.
    Kill(WorkerId),
}

/// Why the pool itself stops a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// Calls took longer than allowed, and it answers nobody.
    Timeout,
    /// It is replaced because of its calls, its memory or its age.
    Recycled,
    /// It is no longer needed.
    ScaledDown,
    /// The pool ends.
    Stopped,
}

/// A call that left the books.
#[derive(Debug)]
pub struct Ended<P> {
    /// What the shell kept with it.
    pub payload: P,
    /// How long it waited and worked.
    pub timing: Timing,
    /// Its caller had left.
    pub abandoned: bool,
    /// What its worker was found to do with it, if it ran long.
    pub conduct: Option<Conduct>,
    /// When it ended.
    pub at: Instant,
}

/// A call that arrives.
#[derive(Debug)]
pub struct NewCall<P> {
    /// What the shell needs to ask and to answer.
    pub payload: P,
    /// Bytes of its question.
    pub bytes: usize,
    /// It may run twice.
    pub idempotent: bool,
    /// When its caller stops waiting.
    pub caller_deadline: Option<Instant>,
    /// Whose call it is.
    pub tenant: Tenant,
    /// How long it may take in a worker; `None`: the `timeout` of the pool.
    pub timeout: Option<Duration>,
}

/// Why a worker was lost.
#[derive(Clone, Debug)]
pub enum Loss {
    /// Its process ended; how, in words.
    Ended(Arc<str>),
    /// Its answers to its oldest calls are in doubt.
    BadAnswer {
        /// What was wrong, in words for the caller.
        detail: Arc<str>,
        /// How many calls are in doubt, at least one.
        calls: usize,
    },
    /// An operator killed it. That is no sign of what its program is worth.
    Killed,
    /// It wrote while it had no question.
    UnaskedOutput,
    /// It did not become ready.
    StartFailed {
        /// Why not, in words for callers.
        why: Arc<str>,
    },
}

impl Loss {
    /// Why a worker that had given no good answer was lost, in words for callers.
    pub(super) fn in_vain(&self) -> Arc<str> {
        match self {
            Self::Ended(exit) => {
                format!("the last one ended before its first answer: {exit}").into()
            }
            Self::StartFailed { why } => Arc::clone(why),
            Self::Killed => "the last one was killed by an operator".into(),
            Self::BadAnswer { .. } | Self::UnaskedOutput => {
                "the last one was stopped for what it wrote".into()
            }
        }
    }
}
