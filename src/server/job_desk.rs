//! Answers operators who ask about jobs.

use std::path::PathBuf;
use std::str::FromStr as _;

use serde_json::{Value, json};

use super::app::Server;
use crate::admin::{JobObstacle, JobQuery, JobRequest};
use crate::config::{Config, JobsSettings};
use crate::front::jobs::moment;
use crate::jobs::{
    Job, JobDesk, JobFilter, JobId, JobRemoval, JobState, StoreFailed, WaitingJobs, WallTime,
    wall_now,
};
use crate::observe::metrics::PoolJobs;

impl From<StoreFailed> for JobObstacle {
    fn from(StoreFailed: StoreFailed) -> Self {
        Self::Failed("the file of the jobs cannot be read or written now; the log says why".into())
    }
}

/// Does what an operator asks for.
pub(super) async fn answer(server: &Server, request: JobRequest) -> Result<Value, JobObstacle> {
    let desk = server.desk().ok_or(JobObstacle::None)?;
    match request {
        JobRequest::List(query) => list(server, desk, query).await,
        JobRequest::Remove(name) => match desk.remove_any(id(&name)?).await? {
            JobRemoval::Canceled(job) => Ok(json!({ "canceled": job.id.to_string() })),
            JobRemoval::Removed(job) => Ok(json!({ "removed": job.id.to_string() })),
            JobRemoval::Unknown => Err(JobObstacle::Unknown),
        },
        JobRequest::Retry(name) => match desk.retry(id(&name)?).await? {
            Some((job, true)) => Ok(shown(&job, &server.current().config)),
            Some((job, false)) => {
                let state = job.state.as_str();
                let why = format!(
                    "the job is {state}; only one that failed or was canceled is tried again"
                );
                Err(JobObstacle::Wrong(why))
            }
            None => Err(JobObstacle::Unknown),
        },
        JobRequest::BackUp => back_up(server, desk).await,
    }
}

async fn list(server: &Server, desk: &JobDesk, query: JobQuery) -> Result<Value, JobObstacle> {
    let JobQuery { state, pool, after, limit } = query;
    let state = state.map(|word| {
        JobState::from_str(&word).map_err(|_| {
            let words: Vec<_> = JobState::ALL.iter().map(|state| state.as_str()).collect();
            JobObstacle::BadQuery(format!("`state` must be one of {}", words.join(", ")))
        })
    });
    let after = after.map(|name| id(&name)).transpose()?;
    let filter = JobFilter { state: state.transpose()?, pool, after, limit };
    let jobs = desk.list(filter).await?;
    let generation = server.current();
    let shown = jobs.iter().map(|job| shown(job, &generation.config));
    Ok(json!({ "jobs": shown.collect::<Vec<_>>() }))
}

async fn back_up(server: &Server, desk: &JobDesk) -> Result<Value, JobObstacle> {
    let settings = server.current().config.jobs.clone().ok_or(JobObstacle::None)?;
    let WallTime(now) = wall_now();
    let name = format!("{}{}{}", settings.file.display(), JobsSettings::BACKUP, now / 1000);
    let mut copy = PathBuf::from(&name);
    for number in 2.. {
        if !copy.exists() {
            break;
        }
        copy = PathBuf::from(format!("{name}-{number}"));
    }
    match desk.back_up(copy.clone()).await? {
        Ok(()) => Ok(json!({ "file": copy.display().to_string() })),
        Err(error) => {
            Err(JobObstacle::Failed(format!("cannot write `{}`: {error}", copy.display())))
        }
    }
}

fn id(name: &str) -> Result<JobId, JobObstacle> {
    JobId::from_str(name).map_err(|_| JobObstacle::Unknown)
}

/// Shows a job without its contents.
fn shown(job: &Job, config: &Config) -> Value {
    let has_pool = config.pools.iter().any(|pool| *pool.name == *job.pool);
    let why = (job.state == JobState::Queued && !has_pool).then_some("no pool has this name");
    json!({
        "id": job.id.to_string(),
        "state": job.state.as_str(),
        "pool": &*job.pool,
        "route": &*job.route,
        "caller": job.owner.as_deref(),
        "created": moment(job.created),
        "started": job.started.map(moment),
        "ended": job.ended.map(moment),
        "expires": moment(job.expires),
        "attempts": job.attempts,
        "code": job.failure.as_ref().map(|failure| failure.code().as_str()),
        "why": why,
        "request_id": &*job.request_id,
    })
}

/// Says which jobs wait for a pool or a route that the configuration does not have.
pub(super) fn tell_of_missing(waiting: &[WaitingJobs], config: &Config) {
    for WaitingJobs { pool, route, jobs } in waiting {
        if !config.pools.iter().any(|known| *known.name == **pool) {
            tracing::warn!(
                %pool, %route, jobs, "jobs wait for a pool that the configuration does not have: they \
                 fail when their `wait` is over, unless a pool of this name comes back"
            );
        } else if !config.routes.iter().any(|known| known.label == *route) {
            tracing::warn!(
                %pool, %route, jobs, "jobs wait whose route the configuration does not have: their \
                 pool runs them all the same, for an hour each at most"
            );
        }
    }
}

/// Returns what the metrics show of the jobs.
pub(super) fn numbers(desk: &JobDesk) -> Vec<PoolJobs> {
    let (board, now) = (desk.board(), wall_now());
    let counts = board.counts().into_iter();
    let pools = counts.map(|(pool, counts)| PoolJobs {
        states: JobState::ALL
            .iter()
            .map(|state| (state.as_str(), counts[*state as usize]))
            .collect(),
        oldest: board.oldest(&pool).map(|created| now.since(created)),
        pool,
    });
    pools.collect()
}
