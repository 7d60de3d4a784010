//! What is done to the tables besides what callers ask for: for operators, by time, and after a
//! server has ended.

use std::sync::Arc;
use std::time::Duration;

use rusqlite::{OptionalExtension as _, Row, params};

use super::job::{Job, JobId, JobStart, JobState, WallTime};
use super::rows::{columns, job_of, words, written};
use super::store::{JobFilter, JobViewer, Store, WaitingJobs};
use super::tally::JobTally;
use crate::base::Failure;

/// How long callers are told to wait if their job found no worker.
const AGAIN: Duration = Duration::from_secs(1);
/// How many pages that are free are given back to the disk at once.
const GIVEN_BACK: u64 = 256;

/// What became of jobs whose time was over.
#[derive(Debug, Default)]
pub struct Expired {
    /// They waited too long.
    pub failed: Vec<Job>,
    /// How many were kept long enough.
    pub removed: usize,
    /// They could not be read, and are removed.
    pub unreadable: Vec<(i64, rusqlite::Error)>,
}

/// Reads a row, or returns its `seq` and why it cannot be read.
fn job_or_seq(row: &Row<'_>) -> rusqlite::Result<Result<Job, (i64, rusqlite::Error)>> {
    let seq = row.get(0)?;
    Ok(job_of(row).map_err(|error| (seq, error)))
}

impl Store {
    /// Returns the jobs that an operator wants to see.
    pub fn list(&self, filter: &JobFilter) -> rusqlite::Result<Vec<Job>> {
        let sql = concat!(
            "SELECT ",
            columns!(),
            " FROM job WHERE (?1 IS NULL OR state = ?1) AND (?2 IS NULL OR pool = ?2) \
             AND (?3 IS NULL OR seq < (SELECT seq FROM job WHERE id = ?3)) \
             ORDER BY seq DESC LIMIT ?4"
        );
        let mut statement = self.connection().prepare_cached(sql)?;
        let values = params![
            filter.state.map(|state| state as i64),
            filter.pool,
            filter.after.map(|id| id.0),
            filter.limit
        ];
        let rows = statement.query_map(values, job_or_seq)?;
        let mut jobs = Vec::new();
        for row in rows {
            match row? {
                Ok(job) => jobs.push(job),
                Err((seq, error)) => {
                    tracing::warn!(seq, %error, "a job cannot be read, and is not in the list");
                }
            }
        }
        Ok(jobs)
    }

    /// Returns the time at which the latest job was accepted.
    pub fn latest(&self) -> rusqlite::Result<WallTime> {
        let sql = "SELECT created FROM job ORDER BY seq DESC LIMIT 1";
        let found = self.connection().query_row(sql, [], |row| row.get(0)).optional()?;
        Ok(WallTime(found.unwrap_or(0)))
    }

    /// Counts what is in the file.
    pub(super) fn counted(&self) -> rusqlite::Result<JobTally> {
        let mut tally = JobTally::default();
        let sql = "SELECT pool, coalesce(owner, ''), state, count(*), sum(bytes) FROM job \
                   GROUP BY 1, 2, 3";
        let mut statement = self.connection().prepare(sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let (jobs, bytes): (i64, i64) = (row.get(3)?, row.get(4)?);
            if let Some(state) = JobState::of(row.get(2)?) {
                tally.add(&words(row, 0)?, &words(row, 1)?, state, jobs as u64, bytes as u64);
            }
        }
        Ok(tally)
    }

    /// Returns the pools and owners with jobs that wait.
    pub fn owners_waiting(&self) -> rusqlite::Result<Vec<(Arc<str>, Arc<str>)>> {
        let sql = "SELECT DISTINCT pool, coalesce(owner, '') FROM job WHERE state = 0";
        let mut statement = self.connection().prepare(sql)?;
        let rows = statement.query_map([], |row| Ok((words(row, 0)?, words(row, 1)?)))?;
        rows.collect()
    }

    /// Returns how many jobs of each pool and route wait.
    pub fn waiting_by_route(&self) -> rusqlite::Result<Vec<WaitingJobs>> {
        let sql = "SELECT pool, route, count(*) FROM job WHERE state = 0 GROUP BY pool, route";
        let mut statement = self.connection().prepare(sql)?;
        let rows = statement.query_map([], |row| {
            let jobs: i64 = row.get(2)?;
            Ok(WaitingJobs { pool: words(row, 0)?, route: words(row, 1)?, jobs: jobs as u64 })
        })?;
        rows.collect()
    }

    /// Fails a job that cannot be read, whatever of it can.
    pub fn set_aside(&mut self, seq: i64, now: WallTime) -> rusqlite::Result<()> {
        let sql = "UPDATE job SET state = 3, ended = ?2, expires = ?2 + keep, problem = ?3 \
                   WHERE seq = ?1 AND state NOT IN (2, 3, 4)";
        let values = params![seq, now.0, written(&Failure::Internal)];
        self.connection().execute(sql, values)?;
        let counted = self.counted()?;
        self.tally.replace(counted);
        Ok(())
    }

    /// Lets a job that failed or was canceled wait again, as if it were new. The time of its last start is
    /// kept, so that its next start has a later one. Returns it as it then is, and whether it was changed;
    /// `None`: there is none of this name.
    pub fn retry(&mut self, id: JobId, now: WallTime) -> rusqlite::Result<Option<(Job, bool)>> {
        let Some(before) = self.look(id, JobViewer::Operator)? else { return Ok(None) };
        if !matches!(before.state, JobState::Failed | JobState::Canceled) {
            return Ok(Some((before, false)));
        }
        let sql = concat!(
            "UPDATE job SET state = 0, attempts = 0, ended = NULL, problem = NULL, \
             expires = ?2 + wait WHERE seq = ?1 RETURNING ",
            columns!()
        );
        let values = params![before.seq, now.0];
        let job = self.connection().prepare_cached(sql)?.query_row(values, job_of)?;
        self.moved(&job, before.state);
        Ok(Some((job, true)))
    }

    /// Fails jobs that have waited too long, and removes those that were kept long enough; at most
    /// this many. Those that cannot be read are removed in either case.
    pub fn expire(&mut self, now: WallTime, most: u32) -> rusqlite::Result<Expired> {
        let sql = concat!(
            "SELECT ",
            columns!(),
            " FROM job WHERE expires <= ?1 AND state <> 1 ORDER BY expires LIMIT ?2"
        );
        let mut statement = self.connection().prepare_cached(sql)?;
        let rows = statement.query_map(params![now.0, most], job_or_seq)?;
        let over: Vec<Result<Job, (i64, rusqlite::Error)>> = rows.collect::<Result<_, _>>()?;
        drop(statement);
        let mut expired = Expired::default();
        for job in over {
            let job = match job {
                Ok(job) => job,
                Err((seq, error)) => {
                    self.delete_row(seq)?;
                    expired.unreadable.push((seq, error));
                    continue;
                }
            };
            if job.state.has_ended() {
                self.delete(&job)?;
                expired.removed += 1;
                continue;
            }
            let waited = now.since(job.created);
            let failure = Failure::QueueTimeout { waited, retry_after: AGAIN };
            expired.failed.push(self.fail(&job, &failure, now)?);
        }
        if !expired.unreadable.is_empty() {
            let counted = self.counted()?;
            self.tally.replace(counted);
        }
        Ok(expired)
    }

    /// Decides what becomes of the jobs that ran when the server ended. Those that may run twice wait
    /// again, unless they were started too often. Returns how many wait and how many failed.
    pub fn recover(&mut self, now: WallTime) -> rusqlite::Result<(usize, usize)> {
        let sql = "UPDATE job SET state = 0, expires = ?1 + wait \
                   WHERE state = 1 AND idempotent AND attempts < starts_most";
        let queued = self.connection().execute(sql, [now.0])?;
        let sql = "UPDATE job SET state = 3, ended = ?1, expires = ?1 + keep, problem = ?2 \
                   WHERE state = 1";
        let failed =
            self.connection().execute(sql, params![now.0, written(&Failure::ServerEnded)])?;
        let counted = self.counted()?;
        self.tally.replace(counted);
        Ok((queued, failed))
    }

    /// Undoes what callers were told had failed: jobs in `refused` were not accepted, and starts in
    /// `unclaimed` did not happen.
    pub fn undo(&mut self, refused: &[JobId], unclaimed: &[JobStart]) -> rusqlite::Result<()> {
        for id in refused {
            if let Some(job) = self.look(*id, JobViewer::Operator)? {
                self.delete(&job)?;
            }
        }
        for JobStart { seq, at } in unclaimed {
            let sql = "UPDATE job SET state = 0, attempts = attempts - 1 \
                       WHERE seq = ?1 AND state = 1 AND started = ?2";
            self.connection().execute(sql, [*seq, at.0])?;
        }
        let counted = self.counted()?;
        self.tally.replace(counted);
        Ok(())
    }

    /// Notes that a job has begun, if that could not be written when it did. If it was, and the job has
    /// come back since, nothing changes.
    pub fn begin(&mut self, JobStart { seq, at }: JobStart) -> rusqlite::Result<()> {
        let sql = "UPDATE job SET state = 1, attempts = attempts + 1, started = ?2 \
                   WHERE seq = ?1 AND state = 0 AND started IS NOT ?2 RETURNING pool";
        let values = params![seq, at.0];
        let mut statement = self.connection().prepare_cached(sql)?;
        let pool: Option<Arc<str>> = statement.query_row(values, |row| row.get(0)).optional()?;
        drop(statement);
        if let Some(pool) = pool {
            // Its owner is not needed: it was open before, and is.
            self.tally.change(&pool, &"".into(), JobState::Queued, JobState::Running);
        }
        Ok(())
    }

    /// Gives free pages back to the disk, a few at a time. Returns true if there were too few for that.
    pub fn shrink(&self) -> rusqlite::Result<bool> {
        let (free, all) = (self.pragma("freelist_count")?, self.pragma("page_count")?);
        let is_slim = free <= GIVEN_BACK || free <= all / 4;
        if !is_slim {
            let sql = format!("PRAGMA incremental_vacuum({GIVEN_BACK})");
            let mut statement = self.connection().prepare(&sql)?;
            let mut pages = statement.query([])?;
            // Each row that is asked for gives one page back.
            while pages.next()?.is_some() {}
        }
        Ok(is_slim)
    }

    /// Brings all that was committed into the file, which then stays as it is until `use_file`.
    pub fn rest_file(&self) -> rusqlite::Result<()> {
        self.connection().pragma_update(None, "wal_autocheckpoint", 0)?;
        let sql = "PRAGMA wal_checkpoint(TRUNCATE)";
        let is_busy: bool = self.connection().query_row(sql, [], |row| row.get(0))?;
        if is_busy {
            self.use_file()?;
            return Err(rusqlite::Error::QueryReturnedNoRows);
        }
        Ok(())
    }

    /// Lets the file change again.
    pub fn use_file(&self) -> rusqlite::Result<()> {
        self.connection().pragma_update(None, "wal_autocheckpoint", 1000)
    }
}
