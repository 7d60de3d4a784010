//! What operators are told of jobs, batch requests, and calls that go together.

use std::sync::Arc;

use super::app::Server;
use crate::jobs::{JobBoard, JobCounts, JobDesk, JobState, wall_now};
use crate::report::{BackgroundStatus, JobCountsStatus, PoolWorkStatus};

/// Returns what operators are told; `None` if there is nothing of that.
pub(super) fn status(server: &Server) -> Option<BackgroundStatus> {
    let board = server.desk().map(JobDesk::board);
    let mut counts = board.map(|board| board.counts()).unwrap_or_default();
    let mut pools = Vec::new();
    for pool in server.current().pools() {
        let (batches, groups) = pool.background();
        let jobs = board.and_then(|board| jobs_of(board, &mut counts, &pool.name()));
        pools.push(PoolWorkStatus { pool: pool.name(), jobs, batches, groups });
    }
    pools.retain(|it| it.jobs.is_some() || it.batches.is_some() || it.groups.is_some());
    let gone: Vec<Arc<str>> = counts.keys().map(Arc::clone).collect();
    for pool in gone {
        let jobs = board.and_then(|board| jobs_of(board, &mut counts, &pool));
        if jobs.is_some() {
            pools.push(PoolWorkStatus {
                pool: pool.to_string(),
                jobs,
                batches: None,
                groups: None,
            });
        }
    }
    let store_failing = board.is_some_and(|board| board.is_failing());
    if pools.is_empty() && !store_failing {
        return None;
    }
    let running = server.jobs().map(|jobs| jobs.running()).unwrap_or_default();
    Some(BackgroundStatus { store_failing, pools, running })
}

/// Takes out of `counts` the jobs of one pool; `None` if it has none.
fn jobs_of(board: &JobBoard, counts: &mut JobCounts, pool: &str) -> Option<JobCountsStatus> {
    let counts = counts.remove(pool).filter(|counts| counts.iter().any(|jobs| *jobs > 0))?;
    let of = |state: JobState| counts[state as usize];
    Some(JobCountsStatus {
        queued: of(JobState::Queued),
        running: of(JobState::Running),
        succeeded: of(JobState::Succeeded),
        failed: of(JobState::Failed),
        canceled: of(JobState::Canceled),
        oldest: board.oldest(pool).map(|created| wall_now().since(created)),
    })
}
