//! Calls of other threads, on their way to the thread of the pools and back.
//!
//! Only these calls pay for a channel; those of the pools' own thread do not pass here.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::{Answer, Calls as _, Gateway, Reach, Request, failed};
use crate::base::{Failure, Word};
use crate::cache::{Cache, Scope};

/// Most messages of one gateway that wait for the desk; the next one waits where it was sent.
const WAITING_MAX: usize = 4096;

/// A gateway for another thread, before it has arrived there.
#[derive(Clone, Debug)]
pub struct RemoteGateway {
    cache: Arc<Cache>,
    scopes: Arc<[Scope]>,
    desk: DeskSender,
}

/// The end of the channel to the desk that other threads have.
#[derive(Clone, Debug)]
pub(super) struct DeskSender(mpsc::Sender<DeskMessage>);

#[derive(Debug)]
enum DeskMessage {
    Call { request: Box<Request>, answer: oneshot::Sender<Answer> },
    Tell { pool: usize, word: Box<Word>, result: oneshot::Sender<Result<(), Failure>> },
}

impl Gateway {
    /// Makes a gateway for other threads. The future must run on this thread: it serves them.
    pub fn for_other_threads(&self) -> (RemoteGateway, impl Future<Output = ()> + use<>) {
        let (send, receive) = mpsc::channel(WAITING_MAX);
        let remote = RemoteGateway {
            cache: Arc::clone(&self.cache),
            scopes: Arc::clone(&self.scopes),
            desk: DeskSender(send),
        };
        (remote, serve(self.clone(), receive))
    }
}

impl From<RemoteGateway> for Gateway {
    fn from(RemoteGateway { cache, scopes, desk }: RemoteGateway) -> Self {
        Self { cache, scopes, reach: Reach::Remote(desk) }
    }
}

impl DeskSender {
    pub(super) async fn call(&self, request: Box<Request>) -> Answer {
        let (answer, answered) = oneshot::channel();
        // The desk's end closes only when the server ends.
        if self.0.send(DeskMessage::Call { request, answer }).await.is_err() {
            return failed(Failure::Draining);
        }
        answered.await.unwrap_or_else(|_| failed(Failure::Internal))
    }

    pub(super) async fn tell(&self, pool: usize, word: Word) -> Result<(), Failure> {
        let (result, told) = oneshot::channel();
        if self.0.send(DeskMessage::Tell { pool, word: Box::new(word), result }).await.is_err() {
            return Err(Failure::Draining);
        }
        told.await.unwrap_or(Err(Failure::Internal))
    }
}

/// Answers what other threads send until all their gateways are gone.
async fn serve(gateway: Gateway, mut messages: mpsc::Receiver<DeskMessage>) {
    while let Some(message) = messages.recv().await {
        let Reach::Local(desk) = &gateway.reach else { return };
        match message {
            DeskMessage::Tell { pool, word, result } => {
                // A caller that has just left misses nothing.
                result.send(desk.tell(pool, &word)).ok();
            }
            DeskMessage::Call { request, answer } => {
                desk.tasks.spawn_local(answer_unless_left(gateway.clone(), request, answer));
            }
        }
    }
}

async fn answer_unless_left(
    gateway: Gateway,
    request: Box<Request>,
    mut answer: oneshot::Sender<Answer>,
) {
    let answered = tokio::select! {
        answered = gateway.call(request) => answered,
        () = answer.closed() => return,
    };
    // A caller that has just left needs no answer.
    answer.send(answered).ok();
}
