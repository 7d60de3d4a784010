//! Batch requests: many items in one body, each answered as a request of its own would be, in one
//! response that is written as they end.
//!
//! An item stands for the body of a request to the same path: what path and query say holds for all
//! of them. Items are background work (`pool::feeder`): they wait until a worker has no caller's call
//! to do. Only a few items are between being read and being written, so a caller who does not read is
//! not read either, and no limit holds for the whole body.

mod input;
pub(super) mod lines;
mod outcome;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, TRANSFER_ENCODING};
use http::request::Parts;
use hyper::body::Body;
use serde_json::value::RawValue;
use tokio::task::JoinSet;

use self::input::{BatchInput, BatchItem};
use self::lines::{BatchBody, Told};
use self::outcome::{ItemOutcome, last_line};
use super::access::Account;
use super::incoming::{Incoming, Matched};
use super::panics::unless_panic;
use super::preference::Preference;
use super::said::{Said, result_of};
use super::sender::RequestSender;
use super::{Front, items, maker, question, request};
use crate::base::{BatchId, Class, Failure};
use crate::call::{Answer, Calls};
use crate::config::{CallSettings, RouteAction, RouteSettings, SendShape};
use crate::gate::Visitor;
use crate::net::Caller;
use crate::sync::at_once::{Claim, Hold};
use crate::sync::memory::Exhausted;
use crate::wire::BatchForm;

/// How many items are between being read and being written, for each that may be in a worker.
const ITEMS_FOR_EACH_PLACE: usize = 4;

/// What all items of one batch have in common.
struct Batch<C> {
    front: Arc<Front>,
    calls: C,
    index: usize,
    /// Of the request, with the content type of an item.
    head: Parts,
    caller: Caller,
    visitor: Option<Visitor>,
    request_id: Box<str>,
    received: Instant,
    id: BatchId,
    told: Rc<RefCell<Told>>,
    /// It counts as one call of its caller.
    _hold: Option<Hold>,
}

impl Front {
    /// Answers a request whose body may have items in this form; `None`: it has none, and the body is still
    /// there to be read.
    pub(super) async fn items<B, C>(
        self: &Arc<Self>,
        calls: &C,
        incoming: &mut Incoming<'_, B>,
        (index, form): (usize, BatchForm),
        asked_by: (RequestSender<'_>, &str),
    ) -> Option<Said>
    where
        B: Body<Data = Bytes> + Unpin + 'static,
        C: Calls + Clone + 'static,
    {
        match self.batch(calls, incoming, (index, form), asked_by).await {
            Ok(batch) => Some(Said::Items(index, RefCell::new(Some(Box::new(batch?))))),
            Err(failure) => Some(Said::Failure(Some(index), failure)),
        }
    }

    /// Begins a batch, if the body of this request has items in this form. Else the body is still there to
    /// be read.
    ///
    /// # Errors
    ///
    /// Why the whole of it is refused.
    async fn batch<B, C>(
        self: &Arc<Self>,
        calls: &C,
        incoming: &mut Incoming<'_, B>,
        (index, form): (usize, BatchForm),
        (sender, request_id): (RequestSender<'_>, &str),
    ) -> Result<Option<BatchBody>, Failure>
    where
        B: Body<Data = Bytes> + Unpin + 'static,
        C: Calls + Clone + 'static,
    {
        let route = &self.routes[index].settings;
        let RouteAction::Call(CallSettings { items: Some(most), .. }) = &route.action else {
            return Ok(None);
        };
        let (head, memory) = (incoming.head, self.memory_of(sender));
        let deadline = incoming.caller_deadline()?;
        if form == BatchForm::Array
            && incoming.peek(&self.limits, memory, deadline).await? != Some(b'[')
        {
            return Ok(None);
        }
        let claim = sender.visitor.and_then(|visitor| visitor.claim.as_ref());
        let hold = claim.map(Claim::take).transpose();
        let hold = hold.map_err(|most| Failure::TooManyCalls { most })?;
        if form == BatchForm::Lines && incoming.announces_at_most(self.limits.body.0) {
            // One who reads nothing before all is sent would wait for ever if it were not read.
            incoming.peek(&self.limits, memory, deadline).await?;
        }
        let read = incoming.take()?;
        let pool = &self.pools[self.call_of(index).pool];
        let limit = pool.program.wire.message_max.min(self.limits.body.0 as usize);
        let input = BatchInput::new(form, read, limit, self.limits.body_timeout, memory);
        let told = Rc::default();
        let batch = Rc::new(Batch {
            front: Arc::clone(self),
            calls: calls.clone(),
            index,
            head: of_one_item(head),
            caller: sender.caller.clone(),
            visitor: sender.visitor.cloned(),
            request_id: request_id.into(),
            received: incoming.received(),
            id: next_batch(),
            told: Rc::clone(&told),
            _hold: hold,
        });
        let plan = BatchPlan {
            most: *most,
            window: ITEMS_FOR_EACH_PLACE * pool.background_calls_most().max(1),
            is_unordered: Preference::of(&head.headers).is_unordered,
            deadline,
        };
        let is_unordered = plan.is_unordered;
        Ok(Some(BatchBody::new(Box::pin(batch.run(input, plan)), told, is_unordered)))
    }

    fn call_of(&self, index: usize) -> &CallSettings {
        match &self.routes[index].settings.action {
            RouteAction::Call(call) => call,
            RouteAction::Text { .. } => unreachable!("a fixed answer has no items"),
        }
    }
}

/// How a batch is worked off.
#[derive(Clone, Copy)]
struct BatchPlan {
    /// Most items.
    most: u64,
    /// Most items between being read and being written.
    window: usize,
    is_unordered: bool,
    /// When its caller stops waiting.
    deadline: Option<Instant>,
}

impl<C: Calls + 'static> Batch<C> {
    /// Asks all items, and tells what becomes of them.
    async fn run<B: Body<Data = Bytes> + Unpin>(
        self: Rc<Self>,
        mut input: BatchInput<B>,
        plan: BatchPlan,
    ) {
        let mut asked = JoinSet::new();
        let mut order = OutcomeOrder::new(plan.is_unordered);
        let (mut read, mut is_over) = (0, false);
        // There is no memory for the next item before one of these has ended.
        let mut is_full = false;
        let mut late = pin!(passes(plan.deadline));
        let mut stops = pin!(self.front.ending.drained());
        while !is_over || !asked.is_empty() {
            let may_read = !is_over && !is_full && asked.len() + order.held.len() < plan.window;
            if !may_read {
                input.rests();
            }
            let failure = tokio::select! {
                biased;
                () = &mut late => {
                    let after = self.received.elapsed();
                    asked.abort_all();
                    self.fail(Failure::BatchTimeout { after });
                    return;
                }
                () = &mut stops, if !is_over => Some(Failure::Draining),
                Some(done) = asked.join_next(), if !asked.is_empty() => {
                    let (index, outcome): (u64, ItemOutcome) = done.expect("a task that is caught");
                    self.tell(order.ended(index, outcome));
                    is_full = false;
                    None
                }
                item = input.next(), if may_read => match item {
                    Ok(Some(_)) if read == plan.most => {
                        Some(Failure::TooManyItems { most: plan.most })
                    }
                    Ok(Some(item)) => {
                        asked.spawn_local(Rc::clone(&self).outcome(read, item));
                        read += 1;
                        None
                    }
                    Ok(None) => {
                        is_over = true;
                        None
                    }
                    Err(Failure::Busy) if !asked.is_empty() => {
                        is_full = true;
                        None
                    }
                    Err(failure) => Some(failure),
                },
            };
            if let Some(failure) = failure
                && !std::mem::replace(&mut is_over, true)
            {
                self.told.borrow_mut().failure = Some(failure);
            }
        }
        let failure = self.told.borrow().failure.clone();
        if let Some(failure) = failure {
            self.fail(failure);
        }
    }

    /// Leaves these outcomes to be written.
    fn tell(&self, outcomes: Vec<ItemOutcome>) {
        let mut told = self.told.borrow_mut();
        for outcome in outcomes {
            told.put(outcome.line);
            told.items += 1;
            told.failed += u64::from(outcome.has_failed);
        }
    }

    /// Leaves the last line of a batch that ends before its time.
    fn fail(&self, failure: Failure) {
        let mut told = self.told.borrow_mut();
        told.put(last_line(&failure, &self.request_id));
        told.failure = Some(failure);
    }

    /// Asks one item.
    async fn outcome(self: Rc<Self>, index: u64, item: BatchItem) -> (u64, ItemOutcome) {
        let answer = {
            let answering = pin!(self.answer(index, item));
            unless_panic(answering).await.unwrap_or(Err(Failure::Internal))
        };
        let result = match answer {
            Ok(Answer { result, cache, .. }) => {
                if let Some(cache) = &cache {
                    self.front.routes[self.index].metrics.cache(result_of(cache));
                }
                result
            }
            Err(failure) => Err(failure),
        };
        let call = self.front.call_of(self.index);
        let outcome =
            |result| ItemOutcome::of(index, result, call.content_type.as_str(), &self.request_id);
        let ItemOutcome { line, has_failed } = outcome(&result);
        match self.front.memory_of(self.sender()).hold(line) {
            Ok(line) => (index, ItemOutcome { line, has_failed }),
            Err(_) => (index, outcome(&Err(Failure::Busy))),
        }
    }

    async fn answer(&self, index: u64, item: BatchItem) -> Result<Answer, Failure> {
        let Self { front, visitor, head, .. } = self;
        let item = item?;
        if let (Some(gate), Some(visitor)) = (&front.gate, visitor)
            && index > 0
        {
            // The request itself has paid for the first.
            gate.charge(visitor, Instant::now(), 1)?;
        }
        let route = &front.routes[self.index].settings;
        let call = front.call_of(self.index);
        let sender = self.sender();
        let (memory, new_session) = (front.memory_of(sender), &RefCell::default());
        let item = match items::value_key(route, call) {
            Some(key) if !item.starts_with(b"{") => {
                let object = member(key, &item)?;
                drop(item);
                memory.hold(object).map_err(|Exhausted| Failure::Busy)?
            }
            _ => item,
        };
        let index = self.index;
        let matched = Matched {
            index,
            route,
            call,
            head,
            caller_deadline: None,
            sender,
            request_id: "",
            memory,
            new_session,
        };
        let asking = front.made(matched, &item, maker::asking).await?;
        let mut asking = maker::held(asking, item, memory)?;
        asking.call.class = Class::Batch(self.id);
        asking.claim = None;
        Ok(self.calls.call(asking).await)
    }

    fn sender(&self) -> RequestSender<'_> {
        RequestSender { caller: &self.caller, visitor: self.visitor.as_ref() }
    }
}

impl<C> Drop for Batch<C> {
    /// Writes its line in the log: the batch has ended, or its caller has left.
    fn drop(&mut self) {
        let told = self.told.borrow();
        if !self.front.access.is_on() {
            return;
        }
        let at = Instant::now();
        let account = Account {
            at,
            method: self.head.method.as_str(),
            path: self.head.uri.path(),
            status: Some(200),
            label: &self.front.routes[self.index].label,
            duration: at.saturating_duration_since(self.received),
            bytes: told.bytes,
            sender: RequestSender { caller: &self.caller, visitor: self.visitor.as_ref() },
            request_id: &self.request_id,
        };
        account.write_batch(&self.front.access, (told.items, told.failed), told.failure.as_ref());
    }
}

/// Puts outcomes into the order of the items, if that is asked for.
struct OutcomeOrder {
    is_unordered: bool,
    next: u64,
    held: BTreeMap<u64, ItemOutcome>,
}

impl OutcomeOrder {
    fn new(is_unordered: bool) -> Self {
        Self { is_unordered, next: 0, held: BTreeMap::new() }
    }

    /// The item at this place has ended. Returns the outcomes that can be told now.
    fn ended(&mut self, index: u64, outcome: ItemOutcome) -> Vec<ItemOutcome> {
        if self.is_unordered {
            return vec![outcome];
        }
        self.held.insert(index, outcome);
        let mut told = Vec::new();
        while let Some(outcome) = self.held.remove(&self.next) {
            self.next += 1;
            told.push(outcome);
        }
        told
    }
}

/// Ends at this time; never without one.
async fn passes(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

/// Returns how the items of a request would stand in its body; `None`: it is none with items.
pub(super) fn form_of(headers: &HeaderMap, route: &RouteSettings) -> Option<BatchForm> {
    let kind = request::content_type(headers)?.split(';').next().unwrap_or_default().trim();
    match kind.to_ascii_lowercase().as_str() {
        "application/jsonl" | "application/x-ndjson" | "application/ndjson" => {
            Some(BatchForm::Lines)
        }
        "application/json" if takes_object(route) => Some(BatchForm::Array),
        _ => None,
    }
}

/// Returns true if the body of a request is an object, so that an array is a batch.
fn takes_object(route: &RouteSettings) -> bool {
    match &route.action {
        RouteAction::Call(CallSettings { send: SendShape::Function(it), .. }) => it.raw.is_none(),
        RouteAction::Call(call) => !question::uses_body(&call.send),
        RouteAction::Text { .. } => false,
    }
}

/// Returns the head that a request with one item would have.
fn of_one_item(head: &Parts) -> Parts {
    let mut head = head.clone();
    head.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    head.headers.remove(CONTENT_LENGTH);
    head.headers.remove(TRANSFER_ENCODING);
    head
}

/// Returns an object with this member.
fn member(key: &str, value: &Bytes) -> Result<Bytes, Failure> {
    if serde_json::from_slice::<&RawValue>(value).is_err() {
        return Err(Failure::BadRequest { detail: "the item is not a JSON document".into() });
    }
    let key = serde_json::to_vec(key).expect("a text is always JSON");
    Ok([b"{", &key[..], b":", value, b"}"].concat().into())
}

/// Returns a number that no other batch of this process has.
fn next_batch() -> BatchId {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    BatchId(NEXT.fetch_add(1, Ordering::Relaxed))
}
