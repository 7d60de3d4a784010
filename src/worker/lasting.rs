//! A thread that does what takes long, one piece of work after the other, so that the thread that serves callers need not.
//!
//! It begins with the first piece and then stays. A thread for each piece would cost more than most of the work, and
//! the other threads, too: all share the memory that a stack is taken from.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Mutex, PoisonError};

/// Most pieces of work that wait for one thread. Who has more is to do it itself, and so is held back; until then a
/// hundred workers may end or start at once.
const WAITING_MOST: usize = 256;

/// The thread, and the pieces of work that wait for it. One that it cannot do is dropped, so dropping must do what may not
/// be left out.
pub(super) struct LastingThread<Work> {
    name: &'static str,
    line: Mutex<Option<SyncSender<Work>>>,
    run: fn(Work),
}

impl<Work: Send + 'static> LastingThread<Work> {
    /// A thread of this name, which will do this with each piece.
    pub(super) const fn new(name: &'static str, run: fn(Work)) -> Self {
        Self { name, line: Mutex::new(None), run }
    }

    /// Gives the thread a piece of work, and starts the thread if there is none.
    ///
    /// # Errors
    ///
    /// The work itself, if too much waits already or if the system has no thread left.
    pub(super) fn give(&self, work: Work) -> Result<(), Work> {
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        if line.is_none() {
            let (sender, receiver) = sync_channel(WAITING_MOST);
            let run = self.run;
            let thread = std::thread::Builder::new().name(self.name.to_owned());
            let is_there = thread.spawn(move || run_all(run, &receiver)).is_ok();
            *line = is_there.then_some(sender);
        }
        let Some(thread) = &*line else { return Err(work) };
        let refused = |(TrySendError::Full(work) | TrySendError::Disconnected(work))| work;
        thread.try_send(work).map_err(refused)
    }
}

/// Runs for good. A fault in one piece is told where all faults are, and ends nothing else: the kernel would kill
/// what this thread has started.
fn run_all<Work>(run: fn(Work), line: &Receiver<Work>) {
    for work in line {
        // What a fault leaves half done belongs to the piece.
        catch_unwind(AssertUnwindSafe(|| run(work))).ok();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};

    use super::*;

    /// Says what was done with it, and by which thread.
    struct Piece {
        told: Sender<(u32, std::thread::ThreadId)>,
        number: u32,
        /// The thread waits here first.
        gate: Option<Receiver<()>>,
    }

    impl Drop for Piece {
        fn drop(&mut self) {
            self.told.send((self.number, std::thread::current().id())).ok();
        }
    }

    fn run(piece: Piece) {
        if let Some(gate) = &piece.gate {
            // A gate whose other end has gone is a fault of the thread.
            gate.recv().expect("a fault that the test asks for");
        }
        drop(piece);
    }

    #[test]
    fn one_thread_does_all() {
        let lasting = LastingThread::new("lasting", run);
        let (told, done) = channel();
        for number in 0..3 {
            assert!(lasting.give(Piece { told: told.clone(), number, gate: None }).is_ok());
        }
        let done: Vec<_> = (0..3).map(|_| done.recv().expect("it is done")).collect();
        assert_eq!(done.iter().map(|it| it.0).collect::<Vec<_>>(), [0, 1, 2]);
        assert!(done.iter().all(|it| it.1 == done[0].1 && it.1 != std::thread::current().id()));
    }

    #[test]
    fn what_is_too_much_is_given_back() {
        let lasting = LastingThread::new("lasting", run);
        let (told, done) = channel();
        let (open, gate) = channel();
        let piece = |number, gate| Piece { told: told.clone(), number, gate };
        assert!(lasting.give(piece(0, Some(gate))).is_ok());
        let most = u32::try_from(WAITING_MOST).expect("few");
        // The first may be with the thread, or wait as well.
        let back = (1..).find_map(|number| lasting.give(piece(number, None)).err());
        let back = back.expect("a line has an end");
        assert!([most, most + 1].contains(&back.number), "{}", back.number);
        open.send(()).expect("the thread waits");
        for number in 0..back.number {
            assert_eq!(done.recv().expect("it is done").0, number);
        }
    }

    #[test]
    fn a_fault_in_one_piece_ends_no_thread_and_loses_no_other_piece() {
        let lasting = LastingThread::new("lasting", run);
        let (told, done) = channel();
        let (open, gate) = channel();
        let piece = |number, gate| Piece { told: told.clone(), number, gate };
        assert!(lasting.give(piece(0, Some(gate))).is_ok());
        assert!(lasting.give(piece(1, None)).is_ok());
        drop(open);
        let done = [(); 2].map(|()| done.recv().expect("it is dropped"));
        assert_eq!([done[0].0, done[1].0], [0, 1]);
        assert_eq!(done[0].1, done[1].1);
    }
}
