//! Accepts connections up to the limit, and recovers from every failure of accept(2).

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;

use super::listen::OpenListener;
use super::per_address::{AddressLimit, AddressPlace};
use super::places::{PlaceLimit, TakenPlace};
use super::seats::Seat;
use super::{Drain, Listener, Stream};

/// How long to wait when the system lacks descriptors or memory for a connection.
const OUTAGE_PAUSE: Duration = Duration::from_millis(100);

/// Limits how many connections are open at once, over all listeners and threads that share it.
#[derive(Clone)]
pub struct ConnectionLimit {
    places: PlaceLimit,
    count: Arc<dyn Fn(i64) + Send + Sync>,
    /// `None`: one address may have all of them.
    addresses: Option<AddressLimit>,
}

/// The place of one connection. Dropping it frees the place.
pub struct Permit {
    place: TakenPlace,
    count: Arc<dyn Fn(i64) + Send + Sync>,
    _address_place: Option<AddressPlace>,
}

impl ConnectionLimit {
    /// Allows at most `most` connections. Calls `count` with 1 and -1 as they come and go.
    pub fn new(most: usize, count: impl Fn(i64) + Send + Sync + 'static) -> Self {
        Self { places: PlaceLimit::new(most), count: Arc::new(count), addresses: None }
    }

    /// Limits the connections of each address, too.
    #[must_use]
    pub fn and_of_addresses(self, addresses: AddressLimit) -> Self {
        Self { addresses: Some(addresses), ..self }
    }

    /// Waits for the next connection whose address may have one more, and for a place for it. The
    /// others are closed at once, before they could take a place from somebody.
    async fn next(&self, listener: &OpenListener) -> io::Result<(Stream, Permit)> {
        loop {
            let (stream, address) = listener.accept().await?;
            let place = match &self.addresses {
                None => None,
                Some(addresses) => match addresses.take(address) {
                    None => continue,
                    place => place,
                },
            };
            // The permit comes second: a listener without callers must not hold one.
            return Ok((stream, self.take(place).await));
        }
    }

    async fn take(&self, address_place: Option<AddressPlace>) -> Permit {
        let place = self.places.take().await;
        (self.count)(1);
        Permit { place, count: Arc::clone(&self.count), _address_place: address_place }
    }
}

impl Permit {
    /// The place of a connection that shares its limit with no other.
    #[cfg(test)]
    pub(super) fn only() -> Self {
        let places = PlaceLimit::new(1);
        let place = places.place(Arc::clone(&places.free).try_acquire_owned().expect("it is free"));
        Self { place, count: Arc::new(|_| {}), _address_place: None }
    }

    /// Returns the seat, where the connection notes since when it is idle.
    pub(super) fn seat(&self) -> Arc<Seat> {
        Arc::clone(&self.place.seat)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        (self.count)(-1);
    }
}

/// Hands each new connection to `sink`, until the server is told to stop.
///
/// While all places are taken and no connection is idle, one more connection is accepted and kept
/// waiting; the others wait in the kernel's backlog. When the system is out of descriptors or
/// memory, this logs it once, pauses, and tries again.
///
/// The stream belongs to this thread; [`Stream::detach`] gives it to another one.
/// # Errors
///
/// Why the listener cannot be watched. After the start nothing fails.
pub async fn accept(
    listener: Listener,
    limit: ConnectionLimit,
    drain: Drain,
    sink: impl FnMut(Stream, Permit),
) -> io::Result<()> {
    let address = listener.local();
    let listener = &listener.open()?;
    let limit = &limit;
    let next = async || limit.next(listener).await;
    tokio::select! {
        biased;
        () = drain.begun() => {}
        () = accept_from(next, &address, sink) => {}
    }
    Ok(())
}

async fn accept_from<T>(
    mut next: impl AsyncFnMut() -> io::Result<(T, Permit)>,
    address: &str,
    mut sink: impl FnMut(T, Permit),
) {
    let mut in_outage = false;
    loop {
        match next().await {
            Ok((accepted, permit)) => {
                if std::mem::take(&mut in_outage) {
                    tracing::info!(address, "accepting connections again");
                }
                sink(accepted, permit);
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

/// Returns true if accept(2) reports that a single connection failed before it was accepted. Any
/// other error would come again at once.
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
        _ => "the server tries again ten times a second",
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
        let limit = ConnectionLimit::new(2, {
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
                        let sink = move |stream, permit| sender.try_send((stream, permit)).unwrap();
                        accept(listener, limit, drain, sink).await.unwrap();
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
        let limit = ConnectionLimit::new(1, |_| {});
        let sink = {
            let drain = drain.clone();
            move |stream, _permit| {
                let Stream::Tcp(stream) = stream else { panic!("{stream:?}") };
                assert!(stream.nodelay().unwrap());
                drain.begin();
            }
        };
        accept(listener, limit, drain, sink).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn out_of_descriptors_it_waits_and_goes_on() {
        let limit = ConnectionLimit::new(1, |_| {});
        let began = Instant::now();
        let taken = Rc::new(RefCell::new(Vec::new()));
        // The last step is taken first.
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
                Some(Ok(number)) => Ok((number, limit.take(None).await)),
                Some(Err(error)) => Err(error.into()),
                None => std::future::pending().await,
            }
        };
        let sink = |number, _permit| taken.borrow_mut().push((number, began.elapsed()));
        let endless = accept_from(next, "test", sink);
        assert!(tokio::time::timeout(Duration::from_secs(9), endless).await.is_err());
        // Three pauses, none for the connection that was gone.
        assert_eq!(*taken.borrow(), [(7, OUTAGE_PAUSE * 3)]);
    }
}
