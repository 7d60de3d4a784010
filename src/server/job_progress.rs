//! Which jobs run, and how far they are, as their programs say: posted four times a second at most
//! for each job, whatever the program says.

use std::cell::RefCell;
use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::base::{PlaceId, Progress};
use crate::jobs::{JobBoard, JobId};
use crate::report::{BackgroundStatus, RunningJobStatus};

/// The least time between two reports of one job.
const PAUSE: Duration = Duration::from_millis(250);

/// The jobs that run, by their places, and where their progress goes.
#[derive(Debug, Default)]
pub(super) struct JobReports(RefCell<HashMap<PlaceId, ReportedJob>>);

/// A job, and where its progress goes.
type ReportedJob = (BegunJob, watch::Sender<Option<Progress>>);

/// A job that was begun.
#[derive(Clone, Debug)]
pub(super) struct BegunJob {
    pub(super) id: JobId,
    /// Its place in the order of acceptance.
    pub(super) seq: i64,
    pub(super) pool: Arc<str>,
    pub(super) route: Arc<str>,
    pub(super) since: Instant,
}

/// A job whose progress is posted until this is dropped.
struct FollowedJob<'a> {
    reports: &'a JobReports,
    place: PlaceId,
    board: Arc<JobBoard>,
    id: JobId,
}

impl JobReports {
    /// Takes in how far the job in this place is. What was not posted yet is forgotten.
    pub(super) fn told(&self, place: PlaceId, progress: Progress) {
        if let Some((_, latest)) = self.0.borrow().get(&place) {
            latest.send_replace(Some(progress));
        }
    }

    /// Posts what is told of the job in this place, until this is dropped.
    pub(super) async fn post(
        &self,
        place: PlaceId,
        board: &Arc<JobBoard>,
        begun: BegunJob,
    ) -> Infallible {
        let (told, mut latest) = watch::channel(None);
        let id = begun.id;
        self.0.borrow_mut().insert(place, (begun, told));
        let job = FollowedJob { reports: self, place, board: Arc::clone(board), id };
        while latest.changed().await.is_ok() {
            let progress = latest.borrow_and_update().clone();
            job.board.note_progress(id, progress);
            tokio::time::sleep(PAUSE).await;
        }
        std::future::pending().await
    }

    /// Returns the jobs that run, the one first that has run longest.
    pub(super) fn running(&self, board: &JobBoard) -> Vec<RunningJobStatus> {
        let mut begun: Vec<BegunJob> =
            self.0.borrow().values().map(|(job, _)| job.clone()).collect();
        begun.sort_by_key(|job| (job.since, job.seq));
        begun.truncate(BackgroundStatus::RUNNING_MOST);
        let shown = begun.into_iter().map(|job| {
            let (fraction, text) = board.progress(job.id).map_or((None, None), |it| it.parts());
            RunningJobStatus {
                id: Some(job.id.to_string()),
                pool: job.pool.to_string(),
                route: job.route.to_string(),
                since: job.since.elapsed(),
                fraction,
                text,
            }
        });
        shown.collect()
    }
}

impl Drop for FollowedJob<'_> {
    fn drop(&mut self) {
        self.reports.0.borrow_mut().remove(&self.place);
        self.board.note_progress(self.id, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn however_often_a_program_says_it_a_second_has_four_reports_at_most() {
        let (board, reports) = (Arc::new(JobBoard::default()), JobReports::default());
        let (place, id) = (PlaceId(1), JobId([7; 16]));
        let (pool, route) = ("a".into(), "POST /".into());
        let begun = BegunJob { id, seq: 1, pool, route, since: Instant::now() };
        let mut posted = Vec::new();
        let says = async {
            for percent in 0..100 {
                let progress = Progress::of(f64::from(percent) / 100.0, None);
                reports.told(place, progress.expect("a number"));
                tokio::time::advance(Duration::from_millis(10)).await;
                posted.push(board.progress(id));
            }
        };
        tokio::select! {
            never = reports.post(place, &board, begun) => match never {},
            () = says => {}
        }
        posted.dedup();
        assert!((4..=5).contains(&posted.len()), "{posted:?}");
        assert_eq!(board.progress(id), None, "it runs no longer");
    }
}
