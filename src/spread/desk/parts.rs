//! Answers whose parts reach their callers as they come.
//!
//! At the host, a task takes the parts from the pool as fast as their owner takes them, so a slow
//! reader holds the worker back. At the owner, the host is told of more room once the caller has it.

use std::future::poll_fn;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::Bytes;

use super::super::host::EndSize;
use super::super::message::{HostMessage, HostPart, HostProgress, Out};
use super::super::told::{HostTold, ToldAnswer, out_of};
use super::PoolDesk;
use crate::base::{Failure, NodeId, Parts, Progress, RunId};
use crate::pool::{GuestName, GuestOutcome, PartFate, Pool};
use crate::spread::host::GuestEnd;

/// The answer to a call of another server that goes there in parts.
#[derive(Debug, Default)]
pub(super) struct Forward {
    /// Wakes the task that passes the parts on.
    waker: Option<Waker>,
    /// How the call has ended in the books here.
    end: Option<GuestOutcome>,
}

impl Forward {
    pub(super) fn note_end(&mut self, end: GuestOutcome) {
        self.end = Some(end);
    }
}

/// What the task does next.
enum ForwardStep {
    /// Nobody wants the rest.
    Stop,
    Remark(Bytes),
    Part(Bytes),
    End(Result<(), Failure>),
}

impl PoolDesk {
    // What a host does.

    /// Passes the parts of an answer on until they end, or nobody wants them.
    pub(super) async fn forward(self: Rc<Self>, guest: GuestName, parts: Parts) {
        let end = loop {
            match poll_fn(|context| self.poll_forward(context, guest, &parts)).await {
                ForwardStep::Stop => break None,
                ForwardStep::Remark(text) => self.send_progress(guest, &text),
                ForwardStep::Part(part) => self.send_part(guest, part).await,
                ForwardStep::End(end) => break Some(end),
            }
        };
        let forward = self.forwards.borrow_mut().remove(&guest).unwrap_or_default();
        // If the call goes on, its worker learns from this that nobody waits.
        drop(parts);
        if let Some(end) = end {
            self.end_forwarded(guest, end, forward.end);
        } else if let Some(outcome) = forward.end {
            self.event(|now, _, host| {
                let (end, size) = told(outcome);
                host.ended(now, guest, end, size);
            });
        }
    }

    fn poll_forward(
        &self,
        context: &mut Context<'_>,
        guest: GuestName,
        parts: &Parts,
    ) -> Poll<ForwardStep> {
        self.wakes(context, guest);
        let host = self.host.borrow();
        if !host.is_wanted(guest) {
            return Poll::Ready(ForwardStep::Stop);
        }
        if let Some(text) = parts.take_remark() {
            return Poll::Ready(ForwardStep::Remark(text));
        }
        if host.room(guest).is_none() {
            return Poll::Pending;
        }
        parts.poll_next(context).map(|next| match next {
            None => ForwardStep::End(Ok(())),
            Some(Ok(part)) => ForwardStep::Part(part),
            Some(Err(failure)) => ForwardStep::End(Err(failure)),
        })
    }

    fn wakes(&self, context: &Context<'_>, guest: GuestName) {
        let mut forwards = self.forwards.borrow_mut();
        forwards.entry(guest).or_default().waker = Some(context.waker().clone());
    }

    /// Sends one part of the program's answer, which may be more than goes in one message.
    async fn send_part(&self, guest: GuestName, mut part: Bytes) {
        loop {
            let room = poll_fn(|context| {
                self.wakes(context, guest);
                let host = self.host.borrow();
                match host.room(guest) {
                    None if host.is_wanted(guest) => Poll::Pending,
                    room => Poll::Ready(room),
                }
            });
            let Some(room) = room.await else { return };
            let body = part.split_to(part.len().min(room));
            let Some(at) = self.host.borrow_mut().part(guest, body.len()) else { return };
            let (from, (owner, run)) = (self.node, guest);
            let cut = !part.is_empty();
            let message = HostMessage::Part(HostPart { from, run, at, len: None, cut });
            self.link.send(&self.subjects.owner(owner), None, &message.encode(&body));
            if !cut {
                return;
            }
        }
    }

    fn send_progress(&self, (owner, run): GuestName, text: &[u8]) {
        let message = HostMessage::Progress(HostProgress { host: self.node, run });
        self.link.send(&self.subjects.owner(owner), None, &message.encode(text));
    }

    /// More of an answer may be sent, or nobody wants it.
    pub(super) fn wake_forward(&self, guest: GuestName) {
        let waker =
            self.forwards.borrow_mut().get_mut(&guest).and_then(|forward| forward.waker.take());
        waker.into_iter().for_each(Waker::wake);
    }

    /// The parts of an answer have ended, and all of them were sent.
    fn end_forwarded(
        &self,
        guest: GuestName,
        end: Result<(), Failure>,
        outcome: Option<GuestOutcome>,
    ) {
        let (timing, blamed) = outcome.map_or_else(Default::default, |it| (it.timing, it.blamed));
        let (end, size) = match end {
            Ok(()) => ToldAnswer::of(Out::Parts, Bytes::new(), timing, false).kept(),
            Err(failure) => told(GuestOutcome { result: Err(failure), timing, blamed }),
        };
        self.event(|now, _, host| host.ended(now, guest, end, size));
    }

    // What an owner does.

    /// Gives the caller of a call a part of its answer.
    pub(super) fn take_part(&self, now: Instant, pool: &Rc<Pool>, name: GuestName, part: Bytes) {
        let (host, run) = name;
        match pool.part_from_elsewhere(now, name, part) {
            PartFate::Taken | PartFate::Dropped => self.owner.borrow_mut().took(host, run),
            PartFate::Full(gate) => {
                if self.full.borrow_mut().insert(name) {
                    let desk = Weak::clone(&self.this);
                    pool.spawn(async move {
                        poll_fn(|context| gate.poll_room(context)).await;
                        if let Some(desk) = desk.upgrade() {
                            desk.full.borrow_mut().remove(&name);
                            desk.event(|_, owner, _| owner.took(host, run));
                        }
                    });
                }
            }
            PartFate::Unfit => self.owner.borrow_mut().tear(host, run),
        }
    }

    /// A host says how far a call is.
    pub(super) fn hear_progress(&self, host: NodeId, run: RunId, text: &[u8]) {
        match (self.pool(), Progress::of_json(text)) {
            (Some(pool), Some(progress)) => {
                pool.progress_from_elsewhere(Instant::now(), (host, run), &progress);
            }
            (_, None) => self.counts.strange(),
            (None, _) => {}
        }
    }
}

/// How a call has ended, as it is told its owner, and how much memory that takes.
pub(super) fn told(outcome: GuestOutcome) -> (GuestEnd<HostTold>, EndSize) {
    let GuestOutcome { result, timing, blamed } = outcome;
    let (out, body) = out_of(result);
    ToldAnswer::of(out, body, timing, blamed).kept()
}
