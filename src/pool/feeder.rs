//! Hands background work to a pool: items of open batches, and jobs.
//!
//! The one place from which such work begins. It begins when the books say that a worker may begin
//! with some ([`State::vacancy`]), which they are asked whenever they change. So nothing polls. A
//! pool that never had background work has no feeder.
//!
//! Items come with [`Pool::submit`] and wait here, because each open batch sends only a few. Jobs wait
//! in a place of their own, a [`BackgroundSource`]. It is offered a [`JobPlace`], makes what must be
//! durable so, and then submits the job as [`Class::Job`]. It is told of each start that came to nothing, so
//! that it can count them: a job whose worker was lost does not wait here for another one.
//!
//! [`State::vacancy`]: super::state::State::vacancy

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashSet;
use std::fmt::Debug;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::Pool;
use super::actions::NewCall;
use super::backlog::{Backlog, NextWork};
use super::elsewhere::OtherServers;
use super::entry::{Entry, Payload};
use super::grouping::HalfId;
use super::pending::Pending;
use super::state::State;
use super::terms::{Terms, Whereabouts, WorkTicket};
use crate::base::{
    BatchId, Call, CallId, Class, Failure, Outcome, PlaceId, Progress, Tenant, Timing,
};
use crate::observe::metrics::{CallOutcome, RouteMetrics};
use crate::report::{BatchStatus, GroupStatus};

/// Background work that waits in a place of its own.
pub trait BackgroundSource: Debug {
    /// Since when the work waits that has waited longest; `None` if none waits. If this changes, tell
    /// the pool ([`Pool::background_changed`]).
    fn waits_since(&self) -> Option<Instant>;

    /// A worker may begin with the next work of this source. It is submitted with the class of this
    /// place; to submit another call, or to drop the place, gives it up. Do not submit before this
    /// has returned.
    fn offer(&self, place: JobPlace);

    /// The work that was begun in this place is this far.
    fn progressed(&self, place: PlaceId, progress: Progress);
}

/// The right to begin with one piece of background work. Nothing else of the same kind is begun in
/// its place until it is dropped or used.
#[derive(Debug)]
pub struct JobPlace {
    pool: Rc<Pool>,
    id: PlaceId,
}

impl JobPlace {
    /// Returns the name of the place.
    pub fn id(&self) -> PlaceId {
        self.id
    }

    /// Returns the class with which the call is submitted. `lost` of its starts came to nothing before.
    pub fn class(&self, lost: u32) -> Class {
        Class::Job { place: self.id, lost }
    }
}

impl Drop for JobPlace {
    fn drop(&mut self) {
        self.pool.give_up_place(self.id);
    }
}

/// Hands background work to one pool.
#[derive(Debug, Default)]
pub(super) struct Feeder {
    backlog: RefCell<Backlog<WaitingWork>>,
    source: RefCell<Option<Rc<dyn BackgroundSource>>>,
    /// Places that were offered and not used yet.
    offered: RefCell<Vec<PlaceId>>,
    /// No more work begins.
    is_closed: Cell<bool>,
    /// An item of a batch has waited here.
    has_had_items: Cell<bool>,
    /// Who speaks with other servers.
    elsewhere: OnceCell<Rc<dyn OtherServers>>,
    /// What the books were told last.
    told: Cell<(Option<Instant>, bool)>,
}

/// A call that waits here.
#[derive(Debug)]
struct WaitingWork {
    entry: Payload,
    retries: u32,
    /// Which half of a lost group it belongs to.
    half: HalfId,
}

impl WaitingWork {
    /// How much of a group it takes up.
    fn size(&self) -> usize {
        self.entry.question.text.len() + 1
    }
}

impl Feeder {
    /// Other servers are spoken with through this from now on.
    pub(super) fn set_elsewhere(&self, elsewhere: Rc<dyn OtherServers>) {
        self.elsewhere.get_or_init(|| elsewhere);
    }

    /// Who speaks with other servers.
    pub(super) fn elsewhere(&self) -> Option<&Rc<dyn OtherServers>> {
        self.elsewhere.get()
    }

    /// Gives up a place. Returns true if it was not used before.
    fn give_up(&self, place: PlaceId) -> bool {
        let mut offered = self.offered.borrow_mut();
        let before = offered.len();
        offered.retain(|other| *other != place);
        offered.len() < before
    }

    /// Puts a call where it waits.
    fn put(&self, now: Instant, waiting: WaitingWork, is_back: bool) {
        let Some(terms) = waiting.entry.terms.clone() else { return };
        let mut backlog = self.backlog.borrow_mut();
        let piece = match terms.class {
            Class::Batch(batch) if is_back => backlog.return_item(now, batch, waiting),
            Class::Batch(batch) => {
                self.has_had_items.set(true);
                backlog.push_item(now, batch, waiting)
            }
            Class::Job { place, .. } => {
                self.give_up(place);
                backlog.push_job(now, waiting)
            }
            Class::Interactive => unreachable!("a call of a caller has no terms"),
        };
        terms.ticket.at.set(Whereabouts::Backlog(piece));
    }

    /// Since when jobs wait in their own place.
    fn jobs_since(&self) -> Option<Instant> {
        if self.is_closed.get() {
            return None;
        }
        self.source.borrow().as_ref().and_then(|source| source.waits_since())
    }

    /// Returns true if nothing waits, neither here nor in the place of jobs, and the books know that.
    fn rests(&self, jobs_since: Option<Instant>) -> bool {
        let (told_since, _) = self.told.get();
        jobs_since.is_none() && told_since.is_none() && self.backlog.borrow().is_empty()
    }

    /// Begins what may begin now, where jobs wait since `jobs_since`. Returns true if anything has begun,
    /// and the place that is to be offered to a job, after which this is called again.
    fn begin_all(
        &self,
        now: Instant,
        state: &mut State<Payload>,
        jobs_since: Option<Instant>,
    ) -> (bool, Option<PlaceId>) {
        let mut has_begun = false;
        loop {
            let (vacancy, offered) = (state.vacancy(now), self.offered.borrow().len());
            let next = match vacancy {
                // The next worker that becomes free is for background work, and none is ready.
                0 if jobs_since.is_some() && offered == 0 && self.waiting() == 0 => {
                    state.owes_background(now).then_some(NextWork::Offer)
                }
                0 => None,
                _ => self.backlog.borrow_mut().next(now, jobs_since, vacancy > offered),
            };
            match next {
                Some(NextWork::Begins(waiting)) => self.begin(now, state, waiting, vacancy),
                Some(NextWork::Offer) => return (has_begun, Some(self.new_place())),
                None => return (has_begun, None),
            }
            has_begun = true;
        }
    }

    /// Gives a call to a worker, and with it those that may go with it: there is room for so many
    /// groups.
    fn begin(&self, now: Instant, state: &mut State<Payload>, first: WaitingWork, vacancy: usize) {
        let Some(terms) = first.entry.terms.clone() else { return };
        let Some(rules) = state.group_rules() else {
            let WaitingWork { entry, retries, .. } = first;
            let begun = state.begin(now, new_call(entry, &terms), retries);
            return note_begun(&terms, begun);
        };
        let most = rules.most.min((self.waiting() + 1).div_ceil(vacancy.max(1)));
        let is_item = matches!(terms.class, Class::Batch(_));
        let may_mix = terms.idempotent || rules.mixes_all;
        let may_share = is_item && may_mix && !state.is_suspected(&first.entry);
        let mut bytes = 1 + first.size();
        let mut group = vec![first];
        while group.len() < most && may_share {
            let is_like = |other: &WaitingWork| {
                let is_alike =
                    other.entry.terms.as_ref().is_some_and(|others| others.is_like(&terms));
                is_alike
                    && other.half == group[0].half
                    && rules.has_room(bytes, other.size() - 1)
                    && !state.is_suspected(&other.entry)
            };
            let Some(next) = self.backlog.borrow_mut().next_item_if(is_like) else { break };
            bytes += next.size();
            group.push(next);
        }
        let terms: Vec<_> = group.iter().filter_map(|it| it.entry.terms.clone()).collect();
        let calls = group.into_iter().zip(&terms).map(|(waiting, terms)| {
            (new_call(waiting.entry, terms), waiting.retries, waiting.half)
        });
        let begun = state.begin_group(now, calls.collect());
        terms.iter().zip(begun).for_each(|(terms, begun)| note_begun(terms, begun));
    }

    fn new_place(&self) -> PlaceId {
        // No other pool has a place of this name: after a reload, a job may use the place of the pool
        // that was.
        static PLACES: AtomicU64 = AtomicU64::new(0);
        let place = PlaceId(PLACES.fetch_add(1, Ordering::Relaxed));
        self.offered.borrow_mut().push(place);
        place
    }

    fn waiting(&self) -> usize {
        self.backlog.borrow().len()
    }

    /// Tells the books what waits here and, since `jobs_since`, in the place of jobs. Returns true if that
    /// is news.
    fn tell(&self, state: &mut State<Payload>, jobs_since: Option<Instant>) -> bool {
        let ready_since = self.backlog.borrow().since();
        let since = ready_since.into_iter().chain(jobs_since).min();
        let told = (since, ready_since.is_some());
        if self.told.replace(told) == told {
            return false;
        }
        state.background_waits(told.0, told.1);
        true
    }
}

/// Returns how many starts of work came to nothing before it was submitted.
fn lost_before(class: Class) -> u32 {
    match class {
        Class::Job { lost, .. } => lost,
        Class::Interactive | Class::Batch(_) => 0,
    }
}

/// Returns the call of work that begins.
fn new_call(entry: Payload, terms: &Terms) -> NewCall<Payload> {
    NewCall {
        bytes: entry.question.text.len(),
        idempotent: terms.idempotent,
        caller_deadline: None,
        tenant: Tenant::ANONYMOUS,
        timeout: terms.timeout,
        payload: entry,
    }
}

/// Notes where a call is that was to begin. One that is refused ends.
fn note_begun(terms: &Terms, begun: Result<CallId, (Payload, Failure)>) {
    terms.ticket.at.set(match begun {
        Ok(id) => Whereabouts::Books(id),
        Err((entry, failure)) => {
            entry.refuse(failure);
            Whereabouts::Nowhere
        }
    });
}

impl Pool {
    /// Takes in background work. It waits until a worker may begin with it.
    pub(super) fn submit_background(
        self: &Rc<Self>,
        now: Instant,
        call: &mut Call,
        route: Arc<RouteMetrics>,
    ) -> Pending {
        let feeder = self.feeder.get_or_init(Box::default);
        let ticket = Rc::new(WorkTicket { at: Cell::new(Whereabouts::Nowhere), since: now });
        let terms = Terms {
            class: call.class,
            idempotent: call.idempotent,
            timeout: call.timeout,
            ticket: Rc::clone(&ticket),
            guest: Cell::new(None),
        };
        let entry = Entry::of(call, route, Some(terms));
        if feeder.is_closed.get() {
            entry.refuse(Failure::Draining);
        } else {
            let (entry, retries) = (Rc::clone(&entry), lost_before(call.class));
            feeder.put(now, WaitingWork { entry, retries, half: HalfId::NONE }, false);
            self.settle(now);
        }
        Pending::background(Rc::clone(self), ticket, entry)
    }

    /// The work of this place needs no worker. So another one may begin there.
    pub fn give_up_place(&self, place: PlaceId) {
        if self.feeder.get().is_some_and(|feeder| feeder.give_up(place)) {
            // Not at once: this may be in the middle of a settling.
            self.settle_soon();
        }
    }

    /// A background call whose worker was lost waits again.
    pub(super) fn take_back_in(&self, now: Instant, entry: Payload, retries: u32, half: HalfId) {
        self.lifecycle.note_no_calls();
        if let Some(guest) = entry.terms.as_ref().and_then(|terms| terms.guest.get()) {
            // Its own server gives it to another worker.
            return self.tell_not_begun(now, guest);
        }
        if let Some(terms) = &entry.terms
            && let Class::Job { lost, .. } = terms.class
            && retries > lost
        {
            // Its source counts this start, also while the pool closes, and has it begun again. So no
            // call has failed.
            terms.ticket.at.set(Whereabouts::Nowhere);
            let result = Err(Failure::WorkerLost { exit: "the log says how".into() });
            return entry.outbox.put(Outcome { result, timing: Timing::default() });
        }
        let Some(feeder) = self.feeder.get().filter(|feeder| !feeder.is_closed.get()) else {
            return entry.refuse(Failure::Draining);
        };
        feeder.put(now, WaitingWork { entry, retries, half }, true);
    }

    /// Begins what background work may begin, after the books have settled. Returns true if they have
    /// changed.
    pub(super) fn feed(self: &Rc<Self>, now: Instant) -> bool {
        let Some(feeder) = self.feeder.get() else { return false };
        let jobs_since = feeder.jobs_since();
        if !feeder.rests(jobs_since) && self.feed_with(now, feeder, jobs_since) {
            return true;
        }
        match feeder.elsewhere().cloned() {
            Some(elsewhere) => self.share_out(now, &elsewhere),
            None => false,
        }
    }

    /// Begins what may begin of what waits here and, since `jobs_since`, in the place of jobs. Returns true
    /// if the books have changed.
    fn feed_with(
        self: &Rc<Self>,
        now: Instant,
        feeder: &Feeder,
        jobs_since: Option<Instant>,
    ) -> bool {
        let mut state = self.state.borrow_mut();
        if let Some(failure) = state.hopeless(now) {
            // Jobs wait until a worker can be started, and a caller who waits for a batch does not.
            let items = feeder.backlog.borrow_mut().take_items();
            for item in items {
                end(item, failure.clone());
            }
        }
        let (has_begun, offered) = feeder.begin_all(now, &mut state, jobs_since);
        let is_news = feeder.tell(&mut state, jobs_since);
        drop(state);
        if let Some(id) = offered
            && let Some(source) = feeder.source.borrow().clone()
        {
            source.offer(JobPlace { pool: Rc::clone(self), id });
        }
        has_begun || is_news || offered.is_some()
    }

    /// Returns the batch requests whose items are here, if there have been any; and how many calls
    /// workers were given together, where they are.
    pub fn background(&self) -> (Option<BatchStatus>, Option<GroupStatus>) {
        let state = self.state.borrow();
        let groups = state.group_rules().map(|_| self.metrics.groups());
        (self.batches(&state), groups)
    }

    fn batches(&self, state: &State<Payload>) -> Option<BatchStatus> {
        let feeder = self.feeder.get().filter(|feeder| feeder.has_had_items.get())?;
        let backlog = feeder.backlog.borrow();
        let waits = backlog.batches();
        let waiting = waits.iter().map(|(_, items)| items).sum();
        let mut open: HashSet<BatchId> = waits.iter().map(|(batch, _)| *batch).collect();
        let mut running = 0;
        state.each_background(|entry| {
            if let Some(Class::Batch(batch)) = entry.terms.as_ref().map(|terms| terms.class) {
                open.insert(batch);
                running += 1;
            }
        });
        Some(BatchStatus { open: open.len(), waiting, running })
    }

    /// Tells the source of jobs how far the one in this place is.
    pub(super) fn tell_source(&self, place: PlaceId, progress: Progress) {
        let source = self.feeder.get().and_then(|feeder| feeder.source.borrow().clone());
        if let Some(source) = source {
            source.progressed(place, progress);
        }
    }

    /// The work that waits in the source of jobs has changed.
    pub fn background_changed(self: &Rc<Self>) {
        if self.lifecycle.ending().is_none() {
            self.settle(Instant::now());
        }
    }

    /// Jobs come from this source from now on; `None`: no more come.
    pub fn feed_from(self: &Rc<Self>, source: Option<Rc<dyn BackgroundSource>>) {
        self.feeder.get_or_init(Box::default).source.replace(source);
        self.background_changed();
    }

    /// From now on no background work begins. What waits fails as `draining`; what runs goes on.
    pub fn close_background(self: &Rc<Self>) {
        let feeder = self.feeder.get_or_init(Box::default);
        feeder.is_closed.set(true);
        feeder.source.take();
        let all = feeder.backlog.borrow_mut().take_all();
        for waiting in all {
            end(waiting, Failure::Draining);
        }
        self.background_changed();
    }

    /// Waits until no background work runs.
    pub async fn wait_background(&self) {
        self.lifecycle.wait_calls(|| self.state.borrow().runs_background()).await;
    }

    /// Notes that the caller of a background call has left.
    pub(super) fn leave_background(self: &Rc<Self>, ticket: &WorkTicket) {
        match ticket.at.replace(Whereabouts::Nowhere) {
            Whereabouts::Nowhere => {}
            Whereabouts::Books(id) => self.leave(id),
            Whereabouts::Backlog(piece) => {
                let removed =
                    self.feeder.get().and_then(|it| it.backlog.borrow_mut().remove(piece));
                if let Some(WaitingWork { entry, .. }) = removed {
                    let after = ticket.since.elapsed();
                    entry.route.call(CallOutcome::Abandoned);
                    let result = Err(Failure::Timeout { after, conduct: None });
                    entry.outbox.put(Outcome { result, timing: Timing::default() });
                }
                self.background_changed();
            }
        }
    }
}

/// Ends a call that waits.
fn end(WaitingWork { entry, .. }: WaitingWork, failure: Failure) {
    if let Some(terms) = &entry.terms {
        terms.ticket.at.set(Whereabouts::Nowhere);
    }
    entry.refuse(failure);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_of_one_pool_is_none_of_another() {
        let (old, new) = (Feeder::default(), Feeder::default());
        let (of_old, of_new) = (old.new_place(), new.new_place());
        assert!(!new.give_up(of_old), "it was offered by the other pool");
        assert!(new.give_up(of_new) && old.give_up(of_old));
    }
}
