//! What owners and hosts tell each other, as it is sent.

use bytes::Bytes;

use super::super::few::Few;
use super::super::message::{
    Grant, GrantRefused, HostAnswer, HostMessage, HostPart, LINE_MAX, Leave, More, NextClaim,
    Nothing, Out, Ping, Pong, SeatClaim,
};
use super::super::said::{SentBefore, ToHost, ToOwner};
use super::super::told::{ToldAnswer, shortened};
use super::super::transfer::Sizes;
use super::PoolDesk;
use crate::base::{Failure, NodeId};
use crate::observe::metrics::ClaimEnd;
use crate::pool::GuestName;

impl PoolDesk {
    /// The NATS server takes messages of another size from now on.
    pub(in crate::spread) fn resized(&self) {
        let sizes = Sizes::of(self.link.max_payload());
        self.event(|now, owner, host| {
            owner.carries(sizes);
            host.carries(now, sizes);
        });
    }

    pub(super) fn send_to_host(&self, host: NodeId, what: ToHost) {
        let from = self.node;
        let (message, body) = match what {
            ToHost::Grant { claim, run, left, ping, question, len } => {
                let nonce = question.nonce.as_deref().map(String::from_utf8_lossy);
                let grant = Grant {
                    owner: from,
                    claim,
                    run,
                    left_ms: left.as_millis() as u64,
                    nonce: nonce.map(std::borrow::Cow::into_owned),
                    len,
                    listens: question.listener.is_some(),
                    ping,
                };
                (HostMessage::Grant(grant), question.text)
            }
            ToHost::Part { run, at, body } => {
                (HostMessage::Part(HostPart { from, run, at, len: None, cut: false }), body)
            }
            ToHost::More { run, taken } => {
                (HostMessage::More(More { from, run, taken }), Bytes::new())
            }
            ToHost::Nothing { claim } => {
                (HostMessage::Nothing(Nothing { owner: from, claim }), Bytes::new())
            }
            ToHost::Leave { run } => (HostMessage::Leave(Leave { from, run }), Bytes::new()),
            ToHost::Ping { ping, holds, is_whole } => {
                let holds = holds.into_iter().collect();
                let ping = Ping { owner: from, ping, holds, partial: !is_whole };
                (HostMessage::Ping(ping), Bytes::new())
            }
        };
        let unheard = self.subjects.unheard(from, host);
        self.link.send(&self.subjects.host(host), Some(&unheard), &message.encode(&body));
    }

    pub(super) fn send_to_owner(&self, owner: NodeId, what: ToOwner) {
        let host = self.node;
        let message = match what {
            ToOwner::Claim { claim } => {
                self.counts.claimed(ClaimEnd::Sent);
                HostMessage::Claim(SeatClaim { host, claim, seats: 0 })
            }
            ToOwner::NotBegun { run } => HostMessage::NotBegun(GrantRefused { host, run }),
            ToOwner::More { run, taken } => HostMessage::More(More { from: host, run, taken }),
            ToOwner::Pong { ping, unknown, sure, alone, sent } => {
                let unknown = unknown.into_iter().collect();
                let sent: Few<_, _> = sent.into_iter().collect();
                HostMessage::Pong(Pong { host, ping, unknown, sure, alone, sent })
            }
            // Sent with what they are about.
            ToOwner::Answer { .. } | ToOwner::Part(_) => return,
        };
        self.link.send(&self.subjects.owner(owner), None, &message.encode(b""));
    }

    /// Sends a part of an answer that counts only as a whole.
    pub(super) fn send_piece(
        &self,
        (owner, run): GuestName,
        (begin, end): (usize, usize),
        told: &ToldAnswer,
    ) {
        let Some(body) = told.body.get(begin..end) else { return };
        let len = Some(told.body.len() as u64);
        let part = HostPart { from: self.node, run, at: begin as u64, len, cut: false };
        let message = HostMessage::Part(part).encode(body);
        self.link.send(&self.subjects.owner(owner), None, &message);
    }

    pub(super) fn send_answer(
        &self,
        (owner, run): GuestName,
        claim: Option<u64>,
        before: SentBefore,
        told: &ToldAnswer,
    ) {
        let body = match before {
            SentBefore::Nothing => told.body.clone(),
            SentBefore::Body(_) | SentBefore::Parts(_) => Bytes::new(),
        };
        let (len, after) = match before {
            SentBefore::Nothing => (told.body.len() as u64, 0),
            SentBefore::Body(len) => (len, 0),
            SentBefore::Parts(sent) => (0, sent),
        };
        let answer = HostAnswer {
            host: self.node,
            run,
            out: told.out.clone(),
            len,
            after,
            queue_us: told.queue_us,
            work_us: told.work_us,
            blamed: told.blamed,
            claim: claim.map(|claim| NextClaim { claim, seats: 0 }),
        };
        let message = HostMessage::Answer(answer.clone()).encode(&body);
        let line = message.len() - body.len();
        let limit = LINE_MAX.min(self.link.max_payload());
        let message = if line <= limit && message.len() <= self.link.max_payload() {
            message
        } else {
            let out = shortened(&told.out, line.saturating_sub(limit)).unwrap_or_else(|| {
                let detail = format!(
                    "its headers have {line} bytes, and at most {limit} go from host to host"
                );
                Out::Failed(Failure::BadAnswer { detail: detail.into() })
            });
            let after = if matches!(before, SentBefore::Parts(_)) { after } else { 0 };
            HostMessage::Answer(HostAnswer { out, len: 0, after, ..answer }).encode(b"")
        };
        self.link.send(&self.subjects.owner(owner), None, &message);
    }
}
