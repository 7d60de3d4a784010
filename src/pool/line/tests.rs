//! Tests of the line by itself: its order with one tenant, its shares with several, and what it keeps.

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroU8;

use fastrand::Rng;

use super::*;
use crate::base::TenantId;

fn tenant(id: u32, weight: u8) -> Tenant {
    Tenant { id: TenantId(id), weight: NonZeroU8::new(weight).expect("not zero") }
}

fn nanos(time: Duration) -> Nanos {
    u64::try_from(time.as_nanos()).expect("short")
}

/// A line, the calls that wait in it, and a clock.
struct Desk {
    line: Line,
    alarms: Alarms,
    now: Instant,
    began: Instant,
    /// When each call that waits began to, and the seat of its tenant.
    calls: HashMap<CallId, (Instant, TenantSlot)>,
    last: u64,
}

const WAIT: Duration = Duration::from_secs(5);

impl Desk {
    fn new() -> Self {
        let now = Instant::now();
        let (line, alarms, calls) = (Line::default(), Alarms::default(), HashMap::new());
        Self { line, alarms, now, began: now, calls, last: 0 }
    }

    fn rule(&self) -> WaitRule {
        WaitRule { at: self.now, first_ready: Some(self.began), wait: WAIT, grows: false }
    }

    fn arrives(&mut self, tenant: Tenant) -> CallId {
        self.last += 1;
        let id = CallId(self.last);
        let seat = self.line.enter(tenant);
        self.calls.insert(id, (self.now, seat));
        self.line.push_back(seat, id, 1, self.now + WAIT, &mut self.alarms);
        id
    }

    /// The next call, which a worker gets, and what its tenant paid for it.
    fn give(&mut self, usual: Duration) -> Option<(CallId, Charge)> {
        let id = self.line.next(self.rule(), |id| self.calls.get(&id).map(|call| call.0))?;
        let (_, seat) = self.calls[&id];
        self.line.taken(seat, id);
        self.leaves(id);
        Some((id, self.line.charge(seat, nanos(usual))))
    }

    /// A call no longer waits.
    fn leaves(&mut self, id: CallId) {
        let (_, seat) = self.calls.remove(&id).expect("it waits");
        self.line.left(Some(seat), 1, |id| self.calls.contains_key(&id));
    }

    fn answered(&mut self, charge: Charge, took: Option<Duration>, usual: Duration) {
        self.line.settle(charge, took, nanos(usual));
        self.line.ended(charge.seat);
    }
}

/// The line before there were tenants, in as few words as possible.
#[derive(Default)]
struct Plain {
    again: Vec<CallId>,
    order: Vec<(Instant, CallId)>,
    overload: crate::policy::Overload,
}

impl Plain {
    fn next(&mut self, rule: WaitRule) -> Option<CallId> {
        let oldest = self.order.first().map(|(since, _)| *since);
        self.overload.look(rule.at, oldest, rule.wait, rule.grows);
        let fresh =
            if self.overload.newest_first() { self.order.last() } else { self.order.first() };
        self.again.first().copied().or(fresh.map(|(_, id)| *id))
    }

    fn remove(&mut self, id: CallId) {
        self.again.retain(|other| *other != id);
        self.order.retain(|(_, other)| *other != id);
    }
}

#[test]
fn with_one_tenant_calls_come_in_the_order_that_they_have_without_tenants() {
    for seed in 0..200 {
        let mut rng = Rng::with_seed(seed);
        let (mut desk, mut plain) = (Desk::new(), Plain::default());
        let mut inside = Vec::new();
        let busy = rng.u8(2..7);
        for step in 0..600 {
            desk.now += Duration::from_millis(rng.u64(..200));
            match rng.u8(..10) {
                kind if kind < busy => {
                    let id = desk.arrives(tenant(7, 3));
                    plain.order.push((desk.now, id));
                }
                9 if !desk.calls.is_empty() => {
                    let any = rng.usize(..desk.calls.len());
                    let mut fresh = plain.order.iter().map(|(_, id)| *id);
                    let Some(id) = fresh.nth(any) else { continue };
                    let seat = desk.calls[&id].1;
                    desk.leaves(id);
                    desk.line.ended(seat);
                    plain.remove(id);
                }
                8 => {
                    let Some((id, charge)) = inside.pop() else { continue };
                    // It is put back, given at once, and answered.
                    desk.line.settle(charge, None, nanos(WAIT));
                    desk.calls.insert(id, (desk.now, charge.seat));
                    desk.line.push_front(id, 1, desk.now + WAIT, &mut desk.alarms);
                    let next = desk.line.next(desk.rule(), |id| Some(desk.calls.get(&id)?.0));
                    assert_eq!(next, Some(id), "seed {seed} step {step}");
                    plain.again.push(id);
                    assert_eq!(plain.next(desk.rule()), Some(id));
                    plain.remove(id);
                    desk.line.taken(charge.seat, id);
                    desk.calls.remove(&id);
                    desk.line.left(None, 1, |id| desk.calls.contains_key(&id));
                    desk.line.ended(charge.seat);
                }
                _ => {
                    let expected = plain.next(desk.rule());
                    let given = desk.give(Duration::from_millis(10));
                    assert_eq!(given.map(|given| given.0), expected, "seed {seed} step {step}");
                    inside.extend(given);
                    if let Some(id) = expected {
                        plain.remove(id);
                    }
                }
            }
        }
    }
}

/// Serves tenants that always have calls waiting, and returns the worker time of each. `tenants` are
/// the weight and the times of the calls of each.
fn shares(seed: u64, workers: usize, tenants: &[(u8, [u64; 2])], until: u64) -> Vec<f64> {
    let mut rng = Rng::with_seed(seed);
    let mut desk = Desk::new();
    let mut owners = HashMap::new();
    let mut used = vec![0.0; tenants.len()];
    let mut served = vec![0; tenants.len()];
    let mut busy: BTreeMap<(Instant, u64), (usize, Charge, Duration)> = BTreeMap::new();
    let mut all = (Duration::ZERO, 0_u32);
    for (index, (weight, _)) in tenants.iter().enumerate() {
        for _ in 0..=workers {
            let id = desk.arrives(tenant(u32::try_from(index).expect("few"), *weight));
            owners.insert(id, index);
        }
    }
    while served.iter().any(|served| *served < until) {
        let usual = all.0 / all.1.max(1);
        while busy.len() < workers {
            let (id, charge) = desk.give(usual).expect("calls wait");
            let owner = owners.remove(&id).expect("it has one");
            let (weight, [least, most]) = tenants[owner];
            let next = desk.arrives(tenant(u32::try_from(owner).expect("few"), weight));
            owners.insert(next, owner);
            let took = Duration::from_micros(rng.u64(least..=most));
            busy.insert((desk.now + took, id.0), (owner, charge, took));
        }
        let ((now, _), (owner, charge, took)) = busy.pop_first().expect("workers are busy");
        desk.now = now;
        all = (all.0 + took, all.1 + 1);
        desk.answered(charge, Some(took), usual);
        served[owner] += 1;
        used[owner] += took.as_secs_f64();
    }
    used
}

#[test]
fn each_tenant_that_always_waits_gets_its_share_of_the_workers_time() {
    for seed in 0..20 {
        let mut rng = Rng::with_seed(seed);
        let workers = rng.usize(1..=8);
        let kinds = [[1_000, 1_000], [200, 2_000], [20_000, 30_000], [300, 300]];
        let tenants: Vec<(u8, [u64; 2])> = (0..rng.usize(2..=9))
            .map(|_| (rng.u8(1..=4), kinds[rng.usize(..kinds.len())]))
            .collect();
        let used = shares(seed, workers, &tenants, 100);
        let weights: f64 = tenants.iter().map(|tenant| f64::from(tenant.0)).sum();
        let whole: f64 = used.iter().sum();
        for (used, (weight, _)) in used.iter().zip(&tenants) {
            let share = whole * f64::from(*weight) / weights;
            assert!(*used >= 0.9 * share, "seed {seed}: {used} of {share}, {workers}, {tenants:?}");
        }
    }
}

#[test]
fn tenants_that_have_come_and_gone_are_forgotten() {
    let mut desk = Desk::new();
    let usual = Duration::from_millis(1);
    for id in 0..=u32::from(u16::MAX) {
        desk.arrives(tenant(id, 1));
    }
    assert_eq!(desk.line.ring.books().count(), 1 << 16);
    while let Some((_, charge)) = desk.give(usual) {
        desk.answered(charge, Some(usual), usual);
    }
    let left: Vec<TenantId> = desk.line.ring.books().map(|(_, book)| book.id).collect();
    assert_eq!(left, [TenantId(u32::from(u16::MAX))], "only the one that came last");
    desk.arrives(tenant(1, 1));
    assert_eq!(desk.line.ring.books().count(), 1);
}
