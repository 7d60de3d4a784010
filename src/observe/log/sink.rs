//! Where lines go: a bounded buffer, and a thread of its own that writes it out.
//!
//! Nobody who logs ever waits for the reader of the log. Lines are written when 64 KiB are
//! there, 100 ms after the first of them, or at once if something is wrong. A reader that does
//! not read costs lines, which are counted, and nothing else.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use rustix::event::{PollFd, PollFlags, poll};

use super::line::Clock;
use crate::observe::metrics::Metrics;

/// Lines are written when so many bytes wait.
const WRITE_AT: usize = 64 << 10;
/// Lines are written at the latest this long after the first one that waits.
const WRITE_AFTER: Duration = Duration::from_millis(100);
/// Most bytes held, those that are being written included.
pub(super) const HOLD_MOST: usize = 1 << 20;

/// Fewer bytes than nearly every line has.
const SHORT_LINE: usize = 64;

/// The buffer before one output. Ends, with a last attempt to write, when it is dropped.
#[derive(Debug)]
pub struct Sink {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// The writer waits here for lines.
    work: Condvar,
    /// Those who flush wait here until all is written.
    done: Condvar,
    metrics: Arc<Metrics>,
}

#[derive(Debug, Default)]
struct State {
    lines: Vec<u8>,
    clock: Clock,
    /// Bytes the writer has taken and not yet written.
    writing: usize,
    /// Do not wait for more lines.
    at_once: bool,
    /// The sink is gone: write what is there, then end.
    ending: bool,
}

impl Sink {
    /// A sink that writes to stderr.
    pub fn stderr(metrics: &Arc<Metrics>) -> io::Result<Self> {
        Self::new(Stderr, metrics)
    }

    /// A sink that writes to `output`, from a thread that is started here. Where that thread
    /// cannot be started, the error of the system.
    pub fn new(output: impl Write + Send + 'static, metrics: &Arc<Metrics>) -> io::Result<Self> {
        Self::writing_after(WRITE_AFTER, output, metrics)
    }

    fn writing_after(
        delay: Duration,
        output: impl Write + Send + 'static,
        metrics: &Arc<Metrics>,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            work: Condvar::new(),
            done: Condvar::new(),
            metrics: Arc::clone(metrics),
        });
        let writer = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("httpipe-log".to_owned())
            .spawn(move || writer.write_all(delay, output))?;
        Ok(Self { shared })
    }

    /// Adds one line: `write` appends it whole, with its end. A line for which there is no room
    /// is counted and forgotten.
    pub(super) fn line(
        &self,
        at_once: bool,
        write: impl FnOnce(&mut Vec<u8>, &mut Clock, Duration),
    ) {
        let since_epoch = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        let mut state = self.shared.lock();
        let before = state.lines.len();
        let State { lines, clock, writing, .. } = &mut *state;
        // What is over is seen when the line is there: its length is not known before. But where
        // hardly any line would fit, none is made.
        if before + *writing + SHORT_LINE < HOLD_MOST {
            write(lines, clock, since_epoch);
        }
        if lines.len() == before || lines.len() + *writing > HOLD_MOST {
            lines.truncate(before);
            drop(state);
            self.shared.metrics.log_dropped(1);
            return;
        }
        let full = before < WRITE_AT && lines.len() >= WRITE_AT;
        let wake = before == 0 || full || (at_once && !state.at_once);
        state.at_once |= at_once;
        drop(state);
        if wake {
            self.shared.work.notify_one();
        }
    }

    /// Waits until every line added so far is written, at most as long as `patience`: a reader
    /// that does not read must not keep the server from ending. Says whether all was written
    /// or given up.
    pub fn flush(&self, patience: Duration) -> bool {
        let mut state = self.shared.lock();
        if state.lines.is_empty() && state.writing == 0 {
            return true;
        }
        state.at_once = true;
        self.shared.work.notify_one();
        let pending = |state: &mut State| !state.lines.is_empty() || state.writing > 0;
        let waited = self.shared.done.wait_timeout_while(state, patience, pending);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.flush(Duration::from_secs(1));
        self.shared.lock().ending = true;
        self.shared.work.notify_one();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic while a line was written leaves at worst half a line.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The writer's life: take what is there, write it, again.
    fn write_all(&self, delay: Duration, mut output: impl Write) {
        let mut batch = Vec::new();
        while self.take(delay, &mut batch) {
            let lost = write_batch(&mut output, &batch);
            if lost > 0 {
                self.metrics.log_dropped(lost);
            }
            batch.clear();
            // One burst must not hold its memory for ever.
            batch.shrink_to(4 * WRITE_AT);
            self.lock().writing = 0;
            self.done.notify_all();
        }
    }

    /// Waits for lines worth writing, or `delay` after the first, and swaps them into `batch`;
    /// `false`: there is nothing left, and there will be no more.
    fn take(&self, delay: Duration, batch: &mut Vec<u8>) -> bool {
        let nothing = |state: &mut State| state.lines.is_empty() && !state.ending;
        let state = self.work.wait_while(self.lock(), nothing);
        let state = state.unwrap_or_else(PoisonError::into_inner);
        let may_wait =
            |state: &mut State| state.lines.len() < WRITE_AT && !state.at_once && !state.ending;
        let waited = self.work.wait_timeout_while(state, delay, may_wait);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner).0;
        state.at_once = false;
        std::mem::swap(&mut state.lines, batch);
        state.writing = batch.len();
        !batch.is_empty()
    }
}

/// Writes a batch and says how many lines did not get through whole. Nobody can be told of the
/// error itself: the log is where it would be told.
fn write_batch(output: &mut impl Write, batch: &[u8]) -> u64 {
    let mut rest = batch;
    while !rest.is_empty() {
        match output.write(rest) {
            Ok(0) => break,
            Ok(written) => rest = &rest[written..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    let lost = memchr::memchr_iter(b'\n', rest).count();
    if lost > 0 && !rest.is_empty() && rest.len() < batch.len() {
        // The next batch begins on a line of its own, if the output recovers by then.
        let ends_whole = batch[batch.len() - rest.len() - 1] == b'\n';
        if !ends_whole {
            output.write_all(b"\n").ok();
        }
    }
    lost as u64
}

/// Descriptor 2. It may be shared with a process that made it non-blocking: then it is waited
/// for instead of losing lines.
struct Stderr;

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let stderr = rustix::stdio::stderr();
        loop {
            match rustix::io::write(stderr, bytes) {
                Ok(written) => return Ok(written),
                Err(rustix::io::Errno::AGAIN) => {
                    let mut waits = [PollFd::new(&stderr, PollFlags::OUT)];
                    match poll(&mut waits, None) {
                        Ok(_) | Err(rustix::io::Errno::INTR) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::time::Instant;

    use super::*;

    /// What was written, in one text.
    #[derive(Clone, Debug, Default)]
    pub(crate) struct Memory(Arc<Mutex<Vec<u8>>>);

    impl Memory {
        pub(crate) fn text(&self) -> String {
            String::from_utf8(self.0.lock().expect("not poisoned").clone()).expect("UTF-8")
        }
    }

    impl Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("not poisoned").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// An output that says how much it was given, and takes it when it is told to.
    struct Gate {
        offered: Sender<Vec<u8>>,
        open: Receiver<()>,
    }

    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.offered.send(bytes.to_vec()).ok();
            match self.open.recv() {
                Ok(()) => Ok(bytes.len()),
                Err(_) => Err(io::ErrorKind::BrokenPipe.into()),
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn gate(delay: Duration, metrics: &Arc<Metrics>) -> (Sink, Receiver<Vec<u8>>, Sender<()>) {
        let ((offered, offers), (opener, open)) = (channel(), channel());
        let sink = Sink::writing_after(delay, Gate { offered, open }, metrics);
        (sink.expect("a thread"), offers, opener)
    }

    fn put(sink: &Sink, at_once: bool, text: &str) {
        sink.line(at_once, |to, _, _| {
            to.extend_from_slice(text.as_bytes());
            to.push(b'\n');
        });
    }

    const SOON: Duration = Duration::from_secs(10);
    /// Longer than any test waits.
    const NEVER: Duration = Duration::from_hours(1);

    #[test]
    fn lines_come_out_whole_and_in_order() {
        let memory = Memory::default();
        let sink = Sink::new(memory.clone(), &Metrics::new()).expect("a thread");
        let mut expected = String::new();
        for number in 0..20_000 {
            let line = format!("line {number}");
            put(&sink, number % 1_000 == 0, &line);
            expected.push_str(&line);
            expected.push('\n');
        }
        assert!(sink.flush(SOON));
        assert_eq!(memory.text(), expected);
    }

    #[test]
    fn a_single_line_is_written_without_being_asked_for() {
        let (sink, offers, opener) = gate(WRITE_AFTER, &Metrics::new());
        let since = Instant::now();
        put(&sink, false, "first");
        put(&sink, false, "second");
        assert_eq!(offers.recv_timeout(SOON).expect("written"), b"first\nsecond\n");
        assert!(since.elapsed() >= WRITE_AFTER, "it did not wait for more lines");
        opener.send(()).expect("the writer lives");
        assert!(sink.flush(SOON));
    }

    #[test]
    fn what_is_wrong_is_written_at_once() {
        let (sink, offers, opener) = gate(NEVER, &Metrics::new());
        put(&sink, true, "error");
        offers.recv_timeout(SOON).expect("written");
        opener.send(()).expect("the writer lives");
    }

    #[test]
    fn a_full_batch_is_written_before_its_time() {
        let (sink, offers, opener) = gate(NEVER, &Metrics::new());
        put(&sink, false, &"x".repeat(WRITE_AT));
        assert_eq!(offers.recv_timeout(SOON).expect("written").len(), WRITE_AT + 1);
        opener.send(()).expect("the writer lives");
    }

    #[test]
    fn a_blocked_output_costs_lines_but_no_more_than_a_bounded_memory() {
        let metrics = Metrics::new();
        let (sink, offers, opener) = gate(WRITE_AFTER, &metrics);
        let line = "x".repeat(999);
        put(&sink, true, &line);
        offers.recv_timeout(SOON).expect("the writer is stuck with the first line");
        for _ in 0..3_000 {
            put(&sink, false, &line);
        }
        let state = sink.shared.lock();
        assert_eq!(state.lines.len() + state.writing, HOLD_MOST / 1_000 * 1_000);
        drop(state);
        assert_eq!(metrics.log_dropped_so_far(), 3_001 - 1_048);
        assert!(!sink.flush(Duration::from_millis(1)), "nothing can have been written");

        for _ in 0..2 {
            opener.send(()).expect("the writer lives");
        }
        assert!(sink.flush(SOON));
        put(&sink, true, "back");
        offers.recv_timeout(SOON).expect("the held lines");
        assert_eq!(offers.recv_timeout(SOON).expect("written"), b"back\n");
        drop(opener);
    }

    #[test]
    fn a_line_longer_than_all_room_is_dropped_and_the_next_one_is_not() {
        let (metrics, memory) = (Metrics::new(), Memory::default());
        let sink = Sink::new(memory.clone(), &metrics).expect("a thread");
        put(&sink, false, &"x".repeat(HOLD_MOST));
        put(&sink, false, "short");
        assert!(sink.flush(SOON));
        assert_eq!((memory.text().as_str(), metrics.log_dropped_so_far()), ("short\n", 1));
    }

    #[test]
    fn a_full_disk_costs_the_lines_and_nothing_else() {
        let metrics = Metrics::new();
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("Linux");
        let sink = Sink::new(full, &metrics).expect("a thread");
        put(&sink, false, "one");
        put(&sink, true, "two");
        assert!(sink.flush(SOON));
        assert_eq!(metrics.log_dropped_so_far(), 2);
        put(&sink, true, "three");
        assert!(sink.flush(SOON), "the writer lives on");
        assert_eq!(metrics.log_dropped_so_far(), 3);
    }

    #[test]
    fn dropping_the_sink_writes_what_it_holds() {
        let memory = Memory::default();
        let sink = Sink::new(memory.clone(), &Metrics::new()).expect("a thread");
        put(&sink, false, "last words");
        drop(sink);
        assert_eq!(memory.text(), "last words\n");
    }
}
