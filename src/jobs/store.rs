//! What is done to the tables. The caller begins and ends the transactions.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::job::{
    AnswerForm, ClaimedJob, Job, JobEnd, JobId, JobStart, JobState, NewJob, RepeatKey, WallTime,
};
use super::order::{NextJob, Rank};
use super::rows::{columns, job_of, owner_of, read_back, written};
use super::tally::JobTally;
use crate::base::{Failure, Question};

/// What became of a new job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Acceptance {
    /// It is in the file.
    New(Job),
    /// Its caller has asked the same before, which became this job.
    Known(Job),
}

/// Why a new job is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobRefusal {
    /// As many jobs as may wait or run do.
    Length(u64),
    /// Questions and answers take all the bytes they may.
    Bytes(u64),
    /// As many jobs of one owner as may wait or run do.
    OwnLength(u64),
    /// Questions and answers of one owner take all the bytes they may.
    OwnBytes(u64),
    /// The disk has too little room left.
    Disk,
    /// The file is no longer where it was.
    Misplaced,
    /// The caller has asked something else under the same key.
    KeyReused,
}

/// A job that its caller did away with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobRemoval {
    /// It was open, and is canceled.
    Canceled(Job),
    /// It had ended, and is removed.
    Removed(Job),
    /// There is none of this name for this caller.
    Unknown,
}

/// Which jobs an operator wants to see, the latest first.
#[derive(Clone, Debug, Default)]
pub struct JobFilter {
    /// Those in this state; `None`: in any.
    pub state: Option<JobState>,
    /// Those of this pool; `None`: of any.
    pub pool: Option<String>,
    /// Those before this one; `None`: from the latest on.
    pub after: Option<JobId>,
    /// How many at most.
    pub limit: u32,
}

/// A job with what is kept of its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptJob {
    /// The job.
    pub job: Job,
    /// Its answer, if it has one.
    pub answer: Option<(AnswerForm, Bytes)>,
}

/// How many jobs of one pool and route wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingJobs {
    /// The name of the pool.
    pub pool: Arc<str>,
    /// The match text of the route.
    pub route: Arc<str>,
    /// How many.
    pub jobs: u64,
}

/// How much may be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreLimits {
    /// Most jobs that have not ended.
    pub length: u64,
    /// Most bytes of questions and answers.
    pub bytes: u64,
}

impl StoreLimits {
    /// Returns the share of one owner among several: a quarter, as of the memory.
    fn share(self) -> Self {
        Self { length: (self.length / 4).max(1), bytes: self.bytes / 4 }
    }
}

/// The tables.
#[derive(Debug)]
pub struct Store {
    connection: Connection,
    /// How many jobs there are, as of the last statement.
    pub tally: JobTally,
}

impl Store {
    /// The tables of a database that is open.
    pub fn new(connection: Connection) -> rusqlite::Result<Self> {
        let mut store = Self { connection, tally: JobTally::default() };
        store.tally = store.counted()?;
        Ok(store)
    }

    /// The database, for transactions.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Counts a job in the state that it has now.
    pub(super) fn moved(&mut self, job: &Job, from: JobState) {
        self.tally.change(&job.pool, &owner_of(job), from, job.state);
    }

    /// Returns how many bytes of the file are in use.
    pub fn bytes(&self) -> rusqlite::Result<u64> {
        let number = |name| self.pragma(name);
        Ok((number("page_count")? - number("freelist_count")?) * number("page_size")?)
    }

    pub(super) fn pragma(&self, name: &str) -> rusqlite::Result<u64> {
        let number = self.connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        number.map(|number| number as u64)
    }

    /// Returns what its `Idempotency-Key` says of a job that was accepted before; `None`: it is new.
    pub(super) fn known(
        &self,
        new: &NewJob,
    ) -> rusqlite::Result<Option<Result<Acceptance, JobRefusal>>> {
        let Some(repeat) = &new.repeat else { return Ok(None) };
        let earlier = self.repeated(new, repeat)?;
        Ok(earlier.map(|(job, hash)| {
            if hash == repeat.hash {
                Ok(Acceptance::Known(job))
            } else {
                Err(JobRefusal::KeyReused)
            }
        }))
    }

    /// Accepts a job, unless its caller did that before or there is no room.
    pub fn accept(
        &mut self,
        new: &NewJob,
        limits: StoreLimits,
        now: WallTime,
    ) -> rusqlite::Result<Result<Acceptance, JobRefusal>> {
        if let Some(known) = self.known(new)? {
            return Ok(known);
        }
        if let Some(refusal) = self.refusal(new, limits)? {
            return Ok(Err(refusal));
        }
        let due = WallTime(now.0 - i64::from(new.priority_minutes) * 60_000);
        let sql = concat!(
            "INSERT INTO job(id, pool, route, owner, state, idempotent, attempts, starts_most, due, \
             created, expires, wait, keep, key, hash, request_id, bytes) \
             VALUES (?1, ?2, ?3, ?4, 0, ?5, 0, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15) \
             RETURNING ",
            columns!()
        );
        let mut statement = self.connection.prepare_cached(sql)?;
        let values = params![
            new.id.0,
            new.pool,
            new.route,
            new.owner,
            new.idempotent,
            new.starts_most,
            due.0,
            now.0,
            now.after(new.wait).0,
            millis(new.wait),
            millis(new.keep),
            new.repeat.as_ref().map(|repeat| &*repeat.text),
            new.repeat.as_ref().map(|repeat| repeat.hash),
            new.request_id,
            length(&new.text),
        ];
        let job = statement.query_row(values, job_of)?;
        drop(statement);
        let sql = "INSERT INTO question(job, text, nonce) VALUES (?1, ?2, ?3)";
        let values = params![job.seq, &*new.text, new.nonce.as_deref()];
        self.connection.prepare_cached(sql)?.execute(values)?;
        let length = new.text.len() as u64;
        self.tally.add(&job.pool, &owner_of(&job), JobState::Queued, 1, length);
        Ok(Ok(Acceptance::New(job)))
    }

    /// Returns why there is no room for a job.
    fn refusal(&self, new: &NewJob, limits: StoreLimits) -> rusqlite::Result<Option<JobRefusal>> {
        let length = new.text.len() as u64;
        if self.tally.open() >= limits.length {
            return Ok(Some(JobRefusal::Length(limits.length)));
        }
        if self.bytes()? + length > limits.bytes {
            return Ok(Some(JobRefusal::Bytes(limits.bytes)));
        }
        let (own, share) =
            (self.tally.of(new.owner.as_deref().unwrap_or_default()), limits.share());
        Ok(match new.has_share {
            true if own.open >= share.length => Some(JobRefusal::OwnLength(share.length)),
            true if own.bytes + length > share.bytes => Some(JobRefusal::OwnBytes(share.bytes)),
            _ => None,
        })
    }

    /// Returns the job that a caller made by the same key before.
    fn repeated(
        &self,
        new: &NewJob,
        repeat: &RepeatKey,
    ) -> rusqlite::Result<Option<(Job, [u8; 32])>> {
        let sql = concat!(
            "SELECT ",
            columns!(),
            ", hash FROM job WHERE route = ?1 AND coalesce(owner, '') = ?2 AND key = ?3"
        );
        let owner = new.owner.as_deref().unwrap_or_default();
        let mut statement = self.connection.prepare_cached(sql)?;
        let read = |row: &Row<'_>| Ok((job_of(row)?, row.get(14)?));
        statement.query_row(params![new.route, owner, &*repeat.text], read).optional()
    }

    /// Returns the jobs of a pool and an owner that wait behind this place, in their order.
    pub fn waiting(
        &self,
        (pool, owner): (&str, &Arc<str>),
        from: Rank,
        most: u32,
    ) -> rusqlite::Result<Vec<NextJob>> {
        let sql = "SELECT due, seq, id, created FROM job \
                   WHERE state = 0 AND pool = ?1 AND coalesce(owner, '') = ?2 \
                   AND (due, seq) > (?3, ?4) ORDER BY due, seq LIMIT ?5";
        let mut statement = self.connection.prepare_cached(sql)?;
        let read = |row: &Row<'_>| {
            let turn = Rank { due: WallTime(row.get(0)?), seq: row.get(1)? };
            // One whose name cannot be read is found out when it is begun.
            let (id, created) = (JobId(row.get(2).unwrap_or_default()), WallTime(row.get(3)?));
            Ok(NextJob { turn, id, created, owner: Arc::clone(owner) })
        };
        let rows = statement.query_map(params![pool, owner, from.due.0, from.seq, most], read)?;
        rows.collect()
    }

    /// Begins a job, if it waits. No two starts of it are at the same time.
    pub fn claim(
        &mut self,
        seq: i64,
        now: WallTime,
    ) -> rusqlite::Result<Option<(Job, ClaimedJob)>> {
        let sql = concat!(
            "UPDATE job SET state = 1, attempts = attempts + 1, \
             started = max(?2, coalesce(started + 1, ?2)) WHERE seq = ?1 AND state = 0 RETURNING ",
            columns!(),
            ", idempotent, idempotent AND attempts < starts_most"
        );
        let read = |row: &Row<'_>| Ok((job_of(row)?, row.get(14)?, row.get(15)?));
        let mut statement = self.connection.prepare_cached(sql)?;
        let found = statement.query_row(params![seq, now.0], read).optional()?;
        drop(statement);
        let Some((job, idempotent, may_start_again)) = found else { return Ok(None) };
        let sql = "SELECT text, nonce FROM question WHERE job = ?1";
        let read =
            |row: &Row<'_>| Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, Option<Vec<u8>>>(1)?));
        let (text, nonce) = self.connection.prepare_cached(sql)?.query_row([seq], read)?;
        self.moved(&job, JobState::Queued);
        let claimed = ClaimedJob {
            start: JobStart { seq, at: job.started.unwrap_or(now) },
            lost: job.attempts.saturating_sub(1),
            may_start_again,
            route: Arc::clone(&job.route),
            idempotent,
            question: Question { nonce: nonce.map(Bytes::from), ..Question::plain(text) },
        };
        Ok(Some((job, claimed)))
    }

    /// Ends a job that runs since this start. Returns it as it then is; `None`: it is no longer there.
    pub fn end(
        &mut self,
        JobStart { seq, at }: JobStart,
        end: &JobEnd,
        now: WallTime,
    ) -> rusqlite::Result<Option<Job>> {
        let Some(before) = self.by_seq(seq)? else { return Ok(None) };
        if before.state != JobState::Running || before.started != Some(at) {
            return Ok(Some(before));
        }
        let (form, body) = match end {
            JobEnd::Answer { form, body } => (written(form), body),
            JobEnd::Failure(failure) => return self.fail(&before, failure, now).map(Some),
        };
        let job = self.close(&before, JobState::Succeeded, None, Some(&form), now)?;
        let sql = "INSERT OR REPLACE INTO answer(job, body) VALUES (?1, ?2)";
        self.connection.prepare_cached(sql)?.execute(params![seq, &**body])?;
        let sql = "UPDATE job SET bytes = bytes + ?2 WHERE seq = ?1";
        self.connection.prepare_cached(sql)?.execute(params![seq, length(body)])?;
        self.tally.grow(&owner_of(&job), body.len() as u64);
        Ok(Some(job))
    }

    /// Ends a job without an answer.
    pub(super) fn fail(
        &mut self,
        before: &Job,
        failure: &Failure,
        now: WallTime,
    ) -> rusqlite::Result<Job> {
        self.close(before, JobState::Failed, Some(&written(failure)), None, now)
    }

    fn close(
        &mut self,
        before: &Job,
        state: JobState,
        problem: Option<&str>,
        form: Option<&str>,
        now: WallTime,
    ) -> rusqlite::Result<Job> {
        let sql = concat!(
            "UPDATE job SET state = ?2, ended = ?3, expires = ?3 + keep, problem = ?4, form = ?5 \
             WHERE seq = ?1 RETURNING ",
            columns!()
        );
        let values = params![before.seq, state as i64, now.0, problem, form];
        let job = self.connection.prepare_cached(sql)?.query_row(values, job_of)?;
        self.moved(&job, before.state);
        Ok(job)
    }

    /// Lets a job wait again that runs since this start. `forgets_start`: as if it had not been started.
    pub fn give_back(
        &mut self,
        JobStart { seq, at }: JobStart,
        forgets_start: bool,
        now: WallTime,
    ) -> rusqlite::Result<Option<Job>> {
        let sql = concat!(
            "UPDATE job SET state = 0, attempts = attempts - ?2, expires = ?3 + wait \
             WHERE seq = ?1 AND state = 1 AND started = ?4 RETURNING ",
            columns!()
        );
        let values = params![seq, i64::from(forgets_start), now.0, at.0];
        let job = self.connection.prepare_cached(sql)?.query_row(values, job_of).optional()?;
        let Some(job) = job else {
            // It was given back before, where the disk had it and nobody knew.
            return Ok(self.by_seq(seq)?.filter(|job| job.state == JobState::Queued));
        };
        self.moved(&job, JobState::Running);
        Ok(Some(job))
    }

    /// Cancels a job that is open, or removes one that has ended.
    pub fn remove(
        &mut self,
        id: JobId,
        owner: JobViewer<'_>,
        now: WallTime,
    ) -> rusqlite::Result<JobRemoval> {
        let Some(job) = self.look(id, owner)? else { return Ok(JobRemoval::Unknown) };
        if job.state.has_ended() {
            self.delete(&job)?;
            return Ok(JobRemoval::Removed(job));
        }
        self.close(&job, JobState::Canceled, None, None, now).map(JobRemoval::Canceled)
    }

    pub(super) fn delete(&mut self, job: &Job) -> rusqlite::Result<()> {
        let bytes = self.delete_row(job.seq)?;
        self.tally.remove(&job.pool, &owner_of(job), job.state, bytes);
        Ok(())
    }

    /// Removes a row with all that belongs to it. Returns how many bytes it had.
    pub(super) fn delete_row(&self, seq: i64) -> rusqlite::Result<u64> {
        for sql in ["DELETE FROM question WHERE job = ?1", "DELETE FROM answer WHERE job = ?1"] {
            self.connection.prepare_cached(sql)?.execute([seq])?;
        }
        let sql = "DELETE FROM job WHERE seq = ?1 RETURNING bytes";
        let mut statement = self.connection.prepare_cached(sql)?;
        let bytes: Option<i64> = statement.query_row([seq], |row| row.get(0)).optional()?;
        Ok(bytes.unwrap_or(0) as u64)
    }

    /// Returns a job, if this viewer may see it.
    pub fn look(&self, id: JobId, viewer: JobViewer<'_>) -> rusqlite::Result<Option<Job>> {
        let sql = concat!("SELECT ", columns!(), " FROM job WHERE id = ?1");
        let found = self.connection.prepare_cached(sql)?.query_row([id.0], job_of).optional()?;
        Ok(found.filter(|job| viewer.may_see(job)))
    }

    fn by_seq(&self, seq: i64) -> rusqlite::Result<Option<Job>> {
        let sql = concat!("SELECT ", columns!(), " FROM job WHERE seq = ?1");
        self.connection.prepare_cached(sql)?.query_row([seq], job_of).optional()
    }

    /// Returns a job, if this viewer may see it, and how many bytes its answer has; the answer is
    /// not read.
    pub fn weigh(
        &self,
        id: JobId,
        viewer: JobViewer<'_>,
    ) -> rusqlite::Result<Option<(Job, usize)>> {
        let Some(job) = self.look(id, viewer)? else { return Ok(None) };
        let sql = "SELECT length(body) FROM answer WHERE job = ?1";
        let mut statement = self.connection.prepare_cached(sql)?;
        let length: Option<i64> = statement.query_row([job.seq], |row| row.get(0)).optional()?;
        Ok(Some((job, length.unwrap_or(0) as usize)))
    }

    /// Returns a job with its answer, if this viewer may see it.
    pub fn result(&self, id: JobId, viewer: JobViewer<'_>) -> rusqlite::Result<Option<KeptJob>> {
        let Some(job) = self.look(id, viewer)? else { return Ok(None) };
        let sql = "SELECT job.form, answer.body FROM job JOIN answer ON answer.job = job.seq \
                   WHERE job.seq = ?1 AND job.state = 2";
        let read = |row: &Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, Vec<u8>>(1)?));
        let found = self.connection.prepare_cached(sql)?.query_row([job.seq], read).optional()?;
        let answer = found.and_then(|(form, body)| Some((read_back(&form)?, Bytes::from(body))));
        Ok(Some(KeptJob { job, answer }))
    }
}

/// Who looks at a job.
#[derive(Clone, Copy, Debug)]
pub enum JobViewer<'a> {
    /// An operator, who may see all.
    Operator,
    /// A caller, by the name of their key.
    Caller(Option<&'a str>),
}

impl JobViewer<'_> {
    fn may_see(self, job: &Job) -> bool {
        match (self, &job.owner) {
            (Self::Operator, _) | (_, None) => true,
            (Self::Caller(name), Some(owner)) => name == Some(owner),
        }
    }
}

fn length(bytes: &Bytes) -> i64 {
    bytes.len().try_into().unwrap_or(i64::MAX)
}

fn millis(time: Duration) -> i64 {
    time.as_millis().try_into().unwrap_or(i64::MAX / 4)
}
