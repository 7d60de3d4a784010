//! What the rooms say of a worker: why it ended, and how many are in which state.
//!
//! The pool decides by these, metrics count them, and the log and the status page show them.

/// Why a worker ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExitReason {
    /// It ended by itself.
    Crash,
    /// A call took longer than `timeout`.
    Timeout,
    /// It wrote something that matches no call, or that is no message.
    BadAnswer,
    /// It wrote while nothing was asked.
    UnaskedOutput,
    /// It wrote a message longer than `message_max`.
    TooBig,
    /// It did not become ready.
    StartFailed,
    /// The pool replaced it because of its calls, memory or age.
    Recycled,
    /// The pool needed fewer workers.
    ScaledDown,
    /// A reload replaced its pool.
    Reloaded,
    /// The server stopped.
    Stopped,
    /// An operator killed it.
    Killed,
}

impl ExitReason {
    /// Every reason, in the order of declaration.
    pub const ALL: [Self; 11] = [
        Self::Crash,
        Self::Timeout,
        Self::BadAnswer,
        Self::UnaskedOutput,
        Self::TooBig,
        Self::StartFailed,
        Self::Recycled,
        Self::ScaledDown,
        Self::Reloaded,
        Self::Stopped,
        Self::Killed,
    ];

    /// The one word for it in metrics, log and status.
    pub fn label(self) -> &'static str {
        match self {
            Self::Crash => "crash",
            Self::Timeout => "timeout",
            Self::BadAnswer => "bad_answer",
            Self::UnaskedOutput => "unasked_output",
            Self::TooBig => "too_big",
            Self::StartFailed => "start_failed",
            Self::Recycled => "recycled",
            Self::ScaledDown => "scaled_down",
            Self::Reloaded => "reloaded",
            Self::Stopped => "stopped",
            Self::Killed => "killed",
        }
    }
}

/// How many workers of a pool are in each state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct WorkerCounts {
    /// Not yet ready.
    pub starting: usize,
    /// Ready, without a call.
    pub ready: usize,
    /// With at least one call.
    pub busy: usize,
    /// Told to stop.
    pub leaving: usize,
}

impl WorkerCounts {
    /// Returns the name of each state with its number.
    pub fn by_state(self) -> [(&'static str, usize); 4] {
        [
            ("starting", self.starting),
            ("ready", self.ready),
            ("busy", self.busy),
            ("leaving", self.leaving),
        ]
    }
}
