//! Servers that share a pool, under seeds: messages are lost, copied, late and cut off; servers die,
//! come, drain and lose their connection; workers die and hang; callers leave.
//!
//! Whatever happens, each call is answered once, what may not run twice is read by one worker at
//! most, and what has begun to be answered is not begun again. Where nothing is lost, no call waits
//! while a worker is free. When all is quiet again, the books are empty.
//!
//! `SEED=S cargo test --test sim whatever_happens_among_servers` replays one seed with a trace.

use std::time::Duration;

use httpipe::testing::config::InFlight;
use httpipe::testing::pool::rules::Rules;

use super::cluster::{At, Cluster, Habits, Net, micros, quiet};
use super::model::{Checked, ensure};
use super::story::rules;

/// Calls of one seed.
const CALLS: usize = 60;
/// How long a call may wait while a worker is free, and both are connected: a claim that an owner
/// does not answer holds a worker for 250 ms, and then all hosts know who is hungry within 100.
const WAIT_MOST: Duration = Duration::from_millis(350);
/// What messages and timers add to that.
const SLACK: Duration = Duration::from_millis(10);

/// What happens besides the calls. Chances are for each call.
#[derive(Debug)]
struct Fate {
    dies: f64,
    comes: f64,
    drains: f64,
    cut_off: f64,
    one_way: f64,
    leaves: f64,
    idempotent: f64,
    streams: f64,
    large: f64,
    gap: (u64, u64),
}

struct Life {
    cluster: Cluster,
    fate: Fate,
    owners: Vec<At>,
    hosts: Vec<At>,
    is_lossless: bool,
}

fn sharing_rules(least: usize, most: usize, in_flight: InFlight) -> Rules {
    Rules {
        least,
        most,
        in_flight,
        timeout: Duration::from_secs(2),
        abandoned: Duration::from_millis(500),
        queue_wait: Duration::from_secs(3),
        ..rules()
    }
}

impl Life {
    fn new(seed: u64, is_traced: bool) -> Result<Self, String> {
        let mut cluster = Cluster::new(seed, is_traced);
        let rng = &mut cluster.rng;
        let often = [0.0, 0.0, 0.01, 0.05, 0.2];
        let mut chance = || if rng.bool() { 0.0 } else { often[rng.usize(..often.len())] };
        let net = Net {
            loses: chance(),
            copies: chance(),
            delays: chance(),
            delay: (100, [200, 2_000, 20_000][seed as usize % 3]),
            ..quiet()
        };
        let habits = Habits {
            crashes: chance(),
            hangs: chance() / 4.0,
            service: (100, 100),
            slow_readers: chance(),
        };
        let fate = Fate {
            dies: chance(),
            comes: 0.0,
            drains: chance() / 2.0,
            cut_off: chance(),
            one_way: chance(),
            leaves: chance(),
            idempotent: [0.0, 0.5, 1.0][rng.usize(..3)],
            streams: [0.0, 0.0, 0.3][rng.usize(..3)],
            large: [0.0, 0.1, 0.5][rng.usize(..3)],
            gap: (0, [1_000, 10_000, 100_000][rng.usize(..3)]),
        };
        let fate = Fate { comes: fate.dies + fate.drains, ..fate };
        let is_lossless = net.loses + net.copies + net.delays == 0.0;
        let service = [(100, 2_000), (1_000, 50_000), (10_000, 900_000)][rng.usize(..3)];
        cluster.habits = Habits { service, ..habits };
        cluster.net = net;
        if is_traced {
            eprintln!("{:?}\n{:?}\n{fate:?}", cluster.net, cluster.habits);
        }
        let mut life = Self { cluster, fate, owners: vec![], hosts: vec![], is_lossless };
        let (owners, hosts) = (life.cluster.rng.usize(2..=4), life.cluster.rng.usize(2..=5));
        (0..owners).try_for_each(|_| life.add_owner())?;
        (0..hosts).try_for_each(|_| life.add_host())?;
        Ok(life)
    }

    fn add_owner(&mut self) -> Checked {
        let most = self.cluster.rng.usize(..3);
        let rules = sharing_rules(most.min(1), most, InFlight::Fixed(1));
        let at = self.cluster.add(rules)?;
        self.owners.push(at);
        Ok(())
    }

    fn add_host(&mut self) -> Checked {
        let rng = &mut self.cluster.rng;
        let (least, more) = (rng.usize(1..=2), rng.usize(..=1));
        let in_flight = [InFlight::Fixed(1), InFlight::Fixed(2)][rng.usize(..2)];
        let at = self.cluster.add(sharing_rules(least, least + more, in_flight))?;
        self.hosts.push(at);
        Ok(())
    }

    fn happens(&mut self, chance: f64) -> bool {
        chance > 0.0 && self.cluster.rng.f64() < chance
    }

    /// One that lives.
    fn any(&mut self, of_all: bool) -> Option<At> {
        let owners = self.owners.iter().filter(|_| of_all);
        let alive = |at: &&At| self.cluster.nodes[**at].is_alive;
        let alive: Vec<At> = owners.chain(&self.hosts).filter(alive).copied().collect();
        (!alive.is_empty()).then(|| alive[self.cluster.rng.usize(..alive.len())])
    }

    fn live(&mut self) -> Checked {
        for _ in 0..CALLS {
            self.strike()?;
            let owners = self.owners.clone();
            let owner = owners[self.cluster.rng.usize(..owners.len())];
            if self.cluster.nodes[owner].is_alive {
                let idempotent = self.happens(self.fate.idempotent);
                let serial = if self.happens(self.fate.streams) {
                    let parts = self.cluster.rng.u64(1..=9);
                    let question = self.length();
                    self.cluster.ask_much(owner, idempotent, parts, (question, 0))?
                } else {
                    let sizes = (self.length(), self.length());
                    self.cluster.ask_much(owner, idempotent, 0, sizes)?
                };
                if self.happens(self.fate.leaves) {
                    let delay = micros(&mut self.cluster.rng, (0, 50_000));
                    self.pass(delay)?;
                    self.cluster.leave(serial)?;
                }
            }
            if self.cluster.rng.u8(..3) > 0 {
                let gap = micros(&mut self.cluster.rng, self.fate.gap);
                self.pass(gap)?;
            }
        }
        Ok(())
    }

    /// The length of a question or an answer.
    fn length(&mut self) -> usize {
        let most = if self.happens(self.fate.large) { 300 } else { 10 };
        self.cluster.rng.usize(..most)
    }

    /// What the fate of this seed has in store.
    fn strike(&mut self) -> Checked {
        if self.happens(self.fate.dies)
            && let Some(at) = self.any(true)
        {
            self.cluster.kill(at);
        }
        if self.happens(self.fate.comes) {
            if self.cluster.rng.bool() { self.add_host()? } else { self.add_owner()? }
        }
        if self.happens(self.fate.drains)
            && let Some(at) = self.any(false)
        {
            self.cluster.drain(at)?;
        }
        if self.happens(self.fate.cut_off)
            && let Some(at) = self.any(true)
        {
            let is_back = self.cluster.nodes[at].is_cut;
            let noticed = micros(&mut self.cluster.rng, (0, 2_000_000));
            self.cluster.connect(at, is_back, noticed);
        }
        if self.happens(self.fate.one_way)
            && let (Some(from), Some(to)) = (self.any(true), self.any(true))
        {
            self.cluster.calm_since = self.cluster.now;
            let cuts = &mut self.cluster.net.cuts;
            if cuts.len() > 2 { cuts.clear() } else { cuts.push((from, to)) }
        }
        Ok(())
    }

    /// Time passes; now and then the rule about waiting is looked at.
    fn pass(&mut self, time: Duration) -> Checked {
        self.cluster.pass(time)?;
        let is_calm = self.is_lossless && self.cluster.net.cuts.is_empty();
        if is_calm { self.judge_waits() } else { Ok(()) }
    }

    fn judge_waits(&mut self) -> Checked {
        let now = self.cluster.now;
        let calm = self.cluster.calm_since;
        let free = self
            .cluster
            .nodes
            .iter()
            .filter(|node| node.is_alive && !node.is_cut && !node.is_draining);
        let free = free.filter_map(|node| node.free_since).min();
        let Some(free) = free else { return Ok(()) };
        for at in self.owners.clone() {
            let node = &mut self.cluster.nodes[at];
            if !node.is_alive || node.is_cut {
                continue;
            }
            let Some(hunger) = node.state.hunger(now) else { continue };
            // A server that has come back may not know it for two seconds.
            let since = hunger.since.max(free).max(calm + Duration::from_secs(2));
            let waited = now.saturating_duration_since(since);
            ensure(waited <= WAIT_MOST + SLACK, || {
                format!("a call of {at} waits for {waited:?} while a worker is free")
            })?;
        }
        Ok(())
    }

    fn is_at_rest(&self) -> bool {
        let mut alive = self.cluster.nodes.iter().filter(|node| node.is_alive);
        alive.all(|node| node.state.calls_open() == 0 && node.host.is_empty())
    }

    /// All is well again, and no more calls come.
    fn rest(&mut self) -> Checked {
        self.cluster.net = quiet();
        self.cluster.habits.crashes = 0.0;
        self.cluster.habits.hangs = 0.0;
        for at in 0..self.cluster.nodes.len() {
            if self.cluster.nodes[at].is_cut {
                self.cluster.connect(at, true, Duration::ZERO);
            }
        }
        self.add_host()?;
        self.is_lossless = true;
        // What ended at a host is kept for a minute if its owner has died.
        for _ in 0..200 {
            self.pass(Duration::from_millis(400))?;
            if self.is_at_rest() {
                break;
            }
        }
        for (serial, ask) in self.cluster.asks.iter().enumerate() {
            ensure(ask.has_left || ask.told.len() == 1, || {
                format!("call {serial} has no end: {ask:?}")
            })?;
        }
        for (at, node) in self.cluster.nodes.iter().enumerate().filter(|(_, node)| node.is_alive) {
            let (open, away) = (node.state.calls_open(), node.state.calls_away());
            let (runs, is_empty) = (node.owner.runs(), node.host.is_empty());
            ensure(open + away + runs == 0 && is_empty, || {
                format!("{at}: {open} calls, {away} away, {runs} at hosts, {:?}", node.host)
            })?;
        }
        Ok(())
    }
}

fn run(seed: u64, is_traced: bool) -> Result<u64, String> {
    let mut life = Life::new(seed, is_traced).map_err(|what| format!("seed {seed}: {what}"))?;
    let outcome = life.live().and_then(|()| life.rest());
    let steps = life.cluster.steps;
    outcome.map(|()| steps).map_err(|what| format!("seed {seed} step {steps}: {what}"))
}

#[test]
fn whatever_happens_among_servers_every_call_is_answered_once_and_every_rule_holds() {
    super::run_all(run);
}

#[test]
fn a_seed_gives_the_same_servers_every_time() {
    assert_eq!(run(11, false), run(11, false));
}
