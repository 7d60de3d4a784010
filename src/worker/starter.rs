//! Makes the processes of workers, on threads of their own.
//!
//! The thread that makes a child stands still until that has become the program (`child`). Where other programs
//! compute this can take tens of milliseconds, and callers must not wait for it. And a child has the filter of system
//! calls that its thread has: so the kernel checks and compiles the filter of a sandbox once, and not for each worker.

use std::cell::Cell;
use std::io;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::child::NewChild;
use super::fence;
use super::guard::Guard;
use super::lasting::LastingThread;
use super::process::Leader;

/// Makes children outside of sandboxes.
static STARTER: LastingThread<Order> =
    LastingThread::new("starter", |order| order.carry_out(false));
/// Make children in a sandbox: without a network, and with it.
static FILTERED: [LastingThread<Order>; 2] = [
    LastingThread::new("starter-fenced", |order| order.carry_out(is_filtered(false))),
    LastingThread::new("starter-network", |order| order.carry_out(is_filtered(true))),
];

/// How long the end of a start is waited for that nobody needs any longer. What is made after that is ended by the
/// thread that has made it.
const PATIENCE: Duration = Duration::from_secs(1);

/// A child to be made, for a thread that makes it. Dropping it wakes who waits, whether there is a result or not.
struct Order {
    child: Arc<Unmade>,
    guard: Guard,
    result: Option<Sender<io::Result<Leader>>>,
    /// There is a result, or will never be one.
    is_over: Arc<Notify>,
}

/// A child that nobody has begun to make. Who takes it makes it, or gives it up.
struct Unmade(Mutex<Option<NewChild>>);

/// A child that somebody waits for. Dropping it leaves no process.
struct Awaited {
    child: Arc<Unmade>,
    result: Receiver<io::Result<Leader>>,
    is_over: Arc<Notify>,
    has_result: Cell<bool>,
}

/// Makes a child, and puts it on the list of the guard. Dropping the future leaves no process: it waits a moment for
/// a child that is being made just then.
pub(super) async fn start(child: NewChild, guard: &Guard) -> io::Result<Leader> {
    let thread = match &child.fence {
        Some(fence) => &FILTERED[usize::from(fence.network)],
        None => &STARTER,
    };
    let (sender, result) = channel();
    let child = Arc::new(Unmade(Mutex::new(Some(child))));
    let has_result = Cell::new(false);
    let awaited = Awaited { child, result, is_over: Arc::default(), has_result };
    let order = Order {
        child: Arc::clone(&awaited.child),
        guard: guard.clone(),
        result: Some(sender),
        is_over: Arc::clone(&awaited.is_over),
    };
    // Where there is no thread for it, or too much waits for that thread, this one makes it.
    if let Err(order) = thread.give(order) {
        order.carry_out(false);
    }
    awaited.leader().await
}

/// Returns true if this thread has the filter of a sandbox. It gets it with its first child, and keeps it. Where the
/// kernel refuses that, each child asks for it, and the shim says why it cannot be.
fn is_filtered(network: bool) -> bool {
    thread_local! {
        static IS_FILTERED: Cell<bool> = const { Cell::new(false) };
    }
    if !IS_FILTERED.get() {
        IS_FILTERED.set(fence::filter_thread(network));
    }
    IS_FILTERED.get()
}

impl Order {
    /// Makes the child, on a thread that has the filter of its sandbox, or has not.
    fn carry_out(self, is_filtered: bool) {
        let Some(child) = self.child.take() else { return };
        let leader = make(&child, &self.guard, is_filtered);
        // Our copies of the worker's ends must go, or nobody would see the end of its output.
        drop(child);
        if let Some(result) = &self.result {
            // One that nobody waits for any longer is ended by this.
            result.send(leader).ok();
        }
    }
}

impl Drop for Order {
    fn drop(&mut self) {
        // Before who waits is woken, who would wait for this, too.
        drop(self.result.take());
        self.is_over.notify_one();
    }
}

fn make(child: &NewChild, guard: &Guard, is_filtered: bool) -> io::Result<Leader> {
    let start = guard.begin_start();
    let id = child.begin(start.id(), is_filtered)?;
    Ok(Leader::register(id, guard))
}

impl Unmade {
    fn take(&self) -> Option<NewChild> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Awaited {
    async fn leader(&self) -> io::Result<Leader> {
        loop {
            match self.result.try_recv() {
                Ok(leader) => {
                    self.has_result.set(true);
                    return leader;
                }
                Err(TryRecvError::Empty) => self.is_over.notified().await,
                Err(TryRecvError::Disconnected) => {
                    return Err(io::Error::other("the thread that starts programs has a fault"));
                }
            }
        }
    }
}

impl Drop for Awaited {
    fn drop(&mut self) {
        let has_begun = self.child.take().is_none();
        if has_begun && !self.has_result.get() {
            // It is made already, or will be in a moment. What this receives is ended.
            drop(self.result.recv_timeout(PATIENCE));
        }
    }
}
