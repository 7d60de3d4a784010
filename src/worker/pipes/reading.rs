//! How much is read at once of what a worker wrote.

use bytes::BytesMut;

use super::super::wide::WIDE;
use super::{KEPT_ROOM, Pipes, READ_ROOM, READ_ROOM_LEAST};

/// For how much room is made at once, because the last large message had it.
const EXPECTED_MOST: usize = 4 << 20;

impl Pipes {
    /// Makes room for the next read: as much as waits to be read of a message that is long already.
    pub(super) fn make_room(&mut self) {
        let mut room = READ_ROOM;
        if self.incoming.len() >= READ_ROOM {
            self.width.widen(&self.stdout);
            let waits = rustix::io::ioctl_fionread(&self.stdout).unwrap_or(0);
            room = usize::try_from(waits).unwrap_or(WIDE).clamp(READ_ROOM, WIDE);
            // A message as long as the last one then needs no more room, and is not moved again. So much
            // room is made only for what is let go of with its message.
            if self.incoming.len() >= KEPT_ROOM + READ_ROOM {
                room = room.max((self.last_large + READ_ROOM).saturating_sub(self.incoming.len()));
            }
        }
        self.incoming.reserve(room);
    }

    /// Lets go of the memory that a message of this length was read into, which is the message's now.
    pub(super) fn let_go(&mut self, length: usize) {
        self.last_large = length.min(EXPECTED_MOST);
        self.incoming = BytesMut::from(&self.incoming[..]);
    }

    /// Reads once, with a system call, without asking the runtime whether there is anything. For a
    /// worker that has ended. Returns the number of bytes.
    pub fn read_now(&mut self) -> usize {
        let mut bytes = vec![0; READ_ROOM];
        let read = rustix::io::retry_on_intr(|| rustix::io::read(&self.stdout, &mut bytes[..]));
        let count = read.unwrap_or(0);
        self.incoming.extend_from_slice(&bytes[..count]);
        self.tell_read(count);
        count
    }

    /// Returns an upper bound of the bytes that the worker wrote and that were not read yet.
    pub fn left_to_read(&self) -> usize {
        // For a pseudo-terminal the kernel reports only a part, but all of it fits into one read.
        let told = rustix::io::ioctl_fionread(&self.stdout).unwrap_or(0);
        usize::try_from(told).unwrap_or(usize::MAX).max(READ_ROOM)
    }

    /// Reads, with system calls, until nothing is left. Returns the number of bytes.
    pub fn read_rest(&mut self) -> usize {
        let mut all = 0;
        let mut bytes = [0; READ_ROOM_LEAST];
        loop {
            let read = rustix::io::retry_on_intr(|| rustix::io::read(&self.stdout, &mut bytes));
            let count = read.unwrap_or(0);
            self.incoming.extend_from_slice(&bytes[..count]);
            self.read += count as u64;
            self.tell_read(count);
            all += count;
            // A pipe is read in full unless it is empty; a terminal may give less.
            if count == 0 || all > READ_ROOM {
                return all;
            }
        }
    }
}
