//! The table of pools.
//!
//! Pure.

use super::line::{Ink, ScreenLine};
use super::table::{Column, Table};
use super::view::View;
use super::workers::is_bad;
use crate::cli::cells::{clean, cores, count, memory, percent, time, width};
use crate::report::{Percentiles, PoolStatus};

/// How wide the name of a pool is at least.
const NAME_LEAST: usize = 8;
/// How wide it is before other columns make room for it.
const NAME_ENOUGH: usize = 10;
/// How wide it is at most.
const NAME_MOST: usize = 32;

const COLUMNS: &[Column<PoolStatus>] = &[
    Column::text("pool", 0, 0, name),
    Column::number("workers", 9, 0, workers),
    Column::number("calls/s", 7, 0, |pool| (Ink::Plain, count(pool.sample.calls))),
    Column::number("failed", 6, 0, failed),
    Column::number("queue", 5, 0, queue),
    Column::number("wait", 5, 0, |pool| {
        (Ink::Wait, percentile(pool.recent.wait_seconds, |it| it.p50))
    }),
    Column::number("p99", 5, 0, |pool| {
        (Ink::Wait, percentile(pool.recent.wait_seconds, |it| it.p99))
    }),
    Column::number("work", 5, 0, |pool| {
        (Ink::Work, percentile(pool.recent.work_seconds, |it| it.p50))
    }),
    Column::number("p99", 5, 0, |pool| {
        (Ink::Work, percentile(pool.recent.work_seconds, |it| it.p99))
    }),
    Column::number("hits", 4, 2, hits),
    Column::number("cpu", 5, 3, |pool| (Ink::Plain, cores(pool.cpu))),
    Column::number("memory", 6, 4, |pool| (Ink::Plain, memory(pool.memory))),
    Column::text("state", 14, 5, state),
];

/// Returns the titles and a row a pool, at most `rows` lines. The chosen pool is always among them.
pub(super) fn table(
    pools: &[PoolStatus],
    view: &View,
    screen: usize,
    rows: usize,
) -> Vec<ScreenLine> {
    let longest = pools.iter().map(|pool| width(&clean(&pool.name))).max().unwrap_or(0);
    let least = longest.clamp(NAME_LEAST, NAME_ENOUGH);
    let table = Table::new(COLUMNS, screen, (least, longest.min(NAME_MOST)));
    let mut lines = vec![table.titles()];
    let is_chosen = |pool: &PoolStatus| view.pool.as_ref() == Some(&pool.name);
    let most = rows.saturating_sub(1).max(1);
    let chosen = pools.iter().position(is_chosen).unwrap_or(0);
    let (from, shown) = window(pools.len(), chosen, most);
    for pool in pools.iter().skip(from).take(shown) {
        let is_chosen = is_chosen(pool);
        let (look, _) = state(pool);
        let marks = match (is_chosen, look) {
            (true, Ink::Bad) => ">!",
            (true, _) => ">",
            (false, Ink::Bad) => " !",
            (false, _) => "",
        };
        lines.push(table.row(pool, (look, marks), is_chosen));
    }
    let hidden = pools.len() - shown.min(pools.len());
    if hidden > 0 {
        lines.push(ScreenLine::of(Ink::Dim, format!("  and {hidden} more; ↑↓ goes there")));
    }
    lines
}

/// Returns where to begin, and how many to show, so that the chosen one is seen.
fn window(all: usize, chosen: usize, most: usize) -> (usize, usize) {
    if all <= most {
        return (0, all);
    }
    // One line says that there are more.
    let shown = most.saturating_sub(1).max(1);
    let from = chosen.saturating_sub(shown / 2).min(all - shown);
    (from, shown)
}

fn name(pool: &PoolStatus) -> (Ink, String) {
    let (look, _) = state(pool);
    let look = if look == Ink::Bad { Ink::Bad } else { Ink::Bold };
    (look, clean(&pool.name))
}

/// What is the matter with a pool, in words.
fn state(pool: &PoolStatus) -> (Ink, String) {
    let states = &pool.states;
    let serving = states.ready + states.busy;
    let needs_look = pool.workers.iter().any(is_bad);
    let (look, word) = match () {
        () if pool.tripped => (Ink::Bad, "cannot start"),
        () if serving == 0 && states.starting > 0 => (Ink::Warn, "starting"),
        () if serving == 0 && has_hosts(pool) => (Ink::Good, "on other hosts"),
        () if serving == 0 => (Ink::Bad, "no worker"),
        () if needs_look => (Ink::Bad, "needs a look"),
        () if pool.queue.overloaded => (Ink::Bad, "overloaded"),
        () if pool.queue.length > 0 => (Ink::Warn, "calls wait"),
        () if states.busy == 0 => (Ink::Dim, "idle"),
        () => (Ink::Good, "busy"),
    };
    (look, word.to_owned())
}

fn workers(pool: &PoolStatus) -> (Ink, String) {
    let states = &pool.states;
    let serving = states.ready + states.busy;
    let mut text = format!("{}/{serving}", states.busy);
    for (sign, count) in [("+", states.starting), ("-", states.leaving)] {
        if count > 0 {
            text.push_str(sign);
            text.push_str(&count.to_string());
        }
    }
    (if serving == 0 && !has_hosts(pool) { Ink::Bad } else { Ink::Plain }, text)
}

/// Returns true if other servers answer its calls.
fn has_hosts(pool: &PoolStatus) -> bool {
    pool.away.as_ref().is_some_and(|away| away.slots > 0)
}

fn failed(pool: &PoolStatus) -> (Ink, String) {
    let failed = pool.failures.by_code.values().sum();
    (if failed > 0 { Ink::Bad } else { Ink::Dim }, count(failed))
}

fn queue(pool: &PoolStatus) -> (Ink, String) {
    let length = pool.queue.length as u64;
    (if length > 0 { Ink::Wait } else { Ink::Dim }, count(length))
}

fn hits(pool: &PoolStatus) -> (Ink, String) {
    let recent = &pool.recent;
    let share = recent.hits.and_then(|hits| percent(hits, hits + recent.calls));
    (Ink::Plain, share.unwrap_or_else(|| "–".to_owned()))
}

fn percentile(of: Option<Percentiles>, which: fn(&Percentiles) -> f64) -> String {
    of.map_or_else(|| "–".to_owned(), |it| time(which(&it)))
}
