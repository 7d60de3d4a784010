//! Gives jobs to workers: each pool is offered the jobs that wait for it, and what becomes of one is
//! written down.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::task::TaskTracker;

use super::app::{Generation, Server};
use super::job_desk;
use super::job_progress::{BegunJob, JobReports};
use super::job_runner::JobRunner;
use crate::base::{Call, Class, Failure, PlaceId, Progress, Question, RouteId, Tenant};
use crate::call::{Answer, Calls as _, Keep, Request};
use crate::config::route::ContentType;
use crate::config::{CallSettings, Config, JobsSettings, RouteAction};
use crate::jobs::{
    self, ClaimedJob, JobDesk, JobEnd, JobThread, KeeperSettings, NextJob, NotOpened, Recovered,
    StoreLimits, WallTime, wall_now,
};
use crate::observe::metrics::JobMetrics;
use crate::pool::{BackgroundSource, JobPlace, Pool};
use crate::report::RunningJobStatus;

/// How long one waits before the file is tried again.
const AGAIN: Duration = Duration::from_secs(1);
/// For how many answers of jobs that run the disk must have room.
const SLOTS: u64 = 4;
/// How long a job may take whose route is gone.
const TIMEOUT: Duration = Duration::from_hours(1);

/// The file of the jobs, and its thread.
pub(super) struct OpenJobs {
    desk: JobDesk,
    thread: JobThread,
}

impl OpenJobs {
    /// Where jobs are kept.
    pub(super) fn desk(&self) -> JobDesk {
        self.desk.clone()
    }
}

/// Opens the file of the jobs.
pub(super) fn open(settings: &JobsSettings) -> Result<OpenJobs, NotOpened> {
    let (desk, thread) = jobs::open(&settings.file, limits(settings))?;
    Ok(OpenJobs { desk, thread })
}

fn limits(settings: &JobsSettings) -> KeeperSettings {
    KeeperSettings {
        limits: StoreLimits { length: settings.length, bytes: settings.bytes.0 },
        result: settings.result.0,
        slots: SLOTS,
    }
}

/// Runs the jobs of a server.
#[derive(Debug)]
pub(super) struct JobFeed {
    me: Weak<Self>,
    desk: JobDesk,
    /// `None`: it has ended.
    thread: RefCell<Option<JobThread>>,
    metrics: Arc<JobMetrics>,
    /// Jobs that run, or whose end is being written.
    running: TaskTracker,
    /// How far those are that run.
    reports: JobReports,
    /// Set after the start: the server knows this, and this the server.
    server: Weak<Server>,
}

/// The jobs that wait for one pool.
#[derive(Debug)]
struct JobSource {
    feed: Rc<JobFeed>,
    pool: Weak<Pool>,
    name: String,
    /// What the board said when it was asked last.
    known: Cell<LookedAt>,
}

/// What the board said of the jobs of one pool.
#[derive(Clone, Copy, Debug, Default)]
struct LookedAt {
    /// Its number then.
    changes: u64,
    /// When the job came that has waited longest, by both clocks; `None`: none waits.
    since: Option<(WallTime, Instant)>,
}

impl JobFeed {
    /// Begins to run the jobs of a server in its pools.
    pub(super) fn run(OpenJobs { desk, thread }: OpenJobs, server: &Rc<Server>) -> Rc<Self> {
        let recovered = desk.recovered;
        if recovered != Recovered::default() {
            let Recovered { queued, failed } = recovered;
            tracing::info!(queued, failed, "jobs ran when the last server ended");
        }
        let feed = Rc::new_cyclic(|me| Self {
            me: Weak::clone(me),
            desk,
            metrics: server.metrics().jobs(),
            thread: RefCell::new(Some(thread)),
            running: TaskTracker::new(),
            reports: JobReports::default(),
            server: Rc::downgrade(server),
        });
        feed.running.close();
        feed.desk.board().measure(server.metrics().jobs());
        let follow = Rc::clone(&feed);
        server.tasks().spawn_local(async move { follow.follow().await });
        server.run_jobs(Rc::clone(&feed) as Rc<dyn JobRunner>);
        feed
    }

    /// Tells the pools whenever more jobs wait.
    async fn follow(&self) {
        loop {
            self.desk.board().one_came().await;
            let Some(server) = self.server.upgrade() else { return };
            for pool in server.current().pools() {
                pool.background_changed();
            }
        }
    }

    /// Returns how many jobs run.
    pub(super) fn running(&self) -> usize {
        self.running.len()
    }

    /// Waits until no job runs.
    pub(super) async fn becomes_idle(&self) {
        self.running.wait().await;
    }

    /// Closes the file, once the ends of the last jobs are written, but at latest after this time.
    pub(super) async fn close(&self, patience: Duration) {
        let closed = async {
            self.becomes_idle().await;
            self.desk.close().await;
        };
        if tokio::time::timeout(patience, closed).await.is_ok() {
            let thread = self.thread.borrow_mut().take();
            thread.into_iter().for_each(JobThread::join);
        }
    }

    /// Runs the job that goes next in a pool.
    async fn run_next(&self, pool: &Rc<Pool>, name: &str, place: JobPlace) {
        let Some(next) = self.desk.board().take(name) else { return };
        // Another job goes next now.
        pool.background_changed();
        let mut watch = self.desk.board().watch(next.id);
        let claimed = match self.desk.claim(next.turn.seq).await {
            Ok(Some(claimed)) => claimed,
            // It was canceled, or its time was over.
            Ok(None) => return,
            Err(_) => return self.put_back(name, next).await,
        };
        let Some(server) = self.server.upgrade() else { return };
        let generation = server.current();
        let (asking, content_type) = asking(&generation, name, &claimed, place.class(claimed.lost));
        let Some(asking) = asking else {
            // The pool went while the job was claimed; one of its name may come back.
            return self.written(async || self.desk.give_back(claimed.start, true).await).await;
        };
        let begun = BegunJob {
            id: next.id,
            seq: claimed.start.seq,
            pool: name.into(),
            route: Arc::clone(&claimed.route),
            since: Instant::now(),
        };
        let answer = tokio::select! {
            answer = generation.gateway.call(asking) => answer,
            () = watch.until_unwanted(claimed.start) => return,
            never = self.reports.post(place.id(), self.desk.board(), begun) => match never {},
        };
        drop(place);
        self.note(&claimed, answer, content_type.as_str()).await;
    }

    /// Writes down what became of a job.
    async fn note(&self, claimed: &ClaimedJob, answer: Answer, content_type: &str) {
        let start = claimed.start;
        let has_begun = answer.timing.worker.is_some();
        match answer.result {
            // The server or the pool ended before the job did.
            Err(Failure::Draining) if claimed.idempotent || !has_begun => {
                self.written(async || self.desk.give_back(start, true).await).await;
            }
            // The file says how many times a job was started, whatever becomes of this server.
            Err(Failure::WorkerLost { .. }) if claimed.may_start_again => {
                self.written(async || self.desk.give_back(start, false).await).await;
            }
            // No worker could be started at this moment, so it waits for one.
            Err(
                Failure::NoWorker { .. } | Failure::QueueFull { .. } | Failure::QueueTimeout { .. },
            ) if !has_begun => {
                tokio::time::sleep(AGAIN).await;
                self.written(async || self.desk.give_back(start, true).await).await;
            }
            result => {
                let end = JobEnd::of(result, content_type, self.desk.result_most());
                let outcome = match &end {
                    JobEnd::Answer { .. } => "ok",
                    JobEnd::Failure(failure) => failure.code().as_str(),
                };
                self.metrics.ended(&claimed.route, outcome);
                self.written(async || self.desk.end(start, end.clone()).await).await;
            }
        }
    }

    /// Writes until that succeeds. Until then nothing else is begun in its place.
    async fn written<E>(&self, write: impl AsyncFn() -> Result<(), E>) {
        while write().await.is_err() {
            if self.desk.is_closed() {
                return;
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    async fn put_back(&self, name: &str, next: NextJob) {
        tokio::time::sleep(AGAIN).await;
        self.desk.board().put_back(name, next);
    }
}

impl JobRunner for JobFeed {
    fn feed(&self, pool: &Rc<Pool>, config: &Config) {
        let name = pool.name();
        let makes_jobs = config.routes.iter().any(|route| match &route.action {
            RouteAction::Call(call) => call.jobs.is_some() && config.pools[call.pool].name == name,
            RouteAction::Text { .. } => false,
        });
        // Those of an earlier configuration count, too.
        if !makes_jobs && !self.desk.board().counts().contains_key(&*name) {
            return;
        }
        let Some(feed) = self.me.upgrade() else { return };
        let source = JobSource { feed, pool: Rc::downgrade(pool), name, known: Cell::default() };
        pool.feed_from(Some(Rc::new(source)));
    }

    fn adopt(&self, config: &Arc<Config>) {
        let (Some(feed), Some(server), config) =
            (self.me.upgrade(), self.server.upgrade(), Arc::clone(config))
        else {
            return;
        };
        server.tasks().spawn_local(async move {
            if let Some(settings) = &config.jobs {
                feed.desk.limit(limits(settings)).await;
            }
            if let Ok(waiting) = feed.desk.waiting().await {
                job_desk::tell_of_missing(&waiting, &config);
            }
        });
    }

    fn drain(&self) {
        self.desk.board().close();
    }

    fn running(&self) -> Vec<RunningJobStatus> {
        self.reports.running(self.desk.board())
    }
}

impl BackgroundSource for JobSource {
    fn waits_since(&self) -> Option<Instant> {
        let board = self.feed.desk.board();
        if board.is_failing() {
            // What could not be written down is not begun.
            return None;
        }
        let (mut known, changes) = (self.known.get(), board.changes());
        // This is asked twice for each call of a caller, so it takes no lock where nothing has changed.
        if known.changes != changes {
            let since = board.oldest(&self.name).map(|created| match known.since {
                Some(both) if both.0 == created => both,
                _ => (created, instant_of(created)),
            });
            known = LookedAt { changes, since };
            self.known.set(known);
        }
        known.since.map(|(_, since)| since)
    }

    fn offer(&self, place: JobPlace) {
        let Some(pool) = self.pool.upgrade() else { return };
        let (feed, name) = (Rc::clone(&self.feed), self.name.clone());
        let running = self.feed.running.clone();
        running.spawn_local(async move { feed.run_next(&pool, &name, place).await });
    }

    fn progressed(&self, place: PlaceId, progress: Progress) {
        self.feed.reports.told(place, progress);
    }
}

/// Returns the moment at which the wall showed `moment`.
fn instant_of(moment: WallTime) -> Instant {
    let now = Instant::now();
    now.checked_sub(wall_now().since(moment)).unwrap_or(now)
}

/// Makes the call of a job, by the names of its pool and its route; `None`: there is no such pool.
fn asking(
    generation: &Generation,
    pool: &str,
    claimed: &ClaimedJob,
    class: Class,
) -> (Option<Box<Request>>, ContentType) {
    let config = &generation.config;
    let place = config.pools.iter().position(|settings| settings.name == pool);
    let Some(place) = place else { return (None, ContentType::default()) };
    let routes = config.routes.iter().filter_map(|route| match &route.action {
        RouteAction::Call(call) if call.pool == place => Some((route, call)),
        _ => None,
    });
    let routes: Vec<_> = routes.collect();
    let own = routes.iter().find(|(route, _)| route.label == claimed.route).copied();
    // The question is as it was rendered; without its route it is counted under another of the pool.
    let id = own.or(routes.first().copied()).map_or(RouteId(0), |(route, _)| route.id);
    let call: Option<&CallSettings> = own.map(|(_, call)| call);
    let keep = call
        .filter(|it| claimed.question.nonce.is_none() && it.kept.is_none())
        .and_then(|call| call.cache);
    let call_of_it = Call {
        route: id,
        question: Question::clone(&claimed.question),
        idempotent: claimed.idempotent,
        caller_deadline: None,
        own_name: None,
        tenant: Tenant::ANONYMOUS,
        hold: None,
        class,
        timeout: Some(call.and_then(|call| call.jobs).map_or(TIMEOUT, |rules| rules.timeout)),
    };
    let request = Box::new(Request {
        pool: place,
        call: call_of_it,
        keep: keep.map(|ttl| Keep { question: None, ttl, kept: None }),
        claim: None,
        asked: None,
    });
    (Some(request), call.map(|call| call.content_type.clone()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Failure, Timing};
    use crate::jobs::{JobState, with_begun_job};
    use crate::observe::metrics::Metrics;

    /// The run that it shared with another server may have found no worker there.
    #[test]
    fn a_job_that_no_worker_was_given_waits_again_and_has_not_been_started() {
        let retry_after = Duration::ZERO;
        for failure in [
            Failure::NoWorker { why: "x".into(), retry_after },
            Failure::QueueFull { detail: "x".into(), retry_after },
            Failure::QueueTimeout { waited: Duration::ZERO, retry_after },
        ] {
            with_begun_job(async |desk, id, claimed| {
                let feed = JobFeed {
                    me: Weak::new(),
                    desk: desk.clone(),
                    thread: RefCell::default(),
                    metrics: Metrics::new().jobs(),
                    running: TaskTracker::new(),
                    reports: JobReports::default(),
                    server: Weak::new(),
                };
                let result = Err(failure.clone());
                let answer = Answer { result, timing: Timing::default(), cache: None };
                let a_while = async {
                    tokio::time::pause();
                    tokio::time::advance(2 * AGAIN).await;
                    // The thread of the file has the time of the wall.
                    tokio::time::resume();
                    std::future::pending::<()>().await;
                };
                tokio::select! {
                    biased;
                    () = feed.note(&claimed, answer, "text/plain") => {}
                    () = a_while => {}
                }
                let job = desk.look(id, None).await.expect("read").expect("there");
                assert_eq!((job.state, job.attempts), (JobState::Queued, 0), "{failure:?}");
            });
        }
    }
}
