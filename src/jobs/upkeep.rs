//! What is done to the tables besides what callers ask for: for operators, by time, and after a
//! server has ended.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{OptionalExtension as _, params};

use super::job::{Job, JobEnd, JobId, JobState, WallTime};
use super::store::{JobFilter, JobViewer, Store, columns, job_of, written};
use crate::base::Failure;

/// How long callers are told to wait if their job found no worker.
const AGAIN: Duration = Duration::from_secs(1);
/// How many pages that are free are given back to the disk at once.
const GIVEN_BACK: u64 = 256;

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
        statement.query_map(values, job_of)?.collect()
    }

    /// Lets a job that failed or was canceled wait again, as if it were new. Returns it as it then
    /// is, and whether it was changed; `None`: there is none of this name.
    pub fn retry(&mut self, id: JobId, now: WallTime) -> rusqlite::Result<Option<(Job, bool)>> {
        let Some(before) = self.look(id, JobViewer::Operator)? else { return Ok(None) };
        if !matches!(before.state, JobState::Failed | JobState::Canceled) {
            return Ok(Some((before, false)));
        }
        let sql = concat!(
            "UPDATE job SET state = 0, attempts = 0, started = NULL, ended = NULL, problem = NULL, \
             expires = ?2 + wait WHERE seq = ?1 RETURNING ",
            columns!()
        );
        let values = params![before.seq, now.0];
        let job = self.connection().prepare_cached(sql)?.query_row(values, job_of)?;
        self.moved(&job, before.state);
        Ok(Some((job, true)))
    }

    /// Fails jobs that have waited too long, and removes those that were kept long enough; at most
    /// this many. Returns those that failed, and how many were removed.
    pub fn expire(&mut self, now: WallTime, most: u32) -> rusqlite::Result<(Vec<Job>, usize)> {
        let sql = concat!(
            "SELECT ",
            columns!(),
            " FROM job WHERE expires <= ?1 AND state <> 1 ORDER BY expires LIMIT ?2"
        );
        let mut statement = self.connection().prepare_cached(sql)?;
        let rows = statement.query_map(params![now.0, most], job_of)?;
        let over: Vec<Job> = rows.collect::<rusqlite::Result<_>>()?;
        drop(statement);
        let (mut failed, mut removed) = (Vec::new(), 0);
        for job in over {
            if job.state.has_ended() {
                self.delete(&job)?;
                removed += 1;
                continue;
            }
            let waited = now.since(job.created);
            let end = JobEnd::Failure(Failure::QueueTimeout { waited, retry_after: AGAIN });
            failed.extend(self.end(job.seq, &end, now)?);
        }
        Ok((failed, removed))
    }

    /// Decides what becomes of the jobs that ran when the server ended. Those that may run twice wait
    /// again, if they were not started too often. Returns how many wait and how many failed.
    pub fn recover(&mut self, now: WallTime) -> rusqlite::Result<(usize, usize)> {
        let sql = "UPDATE job SET state = 0, expires = ?1 + wait \
                   WHERE state = 1 AND idempotent AND attempts < starts_most";
        let queued = self.connection().execute(sql, [now.0])?;
        let lost = Failure::WorkerLost { exit: "the server ended".into() };
        let sql = "UPDATE job SET state = 3, ended = ?1, expires = ?1 + keep, problem = ?2 \
                   WHERE state = 1";
        let failed = self.connection().execute(sql, params![now.0, written(&lost)])?;
        self.tally = self.counted()?;
        Ok((queued, failed))
    }

    /// Undoes what callers were told had failed: `refused` were not accepted, `unclaimed` not begun.
    pub fn undo(&mut self, refused: &[JobId], unclaimed: &[i64]) -> rusqlite::Result<()> {
        for id in refused {
            if let Some(job) = self.look(*id, JobViewer::Operator)? {
                self.delete(&job)?;
            }
        }
        for seq in unclaimed {
            let sql =
                "UPDATE job SET state = 0, attempts = attempts - 1 WHERE seq = ?1 AND state = 1";
            self.connection().execute(sql, [seq])?;
        }
        self.tally = self.counted()?;
        Ok(())
    }

    /// Notes that a job has begun, if that could not be written when it did.
    pub fn begin(&mut self, seq: i64, now: WallTime) -> rusqlite::Result<()> {
        let sql = "UPDATE job SET state = 1, attempts = attempts + 1, started = ?2 \
                   WHERE seq = ?1 AND state = 0 RETURNING pool";
        let values = params![seq, now.0];
        let mut statement = self.connection().prepare_cached(sql)?;
        let pool: Option<Arc<str>> = statement.query_row(values, |row| row.get(0)).optional()?;
        drop(statement);
        if let Some(pool) = pool {
            // Its owner is not needed: it was open before, and is.
            self.tally.change(&pool, "", JobState::Queued, JobState::Running);
        }
        Ok(())
    }

    /// Gives free pages back to the disk, a few at a time.
    pub fn shrink(&self) -> rusqlite::Result<()> {
        let (free, all) = (self.pragma("freelist_count")?, self.pragma("page_count")?);
        if free > GIVEN_BACK && free > all / 4 {
            self.connection().execute_batch(&format!("PRAGMA incremental_vacuum({GIVEN_BACK})"))?;
        }
        Ok(())
    }

    /// Writes all into another file, which must be empty or not there.
    pub fn copy_to(&self, path: &Path) -> rusqlite::Result<()> {
        self.connection().execute("VACUUM INTO ?1", [path.to_string_lossy()]).map(|_| ())
    }
}
