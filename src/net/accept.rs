//! Takes connections from a listener within the limit, and never gives up.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::seats::{Seat, Seats};
use super::{Drain, Listener, Stream};

/// How long to wait when the system has nothing left to make a connection of.
const OUTAGE_PAUSE: Duration = Duration::from_millis(100);
/// How long to wait for a connection that was asked to leave before another one is asked.
const LEAVING: Duration = Duration::from_millis(50);

/// How many connections there may be at once, over all listeners and threads that share it.
///
/// While all places are taken, a new connection takes the place of the one on which the server
/// has waited longest for its caller: idle strangers cannot shut others out.
#[derive(Clone)]
pub struct Slots {
    free: Arc<Semaphore>,
    seats: Arc<Seats>,
    count: Arc<dyn Fn(i64) + Send + Sync>,
}

/// The place of one connection; free again when dropped.
pub struct Slot {
    _permit: OwnedSemaphorePermit,
    number: u64,
    seat: Arc<Seat>,
    seats: Arc<Seats>,
    count: Arc<dyn Fn(i64) + Send + Sync>,
}

impl Slots {
    /// At most `most` at once; `count` is told of each change, as the metrics are.
    pub fn new(most: usize, count: impl Fn(i64) + Send + Sync + 'static) -> Self {
        let most = most.min(Semaphore::MAX_PERMITS);
        Self { free: Arc::new(Semaphore::new(most)), seats: Arc::default(), count: Arc::new(count) }
    }

    /// Waits until there is a place, and asks the connection that has been idle longest to leave.
    async fn take(&self) -> Slot {
        let permit = loop {
            if let Ok(permit) = Arc::clone(&self.free).try_acquire_owned() {
                break permit;
            }
            self.seats.make_room();
            // The one that was asked may have got a request just then: another one is asked.
            let acquire = Arc::clone(&self.free).acquire_owned();
            if let Ok(permit) = tokio::time::timeout(LEAVING, acquire).await {
                break permit.expect("the semaphore is never closed");
            }
        };
        (self.count)(1);
        self.seat(permit)
    }

    fn seat(&self, permit: OwnedSemaphorePermit) -> Slot {
        let (number, seat) = self.seats.add(tokio::time::Instant::now().into_std());
        let (seats, count) = (Arc::clone(&self.seats), Arc::clone(&self.count));
        Slot { _permit: permit, number, seat, seats, count }
    }
}

impl Slot {
    /// The place of a connection that shares its limit with no other.
    #[cfg(test)]
    pub(super) fn only() -> Self {
        let slots = Slots::new(1, |_| {});
        slots.seat(Arc::clone(&slots.free).try_acquire_owned().expect("it is free"))
    }

    /// Returns what the connection tells of itself.
    pub(super) fn seat(&self) -> Arc<Seat> {
        Arc::clone(&self.seat)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.seats.remove(self.number);
        (self.count)(-1);
    }
}

/// Hands each new connection to `sink`, until the server is told to stop.
///
/// While all slots are taken and no connection is idle, it accepts one more connection and keeps
/// that waiting; the others wait in the kernel's backlog. When the system is out of descriptors or memory it waits, says
/// so once, and goes on. The only error is a listener that cannot be watched, at the start.
///
/// The stream belongs to this thread; [`Stream::detach`] gives it to another one.
pub async fn accept(
    listener: Listener,
    slots: Slots,
    drain: Drain,
    sink: impl FnMut(Stream, Slot),
) -> io::Result<()> {
    let address = listener.local();
    let listener = &listener.open()?;
    let slots = &slots;
    // The slot comes second: a listener that nobody connects to must not sit on one.
    let next = async || Ok((listener.accept().await?, slots.take().await));
    tokio::select! {
        biased;
        () = drain.begun() => {}
        () = accept_from(next, &address, sink) => {}
    }
    Ok(())
}

async fn accept_from<T>(
    mut next: impl AsyncFnMut() -> io::Result<(T, Slot)>,
    address: &str,
    mut sink: impl FnMut(T, Slot),
) {
    let mut in_outage = false;
    loop {
        match next().await {
            Ok((accepted, slot)) => {
                if std::mem::take(&mut in_outage) {
                    tracing::info!(address, "accepting connections again");
                }
                sink(accepted, slot);
            }
            Err(error) if concerns_one_connection(&error) => {
                tracing::debug!(address, %error, "a connection was gone before it was accepted");
            }
            Err(error) => {
                if !std::mem::replace(&mut in_outage, true) {
                    let hint = outage_hint(&error);
                    tracing::error!(address, %error, hint, "cannot accept connections for now");
                }
                tokio::time::sleep(OUTAGE_PAUSE).await;
            }
        }
    }
}

/// Errors that accept(2) passes on from a connection that failed before it was taken. All
/// others would come again at once.
fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(
            Errno::CONNABORTED
                | Errno::CONNRESET
                | Errno::INTR
                | Errno::PERM
                | Errno::PROTO
                | Errno::NOPROTOOPT
                | Errno::NETDOWN
                | Errno::NETUNREACH
                | Errno::HOSTDOWN
                | Errno::HOSTUNREACH
                | Errno::NONET
                | Errno::OPNOTSUPP
                | Errno::TIMEDOUT
        )
    )
}

fn outage_hint(error: &io::Error) -> &'static str {
    match Errno::from_io_error(error) {
        Some(Errno::MFILE) => "raise `ulimit -n` (LimitNOFILE=), or lower `limits.connections`",
        Some(Errno::NFILE) => "the whole machine is out of files: raise fs.file-max",
        Some(Errno::NOMEM | Errno::NOBUFS) => "the machine is out of memory",
        _ => "it is tried again ten times a second",
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;
    use std::sync::atomic::{AtomicI64, Ordering};

    use tokio::net::TcpStream;
    use tokio::sync::mpsc;
    use tokio::task::LocalSet;
    use tokio::time::Instant;

    use super::*;
    use crate::config::ListenAddress;

    fn listener() -> Listener {
        Listener::bind(&ListenAddress::Tcp("127.0.0.1:0".parse().unwrap())).unwrap()
    }

    #[tokio::test]
    async fn the_connection_over_the_limit_waits_until_one_ends() {
        let count = Arc::new(AtomicI64::new(0));
        let slots = Slots::new(2, {
            let count = Arc::clone(&count);
            move |change| {
                count.fetch_add(change, Ordering::SeqCst);
            }
        });
        let (listener, drain) = (listener(), Drain::new());
        let address = listener.local();
        let (sender, mut accepted) = mpsc::channel(8);
        LocalSet::new()
            .run_until(async {
                let loop_ended = drain.spawn_local({
                    let drain = drain.clone();
                    async move {
                        let sink = move |stream, slot| sender.try_send((stream, slot)).unwrap();
                        accept(listener, slots, drain, sink).await.unwrap();
                    }
                });
                let mut clients = Vec::new();
                for _ in 0..3 {
                    clients.push(TcpStream::connect(&address).await.unwrap());
                }
                let first = accepted.recv().await.unwrap();
                let _second = accepted.recv().await.unwrap();
                assert_eq!(count.load(Ordering::SeqCst), 2);
                // However often the loop gets its turn, it takes no third.
                for _ in 0..100 {
                    tokio::task::yield_now().await;
                }
                assert!(accepted.try_recv().is_err());
                drop(first);
                let _third = accepted.recv().await.unwrap();
                assert_eq!(count.load(Ordering::SeqCst), 2);
                drain.begin();
                loop_ended.await.unwrap();
            })
            .await;
    }

    #[tokio::test]
    async fn an_accepted_tcp_connection_does_not_wait_to_fill_packets() {
        let (listener, drain) = (listener(), Drain::new());
        let _client = TcpStream::connect(listener.local()).await.unwrap();
        let slots = Slots::new(1, |_| {});
        let sink = {
            let drain = drain.clone();
            move |stream, _slot| {
                let Stream::Tcp(stream) = stream else { panic!("{stream:?}") };
                assert!(stream.nodelay().unwrap());
                drain.begin();
            }
        };
        accept(listener, slots, drain, sink).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn out_of_descriptors_it_waits_and_goes_on() {
        let slots = Slots::new(1, |_| {});
        let began = Instant::now();
        let taken = Rc::new(RefCell::new(Vec::new()));
        // Read from its end.
        let script = RefCell::new(vec![
            Ok(7),
            Err(Errno::CONNABORTED),
            Err(Errno::NFILE),
            Err(Errno::MFILE),
            Err(Errno::MFILE),
        ]);
        let next = async || {
            let step = script.borrow_mut().pop();
            match step {
                Some(Ok(number)) => Ok((number, slots.take().await)),
                Some(Err(error)) => Err(error.into()),
                None => std::future::pending().await,
            }
        };
        let sink = |number, _slot| taken.borrow_mut().push((number, began.elapsed()));
        let endless = accept_from(next, "test", sink);
        assert!(tokio::time::timeout(Duration::from_secs(9), endless).await.is_err());
        // Three pauses, none for the connection that was gone.
        assert_eq!(*taken.borrow(), [(7, OUTAGE_PAUSE * 3)]);
    }
}
