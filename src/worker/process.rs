//! One process that leads its group: waiting for its end, signalling it, reaping it.
//!
//! How the process was made does not matter here (`spawn` makes it): a process id is enough.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustix::process::{
    Pid, Signal, WaitIdOptions, WaitIdStatus, getpgid, kill_process, kill_process_group,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::belongings::Belongings;
use super::ending::{end_of, has_ended, wait, watched};
use super::guard::Guard;
use super::usage;

/// A running process that leads its own group.
///
/// Dropping it kills the group and reaps the leader, on a thread of its own if that takes time.
#[derive(Debug)]
pub struct Process {
    // Before the leader: fields are dropped in this order, and the leader's drop reaps.
    ending: AsyncFd<OwnedFd>,
    leader: Leader,
    used: Arc<OnceLock<Used>>,
    /// After the leader: what is its own is removed once it has ended.
    belongings: Belongings,
}

/// What a process has used in all its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// CPU time.
    pub cpu: Duration,
    /// The most resident memory, in bytes, or that of the server when it started the process, if that
    /// was more; `None` if the system does not say it.
    pub memory_peak: Option<u64>,
}

/// How a process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It returned this code.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
    /// The kernel ended it because it and what it started used more memory than its sandbox allows.
    OutOfMemory,
    /// The program was never run. The text of the shim says which program, and why.
    NotRun(String),
}

/// A child that has not been reaped, so its process id is still its own. It leads a group, which the guard knows.
///
/// Dropping it kills the group and reaps it, on a thread of its own if that takes time.
#[derive(Debug)]
pub(super) struct Leader {
    id: Pid,
    guard: Guard,
    reaped: bool,
}

impl Process {
    /// Takes over a child. One that cannot be watched is killed and reaped.
    pub(super) fn adopt(leader: Leader, belongings: Belongings) -> io::Result<Self> {
        let ending = watched(end_of(leader.id)?, Interest::READABLE)?;
        Ok(Self { ending, leader, used: Arc::default(), belongings })
    }

    /// Gives it what is to go with it.
    pub(super) fn keep(&mut self, belongings: Belongings) {
        self.belongings = belongings;
    }

    /// Returns what is its own.
    pub(super) fn belongings(&self) -> &Belongings {
        &self.belongings
    }

    /// Returns the process id, which is also the id of its group.
    pub fn id(&self) -> u32 {
        self.leader.id.as_raw_pid().unsigned_abs()
    }

    /// Returns where what it has used will be, once it is reaped.
    pub fn used(&self) -> Arc<OnceLock<Used>> {
        Arc::clone(&self.used)
    }

    /// Waits until the process has ended. It is not reaped yet, so its id is still its own.
    pub async fn ended(&self) {
        if self.ending.readable().await.is_err() {
            // The runtime is shutting down, and this task with it.
            std::future::pending::<()>().await;
        }
    }

    /// Signals the whole group. A group without members is no error.
    pub fn signal(&self, signal: Signal) {
        self.leader.signal(signal);
    }

    /// Kills what is left of the group, then reaps the leader. Call it after
    /// [`Process::ended`]: then it blocks only for the moment that the kernel needs after KILL.
    pub fn reap(self) -> Exit {
        let mut leader = self.leader;
        leader.signal(Signal::KILL);
        leader.reaped = true;
        // Until it is reaped it is a zombie, which still shows what it has used.
        if let Ok(cpu) = usage::cpu_of(leader.id.as_raw_pid().unsigned_abs()) {
            self.used.get_or_init(|| Used { cpu, memory_peak: usage::peak_of(leader.id) });
        }
        match reap(leader.id, &leader.guard) {
            Exit::Signal(libc::SIGKILL) if self.belongings.ran_out() => Exit::OutOfMemory,
            exit => exit,
        }
    }
}

impl fmt::Display for Exit {
    /// Writes it as failures and log lines show it: `exit code 1`, `signal 9`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
            Self::OutOfMemory => {
                f.write_str("signal 9: it used more memory than its sandbox allows")
            }
            Self::NotRun(reason) => f.write_str(reason),
        }
    }
}

impl Leader {
    /// Takes over a child of this process that leads its own group and is not on the list of the guard yet.
    pub(super) fn register(id: Pid, guard: &Guard) -> Self {
        guard.register(id);
        Self { id, guard: guard.clone(), reaped: false }
    }

    fn signal(&self, signal: Signal) {
        // The leader is not reaped, so no other group has this id. If no member of the group may
        // be signalled, there is nothing to do.
        kill_process_group(self.id, signal).ok();
        // A leader that has joined another group is reached by its own id.
        if getpgid(Some(self.id)) != Ok(self.id) {
            kill_process(self.id, signal).ok();
        }
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        if self.reaped {
            return;
        }
        self.signal(Signal::KILL);
        if has_ended(self.id) {
            reap(self.id, &self.guard);
            return;
        }
        // A process with much memory takes a while to die; the runtime's thread must not wait.
        let (id, guard) = (self.id, self.guard.clone());
        let reaper = std::thread::Builder::new().name("reap".into());
        if reaper.spawn(move || reap(id, &guard)).is_err() {
            reap(self.id, &self.guard);
        }
    }
}

/// Waits for the end of a killed child and reaps it.
fn reap(id: Pid, guard: &Guard) -> Exit {
    // The first wait does not reap: the guard's lock is held only for the second, which does not
    // block.
    let seen = wait(id, WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
    let status = guard.release(id, || seen.and(wait(id, WaitIdOptions::EXITED)));
    if let Ok(Some(status)) = status {
        return exit_of(&status);
    }
    // Only possible if other code reaps our children, which `reaper` prevents.
    tracing::error!(pid = id.as_raw_pid(), "the exit status of a worker was lost");
    Exit::Signal(Signal::KILL.as_raw())
}

fn exit_of(status: &WaitIdStatus) -> Exit {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, Some(signal)) => Exit::Signal(signal),
        (None, None) => unreachable!("only ends were waited for"),
    }
}
