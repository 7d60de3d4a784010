//! What a worker is doing, as the kernel's files tell it.

use std::fs;
use std::time::Duration;

use crate::worker::usage;

/// Most processes of one worker that are looked at.
const PROCESSES_MAX: usize = 64;

/// What a worker and its descendants do at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Look {
    pub(super) activity: Activity,
    /// Time on a CPU since the start, of all of them.
    pub(super) cpu: Duration,
}

/// From least to most busy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Activity {
    /// Every thread is blocked reading descriptor 0, or waits for a child that is: nothing will
    /// happen until input comes.
    Waits,
    /// Every thread sleeps, for a reason of its own.
    Sleeps,
    /// Some thread runs, or waits for a disk.
    Runs,
}

/// Looks at a process that has not been reaped, and at its descendants.
pub(super) fn at(leader: u32) -> Look {
    let mut look = Look { activity: Activity::Waits, cpu: Duration::ZERO };
    let mut processes = vec![leader];
    let mut next = 0;
    while let Some(process) = processes.get(next).copied() {
        next += 1;
        look.cpu += usage::of(process).map(|usage| usage.cpu).unwrap_or_default();
        let Ok(threads) = fs::read_dir(format!("/proc/{process}/task")) else { continue };
        for thread in threads.flatten() {
            let read = |file| fs::read_to_string(thread.path().join(file));
            let stat = read("stat").unwrap_or_default();
            // Some kernels and sandboxes show only one of the two.
            let waits = match read("syscall") {
                Ok(call) => waits_for_input(&call),
                Err(_) => read("wchan").is_ok_and(|place| place.ends_with("pipe_read")),
            };
            look.activity = look.activity.max(activity(&stat, waits));
            let children = read("children").unwrap_or_default();
            let children =
                children.split_ascii_whitespace().filter_map(|id| id.parse::<u32>().ok());
            processes.extend(children.take(PROCESSES_MAX.saturating_sub(processes.len())));
        }
    }
    look
}

/// Of one thread, from its `stat` and from what it `waits` for if it sleeps.
fn activity(stat: &str, waits: bool) -> Activity {
    let state = stat.rsplit_once(')').and_then(|(_, rest)| rest.trim_start().chars().next());
    match state {
        Some('S') if waits => Activity::Waits,
        Some('S' | 'T' | 't') => Activity::Sleeps,
        // One that has ended holds nobody up.
        Some('Z' | 'X') | None => Activity::Waits,
        Some(_) => Activity::Runs,
    }
}

/// `0 0x0 …`: the number of the call and its arguments.
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
    fn only_who_reads_its_input_waits_for_it() {
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
        assert_eq!(at(std::process::id()).activity, Activity::Runs);
    }
}
