//! Our end of a worker's stdin, which may end after one question.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Mode, OFlags};
use tokio::io::AsyncWrite;
use tokio::io::unix::AsyncFd;
use tokio::net::unix::pipe;

use super::wide::Width;

/// How many pieces one write takes: those of one large question are three.
const PIECES: usize = 4;

/// Our end of a worker's stdin.
#[derive(Debug)]
pub(super) struct Input {
    /// There until the input has ended.
    pipe: Option<pipe::Sender>,
    /// It ends after one question.
    pub(super) ends: bool,
    width: Width,
    /// A reading end of our own, once the input has ended. It tells how much was never read.
    rest: Option<OwnedFd>,
    /// How many bytes were never read, once that is known.
    left: Option<u64>,
}

impl Input {
    pub(super) fn new(stdin: AsyncFd<OwnedFd>, ends: bool, width: Width) -> io::Result<Self> {
        let pipe = pipe::Sender::from_owned_fd_unchecked(stdin.into_inner())?;
        Ok(Self { pipe: Some(pipe), ends, width, rest: None, left: None })
    }

    /// Writes once. Fails if the input has ended or nobody can read it.
    pub(super) fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let Some(pipe) = &mut self.pipe else {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        };
        // There mostly is room, so it is not waited for before.
        match pipe.try_write(bytes) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                Pin::new(pipe).poll_write(context, bytes)
            }
            written => Poll::Ready(written),
        }
    }

    /// Writes once of several pieces, as [`Input::poll_write`] does of one.
    pub(super) fn poll_write_pieces<'a>(
        &mut self,
        context: &mut Context<'_>,
        pieces: impl Iterator<Item = &'a [u8]>,
    ) -> Poll<io::Result<usize>> {
        let mut slices = [IoSlice::new(&[]); PIECES];
        for (slice, piece) in slices.iter_mut().zip(pieces) {
            *slice = IoSlice::new(piece);
        }
        match &mut self.pipe {
            Some(pipe) => Pin::new(pipe).poll_write_vectored(context, &slices),
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    /// Makes room in the pipe for large questions.
    pub(super) fn widen(&mut self) {
        if let Some(pipe) = &self.pipe {
            self.width.widen(pipe);
        }
    }

    /// Ends the input: the program reads to its end now.
    pub(super) fn end(&mut self) {
        let Some(pipe) = self.pipe.take() else { return };
        // Without `/proc`, all that was written counts as read.
        self.rest = reading_end(&pipe).ok();
    }

    /// Makes each write of at most a page one packet, which a read returns alone; or ends that.
    pub(super) fn send_packets(&self, are_packets: bool) -> io::Result<()> {
        let Some(pipe) = &self.pipe else { return Ok(()) };
        let mut flags = rustix::fs::fcntl_getfl(pipe)?;
        flags.set(OFlags::DIRECT, are_packets);
        Ok(rustix::fs::fcntl_setfl(pipe, flags)?)
    }

    /// Takes out of the pipe what nobody has read. Without `/proc`, that is nothing.
    pub(super) fn take_unread(&self) -> Vec<u8> {
        let end = self.pipe.as_ref().and_then(|pipe| reading_end(pipe).ok());
        let mut unread = Vec::new();
        if let Some(end) = end {
            take_all(&end, |bytes| unread.extend_from_slice(bytes));
        }
        unread
    }

    /// Takes what nobody has read, so that nobody will, and keeps how much it was.
    pub(super) fn drain(&mut self) {
        let Some(rest) = self.rest.take() else { return };
        let mut left = 0;
        take_all(&rest, |bytes| left += bytes.len() as u64);
        self.left = Some(left);
    }

    /// Returns how many bytes nobody has read of an input that has ended, once it was drained.
    pub(super) fn left_at_end(&self) -> Option<u64> {
        self.left
    }

    /// Returns how many bytes are in the pipe.
    pub(super) fn left(&self) -> u64 {
        // Either end of a pipe tells how much is in it, even after the other end was closed.
        self.pipe.as_ref().and_then(|pipe| rustix::io::ioctl_fionread(pipe).ok()).unwrap_or(0)
    }

    /// Returns how many bytes nobody has read yet, also of an input that has ended.
    pub(super) fn in_pipe(&self) -> u64 {
        let rest = self.rest.as_ref().and_then(|rest| rustix::io::ioctl_fionread(rest).ok());
        rest.unwrap_or_else(|| self.left())
    }

    /// Returns true if the input has ended, or no process has its other end.
    pub(super) fn has_no_reader(&self) -> bool {
        let Some(pipe) = &self.pipe else { return true };
        let mut polled = [PollFd::new(pipe, PollFlags::empty())];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        rustix::event::poll(&mut polled, Some(&now)).is_ok()
            && polled[0].revents().contains(PollFlags::ERR)
    }

    /// Returns the pipe of an input that has not ended.
    pub(super) fn pipe(&self) -> BorrowedFd<'_> {
        self.pipe.as_ref().expect("it ends only after the first question").as_fd()
    }
}

/// Opens another reading end of a pipe.
fn reading_end(pipe: &pipe::Sender) -> rustix::io::Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}", pipe.as_fd().as_raw_fd());
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty())
}

/// Reads until a pipe is empty.
fn take_all(end: &OwnedFd, mut take: impl FnMut(&[u8])) {
    let mut bytes = [0; 4096];
    while let Ok(count @ 1..) = rustix::io::retry_on_intr(|| rustix::io::read(end, &mut bytes)) {
        take(&bytes[..count]);
    }
}
