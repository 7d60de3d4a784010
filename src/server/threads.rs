//! The threads that own connections, and which of them gets the next one.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{mpsc, watch};

use super::app::{RemoteApp, Server};
use super::ends::Active;
use super::local_runtime;
use crate::call::Gateway;
use crate::config::LimitSettings;
use crate::net::{Accepted, Drain, Slot, Stream, connection};

/// Connections that may be on their way to one thread.
const ON_THE_WAY_MOST: usize = 1024;

/// The thread that accepts, and those beside it.
#[derive(Debug)]
pub(super) struct Threads {
    server: Rc<Server>,
    limits: Arc<LimitSettings>,
    drain: Drain,
    active: Active,
    here: Load,
    others: Vec<Other>,
}

/// How many connections one thread has.
type Load = Arc<AtomicUsize>;

#[derive(Debug)]
struct Other {
    load: Load,
    send: mpsc::Sender<Moved>,
}

/// A connection on its way to another thread.
struct Moved {
    accepted: Accepted,
    slot: Slot,
    carried: Carried,
}

/// One connection of a thread; counted until dropped.
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
            let (send, receive) = mpsc::channel(ON_THE_WAY_MOST);
            let (apps, limits) = (server.remote_apps(), Arc::clone(limits));
            let (drain, active) = (drain.clone(), active.clone());
            // A thread without a runtime would have no connections, and so be given all of them.
            let (tell, told) = std::sync::mpsc::sync_channel(1);
            std::thread::Builder::new().name(format!("connections-{number}")).spawn(move || {
                let runtime = match local_runtime() {
                    Ok(runtime) => runtime,
                    // Who started it waits for the word.
                    Err(error) => return tell.send(Err(error)).unwrap_or_default(),
                };
                tell.send(Ok(())).unwrap_or_default();
                runtime.block_on(elsewhere(receive, apps, &limits, &drain, &active));
            })?;
            told.recv().unwrap_or_else(|_| Err(io::ErrorKind::BrokenPipe.into()))?;
            Ok(Other { load, send })
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

    /// Gives a connection to the thread that has fewest.
    pub(super) fn take(&self, stream: Stream, slot: Slot) {
        let least = self.others.iter().min_by_key(|other| other.load.load(Ordering::Acquire));
        let least = least
            .filter(|other| other.load.load(Ordering::Acquire) < self.here.load(Ordering::Acquire));
        match least {
            None => self.serve(stream, slot),
            Some(other) => {
                let Ok(accepted) = stream.detach() else { return };
                let carried = carry(&other.load);
                // With a thousand connections on the way to the thread with fewest, to close
                // this one is the honest answer.
                other.send.try_send(Moved { accepted, slot, carried }).ok();
            }
        }
    }

    fn serve(&self, stream: Stream, slot: Slot) {
        let carried = carry(&self.here);
        let (server, limits) = (Rc::clone(&self.server), Arc::clone(&self.limits));
        let (drain, active) = (self.drain.clone(), self.active.clone());
        self.drain.spawn_local(async move {
            let service = async |request, received| {
                let counted = active.enter();
                let app = server.app();
                let response = app.front.handle(&app.gateway, request, received).await;
                drop(counted);
                response
            };
            let refuse = |refusal| server.app().front.refuse(refusal);
            connection::serve(stream, &limits, service, refuse, drain).await;
            drop((slot, carried));
        });
    }
}

/// What another thread does until the server ends.
async fn elsewhere(
    mut receive: mpsc::Receiver<Moved>,
    apps: watch::Receiver<RemoteApp>,
    limits: &Arc<LimitSettings>,
    drain: &Drain,
    active: &Active,
) {
    while let Some(Moved { accepted, slot, carried }) = receive.recv().await {
        let Ok(stream) = accepted.open() else { continue };
        let (apps, limits) = (apps.clone(), Arc::clone(limits));
        let (drain, active) = (drain.clone(), active.clone());
        drain.clone().spawn_local(async move {
            let service = async |request, received| {
                let counted = active.enter();
                let RemoteApp { front, gateway } = apps.borrow().clone();
                let gateway = Gateway::from(gateway);
                let response = front.handle(&gateway, request, received).await;
                drop(counted);
                response
            };
            let refuse = |refusal| apps.borrow().front.refuse(refusal);
            connection::serve(stream, &limits, service, refuse, drain).await;
            drop((slot, carried));
        });
    }
}
