//! What all threads know of the jobs without asking the file: which go next, how many there are, and
//! who waits for a change.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};

use super::job::{Job, JobId, JobStart, WallTime};
use super::order::{NextJob, Rank};
use super::tally::JobCounts;
use super::turns::PoolTurns;
use crate::base::Progress;
use crate::observe::metrics::JobMetrics;

/// What all threads know of the jobs.
#[derive(Debug, Default)]
pub struct JobBoard {
    inner: Mutex<Posted>,
    /// How many times it has changed which jobs go next.
    changes: AtomicU64,
    /// A job waits that did not wait before.
    came: Notify,
    failing: AtomicBool,
    misplaced: AtomicBool,
    metrics: OnceLock<Arc<JobMetrics>>,
}

#[derive(Debug, Default)]
struct Posted {
    next: HashMap<Arc<str>, PoolTurns>,
    watched: HashMap<JobId, WatchedJob>,
    /// How far jobs are that run and have said so.
    progress: HashMap<JobId, Progress>,
    counts: JobCounts,
    /// The server is about to end: no job changes from now on.
    is_closed: bool,
}

/// What those who watch one job are told.
#[derive(Debug)]
struct WatchedJob {
    /// How many watch it. Receivers are no measure of that: they leave after the lock is free again.
    watchers: usize,
    changes: watch::Sender<Option<Job>>,
    progress: watch::Sender<()>,
}

/// Waits for changes of one job.
#[derive(Debug)]
pub struct JobWatch {
    id: JobId,
    changes: watch::Receiver<Option<Job>>,
    progress: watch::Receiver<()>,
    board: Arc<JobBoard>,
}

impl JobWatch {
    /// Waits until the job changes, and returns it as it then is; `None`: it was removed.
    ///
    /// # Errors
    ///
    /// The server is about to end.
    pub async fn changed(&mut self) -> Result<Option<Job>, Closing> {
        self.changes.changed().await.map_err(|_| Closing)?;
        Ok(self.changes.borrow_and_update().clone())
    }

    /// Waits until nobody wants what comes of this start any longer: the job was canceled or removed, or
    /// an operator had it begun again since. Where that is no longer told, this waits for ever.
    pub async fn until_unwanted(&mut self, start: JobStart) {
        loop {
            match self.changed().await {
                // What is told may be of the time before this start.
                Ok(Some(job)) if !job.state.has_ended() && job.started <= Some(start.at) => {}
                Ok(_) => return,
                Err(Closing) => std::future::pending().await,
            }
        }
    }

    /// Waits until the job has said how far it is, or changes. Returns the job if it has changed, as
    /// [`JobWatch::changed`] does.
    ///
    /// # Errors
    ///
    /// The server is about to end.
    pub async fn moved(&mut self) -> Result<Option<Option<Job>>, Closing> {
        tokio::select! {
            biased;
            changed = self.changes.changed() => {
                changed.map_err(|_| Closing)?;
                Ok(Some(self.changes.borrow_and_update().clone()))
            }
            told = self.progress.changed() => told.map(|()| None).map_err(|_| Closing),
        }
    }

    /// Returns how far the job is, if it runs and has said so.
    pub fn progress(&self) -> Option<Progress> {
        self.board.progress(self.id)
    }
}

/// The server is about to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closing;

impl Drop for JobWatch {
    fn drop(&mut self) {
        let mut posted = self.board.lock();
        let Some(job) = posted.watched.get_mut(&self.id) else { return };
        job.watchers -= 1;
        if job.watchers == 0 {
            posted.watched.remove(&self.id);
        }
    }
}

impl JobBoard {
    fn lock(&self) -> MutexGuard<'_, Posted> {
        // Nothing panics while the lock is held.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes which jobs go next.
    fn change_next<T>(&self, change: impl FnOnce(&mut HashMap<Arc<str>, PoolTurns>) -> T) -> T {
        let mut posted = self.lock();
        let result = change(&mut posted.next);
        // Under the lock: a reader of the new number finds the change.
        self.changes.fetch_add(1, Ordering::Release);
        result
    }

    /// Returns a number that changes whenever other jobs go next. To read it takes no lock.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// Watches a job from now on.
    pub fn watch(self: &Arc<Self>, id: JobId) -> JobWatch {
        let mut posted = self.lock();
        let (changes, progress) = if posted.is_closed {
            (watch::channel(None).1, watch::channel(()).1)
        } else {
            let new = || WatchedJob {
                watchers: 0,
                changes: watch::channel(None).0,
                progress: watch::channel(()).0,
            };
            let job = posted.watched.entry(id).or_insert_with(new);
            job.watchers += 1;
            (job.changes.subscribe(), job.progress.subscribe())
        };
        JobWatch { id, changes, progress, board: Arc::clone(self) }
    }

    /// Notes how far a job is that runs; `None`: it has not said so, or runs no longer.
    pub fn note_progress(&self, id: JobId, progress: Option<Progress>) {
        let mut posted = self.lock();
        let Some(progress) = progress else {
            posted.progress.remove(&id);
            return;
        };
        posted.progress.insert(id, progress);
        if let Some(job) = posted.watched.get(&id) {
            job.progress.send_replace(());
        }
    }

    /// Returns how far a job is, if it runs and has said so.
    pub fn progress(&self, id: JobId) -> Option<Progress> {
        self.lock().progress.get(&id).cloned()
    }

    /// Ends every watch. Nothing more is watched.
    pub fn close(&self) {
        let mut posted = self.lock();
        posted.is_closed = true;
        posted.watched.clear();
    }

    /// Tells those who watch a job what it is now; `None`: it was removed.
    pub(super) fn tell(&self, id: JobId, job: Option<&Job>) {
        if let Some(watched) = self.lock().watched.get(&id) {
            watched.changes.send_replace(job.cloned());
        }
    }

    /// Adds a job that begins to wait.
    pub(super) fn queue(&self, job: &Job) {
        let next = NextJob {
            turn: Rank { due: job.due, seq: job.seq },
            id: job.id,
            created: job.created,
            owner: job.owner.clone().unwrap_or_default(),
        };
        self.change_next(|pools| pools.entry(Arc::clone(&job.pool)).or_default().add(next));
        self.came.notify_one();
    }

    /// Takes out a job that waits no longer.
    pub(super) fn unqueue(&self, job: &Job) {
        let owner = job.owner.as_deref().unwrap_or_default();
        self.change_next(|pools| {
            if let Some(next) = pools.get_mut(&job.pool) {
                next.remove(owner, Rank { due: job.due, seq: job.seq });
            }
        });
    }

    /// Notes that the file has jobs of this owner that wait.
    pub(super) fn expect(&self, pool: Arc<str>, owner: &Arc<str>) {
        self.change_next(|pools| pools.entry(pool).or_default().expect(owner));
    }

    /// Returns the pools and owners with too few known jobs, and what to ask for.
    pub(super) fn wanting(&self) -> Vec<(Arc<str>, Arc<str>, Rank, u32)> {
        let posted = self.lock();
        let mut wanting = Vec::new();
        for (pool, next) in &posted.next {
            let wants = next.wants();
            wanting.extend(wants.map(|(owner, from, most)| (Arc::clone(pool), owner, from, most)));
        }
        wanting
    }

    /// Adds what was asked for.
    pub(super) fn extend(&self, pool: &str, owner: &str, jobs: Vec<NextJob>, most: u32) {
        let is_news = !jobs.is_empty();
        self.change_next(|pools| {
            if let Some(next) = pools.get_mut(pool) {
                next.extend(owner, jobs, most);
            }
        });
        if is_news {
            self.came.notify_one();
        }
    }

    /// Posts how many jobs there are.
    pub(super) fn post(&self, counts: &JobCounts) {
        let mut posted = self.lock();
        if posted.counts != *counts {
            posted.counts.clone_from(counts);
        }
    }

    /// Counts transactions here from now on.
    pub fn measure(&self, metrics: Arc<JobMetrics>) {
        self.metrics.get_or_init(|| metrics);
    }

    /// Counts a transaction that took so long.
    pub(super) fn committed(&self, time: Duration) {
        if let Some(metrics) = self.metrics.get() {
            metrics.committed(time);
        }
    }

    /// Counts a job that cannot be read.
    pub(super) fn unreadable(&self) {
        if let Some(metrics) = self.metrics.get() {
            metrics.unreadable();
        }
    }

    /// Notes whether the file can be written.
    pub(super) fn set_failing(&self, failing: bool) {
        let was_failing = self.failing.swap(failing, Ordering::AcqRel);
        if was_failing && !failing {
            // What waits may begin again.
            self.came.notify_one();
        }
    }

    /// Notes whether the file is where it was. Returns whether it was not until now.
    pub(super) fn set_misplaced(&self, misplaced: bool) -> bool {
        let was_misplaced = self.misplaced.swap(misplaced, Ordering::AcqRel);
        if was_misplaced && !misplaced {
            self.came.notify_one();
        }
        was_misplaced
    }

    /// Returns true if the file is no longer where it was.
    pub(super) fn is_misplaced(&self) -> bool {
        self.misplaced.load(Ordering::Acquire)
    }

    /// Returns true if the file cannot be written, or would be lost.
    pub fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Acquire) || self.is_misplaced()
    }

    /// Returns how many jobs of each pool are in each state.
    pub fn counts(&self) -> JobCounts {
        self.lock().counts.clone()
    }

    /// Returns how many jobs wait for a worker.
    #[cfg(test)]
    pub fn waiting(&self) -> u64 {
        let queued = super::job::JobState::Queued as usize;
        self.lock().counts.values().map(|counts| counts[queued]).sum()
    }

    /// Returns when the job of a pool was accepted that has waited longest.
    pub fn oldest(&self, pool: &str) -> Option<WallTime> {
        self.lock().next.get(pool)?.oldest()
    }

    /// Takes the job that goes next in a pool. It must be claimed, or put back.
    pub fn take(&self, pool: &str) -> Option<NextJob> {
        self.change_next(|pools| pools.get_mut(pool)?.take())
    }

    /// Puts back a job that was taken.
    pub fn put_back(&self, pool: &str, job: NextJob) {
        self.change_next(|pools| {
            if let Some(next) = pools.get_mut(pool) {
                next.add(job);
            }
        });
    }

    /// Waits until a job waits that did not wait before. There can be one waiter.
    pub async fn one_came(&self) {
        self.came.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::thread;

    use super::*;

    #[test]
    fn watchers_that_leave_together_leave_nothing_behind() {
        let (board, id) = (Arc::new(JobBoard::default()), JobId([7; 16]));
        for _ in 0..2_000 {
            let (watches, together) = ([board.watch(id), board.watch(id)], Barrier::new(2));
            thread::scope(|threads| {
                for watch in watches {
                    threads.spawn(|| {
                        together.wait();
                        drop(watch);
                    });
                }
            });
            assert!(board.lock().watched.is_empty());
        }
    }
}
