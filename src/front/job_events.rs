//! A job as a stream of events: the whole of it at each change.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http::StatusCode;
use http::header::{self, HeaderValue};

use super::job_page::document;
use super::job_said::{JobBody, JobSaid};
use super::parts::{PartsBody, Style};
use crate::base::{PartForm, PartSender, Progress, answer_in_parts};
use crate::jobs::{Job, JobWatch};

/// The least time between two events.
const PAUSE: Duration = Duration::from_millis(250);
/// How long nothing is sent at most, so that proxies do not take the connection for dead.
const SILENCE: Duration = Duration::from_secs(15);
/// A reader that has not read this much gets no more until it has.
const UNREAD_MOST: usize = 64 << 10;

/// Writes the events of one job.
pub(super) struct JobStream {
    watch: JobWatch,
    job: Job,
    parts: PartSender,
}

impl JobStream {
    /// A stream that begins with the job as it is, and its body.
    pub(super) fn new(watch: JobWatch, job: Job, request_id: &str) -> (Self, PartsBody) {
        let (sender, parts) = answer_in_parts(UNREAD_MOST);
        let body = PartsBody::new(parts, &PartForm::Raw, Style::Raw, request_id);
        (Self { watch, job, parts: sender }, body)
    }

    /// Writes until the job has ended, its reader has left or the server ends.
    pub(super) async fn run(mut self) {
        loop {
            if !self.parts.push(event(&self.job, self.watch.progress().as_ref())) {
                return;
            }
            if self.job.state.has_ended() {
                break;
            }
            tokio::time::sleep(PAUSE).await;
            if !self.next().await {
                break;
            }
        }
        self.parts.finish(Ok(()));
    }

    /// Waits for a change, and for a reader who is behind. Returns false if there is nothing more to
    /// tell.
    async fn next(&mut self) -> bool {
        loop {
            match tokio::time::timeout(SILENCE, self.watch.moved()).await {
                Ok(Ok(Some(None)) | Err(_)) => return false,
                Ok(Ok(moved)) => {
                    self.job = moved.flatten().unwrap_or_else(|| self.job.clone());
                    // A reader who is behind sees the next change.
                    if self.parts.has_room() || self.job.state.has_ended() {
                        return true;
                    }
                }
                Err(_) => {
                    if self.parts.has_room() && !self.parts.push(Bytes::from_static(b":\n\n")) {
                        return false;
                    }
                }
            }
        }
    }
}

/// The response that has the events as its body.
pub(super) fn response(body: PartsBody) -> JobSaid {
    let headers = vec![
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    JobSaid { status: StatusCode::OK, headers, body: JobBody::Events(body) }
}

fn event(job: &Job, progress: Option<&Progress>) -> Bytes {
    let mut text = BytesMut::from(&b"event: job\ndata: "[..]);
    // Without line ends: nothing in the document is pretty.
    text.put_slice(&document(job, progress));
    text.put_slice(b"\n\n");
    text.freeze()
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::Pin;
    use std::sync::Arc;

    use super::*;
    use crate::jobs::{JobBoard, waiting_job};

    #[tokio::test(start_paused = true)]
    async fn whatever_changes_a_second_has_four_events_at_most() {
        let (board, job) = (Arc::new(JobBoard::default()), waiting_job());
        let id = job.id;
        let (stream, body) = JobStream::new(board.watch(id), job, "r");
        let changes = async {
            for percent in 0..100 {
                board.note_progress(id, Progress::of(f64::from(percent) / 100.0, None));
                tokio::time::advance(Duration::from_millis(10)).await;
            }
            board.close();
        };
        tokio::join!(stream.run(), changes);
        let (mut body, mut events) = (body, 0);
        while poll_fn(|context| Pin::new(&mut body).poll_next(context)).await.is_some() {
            events += 1;
        }
        assert!((4..=5).contains(&events), "one at once, and {events} in all");
    }
}
