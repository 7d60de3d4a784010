//! Keeps the file: takes what is asked for together, commits, and only then answers.

mod care;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::ErrorCode;
use tokio::sync::{mpsc, oneshot};

use super::board::JobBoard;
use super::clock::SteadyClock;
use super::copying::Copying;
use super::disk;
use super::job::{Job, JobId, JobStart};
use super::request::{KeeperSettings, StoreDone, StoreFailed, StoreRequest, StoreWork};
use super::schema::{self, FileLock, NotOpened};
use super::store::{Acceptance, JobRefusal, JobRemoval, JobViewer, Store};

/// Most operations in one transaction.
const GROUP_MOST: usize = 1024;
/// Most bytes in one transaction, as far as one operation does not bring more.
const GROUP_BYTES: usize = 8 << 20;
/// How often the keeper looks for jobs whose time is over.
const LOOK: Duration = Duration::from_secs(1);
/// How often the keeper looks whether a copy is finished.
const COPIED: Duration = Duration::from_millis(20);
/// Most jobs whose time is over in one transaction.
const OVER_MOST: u32 = 512;
/// How long a figure of the room on the disk holds.
const FRESH: Duration = Duration::from_millis(100);
/// What the disk must have left, besides room for the answers of jobs that run.
const RESERVE: u64 = 64 << 20;

/// The owner of the file.
#[derive(Debug)]
pub(super) struct Keeper {
    /// `None`: it is to be opened again.
    store: Option<Store>,
    clock: SteadyClock,
    settings: KeeperSettings,
    board: Arc<JobBoard>,
    /// Jobs and starts that failed for all that callers know, and that the disk may have nevertheless.
    refused: Vec<JobId>,
    unclaimed: Vec<JobStart>,
    /// Jobs that were to wait again when that failed, and that wait if the disk has it nevertheless.
    retried: Vec<JobId>,
    /// Starts that the file does not have: their claims were told, and then could not be written.
    begun: Vec<JobStart>,
    /// A copy that is being written, and who waits for it.
    copying: Option<(Copying, oneshot::Sender<Result<StoreDone, StoreFailed>>)>,
    /// At the last look there was no job, and no page to give back; nothing was written since.
    rests: bool,
    /// Room on the disk as it was a moment ago.
    free: Option<(Instant, u64)>,
    /// Dropped after the store.
    lock: FileLock,
}

impl Keeper {
    /// Opens the file, and decides what becomes of the jobs that ran.
    pub(super) fn open(
        lock: FileLock,
        settings: KeeperSettings,
        board: Arc<JobBoard>,
    ) -> Result<(Self, (usize, usize)), NotOpened> {
        let connection = schema::open(&lock)?;
        let store = Store::new(connection).map_err(|error| lock.unusable(error))?;
        let latest = store.latest().map_err(|error| lock.unusable(error))?;
        let clock = SteadyClock::new(latest);
        let (refused, unclaimed) = (Vec::new(), Vec::new());
        let mut keeper = Self {
            store: Some(store),
            clock,
            settings,
            board,
            refused,
            unclaimed,
            retried: Vec::new(),
            begun: Vec::new(),
            copying: None,
            rests: false,
            free: None,
            lock,
        };
        let recovered = keeper.recover();
        let recovered = recovered.and_then(|both| keeper.expect_waiting().map(|()| both));
        let recovered = recovered.map_err(|error| keeper.lock.unusable(error))?;
        keeper.post();
        Ok((keeper, recovered))
    }

    fn recover(&mut self) -> rusqlite::Result<(usize, usize)> {
        let now = self.clock.now();
        self.store.as_mut().map_or(Ok((0, 0)), |store| store.recover(now))
    }

    /// Tells the board whose jobs wait.
    fn expect_waiting(&self) -> rusqlite::Result<()> {
        let Some(store) = &self.store else { return Ok(()) };
        for (pool, owner) in store.owners_waiting()? {
            self.board.expect(pool, &owner);
        }
        Ok(())
    }

    /// Serves until the last desk is dropped.
    pub(super) fn serve(mut self, mut asked: mpsc::Receiver<StoreRequest>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => {
                tracing::error!(%error, "the thread of the jobs cannot run");
                return self.board.set_failing(true);
            }
        };
        let mut looked = Instant::now();
        loop {
            let patience = LOOK.saturating_sub(looked.elapsed());
            let patience = if self.copying.is_some() { patience.min(COPIED) } else { patience };
            let first = runtime.block_on(async {
                // Made inside, where the timer is.
                tokio::time::timeout(patience, asked.recv()).await
            });
            match first {
                Ok(None) => return,
                Ok(Some(first)) => {
                    let mut group = gather(first, &mut asked);
                    let closing = group.pop_if(|last| matches!(last.work, StoreWork::Close));
                    if !group.is_empty() {
                        self.turn(group);
                    }
                    if closing.is_some() {
                        return;
                    }
                }
                Err(_) => {}
            }
            self.finish_copy();
            if looked.elapsed() >= LOOK {
                looked = Instant::now();
                self.look_for_file();
                self.look_for_ended();
            }
            self.post();
        }
    }

    /// Does a group of operations, and answers each.
    pub(super) fn turn(&mut self, mut group: Vec<StoreRequest>) {
        if !self.reopen() {
            self.note_begun(&group);
            return refuse(group);
        }
        if group.len() > 1 && group.last().is_some_and(StoreRequest::is_alone) {
            let last = group.pop();
            self.turn(group);
            return self.turn(last.into_iter().collect());
        }
        if let [StoreRequest { work: StoreWork::Backup(path), .. }] = &group[..] {
            let path = path.clone();
            return self.back_up(&path, group);
        }
        match self.commit(&mut group) {
            Ok(done) => self.answer(group, done),
            // One that brings too much or cannot be read must not fail the others.
            Err(error) if group.len() > 1 && (is_full(&error) || is_of_row(&error)) => {
                for asked in group {
                    self.turn(vec![asked]);
                }
            }
            Err(error) if is_of_row(&error) => self.pass_over(group, &error),
            Err(error) => {
                self.fail(&group, &error);
                refuse(group);
            }
        }
    }

    /// Fails the job of an operation that could not be done because its row cannot be read.
    fn pass_over(&mut self, group: Vec<StoreRequest>, error: &rusqlite::Error) {
        let done = group.first().and_then(|asked| match asked.work {
            StoreWork::Claim(seq) => Some((seq, StoreDone::Claimed(None))),
            StoreWork::End(start, _) => Some((start.seq, StoreDone::Ended(None))),
            StoreWork::GiveBack(start, _) => Some((start.seq, StoreDone::GivenBack(None))),
            _ => None,
        });
        let Some((seq, done)) = done else {
            tracing::error!(%error, "a job cannot be read");
            return refuse(group);
        };
        let now = self.clock.now();
        let Some(store) = &mut self.store else { return refuse(group) };
        match store.set_aside(seq, now) {
            Ok(()) => {
                self.count_unreadable(seq, error);
                self.answer(group, vec![done]);
            }
            Err(error) => {
                self.fail(&group, &error);
                refuse(group);
            }
        }
    }

    fn count_unreadable(&self, seq: i64, error: &rusqlite::Error) {
        tracing::error!(seq, %error, "a job cannot be read: it fails, and the others go on");
        self.board.unreadable();
    }

    /// Does a group of operations in one transaction.
    fn commit(&mut self, group: &mut [StoreRequest]) -> rusqlite::Result<Vec<StoreDone>> {
        let Some(store) = &mut self.store else { return Ok(Vec::new()) };
        store.tally.begin();
        store.connection().execute_batch("BEGIN IMMEDIATE")?;
        let writes = group.iter().any(|asked| asked.work.writes());
        self.rests &= !writes;
        let done = if writes { self.begin_again() } else { Ok(()) };
        let done = done.and_then(|()| self.do_all(group));
        let store = self.store.as_mut().expect("it is open during a transaction");
        let done = done.and_then(|done| {
            #[cfg(test)]
            super::fixture::moment()?;
            let begun = Instant::now();
            store.connection().execute_batch("COMMIT")?;
            self.board.committed(begun.elapsed());
            if writes {
                self.begun.clear();
            }
            #[cfg(test)]
            super::fixture::moment_after()?;
            Ok(done)
        });
        if done.is_err() {
            store.tally.roll_back();
            if !store.connection().is_autocommit() {
                // Where this fails, the file is opened again.
                store.connection().execute_batch("ROLLBACK").ok();
            }
        }
        done
    }

    /// Writes down which jobs have begun, where that failed before.
    fn begin_again(&mut self) -> rusqlite::Result<()> {
        let store = self.store.as_mut().expect("it is open during a transaction");
        self.begun.iter().try_for_each(|start| store.begin(*start))
    }

    fn do_all(&mut self, group: &mut [StoreRequest]) -> rusqlite::Result<Vec<StoreDone>> {
        let mut all = Vec::with_capacity(group.len());
        for asked in group {
            let done = self.do_one(&asked.work, asked.start)?;
            if let StoreDone::Claimed(Some(both)) = &done {
                asked.start = Some(both.1.start);
                if both.1.idempotent
                    && let Some(tell) = asked.tell.take()
                {
                    // What may run twice need not wait for the disk.
                    tell.send(Ok(StoreDone::Claimed(Some(both.clone())))).ok();
                }
            }
            all.push(done);
        }
        Ok(all)
    }

    /// Does one operation; `start` is the one that it made when it was done before, and undone.
    fn do_one(&mut self, work: &StoreWork, start: Option<JobStart>) -> rusqlite::Result<StoreDone> {
        let now = self.clock.now();
        let has_room = !matches!(work, StoreWork::Accept(_)) || self.has_room();
        let limits = self.settings.limits;
        let store = self.store.as_mut().expect("it is open during a transaction");
        Ok(match work {
            StoreWork::Accept(new) if !has_room => {
                StoreDone::Accepted(store.known(new)?.unwrap_or(Err(JobRefusal::Disk)))
            }
            StoreWork::Accept(new) if self.board.is_misplaced() => {
                StoreDone::Accepted(store.known(new)?.unwrap_or(Err(JobRefusal::Misplaced)))
            }
            StoreWork::Accept(new) => StoreDone::Accepted(store.accept(new, limits, now)?),
            StoreWork::Claim(seq) => {
                let claimed = store.claim(*seq, start.map_or(now, |start| start.at))?;
                StoreDone::Claimed(claimed.map(|(job, claimed)| (job, Box::new(claimed))))
            }
            StoreWork::End(start, end) => StoreDone::Ended(store.end(*start, end, now)?),
            StoreWork::GiveBack(start, forgets) => {
                StoreDone::GivenBack(store.give_back(*start, *forgets, now)?)
            }
            StoreWork::Remove(id, caller, is_operator) => {
                let viewer = match is_operator {
                    true => JobViewer::Operator,
                    false => JobViewer::Caller(caller.as_deref()),
                };
                StoreDone::Removed(store.remove(*id, viewer, now)?)
            }
            StoreWork::Look(id, caller) => {
                StoreDone::Seen(store.look(*id, JobViewer::Caller(caller.as_deref()))?)
            }
            StoreWork::Weigh(id, caller) => {
                StoreDone::Weighed(store.weigh(*id, JobViewer::Caller(caller.as_deref()))?)
            }
            StoreWork::Result(id, caller) => {
                StoreDone::Kept(store.result(*id, JobViewer::Caller(caller.as_deref()))?)
            }
            StoreWork::List(filter) => StoreDone::Listed(store.list(filter)?),
            StoreWork::Waiting => StoreDone::Waits(store.waiting_by_route()?),
            StoreWork::Retry(id) => StoreDone::Retried(store.retry(*id, now)?),
            StoreWork::Limit(settings) => {
                self.settings = *settings;
                StoreDone::Limited
            }
            // It is done alone.
            StoreWork::Backup(_) | StoreWork::Close => {
                StoreDone::Copied(Err(io::ErrorKind::ResourceBusy.into()))
            }
        })
    }

    /// Brings the log into the file every few pages.
    #[cfg(test)]
    pub(super) fn checkpoint_often(&self) {
        let connection = self.store.as_ref().expect("it is open").connection();
        connection.pragma_update(None, "wal_autocheckpoint", 24).expect("SQL");
    }

    /// Returns true if the disk has room for a job more, and for the answers of those that run.
    fn has_room(&mut self) -> bool {
        self.free() >= RESERVE + 2 * self.settings.result * self.settings.slots
    }

    /// Returns how many bytes the disk had left a moment ago.
    fn free(&mut self) -> u64 {
        let is_fresh = |(at, _): &(Instant, u64)| at.elapsed() < FRESH;
        let free = self.free.filter(is_fresh).map_or_else(
            || {
                let directory = self.lock.path.parent().unwrap_or(Path::new("/"));
                // What cannot be asked is found out by writing.
                disk::free_bytes(directory).unwrap_or(u64::MAX)
            },
            |(_, free)| free,
        );
        if self.free.is_none_or(|known| !is_fresh(&known)) {
            self.free = Some((Instant::now(), free));
        }
        free
    }

    fn answer(&mut self, group: Vec<StoreRequest>, done: Vec<StoreDone>) {
        for done in &done {
            self.tell(done);
        }
        // Before anyone is answered who might look.
        self.post();
        for (asked, done) in group.into_iter().zip(done) {
            if let Some(tell) = asked.tell {
                // A caller that has left needs no answer.
                tell.send(Ok(done)).ok();
            }
        }
    }

    /// Tells the board what has changed.
    fn tell(&self, done: &StoreDone) {
        let board = &self.board;
        let changed = |job: &Job| board.tell(job.id, Some(job));
        match done {
            StoreDone::Accepted(Ok(Acceptance::New(job))) => board.queue(job),
            StoreDone::Claimed(Some((job, _))) | StoreDone::Ended(Some(job)) => changed(job),
            StoreDone::GivenBack(Some(job)) | StoreDone::Retried(Some((job, true))) => {
                board.queue(job);
                changed(job);
            }
            StoreDone::Removed(JobRemoval::Canceled(job)) => {
                board.unqueue(job);
                changed(job);
            }
            StoreDone::Removed(JobRemoval::Removed(job)) => board.tell(job.id, None),
            _ => {}
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        // To close the database changes its file.
        self.stop_copy();
    }
}

/// Takes what waits behind the first operation, as far as it fits into one transaction.
fn gather(first: StoreRequest, asked: &mut mpsc::Receiver<StoreRequest>) -> Vec<StoreRequest> {
    let mut bytes = first.work.size();
    let mut group = vec![first];
    while group.len() < GROUP_MOST
        && bytes < GROUP_BYTES
        && !group.last().is_some_and(StoreRequest::is_alone)
    {
        let Ok(next) = asked.try_recv() else { break };
        bytes += next.work.size();
        group.push(next);
    }
    group
}

fn refuse(group: Vec<StoreRequest>) {
    for tell in group.into_iter().filter_map(|asked| asked.tell) {
        tell.send(Err(StoreFailed)).ok();
    }
}

/// Returns true if an error is about one row, not about the file.
fn is_of_row(error: &rusqlite::Error) -> bool {
    match error {
        rusqlite::Error::FromSqlConversionFailure(..)
        | rusqlite::Error::IntegralValueOutOfRange(..)
        | rusqlite::Error::InvalidColumnType(..)
        | rusqlite::Error::Utf8Error(..)
        | rusqlite::Error::QueryReturnedNoRows => true,
        // A page with a part of one job may be damaged and the others good.
        _ => error.sqlite_error_code() == Some(ErrorCode::DatabaseCorrupt),
    }
}

fn is_full(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DiskFull)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{
        Scratch, commits_fail, commits_seem_to_fail, new_job, settings, start_of,
    };
    use super::super::job::{JobEnd, JobState, NewJob};
    use super::*;
    use crate::base::Failure;

    fn keeper(scratch: &Scratch) -> Keeper {
        let lock = FileLock::take(&scratch.file()).expect("it is free");
        let board = Arc::new(JobBoard::default());
        Keeper::open(lock, settings(), board).expect("opened").0
    }

    /// Does one thing, and returns what was told.
    fn done(keeper: &mut Keeper, work: StoreWork) -> Option<StoreDone> {
        let (tell, mut told) = tokio::sync::oneshot::channel();
        keeper.turn(vec![StoreRequest::new(work, tell)]);
        told.try_recv().expect("it was told").ok()
    }

    fn accepted(keeper: &mut Keeper, new: NewJob) -> Job {
        match done(keeper, StoreWork::Accept(Box::new(new))) {
            Some(StoreDone::Accepted(Ok(Acceptance::New(job)))) => job,
            other => panic!("{other:?}"),
        }
    }

    fn seen(keeper: &mut Keeper, id: JobId) -> Job {
        match done(keeper, StoreWork::Look(id, None)) {
            Some(StoreDone::Seen(Some(job))) => job,
            other => panic!("{other:?}"),
        }
    }

    /// A disk may have all of a commit that failed.
    #[test]
    fn what_was_refused_is_not_there_when_the_disk_has_it_all_the_same() {
        let scratch = Scratch::new();
        let mut keeper = keeper(&scratch);
        let waits = accepted(&mut keeper, NewJob { idempotent: false, ..new_job("waits") });
        let refused = new_job("refused");
        commits_seem_to_fail(Some(rusqlite::ffi::SQLITE_IOERR));
        assert!(done(&mut keeper, StoreWork::Accept(Box::new(refused.clone()))).is_none());
        commits_seem_to_fail(None);
        let looked = done(&mut keeper, StoreWork::Look(refused.id, None));
        assert!(matches!(looked, Some(StoreDone::Seen(None))), "{looked:?}");
        commits_seem_to_fail(Some(rusqlite::ffi::SQLITE_IOERR));
        assert!(done(&mut keeper, StoreWork::Claim(waits.seq)).is_none());
        commits_seem_to_fail(None);
        let job = seen(&mut keeper, waits.id);
        assert_eq!((job.state, job.attempts), (JobState::Queued, 0), "{job:?}");
    }

    /// An operator heard that it failed, and may leave it at that.
    #[test]
    fn a_job_that_waits_again_although_that_seemed_to_fail_is_begun() {
        let scratch = Scratch::new();
        let mut keeper = keeper(&scratch);
        let job = accepted(&mut keeper, once("x"));
        keeper.board.take("a").expect("it waits");
        let start = claimed(&mut keeper, job.seq);
        done(&mut keeper, StoreWork::End(start, ENDED));
        commits_seem_to_fail(Some(rusqlite::ffi::SQLITE_IOERR));
        assert!(done(&mut keeper, StoreWork::Retry(job.id)).is_none());
        commits_seem_to_fail(None);
        assert_eq!(seen(&mut keeper, job.id).state, JobState::Queued);
        assert!(keeper.board.take("a").is_some(), "it goes next");
    }

    fn claimed(keeper: &mut Keeper, seq: i64) -> JobStart {
        match done(keeper, StoreWork::Claim(seq)) {
            Some(StoreDone::Claimed(Some((_, claimed)))) => claimed.start,
            other => panic!("{other:?}"),
        }
    }

    fn once(text: &str) -> NewJob {
        NewJob { idempotent: false, ..new_job(text) }
    }

    const ENDED: JobEnd = JobEnd::Failure(Failure::Internal);

    #[test]
    fn a_start_that_another_group_made_is_not_undone() {
        for fault in [commits_fail, commits_seem_to_fail] {
            let scratch = Scratch::new();
            let mut keeper = keeper(&scratch);
            let job = accepted(&mut keeper, once("x"));
            let start = claimed(&mut keeper, job.seq);
            fault(Some(rusqlite::ffi::SQLITE_IOERR));
            assert!(done(&mut keeper, StoreWork::Claim(job.seq)).is_none());
            fault(None);
            let job = seen(&mut keeper, job.id);
            assert_eq!((job.state, job.attempts), (JobState::Running, 1), "{job:?}");
            done(&mut keeper, StoreWork::End(start, ENDED));
            assert_eq!(seen(&mut keeper, job.id).state, JobState::Failed);
        }
    }

    /// Nobody heard that the first time was written, so it is said again.
    #[test]
    fn a_job_that_is_given_back_twice_waits_once_and_no_later_start_is_lost() {
        for is_begun_between in [false, true] {
            let scratch = Scratch::new();
            let mut keeper = keeper(&scratch);
            let job = accepted(&mut keeper, once("x"));
            keeper.board.take("a").expect("it waits");
            let start = claimed(&mut keeper, job.seq);
            commits_seem_to_fail(Some(rusqlite::ffi::SQLITE_IOERR));
            assert!(done(&mut keeper, StoreWork::GiveBack(start, true)).is_none());
            commits_seem_to_fail(None);
            let later = is_begun_between.then(|| claimed(&mut keeper, job.seq));
            let again = done(&mut keeper, StoreWork::GiveBack(start, true));
            assert!(matches!(again, Some(StoreDone::GivenBack(_))), "{again:?}");
            done(&mut keeper, StoreWork::End(start, ENDED));
            let job = seen(&mut keeper, job.id);
            if let Some(later) = later {
                assert_eq!((job.state, start_of(&job)), (JobState::Running, later));
            } else {
                assert_eq!((job.state, job.attempts), (JobState::Queued, 0));
                assert!(keeper.board.take("a").is_some(), "it goes next");
            }
            assert_eq!(keeper.board.take("a"), None);
        }
    }

    /// It was told, not written, and has come back before anybody knew whether that was written.
    #[test]
    fn a_start_that_has_come_back_does_not_count_twice() {
        let scratch = Scratch::new();
        let mut keeper = keeper(&scratch);
        let job = accepted(&mut keeper, new_job("x"));
        commits_fail(Some(rusqlite::ffi::SQLITE_FULL));
        let start = claimed(&mut keeper, job.seq);
        commits_fail(None);
        commits_seem_to_fail(Some(rusqlite::ffi::SQLITE_IOERR));
        assert!(done(&mut keeper, StoreWork::GiveBack(start, false)).is_none());
        commits_seem_to_fail(None);
        done(&mut keeper, StoreWork::GiveBack(start, false));
        let job = seen(&mut keeper, job.id);
        assert_eq!((job.state, job.attempts), (JobState::Queued, 1), "{job:?}");
    }

    /// One of a group that is too large for the disk is done again alone, after others were told.
    #[test]
    fn a_start_that_was_told_is_the_same_when_it_is_written_later() {
        let scratch = Scratch::new();
        let mut keeper = keeper(&scratch);
        let jobs = ["a", "b"].map(|text| accepted(&mut keeper, new_job(text)));
        let (tells, tolds): (Vec<_>, Vec<_>) = jobs.iter().map(|_| oneshot::channel()).unzip();
        let claims = jobs.iter().zip(tells);
        let claims = claims.map(|(job, tell)| StoreRequest::new(StoreWork::Claim(job.seq), tell));
        commits_fail(Some(rusqlite::ffi::SQLITE_FULL));
        keeper.turn(claims.collect());
        commits_fail(None);
        for (job, mut told) in jobs.iter().zip(tolds) {
            let told = told.try_recv().expect("it was told before the disk was full");
            let Ok(StoreDone::Claimed(Some((_, claimed)))) = told else { panic!("{told:?}") };
            done(&mut keeper, StoreWork::End(claimed.start, ENDED));
            let job = seen(&mut keeper, job.id);
            assert_eq!((job.state, job.attempts), (JobState::Failed, 1));
        }
    }

    /// The log is another file once the database was opened again.
    #[test]
    fn after_a_fault_the_new_log_is_the_right_one() {
        let scratch = Scratch::new();
        let mut keeper = keeper(&scratch);
        accepted(&mut keeper, new_job("x"));
        keeper.look_for_file();
        // No other file gets its number while it is open.
        let old = std::fs::File::open(scratch.path().join("jobs.db-wal")).expect("it is there");
        commits_fail(Some(rusqlite::ffi::SQLITE_IOERR));
        assert!(done(&mut keeper, StoreWork::Accept(Box::new(new_job("lost")))).is_none());
        commits_fail(None);
        keeper.look_for_file();
        assert!(!keeper.board.is_misplaced(), "it is closed, and needs no log");
        accepted(&mut keeper, new_job("y"));
        for _ in 0..2 {
            keeper.look_for_file();
            assert!(!keeper.board.is_misplaced());
        }
        accepted(&mut keeper, new_job("z"));
        drop(old);
    }

    /// A copy is what was in the file when it was asked for, whatever is written meanwhile.
    #[test]
    fn jobs_go_on_while_a_copy_is_written() {
        let scratch = Scratch::new();
        let mut keeper = keeper(&scratch);
        let first = accepted(&mut keeper, new_job("first"));
        let held = super::super::fixture::hold_copies();
        let (tell, mut told) = oneshot::channel();
        let copy = scratch.path().join("copy.db");
        let work = StoreWork::Backup(copy.clone());
        keeper.turn(vec![StoreRequest::new(work, tell)]);
        for _ in 0..30 {
            let new = NewJob { text: vec![b'x'; 1 << 19].into(), ..new_job("") };
            let job = accepted(&mut keeper, new);
            done(&mut keeper, StoreWork::Remove(job.id, None, true));
            done(&mut keeper, StoreWork::Remove(job.id, None, true));
        }
        done(&mut keeper, StoreWork::Remove(first.id, None, true));
        keeper.finish_copy();
        assert!(told.try_recv().is_err(), "it is not there yet");
        drop(held);
        let told = loop {
            keeper.finish_copy();
            if let Ok(told) = told.try_recv() {
                break told;
            }
            std::thread::yield_now();
        };
        assert!(matches!(told, Ok(StoreDone::Copied(Ok(())))), "{told:?}");
        let copied = rusqlite::Connection::open(&copy).expect("it is a database");
        let one = |sql: &str| copied.query_row(sql, [], |row| row.get::<_, String>(0));
        assert_eq!(one("PRAGMA integrity_check").as_deref(), Ok("ok"));
        assert_eq!(one("SELECT count(*) || ' ' || sum(state) FROM job").as_deref(), Ok("1 0"));
        // The log is brought into the file again.
        let checkpoints = |keeper: &Keeper| {
            let store = keeper.store.as_ref().expect("open");
            store.pragma("wal_autocheckpoint").expect("SQL")
        };
        assert_eq!(checkpoints(&keeper), 1000);
    }

    #[test]
    fn a_copy_that_cannot_be_finished_leaves_nothing() {
        let scratch = Scratch::new();
        let mut keeper = keeper(&scratch);
        let held = super::super::fixture::hold_copies();
        let copy = scratch.path().join("copy.db");
        for expected in [None, Some("another copy is being written")] {
            let (tell, mut told) = oneshot::channel();
            let work = StoreWork::Backup(copy.clone());
            keeper.turn(vec![StoreRequest::new(work, tell)]);
            let told = told.try_recv().ok();
            let why = told.map(|told| match told {
                Ok(StoreDone::Copied(Err(error))) => error.to_string(),
                other => panic!("{other:?}"),
            });
            assert_eq!(why.as_deref(), expected);
        }
        keeper.copying.as_ref().expect("it is being written").0.ask_to_stop();
        drop(held);
        drop(keeper);
        assert!(!copy.exists());
    }

    /// The server still has a file that nobody finds any longer.
    #[test]
    fn a_file_that_is_taken_away_takes_no_more_jobs_until_it_is_back() {
        for name in ["jobs.db", "jobs.db-wal"] {
            let scratch = Scratch::new();
            let mut keeper = keeper(&scratch);
            let kept = accepted(&mut keeper, new_job("kept"));
            keeper.look_for_file();
            let (file, away) = (scratch.path().join(name), scratch.path().join("away"));
            std::fs::rename(&file, &away).expect("it is there");
            for replaced in [false, true] {
                if replaced {
                    std::fs::copy(&away, &file).expect("copied");
                }
                keeper.look_for_file();
                let refused = done(&mut keeper, StoreWork::Accept(Box::new(new_job("lost"))));
                assert!(
                    matches!(refused, Some(StoreDone::Accepted(Err(JobRefusal::Misplaced)))),
                    "{name} {refused:?}"
                );
                assert!(keeper.board.is_failing(), "nothing is begun either");
                assert_eq!(seen(&mut keeper, kept.id).state, JobState::Queued);
            }
            std::fs::rename(&away, &file).expect("it is put back");
            keeper.look_for_file();
            accepted(&mut keeper, new_job("again"));
            assert!(!keeper.board.is_failing());
        }
    }

    /// Each of these is damaged in another way, and stands before one that is good.
    #[test]
    fn a_job_that_cannot_be_read_fails_alone() {
        let scratch = Scratch::new();
        let mut keeper = keeper(&scratch);
        let metrics = crate::observe::metrics::Metrics::new().jobs();
        keeper.board.measure(Arc::clone(&metrics));
        let damages = [
            "DELETE FROM question WHERE job = ?1",
            "UPDATE job SET id = x'00' WHERE seq = ?1",
            "UPDATE job SET request_id = CAST(x'ff' AS TEXT) WHERE seq = ?1",
            "UPDATE job SET attempts = -7 WHERE seq = ?1",
        ];
        let good = accepted(&mut keeper, new_job("good"));
        for damage in damages {
            let job = accepted(&mut keeper, new_job("bad"));
            let store = keeper.store.as_ref().expect("open");
            store.connection().execute(damage, [job.seq]).expect("SQL");
        }
        let last = accepted(&mut keeper, NewJob { wait: Duration::ZERO, ..new_job("last") });
        let (tells, mut tolds): (Vec<_>, Vec<_>) =
            (good.seq..last.seq).map(|_| tokio::sync::oneshot::channel()).unzip();
        let claims = (good.seq..last.seq).zip(tells);
        let claims = claims.map(|(seq, tell)| StoreRequest::new(StoreWork::Claim(seq), tell));
        keeper.turn(claims.collect());
        let claimed = tolds.iter_mut().map(|told| told.try_recv().expect("told"));
        let claimed: Vec<_> =
            claimed.map(|done| matches!(done, Ok(StoreDone::Claimed(Some(_))))).collect();
        assert_eq!(claimed, [true, false, false, false, false]);
        assert_eq!(metrics.unreadable_count(), 4);
        let store = keeper.store.as_ref().expect("open");
        let sql = "SELECT group_concat(state) FROM (SELECT state FROM job ORDER BY seq)";
        let states = store.connection().query_row(sql, [], |row| row.get::<_, String>(0));
        assert_eq!(states.as_deref(), Ok("1,3,3,3,3,0"), "those that cannot be read have failed");
        keeper.look_for_ended();
        assert_eq!(seen(&mut keeper, last.id).state, JobState::Failed);
        let filter = super::super::store::JobFilter { limit: 9, ..Default::default() };
        let listed = done(&mut keeper, StoreWork::List(filter));
        assert!(matches!(&listed, Some(StoreDone::Listed(jobs)) if jobs.len() == 3), "{listed:?}");
        assert!(!keeper.board.is_failing());
        drop(keeper);
        let lock = FileLock::take(&scratch.file()).expect("it is free");
        Keeper::open(lock, settings(), Arc::default()).expect("it can be opened all the same");
    }

    /// What may run twice begins before that is on the disk.
    #[test]
    fn a_job_that_began_while_the_disk_failed_has_begun() {
        for fault in [rusqlite::ffi::SQLITE_FULL, rusqlite::ffi::SQLITE_IOERR] {
            for is_next in [StoreWork::Claim(99), StoreWork::Close] {
                let scratch = Scratch::new();
                let mut keeper = keeper(&scratch);
                let new = NewJob { wait: Duration::ZERO, idempotent: true, ..new_job("x") };
                let job = accepted(&mut keeper, new);
                commits_fail(Some(fault));
                let claimed = done(&mut keeper, StoreWork::Claim(job.seq));
                assert!(matches!(claimed, Some(StoreDone::Claimed(Some(_)))), "{claimed:?}");
                commits_fail(None);
                match is_next {
                    StoreWork::Close => keeper.look_for_ended(),
                    other => drop(done(&mut keeper, other)),
                }
                keeper.look_for_ended();
                let job = seen(&mut keeper, job.id);
                assert_eq!((job.state, job.attempts), (JobState::Running, 1), "{job:?}");
                done(&mut keeper, StoreWork::GiveBack(start_of(&job), true));
                let job = seen(&mut keeper, job.id);
                assert_eq!((job.state, job.attempts), (JobState::Queued, 0), "{job:?}");
            }
        }
    }

    #[test]
    fn a_file_without_jobs_rests_once_its_room_was_given_back() {
        let scratch = Scratch::new();
        let mut keeper = keeper(&scratch);
        keeper.look_for_ended();
        assert!(keeper.rests, "there is nothing to look for");
        let large = NewJob { text: vec![b'x'; 4 << 20].into(), ..new_job("") };
        let job = accepted(&mut keeper, large);
        // The first time cancels it, and the second one removes it.
        for _ in 0..2 {
            done(&mut keeper, StoreWork::Remove(job.id, None, true));
        }
        let pages = |keeper: &Keeper| keeper.store.as_ref().expect("open").pragma("page_count");
        let before = pages(&keeper).expect("SQL");
        assert!(before > 1024, "{before} pages");
        (0..10).for_each(|_| keeper.look_for_ended());
        let after = pages(&keeper).expect("SQL");
        assert!(after < before / 2, "{before} pages are {after}");
        assert!(keeper.rests);
    }

    /// Nobody asks for anything meanwhile: the keeper itself must find out.
    #[test]
    fn a_disk_that_was_full_is_written_to_again_once_it_has_room() {
        let scratch = Scratch::new();
        let mut keeper = keeper(&scratch);
        let board = Arc::clone(&keeper.board);
        let pages_most = |keeper: &Keeper, pages: u32| {
            let connection = keeper.store.as_ref().expect("open").connection();
            connection.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()))
        };
        pages_most(&keeper, 1).expect("SQL");
        let large = NewJob { text: vec![b'x'; 1 << 20].into(), ..new_job("") };
        let work = StoreWork::Accept(Box::new(large));
        keeper.turn(vec![StoreRequest { work, tell: None, start: None }]);
        assert!(board.is_failing());
        pages_most(&keeper, 1 << 20).expect("SQL");
        keeper.turn(vec![StoreRequest {
            work: StoreWork::Look(JobId([0; 16]), None),
            tell: None,
            start: None,
        }]);
        assert!(board.is_failing(), "what only reads says nothing of the disk");
        keeper.look_for_ended();
        assert!(!board.is_failing());
    }
}
