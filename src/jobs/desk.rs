//! The thread of the file, and how others reach it.
//!
//! Whatever waits when the thread has time becomes one transaction, and nobody is answered before it
//! is on the disk. So a hundred callers share one wait for the disk.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use tokio::sync::{Semaphore, mpsc, oneshot};

use super::board::JobBoard;
use super::job::{ClaimedJob, Job, JobEnd, JobId, JobStart, NewJob};
use super::keeper::Keeper;
use super::request::{KeeperSettings, StoreDone, StoreFailed, StoreRequest, StoreWork};
use super::schema::{FileLock, NotOpened};
use super::store::{Acceptance, JobFilter, JobRefusal, JobRemoval, KeptJob, WaitingJobs};

/// Most operations that wait for the thread; the next one waits where it was asked for.
const WAITING_MAX: usize = 1024;
/// How many answers are read at the same time.
const READING_MOST: usize = 4;

/// The jobs, for every thread.
#[derive(Clone, Debug)]
pub struct JobDesk {
    asked: mpsc::Sender<StoreRequest>,
    board: Arc<JobBoard>,
    /// Turns of those who read answers.
    reading: Arc<Semaphore>,
    /// Most bytes of one answer.
    result_most: Arc<AtomicU64>,
    /// What became of the jobs that ran when the last server ended.
    pub recovered: Recovered,
}

/// What became of the jobs that ran when the last server ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// How many wait again.
    pub queued: usize,
    /// How many failed, since they may not be started again.
    pub failed: usize,
}

/// The thread of the file; it ends when the last [`JobDesk`] is gone.
#[derive(Debug)]
pub struct JobThread(JoinHandle<()>);

/// Opens the file and starts its thread. Returns once it is known what became of the jobs that ran
/// when the last server ended.
///
/// # Errors
///
/// Why the file cannot be used.
pub fn open(path: &Path, settings: KeeperSettings) -> Result<(JobDesk, JobThread), NotOpened> {
    let lock = FileLock::take(path)?;
    let board = Arc::new(JobBoard::default());
    let result_most = Arc::new(AtomicU64::new(settings.result));
    let (keeper, (queued, failed)) = Keeper::open(lock, settings, Arc::clone(&board))?;
    let (asked, receive) = mpsc::channel(WAITING_MAX);
    let thread = std::thread::Builder::new().name("jobs".to_owned());
    let thread = thread.spawn(move || keeper.serve(receive));
    let path = path.to_owned();
    let thread = thread.map_err(|error| NotOpened::Unreachable { path, error })?;
    let recovered = Recovered { queued, failed };
    let reading = Arc::new(Semaphore::new(READING_MOST));
    Ok((JobDesk { asked, board, reading, result_most, recovered }, JobThread(thread)))
}

impl JobThread {
    /// Waits until the file is closed.
    pub fn join(self) {
        // A panic was logged.
        self.0.join().ok();
    }
}

impl JobDesk {
    /// What is known without asking the file.
    pub fn board(&self) -> &Arc<JobBoard> {
        &self.board
    }

    async fn ask(&self, work: StoreWork) -> Result<StoreDone, StoreFailed> {
        let (tell, told) = oneshot::channel();
        self.asked.send(StoreRequest::new(work, tell)).await.map_err(|_| StoreFailed)?;
        told.await.unwrap_or(Err(StoreFailed))
    }

    /// Returns how many bytes an answer may have.
    pub fn result_most(&self) -> u64 {
        self.result_most.load(Ordering::Relaxed)
    }

    /// Lets other limits hold, for what comes from now on.
    pub async fn limit(&self, settings: KeeperSettings) {
        self.result_most.store(settings.result, Ordering::Relaxed);
        // Where the thread has ended, nothing comes any longer.
        self.ask(StoreWork::Limit(settings)).await.ok();
    }

    /// Closes the file, once all that was asked for before is done.
    pub async fn close(&self) {
        // The thread has ended before, where that fails.
        self.ask(StoreWork::Close).await.ok();
    }

    /// Returns true if the file is closed.
    pub fn is_closed(&self) -> bool {
        self.asked.is_closed()
    }

    /// Accepts a job. It is on the disk when this returns.
    pub async fn accept(&self, new: NewJob) -> Result<Result<Acceptance, JobRefusal>, StoreFailed> {
        match self.ask(StoreWork::Accept(Box::new(new))).await? {
            StoreDone::Accepted(accepted) => Ok(accepted),
            _ => Err(StoreFailed),
        }
    }

    /// Begins a job that was taken from the board; `None`: it waits no longer. If the job may not run
    /// twice, its start is on the disk when this returns.
    pub async fn claim(&self, seq: i64) -> Result<Option<ClaimedJob>, StoreFailed> {
        match self.ask(StoreWork::Claim(seq)).await? {
            StoreDone::Claimed(claimed) => Ok(claimed.map(|(_, claimed)| *claimed)),
            _ => Err(StoreFailed),
        }
    }

    /// Ends a job with what came of this start, unless it has ended or was started again.
    pub async fn end(&self, start: JobStart, end: JobEnd) -> Result<(), StoreFailed> {
        self.ask(StoreWork::End(start, end)).await.map(|_| ())
    }

    /// Lets a job wait again that runs since this start. `forgets_start`: as if it had not been started.
    pub async fn give_back(&self, start: JobStart, forgets_start: bool) -> Result<(), StoreFailed> {
        self.ask(StoreWork::GiveBack(start, forgets_start)).await.map(|_| ())
    }

    /// Cancels a job of this caller that is open, or removes one that has ended.
    pub async fn remove(
        &self,
        id: JobId,
        caller: Option<Arc<str>>,
    ) -> Result<JobRemoval, StoreFailed> {
        match self.ask(StoreWork::Remove(id, caller, false)).await? {
            StoreDone::Removed(removal) => Ok(removal),
            _ => Err(StoreFailed),
        }
    }

    /// Cancels or removes a job for an operator.
    pub async fn remove_any(&self, id: JobId) -> Result<JobRemoval, StoreFailed> {
        match self.ask(StoreWork::Remove(id, None, true)).await? {
            StoreDone::Removed(removal) => Ok(removal),
            _ => Err(StoreFailed),
        }
    }

    /// Returns a job of this caller.
    pub async fn look(
        &self,
        id: JobId,
        caller: Option<Arc<str>>,
    ) -> Result<Option<Job>, StoreFailed> {
        match self.ask(StoreWork::Look(id, caller)).await? {
            StoreDone::Seen(job) => Ok(job),
            _ => Err(StoreFailed),
        }
    }

    /// Returns a job of this caller, and how many bytes its answer has.
    pub async fn weigh(
        &self,
        id: JobId,
        caller: Option<Arc<str>>,
    ) -> Result<Option<(Job, usize)>, StoreFailed> {
        match self.ask(StoreWork::Weigh(id, caller)).await? {
            StoreDone::Weighed(found) => Ok(found),
            _ => Err(StoreFailed),
        }
    }

    /// Returns a job of this caller with its answer. Few are read at the same time, so that the
    /// thread has time for others. Make room for the answer before this is called.
    pub async fn result(
        &self,
        id: JobId,
        caller: Option<Arc<str>>,
    ) -> Result<Option<KeptJob>, StoreFailed> {
        let _turn = self.reading.acquire().await.map_err(|_| StoreFailed)?;
        match self.ask(StoreWork::Result(id, caller)).await? {
            StoreDone::Kept(kept) => Ok(kept),
            _ => Err(StoreFailed),
        }
    }

    /// Returns the jobs that an operator wants to see.
    pub async fn list(&self, filter: JobFilter) -> Result<Vec<Job>, StoreFailed> {
        match self.ask(StoreWork::List(filter)).await? {
            StoreDone::Listed(jobs) => Ok(jobs),
            _ => Err(StoreFailed),
        }
    }

    /// Returns how many jobs of each pool and route wait.
    pub async fn waiting(&self) -> Result<Vec<WaitingJobs>, StoreFailed> {
        match self.ask(StoreWork::Waiting).await? {
            StoreDone::Waits(waiting) => Ok(waiting),
            _ => Err(StoreFailed),
        }
    }

    /// Lets a job that failed or was canceled wait again. Returns it, and whether it was changed.
    pub async fn retry(&self, id: JobId) -> Result<Option<(Job, bool)>, StoreFailed> {
        match self.ask(StoreWork::Retry(id)).await? {
            StoreDone::Retried(retried) => Ok(retried),
            _ => Err(StoreFailed),
        }
    }

    /// Writes all jobs into another file, which must not be there.
    pub async fn back_up(&self, path: PathBuf) -> Result<Result<(), io::Error>, StoreFailed> {
        match self.ask(StoreWork::Backup(path)).await? {
            StoreDone::Copied(result) => Ok(result),
            _ => Err(StoreFailed),
        }
    }
}

#[cfg(test)]
impl JobDesk {
    /// A desk that is answered by this, without a file.
    pub(super) fn scripted(
        answer: impl Fn(StoreWork) -> Result<StoreDone, StoreFailed> + Send + 'static,
    ) -> Self {
        let (asked, mut receive) = mpsc::channel::<StoreRequest>(1);
        std::thread::spawn(move || {
            while let Some(StoreRequest { work, tell, .. }) = receive.blocking_recv() {
                if let Some(tell) = tell {
                    tell.send(answer(work)).ok();
                }
            }
        });
        let reading = Arc::new(Semaphore::new(READING_MOST));
        let (board, recovered) = (Arc::default(), Recovered::default());
        Self { asked, board, reading, result_most: Arc::default(), recovered }
    }
}
