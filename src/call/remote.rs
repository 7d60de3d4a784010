//! Calls of other threads, on their way to the thread of the pools and back.
//!
//! To wake a thread costs more than a call, so calls do not cross one by one. Those that a thread
//! makes in one turn of its tasks cross together, and their answers, which come one after the other,
//! wake it once for all that it has not fetched yet. Only these calls pay for it; those of the pools'
//! own thread do not pass here.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::mpsc::error::SendError;
use tokio::sync::{Notify, mpsc, oneshot};

use super::{Answer, Calls as _, Gateway, Reach, Request, failed};
use crate::base::{Failure, Word};
use crate::cache::{Cache, Scope};

/// Most groups of messages of one gateway that wait for the desk. Further ones wait where they were
/// made: all words, and at most some calls for each that somebody still waits for.
const WAITING_MAX: usize = 64;
/// Most answers that wait for one thread to fetch them; the next one waits where it was made.
const ANSWERS_MAX: usize = 4096;

/// A gateway for another thread, before it has arrived there.
#[derive(Clone, Debug)]
pub struct RemoteGateway {
    cache: Arc<Cache>,
    scopes: Arc<[Scope]>,
    desk: mpsc::Sender<Vec<DeskMessage>>,
}

/// Where the calls of one thread that owns no pools leave, and where their answers come in.
#[derive(Debug)]
pub struct Crossing {
    /// What leaves in this turn of the tasks, by the desk that it goes to.
    leaving: RefCell<Vec<Group>>,
    /// Something leaves.
    departure: Notify,
    /// The way back, for each call to take along.
    back: mpsc::Sender<Answered>,
}

/// Messages to one desk.
type Group = (mpsc::Sender<Vec<DeskMessage>>, Vec<DeskMessage>);
/// An answer, and who waits for it.
type Answered = (oneshot::Sender<Answer>, Answer);

/// The way to the desk from a thread that owns no pools.
#[derive(Clone, Debug)]
pub(super) struct DeskSender {
    desk: mpsc::Sender<Vec<DeskMessage>>,
    crossing: Rc<Crossing>,
}

#[derive(Debug)]
enum DeskMessage {
    Call { request: Box<Request>, answer: oneshot::Sender<Answer>, back: mpsc::Sender<Answered> },
    Tell { pool: usize, word: Box<Word>, result: oneshot::Sender<Result<(), Failure>> },
}

impl Gateway {
    /// Makes a gateway for other threads. The future must run on this thread: it serves them.
    pub fn for_other_threads(&self) -> (RemoteGateway, impl Future<Output = ()> + use<>) {
        let (desk, receive) = mpsc::channel(WAITING_MAX);
        let (cache, scopes) = (Arc::clone(&self.cache), Arc::clone(&self.scopes));
        (RemoteGateway { cache, scopes, desk }, serve(self.clone(), receive))
    }
}

impl RemoteGateway {
    /// A gateway for the thread of this crossing.
    pub fn by(self, crossing: &Rc<Crossing>) -> Gateway {
        let Self { cache, scopes, desk } = self;
        let reach = Reach::Remote(DeskSender { desk, crossing: Rc::clone(crossing) });
        Gateway { cache, scopes, reach }
    }
}

impl Crossing {
    /// Makes the crossing of this thread, and starts the tasks that carry calls out and answers in.
    #[expect(clippy::disallowed_methods, reason = "both carry calls until their thread ends")]
    pub fn open() -> Rc<Self> {
        let (back, answers) = mpsc::channel(ANSWERS_MAX);
        let (leaving, departure) = (RefCell::default(), Notify::new());
        let crossing = Rc::new(Self { leaving, departure, back });
        tokio::task::spawn_local(depart(Rc::clone(&crossing)));
        tokio::task::spawn_local(arrive(answers));
        crossing
    }

    /// Lets a message leave together with what else leaves in this turn of the tasks.
    fn leave(&self, desk: &mpsc::Sender<Vec<DeskMessage>>, message: DeskMessage) {
        let mut leaving = self.leaving.borrow_mut();
        if leaving.is_empty() {
            self.departure.notify_one();
        }
        match leaving.iter_mut().find(|(other, _)| other.same_channel(desk)) {
            Some((_, messages)) => {
                if messages.len() == messages.capacity() {
                    // So what waits for a busy desk is at most twice what somebody still wants.
                    messages.retain(|message| !message.is_unwanted());
                    // So it is looked through seldom, also where few have left.
                    messages.reserve(messages.len().max(1));
                }
                messages.push(message);
            }
            None => leaving.push((desk.clone(), vec![message])),
        }
    }
}

/// Sends off what leaves. This task is woken by the first message, and has its turn after all tasks
/// that were ready before.
async fn depart(crossing: Rc<Crossing>) {
    loop {
        crossing.departure.notified().await;
        let leaving = crossing.leaving.take();
        for (desk, messages) in leaving {
            // The desk's end closes only when the server ends.
            if let Err(SendError(messages)) = desk.send(messages).await {
                messages.into_iter().for_each(DeskMessage::refuse);
            }
        }
    }
}

/// Hands the answers that come in to those who wait for them.
async fn arrive(mut answers: mpsc::Receiver<Answered>) {
    let mut arrived = Vec::new();
    while answers.recv_many(&mut arrived, ANSWERS_MAX).await > 0 {
        for (waiting, answer) in arrived.drain(..) {
            // A caller that has just left needs no answer.
            waiting.send(answer).ok();
        }
    }
}

impl DeskSender {
    pub(super) async fn call(&self, request: Box<Request>) -> Answer {
        let (answer, answered) = oneshot::channel();
        let back = self.crossing.back.clone();
        self.crossing.leave(&self.desk, DeskMessage::Call { request, answer, back });
        answered.await.unwrap_or_else(|_| failed(Failure::Internal))
    }

    pub(super) async fn tell(&self, pool: usize, word: Word) -> Result<(), Failure> {
        let (result, told) = oneshot::channel();
        let message = DeskMessage::Tell { pool, word: Box::new(word), result };
        self.crossing.leave(&self.desk, message);
        told.await.unwrap_or(Err(Failure::Internal))
    }
}

impl DeskMessage {
    /// Returns true for a call whose caller has left. What a word does is wanted also without its sender.
    fn is_unwanted(&self) -> bool {
        matches!(self, Self::Call { answer, .. } if answer.is_closed())
    }

    /// Answers a message that no desk will read, because the server ends.
    fn refuse(self) {
        // A caller that has just left misses nothing.
        match self {
            Self::Call { answer, .. } => answer.send(failed(Failure::Draining)).map_err(drop).ok(),
            Self::Tell { result, .. } => result.send(Err(Failure::Draining)).map_err(drop).ok(),
        };
    }
}

/// Answers what other threads send until all their gateways are gone.
async fn serve(gateway: Gateway, mut groups: mpsc::Receiver<Vec<DeskMessage>>) {
    while let Some(messages) = groups.recv().await {
        let Reach::Local(desk) = &gateway.reach else { return };
        for message in messages {
            match message {
                DeskMessage::Tell { pool, word, result } => {
                    // A caller that has just left misses nothing.
                    result.send(desk.tell(pool, &word)).ok();
                }
                // Its caller left on the way.
                DeskMessage::Call { answer, .. } if answer.is_closed() => {}
                DeskMessage::Call { request, answer, back } => {
                    let gateway = gateway.clone();
                    desk.tasks.spawn_local(answer_unless_left(gateway, request, answer, back));
                }
            }
        }
    }
}

async fn answer_unless_left(
    gateway: Gateway,
    request: Box<Request>,
    mut answer: oneshot::Sender<Answer>,
    back: mpsc::Sender<Answered>,
) {
    let answered = tokio::select! {
        answered = gateway.call(request) => answered,
        () = answer.closed() => return,
    };
    // The thread of the caller may have ended.
    back.send((answer, answered)).await.ok();
}

#[cfg(test)]
mod tests {
    use tokio::task::LocalSet;

    use super::super::testing::asking;
    use super::*;
    use crate::base::{Errand, Question};

    #[tokio::test]
    async fn what_leaves_in_one_turn_crosses_together_and_is_refused_at_the_end() {
        let crossed = async {
            let crossing = Crossing::open();
            let (desk, mut groups) = mpsc::channel(WAITING_MAX);
            let tell = || {
                let (result, told) = oneshot::channel();
                let word = Word { text: Question::plain("a"), errand: Errand::Tell };
                let message = DeskMessage::Tell { pool: 0, word: Box::new(word), result };
                crossing.leave(&desk, message);
                told
            };
            let told = [tell(), tell(), tell()];
            assert_eq!(groups.recv().await.map(|group| group.len()), Some(told.len()));
            drop(groups);
            assert!(matches!(tell().await, Ok(Err(Failure::Draining))));
        };
        LocalSet::new().run_until(crossed).await;
    }

    #[tokio::test]
    async fn what_waits_for_a_busy_desk_is_not_kept_for_those_who_left() {
        let waiting = async {
            let crossing = Crossing::open();
            let (desk, _busy) = mpsc::channel(WAITING_MAX);
            let mut stays = Vec::new();
            for turn in 0..10_000 {
                let (answer, answered) = oneshot::channel();
                let (request, back) =
                    (Box::new(asking(Question::plain("a"))), crossing.back.clone());
                crossing.leave(&desk, DeskMessage::Call { request, answer, back });
                // All others leave at once.
                if turn % 1_000 == 0 {
                    stays.push(answered);
                }
            }
            let leaving = crossing.leaving.take();
            let kept: Vec<_> = leaving.iter().flat_map(|(_, messages)| messages).collect();
            let wanted = kept.iter().filter(|message| !message.is_unwanted()).count();
            assert_eq!(wanted, stays.len());
            assert!(kept.len() <= 8 * stays.len(), "{} wait", kept.len());
        };
        LocalSet::new().run_until(waiting).await;
    }
}
