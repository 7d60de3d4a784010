//! Whether a timer may interrupt a program that waits.
//!
//! The kernel does not show whether a timer runs, only whether the program is prepared for one:
//! whether it catches `SIGALRM`, and which POSIX timers it has.

use std::fs::File;

use super::source::read_text;

/// The first signal that no program has a fixed use for. The C library takes it for timers that
/// call a function.
const FIRST_FREE_SIGNAL: i32 = 32;

/// Most bytes that are read of a file. The kernel gives a page at once.
const ROOM: usize = 4 << 10;
/// A list of timers that is longer may have an end that was not read.
const WHOLE: usize = 3 << 10;

/// Returns true if a timer may interrupt the process `id`.
pub(super) fn may_ring(id: u32) -> bool {
    let mut room = [0; ROOM];
    let mut read = |name: &str| {
        let file = File::open(format!("/proc/{id}/{name}"));
        // One read: a second one, for the end, would cost as much.
        file.and_then(|file| Ok(read_text(&file, &mut room)?.to_owned())).unwrap_or_default()
    };
    catches_alarms(&read("stat")) || {
        let timers = read("timers");
        has_timer(&timers) || timers.len() > WHOLE
    }
}

/// Reads field 34 of a `stat` file, the lower signals that are caught. Field 2, the name, may hold
/// spaces and parentheses. A program that catches `SIGVTALRM` too, as `sort` and `bash` do, catches
/// whatever would end it, to clean up.
fn catches_alarms(stat: &str) -> bool {
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    // What is left begins with field 3.
    let caught = after_name.split_ascii_whitespace().nth(34 - 3);
    let caught = caught.and_then(|caught| caught.parse::<u64>().ok()).unwrap_or(0);
    let catches = |signal: i32| caught & (1 << (signal - 1)) != 0;
    catches(libc::SIGALRM) && !catches(libc::SIGVTALRM)
}

/// Returns true if one of the timers in a `timers` file sends a signal that may start something.
/// Others, as `SIGPROF` and `SIGVTALRM`, belong to profilers and runtimes.
fn has_timer(timers: &str) -> bool {
    let signals = timers.lines().filter_map(|line| line.strip_prefix("signal: "));
    let mut numbers = signals.filter_map(|rest| rest.split('/').next()?.trim().parse().ok());
    numbers.any(|signal: i32| signal == libc::SIGALRM || signal >= FIRST_FREE_SIGNAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_catches_the_alarm_signal_may_be_woken_by_it() {
        let stat = |caught: u64| {
            let between = "0 ".repeat(34 - 3 - 1);
            format!("7 (a) b) S {between}{caught} 1 0 0 17 0\n")
        };
        assert!(catches_alarms(&stat(1 << 13)) && catches_alarms(&stat(u64::from(u16::MAX))));
        assert!(!catches_alarms(&stat(1 << 1)) && !catches_alarms(&stat(1 << 25)));
        assert!(!catches_alarms(&stat(1 << 13 | 1 << 25)), "it cleans up at its end");
        assert!(!catches_alarms("") && !catches_alarms("7 (short) S 1 7"));
    }

    #[test]
    fn a_timer_counts_if_its_signal_may_start_something() {
        let timer =
            |signal| format!("ID: 0\nsignal: {signal}/0000\nnotify: signal/pid.7\nClockID: 1\n");
        assert!(has_timer(&timer(14)) && has_timer(&timer(32)) && has_timer(&timer(64)));
        assert!(!has_timer(&timer(26)) && !has_timer(""));
        assert!(has_timer(&(timer(26) + &timer(14))), "the second one");
    }
}
