//! Looks into the shared cache that nobody waits for any longer: what they have begun is neither lost nor
//! in the way of others.

use crate::shared_cache::{cached, connected, sharing, sharing_with, total};
use crate::support::Redis;

/// How many scripts a Redis has run.
fn scripts(redis: &Redis) -> Option<u64> {
    let said = redis.says("INFO commandstats");
    let calls = said.lines().find_map(|line| line.strip_prefix("cmdstat_evalsha:calls="))?;
    calls.split(',').next()?.parse().ok()
}

#[test]
fn a_look_whose_callers_leave_takes_back_the_run_that_it_has_begun() {
    let Some(redis) = Redis::start(&[]) else { return };
    let server = connected(sharing(&redis.url()));
    let before = scripts(&redis).expect("it has tried them");
    redis.signal("STOP");
    let caller = server.client().get_later("/?input=a");
    server.wait_for_count("httpipe_connections", 1.0);
    caller.leave();
    server.wait_for_count("httpipe_connections", 0.0);
    redis.signal("CONT");
    server.wait_until("the run is begun and taken back", |_| scripts(&redis) == Some(before + 2));
    assert!(redis.keys("*:run").is_empty());
    assert!(server.seen().is_empty());
}

#[test]
fn a_look_that_comes_too_late_leads_the_run_that_it_has_begun() {
    let Some(redis) = Redis::start(&[]) else { return };
    let leads = connected(sharing_with(&redis.url(), "shared_timeout = \"50ms\""));
    let follows = connected(sharing(&redis.url()));
    redis.signal("STOP");
    let first = leads.client().get_later("/?input=sleep+3000+a");
    leads.wait_for_count(r#"httpipe_workers{pool="main",state="busy"}"#, 1.0);
    assert_eq!(total(&leads, "late"), 1.0);
    redis.signal("CONT");
    leads.wait_until("the late look has begun the run", |_| !redis.keys("*:run").is_empty());
    let second = follows.client().get_later("/?input=sleep+3000+a");
    assert_eq!(first.answer().body, "sleep 3000 a");
    let answer = second.answer();
    assert_eq!(cached(&answer), "httpipe; fwd=miss; collapsed; detail=shared");
    assert!(follows.seen().is_empty(), "it has waited, though longer than a lease lasts");
}
