//! Posts how far jobs are, as their programs say: four times a second at most for each
//! job, whatever the program says.

use std::cell::RefCell;
use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::base::{PlaceId, Progress};
use crate::jobs::{JobBoard, JobId};

/// The least time between two reports of one job.
const PAUSE: Duration = Duration::from_millis(250);

/// Where the progress of the jobs goes that run, by their places.
#[derive(Debug, Default)]
pub(super) struct JobReports(RefCell<HashMap<PlaceId, watch::Sender<Option<Progress>>>>);

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
        if let Some(latest) = self.0.borrow().get(&place) {
            latest.send_replace(Some(progress));
        }
    }

    /// Posts what is told of the job in this place, until this is dropped.
    pub(super) async fn post(
        &self,
        place: PlaceId,
        board: &Arc<JobBoard>,
        id: JobId,
    ) -> Infallible {
        let (told, mut latest) = watch::channel(None);
        self.0.borrow_mut().insert(place, told);
        let job = FollowedJob { reports: self, place, board: Arc::clone(board), id };
        while latest.changed().await.is_ok() {
            let progress = latest.borrow_and_update().clone();
            job.board.note_progress(id, progress);
            tokio::time::sleep(PAUSE).await;
        }
        std::future::pending().await
    }
}

impl Drop for FollowedJob<'_> {
    fn drop(&mut self) {
        self.reports.0.borrow_mut().remove(&self.place);
        self.board.note_progress(self.id, None);
    }
}
