//! What the desks of a server decide.

use std::time::Duration;

use bytes::Bytes;
use httpipe::testing::base::{CallId, NodeId, Question, RunId, Tenant};
use httpipe::testing::pool::actions::NewCall;
use httpipe::testing::pool::away::AwayLoss;
use httpipe::testing::spread::{HostStep, OwnerStep, PartOfAnswer, SentBefore, ToOwner};

use super::super::model::{Checked, ensure};
use super::bodies::{answer, question, serial_of};
use super::{At, Cluster, End, EndOf, Item, Letter, Told};

impl Cluster {
    pub(super) fn do_owner(&mut self, at: At, step: OwnerStep) -> Checked {
        let now = self.now;
        match step {
            OwnerStep::Demand { calls } => {
                let owner = self.nodes[at].id;
                self.send(at, &Letter::Demand { owner, calls, hops: 0 });
            }
            OwnerStep::Hungry { age } => {
                let owner = self.nodes[at].id;
                self.send(at, &Letter::Hungry { owner, age });
            }
            OwnerStep::Ask { host, claim } => {
                let key = self.rng.u64(..);
                let node = &mut self.nodes[at];
                let granted = node.state.claim(now, host, key);
                let asks = &self.asks;
                let granted = granted.and_then(|granted| {
                    let serial = node.state.payload(granted.call)?.serial;
                    let text = question(serial, asks[serial].sizes.0);
                    Some((granted, Question::plain(text)))
                });
                node.owner.granted(now, host, claim, granted);
            }
            OwnerStep::Tell { host, what } => {
                self.send(at, &Letter::ToHost { from: at, to: host, what });
            }
            OwnerStep::Take { host, run, before } => return self.take(at, host, run, before),
            OwnerStep::TakePart { host, run, part } => {
                let item = self.nodes[at].state.payload(CallId(run.call)).cloned();
                let begun = self.nodes[at].state.away_begun(now, host, run);
                if let (Some(_), Some(item)) = (begun, item) {
                    return self.take_part(at, (host, run), item.serial, &part);
                }
                self.nodes[at].owner.took(host, run);
            }
            OwnerStep::TooLarge { run, .. } => return Err(format!("{run:?} is not too large")),
            OwnerStep::Lost { host, run, loss } => {
                self.trace(|| format!("{at}: {run:?} is lost: {loss:?}"));
                let is_known = self.nodes[at].state.away_lost(now, (host, run), &loss);
                ensure(is_known, || format!("{at}: {run:?} is not away"))?;
            }
            OwnerStep::Late | OwnerStep::HostLost(_) => {}
        }
        Ok(())
    }

    /// The answer that is heard counts.
    fn take(&mut self, at: At, host: NodeId, run: RunId, before: Bytes) -> Checked {
        let (now, node) = (self.now, &mut self.nodes[at]);
        let work = Duration::from_millis(1);
        let (result, good) = match node.end.take() {
            None => return Err("an answer has no content".to_owned()),
            Some(End::Lost { exit, blamed }) => {
                let loss = AwayLoss::Worker { exit, blamed };
                node.state.away_lost(now, (host, run), &loss);
                return Ok(());
            }
            Some(End::Good(body)) => {
                let body = if before.is_empty() { body } else { before };
                let item = node.state.payload(CallId(run.call)).cloned();
                let item = item.ok_or("an answer to no call")?;
                let ask = &self.asks[item.serial];
                let expected = answer(item.serial, ask.sizes.1);
                ensure(body == expected, || format!("{body:?} is no answer to {item:?}"))?;
                (Told::Answer, true)
            }
            Some(End::Failed(failure)) => (Told::Failed(failure.code().as_str()), false),
        };
        let ended = node.state.away_answered(now, (host, run), work, good);
        let Some(ended) = ended else { return Err(format!("{run:?} is not away")) };
        if ended.abandoned { Ok(()) } else { self.tell(ended.payload.serial, result) }
    }

    pub(super) fn do_host(&mut self, at: At, step: HostStep<EndOf>) -> Checked {
        let now = self.now;
        match step {
            HostStep::Tell { owner, what } => {
                self.send(at, &Letter::ToOwner { from: at, to: owner, what, end: None });
            }
            HostStep::Answer { guest, before, claim, answer } => {
                let what = ToOwner::Answer { run: guest.1, before, claim };
                let end = match (answer.0, before) {
                    (End::Good(_), SentBefore::Body(_)) => End::Good(Bytes::new()),
                    (end, _) => end,
                };
                let end = Some(end);
                self.send(at, &Letter::ToOwner { from: at, to: guest.0, what, end });
            }
            HostStep::Part { guest, range, answer } => {
                let End::Good(body) = answer.0 else { return Err("a failure in parts".into()) };
                let (len, at_byte) = (Some(body.len() as u64), range.0 as u64);
                let body = body.slice(range.0..range.1);
                let part = PartOfAnswer { run: guest.1, at: at_byte, len, cut: false, body };
                let what = ToOwner::Part(part);
                self.send(at, &Letter::ToOwner { from: at, to: guest.0, what, end: None });
            }
            HostStep::Room(guest) => self.flush(at, guest),
            HostStep::PassOn { owner, calls, hops } => {
                self.send(at, &Letter::Demand { owner, calls, hops });
            }
            HostStep::Give { worker, guest, left, question: asked } => {
                let asked = asked.ok_or("a question is too long")?;
                let serial = serial_of(&asked.text).ok_or("a question has no number")?;
                let expected = question(serial, self.asks[serial].sizes.0);
                ensure(asked.text == expected, || format!("{asked:?} is no question"))?;
                let node = &mut self.nodes[at];
                let call = NewCall {
                    payload: Item { serial, guest: Some(guest) },
                    bytes: 10,
                    idempotent: false,
                    caller_deadline: None,
                    tenant: Tenant::ANONYMOUS,
                    timeout: Some(left),
                };
                match node.state.give_reserved(now, worker, call) {
                    Ok(call) => node.host.begun(guest, call),
                    Err(_) => node.host.refused(now, guest),
                }
            }
            HostStep::Release(worker) => self.nodes[at].state.release(now, worker),
            HostStep::Leave(call) => {
                let left = self.nodes[at].state.caller_left(now, call);
                ensure(left.is_none(), || format!("guest {call} waits"))?;
            }
            HostStep::Listen(listens) => self.nodes[at].listens = listens,
        }
        Ok(())
    }
}
