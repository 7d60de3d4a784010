//! How the rows of jobs are written and read.

use std::sync::Arc;

use rusqlite::Row;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::job::{Job, JobId, JobState, WallTime};
use crate::base::Failure;

/// The columns of a [`Job`], in the order in which [`job_of`] reads them.
macro_rules! columns {
    () => {
        "seq, id, pool, route, owner, state, attempts, due, created, started, ended, expires, problem, \
         request_id"
    };
}
pub(super) use columns;

/// Returns the owner of a job, as the tally has it.
pub fn owner_of(job: &Job) -> Arc<str> {
    job.owner.clone().unwrap_or_default()
}

/// Reads a text, which may have bytes that are no UTF-8.
pub fn words(row: &Row<'_>, index: usize) -> rusqlite::Result<Arc<str>> {
    let bytes = row.get_ref(index)?.as_bytes().unwrap_or_default();
    Ok(String::from_utf8_lossy(bytes).into())
}

/// Reads the row of a job.
pub fn job_of(row: &Row<'_>) -> rusqlite::Result<Job> {
    let problem: Option<String> = row.get(12)?;
    let number: i64 = row.get(5)?;
    Ok(Job {
        seq: row.get(0)?,
        id: JobId(row.get(1)?),
        pool: row.get(2)?,
        route: row.get(3)?,
        owner: row.get(4)?,
        state: JobState::of(number).ok_or(rusqlite::Error::IntegralValueOutOfRange(5, number))?,
        attempts: row.get(6)?,
        due: WallTime(row.get(7)?),
        created: WallTime(row.get(8)?),
        started: row.get::<_, Option<i64>>(9)?.map(WallTime),
        ended: row.get::<_, Option<i64>>(10)?.map(WallTime),
        expires: WallTime(row.get(11)?),
        failure: problem.map(|text| read_back(&text).unwrap_or(Failure::Internal)),
        request_id: row.get(13)?,
    })
}

/// Writes what a column has as JSON.
pub fn written(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("texts and numbers are always JSON")
}

/// Reads what was written down, perhaps by another version.
pub fn read_back<T: DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_str(text).ok()
}
