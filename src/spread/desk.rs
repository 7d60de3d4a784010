//! One pool among those of other servers: carries out what the machines of owner and host decide.
//!
//! A machine is never borrowed while its steps are carried out, because a step may settle the books,
//! and what they decide comes back here.

mod elsewhere;
mod parts;
mod tell;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::Notify;

use self::elsewhere::end_of;
use self::parts::{Forward, told};
use super::host::{HostDesk, HostStep};
use super::link::NatsLink;
use super::message::{
    Demand, Grant, GrantRefused, HostAnswer, HostMessage, HostPart, HostProgress, Hungry, Leave,
    More, Nothing, Out, Ping, Pong, SeatClaim,
};
use super::node::Seal;
use super::owner::{OwnerDesk, OwnerStep};
use super::said::{PartOfAnswer, SentBefore, ToHost, ToOwner};
use super::subject::Subjects;
use super::told::{HostTold, result_of};
use super::transfer::Sizes;
use crate::base::{Failure, HostTag, NodeId, Question, Timing, WorkerId};
use crate::observe::metrics::{AwayEnd, ClaimEnd, Metrics, RouteMetrics, SharedPoolMetrics};
use crate::pool::away::AwayLoss;
use crate::pool::{Guest, GuestName, GuestOutcome, Pool};

/// The route under which the calls of other servers are counted.
const ROUTE: &str = "spread";
/// The longest time that an owner may give a host for a call.
const LEFT_MOST: Duration = Duration::from_hours(24 * 30);

/// To whom a message is.
#[derive(Clone, Copy, Debug)]
pub(super) enum DeskRole {
    /// To the owner of calls, from a host.
    Owner,
    /// To a host, from an owner.
    Host,
}

/// One pool among those of other servers.
#[derive(Debug)]
pub(super) struct PoolDesk {
    /// What others call it.
    pub(super) node: NodeId,
    pub(super) name: String,
    pub(super) seal: Seal,
    /// Of what the seal is made.
    pub(super) facts: Vec<(String, Seal)>,
    pool: Weak<Pool>,
    /// For tasks that outlive what starts them.
    this: Weak<Self>,
    link: Rc<NatsLink>,
    subjects: Rc<Subjects>,
    owner: RefCell<OwnerDesk>,
    host: RefCell<HostDesk<HostTold>>,
    route: Arc<RouteMetrics>,
    pub(super) counts: Arc<SharedPoolMetrics>,
    /// What was just heard, for the steps that follow from it.
    heard: RefCell<Option<JustHeard>>,
    /// The answers that go to other servers in parts.
    forwards: RefCell<BTreeMap<GuestName, Forward>>,
    /// Calls whose callers take no more of their answers now.
    full: RefCell<BTreeSet<GuestName>>,
    demands: Cell<Option<u64>>,
    /// It hears what it is given: it had workers when it joined.
    hosts: Cell<bool>,
    /// It was logged that it has workers that hear nothing.
    has_told: Cell<bool>,
    /// A reload has replaced its pool, which ends what it has.
    pub(super) is_replaced: Cell<bool>,
    /// Something may be due sooner than it was.
    pub(super) sooner: Notify,
    waits_until: Cell<Option<Instant>>,
}

/// An answer that was just heard.
#[derive(Debug)]
struct JustHeard {
    out: Out,
    body: Bytes,
    work: Duration,
    blamed: bool,
}

impl PoolDesk {
    pub(super) fn new(
        pool: &Rc<Pool>,
        facts: Vec<(String, Seal)>,
        (link, subjects): (Rc<NatsLink>, Rc<Subjects>),
        (server, metrics): (HostTag, &Metrics),
    ) -> Rc<Self> {
        let node = NodeId(fastrand::u128(..)).of_server(server);
        let mut owner = OwnerDesk::new();
        let mut host = HostDesk::new(node);
        let now = Instant::now();
        let is_connected = link.is_connected();
        owner.connected(now, is_connected);
        host.connected(now, is_connected);
        let most = pool.message_max() as u64;
        owner.takes_at_most(most);
        host.takes_at_most(most);
        let sizes = Sizes::of(link.max_payload());
        owner.carries(sizes);
        host.carries(now, sizes);
        let name = pool.name();
        let route = Arc::new(metrics.route(ROUTE, Some(&name)));
        let counts = metrics.spread().pool(&name);
        let seal = Seal::of_pool(&name, &facts);
        Rc::new_cyclic(|this| Self {
            node,
            name,
            seal,
            facts,
            pool: Rc::downgrade(pool),
            this: Weak::clone(this),
            link,
            subjects,
            owner: RefCell::new(owner),
            host: RefCell::new(host),
            route,
            counts,
            heard: RefCell::default(),
            forwards: RefCell::default(),
            full: RefCell::default(),
            demands: Cell::default(),
            hosts: Cell::default(),
            has_told: Cell::default(),
            is_replaced: Cell::default(),
            sooner: Notify::new(),
            waits_until: Cell::default(),
        })
    }

    /// Returns its pool, if that still exists.
    pub(super) fn pool(&self) -> Option<Rc<Pool>> {
        self.pool.upgrade()
    }

    /// Does something with the machines, carries out what follows, and lets the books settle.
    fn event(&self, act: impl FnOnce(Instant, &mut OwnerDesk, &mut HostDesk<HostTold>)) {
        let now = Instant::now();
        act(now, &mut self.owner.borrow_mut(), &mut self.host.borrow_mut());
        self.carry_out(now);
        self.heard.take();
        if let Some(pool) = self.pool() {
            pool.settle_elsewhere(now);
        }
        self.note_deadline();
    }

    /// There is a connection, or none any longer.
    pub(super) fn connected(&self, is_connected: bool) {
        self.resized();
        self.event(|now, owner, host| {
            owner.connected(now, is_connected);
            host.connected(now, is_connected);
        });
    }

    /// Returns true if this is its subscription to demands.
    pub(super) fn listens_by(&self, sid: u64) -> bool {
        self.demands.get() == Some(sid)
    }

    /// Claims no further calls.
    pub(super) fn drain(&self) {
        self.event(|now, _, host| host.drain(now));
    }

    /// From now on its workers may get calls of other servers.
    pub(super) fn can_host(&self) {
        self.hosts.set(true);
    }

    /// Returns its subscription to demands, if it has one, which it has no longer then.
    pub(super) fn stop_listening(&self) -> Option<u64> {
        self.demands.take()
    }

    /// Returns true if no call of another server is here, and each owner knows how its calls ended.
    pub(super) fn is_empty(&self) -> bool {
        self.host.borrow().is_empty()
    }

    /// When [`PoolDesk::tick`] must be called.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let due = [self.owner.borrow().next_deadline(), self.host.borrow().next_deadline()];
        due.into_iter().flatten().min()
    }

    /// Does what is due.
    pub(super) fn tick(&self) {
        self.event(|now, owner, host| {
            owner.tick(now);
            host.tick(now);
        });
    }

    /// Notes until when who ticks waits.
    pub(super) fn will_tick(&self, at: Option<Instant>) {
        self.waits_until.set(at);
    }

    fn note_deadline(&self) {
        let (due, waits) = (self.next_deadline(), self.waits_until.get());
        if due.is_some_and(|due| waits.is_none_or(|waits| due < waits)) {
            self.sooner.notify_one();
        }
    }

    /// Nobody listens to what a host is told.
    pub(super) fn unheard(&self, host: NodeId) {
        self.event(|now, owner, _| owner.unheard(now, host));
    }

    /// Another node says something to this one, or to all hosts.
    pub(super) fn hear(&self, role: DeskRole, payload: &Bytes) {
        let Ok((message, body)) = HostMessage::decode(payload) else {
            return self.counts.strange();
        };
        match role {
            DeskRole::Owner => self.hear_host(message, body),
            DeskRole::Host => self.hear_owner(message, body),
        }
    }

    /// A host says something about the calls of this server.
    fn hear_host(&self, message: HostMessage, body: Bytes) {
        match message {
            HostMessage::Claim(SeatClaim { host, claim, .. }) => {
                self.tell_owner(host, ToOwner::Claim { claim });
            }
            HostMessage::Answer(answer) => self.hear_answer(answer, body),
            HostMessage::NotBegun(GrantRefused { host, run }) => {
                self.tell_owner(host, ToOwner::NotBegun { run });
            }
            HostMessage::Part(HostPart { from, run, at, len, cut }) => {
                self.tell_owner(from, ToOwner::Part(PartOfAnswer { run, at, len, cut, body }));
            }
            HostMessage::More(More { from, run, taken }) => {
                self.tell_owner(from, ToOwner::More { run, taken });
            }
            HostMessage::Progress(HostProgress { host, run }) => {
                self.hear_progress(host, run, &body);
            }
            HostMessage::Pong(Pong { host, ping, unknown, sure, alone, sent }) => {
                let (unknown, sent) = (unknown.0, sent.0);
                self.tell_owner(host, ToOwner::Pong { ping, unknown, sure, alone, sent });
            }
            _ => self.counts.strange(),
        }
    }

    /// An owner says something to this host, or to all hosts.
    fn hear_owner(&self, message: HostMessage, body: Bytes) {
        match message {
            HostMessage::Demand(Demand { owner, calls, hops }) => {
                self.event(|now, _, host| host.demand(now, owner, calls as usize, hops));
            }
            HostMessage::Hungry(Hungry { owner, age_ms }) => {
                let age = Duration::from_millis(age_ms);
                self.event(|now, _, host| host.hungry(now, owner, age));
            }
            HostMessage::Grant(grant) => self.hear_grant(grant, body),
            HostMessage::Nothing(Nothing { owner, claim }) => {
                self.tell_host(owner, ToHost::Nothing { claim });
            }
            HostMessage::Part(HostPart { from, run, at, .. }) => {
                self.tell_host(from, ToHost::Part { run, at, body });
            }
            HostMessage::More(More { from, run, taken }) => {
                self.tell_host(from, ToHost::More { run, taken });
            }
            HostMessage::Leave(Leave { from, run }) => self.tell_host(from, ToHost::Leave { run }),
            HostMessage::Ping(Ping { owner, ping, holds, partial }) => {
                self.tell_host(owner, ToHost::Ping { ping, holds: holds.0, is_whole: !partial });
            }
            _ => self.counts.strange(),
        }
    }

    fn tell_owner(&self, host: NodeId, said: ToOwner) {
        self.event(|now, owner, _| owner.hear(now, host, said));
    }

    fn tell_host(&self, owner: NodeId, said: ToHost) {
        self.event(|now, _, host| host.hear(now, owner, said));
    }

    fn hear_answer(&self, answer: HostAnswer, body: Bytes) {
        let HostAnswer { host, run, out, work_us, claim, blamed, len, after, .. } = answer;
        let before = match (after, len) {
            (0, len) if len > body.len() as u64 => SentBefore::Body(len),
            (0, _) => SentBefore::Nothing,
            (sent, _) => SentBefore::Parts(sent),
        };
        let work = Duration::from_micros(work_us);
        *self.heard.borrow_mut() = Some(JustHeard { out, body, work, blamed });
        let claim = claim.map(|next| next.claim);
        self.tell_owner(host, ToOwner::Answer { run, claim, before });
    }

    fn hear_grant(&self, grant: Grant, body: Bytes) {
        let Grant { owner, claim, run, left_ms, nonce, len, listens, ping } = grant;
        let nonce = nonce.map(Bytes::from);
        let listener = listens.then(Bytes::new);
        let question = Question { nonce, listener, ..Question::plain(body) };
        let left = Duration::from_millis(left_ms).min(LEFT_MOST);
        self.tell_host(owner, ToHost::Grant { claim, run, left, ping, question, len });
    }

    /// Carries out all that the machines have decided. Returns true if the books have changed.
    fn carry_out(&self, now: Instant) -> bool {
        let mut has_changed = false;
        loop {
            let of_owner = self.owner.borrow_mut().take_steps();
            let of_host = self.host.borrow_mut().take_steps();
            if of_owner.is_empty() && of_host.is_empty() {
                return has_changed;
            }
            for step in of_owner {
                has_changed |= self.do_for_owner(now, step);
            }
            for step in of_host {
                has_changed |= self.do_for_host(now, step);
            }
        }
    }

    fn do_for_owner(&self, now: Instant, step: OwnerStep) -> bool {
        let Some(pool) = self.pool() else { return false };
        match step {
            OwnerStep::Demand { calls } => self.demand(self.node, calls, 0),
            OwnerStep::Hungry { age } => {
                let age_ms = age.as_millis() as u64;
                let message = HostMessage::Hungry(Hungry { owner: self.node, age_ms });
                self.link.send(
                    &self.subjects.hungry(&self.name, self.seal),
                    None,
                    &message.encode(b""),
                );
            }
            OwnerStep::Ask { host, claim } => {
                let granted = pool.grant(now, host, fastrand::u64(..));
                let end = if granted.is_some() { ClaimEnd::Granted } else { ClaimEnd::Empty };
                self.counts.claimed(end);
                let granted = granted.and_then(|it| Some((it, pool.question(it.call)?)));
                self.owner.borrow_mut().granted(now, host, claim, granted);
                return true;
            }
            OwnerStep::Tell { host, what } => self.send_to_host(host, what),
            OwnerStep::Take { host, run, before } => {
                self.take(now, &pool, (host, run), before);
                return true;
            }
            OwnerStep::TakePart { host, run, part } => {
                self.take_part(now, &pool, (host, run), part);
                return true;
            }
            OwnerStep::TooLarge { host, run } => {
                let detail = "it is larger than `message_max`, and comes from another host";
                let failure = Failure::BadAnswer { detail: detail.into() };
                self.counts.ended(AwayEnd::Answered);
                pool.answered_elsewhere(now, (host, run), Duration::ZERO, Err(failure));
                return true;
            }
            OwnerStep::Lost { host, run, loss } => {
                self.counts.ended(end_of(&loss));
                pool.lost_elsewhere(now, (host, run), &loss);
                return true;
            }
            OwnerStep::Late => self.counts.late_answer(),
            OwnerStep::HostLost(host) => {
                self.counts.host_lost();
                let (pool, host) = (self.name.as_str(), host.tag().to_string());
                tracing::warn!(pool, host, "nothing is heard of a host that has calls");
            }
        }
        false
    }

    /// Takes the answer that was just heard.
    fn take(&self, now: Instant, pool: &Rc<Pool>, name: GuestName, before: Bytes) {
        let Some(JustHeard { out, body, work, blamed }) = self.heard.take() else { return };
        let body = if before.is_empty() { body } else { before };
        let result = match out {
            Out::Parts => pool.parts_end_elsewhere(now, name),
            out => result_of(out, body),
        };
        if blamed && matches!(result, Err(Failure::Timeout { .. })) {
            pool.ran_over_elsewhere(now, name);
        }
        match result {
            Err(Failure::WorkerLost { exit }) => {
                self.counts.ended(AwayEnd::WorkerLost);
                pool.lost_elsewhere(now, name, &AwayLoss::Worker { exit, blamed });
            }
            // Its host stops, and has not waited for it.
            Err(Failure::Draining) => {
                self.counts.ended(AwayEnd::WorkerLost);
                let loss = AwayLoss::Worker { exit: "its host is stopping".into(), blamed: false };
                pool.lost_elsewhere(now, name, &loss);
            }
            result => {
                self.counts.ended(AwayEnd::Answered);
                if let Some(way) = pool.answered_elsewhere(now, name, work, result) {
                    self.counts.way(way);
                }
            }
        }
    }

    fn demand(&self, owner: NodeId, calls: usize, hops: u32) {
        let calls = u32::try_from(calls).unwrap_or(u32::MAX);
        let message = HostMessage::Demand(Demand { owner, calls, hops });
        self.link.send(&self.subjects.demand(&self.name, self.seal), None, &message.encode(b""));
    }

    fn do_for_host(&self, now: Instant, step: HostStep<HostTold>) -> bool {
        let Some(pool) = self.pool() else { return false };
        match step {
            HostStep::Tell { owner, what } => self.send_to_owner(owner, what),
            HostStep::Answer { guest, claim, answer, before } => {
                if claim.is_some() {
                    self.counts.claimed(ClaimEnd::Sent);
                }
                self.send_answer(guest, claim, before, &answer.0);
            }
            HostStep::Part { guest, range, answer } => self.send_piece(guest, range, &answer.0),
            HostStep::Room(guest) => self.wake_forward(guest),
            HostStep::PassOn { owner, calls, hops } => self.demand(owner, calls, hops),
            HostStep::Give { worker, guest, left, question } => {
                self.give(now, &pool, worker, (guest, left, question));
                return true;
            }
            HostStep::Release(worker) => {
                pool.release(now, worker);
                return true;
            }
            HostStep::Leave(call) => pool.guest_left(call),
            HostStep::Listen(true) if self.demands.get().is_none() => {
                let subject = self.subjects.demand(&self.name, self.seal);
                self.demands.set(Some(self.link.subscribe(subject, Some("hosts"))));
            }
            HostStep::Listen(true) => {}
            HostStep::Listen(false) => {
                if let Some(sid) = self.demands.take() {
                    self.link.unsubscribe(sid);
                }
            }
        }
        false
    }

    /// Gives a reserved worker a call that was granted. A question that could forge the framing is not
    /// asked, whatever its owner found.
    fn give(
        &self,
        now: Instant,
        pool: &Rc<Pool>,
        worker: WorkerId,
        (name, left, question): (GuestName, Duration, Option<Question>),
    ) {
        let limit = pool.message_max() as u64;
        let question = question.ok_or(Failure::BodyTooLarge { limit });
        let question = question.and_then(|question| match pool.refusal(&question) {
            Some(failure) => Err(failure),
            None => Ok(question),
        });
        let guest = match question {
            Ok(question) => Guest { name, question, left },
            Err(failure) => {
                pool.release(now, worker);
                let timing = Timing::default();
                let (end, size) =
                    told(GuestOutcome { result: Err(failure), timing, blamed: false });
                return self.host.borrow_mut().ended(now, name, end, size);
            }
        };
        match pool.take_guest(now, worker, guest, Arc::clone(&self.route)) {
            Some(call) => self.host.borrow_mut().begun(name, call),
            None => self.host.borrow_mut().refused(now, name),
        }
    }
}
