//! The threads that own connections, and which of them gets the next connection.

use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{mpsc, watch};
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::active::Active;
use super::app::{RemoteGeneration, Server};
use super::ground::local_runtime;
use crate::call::Crossing;
use crate::config::LimitSettings;
use crate::net::{Accepted, Arrival, Drain, Entrance, Permit, RequestHead, Stream, connection};

/// Most connections that wait for one thread to take them.
const WAITING_MAX: usize = 1024;

/// The thread that accepts, and the other threads.
#[derive(Debug)]
pub(super) struct Threads {
    server: Rc<Server>,
    limits: Arc<LimitSettings>,
    drain: Drain,
    active: Active,
    here: Load,
    others: Vec<OtherThread>,
}

/// How many connections one thread has.
type Load = Arc<AtomicUsize>;

#[derive(Debug)]
struct OtherThread {
    load: Load,
    send: mpsc::Sender<Moved>,
}

/// A connection on its way to another thread.
struct Moved {
    accepted: Accepted,
    is_guarded: bool,
    permit: Permit,
    carried: Carried,
    /// It counts as open on its way, too.
    expected: TaskTrackerToken,
}

/// One connection of a thread, counted until dropped.
struct Carried(Load);

impl Drop for Carried {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

fn carry(load: &Load) -> Carried {
    load.fetch_add(1, Ordering::AcqRel);
    Carried(Arc::clone(load))
}

impl Threads {
    /// Starts all threads but this one.
    pub(super) fn start(
        count: usize,
        server: &Rc<Server>,
        limits: &Arc<LimitSettings>,
        drain: &Drain,
        active: &Active,
    ) -> io::Result<Self> {
        let others = (1..count).map(|number| {
            let load = Load::default();
            let (send, receive) = mpsc::channel(WAITING_MAX);
            let (generations, limits) = (server.remote_generations(), Arc::clone(limits));
            let (drain, active) = (drain.clone(), active.clone());
            let entrance = server.entrance().clone();
            // A thread whose runtime fails would have the fewest connections, and get all new ones.
            let (tell, told) = std::sync::mpsc::sync_channel(1);
            std::thread::Builder::new().name(format!("connections-{number}")).spawn(move || {
                let runtime = match local_runtime() {
                    Ok(runtime) => runtime,
                    // The starting thread waits for this.
                    Err(error) => return tell.send(Err(error)).unwrap_or_default(),
                };
                tell.send(Ok(())).unwrap_or_default();
                let all = ThreadShare { generations, entrance, limits, drain, active };
                runtime.block_on(serve_connections(receive, all));
            })?;
            told.recv().unwrap_or_else(|_| Err(io::ErrorKind::BrokenPipe.into()))?;
            Ok(OtherThread { load, send })
        });
        Ok(Self {
            others: others.collect::<io::Result<_>>()?,
            server: Rc::clone(server),
            limits: Arc::clone(limits),
            drain: drain.clone(),
            active: active.clone(),
            here: Load::default(),
        })
    }

    /// Gives a connection to the thread that has the fewest. `is_guarded` is true if it came by a
    /// loopback listener.
    pub(super) fn take(&self, stream: Stream, is_guarded: bool, permit: Permit) {
        let least = self.others.iter().min_by_key(|other| other.load.load(Ordering::Acquire));
        let least = least
            .filter(|other| other.load.load(Ordering::Acquire) < self.here.load(Ordering::Acquire));
        match least {
            None => self.serve(stream, is_guarded, permit),
            Some(other) => {
                let Ok(accepted) = stream.detach() else { return };
                let carried = carry(&other.load);
                // If a thousand connections wait even for the thread with the fewest, this one
                // is closed.
                let expected = self.drain.expect_connection();
                other.send.try_send(Moved { accepted, is_guarded, permit, carried, expected }).ok();
            }
        }
    }

    fn serve(&self, stream: Stream, is_guarded: bool, permit: Permit) {
        let carried = carry(&self.here);
        let (server, limits) = (Rc::clone(&self.server), Arc::clone(&self.limits));
        let (drain, active) = (self.drain.clone(), self.active.clone());
        self.drain.spawn_local(async move {
            let entered =
                server.entrance().enter(stream, is_guarded, &permit, &limits, &drain).await;
            let Some((entered, caller)) = entered else { return };
            let service = async |head: &RequestHead, body, arrival: Arrival<'_>| {
                let _counted = active.enter();
                let current = server.current();
                let (front, gateway) = (&current.front, &current.gateway);
                pin!(front.handle(gateway, head, body, &caller, arrival)).await
            };
            let refuse = |refusal| server.current().front.refuse(refusal, &caller);
            connection::serve(entered, &permit, &limits, service, refuse, drain).await;
            drop((permit, carried));
        });
    }
}

/// What the connections of another thread share.
#[derive(Clone)]
struct ThreadShare {
    generations: watch::Receiver<RemoteGeneration>,
    entrance: Entrance,
    limits: Arc<LimitSettings>,
    drain: Drain,
    active: Active,
}

/// Serves the connections of another thread until the server ends.
async fn serve_connections(mut receive: mpsc::Receiver<Moved>, shared: ThreadShare) {
    let crossing = Crossing::open();
    while let Some(moved) = receive.recv().await {
        let Moved { accepted, is_guarded, permit, carried, expected } = moved;
        let Ok(stream) = accepted.open() else { continue };
        let ThreadShare { generations, entrance, limits, drain, active } = shared.clone();
        let crossing = Rc::clone(&crossing);
        shared.drain.spawn_local(async move {
            let entered = entrance.enter(stream, is_guarded, &permit, &limits, &drain).await;
            let Some((entered, caller)) = entered else { return };
            let service = async |head: &RequestHead, body, arrival: Arrival<'_>| {
                let _counted = active.enter();
                let RemoteGeneration { front, gateway } = generations.borrow().clone();
                let gateway = gateway.by(&crossing);
                pin!(front.handle(&gateway, head, body, &caller, arrival)).await
            };
            let refuse = |refusal| generations.borrow().front.refuse(refusal, &caller);
            connection::serve(entered, &permit, &limits, service, refuse, drain).await;
            drop((permit, carried));
        });
        drop(expected);
    }
}
