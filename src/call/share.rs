//! Callers with the same key share one run and its outcome, failure included.
//!
//! The run belongs to none of them: it goes on when the caller that began it leaves, and is
//! abandoned when the last one does.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, oneshot};

use super::elsewhere::{Elsewhere, SearchTerms};
use super::{Answer, CacheUse, Desk, Request, failed};
use crate::base::{CallId, Class, Failure, Outcome, Reply, Tenant, Timing};
use crate::cache::flight::{Flights, Role, Ticket};
use crate::cache::redis::Searched;
use crate::cache::shared::SharedFound;
use crate::cache::{Cache, KeptBounds, Key, Scope, Stored};
use crate::pool::pending::Pending;

/// The runs under way, and who waits for each.
pub(super) type Runs = Flights<Key, oneshot::Sender<Landed>, Rc<CommonRun>>;

/// What all who wait for a run have in common.
#[derive(Debug, Default)]
pub(super) struct CommonRun {
    /// Nobody waits any longer.
    deserted: Notify,
    /// True once nobody waits any longer; `deserted` only wakes who waits for that.
    is_deserted: Cell<bool>,
    /// The call; `None` if it was refused, or is not made yet.
    call: Cell<Option<CallId>>,
    /// Who joined before the call was made.
    early: RefCell<Vec<Tenant>>,
}

/// What all who wait for a run get.
#[derive(Clone, Debug)]
pub(super) struct Landed {
    outcome: Outcome,
    stored: Option<Arc<Stored>>,
    origin: LandedFrom,
}

/// Where an outcome comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LandedFrom {
    /// A run of this server.
    Run,
    /// Another server had kept the answer.
    SharedHit,
    /// A run of another server.
    SharedRun,
}

/// How much memory a job takes up that follows another one, beside its question.
const FOLLOWER_SIZE: usize = 4 << 10;
/// How much memory the jobs may take up that follow the same one.
const FOLLOWERS_SIZE_MOST: usize = 4 << 20;

/// One caller's place among those who wait for a run; given up when dropped.
struct Waiter<'a> {
    desk: &'a Desk,
    key: Key,
    ticket: Ticket,
    common: Rc<CommonRun>,
    class: Class,
}

/// One run, whose task ends when it has landed.
struct Run {
    desk: Rc<Desk>,
    cache: Arc<Cache>,
    key: Key,
    ticket: Ticket,
    ttl: Duration,
    kept: Option<KeptBounds>,
    class: Class,
}

impl Desk {
    /// Joins the run with this key, or begins it. A caller's own deadline ends its wait, not
    /// the run.
    pub(super) async fn share(
        self: &Rc<Self>,
        cache: &Arc<Cache>,
        key: Key,
        mut request: Box<Request>,
    ) -> Answer {
        let class = request.call.class;
        let caller_deadline = request.call.caller_deadline.take();
        let mut own = Some(request.clone());
        let ttl = request.keep.as_ref().map(|keep| keep.ttl).unwrap_or_default();
        let scope = key.scope;
        let kept = request.keep.as_ref().and_then(|keep| keep.kept);
        let (landing, landed) = oneshot::channel();
        let (role, ticket, common) =
            self.runs_of(class).borrow_mut().join(key.clone(), landing, Rc::default());
        if role == Role::Leads {
            own = None;
            let (desk, cache) = (Rc::clone(self), Arc::clone(cache));
            let run = Run { desk, cache, key: key.clone(), ticket, ttl, kept, class };
            run.begin(request, &common);
        } else {
            self.follow(&key, &request, &common);
        }
        let waiter = Waiter { desk: self, key, ticket, common, class };
        let start = Instant::now();
        let landed = match caller_deadline {
            Some(deadline) => tokio::time::timeout_at(deadline.into(), landed).await.ok(),
            None => Some(landed.await),
        };
        drop(waiter);
        if let (Some(mut request), Some(Ok(landed))) = (own, &landed)
            && landed.is_for_leader(class)
        {
            // This one needs a run of its own.
            request.call.caller_deadline = caller_deadline;
            tell(cache, scope, &mut request);
            let Outcome { result, timing } = self.submit(Instant::now(), request).await;
            return Answer { result, timing, cache: Some(CacheUse::Miss(None)) };
        }
        match landed {
            Some(Ok(Landed { outcome, stored, origin })) => Answer {
                result: outcome.result,
                timing: outcome.timing,
                cache: Some(match (origin, stored, role) {
                    (LandedFrom::SharedHit, Some(stored), _) => CacheUse::SharedHit(stored),
                    (LandedFrom::SharedRun | LandedFrom::SharedHit, stored, _) => {
                        CacheUse::SharedRun(stored)
                    }
                    (LandedFrom::Run, stored, Role::Leads) => CacheUse::Miss(stored),
                    (LandedFrom::Run, stored, Role::Follows) => CacheUse::Collapsed(stored),
                }),
            },
            Some(Err(_)) => failed(Failure::Internal),
            None => failed(Failure::Timeout { after: start.elapsed(), conduct: None }),
        }
    }
}

impl Landed {
    /// Returns true if those who only followed must not get this.
    fn is_for_leader(&self, class: Class) -> bool {
        match &self.outcome.result {
            Ok(reply) => !reply.may_be_shared(),
            // It cost the job that led one of its starts, and that job may be started again.
            Err(Failure::WorkerLost { .. }) => matches!(class, Class::Job { .. }),
            Err(_) => false,
        }
    }
}

impl Desk {
    /// Notes that a call follows a run.
    fn follow(&self, key: &Key, request: &Request, common: &CommonRun) {
        self.give_up_place(key, request);
        if let Some(call) = common.call.get() {
            self.pools[request.pool].0.share(call, request.call.tenant);
        } else if self.elsewhere.is_some() {
            common.early.borrow_mut().push(request.call.tenant);
        }
    }

    /// A job that follows needs no worker. So another one is begun in its place, unless those that
    /// follow would take up too much memory.
    fn give_up_place(&self, key: &Key, request: &Request) {
        let Class::Job { place, .. } = request.call.class else { return };
        let each = request.call.question.text.len() + FOLLOWER_SIZE;
        let waiters = self.job_runs.borrow().waiters(key);
        if waiters.saturating_mul(each) <= FOLLOWERS_SIZE_MOST {
            self.pools[request.pool].0.give_up_place(place);
        }
    }

    /// How to search for the answer to a call on other servers; `None` if it is not to be searched for.
    fn terms(&self, elsewhere: &Elsewhere, request: &Request, key: &Key) -> Option<SearchTerms> {
        let rules = &self.pools[request.pool].0.settings().rules;
        let longest = rules.queue.wait + request.call.timeout.unwrap_or(rules.timeout);
        elsewhere.terms(request, &key.question, longest)
    }
}

impl Run {
    /// Makes the call. Where servers share answers, it looks for one of another server first.
    fn begin(self, request: Box<Request>, common: &Rc<CommonRun>) {
        let (desk, common) = (Rc::clone(&self.desk), Rc::clone(common));
        let terms = desk.elsewhere.as_ref().and_then(|it| desk.terms(it, &request, &self.key));
        if let Some(terms) = terms {
            desk.tasks.spawn_local(self.search(terms, request, common));
        } else {
            let pending = self.submit(request, &common);
            desk.tasks.spawn_local(self.land(pending, common));
        }
    }

    fn submit(&self, mut request: Box<Request>, common: &CommonRun) -> Pending {
        tell(&self.cache, self.key.scope, &mut request);
        let pending = self.desk.submit(Instant::now(), request);
        common.call.set(pending.call());
        pending
    }

    /// Waits for the outcome, keeps a good one, and passes it to all who wait.
    async fn land(self, pending: Pending, common: Rc<CommonRun>) {
        let outcome = ended(pending, &common).await;
        self.land_with(&outcome, LandedFrom::Run, self.ttl);
    }

    /// Looks for an answer of another server. If there is none, the call runs here, and other servers
    /// learn what became of it.
    async fn search(self, terms: SearchTerms, request: Box<Request>, common: Rc<CommonRun>) {
        let begun = Instant::now();
        let SearchTerms { cache, key, patience, may_lead } = terms;
        let deserted = common.deserted.notified();
        let shared = match cache.search(key, patience, may_lead, deserted).await {
            // All have left, and nothing has begun.
            None => return,
            Some(Searched::Found(SharedFound { result, left, followed })) => {
                let origin = if followed { LandedFrom::SharedRun } else { LandedFrom::SharedHit };
                let queue = if followed { begun.elapsed() } else { Duration::ZERO };
                let timing = Timing { queue, ..Timing::default() };
                let left = left.unwrap_or_default();
                return self.land_with(&Outcome { result, timing }, origin, left);
            }
            Some(Searched::Runs(shared)) => shared,
        };
        let pool = request.pool;
        let pending = self.submit(request, &common);
        for tenant in common.early.take() {
            pending.call().inspect(|call| self.desk.pools[pool].0.share(*call, tenant));
        }
        let outcome = tokio::select! {
            biased;
            outcome = ended(pending, &common) => outcome,
            () = shared.goes_on() => unreachable!("it goes on until it has ended"),
        };
        self.land_with(&outcome, LandedFrom::Run, self.ttl);
        // That all have left here says nothing of the question.
        let is_own = common.is_deserted.get() && outcome.result.is_err();
        let told = if is_own { Err(Failure::Cancelled) } else { outcome.result };
        shared.end(&told, self.ttl).await;
    }

    /// Keeps a good outcome, which may be served for `left`, and passes it to all who wait.
    fn land_with(&self, outcome: &Outcome, origin: LandedFrom, left: Duration) {
        let now = Instant::now();
        let may_be_kept = |reply: &&Reply| !left.is_zero() && reply.may_be_kept();
        let keep = |reply: &Reply| Arc::new(Stored::aged(reply.clone(), now, self.ttl, left));
        let stored = outcome.result.as_ref().ok().filter(may_be_kept).map(keep);
        if let Some(stored) = &stored {
            self.cache.put(self.key.clone(), Arc::clone(stored));
            if let Some(bounds) = self.kept {
                self.cache.note(&self.key, stored, bounds);
            }
        }
        let waiters = self.desk.runs_of(self.class).borrow_mut().land(&self.key, self.ticket);
        for waiter in waiters {
            // A caller that has just left needs no answer.
            waiter.send(Landed { outcome: outcome.clone(), stored: stored.clone(), origin }).ok();
        }
    }
}

/// Waits for the outcome of a call. A deserted call is abandoned; an answer that it gives
/// nevertheless is kept too.
async fn ended(mut pending: Pending, common: &CommonRun) -> Outcome {
    tokio::select! {
        biased;
        outcome = &mut pending => outcome,
        () = common.deserted.notified() => {
            pending.abandon();
            pending.await
        }
    }
}

/// Writes into a question what is known already, if it asks for that.
fn tell(cache: &Cache, scope: Scope, request: &mut Request) {
    if let Some(bounds) = request.keep.as_ref().and_then(|keep| keep.kept) {
        let known = cache.known_to(scope, bounds, Instant::now());
        request.call.question.tell_kept(known.as_bytes());
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        if self.desk.runs_of(self.class).borrow_mut().leave(&self.key, self.ticket) {
            self.common.is_deserted.set(true);
            self.common.deserted.notify_one();
        }
    }
}
