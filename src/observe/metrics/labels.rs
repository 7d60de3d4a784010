//! The values of labels: closed lists, so that the number of series is bounded.
//!
//! Pure: names only.

use crate::base::Code;

/// Why a message of a worker was dropped (`httpipe_messages_dropped_total{reason}`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dropping {
    /// It asks for nothing.
    Notification,
    /// The worker's own question.
    Question,
    /// It came for a call that was cancelled, given up or abandoned.
    Late,
    /// The worker wrote it before its first question.
    Banner,
    /// It cannot be an answer.
    Stray,
    /// A caller's, which names no live call of theirs and no question that waits.
    Cancel,
}

impl Dropping {
    /// Every reason, in the order of their declaration.
    pub const ALL: [Self; 6] =
        [Self::Notification, Self::Question, Self::Late, Self::Banner, Self::Stray, Self::Cancel];

    /// The label value.
    pub fn label(self) -> &'static str {
        match self {
            Self::Notification => "notification",
            Self::Question => "question",
            Self::Late => "late",
            Self::Banner => "banner",
            Self::Stray => "stray",
            Self::Cancel => "cancel",
        }
    }
}

/// How a request of a route with a cache was served (`httpipe_cache_total{result}`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CacheResult {
    /// With a kept answer.
    Hit,
    /// By a call of its own.
    Miss,
    /// By the call of another request.
    Collapsed,
}

impl CacheResult {
    /// Every result, in the order of their declaration.
    pub const ALL: [Self; 3] = [Self::Hit, Self::Miss, Self::Collapsed];

    /// The label value.
    pub fn label(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Collapsed => "collapsed",
        }
    }
}

/// How a search in the shared cache ended (`httpipe_shared_cache_total{outcome}`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SharedResult {
    /// With an answer that another server had kept.
    Hit,
    /// With the outcome of another server's run.
    Followed,
    /// Nobody had an answer: this server ran the question.
    Miss,
    /// The answer was not shared, or another server's run took too long.
    Alone,
    /// What was there was no answer to the question.
    Unusable,
    /// Nothing could be written down there.
    Refused,
    /// It took too long.
    Late,
    /// It said that it cannot, or was gone.
    Failed,
    /// There was no connection.
    Away,
}

impl SharedResult {
    /// Every result, in the order of their declaration.
    pub const ALL: [Self; 9] = [
        Self::Hit,
        Self::Followed,
        Self::Miss,
        Self::Alone,
        Self::Unusable,
        Self::Refused,
        Self::Late,
        Self::Failed,
        Self::Away,
    ];

    /// The label value.
    pub fn label(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Followed => "followed",
            Self::Miss => "miss",
            Self::Alone => "alone",
            Self::Unusable => "unusable",
            Self::Refused => "refused",
            Self::Late => "late",
            Self::Failed => "failed",
            Self::Away => "away",
        }
    }
}

/// How an attempt at a call on another server ended (`httpipe_spread_calls_total{result}`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AwayEnd {
    /// With an answer, or with a failure that is one.
    Answered,
    /// No worker there has seen it.
    NotBegun,
    /// The other server does not know the call.
    Unknown,
    /// The worker was lost, or the answer was.
    WorkerLost,
    /// The other server was lost.
    HostLost,
    /// Nobody waited any longer.
    GivenUp,
}

impl AwayEnd {
    /// Every end, in the order of their declaration.
    pub const ALL: [Self; 6] = [
        Self::Answered,
        Self::NotBegun,
        Self::Unknown,
        Self::WorkerLost,
        Self::HostLost,
        Self::GivenUp,
    ];

    /// The label value.
    pub fn label(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::NotBegun => "not_begun",
            Self::Unknown => "unknown",
            Self::WorkerLost => "worker_lost",
            Self::HostLost => "host_lost",
            Self::GivenUp => "given_up",
        }
    }
}

/// What became of a claim (`httpipe_spread_claims_total{result}`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimEnd {
    /// A worker of this server was free, and another server was asked for a call.
    Sent,
    /// Another server asked this one, and got a call.
    Granted,
    /// Another server asked this one, and no call waited.
    Empty,
}

impl ClaimEnd {
    /// Every end, in the order of their declaration.
    pub const ALL: [Self; 3] = [Self::Sent, Self::Granted, Self::Empty];

    /// The label value.
    pub fn label(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Granted => "granted",
            Self::Empty => "empty",
        }
    }
}

/// Why the gate refused a request of a caller (`httpipe_refused_total{reason}`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Turned {
    /// It has no key, or a wrong one.
    Unauthorized,
    /// Its address has sent wrong keys too often.
    Guesses,
    /// Its key is not for this.
    Forbidden,
    /// The rate is used up.
    Rate,
    /// There are as many calls at once as there may be.
    Calls,
}

impl Turned {
    /// Every reason, in the order of their declaration.
    pub const ALL: [Self; 5] =
        [Self::Unauthorized, Self::Guesses, Self::Forbidden, Self::Rate, Self::Calls];

    /// The label value.
    pub fn label(self) -> &'static str {
        match self {
            Self::Unauthorized => "unauthorized",
            Self::Guesses => "guesses",
            Self::Forbidden => "forbidden",
            Self::Rate => "rate",
            Self::Calls => "calls",
        }
    }
}

/// What a load balancer at the agent port got (`httpipe_agent_total{result}`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AgentResult {
    /// The number of calls that it may send at once.
    Ready,
    /// `drain`: it is to send nothing.
    Drain,
    /// It sent something that the port does not know.
    Mistaken,
    /// `trust` does not name it.
    Refused,
    /// It was gone before the answer was sent.
    Gone,
}

impl AgentResult {
    /// Every result, in the order of their declaration.
    pub const ALL: [Self; 5] =
        [Self::Ready, Self::Drain, Self::Mistaken, Self::Refused, Self::Gone];

    /// The label value.
    pub fn label(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Drain => "drain",
            Self::Mistaken => "mistaken",
            Self::Refused => "refused",
            Self::Gone => "gone",
        }
    }
}

/// How a TLS handshake ended (`httpipe_tls_handshakes_total{result}`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Handshake {
    /// The connection is secure.
    Done,
    /// It failed.
    Failed,
    /// It took too long.
    Late,
    /// The caller left.
    Left,
    /// It made room for another one.
    Crowded,
}

impl Handshake {
    /// Every end, in the order of their declaration.
    pub const ALL: [Self; 5] = [Self::Done, Self::Failed, Self::Late, Self::Left, Self::Crowded];

    /// The label value.
    pub fn label(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Late => "late",
            Self::Left => "left",
            Self::Crowded => "crowded",
        }
    }
}

/// Why a request to the admin listener was turned away (`httpipe_admin_denied_total{reason}`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Denial {
    /// It has a token that is neither `admin_token` nor the operator's key.
    WrongToken,
    /// It needs one of them and has none.
    NoToken,
    /// A web page of another site may have sent it.
    Foreign,
    /// It would change something, and has not the marks of an operator's request.
    Unmarked,
}

impl Denial {
    /// Every reason, in the order of their declaration.
    pub const ALL: [Self; 4] = [Self::WrongToken, Self::NoToken, Self::Foreign, Self::Unmarked];

    /// The label value.
    pub fn label(self) -> &'static str {
        match self {
            Self::WrongToken => "wrong_token",
            Self::NoToken => "no_token",
            Self::Foreign => "foreign",
            Self::Unmarked => "unmarked",
        }
    }
}

/// What an operator made the server do (`httpipe_admin_actions_total{action}`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OperatorAction {
    /// It loaded its configuration again.
    Reload,
    /// It forgot which questions are poisonous.
    Forgive,
    /// It replaced the workers of a pool.
    RecyclePool,
    /// It replaced one worker.
    RecycleWorker,
    /// It killed one worker.
    KillWorker,
    /// It canceled or removed a job.
    RemoveJob,
    /// It let a job wait again.
    RetryJob,
    /// It wrote the jobs into another file.
    BackUpJobs,
}

impl OperatorAction {
    /// Every action, in the order of their declaration.
    pub const ALL: [Self; 8] = [
        Self::Reload,
        Self::Forgive,
        Self::RecyclePool,
        Self::RecycleWorker,
        Self::KillWorker,
        Self::RemoveJob,
        Self::RetryJob,
        Self::BackUpJobs,
    ];

    /// The label value.
    pub fn label(self) -> &'static str {
        match self {
            Self::Reload => "reload",
            Self::Forgive => "forgive",
            Self::RecyclePool => "recycle_pool",
            Self::RecycleWorker => "recycle_worker",
            Self::KillWorker => "kill_worker",
            Self::RemoveJob => "remove_job",
            Self::RetryJob => "retry_job",
            Self::BackUpJobs => "back_up_jobs",
        }
    }
}

/// How a call ended (`httpipe_calls_total{outcome}`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallOutcome {
    /// With an answer.
    Ok,
    /// Its caller left before the answer.
    Abandoned,
    /// With a failure of this code.
    Failed(Code),
}

impl CallOutcome {
    /// How many outcomes there are.
    pub(super) const COUNT: usize = 2 + Code::ALL.len();

    /// Returns every outcome, in the order of [`Self::index`].
    pub(super) fn all() -> impl Iterator<Item = Self> {
        [Self::Ok, Self::Abandoned].into_iter().chain(Code::ALL.map(Self::Failed))
    }

    /// Returns the place of the outcome among all of them.
    pub(super) fn index(self) -> usize {
        match self {
            Self::Ok => 0,
            Self::Abandoned => 1,
            Self::Failed(code) => 2 + code as usize,
        }
    }

    /// Returns the label value.
    pub fn label(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Abandoned => "abandoned",
            Self::Failed(code) => code.as_str(),
        }
    }
}
