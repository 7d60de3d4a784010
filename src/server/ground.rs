//! What pools stand on, whether anything listens or not: the log, the guard and the runtime.

use std::io;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::runtime::{Builder, LocalOptions, LocalRuntime};
use tokio_util::task::TaskTracker;

use super::{FEW, ServeError, descriptors, heap, system};
use crate::base::WorkerCount;
use crate::config::{Config, ConfigSource};
use crate::observe::log::Log;
use crate::observe::metrics::Metrics;
use crate::observe::rings::SecondClock;
use crate::pool::Services;
use crate::worker::guard::Guard;
use crate::worker::reaper;

/// Longest time for the last log lines to be written.
const LAST_LINES: Duration = Duration::from_secs(1);

/// Makes this process one that can have workers. Comes before all else.
pub(super) fn prepare(config: &Config) -> Result<(), ServeError> {
    heap::keep_freed();
    reaper::expect_children();
    reaper::outlive_full_files();
    descriptors::provide(config).map_err(ServeError::Descriptors)
}

/// A runtime for the tasks of one thread.
pub(super) fn local_runtime() -> io::Result<LocalRuntime> {
    Builder::new_current_thread().enable_all().build_local(LocalOptions::default())
}

/// The log, the guard and the runtime of this process.
pub(super) struct Ground {
    runtime: LocalRuntime,
    log: Log,
    services: Services,
}

impl Ground {
    /// Starts the log and the guard.
    pub(super) fn new(config: &Config, source: &ConfigSource) -> Result<Self, ServeError> {
        let metrics = Metrics::new();
        let log = Log::stderr(&config.log, &metrics)?;
        log.take_all();
        let guard = Guard::start(source.own_binary()).map_err(no_guard)?;
        let runtime = local_runtime().map_err(system("cannot start the runtime", FEW))?;
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let seconds = SecondClock::new(Instant::now(), since_epoch);
        let workers = WorkerCount::default();
        let services = Services { tasks: TaskTracker::new(), guard, metrics, workers, seconds };
        Ok(Self { runtime, log, services })
    }

    /// Does the work, with a guard that is kept and orphans that are reaped. Returns once the last
    /// line of the log is written.
    pub(super) fn run<T>(self, work: impl AsyncFnOnce(Services, &Log) -> T) -> T {
        let Self { runtime, log, services } = self;
        let result = runtime.block_on(async {
            keep_processes(&services);
            work(services, &log).await
        });
        drop(runtime);
        log.flush(LAST_LINES);
        result
    }
}

/// Keeps a guard running, and reaps what the workers leave behind.
fn keep_processes(services: &Services) {
    services.tasks.spawn_local({
        let guard = services.guard.clone();
        async move { guard.keep().await }
    });
    if reaper::adopt() {
        let strangers = reaper::reap_strangers(services.guard.clone());
        services.tasks.spawn_local(async { strangers.await.unwrap_or_default() });
    }
}

fn no_guard(error: io::Error) -> ServeError {
    let hint = match error.kind() {
        io::ErrorKind::NotFound => "mount /proc, or set HTTPIPE_EXE to the path of this binary",
        _ => FEW,
    };
    ServeError::System { what: "cannot start the guard process", error, hint }
}
