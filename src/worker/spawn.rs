//! The only place a process is made.

use std::io;
use std::os::fd::OwnedFd;

use rustix::process::Signal;
use tokio::io::unix::AsyncFd;

use super::guard::Guard;
use crate::config::LaunchSettings;

/// A running process that leads its own group, with our ends of its three streams.
///
/// Dropping it kills the group and reaps the leader.
#[derive(Debug)]
pub struct Process {}

/// How a process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It returned this code.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
    /// It was never run: what the shim said, path and reason in words.
    NotRun(String),
}

/// Our ends of a process's streams, non-blocking.
#[derive(Debug)]
pub struct Streams {
    /// It reads from here.
    pub stdin: AsyncFd<OwnedFd>,
    /// It writes here; the master of a pseudo-terminal where `tty` is set (EIO is its end).
    pub stdout: AsyncFd<OwnedFd>,
    /// Its complaints.
    pub stderr: AsyncFd<OwnedFd>,
}

impl Process {
    /// Starts a program. Must be called on a thread that lives as long as the server: the
    /// kernel kills the process when that thread ends.
    pub fn spawn(_launch: &LaunchSettings, _guard: &Guard) -> io::Result<(Self, Streams)> {
        todo!()
    }

    /// The process id, which is its group's too.
    pub fn id(&self) -> u32 {
        todo!()
    }

    /// Waits until the process has ended. It is not reaped yet, so its id is still its own.
    pub async fn ended(&self) {
        todo!()
    }

    /// Signals the whole group; a group that has gone is no error.
    pub fn signal(&self, _signal: Signal) {
        todo!()
    }

    /// Kills what is left of the group, then reaps the leader. Blocks only for the moment that
    /// the kernel needs after KILL; call it after [`Process::ended`].
    pub fn reap(self) -> Exit {
        todo!()
    }
}
