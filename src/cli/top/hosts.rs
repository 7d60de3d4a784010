//! The table of other servers that share calls with this one.
//!
//! Pure.

use super::line::{Ink, ScreenLine};
use super::table::{Column, Table};
use crate::cli::cells::{clean, long_time, time, width};
use crate::report::spread::{HostPoolStatus, HostStatus, SpreadStatus};

/// How wide the name of a machine is at least.
const MACHINE_LEAST: usize = 7;
/// How wide it is at most.
const MACHINE_MOST: usize = 32;
/// How many digits of its node stand for a server, as in the log.
const DIGITS: usize = 8;

/// A pool of another server.
struct HostRow {
    host: HostStatus,
    /// `None`: it has none.
    pool: Option<HostPoolStatus>,
}

const COLUMNS: &[Column<HostRow>] = &[
    Column::text("host", 8, 0, |row| {
        (Ink::Plain, clean(row.host.node.get(..DIGITS).unwrap_or("?")))
    }),
    Column::text("machine", 0, 0, |row| (Ink::Bold, clean(&row.host.machine))),
    Column::text("pool", 10, 0, |row| {
        (Ink::Plain, row.pool.as_ref().map_or_else(|| "–".to_owned(), |pool| clean(&pool.name)))
    }),
    Column::number("workers", 9, 0, |row| {
        let workers = row.pool.as_ref().map(|pool| format!("{}/{}", pool.busy, pool.workers));
        (Ink::Plain, workers.unwrap_or_default())
    }),
    Column::number("heard", 5, 1, |row| (Ink::Dim, time(row.host.heard.as_secs_f64()))),
    Column::text("state", 24, 0, state),
];

/// Returns the titles and a row for each pool of another server, at most `rows` lines; nothing if
/// there are no other servers.
pub(super) fn table(spread: &SpreadStatus, screen: usize, rows: usize) -> Vec<ScreenLine> {
    let all: Vec<HostRow> = spread.hosts.iter().flat_map(rows_of).collect();
    if all.is_empty() || rows < 2 {
        return Vec::new();
    }
    let machines = spread.hosts.iter().map(|host| width(&clean(&host.machine)));
    let longest = machines.max().unwrap_or(0).min(MACHINE_MOST);
    let table = Table::new(COLUMNS, screen, (MACHINE_LEAST, longest));
    let mut lines = vec![table.titles()];
    let most = rows - 1;
    let shown = if all.len() > most { most - 1 } else { all.len() };
    lines.extend(all.iter().take(shown).map(|row| table.row(row, (Ink::Plain, ""), false)));
    if all.len() > shown {
        lines.push(ScreenLine::of(Ink::Dim, format!("  and {} more", all.len() - shown)));
    }
    lines
}

/// Returns what is said of the connection to NATS.
pub(super) fn connection(spread: &SpreadStatus) -> (Ink, String) {
    let since = spread.since.map(|since| format!(" for {}", long_time(since))).unwrap_or_default();
    if spread.connected {
        let hosts = match spread.hosts.len() {
            1 => "1 other host".to_owned(),
            hosts => format!("{hosts} other hosts"),
        };
        return (Ink::Dim, hosts);
    }
    let why = spread.last_error.as_ref().map(|why| format!(": {}", clean(why))).unwrap_or_default();
    (Ink::Bad, format!("no connection to NATS{since}{why}"))
}

fn rows_of(host: &HostStatus) -> Vec<HostRow> {
    let row = |pool: Option<&HostPoolStatus>| HostRow { host: host.clone(), pool: pool.cloned() };
    if host.pools.is_empty() {
        return vec![row(None)];
    }
    host.pools.iter().map(|pool| row(Some(pool))).collect()
}

/// What it does for this server, in words.
fn state(row: &HostRow) -> (Ink, String) {
    let Some(pool) = &row.pool else { return (Ink::Dim, "no pool".to_owned()) };
    match () {
        () if row.host.draining => (Ink::Warn, "draining".to_owned()),
        () if pool.shares && pool.workers == 0 => (Ink::Dim, "asks only".to_owned()),
        () if pool.shares => (Ink::Good, "shares calls".to_owned()),
        () if pool.differs.is_empty() => (Ink::Dim, "not a pool of this server".to_owned()),
        () => (Ink::Warn, format!("other {}", clean(&pool.differs.join(", ")))),
    }
}
