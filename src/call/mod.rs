//! How a call gets its answer: from the cache, from a run under way, or from a worker.
//!
//! [`Gateway`] is the one place that asks them, and says in which order. Pools live on one
//! thread. Connections on that thread reach them through the [`Desk`]; connections on other
//! threads send their calls to it (`remote`). All threads share the cache. Callers who ask the
//! same at the same time share one run (`share`). Who begins it asks the cache that several servers share
//! first, if there is one (`elsewhere`).

mod elsewhere;
mod remote;
mod share;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio_util::task::TaskTracker;

pub use self::elsewhere::Elsewhere;
use self::remote::DeskSender;
pub use self::remote::{Crossing, RemoteGateway};
use self::share::Runs;
use crate::base::{Call, Class, Failure, Outcome, Reply, RouteId, Timing, Word};
use crate::cache::{Cache, KeptBounds, Key, KeyRef, Scope, Stored};
use crate::observe::metrics::RouteMetrics;
use crate::pool::Pool;
use crate::pool::pending::Pending;
use crate::sync::at_once::Claim;

/// What answers calls. The server has one, the [`Gateway`]; tests have their own.
pub trait Calls {
    /// Answers a request exactly once. Dropping the future means that the caller left. The request is
    /// in a box, because it passes through many hands.
    fn call(&self, request: Box<Request>) -> impl Future<Output = Answer>;

    /// Passes a message on to a worker of a pool; no answer comes back.
    fn tell(&self, pool: usize, word: Word) -> impl Future<Output = Result<(), Failure>>;
}

/// A call, the pool it is for, and how its answer may be kept.
#[derive(Clone, Debug)]
pub struct Request {
    /// The index of the pool in the configuration.
    pub pool: usize,
    /// The call.
    pub call: Call,
    /// `None`: the route keeps nothing, and identical calls run apart.
    pub keep: Option<Keep>,
    /// The caller's right to one more call, which an answer from the cache does not need; `None`: as
    /// many as they like.
    pub claim: Option<Claim>,
    /// When it is asked, if that is this moment; `None`: the clock tells.
    pub asked: Option<Instant>,
}

/// How an answer may be kept.
#[derive(Clone, Debug)]
pub struct Keep {
    /// What distinguishes the question from others of its route; `None` if its text does, because
    /// it has neither a nonce nor kept answers.
    pub question: Option<Bytes>,
    /// How long the answer may be served.
    pub ttl: Duration,
    /// How much the question tells of answers that were kept; `None`: nothing.
    pub kept: Option<KeptBounds>,
}

/// How a call ended, and how the cache took part in it.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The reply, or why there is none.
    pub result: Result<Reply, Failure>,
    /// How long the call waited and worked; zero for a hit.
    pub timing: Timing,
    /// `None`: the route keeps nothing.
    pub cache: Option<CacheUse>,
}

/// How the cache served one call.
#[derive(Clone, Debug)]
pub enum CacheUse {
    /// The answer had been kept.
    Hit(Arc<Stored>),
    /// The call had a run of its own. Holds what was kept, unless the run failed.
    Miss(Option<Arc<Stored>>),
    /// The call shared the run of another caller. Holds what was kept, unless the run failed.
    Collapsed(Option<Arc<Stored>>),
    /// Another server had kept the answer.
    SharedHit(Arc<Stored>),
    /// The call shared the run of another server. Holds what was kept, unless the run failed.
    SharedRun(Option<Arc<Stored>>),
}

impl CacheUse {
    /// Returns the answer as the cache keeps it, if it does.
    pub fn stored(&self) -> Option<&Stored> {
        match self {
            Self::Hit(stored)
            | Self::SharedHit(stored)
            | Self::Miss(Some(stored))
            | Self::Collapsed(Some(stored))
            | Self::SharedRun(Some(stored)) => Some(stored),
            Self::Miss(None) | Self::Collapsed(None) | Self::SharedRun(None) => None,
        }
    }
}

/// The way from a request to its answer, for one thread and one load of the configuration.
#[derive(Clone, Debug)]
pub struct Gateway {
    cache: Arc<Cache>,
    /// By route.
    scopes: Arc<[Scope]>,
    reach: Reach,
}

/// How the pools are reached from a thread.
#[derive(Clone, Debug)]
enum Reach {
    Local(Rc<Desk>),
    Remote(DeskSender),
}

/// Where calls come in on the thread of the pools. Each load of the configuration has its own.
#[derive(Debug)]
pub struct Desk {
    /// In the order of the configuration.
    pools: Vec<PoolHandle>,
    /// In the order of the configuration.
    routes: Vec<Arc<RouteMetrics>>,
    /// Of callers.
    runs: RefCell<Runs>,
    /// Of items of batches. A caller must not join one, which may wait for long.
    item_runs: RefCell<Runs>,
    /// Of jobs. An item must not join one, which may fail to be started again.
    job_runs: RefCell<Runs>,
    /// The cache that several servers share; `None`: there is none.
    elsewhere: Option<Elsewhere>,
    tasks: TaskTracker,
}

/// A pool as the desk reaches it. A pool is not let go while a handle to it exists.
#[derive(Debug)]
struct PoolHandle(Rc<Pool>);

impl Gateway {
    /// A gateway for the desk's own thread. `scopes` are those of the routes, in the order of
    /// the configuration.
    pub fn local(desk: Rc<Desk>, cache: Arc<Cache>, scopes: Arc<[Scope]>) -> Self {
        Self { cache, scopes, reach: Reach::Local(desk) }
    }

    /// Answers from the cache, without a task or a queue.
    fn kept(&self, request: &Request, now: Instant) -> Option<Answer> {
        let keep = request.keep.as_ref()?;
        let key = KeyRef { scope: self.scope(request), question: question_of(request, keep) };
        let stored = self.cache.get(&key, now)?;
        let result = Ok(stored.reply.clone());
        Some(Answer { result, timing: Timing::default(), cache: Some(CacheUse::Hit(stored)) })
    }

    fn key(&self, request: &Request) -> Option<Key> {
        let keep = request.keep.as_ref()?;
        let question = question_of(request, keep).clone();
        Some(Key { scope: self.scope(request), question })
    }

    fn scope(&self, request: &Request) -> Scope {
        self.scopes[usize::from(request.call.route.0)]
    }
}

fn question_of<'a>(request: &'a Request, keep: &'a Keep) -> &'a Bytes {
    keep.question.as_ref().unwrap_or(&request.call.question.text)
}

impl Calls for Gateway {
    /// A call from another thread ends here a second time, on the thread of the pools. Answers
    /// are kept on that thread only, so none can be kept between this look into the cache and
    /// the join of a run.
    async fn call(&self, mut request: Box<Request>) -> Answer {
        let now = request.asked.take().unwrap_or_else(Instant::now);
        if let Some(answer) = self.kept(&request, now) {
            return answer;
        }
        let desk = match &self.reach {
            // In boxes, as what is rarer: every request has room for the rest of this.
            Reach::Remote(desk) => return Box::pin(desk.call(request)).await,
            Reach::Local(desk) => desk,
        };
        if let Some(claim) = request.claim.take() {
            match claim.take() {
                Ok(hold) => request.call.hold = Some(hold),
                Err(most) => return failed(Failure::TooManyCalls { most }),
            }
        }
        if let Some(key) = self.key(&request) {
            return Box::pin(desk.share(&self.cache, key, request)).await;
        }
        let Outcome { result, timing } = desk.submit(now, request).await;
        Answer { result, timing, cache: None }
    }

    async fn tell(&self, pool: usize, word: Word) -> Result<(), Failure> {
        match &self.reach {
            Reach::Remote(desk) => desk.tell(pool, word).await,
            Reach::Local(desk) => desk.tell(pool, &word),
        }
    }
}

impl Desk {
    /// A desk for these pools and routes, both in the order of the configuration.
    pub fn new(
        pools: &[Rc<Pool>],
        routes: Vec<Arc<RouteMetrics>>,
        elsewhere: Option<Elsewhere>,
        tasks: TaskTracker,
    ) -> Rc<Self> {
        let pools = pools.iter().map(|pool| PoolHandle::new(Rc::clone(pool))).collect();
        let (runs, item_runs, job_runs) =
            (RefCell::default(), RefCell::default(), RefCell::default());
        Rc::new(Self { pools, routes, runs, item_runs, job_runs, elsewhere, tasks })
    }

    fn submit(&self, now: Instant, mut request: Box<Request>) -> Pending {
        let metrics = self.route(request.call.route);
        self.pools[request.pool].submit(now, &mut request.call, metrics)
    }

    /// The runs that a call of this class may join.
    fn runs_of(&self, class: Class) -> &RefCell<Runs> {
        match class {
            Class::Interactive => &self.runs,
            Class::Batch(_) => &self.item_runs,
            Class::Job { .. } => &self.job_runs,
        }
    }

    fn tell(&self, pool: usize, word: &Word) -> Result<(), Failure> {
        self.pools[pool].tell(word)
    }

    fn route(&self, id: RouteId) -> Arc<RouteMetrics> {
        Arc::clone(&self.routes[usize::from(id.0)])
    }
}

impl PoolHandle {
    fn new(pool: Rc<Pool>) -> Self {
        pool.attach();
        Self(pool)
    }

    fn submit(&self, now: Instant, call: &mut Call, route: Arc<RouteMetrics>) -> Pending {
        self.0.submit(now, call, route)
    }

    fn tell(&self, word: &Word) -> Result<(), Failure> {
        self.0.tell(word)
    }
}

impl Drop for PoolHandle {
    fn drop(&mut self) {
        self.0.detach();
    }
}

fn failed(failure: Failure) -> Answer {
    Answer { result: Err(failure), timing: Timing::default(), cache: None }
}

#[cfg(test)]
mod testing;

#[cfg(test)]
mod tests {
    use super::testing::asking;
    use super::*;
    use crate::base::Question;

    /// A nonce is different in each call, and no answer would be found under it.
    #[test]
    fn answers_are_kept_under_the_question_without_its_nonce() {
        let mut keep = Keep { question: None, ttl: Duration::ZERO, kept: None };
        let request = asking(Question { nonce: Some("n1".into()), ..Question::plain("a n1") });
        assert_eq!(question_of(&request, &keep), "a n1");
        keep.question = Some("a".into());
        assert_eq!(question_of(&request, &keep), "a");
    }
}
