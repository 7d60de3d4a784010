//! The simulation: the pure core of a pool against workers that crash, hang and lie, and
//! callers that come in bursts and leave, in virtual time and from a seed.
//!
//! An oracle keeps books of its own and knows what the rules of a pool promise. A failing run
//! says `seed S step N: what`; `SEED=S cargo test --test sim` replays it with a trace, and
//! `HTTPIPE_SIM_SEEDS=N` runs more seeds.

#![expect(clippy::disallowed_methods, reason = "the seed is read from the environment")]
#![expect(clippy::print_stderr, reason = "a replayed run is traced")]

mod ahead;
mod awake;
mod away;
mod background;
mod cluster;
mod diary;
mod ends;
mod fair;
mod floors;
mod given_up;
mod group_world;
mod grouped_call;
mod groups;
mod looks;
mod mixed;
mod model;
mod operators;
mod oracle;
mod overload;
mod poison;
mod priorities;
mod promises;
mod retry_after;
mod sharing;
mod sharing_promises;
mod starts;
mod story;
mod suspicion;
mod taken;
mod tenants;
mod told;
mod turns;
mod weather;
mod world;

use std::num::NonZeroU8;

use httpipe::testing::base::{Tenant, TenantId};
use world::World;

/// Seeds of every run of the tests.
const SEEDS: u64 = 256;
/// Events of one seed, before the pool is left to come to rest.
const STEPS: u64 = 2000;
/// Broken seeds that a failing run lists.
const SHOWN_MOST: usize = 20;

fn number_from(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

fn run(seed: u64, is_traced: bool) -> Result<u64, String> {
    run_with(seed, is_traced, &[Tenant::ANONYMOUS])
}

fn run_with(seed: u64, is_traced: bool, tenants: &[Tenant]) -> Result<u64, String> {
    let mut world = World::new(seed, is_traced).of_tenants(tenants);
    let outcome = world.live(STEPS).and_then(|()| world.rest());
    let steps = world.steps();
    outcome.map(|()| steps).map_err(|what| format!("seed {seed} step {steps}: {what}"))
}

fn tenant(id: u32, weight: u8) -> Tenant {
    Tenant { id: TenantId(id), weight: NonZeroU8::new(weight).expect("not zero") }
}

#[test]
fn whatever_happens_every_call_is_answered_once_and_every_rule_holds() {
    run_all(run);
}

#[test]
fn whatever_happens_among_tenants_every_call_is_answered_once_and_every_rule_holds() {
    run_all(|seed, is_traced| {
        let tenants: Vec<Tenant> =
            (0..2 + seed % 5).map(|id| tenant(id as u32, 1 + (id % 3) as u8)).collect();
        run_with(seed, is_traced, &tenants)
    });
}

fn run_all(run: fn(u64, bool) -> Result<u64, String>) {
    if let Some(seed) = number_from("SEED") {
        run(seed, true).unwrap_or_else(|what| panic!("{what}"));
        return;
    }
    let seeds = number_from("HTTPIPE_SIM_SEEDS").unwrap_or(SEEDS);
    let half = move |odd: u64| -> Vec<String> {
        let mine = (0..seeds).filter(|seed| seed % 2 == odd);
        mine.filter_map(|seed| run(seed, false).err()).collect()
    };
    let other = std::thread::spawn(move || half(1));
    let mut broken = half(0);
    broken.extend(other.join().expect("the run itself does not panic"));
    let shown: Vec<&String> = broken.iter().take(SHOWN_MOST).collect();
    assert!(broken.is_empty(), "{} seeds, replay with SEED=: {shown:#?}", broken.len());
}

#[test]
fn a_seed_gives_the_same_run_every_time() {
    assert_eq!(run(11, false), run(11, false));
}

/// All that happens under a seed whose calls are all of this tenant.
fn digest(seed: u64, tenant: Tenant) -> Option<u64> {
    let mut world = World::new(seed, false).of_tenants(&[tenant]);
    world.diary.compare();
    world.live(STEPS).and_then(|()| world.rest()).expect("every rule holds");
    world.diary.digest()
}

#[test]
fn with_one_tenant_a_seed_gives_the_same_run_whoever_it_is() {
    for seed in 0..64 {
        assert_eq!(digest(seed, Tenant::ANONYMOUS), digest(seed, tenant(9, 3)), "seed {seed}");
    }
}
