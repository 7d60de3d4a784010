//! The pipes of a worker whose program is played by a test.

use std::future::poll_fn;
use std::os::fd::OwnedFd;

use rustix::io::ioctl_fionbio;

use super::Pipes;
use crate::config::WireSettings;
use crate::worker::spawn::open_streams;

/// The program's ends of the pipes of one worker.
pub(crate) struct PlayedProgram {
    /// Questions come from here. A read does not block.
    pub(crate) stdin: OwnedFd,
    /// Answers go here.
    pub(crate) stdout: OwnedFd,
}

impl PlayedProgram {
    /// Makes the pipes of a worker, and the other ends.
    pub(crate) fn with_pipes(wire: &WireSettings) -> (Pipes, Self) {
        let (theirs, ours) = open_streams(false).expect("pipes");
        ioctl_fionbio(&theirs.stdin, true).expect("it is a pipe");
        let pipes = Pipes::new(ours.stdin, ours.stdout, wire).expect("a runtime");
        (pipes, Self { stdin: theirs.stdin, stdout: theirs.stdout })
    }

    /// Reads once. Returns nothing if there is nothing to be read.
    pub(crate) fn reads(&self) -> Vec<u8> {
        let mut bytes = vec![0; 64 << 10];
        let count = rustix::io::read(&self.stdin, &mut bytes[..]).unwrap_or(0);
        bytes.truncate(count);
        bytes
    }

    /// Writes a text that fits into the pipe.
    pub(crate) fn writes(&self, text: &str) {
        assert_eq!(rustix::io::write(&self.stdout, text.as_bytes()), Ok(text.len()));
    }
}

/// Writes all that waits to be written.
pub(crate) async fn flush(pipes: &mut Pipes) {
    poll_fn(|context| pipes.poll_flush(context)).await.expect("somebody reads");
}
