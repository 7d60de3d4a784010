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
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Abandoned => "abandoned",
            Self::Failed(code) => code.as_str(),
        }
    }
}
