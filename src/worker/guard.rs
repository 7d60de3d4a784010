//! The process that ends the groups when the server has gone.
//!
//! The kernel kills a worker when the server dies, but not what the worker had started. So a
//! second process of our own binary waits at the end of a pipe. The server tells it which groups
//! there are, one line each: `+PID` when a worker was started, `-PID` before it is reaped. When
//! the pipe ends, however the server ended, the guard kills the groups it still knows.

use std::collections::HashSet;
use std::io::{self, BufRead};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitCode};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::io::ioctl_fionbio;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use super::shim;
use super::spawn::guard_command;

/// The server's line to its guard process, and its list of the children that are workers.
///
/// Clones are the same line. A guard that died is noticed at the next worker that starts or
/// ends, and replaced then.
#[derive(Clone, Debug)]
pub struct Guard {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    binary: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    line: Option<Line>,
    groups: HashSet<Pid>,
}

/// One guard process.
#[derive(Debug)]
struct Line {
    pipe: OwnedFd,
    child: Child,
    /// It has work to do when the pipe closes.
    left: bool,
}

impl Guard {
    /// Starts the guard process. `binary` is our own ([`super::spawn::OWN_BINARY`], or another
    /// path to it where that one is not ours to run); the shim is run from it too.
    pub fn start(binary: impl Into<PathBuf>) -> io::Result<Self> {
        let binary = binary.into();
        let line = Line::start(&binary)?;
        let state = State { line: Some(line), groups: HashSet::new() };
        Ok(Self { shared: Arc::new(Shared { binary, state: Mutex::new(state) }) })
    }

    /// The binary that guard and shim are run from.
    pub fn binary(&self) -> &Path {
        &self.shared.binary
    }

    /// The process id of the guard, for tests and for operators who wonder what it is.
    pub fn id(&self) -> Option<u32> {
        self.lock().line.as_ref().map(|line| line.child.id())
    }

    /// Starts a worker and puts its group on the list. Both under the lock, so that
    /// [`Guard::reap_stranger`] never sees a worker before the list has it.
    pub(super) fn register(&self, start: impl FnOnce() -> io::Result<Child>) -> io::Result<Pid> {
        let mut state = self.lock();
        let id = Pid::from_child(&start()?);
        state.groups.insert(id);
        self.tell(&mut state, '+', id);
        Ok(id)
    }

    /// Takes a group off the list around `reap`, after which the number may be another's.
    pub(super) fn release<T>(&self, id: Pid, reap: impl FnOnce() -> T) -> T {
        let mut state = self.lock();
        state.groups.remove(&id);
        self.tell(&mut state, '-', id);
        reap()
    }

    /// Reaps a child that ended and is neither a worker nor the guard. Says if it did.
    pub(super) fn reap_stranger(&self, id: Pid) -> bool {
        let state = self.lock();
        let is_guard = state.line.as_ref().is_some_and(|line| Pid::from_child(&line.child) == id);
        if is_guard || state.groups.contains(&id) {
            return false;
        }
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        matches!(waitid(WaitId::Pid(id), options), Ok(Some(_)))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The list is whole after each single step, so a panic elsewhere does not spoil it.
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the guard of one change, or its successor of everything.
    fn tell(&self, state: &mut State, sign: char, id: Pid) {
        if let Some(line) = &state.line {
            let Err(error) = line.write(sign, id) else { return };
            tracing::warn!(%error, "the guard process was lost; starting another");
        }
        state.line = match Line::restart(self.binary(), &state.groups) {
            Ok(line) => Some(line),
            Err(error) => {
                tracing::error!(
                    %error,
                    "no guard process: what workers start may outlive a server that is killed"
                );
                None
            }
        };
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(line) = &mut state.line {
            line.left = !state.groups.is_empty();
        }
    }
}

impl Line {
    fn start(binary: &Path) -> io::Result<Self> {
        let (theirs, pipe) = pipe_with(PipeFlags::CLOEXEC)?;
        // The pipe holds the news of thousands of workers. If it is full nevertheless, then the
        // guard hangs and is replaced: the server never waits for it.
        ioctl_fionbio(&pipe, true)?;
        let child = guard_command(binary, theirs).spawn()?;
        Ok(Self { pipe, child, left: false })
    }

    fn restart(binary: &Path, groups: &HashSet<Pid>) -> io::Result<Self> {
        let line = Self::start(binary)?;
        groups.iter().try_for_each(|group| line.write('+', *group))?;
        Ok(line)
    }

    /// A line is far shorter than the length up to which the kernel never writes a part.
    fn write(&self, sign: char, id: Pid) -> io::Result<()> {
        let line = format!("{sign}{}\n", id.as_raw_pid());
        rustix::io::retry_on_intr(|| rustix::io::write(&self.pipe, line.as_bytes()))?;
        Ok(())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if self.left {
            return;
        }
        // It is replaced or has nothing to do. If it saw the pipe close it would kill workers
        // that live, so it goes first; at once, so that reaping it does not block.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The guard process itself: `httpipe __guard`. Ends only when its stdin does.
pub fn main() -> ExitCode {
    // What lists of processes show; started as `/proc/self/exe` it would be called `exe`.
    rustix::thread::set_name(c"httpipe-guard").ok();
    shim::ignore_endings();
    shim::close_inherited();
    let mut groups = HashSet::new();
    for line in io::stdin().lock().lines() {
        // An error that is not the end of the pipe leaves us as blind as the end.
        let Ok(line) = line else { break };
        note(&mut groups, &line);
    }
    for group in groups {
        kill_process_group(group, Signal::KILL).ok();
    }
    ExitCode::SUCCESS
}

/// Takes one line of the server's. Lines that mean nothing are passed over.
fn note(groups: &mut HashSet<Pid>, line: &str) {
    let Some((sign, number)) = line.split_at_checked(1) else { return };
    // Group 1 would be that of the system's first process, and 0 our own.
    let Some(id) = number.parse().ok().filter(|raw| *raw > 1).and_then(Pid::from_raw) else {
        return;
    };
    match sign {
        "+" => groups.insert(id),
        "-" => groups.remove(&id),
        _ => false,
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups_after(lines: &[&str]) -> Vec<i32> {
        let mut groups = HashSet::new();
        for line in lines {
            note(&mut groups, line);
        }
        let mut numbers: Vec<_> = groups.into_iter().map(Pid::as_raw_pid).collect();
        numbers.sort_unstable();
        numbers
    }

    #[test]
    fn a_group_is_known_from_plus_to_minus() {
        assert_eq!(groups_after(&["+12", "+30"]), [12, 30]);
        assert_eq!(groups_after(&["+12", "+30", "-12"]), [30]);
    }

    #[test]
    fn numbers_that_are_no_workers_group_are_never_killed() {
        let none: [i32; 0] = [];
        assert_eq!(groups_after(&["+0", "+1", "+-1", "+-12", "+", "", "12", "+x", "é"]), none);
    }
}
