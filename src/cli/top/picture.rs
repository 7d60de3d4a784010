//! The picture that `httpipe top` shows: lines of text, from a status, a choice and a size.
//!
//! Pure. Names come from configurations and routes, so each is cleaned before it gets into a line.

use super::hosts;
use super::jobs;
use super::line::{Ink, ScreenLine};
use super::pools;
use super::view::View;
use super::workers;
use crate::cli::cells::{clean, count, cut, long_time, size};
use crate::report::{Notice, NoticeLevel, Status};

/// How large the screen is, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ScreenSize {
    pub(super) columns: usize,
    pub(super) rows: usize,
}

/// What is shown.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment<'a> {
    pub(super) status: &'a Status,
    /// Where the server is.
    pub(super) address: &'a str,
    /// Why the status is not of now.
    pub(super) lost: Option<&'a str>,
}

const KEYS: &str = "q quit   ↑↓ pool   s sort   p pause   ? help";

const HELP: &[&str] = &[
    "",
    "  calls/s   calls that ended in the last second",
    "  failed    calls that failed in the last ten minutes",
    "  queue     calls that wait for a worker now",
    "  workers   busy/serving, + those that start, - those that leave",
    "  wait      how long calls waited: the median and 99 of 100, of the last minute",
    "  work      how long they were in their worker",
    "  hits      requests that were answered from the cache, of the last minute",
    "  cpu       cores that the workers used in the last second; 1.00 is a whole one",
    "  memory    their resident memory, shared parts included",
    "  since     how long a worker has been at its oldest call",
    "  host      other servers that share calls with this one, as the log names them",
    "  items     items of open batches: in workers + waiting here",
    "  together  how many calls workers were given at once, on average",
    "",
    "  ↑ ↓ or k j   one pool, or all        PgUp PgDn   more workers",
    "  s            order of the workers    p           pause",
    "  Esc          all pools               q           quit",
    "",
    "  Times of the queue and of the work never overlap: their sum is what a caller waits.",
];

/// Returns the lines of a screen: never more than it has, and none wider.
pub(super) fn picture(shown: &Moment<'_>, view: &View, size: ScreenSize) -> Vec<ScreenLine> {
    let Moment { status, lost, .. } = shown;
    let mut lines = vec![head(shown, view)];
    if let Some(why) = lost {
        lines.push(ScreenLine::of(Ink::Bad, format!("! {}", clean(why))));
    }
    if view.shows_help {
        lines.extend(HELP.iter().map(|text| ScreenLine::of(Ink::Plain, *text)));
        return fitted(lines, size);
    }
    lines.extend(notices(&status.notices, size.rows));
    lines.push(ScreenLine::default());
    let left = size.rows.saturating_sub(lines.len() + 2);
    lines.extend(pools::table(&status.pools, view, size.columns, left / 2));
    lines.push(ScreenLine::default());
    lines.extend(other_hosts(status, size.columns, left / 4));
    let left = size.rows.saturating_sub(lines.len() + 2);
    lines.extend(jobs::tables(status, size.columns, left / 2));
    let left = size.rows.saturating_sub(lines.len() + 1);
    lines.extend(workers::table(&status.pools, view, size.columns, left));
    lines.truncate(size.rows.saturating_sub(1));
    lines.resize(size.rows.saturating_sub(1), ScreenLine::default());
    lines.push(ScreenLine::of(Ink::Dim, KEYS));
    fitted(lines, size)
}

/// Returns all there is, for an output that is no screen: every pool, and the workers that most need
/// a look.
pub(super) fn whole(shown: &Moment<'_>, columns: usize) -> Vec<ScreenLine> {
    const WORKERS: usize = 10;
    let view = View::default();
    let status = shown.status;
    let mut lines = vec![head(shown, &view)];
    lines.extend(notices(&status.notices, usize::MAX));
    lines.push(ScreenLine::default());
    lines.extend(pools::table(&status.pools, &view, columns, usize::MAX));
    lines.push(ScreenLine::default());
    lines.extend(other_hosts(status, columns, usize::MAX));
    lines.extend(jobs::tables(status, columns, usize::MAX));
    lines.extend(workers::table(&status.pools, &view, columns, WORKERS + 2));
    lines.into_iter().map(|line| line.cut(columns)).collect()
}

/// The other servers, with an empty line after them, if there are any.
fn other_hosts(status: &Status, columns: usize, rows: usize) -> Vec<ScreenLine> {
    let Some(spread) = &status.spread else { return Vec::new() };
    let mut lines = hosts::table(spread, columns, rows);
    if !lines.is_empty() {
        lines.push(ScreenLine::default());
    }
    lines
}

/// How many workers a screen of this size shows, about.
pub(super) fn page(status: Option<&Status>, size: ScreenSize) -> usize {
    let pools = status.map_or(0, |status| status.pools.len());
    size.rows.saturating_sub(6 + pools.min(size.rows / 2)).max(1)
}

fn fitted(mut lines: Vec<ScreenLine>, size: ScreenSize) -> Vec<ScreenLine> {
    lines.truncate(size.rows);
    lines.into_iter().map(|line| line.cut(size.columns)).collect()
}

fn head(shown: &Moment<'_>, view: &View) -> ScreenLine {
    let status = shown.status;
    let mut line = ScreenLine::of(Ink::Bold, format!("httpipe {}", clean(&status.server.version)));
    let worst = status.notices.iter().map(|notice| notice.level).min();
    let (look, health) = match (status.not_ready(), worst) {
        (Some(why), _) => (Ink::Bad, clean(&why)),
        (None, Some(NoticeLevel::Bad)) => (Ink::Bad, "needs a look".to_owned()),
        (None, Some(NoticeLevel::Warn)) => (Ink::Warn, "needs a look".to_owned()),
        (None, _) => (Ink::Good, "ok".to_owned()),
    };
    line.push(Ink::Plain, "  ");
    line.push(look, health);
    if view.is_paused {
        line.push(Ink::Plain, "  ");
        line.push(Ink::Warn, "paused");
    }
    let mut facts = vec![
        clean(shown.address),
        format!("up {}", long_time(status.uptime)),
        format!("{} connections", status.connections),
    ];
    if status.cache.entries > 0 {
        let (bytes, limit) = (size(status.cache.bytes), size(status.cache.limit));
        let entries = count(status.cache.entries as u64);
        facts.push(format!("cache {bytes} of {limit}, {entries} answers"));
    }
    if let Some(agent) = &status.agent {
        let said = agent.said.as_deref().filter(|_| agent.balancers > 0);
        facts.push(format!("balancers: {}", clean(said.unwrap_or("none asks"))));
    }
    let cut_off = match status.spread.as_ref().map(hosts::connection) {
        Some((Ink::Dim, fact)) => {
            facts.push(fact);
            None
        }
        other => other,
    };
    if status.log_dropped > 0 {
        facts.push(format!("{} log lines lost", count(status.log_dropped)));
    }
    if let Some((look, why)) = cut_off {
        line.push(Ink::Plain, "  ");
        line.push(look, why);
    }
    line.push(Ink::Dim, format!("  {}", facts.join(" · ")));
    line
}

/// The worst notices, with their remedies where there is room.
fn notices(notices: &[Notice], rows: usize) -> Vec<ScreenLine> {
    let (most, has_room) = match rows {
        0..30 => (2, false),
        30..1000 => (4, true),
        _ => (usize::MAX, true),
    };
    let mut lines = Vec::new();
    for notice in notices.iter().take(most) {
        let (look, mark) = match notice.level {
            NoticeLevel::Bad => (Ink::Bad, "!"),
            NoticeLevel::Warn => (Ink::Warn, "!"),
            NoticeLevel::Info => (Ink::Dim, "·"),
        };
        let pool = notice.pool.as_ref().map(|pool| format!("{}: ", cut(&clean(pool), 20)));
        let mut line = ScreenLine::of(look, format!("{mark} {}", pool.unwrap_or_default()));
        line.push(Ink::Plain, clean(&notice.text));
        lines.push(line);
        if let Some(fix) = notice.fix.as_ref().filter(|fix| has_room && !fix.is_empty()) {
            lines.push(ScreenLine::of(Ink::Dim, format!("  fix: {}", clean(fix))));
        }
    }
    let more = notices.len().saturating_sub(most);
    if more > 0 {
        lines.push(ScreenLine::of(Ink::Dim, format!("  and {more} more")));
    }
    lines
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::view::KeyPress;
    use super::*;
    use crate::base::WorkerCounts;
    use crate::cli::cells::width;
    use crate::report::fixture::{full, status};
    use crate::report::{Head, Percentiles, PoolStatus, WorkerState, WorkerStatus};

    fn worker(id: u64, state: WorkerState, since: Option<u64>) -> WorkerStatus {
        let head = since.map(|since| Head {
            call: format!("5a{id:02x}"),
            route: "GET /similar?a={a}&b={b}".into(),
            since: Duration::from_millis(since),
            bytes: 61_440,
            retries: 0,
            abandoned: id == 9,
        });
        WorkerStatus {
            id,
            pid: 30_000 + u32::try_from(id).expect("small"),
            state,
            calls: id * 1000,
            in_flight: usize::from(head.is_some()),
            age: Duration::from_secs(1000 - id),
            cpu: Some(0.25 * (id % 4) as f64),
            memory: Some(id << 20),
            verdict: None,
            head,
        }
    }

    fn pool(name: &str, busy: usize, ready: usize) -> PoolStatus {
        let mut pool = status(&[(name, ready, busy)]).pools.remove(0);
        pool.states = WorkerCounts { starting: 0, ready, busy, leaving: 0 };
        let state = |id| if id <= busy as u64 { WorkerState::Busy } else { WorkerState::Ready };
        let since = |id| (id <= busy as u64).then_some(id * 7);
        pool.workers =
            (1..=(busy + ready) as u64).map(|id| worker(id, state(id), since(id))).collect();
        pool.sample.calls = 1923;
        pool.recent.calls = 115_000;
        pool.recent.wait_seconds = Some(Percentiles { p50: 4e-5, p95: 1e-4, p99: 0.31 });
        pool.recent.work_seconds = Some(Percentiles { p50: 0.024, p95: 0.05, p99: 0.071 });
        (pool.cpu, pool.memory) = (Some(14.2), Some(13 << 30));
        pool
    }

    /// Three pools, one of them in trouble, one with a name made to deceive.
    fn server() -> Status {
        let mut status = full();
        status.uptime = Duration::from_hours(76);
        status.pools[0].tripped = false;
        status.pools.push(pool("<img src=x onerror=alert(1)>\u{1b}[2J", 2, 1));
        status.pools.push(pool("日本語", 9, 30));
        status.pools[2].queue.length = 217;
        status
    }

    fn shown(status: &Status, view: &View, columns: usize, rows: usize) -> String {
        let shown = Moment { status, address: "127.0.0.1:3001", lost: None };
        let lines = picture(&shown, view, ScreenSize { columns, rows });
        assert_eq!(lines.len(), rows);
        for line in &lines {
            let text = line.text();
            assert!(width(&text) <= columns, "{text}");
            assert!(!text.chars().any(char::is_control), "{text:?}");
        }
        lines.iter().flat_map(|line| [line.text(), "\n".to_owned()]).collect()
    }

    #[test]
    fn a_small_screen_shows_what_matters_most() {
        insta::assert_snapshot!("80x24", shown(&server(), &View::default(), 80, 24));
    }

    #[test]
    fn a_large_screen_shows_all() {
        insta::assert_snapshot!("200x50", shown(&server(), &View::default(), 200, 50));
    }

    #[test]
    fn a_chosen_pool_shows_its_workers_only() {
        let status = server();
        let mut view = View::default();
        for _ in 0..3 {
            view.press(KeyPress::Down, Some(&status), 10);
        }
        let text = shown(&status, &view, 80, 24);
        assert!(text.contains("\n> 日本語"), "{text}");
        let (_, workers) = text.split_once("\n  worker").expect("a table");
        assert!(workers.contains("日本語") && !workers.contains("<img"), "{text}");
    }

    #[test]
    fn every_size_holds_its_lines() {
        let status = server();
        for rows in [1, 2, 3, 5, 8, 13, 24, 60] {
            for columns in [0, 1, 2, 10, 40, 79, 99, 100, 300] {
                shown(&status, &View::default(), columns, rows);
                let help = View { shows_help: true, ..View::default() };
                let size = ScreenSize { columns, rows };
                let of = Moment { status: &status, address: "a", lost: Some("gone\n") };
                let lines = picture(&of, &help, size);
                assert!(lines.len() <= rows);
                assert!(lines.iter().all(|line| width(&line.text()) <= columns));
            }
        }
    }

    #[test]
    fn a_screen_of_many_pools_and_workers_says_how_many_more_there_are() {
        let mut status = server();
        status.pools = (0..40).map(|n| pool(&format!("pool-{n}"), 4, 252)).collect();
        let view = View { pool: Some("pool-33".to_owned()), ..View::default() };
        let text = shown(&status, &view, 80, 24);
        assert!(text.contains("> pool-33"), "{text}");
        assert!(text.contains("  and 33 more; ↑↓ goes there\n"), "{text}");
        assert!(text.contains("more workers, in the order of: worth a look"), "{text}");
    }

    #[test]
    fn what_is_wrong_comes_first_and_a_lost_server_is_said() {
        let status = server();
        let of = Moment { status: &status, address: "a", lost: Some("no answer; trying again") };
        let lines = picture(&of, &View::default(), ScreenSize { columns: 80, rows: 24 });
        assert_eq!(lines[1], ScreenLine::of(Ink::Bad, "! no answer; trying again"));
        let text: Vec<String> = lines.iter().map(ScreenLine::text).collect();
        let first = text.iter().position(|line| line.starts_with("  worker")).expect("a table") + 1;
        assert!(text[first].starts_with(" !w3"), "{}", text[first]);
    }
}
