//! The process of a worker under trial, with its pipes and what went through them.

use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Instant;

use bytes::{Buf, BytesMut};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, ioctl_fionread};
use tokio::io::unix::AsyncFd;

use super::record::OUTPUT_MAX;
use crate::worker::process::Process;

/// What happens to a worker next.
pub(super) enum Event {
    /// It wrote output, which is now in `incoming`.
    Output,
    /// It took bytes of the question.
    TookInput,
    /// It closed its input or its output.
    Closed,
    /// Its process ended.
    Ended,
    /// Nothing happened until the given time.
    Nothing,
}

/// A reading end of our own of an input that was closed.
pub(super) struct UnreadInput(OwnedFd);

impl UnreadInput {
    /// Returns how many bytes nobody has read.
    pub(super) fn length(&self) -> u64 {
        ioctl_fionread(&self.0).unwrap_or(0)
    }
}

/// A process and our ends of its pipes.
pub(super) struct TriedProcess {
    pub(super) process: Process,
    /// `None`: its input was closed.
    pub(super) stdin: Option<AsyncFd<OwnedFd>>,
    pub(super) stdout: AsyncFd<OwnedFd>,
    /// What is still to be written.
    pub(super) outgoing: BytesMut,
    /// What was read and not yet cut into messages.
    pub(super) incoming: BytesMut,
    /// All output since the last question.
    pub(super) output: Vec<u8>,
}

impl TriedProcess {
    /// Returns true if the worker wrote so much that a trial needs no more.
    pub(super) fn has_much_output(&self) -> bool {
        self.output.len() >= OUTPUT_MAX
    }

    /// Closes the input, and returns what tells how much of it nobody reads.
    pub(super) fn end_input(&mut self) -> Option<UnreadInput> {
        let stdin = self.stdin.take()?;
        let path = format!("/proc/self/fd/{}", stdin.as_raw_fd());
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        rustix::fs::open(path, flags, Mode::empty()).ok().map(UnreadInput)
    }

    /// Returns how many bytes the worker has not read yet.
    pub(super) fn unread(&self) -> u64 {
        let stdin = self.stdin.as_ref();
        stdin.and_then(|stdin| ioctl_fionread(stdin.get_ref()).ok()).unwrap_or(0)
    }

    /// Returns true if no process has the other end of the worker's stdin.
    pub(super) fn is_stdin_closed(&self) -> bool {
        let Some(stdin) = &self.stdin else { return true };
        let mut polled = [PollFd::new(stdin.get_ref(), PollFlags::empty())];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        rustix::event::poll(&mut polled, Some(&now)).is_ok()
            && polled[0].revents().contains(PollFlags::ERR)
    }

    /// Waits for the next event, but not beyond this time.
    pub(super) async fn next_event(&mut self, until: Instant) -> Event {
        let mut buffer = [0; 8192];
        let (stdin, outgoing) = (self.stdin.as_ref(), &self.outgoing);
        let writing = async {
            match stdin {
                Some(stdin) if !outgoing.is_empty() => write(stdin, outgoing).await,
                _ => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            count = read(&self.stdout, &mut buffer) => match count {
                0 => Event::Closed,
                count => {
                    self.keep(&buffer[..count]);
                    Event::Output
                }
            },
            count = writing => match count {
                Ok(count) => {
                    self.outgoing.advance(count);
                    Event::TookInput
                }
                Err(_) => Event::Closed,
            },
            () = self.process.ended() => {
                // Its last output may still be in the pipe.
                self.read_rest();
                Event::Ended
            }
            () = tokio::time::sleep_until(until.into()) => Event::Nothing,
        }
    }

    /// Reads, with system calls, what the worker has written. Returns true if there was anything.
    pub(super) fn read_rest(&mut self) -> bool {
        let mut buffer = [0; 8192];
        let mut left = OUTPUT_MAX;
        let before = self.output.len();
        while left > 0
            && let Ok(count @ 1..) = rustix::io::read(self.stdout.get_ref(), &mut buffer)
        {
            self.keep(&buffer[..count]);
            left = left.saturating_sub(count);
        }
        self.output.len() > before
    }

    /// Keeps new output.
    fn keep(&mut self, bytes: &[u8]) {
        self.incoming.extend_from_slice(bytes);
        let room = OUTPUT_MAX.saturating_sub(self.output.len());
        self.output.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

/// Reads once; 0 means the end of the output.
async fn read(stdout: &AsyncFd<OwnedFd>, buffer: &mut [u8]) -> usize {
    loop {
        let Ok(mut ready) = stdout.readable().await else { return 0 };
        match ready.try_io(|stdout| Ok(rustix::io::read(stdout.get_ref(), &mut *buffer)?)) {
            Ok(Ok(count)) => return count,
            // The other end of the pseudo-terminal is closed.
            Ok(Err(_)) => return 0,
            Err(_would_block) => {}
        }
    }
}

/// Writes once.
async fn write(stdin: &AsyncFd<OwnedFd>, bytes: &[u8]) -> Result<usize, Errno> {
    loop {
        let Ok(mut ready) = stdin.writable().await else { return Err(Errno::PIPE) };
        match ready.try_io(|stdin| Ok(rustix::io::write(stdin.get_ref(), bytes)?)) {
            Ok(Ok(count)) => return Ok(count),
            Ok(Err(_)) => return Err(Errno::PIPE),
            Err(_would_block) => {}
        }
    }
}
