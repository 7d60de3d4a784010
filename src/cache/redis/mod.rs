//! The shell of the shared cache: a connection to Redis that is kept, and what calls ask over it.
//!
//! Nobody waits for a connection. Without one a call runs as if there were no shared cache, and one
//! attempt a second tries to get it back.

mod connect;
mod followers;
mod tls;
mod trial;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tokio_util::task::TaskTracker;

use self::connect::{NotConnected, RedisConnection};
use self::followers::Followers;
pub use self::trial::try_shared;
use super::SharedState;
use super::shared::{
    Breaker, RENEWAL, RunToken, Search, SharedFault, SharedFound, SharedKey, SharedSeen,
    SharedStep, SharedValue, WhyRun,
};
use crate::base::{Failure, Reply};
use crate::config::SharedCacheSettings;
use crate::observe::metrics::{SharedMetrics, SharedResult};

/// The time between two attempts to connect.
const RETRY: Duration = Duration::from_secs(1);
/// How long it may take to tell of a run. Nobody waits for it.
const TELL_PATIENCE: Duration = Duration::from_secs(1);

/// The cache that several servers share.
pub struct SharedCache {
    settings: Arc<SharedCacheSettings>,
    connection: RefCell<Option<RedisConnection>>,
    /// The connection is not to be used any longer.
    given_up: Notify,
    breaker: RefCell<Breaker>,
    followers: Arc<Followers>,
    state: RefCell<SharedState>,
    is_closed: Cell<bool>,
    metrics: Arc<SharedMetrics>,
}

/// What a search ends with.
#[derive(Debug)]
pub enum Searched {
    /// An answer that another server has.
    Found(SharedFound),
    /// This server is to run the question, and to say what became of it.
    Runs(SharedRun),
}

/// A run of this server that others may wait for.
pub struct SharedRun {
    cache: Rc<SharedCache>,
    key: SharedKey,
    /// `None`: none waits for it.
    token: Option<RunToken>,
}

impl SharedCache {
    /// Keeps a connection from now on, on this thread. Returns `None` only in a build without Redis.
    #[expect(clippy::unnecessary_wraps, reason = "its twin returns `None`")]
    pub fn start(
        settings: &Arc<SharedCacheSettings>,
        metrics: Arc<SharedMetrics>,
        tasks: &TaskTracker,
    ) -> Option<Rc<Self>> {
        let cache = Rc::new(Self {
            settings: Arc::clone(settings),
            connection: RefCell::default(),
            given_up: Notify::new(),
            breaker: RefCell::default(),
            followers: Arc::default(),
            state: RefCell::new(SharedState::new(Instant::now())),
            is_closed: Cell::new(false),
            metrics,
        });
        tasks.spawn_local(Rc::clone(&cache).keep_connected());
        Some(cache)
    }

    /// Looks for the answer to a question, and waits for a server that runs it, for as long as
    /// `patience` says. `may_lead`: others may wait for a run of this server. Returns `None` once all
    /// who want the answer have left, which `deserted` tells.
    pub async fn search(
        self: &Rc<Self>,
        key: SharedKey,
        patience: Duration,
        may_lead: bool,
        deserted: impl Future<Output = ()>,
    ) -> Option<Searched> {
        let token = RunToken(fastrand::u128(..));
        let found = tokio::select! {
            found = self.find(&key, patience, may_lead.then_some(token)) => found,
            () = deserted => {
                self.take_back(&key, token).await;
                return None;
            }
        };
        Some(match found {
            Ok(found) => Searched::Found(found),
            Err(token) => Searched::Runs(SharedRun { cache: Rc::clone(self), key, token }),
        })
    }

    /// Does the looks of a search. If this server is to run the question, returns the name of the run
    /// that others may wait for.
    async fn find(
        &self,
        key: &SharedKey,
        patience: Duration,
        begins: Option<RunToken>,
    ) -> Result<SharedFound, Option<RunToken>> {
        let mut search = Search::new(Instant::now(), patience);
        loop {
            let seen = self.look(key, search.run(), begins).await;
            match search.seen(seen, Instant::now()) {
                SharedStep::Take(found) => {
                    let result =
                        if found.followed { SharedResult::Followed } else { SharedResult::Hit };
                    self.metrics.searched(result);
                    return Ok(found);
                }
                SharedStep::Run { leads, why } => {
                    self.metrics.searched(result_of(why));
                    // What came too late may have begun the run all the same. Then others wait for it.
                    let may_lead = leads || why == WhyRun::Fault(SharedFault::Late);
                    return Err(begins.filter(|_| may_lead));
                }
                SharedStep::Wait(run, until) => {
                    if let Some(follower) = self.followers.follow(run) {
                        tokio::time::timeout_at(until.into(), follower.woken()).await.ok();
                    }
                }
            }
        }
    }

    /// Ends a run that a look may have begun whose answer nobody waits for: others would wait for
    /// its lease.
    async fn take_back(&self, key: &SharedKey, token: RunToken) {
        let connection = self.connection.borrow().clone();
        if let Some(connection) = connection {
            timeout(TELL_PATIENCE, connection.end(key, Some(token), None, None)).await.ok();
        }
    }

    /// Lets all who wait for other servers go on by themselves: the server stops.
    pub fn close(&self) {
        self.is_closed.set(true);
        self.connection.take();
        self.given_up.notify_one();
        self.followers.wake_all();
    }

    /// Where it is.
    pub fn place(&self) -> String {
        self.settings.place.to_string()
    }

    /// Whether it can be asked, and since when.
    pub fn state(&self) -> SharedState {
        self.state.borrow().clone()
    }

    async fn look(
        &self,
        key: &SharedKey,
        waited: Option<RunToken>,
        begins: Option<RunToken>,
    ) -> SharedSeen {
        let Some(connection) = self.connection.borrow().clone() else {
            return SharedSeen::Fault(SharedFault::Away);
        };
        let begun = Instant::now();
        let looked = timeout(self.settings.limit, connection.look(key, waited, begins)).await;
        self.metrics.looked(begun.elapsed());
        let (fault, why) = match looked {
            Ok(Ok(seen)) => {
                self.breaker.borrow_mut().good();
                return seen;
            }
            Ok(Err(error)) => (SharedFault::Failed, error.to_string()),
            Err(_) => {
                let limit = self.settings.limit.as_millis();
                (SharedFault::Late, format!("it does not answer within {limit} ms"))
            }
        };
        if self.breaker.borrow_mut().fault() {
            self.lost(&why);
            // Only the connection of now is given up: a permit would end the next one.
            self.given_up.notify_waiters();
        }
        SharedSeen::Fault(fault)
    }

    /// Connects again and again, one attempt a second at most.
    async fn keep_connected(self: Rc<Self>) {
        while !self.is_closed.get() {
            let followers = Arc::clone(&self.followers);
            let opened = RedisConnection::open(&self.settings, followers).await;
            match opened {
                Ok((connection, driver)) if !self.is_closed.get() => {
                    self.found(connection);
                    let given_up = tokio::select! {
                        () = driver => false,
                        () = self.given_up.notified() => true,
                    };
                    if !given_up {
                        self.lost("the connection has ended");
                    }
                }
                Ok(_) => return,
                Err(why) => self.missed(&why),
            }
            sleep(RETRY).await;
        }
    }

    fn found(&self, connection: RedisConnection) {
        *self.connection.borrow_mut() = Some(connection);
        *self.breaker.borrow_mut() = Breaker::default();
        let mut state = self.state.borrow_mut();
        let was_said = state.error.is_some();
        *state = SharedState { is_connected: true, since: Instant::now(), error: None };
        self.metrics.connected(true);
        if was_said {
            tracing::info!(server = self.place(), "the shared cache can be used again");
        }
    }

    /// Notes that the connection is gone.
    fn lost(&self, why: &str) {
        self.connection.take();
        if !self.is_closed.get() {
            self.away(why);
        }
    }

    /// Notes that an attempt to connect was in vain.
    fn missed(&self, why: &NotConnected) {
        self.away(&why.to_string());
    }

    fn away(&self, why: &str) {
        let mut state = self.state.borrow_mut();
        let is_said = state.error.is_some();
        if state.is_connected {
            (state.is_connected, state.since) = (false, Instant::now());
        }
        state.error = Some(why.to_owned());
        self.metrics.connected(false);
        if !is_said {
            tracing::warn!(
                server = self.place(),
                why,
                hint = "`httpipe check` tries it, and says what to change",
                "the shared cache cannot be used; calls run without it"
            );
        }
    }
}

fn result_of(why: WhyRun) -> SharedResult {
    match why {
        WhyRun::Missed => SharedResult::Miss,
        WhyRun::Alone => SharedResult::Alone,
        WhyRun::Unusable => SharedResult::Unusable,
        WhyRun::Refused => SharedResult::Refused,
        WhyRun::Fault(SharedFault::Late) => SharedResult::Late,
        WhyRun::Fault(SharedFault::Failed) => SharedResult::Failed,
        WhyRun::Fault(SharedFault::Away) => SharedResult::Away,
    }
}

impl SharedRun {
    /// Says again and again that the run goes on, so that no other server begins it. Never returns.
    pub async fn goes_on(&self) {
        loop {
            sleep(RENEWAL).await;
            let connection = self.cache.connection.borrow().clone();
            if let (Some(connection), Some(token)) = (connection, self.token) {
                // If it fails, another server may run the question as well.
                timeout(TELL_PATIENCE, connection.renew(&self.key, token)).await.ok();
            }
        }
    }

    /// Tells others what became of the question. An answer is kept for `ttl`.
    pub async fn end(self, result: &Result<Reply, Failure>, ttl: Duration) {
        let Some(connection) = self.cache.connection.borrow().clone() else { return };
        let (kept, note) = match result {
            Ok(reply) if reply.may_be_kept() => (Some(SharedValue::Reply(reply.clone())), None),
            // Others who ask the same could not have it.
            Ok(reply) if !reply.may_be_shared() => {
                (Some(SharedValue::Apart), Some(SharedValue::Apart))
            }
            Ok(reply) => (None, Some(SharedValue::Reply(reply.clone()))),
            Err(failure) => (None, Some(SharedValue::Failure(failure.clone()))),
        };
        let ended =
            connection.end(&self.key, self.token, kept.as_ref().map(|it| (it, ttl)), note.as_ref());
        // If it fails, the lease ends by itself.
        timeout(TELL_PATIENCE, ended).await.ok();
    }
}

impl fmt::Debug for SharedCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedCache").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl fmt::Debug for SharedRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedRun").field("token", &self.token).finish_non_exhaustive()
    }
}
