//! One pool among those of other servers: carries out what the machines of owner and host decide.
//!
//! A machine is never borrowed while its steps are carried out, because a step may settle the books,
//! and what they decide comes back here.

mod elsewhere;

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::Notify;

use self::elsewhere::end_of;
use super::few::Few;
use super::host::{GuestEnd, HostDesk, HostStep};
use super::link::NatsLink;
use super::message::{
    Demand, Grant, GrantRefused, HostAnswer, HostMessage, Hungry, LINE_MAX, Leave, NextClaim,
    Nothing, Out, Ping, Pong, SeatClaim,
};
use super::node::Seal;
use super::owner::{OwnerDesk, OwnerStep};
use super::said::{ToHost, ToOwner};
use super::subject::Subjects;
use super::told::{HostTold, ToldAnswer, out_of, result_of};
use crate::base::{CallId, Failure, HostTag, NodeId, Question, RunId, WorkerId};
use crate::observe::metrics::{AwayEnd, ClaimEnd, Metrics, RouteMetrics, SharedPoolMetrics};
use crate::pool::away::AwayLoss;
use crate::pool::{Guest, GuestName, Pool};

/// The route under which the calls of other servers are counted.
const ROUTE: &str = "spread";
/// The longest time that an owner may give a host for a call.
const LEFT_MOST: Duration = Duration::from_hours(24 * 30);

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
    link: Rc<NatsLink>,
    subjects: Rc<Subjects>,
    owner: RefCell<OwnerDesk>,
    host: RefCell<HostDesk<HostTold>>,
    route: Arc<RouteMetrics>,
    pub(super) counts: Arc<SharedPoolMetrics>,
    /// What was just heard, for the steps that follow from it.
    heard: RefCell<Option<JustHeard>>,
    demands: Cell<Option<u64>>,
    /// It hears what it is given: it had workers when it joined.
    hosts: Cell<bool>,
    /// Something may be due sooner than it was.
    pub(super) sooner: Notify,
    waits_until: Cell<Option<Instant>>,
}

/// What was just heard.
#[derive(Debug)]
enum JustHeard {
    Answer { out: Out, body: Bytes, work: Duration, blamed: bool },
    Question(Question),
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
        let name = pool.name();
        let route = Arc::new(metrics.route(ROUTE, Some(&name)));
        let counts = metrics.spread().pool(&name);
        let seal = Seal::of_pool(&name, &facts);
        Rc::new(Self {
            node,
            name,
            seal,
            facts,
            pool: Rc::downgrade(pool),
            link,
            subjects,
            owner: RefCell::new(owner),
            host: RefCell::new(host),
            route,
            counts,
            heard: RefCell::default(),
            demands: Cell::default(),
            hosts: Cell::default(),
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
    pub(super) fn hear(&self, payload: &Bytes) {
        let Ok((message, body)) = HostMessage::decode(payload) else {
            return self.counts.strange();
        };
        match message {
            HostMessage::Demand(Demand { owner, calls, hops }) => {
                self.event(|now, _, host| host.demand(now, owner, calls as usize, hops));
            }
            HostMessage::Hungry(Hungry { owner, age_ms }) => {
                let age = Duration::from_millis(age_ms);
                self.event(|now, _, host| host.hungry(now, owner, age));
            }
            HostMessage::Claim(SeatClaim { host, claim, .. }) => {
                self.tell_owner(host, ToOwner::Claim { claim });
            }
            HostMessage::Answer(answer) => self.hear_answer(answer, body),
            HostMessage::NotBegun(GrantRefused { host, run }) => {
                self.tell_owner(host, ToOwner::NotBegun { run });
            }
            HostMessage::Pong(Pong { host, ping, unknown, alone }) => {
                self.tell_owner(host, ToOwner::Pong { ping, unknown: unknown.0, alone });
            }
            HostMessage::Grant(grant) => self.hear_grant(grant, body),
            HostMessage::Nothing(Nothing { owner, claim }) => {
                self.tell_host(owner, ToHost::Nothing { claim });
            }
            HostMessage::Leave(Leave { from, run }) => self.tell_host(from, ToHost::Leave { run }),
            HostMessage::Ping(Ping { owner, ping, holds, partial }) => {
                self.tell_host(owner, ToHost::Ping { ping, holds: holds.0, is_whole: !partial });
            }
            HostMessage::Part(_) | HostMessage::More(_) | HostMessage::Beat(_) => {
                self.counts.strange();
            }
        }
    }

    fn tell_owner(&self, host: NodeId, said: ToOwner) {
        self.event(|now, owner, _| owner.hear(now, host, said));
    }

    fn tell_host(&self, owner: NodeId, said: ToHost) {
        self.event(|now, _, host| host.hear(now, owner, said));
    }

    fn hear_answer(&self, answer: HostAnswer, body: Bytes) {
        let HostAnswer { host, run, out, work_us, claim, blamed, len, .. } = answer;
        if len != Some(body.len() as u64) {
            return self.counts.strange();
        }
        let work = Duration::from_micros(work_us);
        *self.heard.borrow_mut() = Some(JustHeard::Answer { out, body, work, blamed });
        let claim = claim.map(|next| next.claim);
        self.tell_owner(host, ToOwner::Answer { run, claim, parts: 0 });
    }

    fn hear_grant(&self, grant: Grant, body: Bytes) {
        let Grant { owner, claim, run, left_ms, nonce, len, ping } = grant;
        if len != body.len() as u64 {
            return self.counts.strange();
        }
        let nonce = nonce.map(Bytes::from);
        let question = Question { nonce, ..Question::plain(body) };
        *self.heard.borrow_mut() = Some(JustHeard::Question(question));
        let left = Duration::from_millis(left_ms).min(LEFT_MOST);
        self.tell_host(owner, ToHost::Grant { claim, run, left, ping });
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
                self.owner.borrow_mut().granted(now, host, claim, granted);
                return true;
            }
            OwnerStep::Tell { host, what } => self.send_to_host(&pool, host, what),
            OwnerStep::Take { host, run } => {
                self.take(now, &pool, (host, run));
                return true;
            }
            OwnerStep::TakePart { .. } => {}
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
    fn take(&self, now: Instant, pool: &Pool, name: GuestName) {
        let Some(JustHeard::Answer { out, body, work, blamed }) = self.heard.take() else { return };
        match result_of(out, body) {
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

    fn send_to_host(&self, pool: &Pool, host: NodeId, what: ToHost) {
        let owner = self.node;
        let (message, body) = match what {
            ToHost::Grant { claim, run, left, ping } => {
                let Some(question) = pool.question(CallId(run.call)) else { return };
                let nonce = question.nonce.as_deref().map(String::from_utf8_lossy);
                let grant = Grant {
                    owner,
                    claim,
                    run,
                    left_ms: left.as_millis() as u64,
                    nonce: nonce.map(std::borrow::Cow::into_owned),
                    len: question.text.len() as u64,
                    ping,
                };
                (HostMessage::Grant(grant), question.text)
            }
            ToHost::Nothing { claim } => {
                (HostMessage::Nothing(Nothing { owner, claim }), Bytes::new())
            }
            ToHost::Leave { run } => (HostMessage::Leave(Leave { from: owner, run }), Bytes::new()),
            ToHost::Ping { ping, holds, is_whole } => {
                let holds: Few<RunId, _> = holds.into_iter().collect();
                (HostMessage::Ping(Ping { owner, ping, holds, partial: !is_whole }), Bytes::new())
            }
        };
        let encoded = message.encode(&body);
        if let (HostMessage::Grant(Grant { run, .. }), Some(limit)) =
            (&message, self.excess(&encoded))
        {
            let (now, too_large) = (Instant::now(), Failure::BodyTooLarge { limit: limit as u64 });
            pool.answered_elsewhere(now, (host, *run), Duration::ZERO, Err(too_large));
            return self.owner.borrow_mut().called_back(host, *run, true);
        }
        let unheard = self.subjects.unheard(owner, host);
        self.link.send(&self.subjects.host(host), Some(&unheard), &encoded);
    }

    /// Returns how many bytes a message may have, if this one has more. The NATS server would end the
    /// connection for it.
    fn excess(&self, message: &Bytes) -> Option<usize> {
        let limit = self.link.max_payload();
        (message.len() > limit).then_some(limit)
    }

    fn do_for_host(&self, now: Instant, step: HostStep<HostTold>) -> bool {
        let Some(pool) = self.pool() else { return false };
        match step {
            HostStep::Tell { owner, what } => self.send_to_owner(owner, what),
            HostStep::Answer { guest, claim, answer, parts: _ } => {
                if claim.is_some() {
                    self.counts.claimed(ClaimEnd::Sent);
                }
                self.send_answer(guest, claim, &answer.0);
            }
            HostStep::PassOn { owner, calls, hops } => self.demand(owner, calls, hops),
            HostStep::Give { worker, guest, left } => {
                self.give(now, &pool, worker, guest, left);
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

    /// Gives a reserved worker the call that was just granted. A question that could forge the framing
    /// is not asked, whatever its owner found.
    fn give(
        &self,
        now: Instant,
        pool: &Rc<Pool>,
        worker: WorkerId,
        name: GuestName,
        left: Duration,
    ) {
        let Some(JustHeard::Question(question)) = self.heard.take() else {
            pool.release(now, worker);
            return self.host.borrow_mut().refused(now, name);
        };
        if let Some(failure) = pool.refusal(&question) {
            pool.release(now, worker);
            let (out, body) = out_of(Err(failure));
            let told = ToldAnswer { out, body, queue_us: 0, work_us: 0, blamed: false };
            let end = GuestEnd::Answer(HostTold(Rc::new(told)));
            return self.host.borrow_mut().ended(now, name, end, 0);
        }
        let guest = Guest { name, question, left };
        match pool.take_guest(now, worker, guest, Arc::clone(&self.route)) {
            Some(call) => self.host.borrow_mut().begun(name, call),
            None => self.host.borrow_mut().refused(now, name),
        }
    }

    fn send_to_owner(&self, owner: NodeId, what: ToOwner) {
        let host = self.node;
        let message = match what {
            ToOwner::Claim { claim } => {
                self.counts.claimed(ClaimEnd::Sent);
                HostMessage::Claim(SeatClaim { host, claim, seats: 0 })
            }
            ToOwner::NotBegun { run } => HostMessage::NotBegun(GrantRefused { host, run }),
            ToOwner::Pong { ping, unknown, alone } => {
                let unknown: Few<RunId, _> = unknown.into_iter().collect();
                HostMessage::Pong(Pong { host, ping, unknown, alone })
            }
            // Sent with what they are about.
            ToOwner::Answer { .. } | ToOwner::Part { .. } => return,
        };
        self.link.send(&self.subjects.owner(owner), None, &message.encode(b""));
    }

    fn send_answer(&self, (owner, run): GuestName, claim: Option<u64>, told: &ToldAnswer) {
        let answer = HostAnswer {
            host: self.node,
            run,
            out: told.out.clone(),
            len: Some(told.body.len() as u64),
            queue_us: told.queue_us,
            work_us: told.work_us,
            blamed: told.blamed,
            claim: claim.map(|claim| NextClaim { claim, seats: 0 }),
        };
        let message = HostMessage::Answer(answer.clone()).encode(&told.body);
        let line = message.len() - told.body.len();
        let excess = self.excess(&message).or((line > LINE_MAX).then_some(LINE_MAX));
        let message = match excess {
            None => message,
            Some(limit) => {
                let detail = format!(
                    "it has {} bytes, and at most {limit} go from host to host",
                    line + told.body.len()
                );
                let out = Out::Failed(Failure::BadAnswer { detail: detail.into() });
                HostMessage::Answer(HostAnswer { out, len: Some(0), ..answer }).encode(b"")
            }
        };
        self.link.send(&self.subjects.owner(owner), None, &message);
    }
}
