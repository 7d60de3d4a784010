//! What a worker and its descendants are doing, read from `/proc`.

use std::fs;
use std::time::Duration;

use crate::worker::usage;

/// How many processes of one worker are examined.
const PROCESSES_MAX: usize = 64;

/// The activity of a worker and its descendants at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Snapshot {
    pub(super) activity: Activity,
    /// CPU time of all of them since they started.
    pub(super) cpu: Duration,
}

/// How busy a process is, from least to most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Activity {
    /// Every thread is blocked reading descriptor 0, or waits for a child that is. Nothing
    /// happens until input arrives.
    Waits,
    /// Every thread sleeps, at least one of them for another reason than input.
    Sleeps,
    /// At least one thread runs or waits for a disk.
    Runs,
}

/// Returns the activity of a process and its descendants. The process must not be reaped yet.
pub(super) fn snapshot(leader: u32) -> Snapshot {
    let mut snapshot = Snapshot { activity: Activity::Waits, cpu: Duration::ZERO };
    let mut processes = vec![leader];
    let mut next = 0;
    while let Some(process) = processes.get(next).copied() {
        next += 1;
        snapshot.cpu += usage::of(process).map(|usage| usage.cpu).unwrap_or_default();
        let Ok(threads) = fs::read_dir(format!("/proc/{process}/task")) else { continue };
        for thread in threads.flatten() {
            let read = |file| fs::read_to_string(thread.path().join(file));
            let stat = read("stat").unwrap_or_default();
            // Some kernels and sandboxes have only one of these two files.
            let waits = match read("syscall") {
                Ok(call) => waits_for_input(&call),
                Err(_) => read("wchan").is_ok_and(|place| place.ends_with("pipe_read")),
            };
            snapshot.activity = snapshot.activity.max(activity(&stat, waits));
            let children = read("children").unwrap_or_default();
            let children =
                children.split_ascii_whitespace().filter_map(|id| id.parse::<u32>().ok());
            processes.extend(children.take(PROCESSES_MAX.saturating_sub(processes.len())));
        }
    }
    snapshot
}

/// Returns the activity of one thread. `waits`: if it sleeps, it sleeps until input arrives.
fn activity(stat: &str, waits: bool) -> Activity {
    let state = stat.rsplit_once(')').and_then(|(_, rest)| rest.trim_start().chars().next());
    match state {
        Some('S') if waits => Activity::Waits,
        Some('S' | 'T' | 't') => Activity::Sleeps,
        // A thread that has ended does nothing.
        Some('Z' | 'X') | None => Activity::Waits,
        Some(_) => Activity::Runs,
    }
}

/// Returns true if this system call waits for input. `call` is its number and its arguments:
/// `0 0x0 …`.
fn waits_for_input(call: &str) -> bool {
    let mut words = call.split_ascii_whitespace();
    let Some(number) = words.next().and_then(|number| number.parse::<i64>().ok()) else {
        return false;
    };
    let reads = [libc::SYS_read, libc::SYS_readv].contains(&number);
    let waits = [libc::SYS_wait4, libc::SYS_waitid].contains(&number);
    waits || (reads && words.next() == Some("0x0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_read_of_descriptor_0_or_a_wait_for_a_child_waits_for_input() {
        let rest = "0x1f167b30 0x1000 0x0 0x54 0xd 0x7f 0x7f";
        assert!(waits_for_input(&format!("{} 0x0 {rest}", libc::SYS_read)));
        assert!(waits_for_input(&format!("{} 0xffffffff {rest}", libc::SYS_wait4)));
        assert!(!waits_for_input(&format!("{} 0x3 {rest}", libc::SYS_read)));
        assert!(!waits_for_input(&format!("{} 0x0 {rest}", libc::SYS_futex)));
        assert!(!waits_for_input("-1 0x7f 0x7f"));
        assert!(!waits_for_input("running"));
    }

    #[test]
    fn a_state_says_how_busy_a_thread_is() {
        assert_eq!(activity("7 (a) b) S 1 7 7", true), Activity::Waits);
        assert_eq!(activity("7 (a) b) S 1 7 7", false), Activity::Sleeps);
        assert_eq!(activity("7 (a) R 1 7 7", true), Activity::Runs);
        assert_eq!(activity("7 (S) D 1 7 7", true), Activity::Runs);
        assert_eq!(activity("7 (a) Z 1 7 7", false), Activity::Waits);
    }

    #[test]
    fn a_thread_that_runs_is_seen_to_run() {
        assert_eq!(snapshot(std::process::id()).activity, Activity::Runs);
    }
}
