//! How the processes of a pool's workers are made: started one by one, or forked by a fork server.
//!
//! A pool of functions has a fork server unless `fork` is false, or what the import did makes forks
//! unsafe. While there is none (it was lost), workers are started: they cost more, and the pool goes
//! on.

use std::cell::RefCell;
use std::collections::HashSet;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::Pool;
use super::lifecycle::wait;
use crate::config::PoolSettings;
use crate::policy::Backoff;
use crate::worker::fork_server::{ForkServer, Loaded, NotForked, Started};
use crate::worker::process::Process;
use crate::worker::spawn::{Streams, spawn};
use crate::worker::stderr::{LastWords, pump};

/// A fork server that ran for this long is no reason to wait longer before the next one.
const LONG_LIFE: Duration = Duration::from_mins(1);

/// The fork server of a pool.
#[derive(Debug, Default)]
pub(super) struct Forks {
    phase: RefCell<Phase>,
    moved: Notify,
}

/// What is there now.
#[derive(Debug, Default)]
enum Phase {
    /// Workers are started.
    #[default]
    Off,
    /// The fork server loads the program. New workers wait for it.
    Loading,
    /// Workers are forked.
    Ready(Rc<ForkServer>),
    /// The fork server was lost. Workers are started until there is another.
    Lost,
}

/// A process that was made for a worker.
pub(super) struct Made {
    pub(super) process: Process,
    pub(super) streams: Streams,
    /// It has loaded its program, so it is not told to.
    pub(super) is_forked: bool,
}

impl Forks {
    fn set(&self, phase: Phase) {
        // A fork server is dropped outside of the borrow.
        let _before = self.phase.replace(phase);
        self.moved.notify_waiters();
    }

    /// Ends the fork server, if there is one.
    pub(super) fn end(&self) {
        self.set(Phase::Off);
    }

    /// Waits while the fork server loads its program. Returns it if there is one.
    async fn server(&self) -> Option<Rc<ForkServer>> {
        wait(&self.moved, || !matches!(*self.phase.borrow(), Phase::Loading)).await;
        self.ready()
    }

    fn ready(&self) -> Option<Rc<ForkServer>> {
        match &*self.phase.borrow() {
            Phase::Ready(server) => Some(Rc::clone(server)),
            Phase::Off | Phase::Loading | Phase::Lost => None,
        }
    }

    /// Waits until the fork server has ended or was given up. Returns false if it was ended.
    async fn is_lost(&self, server: &ForkServer) -> bool {
        let is_off = || matches!(*self.phase.borrow(), Phase::Off);
        tokio::select! {
            () = server.ended() => {}
            () = wait(&self.moved, || self.ready().is_none()) => {}
        }
        !is_off()
    }
}

impl Pool {
    /// Makes the process of a worker. Dropping the future leaves no process.
    pub(super) async fn make(&self, settings: &PoolSettings) -> io::Result<Made> {
        let guard = &self.services.guard;
        if let Some(server) = self.forks.server().await {
            match server.fork(guard).await {
                Ok((process, streams)) => {
                    self.metrics.worker_forked();
                    return Ok(Made { process, streams, is_forked: true });
                }
                Err(NotForked::System(error)) => return Err(error),
                Err(NotForked::Lost(why)) => {
                    tracing::debug!(pool = settings.name, why, "the fork server is given up");
                    if self.forks.ready().is_some_and(|other| Rc::ptr_eq(&other, &server)) {
                        self.forks.set(Phase::Lost);
                    }
                }
                Err(NotForked::Failed(why)) => {
                    tracing::warn!(
                        pool = settings.name,
                        why,
                        "a worker could not be forked; it is started"
                    );
                }
            }
        }
        let (process, streams) = spawn(&settings.program.launch, guard).await?;
        Ok(Made { process, streams, is_forked: false })
    }

    /// Begins to keep a fork server, if the pool is to have one.
    pub(super) fn keep_forks(self: &Rc<Self>) {
        let settings = self.settings();
        let wanted = settings.program.python.as_ref().map(|python| python.fork);
        let Some(forced) = wanted.filter(|fork| *fork != Some(false)) else { return };
        self.forks.set(Phase::Loading);
        let pool = Rc::clone(self);
        self.services.tasks.spawn_local(async move {
            keep(&pool, forced == Some(true)).await;
        });
    }
}

/// Keeps a fork server until the pool ends, or forks turn out to be unsafe and are not `forced`.
async fn keep(pool: &Rc<Pool>, forced: bool) {
    let name = pool.name();
    let mut backoff = Backoff::new(fastrand::u64(..));
    let mut told = HashSet::new();
    while pool.lifecycle.ending().is_none() {
        pool.forks.set(Phase::Loading);
        let begun = Instant::now();
        let (why, pump) = match load(pool, &mut told).await {
            Ok((server, loaded, pump)) => {
                if !may_fork(&name, &loaded, forced) {
                    pool.forks.end();
                    return;
                }
                let server = Rc::new(server);
                pool.forks.set(Phase::Ready(Rc::clone(&server)));
                if !pool.forks.is_lost(&server).await {
                    return;
                }
                (format!("it was lost after {:?}", begun.elapsed()), Some(pump))
            }
            Err(why) => (why, None),
        };
        if pool.lifecycle.ending().is_some() {
            return;
        }
        if begun.elapsed() > LONG_LIFE {
            backoff.forget();
        }
        pool.forks.set(Phase::Lost);
        pool.metrics.fork_server_lost();
        tracing::error!(
            pool = name,
            why,
            "there is no fork server: its workers go on, and new ones are started until there is \
             another"
        );
        let now = Instant::now();
        backoff.failed(now);
        let until = backoff.blocked_until(now).unwrap_or(now);
        let ends = wait(&pool.forks.moved, || pool.lifecycle.ending().is_some());
        tokio::time::timeout_at(until.into(), ends).await.ok();
        // What a process that left the group still writes is not waited for.
        pump.inspect(JoinHandle::abort);
    }
}

/// Returns true if workers are forked, and logs why they are not.
fn may_fork(pool: &str, loaded: &Loaded, forced: bool) -> bool {
    let import_ms = loaded.import.as_millis();
    match &loaded.unsafe_to_fork {
        None => tracing::info!(pool, "fork: import {import_ms} ms"),
        Some(why) if forced => tracing::warn!(
            pool,
            hint = "move that to a method `setup` of a class, which runs in each worker",
            "fork: although {why}, since `fork` is true"
        ),
        Some(why) => {
            tracing::info!(pool, "fork: no, {why}");
            return false;
        }
    }
    true
}

/// Starts a fork server and waits until it has loaded its program. `told` holds the lines that the
/// log has of those that failed before.
async fn load(
    pool: &Pool,
    told: &mut HashSet<String>,
) -> Result<(ForkServer, Loaded, JoinHandle<()>), String> {
    let settings = pool.settings();
    let launch = &settings.program.launch;
    let started = ForkServer::start_functions(launch, &pool.services.guard).await;
    let Started { server, stderr, token } =
        started.map_err(|error| format!("it could not be started: {error}"))?;
    let words = LastWords::of_fork_server(settings.name.as_str().into(), &token);
    words.leave_out(told.clone());
    let pump = pool.services.tasks.spawn_local(pump(stderr, words.clone()));
    let limit = settings.rules.start_timeout;
    let ends = wait(&pool.forks.moved, || pool.lifecycle.ending().is_some());
    let loaded = tokio::select! {
        loaded = tokio::time::timeout(limit, server.load_functions()) => loaded,
        () = ends => Ok(Err("the pool ends".to_owned())),
    };
    let why = match loaded {
        Ok(Ok(loaded)) => return Ok((server, loaded, pump)),
        Ok(Err(why)) => why,
        Err(_) => "it had not loaded the program within `start_timeout`".to_owned(),
    };
    let exit = words.explain(server.stop().await);
    told.extend(words.begin());
    Err(format!("{why} ({exit})"))
}
