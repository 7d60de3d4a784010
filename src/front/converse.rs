//! Requests of routes that pass JSON-RPC on: one message, or a batch of them.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::incoming::Matched;
use super::json_rpc::{self, Kind, Message, Purpose, RpcBody};
use super::sender::RequestSender;
use super::{Front, Said, body, maker, parts};
use crate::base::{Cancels, Errand, Failure, OwnName, Speaker, Tenant, Timing, Word};
use crate::call::{Answer, Calls};
use crate::gate::Visitor;
use crate::sync::bulk::{LARGE, apart};

/// The header that names the session of the Model Context Protocol that a request belongs to.
pub(super) const SESSION: &str = "mcp-session-id";

/// What one message of a batch became: its part of the answer, if it has one, and its cost.
type Replied = (Option<Bytes>, Timing);

impl Front {
    /// Answers a body that is one message or a batch.
    pub(super) async fn converse<C: Calls>(
        &self,
        calls: &C,
        matched: Matched<'_>,
        body: &Bytes,
    ) -> Said {
        let index = matched.index;
        let strictly = self.wire(matched.call).is_json_rpc;
        let read = if body.len() <= LARGE {
            json_rpc::read(body, strictly)
        } else {
            let body = body.clone();
            apart(move || json_rpc::read(&body, strictly)).await
        };
        let body = match read {
            Ok(body) => body,
            Err(failure) => return Said::Failure(Some(index), failure),
        };
        match body {
            RpcBody::One(message) => match message.kind {
                Kind::Notification => match self.tell(calls, matched, &message.text).await {
                    Ok(()) => Said::Accepted(index),
                    Err(failure) => Said::Failure(Some(index), failure),
                },
                Kind::Call { id, greets } => {
                    match self.put(calls, matched, &message.text, (id, greets), true).await {
                        Ok(answer) => Said::Answer(index, answer),
                        Err(failure) => Said::Failure(Some(index), failure),
                    }
                }
            },
            RpcBody::Batch(_) if self.wire(matched.call).stream.is_some() => {
                let detail = "these answers come in parts: send one message a request".into();
                Said::Failure(Some(index), Failure::BadRequest { detail })
            }
            RpcBody::Batch(messages) => {
                // The request itself has been paid for.
                let more = messages.len() as u32 - 1;
                if let Err(failure) = self.charge(matched, more) {
                    return Said::Failure(Some(index), failure);
                }
                let each =
                    messages.iter().map(|message| self.reply(calls, matched, message.as_ref()));
                let (replies, costs): (Vec<_>, Vec<_>) = all(each).await.into_iter().unzip();
                let replies: Vec<Bytes> = replies.into_iter().flatten().collect();
                if replies.is_empty() {
                    return Said::Accepted(index);
                }
                let joined = json_rpc::joined(&replies);
                // They make room for it: what is sent is counted from here on.
                drop(replies);
                Said::Batch(index, joined, longest(&costs))
            }
        }
    }

    /// Takes more requests out of the rate of the caller.
    fn charge(&self, matched: Matched<'_>, count: u32) -> Result<(), Failure> {
        match (&self.gate, matched.sender.visitor) {
            (Some(gate), Some(visitor)) if count > 0 => gate.charge(visitor, Instant::now(), count),
            _ => Ok(()),
        }
    }

    /// Answers one element of a batch. A notification has no answer, even if it could not be
    /// delivered: its caller expects none.
    async fn reply<C: Calls>(
        &self,
        calls: &C,
        matched: Matched<'_>,
        message: Option<&Message>,
    ) -> Replied {
        let Some(Message { text, kind }) = message else {
            return (Some(json_rpc::invalid()), Timing::default());
        };
        match kind {
            Kind::Notification => {
                if let Err(failure) = self.tell(calls, matched, text).await {
                    tracing::debug!(
                        code = failure.code().as_str(),
                        "a notification was not delivered"
                    );
                }
                (None, Timing::default())
            }
            Kind::Call { id, greets } => {
                let failed = |failure| Some(json_rpc::failed(id.as_ref(), failure));
                match self.put(calls, matched, text, (id.clone(), *greets), false).await {
                    Ok(Answer { result: Ok(reply), timing, .. }) => {
                        let held = matched.memory.hold(reply.body);
                        (held.ok().or_else(|| failed(&Failure::Busy)), timing)
                    }
                    Ok(Answer { result: Err(failure), timing, .. }) => (failed(&failure), timing),
                    Err(failure) => (failed(&failure), Timing::default()),
                }
            }
        }
    }

    /// Makes a call of one message, which has this `id` and perhaps greets. If it `is_alone` in its request, its caller may be told what
    /// the program says before the answer.
    async fn put<C: Calls>(
        &self,
        calls: &C,
        matched: Matched<'_>,
        text: &Bytes,
        (id, greets): (Option<Bytes>, bool),
        is_alone: bool,
    ) -> Result<Answer, Failure> {
        let asking = self.made(matched, text, maker::message).await?;
        let mut asking = maker::held(asking, text.clone(), matched.memory)?;
        if greets {
            matched.new_session.replace(Some(body::nonce()));
        }
        // Callers who share a run must not cancel it for each other.
        let is_shared = asking.keep.is_some();
        asking.call.own_name = id
            .filter(|_| !is_shared)
            .map(|id| Box::new(OwnName { speaker: speaker(matched), id, greets }));
        let is_told = is_alone
            && asking.call.own_name.is_some()
            && self.wire(matched.call).is_json_rpc
            && parts::wants_events(&matched.head.headers);
        asking.call.question.listener = is_told.then(|| body::nonce().into());
        Ok(calls.call(asking).await)
    }

    /// Passes a message on that has no answer.
    async fn tell<C: Calls>(
        &self,
        calls: &C,
        matched: Matched<'_>,
        text: &Bytes,
    ) -> Result<(), Failure> {
        let (asking, purpose) = self.made(matched, text, maker::notification).await?;
        let text = asking.call.question;
        let errand = match purpose {
            Purpose::Cancel(cancelled) => {
                let place = cancelled.id.clone().unwrap_or_default();
                let name = |place| OwnName {
                    speaker: speaker(matched),
                    id: text.text.slice(place),
                    greets: false,
                };
                Errand::Cancel(Cancels { call: cancelled.id.map(name), place })
            }
            Purpose::Answer(place) => Errand::Answer(place),
            Purpose::Progress(place) => Errand::Progress(place),
            Purpose::Greeted => Errand::Greeted,
            Purpose::Other => Errand::Tell,
        };
        calls.tell(asking.pool, Word { text, errand }).await
    }
}

/// Returns who sent a request.
fn speaker(matched: Matched<'_>) -> Speaker {
    let RequestSender { caller, visitor } = matched.sender;
    let session = matched.head.headers.get(SESSION);
    Speaker {
        tenant: visitor.map_or(Tenant::ANONYMOUS, Visitor::tenant).id,
        address: visitor.map_or(caller.address, |visitor| visitor.address),
        connection: caller.connection,
        session: session.map(|session| Bytes::copy_from_slice(session.as_bytes())),
    }
}

/// Returns the cost of a batch, whose messages run side by side.
fn longest(costs: &[Timing]) -> Timing {
    if let [one] = costs {
        return *one;
    }
    let most = |of: fn(&Timing) -> Duration| costs.iter().map(of).max().unwrap_or_default();
    Timing { queue: most(|cost| cost.queue), work: most(|cost| cost.work), ..Timing::default() }
}

/// A future, and its output once it is done.
type Running<F> = (Pin<Box<F>>, Option<<F as Future>::Output>);

/// Runs all futures side by side, started in order, and returns their outputs in that order.
async fn all<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut running: Vec<Running<F>> = futures.map(|future| (Box::pin(future), None)).collect();
    poll_fn(|context| {
        let mut is_done = true;
        for (future, output) in &mut running {
            if output.is_none() {
                match future.as_mut().poll(context) {
                    Poll::Ready(done) => *output = Some(done),
                    Poll::Pending => is_done = false,
                }
            }
        }
        if is_done { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    running.into_iter().filter_map(|(_, output)| output).collect()
}
