//! What is unwise in a configuration that can be used.
//!
//! Pure.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::sync::Arc;

use crate::config::callers::{KeyEntry, route_name};
use crate::config::problem::Warning;
use crate::config::{Config, InFlight, ListenAddress, PoolSettings, RouteAction, WhoMayAsk};

/// How many keys a warning names.
const NAMES_MOST: usize = 3;

/// Returns what is unwise.
pub(super) fn advice(config: &Config) -> Vec<Warning> {
    [unversioned(config), about_keys(config)].concat()
}

/// Warns of programs whose next version would be given the answers of this one.
fn unversioned(config: &Config) -> Vec<Warning> {
    if config.cache.shared.is_none() {
        return Vec::new();
    }
    let keeps = |place: usize| {
        let of_pool = |action: &RouteAction| match action {
            RouteAction::Call(call) => call.pool == place && call.cache.is_some(),
            RouteAction::Text { .. } => false,
        };
        config.routes.iter().any(|route| of_pool(&route.action))
    };
    let pools = config.pools.iter().enumerate();
    let unsaid = pools.filter(|(place, pool)| pool.program.version.is_none() && keeps(*place));
    let warning = |(_, pool): (usize, &Arc<PoolSettings>)| Warning {
        message: format!(
            "answers of pool `{}` are shared, but nothing says which version of the program gave them",
            pool.name
        ),
        hint:
            "write `version = \"…\"` for the pool, and another one with each change of the program"
                .to_owned(),
    };
    unsaid.map(warning).collect()
}

/// Warns of what keys allow or give away.
fn about_keys(config: &Config) -> Vec<Warning> {
    let WhoMayAsk::Keys(keys) = &config.callers.who else { return Vec::new() };
    let pools = config.pools.iter().enumerate();
    let held = pools.filter_map(|(index, pool)| {
        let entries = keys.keys.0.iter();
        // Nobody else waits where there is one key alone.
        let is_alone = keys.keys.0.len() == 1 && config.callers.anonymous.is_none();
        let holders = entries.filter(|entry| !is_alone && may_use(config, entry, index));
        held_pool(pool, &holders.collect::<Vec<_>>())
    });
    in_the_clear(config).into_iter().chain(held).collect()
}

/// Warns where keys cross a network that others may read.
fn in_the_clear(config: &Config) -> Option<Warning> {
    if config.tls.is_some() || !config.callers.trust.networks.is_empty() {
        return None;
    }
    let address = config.listen.iter().find_map(|address| match address {
        ListenAddress::Tcp(address) if !address.ip().is_loopback() => Some(address),
        _ => None,
    })?;
    let message =
        format!("keys come to {address} in the clear: all who can see the network can use them");
    let hint =
        "name a certificate in `tls`, or put a proxy with TLS before the server and name it in \
                `trust`"
            .to_owned();
    Some(Warning { message, hint })
}

/// Warns where one key may hold all workers of a pool, so that others wait for its calls to end.
fn held_pool(pool: &PoolSettings, holders: &[&KeyEntry]) -> Option<Warning> {
    // Where there is one worker, every call holds all of them.
    let most = pool.rules.workers_most;
    let InFlight::Fixed(1) = pool.rules.in_flight else { return None };
    let holds_all = |entry: &&&KeyEntry| {
        entry.calls.is_none_or(|calls| usize::try_from(calls.get()).is_ok_and(|it| it >= most))
    };
    let names: Vec<&str> = holders.iter().filter(holds_all).map(|entry| &*entry.name).collect();
    if most < 2 || names.is_empty() {
        return None;
    }
    let first = names.iter().take(NAMES_MOST).map(|name| format!("`{name}`"));
    let mut who = first.collect::<Vec<_>>().join(", ");
    if names.len() > NAMES_MOST {
        write!(who, " and {} more", names.len() - NAMES_MOST).expect("a string takes everything");
    }
    let key = if names.len() == 1 { "the key" } else { "each of the keys" };
    let message = format!("{key} {who} may hold all {most} workers of pool `{}`", pool.name);
    let hint = format!(
        "with `calls = {}` or less in its entry, others need not wait for its long calls",
        most - 1
    );
    Some(Warning { message, hint })
}

/// Returns true if a key is for a route of this pool.
fn may_use(config: &Config, entry: &KeyEntry, pool: usize) -> bool {
    config.routes.iter().any(|route| {
        let is_of_pool = matches!(&route.action, RouteAction::Call(call) if call.pool == pool);
        let is_allowed = |routes: &HashSet<Box<str>>| {
            route_name(&route.label).is_ok_and(|name| routes.contains(name.as_str()))
        };
        is_of_pool && entry.routes.as_ref().is_none_or(is_allowed)
    })
}
