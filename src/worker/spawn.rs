//! The only place a process is made.
//!
//! A program is not started directly but by the shim of our own binary (`shim`), because the
//! set-up that must happen between fork and exec would otherwise need `pre_exec`. With that std
//! leaves `posix_spawn` for `fork`, which copies the page tables of the whole server: with a
//! warm cache that stops every thread here for tens of milliseconds. So: never `pre_exec`.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::io::{Errno, ioctl_fionbio};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, WaitIdStatus, getpgid, kill_process,
    kill_process_group, pidfd_open, waitid,
};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::guard::Guard;
use crate::config::LaunchSettings;

/// Our own binary, as a path that names the running version even after an upgrade has replaced
/// the file.
pub const OWN_BINARY: &str = "/proc/self/exe";

/// A running process that leads its own group, with our ends of its three streams.
///
/// Dropping it kills the group and reaps the leader, on a thread of its own if that takes time.
#[derive(Debug)]
pub struct Process {
    // Before the leader: fields are dropped in this order, and the leader's drop reaps.
    ending: AsyncFd<OwnedFd>,
    leader: Leader,
    token: Token,
}

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

/// What marks the shim's own message on a worker's stderr. Every process has another one, and
/// the program never learns it, so that it cannot pretend to be the shim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token(String);

/// A child that has not been reaped, so that its number is its own.
#[derive(Debug)]
struct Leader {
    id: Pid,
    guard: Guard,
    reaped: bool,
}

impl Process {
    /// Starts a program. Must be called on a thread that lives as long as the server: the
    /// kernel kills the process when that thread ends. Must be called inside a runtime.
    ///
    /// That the program itself cannot be run is no error here: the process then ends with code
    /// 126 or 127, and its stderr says why (`stderr::LastWords::explain`).
    pub fn spawn(launch: &LaunchSettings, guard: &Guard) -> io::Result<(Self, Streams)> {
        let token = Token::random();
        let (their_stdin, our_stdin) = pipe_with(PipeFlags::CLOEXEC)?;
        let (our_stdout, their_stdout) =
            if launch.tty { raw_terminal()? } else { pipe_with(PipeFlags::CLOEXEC)? };
        let (our_stderr, their_stderr) = pipe_with(PipeFlags::CLOEXEC)?;
        let streams = Streams {
            stdin: non_blocking(our_stdin, Interest::WRITABLE)?,
            stdout: non_blocking(our_stdout, Interest::READABLE)?,
            stderr: non_blocking(our_stderr, Interest::READABLE)?,
        };
        let mut command = shim_command(guard.binary(), launch, &token);
        command.stdin(their_stdin).stdout(their_stdout).stderr(their_stderr);
        let id = guard.register(|| command.spawn())?;
        // Our copies of its ends must go, or we would never see the end of its output.
        drop(command);
        // From here on a failure drops the leader, which kills and reaps it.
        let leader = Leader { id, guard: guard.clone(), reaped: false };
        let ending = watched(end_of(id)?, Interest::READABLE)?;
        Ok((Self { ending, leader, token }, streams))
    }

    /// The process id, which is its group's too.
    pub fn id(&self) -> u32 {
        self.leader.id.as_raw_pid().unsigned_abs()
    }

    /// What marks the shim's message on this process's stderr.
    pub fn token(&self) -> &Token {
        &self.token
    }

    /// Waits until the process has ended. It is not reaped yet, so its id is still its own.
    pub async fn ended(&self) {
        if self.ending.readable().await.is_err() {
            // The runtime is going away, and with it everybody who waits here.
            std::future::pending::<()>().await;
        }
    }

    /// Signals the whole group; a group that has gone is no error.
    pub fn signal(&self, signal: Signal) {
        self.leader.signal(signal);
    }

    /// Kills what is left of the group, then reaps the leader. Blocks only for the moment that
    /// the kernel needs after KILL; call it after [`Process::ended`].
    pub fn reap(self) -> Exit {
        let mut leader = self.leader;
        leader.signal(Signal::KILL);
        leader.reaped = true;
        reap(leader.id, &leader.guard)
    }
}

impl fmt::Display for Exit {
    /// In words, as failures and log lines say it: `exit code 1`, `signal 9`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
            Self::NotRun(reason) => f.write_str(reason),
        }
    }
}

impl Token {
    fn random() -> Self {
        Self(format!("{:032x}", fastrand::u128(..)))
    }

    /// The token as the shim is told it.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Leader {
    fn signal(&self, signal: Signal) {
        // The leader is not reaped, so the group's number cannot be another's; if it has no
        // member that may be signalled, there is nobody to tell.
        kill_process_group(self.id, signal).ok();
        // It may have joined another group, where it is found by its own number all the same.
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

/// A command that is made here and nowhere else, so that all processes can be found.
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub(super) fn command(program: &Path) -> Command {
    Command::new(program)
}

/// The call of our own binary that becomes the program.
fn shim_command(binary: &Path, launch: &LaunchSettings, token: &Token) -> Command {
    let mut command = command(binary);
    // The directory is an argument rather than `current_dir` so that the shim can say in words
    // what is wrong with it.
    command
        .arg0("httpipe")
        .arg("__exec")
        .arg(token.as_str())
        .arg(std::process::id().to_string())
        .arg(&launch.dir)
        .arg(&launch.program)
        .arg(&launch.name)
        .args(&launch.arguments)
        .env_clear()
        .envs(launch.env.iter().map(|(name, value)| (name, value)))
        .process_group(0);
    command
}

/// Waits for the end of a killed child and reaps it.
fn reap(id: Pid, guard: &Guard) -> Exit {
    // First without taking it away: the guard's lock is held only for what does not block.
    let seen = wait(id, WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
    let status = guard.release(id, || seen.and(wait(id, WaitIdOptions::EXITED)));
    if let Ok(Some(status)) = status {
        return exit_of(&status);
    }
    // Only possible if somebody else reaps our children, which `reaper` is there to prevent.
    tracing::error!(pid = id.as_raw_pid(), "the end of a worker was not seen");
    Exit::Signal(Signal::KILL.as_raw())
}

/// Becomes readable when this child ends; nothing is reaped by that.
fn end_of(id: Pid) -> io::Result<OwnedFd> {
    match pidfd_open(id, PidfdFlags::empty()) {
        Err(Errno::NOSYS) => end_seen_by_thread(id),
        opened => Ok(opened?),
    }
}

/// The same where there are no pidfds, as under valgrind and in some sandboxes: the end of a
/// pipe whose other end a thread holds until it has seen the child end.
fn end_seen_by_thread(id: Pid) -> io::Result<OwnedFd> {
    let (ours, theirs) = pipe_with(PipeFlags::CLOEXEC)?;
    std::thread::Builder::new().name("wait".into()).spawn(move || {
        // That there is no such child any more is an end as well.
        wait(id, WaitIdOptions::EXITED | WaitIdOptions::NOWAIT).ok();
        drop(theirs);
    })?;
    Ok(ours)
}

fn has_ended(id: Pid) -> bool {
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
    matches!(wait(id, look), Ok(Some(_)))
}

fn wait(id: Pid, options: WaitIdOptions) -> Result<Option<WaitIdStatus>, Errno> {
    rustix::io::retry_on_intr(|| waitid(WaitId::Pid(id), options))
}

fn exit_of(status: &WaitIdStatus) -> Exit {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, Some(signal)) => Exit::Signal(signal),
        (None, None) => unreachable!("only ends were waited for"),
    }
}

fn non_blocking(descriptor: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    ioctl_fionbio(&descriptor, true)?;
    watched(descriptor, interest)
}

#[expect(unsafe_code, reason = "the safe constructor is deprecated")]
fn watched(descriptor: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` stays open, and the same, as long as the `AsyncFd` that owns it;
    // nothing in this crate puts another in its place.
    Ok(unsafe { AsyncFd::register_with_interest(descriptor, interest) }?)
}

/// A pseudo-terminal that changes no byte and echoes none: our end and the program's.
fn raw_terminal() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let ours = openpt(flags)?;
    grantpt(&ours)?;
    unlockpt(&ours)?;
    let theirs = ioctl_tiocgptpeer(&ours, flags)?;
    let mut modes = tcgetattr(&theirs)?;
    modes.make_raw();
    tcsetattr(&theirs, OptionalActions::Now, &modes)?;
    Ok((ours, theirs))
}

/// For the guard, which is a child of the server but no worker.
pub(super) fn guard_command(binary: &Path, stdin: OwnedFd) -> Command {
    let mut command = command(binary);
    // A group of its own keeps it out of reach of Ctrl-C; no stderr of ours, or whoever reads
    // the server's would not see its end; `/` holds no file system busy.
    command
        .arg0("httpipe")
        .arg("__guard")
        .env_clear()
        .current_dir("/")
        .stdin(stdin)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0);
    command
}
