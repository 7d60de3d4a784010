//! The output of the log: a bounded buffer, and a thread that writes it out.
//!
//! Logging never waits for the reader of the log. Lines are written once 64 KiB have gathered,
//! 100 ms after the first of them, or at once for warnings and errors. If the reader does not
//! read, lines are lost and counted, and nothing else happens.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use rustix::event::{PollFd, PollFlags, poll};

use super::line::TimeText;
use crate::observe::metrics::Metrics;

/// Lines are written once this many bytes wait.
const WRITE_AT: usize = 64 << 10;
/// Lines are written at most this long after the first of them.
const WRITE_AFTER: Duration = Duration::from_millis(100);
/// The most bytes held, with those that are being written.
pub(super) const HELD_MAX: usize = 1 << 20;

/// Shorter than nearly every line.
const SHORT_LINE: usize = 64;
/// How often the time of day is looked at for lines whose time is known otherwise.
const CLOCK_EVERY: Duration = Duration::from_secs(1);

/// Where lines are written.
pub(super) trait Output: Write + Send + 'static {
    /// Somebody may have put another file in the place of this one.
    fn open_again(&mut self) {}

    /// As many lines of a batch were lost; `error`: why.
    fn batch_ended(&mut self, _lost: u64, _error: Option<&io::Error>) {}
}

/// Counts lines that were lost.
type CountLost = fn(&Metrics, u64);

/// The buffer of one output. Its drop makes a last attempt to write, and ends the thread.
#[derive(Debug)]
pub struct Sink {
    outlet: Arc<Outlet>,
}

/// What the sink and its thread share.
#[derive(Debug)]
struct Outlet {
    buffer: Mutex<Buffer>,
    /// The thread waits here for lines.
    work: Condvar,
    /// A flush waits here until all lines are written.
    done: Condvar,
    metrics: Arc<Metrics>,
    count_lost: CountLost,
}

#[derive(Debug, Default)]
struct Buffer {
    lines: Vec<u8>,
    clock: TimeText,
    wall: WallClock,
    /// How many bytes the thread has taken and not yet written.
    writing: usize,
    /// Write without waiting for more lines.
    at_once: bool,
    /// Open the output again before the next lines.
    open_again: bool,
    /// The sink is gone: write the lines that are here, then end.
    ending: bool,
}

impl Sink {
    /// A sink that writes to stderr.
    ///
    /// # Errors
    ///
    /// Its thread cannot be started.
    pub fn stderr(metrics: &Arc<Metrics>) -> io::Result<Self> {
        Self::new(Stderr, metrics, Metrics::log_dropped)
    }

    /// A sink that writes to `output` from a thread of its own. `count_lost` counts the lines that
    /// are lost.
    ///
    /// # Errors
    ///
    /// The thread cannot be started.
    pub(super) fn new(
        output: impl Output,
        metrics: &Arc<Metrics>,
        count_lost: CountLost,
    ) -> io::Result<Self> {
        Self::writing_after(WRITE_AFTER, output, metrics, count_lost)
    }

    fn writing_after(
        delay: Duration,
        output: impl Output,
        metrics: &Arc<Metrics>,
        count_lost: CountLost,
    ) -> io::Result<Self> {
        let outlet = Arc::new(Outlet {
            buffer: Mutex::default(),
            work: Condvar::new(),
            done: Condvar::new(),
            metrics: Arc::clone(metrics),
            count_lost,
        });
        let of_thread = Arc::clone(&outlet);
        std::thread::Builder::new()
            .name("httpipe-log".to_owned())
            .spawn(move || of_thread.write_all(delay, output))?;
        Ok(Self { outlet })
    }

    /// Adds one line, which `write` appends with its line end. A line for which there is no room
    /// is counted and dropped.
    pub(super) fn line(
        &self,
        at_once: bool,
        write: impl FnOnce(&mut Vec<u8>, &mut TimeText, Duration),
    ) {
        let since_epoch = since_epoch();
        self.add(at_once, self.outlet.lock(), since_epoch, write);
    }

    /// Adds a line about this moment, as [`Sink::line`] does.
    #[inline]
    pub(super) fn line_of(
        &self,
        at: Instant,
        write: impl FnOnce(&mut Vec<u8>, &mut TimeText, Duration),
    ) {
        let mut buffer = self.outlet.lock();
        let since_epoch = buffer.wall.at(at);
        self.add(false, buffer, since_epoch, write);
    }

    #[inline]
    fn add(
        &self,
        at_once: bool,
        mut buffer: MutexGuard<'_, Buffer>,
        since_epoch: Duration,
        write: impl FnOnce(&mut Vec<u8>, &mut TimeText, Duration),
    ) {
        let before = buffer.lines.len();
        let Buffer { lines, clock, writing, .. } = &mut *buffer;
        // The length of a line is known only once it is written, so the limit is checked after.
        // But if hardly any line would fit, none is written.
        if before + *writing + SHORT_LINE < HELD_MAX {
            write(lines, clock, since_epoch);
        }
        if lines.len() == before || lines.len() + *writing > HELD_MAX {
            lines.truncate(before);
            drop(buffer);
            self.outlet.lost(1);
            return;
        }
        let full = before < WRITE_AT && lines.len() >= WRITE_AT;
        let wake = before == 0 || full || (at_once && !buffer.at_once);
        buffer.at_once |= at_once;
        drop(buffer);
        if wake {
            self.outlet.work.notify_one();
        }
    }

    /// Opens the output again, before any line that is added from now on is written.
    pub(super) fn open_again(&self) {
        self.outlet.lock().open_again = true;
        self.outlet.work.notify_one();
    }

    /// Waits until every line added so far is written, at most for `patience`: a reader that does
    /// not read must not keep the server from ending. Returns true if the thread is done with
    /// all lines, those that could not be written included.
    pub fn flush(&self, patience: Duration) -> bool {
        let mut buffer = self.outlet.lock();
        if buffer.lines.is_empty() && buffer.writing == 0 {
            return true;
        }
        buffer.at_once = true;
        self.outlet.work.notify_one();
        let pending = |buffer: &mut Buffer| !buffer.lines.is_empty() || buffer.writing > 0;
        let waited = self.outlet.done.wait_timeout_while(buffer, patience, pending);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }
}

/// Knows what time of day a moment is. A line of a request needs no look at that clock of its own.
#[derive(Debug, Default)]
struct WallClock {
    /// A moment, and its time of day.
    read: Option<(Instant, Duration)>,
}

impl WallClock {
    fn at(&mut self, moment: Instant) -> Duration {
        if let Some((read, since_epoch)) = self.read
            && let Some(passed) = moment.checked_duration_since(read)
            && passed < CLOCK_EVERY
        {
            return since_epoch + passed;
        }
        let (read, since_epoch) = (Instant::now(), since_epoch());
        self.read = Some((read, since_epoch));
        since_epoch.saturating_sub(read.saturating_duration_since(moment))
    }
}

fn since_epoch() -> Duration {
    SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default()
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.flush(Duration::from_secs(1));
        self.outlet.lock().ending = true;
        self.outlet.work.notify_one();
    }
}

impl Outlet {
    fn lock(&self) -> MutexGuard<'_, Buffer> {
        // A panic in the middle of a line leaves half a line at worst.
        self.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lost(&self, lines: u64) {
        (self.count_lost)(&self.metrics, lines);
    }

    /// What the thread does until the sink is gone: takes the lines and writes them.
    fn write_all(&self, delay: Duration, mut output: impl Output) {
        let mut batch = Vec::new();
        while let Some(open_again) = self.take(delay, &mut batch) {
            if open_again {
                output.open_again();
            }
            if !batch.is_empty() {
                let (lost, error) = write_batch(&mut output, &batch);
                if lost > 0 {
                    self.lost(lost);
                }
                output.batch_ended(lost, error.as_ref());
                batch.clear();
            }
            // The memory of one burst must not be held for ever.
            batch.shrink_to(4 * WRITE_AT);
            self.lock().writing = 0;
            self.done.notify_all();
        }
    }

    /// Waits for enough lines, or for `delay` after the first, and swaps them into `batch`. Returns
    /// whether the output is to be opened again first; `None`: there are no lines and will be none.
    fn take(&self, delay: Duration, batch: &mut Vec<u8>) -> Option<bool> {
        let nothing =
            |buffer: &mut Buffer| buffer.lines.is_empty() && !buffer.ending && !buffer.open_again;
        let buffer = self.work.wait_while(self.lock(), nothing);
        let buffer = buffer.unwrap_or_else(PoisonError::into_inner);
        let may_wait = |buffer: &mut Buffer| {
            let is_short = buffer.lines.len() < WRITE_AT;
            is_short && !buffer.at_once && !buffer.ending && !buffer.open_again
        };
        let waited = self.work.wait_timeout_while(buffer, delay, may_wait);
        let mut buffer = waited.unwrap_or_else(PoisonError::into_inner).0;
        buffer.at_once = false;
        let open_again = std::mem::take(&mut buffer.open_again);
        std::mem::swap(&mut buffer.lines, batch);
        buffer.writing = batch.len();
        (open_again || !batch.is_empty()).then_some(open_again)
    }
}

/// Writes a batch. Returns how many lines were not written whole, and why.
fn write_batch(output: &mut impl Write, batch: &[u8]) -> (u64, Option<io::Error>) {
    let mut rest = batch;
    let mut failed = None;
    while !rest.is_empty() {
        match output.write(rest) {
            Ok(0) => break,
            Ok(written) => rest = &rest[written..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                failed = Some(error);
                break;
            }
        }
    }
    let lost = memchr::memchr_iter(b'\n', rest).count();
    if lost > 0 && !rest.is_empty() && rest.len() < batch.len() {
        // If the output recovers, the next batch must begin on a line of its own.
        let ends_whole = batch[batch.len() - rest.len() - 1] == b'\n';
        if !ends_whole {
            output.write_all(b"\n").ok();
        }
    }
    (lost as u64, failed)
}

/// Writes to a descriptor that may be non-blocking: then waits instead of losing lines.
pub(super) fn write_waiting(to: impl AsFd, bytes: &[u8]) -> io::Result<usize> {
    loop {
        match rustix::io::write(&to, bytes) {
            Ok(written) => return Ok(written),
            Err(rustix::io::Errno::AGAIN) => {
                let mut waits = [PollFd::new(&to, PollFlags::OUT)];
                match poll(&mut waits, None) {
                    Ok(_) | Err(rustix::io::Errno::INTR) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Descriptor 2. Another process that shares it may have made it non-blocking. What is wrong with it
/// is said nowhere: it is where that would be said.
struct Stderr;

impl Output for Stderr {}

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        write_waiting(rustix::stdio::stderr(), bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// An output that keeps what is written.
    #[derive(Clone, Debug, Default)]
    pub(crate) struct Memory(Arc<Mutex<Vec<u8>>>);

    impl Memory {
        pub(crate) fn text(&self) -> String {
            String::from_utf8(self.0.lock().expect("not poisoned").clone()).expect("UTF-8")
        }
    }

    impl Output for Memory {}

    impl Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("not poisoned").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// An output that reports each write, and completes it when it is told to.
    struct Valve {
        offered: Sender<Vec<u8>>,
        open: Receiver<()>,
    }

    impl Output for Valve {}

    impl Output for std::fs::File {}

    impl Write for Valve {
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

    fn valve(delay: Duration, metrics: &Arc<Metrics>) -> (Sink, Receiver<Vec<u8>>, Sender<()>) {
        let ((offered, offers), (opener, open)) = (channel(), channel());
        let valve = Valve { offered, open };
        let sink = Sink::writing_after(delay, valve, metrics, Metrics::log_dropped);
        (sink.expect("a thread"), offers, opener)
    }

    fn new(output: impl Output, metrics: &Arc<Metrics>) -> Sink {
        Sink::new(output, metrics, Metrics::log_dropped).expect("a thread")
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
        let sink = new(memory.clone(), &Metrics::new());
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
    fn a_single_line_is_written_after_a_delay() {
        let (sink, offers, opener) = valve(WRITE_AFTER, &Metrics::new());
        let since = Instant::now();
        put(&sink, false, "first");
        put(&sink, false, "second");
        assert_eq!(offers.recv_timeout(SOON).expect("written"), b"first\nsecond\n");
        assert!(since.elapsed() >= WRITE_AFTER, "it did not wait for more lines");
        opener.send(()).expect("the writer lives");
        assert!(sink.flush(SOON));
    }

    #[test]
    fn warnings_and_errors_are_written_at_once() {
        let (sink, offers, opener) = valve(NEVER, &Metrics::new());
        put(&sink, true, "error");
        offers.recv_timeout(SOON).expect("written");
        opener.send(()).expect("the writer lives");
    }

    #[test]
    fn a_full_batch_is_written_before_its_time() {
        let (sink, offers, opener) = valve(NEVER, &Metrics::new());
        put(&sink, false, &"x".repeat(WRITE_AT));
        assert_eq!(offers.recv_timeout(SOON).expect("written").len(), WRITE_AT + 1);
        opener.send(()).expect("the writer lives");
    }

    #[test]
    fn a_blocked_output_costs_lines_but_no_more_than_a_bounded_memory() {
        let metrics = Metrics::new();
        let (sink, offers, opener) = valve(WRITE_AFTER, &metrics);
        let line = "x".repeat(999);
        put(&sink, true, &line);
        offers.recv_timeout(SOON).expect("the writer is stuck with the first line");
        for _ in 0..3_000 {
            put(&sink, false, &line);
        }
        let buffer = sink.outlet.lock();
        assert_eq!(buffer.lines.len() + buffer.writing, HELD_MAX / 1_000 * 1_000);
        drop(buffer);
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
        let sink = new(memory.clone(), &metrics);
        put(&sink, false, &"x".repeat(HELD_MAX));
        put(&sink, false, "short");
        assert!(sink.flush(SOON));
        assert_eq!((memory.text().as_str(), metrics.log_dropped_so_far()), ("short\n", 1));
    }

    #[test]
    fn a_full_disk_costs_the_lines_and_nothing_else() {
        let metrics = Metrics::new();
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("Linux");
        let sink = new(full, &metrics);
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
        let sink = new(memory.clone(), &Metrics::new());
        put(&sink, false, "last words");
        drop(sink);
        assert_eq!(memory.text(), "last words\n");
    }
}
