//! What the tests of this room share.

use std::cell::Cell;
use std::ffi::c_int;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::desk::JobDesk;
use super::job::{Job, JobId, JobStart, JobState, NewJob, WallTime};
use super::request::{KeeperSettings, StoreDone, StoreFailed, StoreWork};
use super::store::{Acceptance, StoreLimits};

/// A directory that is removed with its last owner.
pub(super) struct Scratch(PathBuf);

impl Scratch {
    pub(super) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("httpipe-jobs-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("a directory for tests");
        Self(path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn file(&self) -> PathBuf {
        self.0.join("jobs.db")
    }

    /// The names in it, in their order.
    pub(super) fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.0).expect("it is there");
        let name = |entry: std::io::Result<std::fs::DirEntry>| {
            entry.expect("it is there").file_name().to_string_lossy().into_owned()
        };
        let mut names: Vec<String> = entries.map(name).collect();
        names.sort();
        names
    }
}

/// How many commits, counted from one before and one after each, this process survives; 0: all.
static MOMENTS_LEFT: AtomicU32 = AtomicU32::new(0);

/// Lets this process be killed at its n-th moment beside a commit.
pub(super) fn die_at(moment: u32) {
    MOMENTS_LEFT.store(moment, Ordering::Relaxed);
}

static GATE: Mutex<()> = Mutex::new(());

/// Copies wait while this is held.
pub(super) fn hold_copies() -> MutexGuard<'static, ()> {
    GATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A copy begins.
pub(super) fn gate() {
    drop(hold_copies());
}

thread_local! {
    /// How commits of this thread fail.
    static FAULT: Cell<Option<c_int>> = const { Cell::new(None) };
    /// How they seem to.
    static LATE_FAULT: Cell<Option<c_int>> = const { Cell::new(None) };
}

/// Lets the commits of this thread fail with this code of SQLite; `None`: they succeed.
pub(super) fn commits_fail(code: Option<c_int>) {
    FAULT.set(code);
}

/// Lets the commits of this thread seem to fail with this code of SQLite once they are done.
pub(super) fn commits_seem_to_fail(code: Option<c_int>) {
    LATE_FAULT.set(code);
}

/// A moment just after a commit.
pub(super) fn moment_after() -> rusqlite::Result<()> {
    let error = |code| rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None);
    LATE_FAULT.get().map_or_else(moment, |code| Err(error(code)))
}

/// A moment just before or after a commit.
pub(super) fn moment() -> rusqlite::Result<()> {
    if MOMENTS_LEFT.load(Ordering::Relaxed) > 0 && MOMENTS_LEFT.fetch_sub(1, Ordering::Relaxed) == 1
    {
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL)
            .expect("it kills itself");
    }
    let error = |code| rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None);
    FAULT.get().map_or(Ok(()), |code| Err(error(code)))
}

impl Drop for Scratch {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

/// Room for what tests do.
pub(super) fn settings() -> KeeperSettings {
    let limits = StoreLimits { length: 100_000, bytes: 1 << 30 };
    KeeperSettings { limits, result: 1 << 20, slots: 1 }
}

/// The last start of a job.
pub(super) fn start_of(job: &Job) -> JobStart {
    JobStart { seq: job.seq, at: job.started.unwrap_or_default() }
}

/// A job of the pool `a` with a random name.
pub(super) fn new_job(text: &str) -> NewJob {
    NewJob {
        id: JobId(fastrand::u128(..).to_be_bytes()),
        pool: "a".into(),
        route: "POST /".into(),
        owner: None,
        has_share: false,
        idempotent: true,
        starts_most: 2,
        priority_minutes: 0,
        wait: Duration::from_hours(1),
        keep: Duration::from_hours(1),
        repeat: None,
        text: text.to_owned().into(),
        nonce: None,
        request_id: "r".into(),
    }
}

/// A desk whose file takes jobs, and can be neither read nor written after that.
pub fn forgetful_desk() -> JobDesk {
    JobDesk::scripted(|work| match work {
        StoreWork::Accept(new) => Ok(StoreDone::Accepted(Ok(Acceptance::New(waiting(*new))))),
        _ => Err(StoreFailed),
    })
}

/// A job that waits, and is in no file.
pub fn waiting_job() -> Job {
    waiting(new_job("x"))
}

fn waiting(new: NewJob) -> Job {
    let now = WallTime(0);
    Job {
        seq: 1,
        id: new.id,
        pool: new.pool,
        route: new.route,
        owner: new.owner,
        state: JobState::Queued,
        attempts: 0,
        due: now,
        created: now,
        started: None,
        ended: None,
        expires: now.after(new.wait),
        failure: None,
        request_id: new.request_id,
    }
}
