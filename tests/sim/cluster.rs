//! Servers that share a pool, and the network between them: the real books and desks, with workers,
//! callers and messages that are made up.

mod bodies;
mod desks;
mod network;
mod workers;

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fastrand::Rng;
use httpipe::testing::base::{CallId, Failure, NodeId, RunId, Tenant, WorkerId};
use httpipe::testing::policy::Fingerprint;
use httpipe::testing::pool::actions::NewCall;
use httpipe::testing::pool::rules::Rules;
use httpipe::testing::pool::state::State;
use httpipe::testing::spread::{GuestId, HostDesk, OwnerDesk, Seating, ToHost, ToOwner};

use self::bodies::{SIZES, Stream};
use super::model::{Checked, Serial, ensure};

/// The whole books are checked once in so many events, and after each in a replay.
const SPARSE: u64 = 8;

/// The place of a server among all that ever were.
pub(super) type At = usize;

/// What the books keep with each call.
#[derive(Clone, Debug)]
pub(super) struct Item {
    serial: Serial,
    guest: Option<GuestId>,
}

/// One call as its caller and the workers see it.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) owner: At,
    pub(super) idempotent: bool,
    /// How many parts its answer has; 0: it comes as a whole.
    pub(super) parts: u64,
    /// How many bytes its question and its answer have.
    pub(super) sizes: (usize, usize),
    pub(super) asked: Instant,
    /// How often a worker read it.
    pub(super) runs: u32,
    /// What its caller was told, and when.
    pub(super) told: Vec<(Instant, Told)>,
    pub(super) has_left: bool,
    /// A part of its answer has reached its caller, ...
    pub(super) has_begun: bool,
    /// ... and how many have.
    parts_heard: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Answer,
    Failed(&'static str),
}

/// How a call has ended at its host.
#[derive(Clone, Debug)]
enum End {
    Good(Bytes),
    Lost { exit: std::sync::Arc<str>, blamed: bool },
    Failed(Failure),
}

#[derive(Clone, Debug)]
enum Letter {
    Demand { owner: NodeId, calls: usize, hops: u32 },
    Hungry { owner: NodeId, age: Duration },
    ToHost { from: At, to: NodeId, what: ToHost },
    ToOwner { from: At, to: NodeId, what: ToOwner, end: Option<End> },
}

#[derive(Clone, Debug)]
enum Event {
    Started(At, WorkerId),
    /// The next part of an answer, or its end.
    Works(At, WorkerId, CallId, u64),
    Crash(At, WorkerId),
    Deliver(At, Box<Letter>),
    Unheard(At, NodeId),
    Connected(At, bool),
    /// A caller has read what came of an answer.
    Took(At, NodeId, RunId),
}

/// One server.
#[expect(clippy::struct_excessive_bools, reason = "each is known for itself")]
pub(super) struct Node {
    pub(super) id: NodeId,
    pub(super) state: State<Item>,
    pub(super) owner: OwnerDesk,
    pub(super) host: HostDesk<EndOf>,
    pub(super) is_alive: bool,
    pub(super) is_draining: bool,
    /// It has no connection, whether it has noticed or not.
    pub(super) is_cut: bool,
    listens: bool,
    /// What the message that is heard has with it.
    end: Option<End>,
    /// The answers that go to other servers in parts.
    streams: BTreeMap<GuestId, Stream>,
    /// The call that each worker works on.
    working: BTreeMap<WorkerId, (CallId, Serial)>,
    /// Since when a worker is free.
    pub(super) free_since: Option<Instant>,
}

/// What a host tells of a call that has ended.
#[derive(Clone, Debug)]
pub(super) struct EndOf(End);

/// What the network does. Chances are from 0 to 1.
#[derive(Clone, Debug)]
pub(super) struct Net {
    pub(super) loses: f64,
    pub(super) copies: f64,
    pub(super) delays: f64,
    /// Least and most microseconds.
    pub(super) delay: (u64, u64),
    /// From which server no message gets to which.
    pub(super) cuts: Vec<(At, At)>,
    /// The next message of this kind is lost.
    pub(super) next: Option<Loses>,
}

/// A message that is lost once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loses {
    Grant,
    Answer,
    NotBegun,
}

/// How workers behave.
#[derive(Clone, Debug)]
pub(super) struct Habits {
    pub(super) crashes: f64,
    pub(super) hangs: f64,
    /// Least and most microseconds of a call.
    pub(super) service: (u64, u64),
    /// How often a caller takes its time to read.
    pub(super) slow_readers: f64,
}

pub(super) struct Cluster {
    pub(super) rng: Rng,
    pub(super) now: Instant,
    began: Instant,
    pub(super) nodes: Vec<Node>,
    pub(super) asks: Vec<Ask>,
    pub(super) net: Net,
    pub(super) habits: Habits,
    events: BTreeMap<(Instant, u64), Event>,
    scheduled: u64,
    /// When the last message of one server reaches another.
    order: HashMap<(At, At), Instant>,
    /// When a server died, was cut off, or came back last.
    pub(super) calm_since: Instant,
    pub(super) is_traced: bool,
    pub(super) steps: u64,
}

pub(super) fn quiet() -> Net {
    Net { loses: 0.0, copies: 0.0, delays: 0.0, delay: (100, 300), cuts: Vec::new(), next: None }
}

pub(super) fn micros(rng: &mut Rng, (least, most): (u64, u64)) -> Duration {
    Duration::from_micros(rng.u64(least..=most))
}

impl Cluster {
    pub(super) fn new(seed: u64, is_traced: bool) -> Self {
        let now = Instant::now();
        Self {
            rng: Rng::with_seed(seed),
            now,
            began: now,
            nodes: Vec::new(),
            asks: Vec::new(),
            net: quiet(),
            habits: Habits {
                crashes: 0.0,
                hangs: 0.0,
                service: (1_000, 20_000),
                slow_readers: 0.0,
            },
            events: BTreeMap::new(),
            scheduled: 0,
            order: HashMap::new(),
            calm_since: now,
            is_traced,
            steps: 0,
        }
    }

    pub(super) fn trace(&self, what: impl FnOnce() -> String) {
        if self.is_traced {
            let at = self.now.duration_since(self.began).as_micros();
            eprintln!("{:>5} {at:>10} {}", self.steps, what());
        }
    }

    /// Starts a server.
    pub(super) fn add(&mut self, rules: Rules) -> Result<At, String> {
        let id = NodeId(self.rng.u128(..));
        let question = |item: &Item| Fingerprint(item.serial as u64);
        let mut state = State::new(rules, self.rng.u64(..), question);
        state.spread(self.now, |_| true);
        let (mut owner, mut host) = (OwnerDesk::new(), HostDesk::new(id));
        owner.carries(SIZES);
        host.carries(self.now, SIZES);
        self.nodes.push(Node {
            id,
            state,
            owner,
            host,
            is_alive: true,
            is_draining: false,
            is_cut: false,
            listens: false,
            end: None,
            streams: BTreeMap::new(),
            working: BTreeMap::new(),
            free_since: None,
        });
        let at = self.nodes.len() - 1;
        self.settle(at)?;
        Ok(at)
    }

    fn after(&mut self, delay: Duration, event: Event) {
        self.scheduled += 1;
        self.events.insert((self.now + delay, self.scheduled), event);
    }

    fn draw(&mut self, chance: f64) -> bool {
        chance > 0.0 && self.rng.f64() < chance
    }

    /// A caller asks a server. The answer has so many parts.
    pub(super) fn ask(&mut self, at: At, idempotent: bool, parts: u64) -> Result<Serial, String> {
        self.ask_much(at, idempotent, parts, (0, 0))
    }

    /// As [`Cluster::ask`], with these sizes of question and answer.
    pub(super) fn ask_much(
        &mut self,
        at: At,
        idempotent: bool,
        parts: u64,
        sizes: (usize, usize),
    ) -> Result<Serial, String> {
        let serial = self.asks.len();
        self.trace(|| format!("{at}: call {serial} arrives, {idempotent} {parts}"));
        self.asks.push(Ask {
            owner: at,
            idempotent,
            parts,
            sizes,
            asked: self.now,
            runs: 0,
            told: Vec::new(),
            has_left: false,
            has_begun: false,
            parts_heard: 0,
        });
        let call = NewCall {
            payload: Item { serial, guest: None },
            bytes: 10,
            idempotent,
            caller_deadline: None,
            tenant: Tenant::ANONYMOUS,
            timeout: None,
        };
        if let Err((_, failure)) = self.nodes[at].state.arrive(self.now, call) {
            self.tell(serial, Told::Failed(failure.code().as_str()))?;
        }
        self.settle(at)?;
        Ok(serial)
    }

    fn tell(&mut self, serial: Serial, told: Told) -> Checked {
        self.trace(|| format!("   call {serial} is told {told:?}"));
        let now = self.now;
        let ask = &mut self.asks[serial];
        ask.told.push((now, told));
        let is_whole = told != Told::Answer || ask.parts == ask.parts_heard;
        ensure(is_whole, || format!("the answer to {serial} lacks parts"))?;
        ensure(ask.told.len() == 1, || format!("call {serial} is told {:?}", ask.told))
    }

    /// The caller of a call leaves.
    pub(super) fn leave(&mut self, serial: Serial) -> Checked {
        let at = self.asks[serial].owner;
        if !self.nodes[at].is_alive || !self.asks[serial].told.is_empty() {
            return Ok(());
        }
        self.trace(|| format!("{at}: the caller of {serial} leaves"));
        let state = &mut self.nodes[at].state;
        let call = state.newest(|item| item.guest.is_none() && item.serial == serial);
        if let Some(call) = call {
            self.asks[serial].has_left = true;
            state.caller_left(self.now, call);
        }
        self.settle(at)
    }

    /// A server dies, with its workers and its callers.
    pub(super) fn kill(&mut self, at: At) {
        self.trace(|| format!("{at}: dies"));
        self.nodes[at].is_alive = false;
        self.nodes[at].working.clear();
        self.nodes[at].streams.clear();
        self.calm_since = self.now;
        for ask in self.asks.iter_mut().filter(|ask| ask.owner == at) {
            ask.has_left = true;
        }
    }

    pub(super) fn drain(&mut self, at: At) -> Checked {
        self.trace(|| format!("{at}: drains"));
        self.nodes[at].is_draining = true;
        self.nodes[at].host.drain(self.now);
        self.settle(at)
    }

    /// A server loses its connection, or gets it back, and notices a moment later.
    pub(super) fn connect(&mut self, at: At, is_connected: bool, noticed_after: Duration) {
        self.trace(|| format!("{at}: connected {is_connected}"));
        self.nodes[at].is_cut = !is_connected;
        self.calm_since = self.now;
        self.after(noticed_after, Event::Connected(at, is_connected));
    }

    /// Returns true if a worker of a server has a call.
    pub(super) fn is_at_work(&self, at: At) -> bool {
        !self.nodes[at].working.is_empty()
    }

    /// A worker of a server dies, if one has a call.
    pub(super) fn crash(&mut self, at: At) -> Checked {
        let Some(worker) = self.nodes[at].working.keys().next().copied() else { return Ok(()) };
        self.lose(at, worker)
    }

    /// Time passes, and what is due happens.
    pub(super) fn pass(&mut self, time: Duration) -> Checked {
        let end = self.now + time;
        while self.next().is_some_and(|(at, _)| at <= end) {
            self.step()?;
        }
        self.now = end;
        Ok(())
    }

    /// The time of what happens next, and the server whose books it is in.
    fn next(&self) -> Option<(Instant, Option<At>)> {
        let event = self.events.keys().next().map(|(at, _)| (*at, None));
        let nodes = self.nodes.iter().enumerate().filter(|(_, node)| node.is_alive);
        let ticks = nodes.filter_map(|(at, node)| {
            let (books, desks) = (node.state.next_deadline(), node.owner.next_deadline());
            let next = [books, desks, node.host.next_deadline()].into_iter().flatten().min();
            Some((next?, Some(at)))
        });
        ticks.chain(event).min_by_key(|(at, _)| *at)
    }

    pub(super) fn step(&mut self) -> Checked {
        let Some((at, node)) = self.next() else { return Ok(()) };
        self.steps += 1;
        ensure(self.steps < 2_000_000, || "it never comes to rest".to_owned())?;
        self.now = self.now.max(at);
        if let Some(at) = node {
            let (now, node) = (self.now, &mut self.nodes[at]);
            let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
            if is_due(node.state.next_deadline()) {
                node.state.tick(now);
            }
            node.owner.tick(now);
            node.host.tick(now);
            return self.settle(at);
        }
        match self.events.pop_first() {
            Some((_, event)) => self.happen(event),
            None => Ok(()),
        }
    }

    fn happen(&mut self, event: Event) -> Checked {
        let (Event::Started(at, ..)
        | Event::Works(at, ..)
        | Event::Crash(at, _)
        | Event::Deliver(at, _)
        | Event::Unheard(at, _)
        | Event::Connected(at, _)
        | Event::Took(at, ..)) = event;
        if !self.nodes[at].is_alive {
            return Ok(());
        }
        let now = self.now;
        match event {
            Event::Started(_, worker) => self.nodes[at].state.ready(now, worker),
            Event::Works(_, worker, call, seq) => return self.work(at, worker, call, seq),
            Event::Crash(_, worker) => return self.lose(at, worker),
            Event::Deliver(_, letter) => self.deliver(at, *letter),
            Event::Unheard(_, host) if !self.nodes[at].is_cut => {
                self.nodes[at].owner.unheard(now, host);
            }
            Event::Unheard(..) => {}
            Event::Took(_, host, run) => self.nodes[at].owner.took(host, run),
            Event::Connected(_, is_connected) => {
                if self.nodes[at].is_cut == is_connected {
                    return Ok(());
                }
                self.nodes[at].owner.connected(now, is_connected);
                self.nodes[at].host.connected(now, is_connected);
            }
        }
        self.settle(at)
    }

    fn deliver(&mut self, at: At, letter: Letter) {
        self.trace(|| format!("{at}: hears {letter:?}"));
        let (now, node) = (self.now, &mut self.nodes[at]);
        match letter {
            Letter::Demand { owner, calls, hops } => node.host.demand(now, owner, calls, hops),
            Letter::Hungry { owner, age } => node.host.hungry(now, owner, age),
            Letter::ToHost { from, what, .. } => {
                let owner = self.nodes[from].id;
                self.nodes[at].host.hear(now, owner, what);
            }
            Letter::ToOwner { from, what, end, .. } => {
                node.end = end;
                let host = self.nodes[from].id;
                self.nodes[at].owner.hear(now, host, what);
            }
        }
    }

    /// Lets the books and desks of a server decide until nothing more follows.
    fn settle(&mut self, at: At) -> Checked {
        loop {
            let now = self.now;
            let node = &mut self.nodes[at];
            let (since, calls) = node.host.wants();
            node.state.want(since, calls);
            node.state.settle(now);
            let hunger = node.state.hunger(now);
            node.owner.hunger(now, hunger);
            let actions = node.state.take_actions();
            let mut is_settled = actions.is_empty();
            for action in actions {
                self.act(at, action)?;
            }
            if is_settled {
                let node = &mut self.nodes[at];
                let load = node.state.load();
                let (busy, workers) = (node.working.len(), load.workers as usize);
                let free = workers - (load.busy as usize).min(workers);
                node.free_since = node.free_since.or(Some(now)).filter(|_| free > 0);
                node.host.settled(now, Seating { free, busy });
            }
            let steps = self.nodes[at].owner.take_steps();
            is_settled &= steps.is_empty();
            for step in steps {
                self.do_owner(at, step)?;
            }
            let steps = self.nodes[at].host.take_steps();
            is_settled &= steps.is_empty();
            for step in steps {
                self.do_host(at, step)?;
            }
            if is_settled {
                let is_looked_at = self.is_traced || self.steps.is_multiple_of(SPARSE);
                return if is_looked_at { self.nodes[at].state.check() } else { Ok(()) };
            }
        }
    }
}
