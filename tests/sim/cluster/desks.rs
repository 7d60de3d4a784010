//! What the desks of a server decide.

use std::time::Duration;

use httpipe::testing::base::{CallId, NodeId, RunId, Tenant};
use httpipe::testing::pool::actions::NewCall;
use httpipe::testing::pool::away::AwayLoss;
use httpipe::testing::spread::{HostStep, OwnerStep, ToHost, ToOwner};

use super::super::model::{Checked, ensure};
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
                node.owner.granted(now, host, claim, granted);
            }
            OwnerStep::Tell { host, what } => {
                let serial = match &what {
                    ToHost::Grant { run, .. } => {
                        self.nodes[at].state.payload(CallId(run.call)).map(|item| item.serial)
                    }
                    _ => None,
                };
                self.send(at, &Letter::ToHost { from: at, to: host, what, serial });
            }
            OwnerStep::Take { host, run } => return self.take(at, host, run),
            OwnerStep::TakePart { host, run } => {
                let item = self.nodes[at].state.payload(CallId(run.call)).cloned();
                let begun = self.nodes[at].state.away_begun(now, host, run);
                if let (Some(_), Some(item)) = (begun, item) {
                    self.hear_part(item.serial);
                }
            }
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
    fn take(&mut self, at: At, host: NodeId, run: RunId) -> Checked {
        let (now, node) = (self.now, &mut self.nodes[at]);
        let work = Duration::from_millis(1);
        let (result, good) = match node.end.take() {
            None => return Err("an answer has no content".to_owned()),
            Some(End::Lost { exit, blamed }) => {
                let loss = AwayLoss::Worker { exit, blamed };
                node.state.away_lost(now, (host, run), &loss);
                return Ok(());
            }
            Some(End::Good) => (Told::Answer, true),
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
            HostStep::Answer { guest, parts, claim, answer } => {
                let what = ToOwner::Answer { run: guest.1, parts, claim };
                let end = Some(answer.0);
                self.send(at, &Letter::ToOwner { from: at, to: guest.0, what, end });
            }
            HostStep::PassOn { owner, calls, hops } => {
                self.send(at, &Letter::Demand { owner, calls, hops });
            }
            HostStep::Give { worker, guest, left } => {
                let node = &mut self.nodes[at];
                let serial = node.serial.take().ok_or("a grant has no question")?;
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
