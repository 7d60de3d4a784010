//! This server among the others: one connection, a desk for each pool that is shared, and who else is
//! there.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::Notify;

use super::desk::{DeskRole, PoolDesk};
use super::few::Few;
use super::hosts::{OtherNodes, OtherPool};
use super::kept::KEPT_FOR;
use super::link::{LinkReport, LinkUser, NatsLink};
use super::message::{Beat, BeatPool, HostMessage, TRIAL};
use super::node::facts_of;
use super::subject::Subjects;
use crate::base::NodeId;
use crate::config::SpreadSettings;
use crate::observe::metrics::Metrics;
use crate::pool::Pool;

/// How often a node says that it is there.
const BEAT_EVERY: Duration = Duration::from_secs(1);
/// How often the workers of others are counted, at most: each time all of them are looked at.
const COUNT_EVERY: Duration = Duration::from_millis(100);
/// How often it is looked whether a drain is over.
const DRAIN_LOOK: Duration = Duration::from_millis(20);

/// This server among the others. It lives on one thread.
#[derive(Debug)]
pub struct Cluster {
    node: NodeId,
    machine: String,
    link: Rc<NatsLink>,
    subjects: Rc<Subjects>,
    desks: RefCell<BTreeMap<NodeId, DeskPlace>>,
    /// For which desk a subscription is.
    ears: RefCell<BTreeMap<u64, Ear>>,
    others: RefCell<OtherNodes>,
    /// The workers of others are to be counted.
    news: Notify,
    /// It was logged that others do not see all pools of this server.
    has_told: Cell<bool>,
    hosts_sid: Cell<u64>,
    metrics: Arc<Metrics>,
    is_draining: Cell<bool>,
    /// Callers can connect here, so there are calls that may go elsewhere.
    has_callers: bool,
}

/// A desk with its subscriptions, besides that to demands.
#[derive(Debug)]
struct DeskPlace {
    desk: Rc<PoolDesk>,
    sids: Vec<u64>,
}

/// For whom a message is.
#[derive(Clone, Copy, Debug)]
enum Ear {
    Desk(NodeId, DeskRole),
    Unheard(NodeId),
}

/// One other node, for operators.
#[derive(Clone, Debug)]
pub struct OtherHost {
    /// The node.
    pub node: NodeId,
    /// What its machine is called.
    pub machine: String,
    /// It takes no further calls.
    pub draining: bool,
    /// How long ago it was heard.
    pub heard: Duration,
    /// Its pools.
    pub pools: Vec<OtherHostPool>,
}

/// One pool of another node, for operators.
#[derive(Clone, Debug)]
pub struct OtherHostPool {
    /// The name after `pool.`.
    pub name: String,
    /// Its workers that are ready or busy.
    pub workers: u32,
    /// Those that are busy.
    pub busy: u32,
    /// It shares calls with this server.
    pub shares: bool,
    /// The keys in which it differs from the pool of this name here.
    pub differs: Vec<String>,
}

impl Cluster {
    /// Connects, and says every second that it is there. Ends with the runtime. `has_callers`: calls may
    /// come to this server itself.
    pub fn start(settings: &SpreadSettings, has_callers: bool, metrics: Arc<Metrics>) -> Rc<Self> {
        let machine = machine();
        let link = NatsLink::new(settings.clone(), format!("httpipe {machine}"));
        let subjects = Rc::new(Subjects::of(&settings.name));
        let hosts_sid = link.subscribe(subjects.hosts(), None);
        let cluster = Rc::new(Self {
            node: NodeId(fastrand::u128(..)),
            machine,
            link,
            subjects,
            desks: RefCell::default(),
            ears: RefCell::default(),
            others: RefCell::default(),
            news: Notify::new(),
            has_told: Cell::default(),
            hosts_sid: Cell::new(hosts_sid),
            metrics,
            is_draining: Cell::default(),
            has_callers,
        });
        // Not on the tracker: it would keep the server from ending.
        let [run, beat, count] = [(); 3].map(|()| Rc::clone(&cluster));
        Self::spawn(async move { run.link.run(&*run).await });
        Self::spawn(async move { beat.keep_beating().await });
        Self::spawn(async move { count.keep_counting().await });
        cluster
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "it runs until the runtime ends, and no stop waits for it"
    )]
    fn spawn(task: impl Future<Output = ()> + 'static) {
        drop(tokio::task::spawn_local(task));
    }

    /// Shares the calls of this pool from now on, if its settings say so.
    pub fn join(self: &Rc<Self>, pool: &Rc<Pool>) {
        let settings = pool.settings();
        let Some(facts) = &settings.program.spread else { return };
        let facts = facts_of(facts);
        let both = (Rc::clone(&self.link), Rc::clone(&self.subjects));
        let desk = PoolDesk::new(pool, facts, both, (self.node.tag(), &self.metrics));
        let (link, subjects) = (&self.link, &self.subjects);
        let mut ears = Vec::new();
        // Each role needs its own permissions, so nothing is subscribed to in vain.
        if self.has_callers {
            ears.push((
                link.subscribe(subjects.owner(desk.node), None),
                Ear::Desk(desk.node, DeskRole::Owner),
            ));
            let unheard = link.subscribe(subjects.all_unheard(desk.node), None);
            ears.push((unheard, Ear::Unheard(desk.node)));
        }
        if settings.rules.workers_most > 0 {
            ears.push((
                link.subscribe(subjects.host(desk.node), None),
                Ear::Desk(desk.node, DeskRole::Host),
            ));
            desk.can_host();
            let hungry = link.subscribe(subjects.hungry(&desk.name, desk.seal), None);
            ears.push((hungry, Ear::Desk(desk.node, DeskRole::Host)));
        }
        let sids = ears.iter().map(|(sid, _)| *sid).collect();
        self.ears.borrow_mut().extend(ears);
        self.desks.borrow_mut().insert(desk.node, DeskPlace { desk: Rc::clone(&desk), sids });
        pool.spread(Rc::<PoolDesk>::clone(&desk));
        self.count_slots();
        if self.is_draining.get() {
            desk.drain();
        }
        let cluster = Rc::clone(self);
        Self::spawn(async move { cluster.keep_time(desk).await });
    }

    /// Ticks a desk as long as its pool exists.
    async fn keep_time(&self, desk: Rc<PoolDesk>) {
        while desk.pool().is_some() {
            let due = desk.next_deadline();
            desk.will_tick(due);
            // A pool that has gone is noticed at the next look.
            let at = due.unwrap_or_else(|| Instant::now() + BEAT_EVERY);
            tokio::select! {
                () = tokio::time::sleep_until(at.into()) => {}
                () = desk.sooner.notified() => continue,
            }
            desk.tick();
        }
        let place = self.desks.borrow_mut().remove(&desk.node);
        for sid in place.into_iter().flat_map(|place| place.sids) {
            self.link.unsubscribe(sid);
            self.ears.borrow_mut().remove(&sid);
        }
        if let Some(sid) = desk.stop_listening() {
            self.link.unsubscribe(sid);
        }
    }

    /// A pool that a reload has replaced takes no more calls of other servers.
    pub fn leave(&self, pool: &Pool) {
        for desk in self.desks_of(pool) {
            desk.is_replaced.set(true);
            desk.drain();
        }
        self.beat();
    }

    /// Waits until other servers know how their calls in such a pool have ended, or cannot be told for
    /// as long as that is kept, or the pool ends.
    pub async fn has_left(&self, pool: &Pool) {
        let desks = self.desks_of(pool);
        let mut connected = Instant::now();
        while !pool.is_ending() && desks.iter().any(|desk| !desk.is_empty()) {
            if self.link.is_connected() {
                connected = Instant::now();
            } else if connected.elapsed() > KEPT_FOR {
                return;
            }
            tokio::time::sleep(DRAIN_LOOK).await;
        }
    }

    fn desks_of(&self, pool: &Pool) -> Vec<Rc<PoolDesk>> {
        let is_its =
            |desk: &Rc<PoolDesk>| desk.pool().is_some_and(|it| std::ptr::eq(Rc::as_ptr(&it), pool));
        self.all_desks().into_iter().filter(is_its).collect()
    }

    fn all_desks(&self) -> Vec<Rc<PoolDesk>> {
        self.desks.borrow().values().map(|place| Rc::clone(&place.desk)).collect()
    }

    async fn keep_beating(&self) {
        loop {
            self.beat();
            tokio::time::sleep(BEAT_EVERY).await;
            if self.others.borrow_mut().forget_silent(Instant::now()) {
                self.count_slots();
            }
        }
    }

    async fn keep_counting(&self) {
        loop {
            self.news.notified().await;
            self.count_slots();
            tokio::time::sleep(COUNT_EVERY).await;
        }
    }

    /// Says that this server is there.
    fn beat(&self) {
        let serving = self.all_desks().into_iter().filter(|desk| !desk.is_replaced.get());
        let pools = serving.filter_map(|desk| {
            let counts = desk.pool()?.worker_counts();
            Some(BeatPool {
                name: desk.name.clone(),
                node: desk.node,
                seal: desk.seal,
                facts: Few(desk.facts.clone()),
                workers: u32::try_from(counts.ready + counts.busy).unwrap_or(u32::MAX),
                busy: u32::try_from(counts.busy).unwrap_or(u32::MAX),
            })
        });
        let beat = Beat {
            node: self.node,
            machine: self.machine.clone(),
            draining: self.is_draining.get(),
            pools: pools.collect(),
            cut: None,
        };
        if !self.link.is_connected() {
            return;
        }
        let messages = beat.messages(self.link.max_payload());
        if messages.is_none() && !self.has_told.replace(true) {
            let max_payload = self.link.max_payload();
            let hint = "raise `max_payload` in the configuration of NATS";
            tracing::error!(
                max_payload,
                hint,
                "this server is too large a message: no host sees it"
            );
        }
        for message in messages.into_iter().flatten() {
            self.link.send(&self.subjects.hosts(), None, &message);
        }
    }

    /// Brings the gauges of the shared pools up to date.
    pub fn refresh_gauges(&self) {
        let mut away = BTreeMap::<String, usize>::new();
        for desk in self.all_desks() {
            let counts = desk.pool().and_then(|pool| pool.elsewhere_counts());
            *away.entry(desk.name.clone()).or_default() += counts.map_or(0, |(_, calls)| calls);
        }
        for (pool, calls) in away {
            self.metrics.spread().pool(&pool).away(calls);
        }
    }

    /// Tells the pools how many calls others can take.
    fn count_slots(&self) {
        for desk in self.all_desks() {
            let (hosts, slots) = self.others.borrow().workers_for(&desk.name, desk.seal);
            desk.counts.hosts(hosts);
            if let Some(pool) = desk.pool() {
                pool.slots_elsewhere(slots);
            }
        }
    }

    /// Claims no further calls. What is here is finished.
    pub fn drain(&self) {
        if !self.is_draining.replace(true) {
            self.all_desks().iter().for_each(|desk| desk.drain());
            self.beat();
        }
    }

    /// Waits until no call of another server is here, and all that was to be told is sent.
    pub async fn becomes_empty(&self) {
        // Who is cut off cannot tell anything.
        while self.link.is_connected() && self.all_desks().iter().any(|desk| !desk.is_empty()) {
            tokio::time::sleep(DRAIN_LOOK).await;
        }
        self.link.flush().await;
    }

    /// Returns what operators are told of the connection.
    pub fn report(&self) -> LinkReport {
        self.link.report()
    }

    /// Returns the other nodes.
    pub fn others(&self) -> Vec<OtherHost> {
        let now = Instant::now();
        let desks = self.all_desks();
        let others = self.others.borrow();
        let all = others.all().map(|(heard, beat)| OtherHost {
            node: beat.node,
            machine: beat.machine.clone(),
            draining: beat.draining,
            heard: now.saturating_duration_since(heard),
            pools: beat
                .pools
                .0
                .iter()
                .map(|pool| {
                    let mut ours = desks.iter().filter(|desk| desk.name == pool.name);
                    let shares = ours.clone().any(|desk| desk.seal == pool.seal);
                    let differs = ours.next().filter(|_| !shares).map(|desk| {
                        let theirs = OtherPool { beat, pool };
                        theirs.differs_in(&desk.facts).into_iter().map(str::to_owned).collect()
                    });
                    OtherHostPool {
                        name: pool.name.clone(),
                        workers: pool.workers,
                        busy: pool.busy,
                        shares,
                        differs: differs.unwrap_or_default(),
                    }
                })
                .collect(),
        });
        all.collect()
    }
}

impl LinkUser for Cluster {
    fn connected(&self) {
        self.metrics.spread().connected(true);
        self.all_desks().iter().for_each(|desk| desk.connected(true));
        self.beat();
    }

    fn cut(&self) {
        self.metrics.spread().connected(false);
        self.others.borrow_mut().forget_all();
        self.all_desks().iter().for_each(|desk| desk.connected(false));
        self.count_slots();
    }

    fn resized(&self) {
        self.all_desks().iter().for_each(|desk| desk.resized());
    }

    fn heard(&self, sid: u64, subject: &str, payload: Option<&Bytes>) {
        if sid == self.hosts_sid.get() {
            if let Some(payload) = payload {
                self.heard_beat(payload);
            }
            return;
        }
        let ear = self.ears.borrow().get(&sid).copied();
        let find = |node| self.desks.borrow().get(&node).map(|place| Rc::clone(&place.desk));
        match (ear, payload) {
            (Some(Ear::Desk(node, role)), Some(payload)) => {
                if let Some(desk) = find(node) {
                    desk.hear(role, payload);
                }
            }
            (Some(Ear::Unheard(node)), None) => {
                if let (Some(desk), Some(host)) = (find(node), self.subjects.host_unheard(subject))
                {
                    desk.unheard(host);
                }
            }
            // The subscriptions to demands come and go with free workers.
            (None, Some(payload)) => {
                let desk = self.all_desks().into_iter().find(|desk| desk.listens_by(sid));
                if let Some(desk) = desk {
                    desk.hear(DeskRole::Host, payload);
                }
            }
            (Some(Ear::Desk(..)) | None, None) | (Some(Ear::Unheard(_)), Some(_)) => {}
        }
    }
}

impl Cluster {
    fn heard_beat(&self, payload: &Bytes) {
        let Ok((HostMessage::Beat(beat), _)) = HostMessage::decode(payload) else {
            if &payload[..] != TRIAL {
                self.all_desks().iter().for_each(|desk| desk.counts.strange());
            }
            return;
        };
        if beat.node != self.node && self.others.borrow_mut().heard(Instant::now(), beat) {
            self.news.notify_one();
        }
    }
}

/// What this machine is called.
fn machine() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    name.chars().take(64).collect()
}
