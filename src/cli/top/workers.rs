//! The table of workers.
//!
//! Pure.

use std::cmp::Reverse;

use super::line::{Ink, ScreenLine};
use super::table::{Column, Table};
use super::view::{View, WorkerSort};
use crate::cli::cells::{clean, cores, count, memory, size, time, width};
use crate::report::{PoolStatus, WorkerState, WorkerStatus};

/// How wide a route is at least.
const ROUTE_LEAST: usize = 14;

/// A worker and its pool.
struct Row {
    pool: String,
    worker: WorkerStatus,
}

const COLUMNS: &[Column<Row>] = &[
    Column::text("worker", 7, 0, |row| (Ink::Plain, format!("w{}", row.worker.id))),
    Column::text("pool", 10, 1, |row| (Ink::Plain, row.pool.clone())),
    Column::text("state", 12, 0, |row| state(&row.worker)),
    Column::number("since", 5, 0, |row| (Ink::Work, since(&row.worker))),
    Column::text("route", 0, 0, |row| (Ink::Plain, route(&row.worker))),
    Column::text("call", 8, 6, |row| (Ink::Dim, call(&row.worker))),
    Column::number("bytes", 5, 7, |row| (Ink::Plain, bytes(&row.worker))),
    Column::number("cpu", 5, 2, |row| (Ink::Plain, cores(row.worker.cpu))),
    Column::number("memory", 6, 3, |row| (Ink::Plain, memory(row.worker.memory))),
    Column::number("calls", 5, 4, |row| (Ink::Plain, count(row.worker.calls))),
    Column::number("pid", 7, 5, |row| (Ink::Dim, row.worker.pid.to_string())),
];

/// Returns the titles and a row a worker, at most `rows` lines.
pub(super) fn table(
    pools: &[PoolStatus],
    view: &View,
    screen: usize,
    rows: usize,
) -> Vec<ScreenLine> {
    let mut all = Vec::new();
    for pool in pools {
        if view.pool.as_ref().is_none_or(|name| *name == pool.name) {
            let row =
                |worker: &WorkerStatus| Row { pool: clean(&pool.name), worker: worker.clone() };
            all.extend(pool.workers.iter().map(row));
        }
    }
    sort(&mut all, view.sort);
    let longest = all.iter().map(|row| width(&route(&row.worker))).max().unwrap_or(0);
    let table = Table::new(COLUMNS, screen, (ROUTE_LEAST, longest));
    let mut lines = vec![table.titles()];
    let most = rows.saturating_sub(1);
    let from = view.scrolled.min(all.len().saturating_sub(1));
    let left = all.len() - from;
    let shown = if left > most { most.saturating_sub(1) } else { left };
    for row in all.iter().skip(from).take(shown) {
        let mark = if is_bad(&row.worker) { " !" } else { "" };
        lines.push(table.row(row, (Ink::Bad, mark), false));
    }
    if left > shown {
        let order = view.sort.name();
        let more = format!("  and {} more workers, in the order of: {order}", left - shown);
        lines.push(ScreenLine::of(Ink::Dim, more));
    }
    lines
}

fn sort(rows: &mut [Row], by: WorkerSort) {
    match by {
        WorkerSort::Notable => rows.sort_by_key(|row| {
            let worker = &row.worker;
            let since = worker.head.as_ref().map(|head| head.since);
            (Reverse(is_bad(worker)), Reverse(since), Reverse(worker.age))
        }),
        WorkerSort::Cpu => {
            let cpu = |row: &Row| row.worker.cpu.unwrap_or(-1.0);
            rows.sort_by(|one, other| cpu(other).total_cmp(&cpu(one)));
        }
        WorkerSort::Memory => rows.sort_by_key(|row| Reverse(row.worker.memory)),
        WorkerSort::Calls => rows.sort_by_key(|row| Reverse(row.worker.calls)),
        WorkerSort::Started => rows.sort_by_key(|row| row.worker.id),
    }
}

/// Returns true if the doctor has found something wrong with a worker.
pub(super) fn is_bad(worker: &WorkerStatus) -> bool {
    worker.verdict.as_ref().is_some_and(|verdict| verdict != "works")
}

fn state(worker: &WorkerStatus) -> (Ink, String) {
    if is_bad(worker) {
        let verdict = worker.verdict.as_deref().unwrap_or_default();
        return (Ink::Bad, clean(&verdict.replace('_', " ")));
    }
    let (look, word) = match worker.state {
        WorkerState::Starting => (Ink::Warn, "starting"),
        WorkerState::Ready => (Ink::Dim, "ready"),
        WorkerState::Busy => (Ink::Good, "busy"),
        WorkerState::Leaving => (Ink::Warn, "leaving"),
    };
    let is_abandoned = worker.head.as_ref().is_some_and(|head| head.abandoned);
    if is_abandoned { (Ink::Warn, "abandoned".to_owned()) } else { (look, word.to_owned()) }
}

fn since(worker: &WorkerStatus) -> String {
    worker.head.as_ref().map(|head| time(head.since.as_secs_f64())).unwrap_or_default()
}

fn route(worker: &WorkerStatus) -> String {
    let Some(head) = &worker.head else { return String::new() };
    let more = worker.in_flight.saturating_sub(1);
    let route = clean(&head.route);
    if more > 0 { format!("{route} and {more} more") } else { route }
}

fn call(worker: &WorkerStatus) -> String {
    worker.head.as_ref().map(|head| clean(&head.call)).unwrap_or_default()
}

fn bytes(worker: &WorkerStatus) -> String {
    let head = worker.head.as_ref();
    head.map(|head| size(head.bytes as u64)).unwrap_or_default()
}
