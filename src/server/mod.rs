//! Builds everything from a configuration, keeps it running, and takes it down again.
//!
//! One thread owns the pools, the admin listener and the signals, and connections besides;
//! further threads own connections only. The first lives as long as the server, because it may
//! have to make a worker itself (`worker::starter`), and the kernel kills a worker when the thread that made it ends.

mod about;
mod active;
mod agent_desk;
mod alone;
mod announce;
mod app;
mod background;
mod begin;
mod certificates;
mod descriptors;
mod diagnoses;
mod ground;
mod heap;
mod job_desk;
mod job_feed;
mod job_progress;
mod job_runner;
mod keys;
mod listeners;
mod operator;
mod prepared;
mod reload;
mod secure;
#[cfg_attr(not(feature = "nats"), path = "no_sharing.rs")]
mod sharing;
mod signals;
mod taps;
mod threads;
mod watch;

use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::admin::Admin;
use crate::admin::key::KeyFile;
use crate::agent::Agent;
use crate::base::ExitReason;
use crate::config::{Config, ConfigSource, LimitSettings, PerAddressSettings};
use crate::jobs::NotOpened;
use crate::net::accept::{ConnectionLimit, accept};
use crate::net::listen::{ListenError, Listener};
use crate::net::per_address::AddressLimit;
use crate::net::{Arrival, Drain, RequestHead, Stream, connection, refusal};
use crate::observe::log::{Log, LogError};
use crate::pool::Services;
use crate::systemd::{BadVariable, ServiceManager};

use active::Active;
use agent_desk::{AgentDesk, serve_agent};
use app::Server;
use begin::{FirstStarts, NotStarted};
use ground::Ground;
use job_feed::{JobFeed, OpenJobs};
use listeners::Listeners;
use operator::AdminDesk;
use sharing::Sharing;
use signals::{second_stop_signal, until_stop_signal};
use threads::Threads;

pub use alone::{PoolsAlone, run_alone};
pub use signals::hold_hang_ups;

/// How long callers on open connections may ask once more if another server will take them.
const LAST_REQUESTS: Duration = Duration::from_millis(500);
/// Longest time for the last responses to reach their readers after all workers have stopped.
const LAST_RESPONSES: Duration = Duration::from_secs(2);
/// Most connections of operators at once; they connect by hand or from a scraper.
const ADMIN_CONNECTIONS: usize = 64;

/// Why the server ended, or did not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A pool did not start, and that was to end the server.
    #[error(transparent)]
    NotStarted(#[from] NotStarted),
    /// An address cannot be listened on.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// A socket that the service manager passed is none that callers or operators can use.
    #[error(transparent)]
    Passed(ListenError),
    /// What the service manager says about its sockets cannot be true.
    #[error(transparent)]
    Variable(#[from] BadVariable),
    /// What happens cannot be logged.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The file of the jobs cannot be used.
    #[error(transparent)]
    Jobs(#[from] NotOpened),
    /// The limit of open files is too low.
    #[error("{0}\n\nhint: raise `ulimit -n`")]
    Descriptors(String),
    /// The system refused something that every server needs.
    #[error("{what}: {error}\n\nhint: {hint}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        error: io::Error,
        /// What to look at.
        hint: &'static str,
    },
}

impl ServeError {
    /// Returns true if the server was started in a wrong way, and nothing was started.
    pub fn is_of_usage(&self) -> bool {
        matches!(self, Self::Passed(_) | Self::Variable(_) | Self::Jobs(_))
    }
}

/// The hint where the system has run out of something.
const FEW: &str = "see `ulimit -n` and `ulimit -u`";

fn system(what: &'static str, hint: &'static str) -> impl FnOnce(io::Error) -> ServeError {
    move |error| ServeError::System { what, error, hint }
}

/// How a server runs that is not a matter of its configuration.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mode {
    /// It reloads by itself when the configuration or a file of a program changes.
    pub watches: bool,
    /// It ends if a pool does not start.
    pub fails_fast: bool,
    /// Somebody sits before it.
    pub is_on_terminal: bool,
}

/// Serves until told to stop. `source` is what a reload loads again.
///
/// # Errors
///
/// [`ServeError`]; nothing is left running.
pub fn run(config: Config, source: ConfigSource, mode: Mode) -> Result<(), ServeError> {
    ground::prepare(&config)?;
    let jobs = config.jobs.as_ref().map(job_feed::open).transpose()?;
    let listeners = Listeners::open(&config)?;
    Ground::new(&config, &source)?.run(async |services, log| {
        let start = Assembly { config, source, mode, services, jobs };
        serve(start, listeners, log).await
    })
}

/// What a server is made of.
struct Assembly {
    config: Config,
    source: ConfigSource,
    mode: Mode,
    services: Services,
    jobs: Option<OpenJobs>,
}

async fn serve(
    Assembly { config, source, mode, services, jobs }: Assembly,
    listeners: Listeners,
    log: &Log,
) -> Result<(), ServeError> {
    let (drain, active) = (Drain::new(), Active::default());
    let limits = Arc::new(config.limits.clone());
    let metrics = Arc::clone(&services.metrics);
    let manager = Rc::new(ServiceManager::of_this_process());
    manager.starting(announce::longest_start(&config));
    services.tasks.spawn_local({
        let manager = Rc::clone(&manager);
        async move { manager.keep_informed().await }
    });
    let addresses = listeners.addresses();
    announce::warnings(&config);
    announce::listening(&config, &listeners);
    let (threads_count, is_secure) = (config.threads, config.tls.is_some());
    let is_private = listeners.are_private();
    let (access, told) = (log.access(), Rc::clone(&manager));
    let desk = jobs.as_ref().map(OpenJobs::desk);
    let server = Server::start(config, source, services.clone(), access, told, is_private, desk);
    let jobs = jobs.map(|jobs| JobFeed::run(jobs, &server));
    if let Some(sharing) =
        Sharing::start(&server.current().config, !addresses.is_empty(), &services)
    {
        server.share(sharing);
    }
    announce::page(&server.current().front, &addresses, is_secure);
    let threads = Threads::start(threads_count, &server, &limits, &drain, &active)
        .map_err(system("cannot start a thread", FEW))?;
    let threads = Rc::new(threads);
    let limit = ConnectionLimit::new(limits.connections, {
        let metrics = Arc::clone(&metrics);
        move |change| metrics.connections(change)
    });
    let limit = limit.and_of_addresses(address_limit(&limits, &server));
    for listener in listeners.callers {
        let threads = Rc::clone(&threads);
        let is_guarded = listener.is_loopback();
        let sink = move |stream, permit| threads.take(stream, is_guarded, permit);
        let accepting = accept(listener, limit.clone(), drain.clone(), sink);
        services.tasks.spawn_local(async { report_accepting(accepting.await) });
    }
    let agent = listeners.balancers.map(|listener| {
        let (desk, local) = (AgentDesk::new(Rc::clone(&server)), listener.local());
        let agent = Agent::new(desk, local, Arc::clone(&metrics));
        let serving = serve_agent(listener, Rc::clone(&agent));
        services.tasks.spawn_local(async { report_accepting(serving.await) });
        agent
    });
    // Kept until the end, when its drop removes the file.
    let key_file;
    if let Some(listener) = listeners.operators {
        let desk = AdminDesk::new(Rc::clone(&server), addresses.clone(), agent.clone());
        key_file = operator_key(&listener.local());
        let key = key_file.as_ref().map(|file| file.key().clone());
        let admin = Rc::new(Admin::new(desk, metrics, key));
        services.tasks.spawn_local({
            let admin = Rc::clone(&admin);
            async move { admin.inform().await }
        });
        services.tasks.spawn_local(serve_admin(listener, admin, Arc::clone(&limits)));
    }
    services.tasks.spawn_local(keys::follow_keys(Rc::clone(&server)));
    services.tasks.spawn_local(certificates::follow_certificates(Rc::clone(&server)));
    if mode.watches {
        services.tasks.spawn_local(watch::reload_on_change(Rc::clone(&server)));
    }
    let starts = FirstStarts::follow(server.current().pools(), mode.fails_fast, &services.tasks);
    services.tasks.spawn_local(announce::ready(Rc::clone(&starts), manager, addresses));
    let hint = "this should not happen; please report it";
    tokio::select! {
        told = until_stop_signal(&server) => told.map_err(system("cannot wait for signals", hint))?,
        not_started = starts.one_failed() => {
            give_up(&server).await;
            return Err(not_started.into());
        }
    }
    server.manager.stopping(announce::longest_stop(server.drain_time()));
    let again = if mode.is_on_terminal { "; Ctrl-C again stops at once" } else { "" };
    tracing::info!("stopping: accepted calls are finished first{again}");
    let second = second_stop_signal();
    let end = async {
        let is_balanced = say_goodbye(&server, agent.as_deref()).await;
        drain.begin();
        wind_down(&server, jobs.as_deref(), &drain, &active, listeners.are_lent || is_balanced)
            .await;
    };
    tokio::select! {
        biased;
        () = second => {
            tracing::warn!("told to stop again: stopping at once");
            server.cease();
            return Ok(());
        }
        () = end => {}
    }
    tracing::info!("stopped");
    Ok(())
}

/// Stops a server that did not start; at once if it is told to end meanwhile.
async fn give_up(server: &Server) {
    server.drain();
    tokio::select! {
        () = second_stop_signal() => server.cease(),
        () = server.stop(ExitReason::Stopped) => {}
    }
}

/// Says that the server is not ready, and goes on serving until the load balancers that ask know
/// it. Returns true if there are any.
async fn say_goodbye(server: &Server, agent: Option<&Agent<AgentDesk>>) -> bool {
    server.become_unready();
    let Some(agent) = agent.filter(|agent| agent.is_asked()) else { return false };
    agent.wait_until_known().await;
    true
}

/// Lets accepted calls finish for at most `drain`, refuses those that are left, and stops. If
/// another server takes new connections, no caller is refused before: each open connection may
/// ask once more.
async fn wind_down(
    server: &Rc<Server>,
    jobs: Option<&JobFeed>,
    drain: &Drain,
    active: &Active,
    has_others: bool,
) {
    if has_others {
        server.part();
        tokio::time::timeout(LAST_REQUESTS, drain.become_none()).await.ok();
        drain.close_idle();
    }
    server.drain();
    let finished = async {
        active.becomes_idle().await;
        // A streamed answer counts as answered when its head is sent. Its parts are still to
        // come, perhaps from a pool of an earlier generation.
        for pool in server.living() {
            pool.wait_streams().await;
            pool.wait_background().await;
        }
        if let Some(jobs) = jobs {
            jobs.becomes_idle().await;
        }
        if let Some(sharing) = server.sharing() {
            sharing.becomes_empty().await;
        }
    };
    if tokio::time::timeout(server.drain_time(), finished).await.is_err() {
        tracing::warn!(
            left = active.count(),
            jobs = jobs.map_or(0, JobFeed::running),
            "`drain` is over; the requests that are left are refused"
        );
    }
    server.stop(ExitReason::Stopped).await;
    if let Some(jobs) = jobs {
        jobs.close(LAST_RESPONSES).await;
    }
    drain.finish(LAST_RESPONSES).await;
}

/// The limit of connections of each address. Whom the server trusts may change with a reload.
fn address_limit(limits: &LimitSettings, server: &Rc<Server>) -> AddressLimit {
    let (metrics, server) = (Arc::clone(server.metrics()), Rc::clone(server));
    let PerAddressSettings { most, is_for_loopback } = limits.per_address;
    let is_limited = move |address: IpAddr| {
        let trust = &server.current().config.callers.trust;
        (is_for_loopback || !address.is_loopback()) && !trust.has(Some(address))
    };
    AddressLimit::new(most, is_limited, move || metrics.connection_refused())
}

fn report_accepting(result: io::Result<()>) {
    if let Err(error) = result {
        tracing::error!(%error, "no longer listening on an address");
    }
}

/// Makes the operator's key. A server that cannot keep one serves all the same.
fn operator_key(address: &str) -> Option<KeyFile> {
    let file = KeyFile::create(address);
    if let Err(error) = &file {
        tracing::warn!(
            why = %error,
            hint = "give it a directory of its own by XDG_RUNTIME_DIR, or by RuntimeDirectory= in \
                    a unit, or set `admin_token`",
            "there is no operator's key, which `httpipe top`, `tap` and `open` would use"
        );
    }
    file.ok()
}

async fn serve_admin(listener: Listener, admin: Rc<Admin<AdminDesk>>, limits: Arc<LimitSettings>) {
    // Health checks are answered until the very end, so this drain never begins.
    let drain = Drain::new();
    let limit = ConnectionLimit::new(ADMIN_CONNECTIONS, |_| {});
    let connections = drain.clone();
    let is_guarded = listener.is_loopback();
    let sink = move |stream: Stream, permit| {
        let (admin, limits, drain) = (Rc::clone(&admin), Arc::clone(&limits), drain.clone());
        connections.spawn_local(async move {
            let caller = stream.caller(is_guarded);
            stream.break_when_unread(limits.write_timeout);
            let service =
                async |head: &RequestHead, _, _: Arrival<'_>| admin.handle(head, &caller).await;
            connection::serve(stream.into(), &permit, &limits, service, refusal::bare, drain).await;
            drop(permit);
        });
    };
    report_accepting(accept(listener, limit, Drain::new(), sink).await);
}
