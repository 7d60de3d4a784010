//! Calls that go to other servers, and calls of others in the workers here: what a pool does for the
//! room that speaks with other servers.
//!
//! None of the methods here settles the books: [`Pool::settle_elsewhere`] does so once for all that
//! one message brings about.

#![cfg_attr(
    not(feature = "nats"),
    allow(dead_code, reason = "only the room `spread` has a use for it")
)]

use std::cell::Cell;
use std::fmt::Debug;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::Pool;
use super::actions::{Ended, NewCall};
use super::away::{AwayLoss, Granted, Hunger};
use super::entry::{Entry, Payload};
use super::streams::push;
use super::terms::{Terms, Whereabouts, WorkTicket};
use crate::base::{
    CallId, Class, Failure, NodeId, Outcome, PartGate, Parts, Progress, Question, Reply, ReplyForm,
    RunId, Tenant, Timing, WorkerId,
};
use crate::config::InFlight;
use crate::observe::metrics::RouteMetrics;

/// Who speaks with other servers for a pool.
pub trait OtherServers: Debug {
    /// The books are about to settle. Returns since when the oldest call of another server waits that
    /// may come here, and how many wait.
    fn wants(&self) -> (Option<Instant>, usize);

    /// This worker is reserved for a call of another server. Returns true if the books have changed.
    fn reserved(&self, now: Instant, worker: WorkerId) -> bool;

    /// Nobody waits any longer for a call that a host has. `is_over`: it has left the books.
    fn called_back(&self, host: NodeId, run: RunId, is_over: bool);

    /// A call of another server has ended here. `blamed`: its question can be the only reason why its
    /// worker was lost.
    fn guest_ended(&self, now: Instant, guest: GuestName, end: GuestOutcome);

    /// The answer to a call of another server comes in parts. Returns what passes them on, which is to
    /// be run.
    fn guest_begun(self: Rc<Self>, guest: GuestName, parts: Parts) -> Forwarding;

    /// No worker here has seen a call of another server.
    fn guest_not_begun(&self, now: Instant, guest: GuestName);

    /// The books were settled. Returns true if that has changed them.
    fn settled(&self, now: Instant, hunger: Option<Hunger>, free: usize, busy: usize) -> bool;
}

/// Passes the parts of an answer on to another server.
pub type Forwarding = Pin<Box<dyn Future<Output = ()>>>;

/// A call of another server: whose it is, and which attempt.
pub type GuestName = (NodeId, RunId);

/// How a call of another server has ended.
#[derive(Debug)]
pub struct GuestOutcome {
    /// The answer, or why there is none.
    pub result: Result<Reply, Failure>,
    /// How long it waited and worked.
    pub timing: Timing,
    /// Its question can be the only reason why its worker was lost.
    pub blamed: bool,
}

/// A call of another server that comes here.
#[derive(Debug)]
pub struct Guest {
    /// Whose it is, and which attempt.
    pub name: GuestName,
    /// Its question.
    pub question: Question,
    /// How long it may take.
    pub left: Duration,
}

/// What becomes of a part of an answer that comes from another server.
#[derive(Debug)]
pub enum PartFate {
    /// Its caller has room for more.
    Taken,
    /// Its caller has it, and takes no more before the gate opens.
    Full(PartGate),
    /// Nobody wants it.
    Dropped,
    /// The answers of this pool do not come in parts.
    Unfit,
}

/// Returns true if this call may run on another server: one whose caller hears nothing before the
/// answer but how far it is.
fn may_go(entry: &Payload) -> bool {
    let hears_more = entry.question.listener.as_ref().is_some_and(|name| !name.is_empty());
    !hears_more && !entry.has_begun()
}

/// As [`may_go`], for JSON-RPC: what is said around a call goes to the worker that has it.
fn may_go_alone(entry: &Payload) -> bool {
    entry.own_name.is_none() && may_go(entry)
}

impl Pool {
    /// From now on calls go to other servers, and come from them, through this.
    pub fn spread(self: &Rc<Self>, elsewhere: Rc<dyn OtherServers>) {
        let now = Instant::now();
        self.feeder.get_or_init(Box::default).set_elsewhere(elsewhere);
        let is_json_rpc = self.settings.borrow().program.wire.is_json_rpc;
        let may_go = if is_json_rpc { may_go_alone } else { may_go };
        self.state.borrow_mut().spread(now, may_go);
        self.settle(now);
    }

    /// Lets the books decide what follows from what other servers have told.
    pub fn settle_elsewhere(self: &Rc<Self>, now: Instant) {
        let Some(elsewhere) = self.elsewhere().cloned() else { return };
        if self.is_ending() {
            // The books are closed. Other servers are still told how their calls have ended.
            elsewhere.settled(now, None, 0, 0);
        } else {
            self.note_wants(&elsewhere);
            self.settle(now);
        }
    }

    fn elsewhere(&self) -> Option<&Rc<dyn OtherServers>> {
        self.feeder.get()?.elsewhere()
    }

    /// Tells the books what others want before they settle.
    pub(super) fn note_wants(&self, elsewhere: &Rc<dyn OtherServers>) {
        let (since, calls) = elsewhere.wants();
        self.state.borrow_mut().want(since, calls);
    }

    /// Tells what the books have for others, after they have settled. Returns true if they have changed.
    pub(super) fn share_out(&self, now: Instant, elsewhere: &Rc<dyn OtherServers>) -> bool {
        let (hunger, free, busy) = {
            let mut state = self.state.borrow_mut();
            let hunger = state.hunger(now);
            let busy = state.crew.iter().filter(|book| !book.held.is_empty()).count();
            (hunger, state.crew.free().len(), busy)
        };
        let has_changed = elsewhere.settled(now, hunger, free, busy);
        self.note_wants(elsewhere);
        has_changed
    }

    /// A worker is reserved. Returns true if the books have changed.
    pub(super) fn claim_for(&self, now: Instant, worker: WorkerId) -> bool {
        match self.elsewhere().cloned() {
            Some(elsewhere) => elsewhere.reserved(now, worker),
            None => false,
        }
    }

    /// A host is told that nobody waits for a call any longer.
    pub(super) fn call_host_back(&self, host: NodeId, run: RunId) {
        if let Some(elsewhere) = self.elsewhere().cloned() {
            let is_over = self.state.borrow().payload(CallId(run.call)).is_none();
            elsewhere.called_back(host, run, is_over);
        }
    }

    /// A call of another server has ended: its server is told.
    pub(super) fn end_guest(
        &self,
        now: Instant,
        guest: GuestName,
        (result, timing): (Result<Reply, Failure>, Timing),
        blamed: bool,
    ) {
        if let Some(elsewhere) = self.elsewhere().cloned() {
            elsewhere.guest_ended(now, guest, GuestOutcome { result, timing, blamed });
            // Its owner may have more calls for the worker that is free now.
            self.note_wants(&elsewhere);
        }
    }

    /// No worker has seen a call of another server: its server is told.
    pub(super) fn tell_not_begun(&self, now: Instant, guest: GuestName) {
        if let Some(elsewhere) = self.elsewhere().cloned() {
            elsewhere.guest_not_begun(now, guest);
        }
    }

    /// A call of another server has ended with its worker.
    pub(super) fn lose_guest(&self, ended: Ended<Payload>, failure: Failure, blamed: bool) {
        let (at, timing) = (ended.at, ended.timing);
        let guest = ended.payload.terms.as_ref().and_then(|terms| terms.guest.take());
        self.finish(ended, Err(failure.clone()));
        if let Some(guest) = guest {
            self.end_guest(at, guest, (Err(failure), timing), blamed);
        }
    }

    /// Tells the caller of a call its outcome before the call has left the books.
    pub(super) fn tell_early(&self, now: Instant, entry: &Entry, outcome: Outcome) {
        let guest = entry.terms.as_ref().and_then(|terms| terms.guest.get());
        let elsewhere = guest.and_then(|guest| Some((guest, self.elsewhere().cloned()?)));
        let Some((guest, elsewhere)) = elsewhere else { return entry.outbox.put(outcome) };
        let Outcome { result, timing } = outcome;
        if let Ok(Reply { form: ReplyForm::Parts(_, parts), .. }) = result {
            let forwarding = elsewhere.guest_begun(guest, parts);
            self.services.tasks.spawn_local(forwarding);
        } else {
            elsewhere.guest_ended(now, guest, GuestOutcome { result, timing, blamed: false });
        }
    }

    /// Returns true if the pool ends: its workers are stopped.
    pub fn is_ending(&self) -> bool {
        self.lifecycle.ending().is_some()
    }

    /// Runs something until it ends, or the pool does.
    pub fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.services.tasks.spawn_local(task);
    }

    /// Returns true if a worker serves, here or elsewhere.
    pub fn can_serve(&self) -> bool {
        self.serving() > 0 || self.state.borrow().slots_away() > 0
    }

    /// Returns how many calls other servers can have, and how many they have; `None` if none can go there.
    pub fn elsewhere_counts(&self) -> Option<(usize, usize)> {
        self.elsewhere()?;
        let state = self.state.borrow();
        Some((state.slots_away(), state.calls_away()))
    }

    /// Waits until a worker serves, here or elsewhere, or the pool ends.
    pub async fn wait_able(&self) {
        let is_over = || self.can_serve() || self.lifecycle.ending().is_some();
        self.lifecycle.wait_moved(is_over).await;
    }

    // What the owner of a call does.

    /// A host asks for a call. Returns the call that it gets.
    pub fn grant(&self, now: Instant, host: NodeId, key: u64) -> Option<Granted> {
        self.state.borrow_mut().claim(now, host, key)
    }

    /// A host has answered a call. Returns how long the call was on its way; `None` if the answer comes
    /// too late.
    pub fn answered_elsewhere(
        &self,
        now: Instant,
        name: GuestName,
        work: Duration,
        result: Result<Reply, Failure>,
    ) -> Option<Duration> {
        let good = matches!(result, Ok(_) | Err(Failure::ProgramError { .. }));
        let ended = self.state.borrow_mut().away_answered(now, name, work, good)?;
        let way = ended.timing.away.map(|away| Duration::from_micros(away.way_us.into()));
        self.finish(ended, result);
        way
    }

    /// A part of an answer comes from a host.
    pub fn part_from_elsewhere(
        self: &Rc<Self>,
        now: Instant,
        name: GuestName,
        part: Bytes,
    ) -> PartFate {
        if !self.answers.come_in_parts {
            return PartFate::Unfit;
        }
        let fate = self.with_begun(now, name, |entry, gate| match push(entry, part) {
            None => PartFate::Dropped,
            Some(true) => PartFate::Taken,
            Some(false) => PartFate::Full(gate),
        });
        fate.unwrap_or_else(|| {
            self.drop_part();
            PartFate::Dropped
        })
    }

    /// The parts of an answer from a host have ended well. Returns the reply that ends the call.
    ///
    /// # Errors
    ///
    /// If the answers of this pool do not come in parts.
    pub fn parts_end_elsewhere(
        self: &Rc<Self>,
        now: Instant,
        name: GuestName,
    ) -> Result<Reply, Failure> {
        if !self.answers.come_in_parts {
            let detail = "another host sent it in parts, and the pool here has no `stream`".into();
            return Err(Failure::BadAnswer { detail });
        }
        // An answer may have no part at all.
        self.with_begun(now, name, |_, _| ());
        Ok(Reply { body: Bytes::new(), form: ReplyForm::Plain })
    }

    /// A host says how far a call is.
    pub fn progress_from_elsewhere(
        self: &Rc<Self>,
        now: Instant,
        name: GuestName,
        progress: &Progress,
    ) {
        if self.answers.come_in_parts {
            let text = Bytes::copy_from_slice(progress.json().as_bytes());
            self.with_begun(now, name, |_, gate| gate.remark(text));
        }
    }

    /// Does something with a call that a host has, and whose answer has begun.
    fn with_begun<T>(
        self: &Rc<Self>,
        now: Instant,
        (host, run): GuestName,
        act: impl FnOnce(&Entry, PartGate) -> T,
    ) -> Option<T> {
        let call = CallId(run.call);
        let begun = self.state.borrow_mut().away_begun(now, host, run)?;
        let state = self.state.borrow();
        let entry = state.payload(call)?;
        let gate = self.open(now, None, (call, entry), Some(begun))?;
        Some(act(entry, gate))
    }

    /// A host says that a call took all the time that it had.
    pub fn ran_over_elsewhere(&self, now: Instant, (host, run): GuestName) {
        self.state.borrow_mut().away_ran_over(now, host, run);
    }

    /// An attempt on a host has ended without an answer.
    pub fn lost_elsewhere(&self, now: Instant, name: GuestName, loss: &AwayLoss) {
        self.state.borrow_mut().away_lost(now, name, loss);
    }

    /// Hosts have workers for this many calls.
    pub fn slots_elsewhere(&self, slots: usize) {
        self.state.borrow_mut().slots_elsewhere(slots);
        self.lifecycle.note_moved();
    }

    // What the host of a call does.

    /// A reserved worker gets a call of another server. Returns its number here; `None` if the worker
    /// is lost, or has to leave.
    pub fn take_guest(
        &self,
        now: Instant,
        worker: WorkerId,
        mut guest: Guest,
        route: Arc<RouteMetrics>,
    ) -> Option<CallId> {
        if self.settings.borrow().rules.in_flight == InFlight::Auto {
            // As with the calls of callers.
            guest.question.listener = None;
        }
        let ticket = Rc::new(WorkTicket { at: Cell::new(Whereabouts::Nowhere), since: now });
        let terms = Terms {
            class: Class::Interactive,
            idempotent: false,
            timeout: Some(guest.left),
            ticket,
            guest: Cell::new(Some(guest.name)),
        };
        let call = NewCall {
            bytes: guest.question.text.len(),
            idempotent: false,
            caller_deadline: None,
            tenant: Tenant::ELSEWHERE,
            timeout: Some(guest.left),
            payload: Entry::new(guest.question, None, route, None, Some(terms)),
        };
        self.state.borrow_mut().give_reserved(now, worker, call).ok()
    }

    /// A reserved worker gets none.
    pub fn release(&self, now: Instant, worker: WorkerId) {
        self.state.borrow_mut().release(now, worker);
    }

    /// The caller of a call of another server has left.
    pub fn guest_left(self: &Rc<Self>, call: CallId) {
        self.leave(call);
    }

    /// Returns why a question cannot be asked here, whatever its own server found: it could end
    /// before its end.
    pub fn refusal(&self, question: &Question) -> Option<Failure> {
        let settings = self.settings.borrow();
        let what = settings.program.wire.framing.unsendable(&question.text)?;
        Some(Failure::Unsendable { parameter: "question".into(), detail: what.into() })
    }

    /// Returns how many bytes an answer or a question has at most.
    pub fn message_max(&self) -> usize {
        self.settings.borrow().program.wire.message_max
    }

    /// Returns the question of a call in the books.
    pub fn question(&self, call: CallId) -> Option<Question> {
        self.state.borrow().payload(call).map(|entry| entry.question.clone())
    }
}
