//! The run itself: items in, calls, records out.

use std::cell::RefCell;
use std::io::{self, IsTerminal};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Sender};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::{Receiver, channel};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Interval, MissedTickBehavior, interval_at};

use super::budget::Budget;
use super::input::{Item, ItemInput, Separator};
use super::journal::Checkpoint;
use super::meter::Standing;
use super::order::InOrder;
use super::output::{ItemFailure, ItemOutput, ItemRecord};
use crate::base::{Failure, Reply, ReplyForm};
use crate::call::{Calls, Gateway};
use crate::front::items::Items;
use crate::front::problem::ProblemDocument;
use crate::pool::Pool;
use crate::server::PoolsAlone;

/// Most bytes of items and answers in memory at once.
const BYTES_MOST: usize = 64 << 20;
/// How many items are under way for each worker.
const ITEMS_FOR_EACH_WORKER: usize = 64;
/// How long a pool may be without a worker before its items fail.
const PATIENCE: Duration = Duration::from_mins(1);
/// How long a run that a signal stops still writes to a reader who may stand still.
const LAST_WRITES: Duration = Duration::from_secs(1);
/// How long an item waits before it is asked again where no worker can be started.
const RETRY: Duration = Duration::from_millis(200);

/// What a run does.
pub struct MapPlan {
    /// How an item becomes a call.
    pub items: Items,
    /// The items.
    pub input: ItemInput,
    /// Where the answers go.
    pub output: ItemOutput,
    /// What ends an answer.
    pub separator: Separator,
    /// Answers are written as they end.
    pub unordered: bool,
    /// How the run shows how far it is.
    pub showing: Showing,
    /// Writes to people, who may be gone.
    pub tell: fn(&str),
}

/// How a run shows how far it is, on stderr.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Showing {
    /// Not at all.
    Quiet,
    /// In lines, now and then.
    Lines,
    /// In one line that changes.
    Bar,
}

impl Showing {
    /// What suits stderr.
    pub fn of_stderr() -> Self {
        if io::stderr().is_terminal() { Self::Bar } else { Self::Lines }
    }

    fn every(self) -> Duration {
        match self {
            Self::Bar => Duration::from_millis(200),
            Self::Quiet | Self::Lines => Duration::from_secs(10),
        }
    }
}

/// How a run ended.
#[derive(Debug)]
pub enum RunEnd {
    /// All items have been answered; so many failed.
    Whole {
        /// What is told at the end.
        summary: String,
        /// How many items failed, those of earlier runs included.
        failed: u64,
    },
    /// The output cannot be begun, or a signal came (`None`) before a worker was ready. No file was changed.
    NotBegun(Option<io::Error>),
    /// A signal stopped it.
    Interrupted,
    /// The input cannot be read any further.
    Unreadable(io::Error),
    /// The output cannot be written any further.
    Unwritable(io::Error),
}

/// Asks all items of a plan. The pool is the only one there is.
pub async fn run(plan: MapPlan, alone: &PoolsAlone) -> RunEnd {
    let MapPlan { items, input, mut output, separator, unordered, showing, tell } = plan;
    let pool = Rc::clone(&alone.pools[0]);
    let mut stop = match StopSignals::new() {
        Ok(stop) => stop,
        Err(error) => return RunEnd::NotBegun(Some(error)),
    };
    let progress = MapProgress::new(&input, &output, Rc::clone(&pool), (showing, tell));
    // A program that does not start costs no earlier answer.
    if !progress.wait_serving(&mut stop).await {
        return RunEnd::NotBegun(None);
    }
    if let Err(error) = output.begin() {
        return RunEnd::NotBegun(Some(error));
    }
    let window = pool.settings().rules.workers_most.saturating_mul(ITEMS_FOR_EACH_WORKER);
    let budget = Arc::new(Budget::new(window, BYTES_MOST));
    let (first, is_kept) = (output.checkpoint().inputs, output.can_resume());
    let (sender, items_read) = channel(window);
    let reading = in_thread({
        let budget = Arc::clone(&budget);
        move || input.feed(&budget, &sender)
    });
    let (records, to_write) = mpsc::channel();
    let writing = in_thread({
        let (budget, tally) = (Arc::clone(&budget), Arc::clone(&progress.tally));
        move || output.write_all(&to_write, &budget, |record| tally.count(record)).map(|()| output)
    });
    let order = (!unordered).then(|| RefCell::new(InOrder::new(first)));
    let budget_of_all = Arc::clone(&budget);
    let gateway = alone.gateway.clone();
    let desk = Rc::new(ItemDesk {
        items,
        separator,
        gateway,
        pool,
        order,
        records,
        budget: budget_of_all,
    });
    let threads = SideThreads { reading, writing, stop, is_kept };
    let ended = ask_all(desk, items_read, threads, &progress).await;
    budget.close();
    ended
}

/// The threads beside the one that has the pools, and what stops them.
struct SideThreads {
    reading: oneshot::Receiver<io::Result<()>>,
    /// Gives the output back once everything is written.
    writing: oneshot::Receiver<io::Result<ItemOutput>>,
    stop: StopSignals,
    /// A later run can go on with the output.
    is_kept: bool,
}

impl SideThreads {
    /// Waits until everything is written. `None`: a signal came before.
    async fn written(&mut self) -> Option<io::Result<ItemOutput>> {
        tokio::select! {
            result = &mut self.writing => {
                let ended = |_| Err(io::Error::other("the thread that writes has ended"));
                Some(result.unwrap_or_else(ended))
            }
            () = self.stop.come() => None,
        }
    }

    /// Stops after a signal. What is answered is still written, unless the reader of the output stands
    /// still, or a second signal comes.
    async fn stopped(&mut self) -> RunEnd {
        let patience = if self.is_kept { Duration::MAX } else { LAST_WRITES };
        match tokio::time::timeout(patience, self.written()).await {
            Ok(Some(Err(error))) => RunEnd::Unwritable(error),
            Ok(Some(Ok(_)) | None) | Err(_) => RunEnd::Interrupted,
        }
    }
}

/// Runs something in a thread of its own. What it returns can be waited for; a thread that waits for
/// stdin does not keep the process.
fn in_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> oneshot::Receiver<T> {
    let (send, receive) = oneshot::channel();
    std::thread::spawn(move || {
        // Nobody waits for it once the run is stopped.
        send.send(work()).ok();
    });
    receive
}

/// Asks the items as they are read, until all are answered and written.
async fn ask_all(
    desk: Rc<ItemDesk>,
    mut items: Receiver<Item>,
    mut threads: SideThreads,
    progress: &MapProgress,
) -> RunEnd {
    let (mut asked, mut is_read) = (JoinSet::new(), false);
    let mut ticks = progress.ticks();
    while !is_read || !asked.is_empty() {
        tokio::select! {
            biased;
            () = threads.stop.come() => {
                drop((asked, desk));
                return threads.stopped().await;
            }
            result = &mut threads.writing => {
                return RunEnd::Unwritable(error_of(result));
            }
            Some(done) = asked.join_next() => {
                if let Err(panic) = done {
                    std::panic::resume_unwind(panic.into_panic());
                }
            }
            item = items.recv(), if !is_read => match item {
                Some(item) => {
                    asked.spawn_local(Rc::clone(&desk).answer(item));
                }
                None => is_read = true,
            },
            _ = ticks.tick() => progress.show(),
        }
    }
    drop(desk);
    let output = match threads.written().await {
        Some(Ok(output)) => output,
        Some(Err(error)) => return RunEnd::Unwritable(error),
        None => return threads.stopped().await,
    };
    if let Ok(Err(error)) = threads.reading.await {
        return RunEnd::Unreadable(error);
    }
    let Standing { failed, .. } = progress.standing();
    match output.finish() {
        Ok(()) => RunEnd::Whole { summary: progress.standing().summary(), failed },
        Err(error) => RunEnd::Unwritable(error),
    }
}

/// Returns why the writer ended before its time.
fn error_of(result: Result<io::Result<ItemOutput>, oneshot::error::RecvError>) -> io::Error {
    match result {
        Ok(Err(error)) => error,
        Ok(Ok(_)) | Err(_) => io::Error::other("the thread that writes has ended"),
    }
}

/// SIGINT and SIGTERM.
struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
}

impl StopSignals {
    fn new() -> io::Result<Self> {
        let (interrupt, terminate) = (SignalKind::interrupt(), SignalKind::terminate());
        Ok(Self { interrupt: signal(interrupt)?, terminate: signal(terminate)? })
    }

    async fn come(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Where items are asked, and what became of them is put into order.
struct ItemDesk {
    items: Items,
    separator: Separator,
    gateway: Gateway,
    pool: Rc<Pool>,
    /// `None`: records are written as they come.
    order: Option<RefCell<InOrder<ItemRecord>>>,
    records: Sender<ItemRecord>,
    budget: Arc<Budget>,
}

impl ItemDesk {
    /// Asks one item, and gives what became of it to the writer.
    async fn answer(self: Rc<Self>, item: Item) {
        let result = match &item.text {
            None => Err(Failure::BodyTooLarge { limit: self.items.most() as u64 }),
            Some(text) => self.ask(text).await,
        };
        let outcome = result
            .map_err(|failure| {
                let ProblemDocument { code, detail, .. } = ProblemDocument::of(&failure);
                (code.as_str(), detail)
            })
            .and_then(|reply| self.written(reply));
        let answer = outcome.as_ref().map_or(0, Bytes::len);
        self.budget.grow(answer);
        let held = item.size() + answer;
        let Item { number, text, end, hash } = item;
        let outcome = outcome.map_err(|(code, detail)| ItemFailure { code, detail, input: text });
        self.put(ItemRecord { number, hash, end, outcome, held });
    }

    /// Asks one item. While no worker can be started, it is asked again.
    async fn ask(&self, text: &Bytes) -> Result<Reply, Failure> {
        let asking = self.items.asking(text)?;
        let ask = async || self.gateway.call(asking.clone()).await.result;
        ask_through_outages(ask, async || self.pool.wait_serving().await).await
    }

    /// Returns an answer as the output has it.
    fn written(&self, reply: Reply) -> Result<Bytes, (&'static str, String)> {
        let Reply { body, form } = reply;
        if let ReplyForm::Http { status: status @ 400.., .. } = form {
            return Err(("program_error", format!("the program answered with status {status}")));
        }
        let body = match self.separator {
            Separator::Line => body.slice(..body.strip_suffix(b"\n").unwrap_or(&body).len()),
            Separator::Nul => body,
        };
        if memchr::memchr(self.separator.byte(), &body).is_none() {
            return Ok(body);
        }
        let detail = match self.separator {
            Separator::Line => "the answer has several lines; `-0` ends each answer with a NUL",
            Separator::Nul => "there is a NUL in the answer; without `-0` a line end ends each",
        };
        Err(("bad_answer", detail.to_owned()))
    }

    fn put(&self, record: ItemRecord) {
        // The writer is gone only if it failed, which is told where its end is seen.
        let write = |record| self.records.send(record).unwrap_or_default();
        let Some(order) = &self.order else { return write(record) };
        let mut order = order.borrow_mut();
        order.put(record.number, record);
        std::iter::from_fn(|| order.pop()).for_each(write);
    }
}

/// What has been written so far.
#[derive(Debug, Default)]
struct Tally {
    done: AtomicU64,
    failed: AtomicU64,
    /// The end of the last item.
    end: AtomicU64,
}

impl Tally {
    fn count(&self, record: &ItemRecord) {
        self.done.fetch_add(1, Ordering::Relaxed);
        self.failed.fetch_add(u64::from(record.outcome.is_err()), Ordering::Relaxed);
        self.end.fetch_max(record.end, Ordering::Relaxed);
    }
}

/// How far a run is, for people.
struct MapProgress {
    tally: Arc<Tally>,
    pool: Rc<Pool>,
    showing: Showing,
    tell: fn(&str),
    begun: Instant,
    /// What earlier runs had done.
    done_before: u64,
    failed_before: u64,
    /// Where this run begins to read, and how much is left from there.
    begin: u64,
    left: Option<u64>,
}

impl MapProgress {
    fn new(
        input: &ItemInput,
        output: &ItemOutput,
        pool: Rc<Pool>,
        (showing, tell): (Showing, fn(&str)),
    ) -> Self {
        let Checkpoint { inputs, failed, .. } = *output.checkpoint();
        Self {
            tally: Arc::default(),
            pool,
            showing,
            tell,
            begun: Instant::now(),
            done_before: inputs,
            failed_before: failed,
            begin: input.position(),
            left: input.left(),
        }
    }

    fn ticks(&self) -> Interval {
        let every = self.showing.every();
        let mut ticks = interval_at((Instant::now() + every).into(), every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks
    }

    fn standing(&self) -> Standing {
        let [done_now, failed_now, end] = [&self.tally.done, &self.tally.failed, &self.tally.end]
            .map(|number| number.load(Ordering::Relaxed));
        Standing {
            done: self.done_before + done_now,
            failed: self.failed_before + failed_now,
            done_now,
            bytes: self.left.map(|left| (end.saturating_sub(self.begin), left)),
            workers: self.pool.serving(),
            took: self.begun.elapsed(),
        }
    }

    fn show(&self) {
        let line = self.standing().line();
        match self.showing {
            Showing::Quiet => {}
            Showing::Lines => (self.tell)(&format!("{line}\n")),
            Showing::Bar => (self.tell)(&format!("\r\x1b[K{line}")),
        }
    }

    /// Waits until a worker serves. Returns false if a signal comes first.
    async fn wait_serving(&self, stop: &mut StopSignals) -> bool {
        let mut ticks = self.ticks();
        loop {
            tokio::select! {
                biased;
                () = stop.come() => return false,
                () = self.pool.wait_serving() => return true,
                _ = ticks.tick() => self.show(),
            }
        }
    }
}

impl Drop for MapProgress {
    /// Takes a line that changes away.
    fn drop(&mut self) {
        if self.showing == Showing::Bar {
            (self.tell)("\r\x1b[K");
        }
    }
}

/// Asks again after each time without workers, unless it is too long. `serving` waits for a worker.
async fn ask_through_outages<T>(
    ask: impl AsyncFn() -> Result<T, Failure>,
    serving: impl AsyncFn(),
) -> Result<T, Failure> {
    loop {
        let result = ask().await;
        let Err(failure @ Failure::NoWorker { .. }) = result else { return result };
        tokio::time::sleep(RETRY).await;
        if tokio::time::timeout(PATIENCE, serving()).await.is_err() {
            return Err(failure);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn no_worker() -> Failure {
        Failure::NoWorker { why: "".into(), retry_after: Duration::ZERO }
    }

    #[tokio::test(start_paused = true)]
    async fn an_item_waits_through_short_outages_however_far_apart() {
        let (asked, outages) = (Cell::new(0), 5);
        let ask = async || {
            asked.set(asked.get() + 1);
            // Waits in the queue first.
            tokio::time::sleep(PATIENCE * 3).await;
            if asked.get() <= outages { Err(no_worker()) } else { Ok("answer") }
        };
        let serving = async || tokio::time::sleep(PATIENCE / 10).await;
        let result = ask_through_outages(ask, serving).await;
        assert_eq!((result.ok(), asked.get()), (Some("answer"), outages + 1));
    }

    #[tokio::test(start_paused = true)]
    async fn an_item_fails_where_no_worker_comes_for_long() {
        let ask = async || Err::<(), _>(no_worker());
        let asked = ask_through_outages(ask, std::future::pending::<()>);
        let ended = tokio::time::timeout(PATIENCE * 2, asked).await.expect("it does not hang");
        assert!(matches!(ended, Err(Failure::NoWorker { .. })));
    }
}
