//! Callers with the same key share one run and its outcome, failure included.
//!
//! The run belongs to none of them: it goes on when the caller that began it leaves, and is
//! abandoned when the last one does.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, oneshot};

use super::{Answer, CacheUse, Desk, Request, failed};
use crate::base::{CallId, Class, Failure, Outcome, Reply};
use crate::cache::flight::{Flights, Role, Ticket};
use crate::cache::{Cache, KeptBounds, Key, Scope, Stored};
use crate::pool::pending::Pending;

/// The runs under way, and who waits for each.
pub(super) type Runs = Flights<Key, oneshot::Sender<Landed>, Rc<SharedRun>>;

/// What all who wait for a run have in common.
#[derive(Debug, Default)]
pub(super) struct SharedRun {
    /// Nobody waits any longer.
    deserted: Notify,
    /// The call; `None` if it was refused.
    call: Cell<Option<CallId>>,
}

/// What all who wait for a run get.
#[derive(Clone, Debug)]
pub(super) struct Landed {
    outcome: Outcome,
    stored: Option<Arc<Stored>>,
}

/// One caller's place among those who wait for a run; given up when dropped.
struct Waiter<'a> {
    desk: &'a Desk,
    key: Key,
    ticket: Ticket,
    common: Rc<SharedRun>,
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
        mut request: Request,
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
            tell(cache, scope, &mut request);
            let pending = self.submit(request);
            common.call.set(pending.call());
            let (desk, cache) = (Rc::clone(self), Arc::clone(cache));
            let run = Run { desk, cache, key: key.clone(), ticket, ttl, kept, class };
            self.tasks.spawn_local(run.land(pending, Rc::clone(&common)));
        } else if let Some(call) = common.call.get() {
            self.pools[request.pool].0.share(call, request.call.tenant);
        }
        let waiter = Waiter { desk: self, key, ticket, common, class };
        let start = Instant::now();
        let landed = match caller_deadline {
            Some(deadline) => tokio::time::timeout_at(deadline.into(), landed).await.ok(),
            None => Some(landed.await),
        };
        drop(waiter);
        if let (Some(mut request), Some(Ok(landed))) = (own, &landed)
            && landed.outcome.result.as_ref().is_ok_and(|reply| !reply.may_be_shared())
        {
            // The answer is for the caller that led, so this one needs a run of its own.
            request.call.caller_deadline = caller_deadline;
            tell(cache, scope, &mut request);
            let Outcome { result, timing } = self.submit(request).await;
            return Answer { result, timing, cache: Some(CacheUse::Miss(None)) };
        }
        match landed {
            Some(Ok(Landed { outcome, stored })) => Answer {
                result: outcome.result,
                timing: outcome.timing,
                cache: Some(match role {
                    Role::Leads => CacheUse::Miss(stored),
                    Role::Follows => CacheUse::Collapsed(stored),
                }),
            },
            Some(Err(_)) => failed(Failure::Internal),
            None => failed(Failure::Timeout { after: start.elapsed(), conduct: None }),
        }
    }
}

impl Run {
    /// Waits for the outcome, keeps a good one, and passes it to all who wait. A deserted call
    /// is abandoned; an answer that it gives nevertheless is kept too.
    async fn land(self, mut pending: Pending, common: Rc<SharedRun>) {
        let outcome = tokio::select! {
            biased;
            outcome = &mut pending => outcome,
            () = common.deserted.notified() => {
                pending.abandon();
                pending.await
            }
        };
        let now = Instant::now();
        let keep = |reply: &Reply| Arc::new(Stored::new(reply.clone(), now, self.ttl));
        let stored = outcome.result.as_ref().ok().filter(|reply| reply.may_be_kept()).map(keep);
        if let Some(stored) = &stored {
            self.cache.put(self.key.clone(), Arc::clone(stored));
            if let Some(bounds) = self.kept {
                self.cache.note(&self.key, stored, bounds);
            }
        }
        let waiters = self.desk.runs_of(self.class).borrow_mut().land(&self.key, self.ticket);
        for waiter in waiters {
            // A caller that has just left needs no answer.
            waiter.send(Landed { outcome: outcome.clone(), stored: stored.clone() }).ok();
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
            self.common.deserted.notify_one();
        }
    }
}
