//! How much CPU time a worker used lately, and whether it always wanted more.

use std::fs;
use std::time::{Duration, Instant};

use crate::worker::usage;

/// How many processes of one worker are examined.
const PROCESSES_MAX: usize = 64;
/// How far back the activity is known.
const RECENT: Duration = Duration::from_secs(1);

/// What a worker and its descendants did lately.
#[derive(Debug, Default)]
pub struct Activity {
    /// The samples of the last second, oldest first.
    recent: Vec<(Instant, CpuUse)>,
}

/// The CPU use of a worker and its descendants at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CpuUse {
    /// CPU time of all of them since they started.
    pub time: Duration,
    /// At least one thread runs, or waits for a processor or a disk.
    pub runs: bool,
}

impl Activity {
    /// Takes note of what the worker does now. Its first process must not be reaped yet.
    pub fn observe(&mut self, leader: u32) {
        let now = Instant::now();
        self.recent.retain(|(at, _)| now.duration_since(*at) <= RECENT);
        self.recent.extend(CpuUse::of(leader).map(|cpu_use| (now, cpu_use)));
    }

    /// Returns the CPU time that it used in the last second.
    pub fn recent_cpu(&self) -> Duration {
        match (self.recent.first(), self.recent.last()) {
            (Some((_, before)), Some((_, after))) => after.time.saturating_sub(before.time),
            _ => Duration::ZERO,
        }
    }

    /// Returns true if it wanted a processor at every moment of the last second. A busy machine may
    /// have given it none all the same.
    pub fn was_always_running(&self) -> bool {
        !self.recent.is_empty() && self.recent.iter().all(|(_, cpu_use)| cpu_use.runs)
    }
}

impl CpuUse {
    /// Returns what the process `leader` and its descendants use. Returns `None` if the kernel does
    /// not show that process.
    pub fn of(leader: u32) -> Option<Self> {
        let mut total = Self { time: usage::cpu_of(leader).ok()?, runs: false };
        let mut processes = vec![leader];
        let mut next = 0;
        while let Some(process) = processes.get(next).copied() {
            if next > 0 {
                total.time += usage::cpu_of(process).unwrap_or_default();
            }
            next += 1;
            let Ok(threads) = fs::read_dir(format!("/proc/{process}/task")) else { continue };
            for thread in threads.flatten() {
                let read = |file| fs::read_to_string(thread.path().join(file)).unwrap_or_default();
                total.runs |= runs(&read("stat"));
                let children = read("children");
                let children =
                    children.split_ascii_whitespace().filter_map(|id| id.parse::<u32>().ok());
                processes.extend(children.take(PROCESSES_MAX.saturating_sub(processes.len())));
            }
        }
        Some(total)
    }
}

/// Returns true if this line of a `stat` file is of a thread that runs or waits for a disk.
fn runs(stat: &str) -> bool {
    let state = stat.rsplit_once(')').and_then(|(_, rest)| rest.trim_start().chars().next());
    matches!(state, Some('R' | 'D'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_says_whether_a_thread_runs() {
        assert!(runs("7 (a) R 1 7 7") && runs("7 (S) D 1 7 7"));
        assert!(!runs("7 (a) b) S 1 7 7") && !runs("7 (R) Z 1 7 7") && !runs(""));
    }

    #[test]
    fn a_thread_that_runs_is_seen_to_run() {
        let mut activity = Activity::default();
        assert!(!activity.was_always_running(), "nothing was seen yet");
        activity.observe(std::process::id());
        assert!(activity.was_always_running());
    }
}
