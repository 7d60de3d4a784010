//! The priority of a worker and all its processes, and how busy the processors are.
//!
//! Any process may lower the priority of its children (`nice`); to raise it again takes
//! `CAP_SYS_NICE`, or a limit (`RLIMIT_NICE`) that permits it.

use std::io;
use std::sync::LazyLock;

use rustix::process::{Pid, getpriority_process, setpriority_pgrp};

use super::usage;

/// The lowest priority.
const LOWEST: i32 = 19;

/// Returns true if the main thread of this process computes, or waits for a processor.
pub fn computes(id: u32) -> bool {
    usage::state_of(id) == Some('R')
}

/// Returns how many threads of this machine compute or wait for a processor, besides the one that asks;
/// `None` where that is not told.
pub fn computing() -> Option<usize> {
    parse(&std::fs::read_to_string("/proc/loadavg").ok()?)
}

/// Reads the fourth field of `/proc/loadavg`: those that compute, of all there are.
fn parse(loads: &str) -> Option<usize> {
    let (computing, _) = loads.split_ascii_whitespace().nth(3)?.split_once('/')?;
    Some(computing.parse::<usize>().ok()?.saturating_sub(1))
}

/// Returns how many processors this machine has, whatever part of them the server may use; `None` where
/// that is not told.
pub fn of_machine() -> Option<usize> {
    static ALL: LazyLock<Option<usize>> =
        LazyLock::new(|| count(&std::fs::read_to_string("/sys/devices/system/cpu/online").ok()?));
    *ALL
}

/// Counts what ranges such as `0-3,5` name.
fn count(ranges: &str) -> Option<usize> {
    ranges.trim().split(',').try_fold(0, |sum, range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let last: usize = last.parse().ok()?;
        Some(sum + last.checked_sub(first.parse().ok()?)? + 1)
    })
}

/// Puts the process group of a worker this far behind the server itself; 0 raises it again.
///
/// # Errors
///
/// The priority may not be raised, or there is no such group.
pub fn step_back(id: u32, by: u8) -> io::Result<()> {
    let group = i32::try_from(id).ok().and_then(Pid::from_raw);
    let group = group.ok_or(io::ErrorKind::NotFound)?;
    let own = getpriority_process(None)?;
    Ok(setpriority_pgrp(Some(group), (own + i32::from(by)).min(LOWEST))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_that_asks_does_not_count() {
        assert_eq!(parse("0.20 0.18 0.12 3/80 11206\n"), Some(2));
        assert_eq!(parse("0.20 0.18 0.12 0/80 11206\n"), Some(0));
        assert_eq!(parse("0.20"), None);
    }

    #[test]
    fn the_processors_of_the_machine_are_counted() {
        assert_eq!(count("0-1\n"), Some(2));
        assert_eq!(count("0,2-3,8\n"), Some(4));
        assert_eq!((count(""), count("3-1"), count("a")), (None, None, None));
        let own = std::thread::available_parallelism().map_or(1, usize::from);
        assert!(of_machine().is_none_or(|all| all >= own));
    }

    #[test]
    fn this_test_computes() {
        assert!(computes(std::process::id()) || usage::state_of(std::process::id()).is_some());
        assert!(!computes(0));
    }
}
