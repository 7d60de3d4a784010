//! The one place that says in which order a call asks cache, flight and pool.
//!
//! Pools live on one thread, the desk's. Connections on that thread call them directly; other
//! threads send their calls over, and only those pay for it. Kept answers are shared by all.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::task::TaskTracker;

use crate::base::{Call, Failure, Outcome, Question, Reply, RouteId, Timing};
use crate::cache::flight::{Flights, LastOne, Role, Ticket};
use crate::cache::{Cache, Key, KeyRef, Stored};
use crate::observe::metrics::RouteMetrics;
use crate::pool::Pool;
use crate::pool::pending::Pending;

/// Calls of other threads that may be on their way to the desk; more wait on their side.
const ON_THE_WAY_MOST: usize = 4096;

/// What `front` hands over: a call, the pool it is for, and how its answer may be kept.
#[derive(Clone, Debug)]
pub struct Request {
    /// The index of the pool in the configuration.
    pub pool: usize,
    /// The call.
    pub call: Call,
    /// `None`: the route keeps nothing, and identical calls run apart.
    pub keep: Option<Keep>,
}

/// How an answer may be kept.
#[derive(Clone, Debug)]
pub struct Keep {
    /// The question with an empty nonce; with route and generation it is the key. `None`: the
    /// call's own question, which has no nonce.
    pub question: Option<Bytes>,
    /// How long.
    pub ttl: Duration,
}

/// How a call ended, with how the cache had part in it.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The answer, or why there is none.
    pub result: Result<Reply, Failure>,
    /// What it cost; zero for a hit.
    pub timing: Timing,
    /// `None`: the route keeps nothing.
    pub cache: Option<CacheUse>,
}

/// How the cache served one call.
#[derive(Clone, Debug)]
pub enum CacheUse {
    /// From what was kept.
    Hit(Arc<Stored>),
    /// By a run of its own; kept, unless it failed.
    Miss(Option<Arc<Stored>>),
    /// By the run of another caller; kept, unless it failed.
    Collapsed(Option<Arc<Stored>>),
}

/// The way from a request to its answer, for one thread and one generation of the
/// configuration.
#[derive(Clone, Debug)]
pub struct Gateway {
    cache: Arc<Cache>,
    /// By pool: what sets its kept answers apart from those of an earlier configuration.
    generations: Arc<[u64]>,
    way: Way,
}

#[derive(Clone, Debug)]
enum Way {
    Here(Rc<Desk>),
    There(mpsc::Sender<Sent>),
}

/// What every call of one generation needs, on the thread of the pools.
#[derive(Debug)]
pub struct Desk {
    /// In the order of the configuration.
    pools: Vec<Rc<Pool>>,
    /// In the order of the configuration.
    routes: Vec<Arc<RouteMetrics>>,
    flights: RefCell<Flights<Key, oneshot::Sender<Landed>, Rc<Notify>>>,
    tasks: TaskTracker,
}

/// What another thread sends over.
#[derive(Debug)]
enum Sent {
    Call { request: Request, answer: oneshot::Sender<Answer> },
    Word { pool: usize, question: Question, told: oneshot::Sender<Result<(), Failure>> },
}

/// What everybody who waits for a flight gets.
#[derive(Clone, Debug)]
struct Landed {
    outcome: Outcome,
    stored: Option<Arc<Stored>>,
}

/// The place of one caller in a flight; given up when the caller leaves.
struct Seat<'a> {
    desk: &'a Desk,
    key: Key,
    ticket: Ticket,
    deserted: Rc<Notify>,
}

impl Desk {
    /// A desk for these pools and routes, both in the order of the configuration.
    pub fn new(
        pools: Vec<Rc<Pool>>,
        routes: Vec<Arc<RouteMetrics>>,
        tasks: TaskTracker,
    ) -> Rc<Self> {
        for pool in &pools {
            pool.attach();
        }
        Rc::new(Self { pools, routes, flights: RefCell::default(), tasks })
    }

    /// The pools, in the order of the configuration.
    pub fn pools(&self) -> &[Rc<Pool>] {
        &self.pools
    }

    fn route(&self, id: RouteId) -> Arc<RouteMetrics> {
        Arc::clone(&self.routes[usize::from(id.0)])
    }

    fn submit(&self, request: Request) -> Pending {
        let route = self.route(request.call.route);
        self.pools[request.pool].submit(request.call, route)
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        for pool in &self.pools {
            pool.detach();
        }
    }
}

impl Gateway {
    /// The gateway of the desk's own thread. `generations` are those of the pools.
    pub fn here(desk: Rc<Desk>, cache: Arc<Cache>, generations: Arc<[u64]>) -> Self {
        Self { cache, generations, way: Way::Here(desk) }
    }

    /// A gateway for other threads, and what the desk's thread must run for it.
    pub fn elsewhere(&self) -> (RemoteGateway, impl Future<Output = ()> + use<>) {
        let (send, mut receive) = mpsc::channel::<Sent>(ON_THE_WAY_MOST);
        let remote = RemoteGateway {
            cache: Arc::clone(&self.cache),
            generations: Arc::clone(&self.generations),
            send,
        };
        let here = self.clone();
        let serve = async move {
            while let Some(sent) = receive.recv().await {
                let Way::Here(desk) = &here.way else { return };
                let (request, mut answer) = match sent {
                    Sent::Call { request, answer } => (request, answer),
                    Sent::Word { pool, question, told } => {
                        // A caller who left in this very moment need not know.
                        told.send(desk.pools[pool].tell(&question)).ok();
                        continue;
                    }
                };
                let gateway = here.clone();
                desk.tasks.spawn_local(async move {
                    let answered = tokio::select! {
                        answered = gateway.call(request) => answered,
                        () = answer.closed() => return,
                    };
                    // A caller who left in this very moment needs no answer.
                    answer.send(answered).ok();
                });
            }
        };
        (remote, serve)
    }

    /// Answers from the cache, without a task or a queue.
    fn kept(&self, request: &Request) -> Option<Answer> {
        let keep = request.keep.as_ref()?;
        let key = KeyRef {
            route: request.call.route,
            generation: self.generations[request.pool],
            question: keep.question.as_ref().unwrap_or(&request.call.question.text),
        };
        let stored = self.cache.get(&key, Instant::now())?;
        let result = Ok(stored.reply.clone());
        Some(Answer { result, timing: Timing::default(), cache: Some(CacheUse::Hit(stored)) })
    }

    /// Answers a request exactly once. Dropping the future means that the caller left.
    ///
    /// A call from another thread ends here a second time, on the thread of the pools. Answers
    /// are kept on that thread only, so between this look into the cache and the flights nothing
    /// can be kept that the look missed.
    pub async fn call(&self, request: Request) -> Answer {
        if let Some(answer) = self.kept(&request) {
            return answer;
        }
        let key = self.key(&request);
        match (&self.way, key) {
            (Way::There(send), _) => send_over(send, request).await,
            (Way::Here(desk), None) => {
                let Outcome { result, timing } = desk.submit(request).await;
                Answer { result, timing, cache: None }
            }
            (Way::Here(desk), Some(key)) => self.share(desk, key, request).await,
        }
    }

    /// Passes something on to one worker of this pool; there is no answer to it.
    ///
    /// # Errors
    ///
    /// Why no worker was told.
    pub async fn tell(&self, pool: usize, question: Question) -> Result<(), Failure> {
        match &self.way {
            Way::Here(desk) => desk.pools[pool].tell(&question),
            Way::There(send) => {
                let (told, was_told) = oneshot::channel();
                if send.send(Sent::Word { pool, question, told }).await.is_err() {
                    return Err(Failure::Draining);
                }
                was_told.await.unwrap_or(Err(Failure::Internal))
            }
        }
    }

    fn key(&self, request: &Request) -> Option<Key> {
        let keep = request.keep.as_ref()?;
        Some(Key {
            route: request.call.route,
            generation: self.generations[request.pool],
            question: keep.question.as_ref().unwrap_or(&request.call.question.text).clone(),
        })
    }

    /// Callers with the same key share one run and its outcome, failure included.
    async fn share(&self, desk: &Rc<Desk>, key: Key, mut request: Request) -> Answer {
        let caller_deadline = request.call.caller_deadline.take();
        let ttl = request.keep.as_ref().map(|keep| keep.ttl).unwrap_or_default();
        let (landing, landed) = oneshot::channel();
        let (role, ticket, deserted) =
            desk.flights.borrow_mut().join(key.clone(), landing, Rc::default());
        if role == Role::Leads {
            let pending = desk.submit(request);
            let flight = Flight {
                desk: Rc::clone(desk),
                cache: Arc::clone(&self.cache),
                key: key.clone(),
                ticket,
                ttl,
            };
            desk.tasks.spawn_local(flight.fly(pending, Rc::clone(&deserted)));
        }
        let seat = Seat { desk, key, ticket, deserted };
        let start = Instant::now();
        let landed = match caller_deadline {
            Some(deadline) => tokio::time::timeout_at(deadline.into(), landed).await.ok(),
            None => Some(landed.await),
        };
        drop(seat);
        match landed {
            Some(Ok(Landed { outcome, stored })) => Answer {
                result: outcome.result,
                timing: outcome.timing,
                cache: Some(match role {
                    Role::Leads => CacheUse::Miss(stored),
                    Role::Follows => CacheUse::Collapsed(stored),
                }),
            },
            Some(Err(_)) => unanswered(Failure::Internal),
            None => unanswered(Failure::Timeout { after: start.elapsed() }),
        }
    }
}

/// One shared run.
struct Flight {
    desk: Rc<Desk>,
    cache: Arc<Cache>,
    key: Key,
    ticket: Ticket,
    ttl: Duration,
}

impl Flight {
    /// Waits for the outcome, keeps a good one, and tells everybody. Once the last one has left
    /// the call is abandoned; should it answer nevertheless, that is kept too.
    async fn fly(self, mut pending: Pending, deserted: Rc<Notify>) {
        let outcome = tokio::select! {
            biased;
            outcome = &mut pending => outcome,
            () = deserted.notified() => {
                pending.abandon();
                pending.await
            }
        };
        let now = Instant::now();
        let keep = |reply: &Reply| Arc::new(Stored::new(reply.clone(), now, self.ttl));
        let stored = outcome.result.as_ref().ok().filter(|reply| reply.may_be_kept()).map(keep);
        if let Some(stored) = &stored {
            self.cache.put(self.key.clone(), Arc::clone(stored));
        }
        let waiters = self.desk.flights.borrow_mut().land(&self.key, self.ticket);
        for waiter in waiters {
            // One who left in this very moment needs no answer.
            waiter.send(Landed { outcome: outcome.clone(), stored: stored.clone() }).ok();
        }
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        let LastOne(last) = self.desk.flights.borrow_mut().leave(&self.key, self.ticket);
        if last {
            self.deserted.notify_one();
        }
    }
}

/// A gateway for one other thread, before it has arrived there.
#[derive(Clone, Debug)]
pub struct RemoteGateway {
    cache: Arc<Cache>,
    generations: Arc<[u64]>,
    send: mpsc::Sender<Sent>,
}

impl From<RemoteGateway> for Gateway {
    fn from(remote: RemoteGateway) -> Self {
        let RemoteGateway { cache, generations, send } = remote;
        Self { cache, generations, way: Way::There(send) }
    }
}

async fn send_over(send: &mpsc::Sender<Sent>, request: Request) -> Answer {
    let (answer, answered) = oneshot::channel();
    // Both ends go only when the server does.
    if send.send(Sent::Call { request, answer }).await.is_err() {
        return unanswered(Failure::Draining);
    }
    answered.await.unwrap_or_else(|_| unanswered(Failure::Internal))
}

fn unanswered(failure: Failure) -> Answer {
    Answer { result: Err(failure), timing: Timing::default(), cache: None }
}
