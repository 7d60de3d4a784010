//! A thread that does what takes long and what nobody waits for, one piece of work after the other.
//!
//! It begins with the first piece and then stays: to start a thread costs more than most of its work, also those
//! that run, since all share the memory that its stack is taken from and given back to. No stop of the server waits
//! for it.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Mutex, PoisonError};

/// Most pieces of work that wait. A server that makes more than its thread can do does one itself, and so is held
/// back; until then a hundred workers may end at once.
const WAITING_MOST: usize = 256;

/// The thread, and the pieces of work that wait for it. One that it cannot do is dropped, so dropping must do what may not
/// be left out.
pub(super) struct Sweeper<Work> {
    line: Mutex<Option<SyncSender<Work>>>,
    run: fn(Work),
}

impl<Work: Send + 'static> Sweeper<Work> {
    /// A thread that will do this with each piece.
    pub(super) const fn new(run: fn(Work)) -> Self {
        Self { line: Mutex::new(None), run }
    }

    /// Gives the thread a piece of work, and starts the thread if there is none.
    ///
    /// # Errors
    ///
    /// The work itself, if too much waits already or if the system has no thread left.
    pub(super) fn give(&self, work: Work) -> Result<(), Work> {
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        let work = match &*line {
            None => work,
            Some(thread) => match thread.try_send(work) {
                // It was lost to a panic.
                Err(TrySendError::Disconnected(work)) => work,
                Err(TrySendError::Full(work)) => return Err(work),
                Ok(()) => return Ok(()),
            },
        };
        let (sender, receiver) = sync_channel(WAITING_MOST);
        let run = self.run;
        let thread = std::thread::Builder::new().name("sweeper".to_owned());
        if thread.spawn(move || run_all(run, &receiver)).is_err() {
            *line = None;
            return Err(work);
        }
        let given = sender.try_send(work);
        *line = Some(sender);
        given.map_err(|(TrySendError::Full(work) | TrySendError::Disconnected(work))| work)
    }
}

fn run_all<Work>(run: fn(Work), line: &Receiver<Work>) {
    line.iter().for_each(run);
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
        let sweeper = Sweeper::new(run);
        let (told, done) = channel();
        for number in 0..3 {
            assert!(sweeper.give(Piece { told: told.clone(), number, gate: None }).is_ok());
        }
        let done: Vec<_> = (0..3).map(|_| done.recv().expect("it is done")).collect();
        assert_eq!(done.iter().map(|it| it.0).collect::<Vec<_>>(), [0, 1, 2]);
        assert!(done.iter().all(|it| it.1 == done[0].1 && it.1 != std::thread::current().id()));
    }

    #[test]
    fn what_is_too_much_is_given_back() {
        let sweeper = Sweeper::new(run);
        let (told, done) = channel();
        let (open, gate) = channel();
        let piece = |number, gate| Piece { told: told.clone(), number, gate };
        assert!(sweeper.give(piece(0, Some(gate))).is_ok());
        let most = u32::try_from(WAITING_MOST).expect("few");
        // The first may be with the thread, or wait as well.
        let back = (1..).find_map(|number| sweeper.give(piece(number, None)).err());
        let back = back.expect("a line has an end");
        assert!([most, most + 1].contains(&back.number), "{}", back.number);
        open.send(()).expect("the thread waits");
        for number in 0..back.number {
            assert_eq!(done.recv().expect("it is done").0, number);
        }
    }

    #[test]
    fn a_thread_that_is_lost_loses_no_work_and_another_takes_its_place() {
        let sweeper = Sweeper::new(run);
        let (told, done) = channel();
        let (open, gate) = channel();
        let piece = |number, gate| Piece { told: told.clone(), number, gate };
        assert!(sweeper.give(piece(0, Some(gate))).is_ok());
        assert!(sweeper.give(piece(1, None)).is_ok());
        drop(open);
        let lost = [(); 2].map(|()| done.recv().expect("it is dropped"));
        assert_eq!([lost[0].0, lost[1].0], [0, 1]);
        assert!(sweeper.give(piece(2, None)).is_ok());
        let (number, thread) = done.recv().expect("it is done");
        assert!(number == 2 && thread != lost[0].1, "{number}");
    }
}
