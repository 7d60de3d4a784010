//! Reads the answer of a job, within the memory for answers.

use std::sync::Arc;

use http::header::HeaderValue;

use super::heading::{AllHeadings, Headings};
use crate::base::{Failure, Timing};
use crate::call::Answer;
use crate::jobs::{Job, JobDesk, JobId, JobState, KeptJob};
use crate::sync::memory::{Exhausted, Memory};

/// The content type of what has none.
const UNKNOWN: &str = "application/octet-stream";

/// Returns the answer of a job that has ended, and the beginning of its response. Its bytes are
/// counted in `memory` before they are read, so that many who ask at once take no more than that.
pub(super) async fn read(
    desk: &JobDesk,
    id: JobId,
    caller: Option<Arc<str>>,
    memory: &Arc<Memory>,
) -> Result<(Answer, Arc<Headings>), Failure> {
    let (job, length) = desk.weigh(id, caller.clone()).await?.ok_or(Failure::NoJob)?;
    may_be_read(&job)?;
    let mut reservation = memory.reservation();
    reservation.grow_to(length).map_err(|Exhausted| Failure::Busy)?;
    let KeptJob { job, answer } = desk.result(id, caller).await?.ok_or(Failure::NoJob)?;
    may_be_read(&job)?;
    let (form, body) = answer.ok_or(Failure::Internal)?;
    let (reply, content_type) = form.reply(reservation.keep(body));
    // What stands in the file may have been changed there.
    let is_good = |text: &String| HeaderValue::from_str(text).is_ok();
    let content_type = content_type.filter(is_good).unwrap_or_else(|| UNKNOWN.to_owned());
    let headings = AllHeadings::default().of(&content_type, None);
    Ok((Answer { result: Ok(reply), timing: Timing::default(), cache: None }, headings))
}

/// Returns an error if a job has no answer.
fn may_be_read(job: &Job) -> Result<(), Failure> {
    match job.state {
        JobState::Queued | JobState::Running => Err(Failure::NotEnded),
        JobState::Canceled => Err(Failure::JobCanceled),
        JobState::Failed => Err(job.failure.clone().unwrap_or(Failure::Internal)),
        JobState::Succeeded => Ok(()),
    }
}
