//! The helpers of the black-box tests: a real server with real workers, and its callers.
//!
//! Only these files know ports, paths and process ids. Every wait is here and has a limit.

#[cfg(feature = "nats")]
pub(crate) mod bridge;
mod browser;
#[cfg(feature = "nats")]
pub(crate) mod bus;
mod client;
mod command;
mod judge;
mod manager;
mod memory;
#[cfg(feature = "nats")]
pub(crate) mod nats;
mod output;
mod plan;
mod processes;
#[cfg(feature = "redis")]
mod redis;
mod server;
mod socket;
mod system;
mod terminal;
mod time;
#[cfg(feature = "tls")]
pub(crate) mod tls;

use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub(crate) use browser::Browser;
pub(crate) use client::{Answer, Client, Connection, Pending, request};
pub(crate) use command::{binary, shell};
pub(crate) use judge::Judge;
pub(crate) use manager::{LentSocket, Told};
pub(crate) use memory::MemoryGroups;
pub(crate) use plan::Plan;
#[cfg(feature = "redis")]
pub(crate) use redis::Redis;
pub(crate) use server::Server;
pub(crate) use terminal::Terminal;
pub(crate) use time::{Stopwatch, Took};

/// How long a test waits for an event on a free machine before it fails.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long it waits at most on a machine that is never free: what is to come has long come then.
const PATIENCE_MOST: Duration = Duration::from_mins(2);
/// How long a caller waits for bytes before its test fails: with twenty other programs on the
/// machine, an answer of 64 MiB takes more than ten seconds.
pub(crate) const CALLER_PATIENCE: Duration = Duration::from_mins(1);

/// Calls `ask` every few milliseconds until it returns something. Panics after [`PATIENCE`] with
/// `what` and `context`.
fn eventually<T>(
    what: &str,
    mut ask: impl FnMut() -> Option<T>,
    context: impl FnOnce() -> String,
) -> T {
    let watch = Stopwatch::start();
    loop {
        if let Some(found) = ask() {
            return found;
        }
        let took = watch.took();
        assert!(
            took.is_below(PATIENCE) && took.time < PATIENCE_MOST,
            "waited {:?} in vain until {what}{}",
            took.time,
            context()
        );
        sleep(Duration::from_millis(3));
    }
}

/// Lets time pass if there is no event to wait for: between the requests of a caller, or to see
/// that something does not happen. `_reason` is for the reader.
pub(crate) fn pause(time: Duration, _reason: &'static str) {
    sleep(time);
}

#[expect(clippy::disallowed_methods, reason = "the one place where tests wait for a clock")]
fn sleep(time: Duration) {
    std::thread::sleep(time);
}

/// Locks the machine for a test that keeps all of it busy, so that such tests run one at a time.
pub(crate) fn whole_machine() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    // A test that failed with the lock must not fail the next one.
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sets the flag when it is dropped, so that other threads stop even if the test fails.
pub(crate) struct Over<'a>(pub(crate) &'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Reports that the current test cannot run because something is missing. On a developer's machine
/// it is skipped, with a line on the real stderr, which the test runner does not capture. In CI it
/// fails.
pub(crate) fn skipped(want: &str, hint: &str) {
    let is_ci = std::env::var_os("CI").is_some_and(|value| value == "true");
    assert!(!is_ci, "{want}; {hint}");
    passed_over(want, hint);
}

/// Reports that the current test is skipped, in CI too: not every machine can have what is missing.
pub(crate) fn passed_over(want: &str, hint: &str) {
    let test = std::thread::current().name().unwrap_or_default().to_owned();
    writeln!(std::io::stderr(), "SKIPPED: {test}: {want}; {hint}").expect("stderr can be written");
}

/// Returns the library that shifts the wall clock of processes that load it. Without it the test is
/// skipped.
pub(crate) fn library_that_shifts_the_clock() -> Option<String> {
    let find = "find /usr/lib /usr/lib64 -name libfaketime.so.1 2>/dev/null | head -n 1";
    let path = shell(find).1.trim().to_owned();
    if path.is_empty() {
        skipped("libfaketime is not installed", "`apt-get install faketime` does it");
    }
    Some(path).filter(|path| !path.is_empty())
}

/// The capability to trace processes of others, and those that hide their memory.
pub(crate) const SYS_PTRACE: u32 = 19;

/// Returns true if this process has a capability. The number is that of `linux/capability.h`.
pub(crate) fn has_capability(number: u32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux tells");
    let held = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let held = held.and_then(|held| u64::from_str_radix(held.trim(), 16).ok());
    held.expect("Linux tells") & (1 << number) != 0
}

/// Returns true if system calls of a server can be made to fail ([`Server::inject`]). Otherwise the test is
/// skipped.
pub(crate) fn can_inject() -> bool {
    let can = has_capability(SYS_PTRACE);
    if !can {
        passed_over("a server cannot be traced", "it takes root with CAP_SYS_PTRACE");
    }
    can && has_strace()
}

/// Returns true if a server can be started under `strace`. Otherwise the test is skipped.
pub(crate) fn has_strace() -> bool {
    let is_there = shell("strace -V >/dev/null").0 == 0;
    if !is_there {
        skipped("strace is not installed", "`apt-get install strace` does it");
    }
    is_there
}
