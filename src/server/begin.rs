//! The first start of the pools: when they are ready, or why they are not.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio_util::task::TaskTracker;

use crate::base::ExitReason;
use crate::pool::{Ending, Pool};
use crate::worker::advice::missing_part;

/// How long a start may take before the log says that the server waits for it.
const PATIENCE: Duration = Duration::from_secs(1);

/// A pool whose first workers have all ended before one was ready.
#[derive(Clone, Debug, thiserror::Error)]
#[error(
    "pool `{pool}` does not start: {why}{said}\n\nhint: {hint}",
    said = self.said_in_lines()
)]
pub struct NotStarted {
    pool: String,
    why: String,
    said: Vec<String>,
    hint: String,
}

/// Whether a pool did not start.
#[derive(Debug, Default)]
pub(super) struct FirstStarts {
    failed: RefCell<Option<NotStarted>>,
    one_failed: Notify,
    /// The pools whose first start is not over yet.
    open: Cell<usize>,
    /// The pools that did not start at first.
    late: RefCell<Vec<String>>,
    are_over: Notify,
}

impl FirstStarts {
    /// Follows the first start of each pool into the log. `fails`: a pool that does not start ends
    /// the server, which then says why; else its start is tried again and again, and the log says
    /// why.
    pub(super) fn follow(pools: &[Rc<Pool>], fails: bool, tasks: &TaskTracker) -> Rc<Self> {
        let starts = Rc::new(Self { open: Cell::new(pools.len()), ..Self::default() });
        for pool in pools {
            let (pool, starts) = (Rc::clone(pool), Rc::clone(&starts));
            tasks.spawn_local(async move {
                let Some(not_started) = follow(&pool).await else {
                    return starts.one_is_over();
                };
                if fails {
                    starts.failed.borrow_mut().get_or_insert(not_started);
                    starts.one_failed.notify_one();
                    return;
                }
                let NotStarted { pool: name, why, said, hint } = not_started;
                starts.late.borrow_mut().push(name.clone());
                starts.one_is_over();
                let (pool_name, said) = (name.as_str(), said.join("\n"));
                tracing::error!(
                    pool = pool_name,
                    why,
                    said,
                    hint,
                    "pool {name} does not start; it is tried again and again"
                );
                let begun = Instant::now();
                pool.wait_serving().await;
                tell_ready(&pool, begun);
            });
        }
        starts
    }

    fn one_is_over(&self) {
        self.open.set(self.open.get() - 1);
        self.are_over.notify_one();
    }

    /// Waits until no pool starts for the first time any longer. Returns the names of those that
    /// did not start and are tried again. If one that does not start ends the server, this waits
    /// for ever. There can be one waiter.
    pub(super) async fn are_over(&self) -> Vec<String> {
        while self.open.get() > 0 {
            self.are_over.notified().await;
        }
        self.late.borrow().clone()
    }

    /// Waits until a pool did not start, if that ends the server.
    pub(super) async fn one_failed(&self) -> NotStarted {
        loop {
            if let Some(failed) = self.failed.borrow_mut().take() {
                return failed;
            }
            self.one_failed.notified().await;
        }
    }
}

/// Waits until the first workers are ready. Returns why they are not, if all have ended.
async fn follow(pool: &Pool) -> Option<NotStarted> {
    let begun = Instant::now();
    let least = pool.settings().rules.workers_least;
    let mut started = std::pin::pin!(pool.wait_started(least));
    if tokio::time::timeout(PATIENCE, &mut started).await.is_err() {
        let name = pool.name();
        tracing::info!(pool = name, "pool {name}: waiting until its {} ready", are(least));
        started.await;
    }
    let ending = pool.report().exits.pop();
    if let Some(ending) =
        ending.filter(|it| it.reason == ExitReason::StartFailed && pool.serving() == 0)
    {
        return Some(NotStarted::new(pool.name(), ending));
    }
    tell_ready(pool, begun);
    None
}

fn tell_ready(pool: &Pool, begun: Instant) {
    if pool.serving() == 0 {
        // It was stopped before.
        return;
    }
    let (name, took) = (pool.name(), begun.elapsed().as_secs_f64());
    let workers = match pool.serving() {
        1 => "1 worker".to_owned(),
        count => format!("{count} workers"),
    };
    tracing::info!(pool = name, "pool {name}: {workers} ready after {took:.1} s");
}

fn are(count: usize) -> String {
    if count == 1 { "worker is".to_owned() } else { format!("{count} workers are") }
}

impl NotStarted {
    fn new(pool: String, ending: Ending) -> Self {
        let hint = missing_part(&ending.said).unwrap_or_else(|| {
            "`httpipe check` tries one worker and says what to change".to_owned()
        });
        let why = format!("its first workers ended before one was ready ({})", ending.how);
        Self { pool, why, said: ending.said, hint }
    }

    fn said_in_lines(&self) -> String {
        self.said.iter().flat_map(|line| ["\n  ", line]).collect()
    }
}
