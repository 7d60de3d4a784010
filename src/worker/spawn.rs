//! How a worker's process is made: by a child that becomes the program at once (`child`), or by way
//! of our own binary as a shim, which says why a program cannot be run.
//!
//! The other way is a fork server (`fork_server`).
//!
//! The set-up between the two is done by hand. With `pre_exec`, std uses `fork` instead of
//! `posix_spawn`, and `fork` copies the page tables of the whole server: with a warm cache that
//! stops every thread for tens of milliseconds. So: never use `pre_exec` here.
//!
//! No pipe gets the number 0, 1 or 2: where one of these is closed, Rust's start opens `/dev/null`
//! on it before `main`. A test in `tests/process` checks that.

use std::io;
use std::os::fd::OwnedFd;

use rustix::io::ioctl_fionbio;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::belongings::{Belongings, owner};
use super::child::TheirEnds;
use super::ending::watched;
use super::guard::Guard;
use super::own::{self, Token};
use super::process::Process;
use super::starter;
use crate::config::LaunchSettings;

/// Our ends of a worker's streams, non-blocking.
#[derive(Debug)]
pub struct Streams {
    /// The worker reads from here.
    pub stdin: AsyncFd<OwnedFd>,
    /// The worker writes here. Where `tty` is set it is the master of a pseudo-terminal, which
    /// ends with EIO.
    pub stdout: AsyncFd<OwnedFd>,
    /// The worker's stderr.
    pub stderr: AsyncFd<OwnedFd>,
    /// Marks the shim's message on `stderr`.
    pub token: Token,
}

/// Starts a program. Dropping the future leaves no process.
///
/// A program that cannot be run is no error here: the process then ends with code 126 or 127, and
/// its stderr says why (`stderr::LastWords::explain`).
pub async fn spawn(launch: &LaunchSettings, guard: &Guard) -> io::Result<(Process, Streams)> {
    let (theirs, streams) = open_streams_for(launch)?;
    let belongings = Belongings::make(launch, guard)?;
    let (binary, token) = (guard.binary(), &streams.token);
    let child = own::new_child(binary, launch, token, theirs, belongings.places())?;
    let leader = starter::start(child, guard).await?;
    Ok((Process::adopt(leader, belongings)?, streams))
}

/// Makes the streams of a worker of this program.
pub(super) fn open_streams_for(launch: &LaunchSettings) -> io::Result<(TheirEnds, Streams)> {
    let (theirs, streams) = open_streams(launch.tty)?;
    owner(launch).map_or(Ok(()), |owner| theirs.give_to(owner))?;
    Ok((theirs, streams))
}

/// Makes the streams of a worker that is about to be made.
pub(super) fn open_streams(tty: bool) -> io::Result<(TheirEnds, Streams)> {
    let (their_stdin, our_stdin) = pipe_with(PipeFlags::CLOEXEC)?;
    let (our_stdout, their_stdout) =
        if tty { raw_terminal()? } else { pipe_with(PipeFlags::CLOEXEC)? };
    let (our_stderr, their_stderr) = pipe_with(PipeFlags::CLOEXEC)?;
    let streams = Streams {
        stdin: non_blocking(our_stdin, Interest::WRITABLE)?,
        stdout: non_blocking(our_stdout, Interest::READABLE)?,
        stderr: non_blocking(our_stderr, Interest::READABLE)?,
        token: Token::random(),
    };
    let theirs = TheirEnds { stdin: their_stdin, stdout: their_stdout, stderr: their_stderr };
    Ok((theirs, streams))
}

pub(super) fn non_blocking(
    descriptor: OwnedFd,
    interest: Interest,
) -> io::Result<AsyncFd<OwnedFd>> {
    ioctl_fionbio(&descriptor, true)?;
    watched(descriptor, interest)
}

/// Opens a pseudo-terminal that changes no byte and echoes none. Returns our end and the
/// program's.
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
