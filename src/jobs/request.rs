//! What is asked of the thread that owns the file, and what it answers.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::job::{ClaimedJob, Job, JobEnd, JobId, JobStart, NewJob};
use super::store::{
    Acceptance, JobFilter, JobRefusal, JobRemoval, KeptJob, StoreLimits, WaitingJobs,
};

/// The file cannot be read or written now. The log says why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreFailed;

/// How the file is kept.
#[derive(Clone, Copy, Debug)]
pub struct KeeperSettings {
    /// How much may be kept.
    pub limits: StoreLimits,
    /// Most bytes of one answer.
    pub result: u64,
    /// How many jobs run at once at most.
    pub slots: u64,
}

/// What is done to the file.
#[derive(Clone, Debug)]
pub(super) enum StoreWork {
    Accept(Box<NewJob>),
    Claim(i64),
    End(JobStart, JobEnd),
    GiveBack(JobStart, bool),
    Remove(JobId, Option<Arc<str>>, bool),
    Look(JobId, Option<Arc<str>>),
    Weigh(JobId, Option<Arc<str>>),
    Result(JobId, Option<Arc<str>>),
    List(JobFilter),
    Waiting,
    Retry(JobId),
    Backup(PathBuf),
    Limit(KeeperSettings),
    Close,
}

impl StoreWork {
    /// Returns true if it may change the file.
    pub(super) fn writes(&self) -> bool {
        match self {
            Self::Look(..)
            | Self::Weigh(..)
            | Self::Result(..)
            | Self::List(_)
            | Self::Waiting
            | Self::Limit(_) => false,
            Self::Accept(_)
            | Self::Claim(_)
            | Self::End(..)
            | Self::GiveBack(..)
            | Self::Remove(..)
            | Self::Retry(_)
            | Self::Backup(_)
            | Self::Close => true,
        }
    }

    /// Returns how many bytes it brings.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Accept(new) => new.text.len(),
            Self::End(_, JobEnd::Answer { body, .. }) => body.len(),
            _ => 0,
        }
    }
}

/// What became of it.
#[derive(Debug)]
pub(super) enum StoreDone {
    Accepted(Result<Acceptance, JobRefusal>),
    Claimed(Option<(Job, Box<ClaimedJob>)>),
    Ended(Option<Job>),
    GivenBack(Option<Job>),
    Removed(JobRemoval),
    Seen(Option<Job>),
    Weighed(Option<(Job, usize)>),
    Kept(Option<KeptJob>),
    Listed(Vec<Job>),
    Waits(Vec<WaitingJobs>),
    Retried(Option<(Job, bool)>),
    Copied(Result<(), io::Error>),
    Limited,
}

/// One operation, and who waits for it.
#[derive(Debug)]
pub(super) struct StoreRequest {
    pub(super) work: StoreWork,
    /// Whom to tell; `None`: they were told.
    pub(super) tell: Option<oneshot::Sender<Result<StoreDone, StoreFailed>>>,
    /// The start that a claim made, once it was done. It is the same one if the claim is done again.
    pub(super) start: Option<JobStart>,
}

impl StoreRequest {
    /// A request of somebody who waits.
    pub(super) fn new(
        work: StoreWork,
        tell: oneshot::Sender<Result<StoreDone, StoreFailed>>,
    ) -> Self {
        Self { work, tell: Some(tell), start: None }
    }

    /// Returns true if it cannot be a part of a transaction.
    pub(super) fn is_alone(&self) -> bool {
        matches!(self.work, StoreWork::Backup(_) | StoreWork::Close)
    }
}
