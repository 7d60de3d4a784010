//! The language of the black-box tests: a real server with real workers, and callers of it.
//!
//! Ports, paths and process ids stay in here; so does every wait, and each has a bound.

mod client;
mod command;
mod memory;
mod output;
mod plan;
mod processes;
mod server;
mod socket;
mod system;
mod time;

use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub(crate) use client::{Answer, Client, Connection, Pending, request};
pub(crate) use command::shell;
pub(crate) use memory::MemoryGroups;
pub(crate) use plan::Plan;
pub(crate) use server::Server;
pub(crate) use time::{Stopwatch, Took};

/// The longest that anything is waited for on a free machine; a test that needs it has failed.
const PATIENCE: Duration = Duration::from_secs(10);

/// Asks again every few milliseconds until there is something, or panics with `what` and what
/// `context` says.
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
        assert!(
            watch.took().is_below(PATIENCE),
            "waited {PATIENCE:?} in vain until {what}{}",
            context()
        );
        sleep(Duration::from_millis(3));
    }
}

/// Lets time pass where there is nothing to wait for: between the requests of a caller, or where
/// the absence of something is to be seen. The reason is for the reader.
pub(crate) fn pause(time: Duration, _reason: &'static str) {
    sleep(time);
}

#[expect(clippy::disallowed_methods, reason = "the one place where tests wait for a clock")]
fn sleep(time: Duration) {
    std::thread::sleep(time);
}

/// Held by tests that keep the whole machine busy, so that they run one after another.
pub(crate) fn whole_machine() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    // A test that failed while it held it does not spoil the next.
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Tells others to stop when it goes, also where a test fails.
pub(crate) struct Over<'a>(pub(crate) &'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The current test cannot run for want of something. On a developer's machine it is passed over,
/// said on the real stderr, which the test runner does not keep back; in CI it fails.
pub(crate) fn skipped(want: &str, hint: &str) {
    let is_ci = std::env::var_os("CI").is_some_and(|value| value == "true");
    assert!(!is_ci, "{want}; {hint}");
    passed_over(want, hint);
}

/// The same where no machine can be asked to have it: passed over in CI too.
pub(crate) fn passed_over(want: &str, hint: &str) {
    let test = std::thread::current().name().unwrap_or_default().to_owned();
    writeln!(std::io::stderr(), "SKIPPED: {test}: {want}; {hint}").expect("stderr can be written");
}

/// A library that shifts the wall clock of the processes that load it; if there is none, says so.
pub(crate) fn library_that_shifts_the_clock() -> Option<String> {
    let find = "find /usr/lib /usr/lib64 -name libfaketime.so.1 2>/dev/null | head -n 1";
    let path = shell(find).1.trim().to_owned();
    if path.is_empty() {
        skipped("libfaketime is not installed", "`apt-get install faketime` does it");
    }
    Some(path).filter(|path| !path.is_empty())
}

/// Can system calls be made to fail here ([`Server::inject`])? If not, says so.
pub(crate) fn has_strace() -> bool {
    let is_there = shell("strace -V >/dev/null").0 == 0;
    if !is_there {
        skipped("strace is not installed", "`apt-get install strace` does it");
    }
    is_there
}
