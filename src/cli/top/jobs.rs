//! The tables of what runs in the background: jobs, and items of batches. Where there is nothing of
//! that, there is no table.
//!
//! Pure.

use super::line::{Ink, ScreenLine};
use super::table::{Column, Table};
use crate::cli::cells::{clean, count, long_time, time, width};
use crate::report::{BackgroundStatus, JobCountsStatus, PoolWorkStatus, RunningJobStatus, Status};

/// How wide the name of a pool is at least and at most.
const NAME: (usize, usize) = (10, 32);
/// How wide what is said of a running job is at least.
const SAID_LEAST: usize = 14;
/// Most running jobs that are shown.
const RUNNING_MOST: usize = 8;

const WORK: &[Column<PoolWorkStatus>] = &[
    Column::text("background", 0, 0, |work| (Ink::Bold, clean(&work.pool))),
    Column::number("queued", 6, 0, |work| (Ink::Wait, jobs(work, |jobs| jobs.queued))),
    Column::number("oldest", 6, 0, |work| {
        let oldest = work.jobs.as_ref().and_then(|jobs| jobs.oldest);
        (Ink::Wait, oldest.map_or_else(none, |oldest| time(oldest.as_secs_f64())))
    }),
    Column::number("running", 7, 0, |work| (Ink::Work, jobs(work, |jobs| jobs.running))),
    Column::number("done", 5, 1, |work| (Ink::Plain, jobs(work, |jobs| jobs.succeeded))),
    Column::number("failed", 6, 0, |work| (Ink::Bad, jobs(work, |jobs| jobs.failed))),
    Column::number("canceled", 8, 3, |work| (Ink::Plain, jobs(work, |jobs| jobs.canceled))),
    Column::number("batches", 7, 0, |work| {
        (Ink::Plain, work.batches.map_or_else(none, |batches| some(batches.open as u64)))
    }),
    Column::number("items", 9, 2, |work| (Ink::Plain, items(work))),
    Column::number("together", 8, 4, |work| {
        let groups = work.groups.as_ref().filter(|groups| groups.groups > 0);
        (Ink::Plain, groups.map_or_else(none, |groups| format!("{:.1}", groups.mean())))
    }),
];

const RUNNING: &[Column<RunningJobStatus>] = &[
    Column::text("job of", 10, 1, |job| (Ink::Plain, clean(&job.pool))),
    Column::number("since", 6, 0, |job| (Ink::Work, long_time(job.since))),
    Column::number("done", 5, 0, |job| (Ink::Plain, part(job.fraction))),
    Column::text("route", 24, 2, |job| (Ink::Plain, clean(&job.route))),
    Column::text("says", 0, 0, |job| (Ink::Plain, said(job))),
];

/// Returns a row for each pool that has something in the background and then the jobs that run, at
/// most so many lines. The last one is empty, if there are any.
pub(super) fn tables(status: &Status, screen: usize, rows: usize) -> Vec<ScreenLine> {
    let mut lines = Vec::new();
    let Some(BackgroundStatus { pools, running, .. }) = &status.background else { return lines };
    if rows < 3 {
        return lines;
    }
    let longest = pools.iter().map(|work| width(&clean(&work.pool))).max().unwrap_or(0);
    let table = Table::new(WORK, screen, (NAME.0, longest.min(NAME.1)));
    lines.push(table.titles());
    lines.extend(pools.iter().map(|work| table.row(work, (Ink::Plain, ""), false)));
    if !running.is_empty() {
        let longest = running.iter().map(|job| width(&said(job))).max().unwrap_or(0);
        let table = Table::new(RUNNING, screen, (SAID_LEAST, longest));
        lines.push(table.titles());
        let shown = running.iter().take(RUNNING_MOST);
        lines.extend(shown.map(|job| table.row(job, (Ink::Plain, ""), false)));
        let all: u64 =
            pools.iter().filter_map(|work| work.jobs.as_ref()).map(|it| it.running).sum();
        let more = all.saturating_sub(running.len().min(RUNNING_MOST) as u64);
        if more > 0 {
            let text = format!("  … and {} more", count(more));
            lines.push(ScreenLine::of(Ink::Dim, text));
        }
    }
    lines.truncate(rows - 1);
    lines.push(ScreenLine::default());
    lines
}

fn jobs(work: &PoolWorkStatus, of: fn(&JobCountsStatus) -> u64) -> String {
    work.jobs.as_ref().map_or_else(none, |jobs| some(of(jobs)))
}

/// The items of batches in workers, and those that wait.
fn items(work: &PoolWorkStatus) -> String {
    let Some(batches) = work.batches.filter(|batches| batches.open > 0) else { return none() };
    format!("{}+{}", count(batches.running as u64), count(batches.waiting as u64))
}

fn said(job: &RunningJobStatus) -> String {
    clean(job.text.as_deref().unwrap_or_default())
}

fn none() -> String {
    "–".to_owned()
}

fn some(number: u64) -> String {
    if number == 0 { none() } else { count(number) }
}

fn part(fraction: Option<f64>) -> String {
    fraction.map_or_else(none, |fraction| format!("{:.0}%", (fraction * 100.0).floor()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture::{full, status};

    fn shown(status: &Status, screen: usize, rows: usize) -> Vec<String> {
        tables(status, screen, rows).iter().map(ScreenLine::text).collect()
    }

    #[test]
    fn a_server_without_background_work_shows_nothing_of_it() {
        assert_eq!(shown(&status(&[("a", 1, 0)]), 100, 20), [""; 0]);
    }

    #[test]
    fn jobs_batches_and_groups_have_a_row_a_pool_and_running_jobs_one_each() {
        let lines = shown(&full(), 100, 20);
        assert!(lines[1].trim_start().starts_with("fib"), "{lines:?}");
        assert!(lines[1].contains("3+97") && lines[1].ends_with("6.6"), "{lines:?}");
        assert!(lines[3].contains("40%") && lines[3].contains("page 2"), "{lines:?}");
        assert_eq!(lines.last().map(String::as_str), Some(""));
    }

    #[test]
    fn jobs_that_run_and_have_no_row_are_counted() {
        let mut status = full();
        let background = status.background.as_mut().expect("jobs");
        let job = background.running[0].clone();
        background.running = vec![job; RUNNING_MOST + 2];
        background.pools[0].jobs.as_mut().expect("jobs").running = 1234;
        let lines = shown(&status, 100, 40);
        assert_eq!(lines[lines.len() - 2], "  … and 1226 more", "{lines:?}");
    }

    #[test]
    fn what_a_program_says_cannot_move_the_cursor() {
        let mut status = full();
        let job = &mut status.background.as_mut().expect("jobs").running[0];
        job.text = Some("\u{1b}[2J\n<b>".to_owned());
        job.route = "GET /\u{1b}]0;x\u{7}".to_owned();
        for line in shown(&status, 200, 20) {
            assert!(!line.chars().any(char::is_control), "{line:?}");
        }
        assert_eq!(shown(&status, 80, 2), [""; 0]);
        assert_eq!(shown(&status, 80, 3).len(), 3);
    }
}
