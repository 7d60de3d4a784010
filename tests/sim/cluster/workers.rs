//! What the books of a server decide, and what its workers do.

use httpipe::testing::base::{CallId, Failure, WorkerId};
use httpipe::testing::pool::actions::{Action, Ended, Loss};
use httpipe::testing::spread::{EndSize, GuestEnd};

use super::super::model::{Checked, Serial, ensure};
use super::bodies::answer;
use super::{At, Cluster, End, EndOf, Event, Item, Told, micros};

impl Cluster {
    pub(super) fn act(&mut self, at: At, action: Action<Item>) -> Checked {
        let now = self.now;
        match action {
            Action::Start(worker) => {
                let delay = micros(&mut self.rng, (1_000, 30_000));
                self.after(delay, Event::Started(at, worker));
            }
            Action::GiveGroup { .. } => return Err("no calls go together".to_owned()),
            Action::Give { worker, call } => return self.give(at, worker, call),
            Action::Stop(worker, _) | Action::Kill(worker) => {
                self.nodes[at].working.remove(&worker);
                self.nodes[at].state.gone(worker);
            }
            Action::Fail(ended, failure) => return self.fail(at, &ended, failure),
            Action::Expire { call, failure } => {
                let serial = self.nodes[at].state.payload(call).map(|item| item.serial);
                let Some(serial) = serial else { return Err("no such call".to_owned()) };
                return self.tell(serial, Told::Failed(failure.code().as_str()));
            }
            Action::Claim(worker) => self.nodes[at].host.reserved(now, worker),
            Action::CallBack { host, run } => {
                let is_over = !self.nodes[at].state.is_away(host, run);
                self.nodes[at].owner.called_back(host, run, is_over);
            }
            Action::GuestLost { ended, failure, blamed } => {
                let end = match failure {
                    Failure::WorkerLost { exit } => End::Lost { exit, blamed },
                    failure => End::Failed(failure),
                };
                self.end_guest(at, &ended.payload, GuestEnd::Answer(EndOf(end)));
            }
            Action::GoesBack { payload, .. } => self.end_guest(at, &payload, GuestEnd::NotBegun),
            Action::TakeBack(worker) => self.nodes[at].state.taken_back(now, worker, &[]),
            Action::GiveUp { .. }
            | Action::Examine { .. }
            | Action::Refuse(_)
            | Action::Sight(_)
            | Action::StepBack { .. }
            | Action::ComeForward(_) => {}
        }
        Ok(())
    }

    fn fail(&mut self, at: At, ended: &Ended<Item>, failure: Failure) -> Checked {
        let serial = ended.payload.serial;
        if ended.payload.guest.is_some() {
            let end = GuestEnd::Answer(EndOf(End::Failed(failure)));
            self.end_guest(at, &ended.payload, end);
            return Ok(());
        }
        if ended.abandoned {
            return Ok(());
        }
        let is_cut = self.asks[serial].has_begun;
        self.tell(serial, Told::Failed(if is_cut { "cut" } else { failure.code().as_str() }))
    }

    pub(super) fn end_guest(&mut self, at: At, item: &Item, end: GuestEnd<EndOf>) {
        let now = self.now;
        let Some(guest) = item.guest else { return };
        let mut size = EndSize::default();
        if let GuestEnd::Answer(EndOf(end)) = &end {
            if self.ends_forwarding(at, guest, end) {
                return;
            }
            if let End::Good(body) = end {
                size.body = body.len();
            }
        }
        self.nodes[at].host.ended(now, guest, end, size);
    }

    /// A worker gets a call, and reads it.
    fn give(&mut self, at: At, worker: WorkerId, call: CallId) -> Checked {
        let item = self.nodes[at].state.payload(call).cloned();
        let Some(Item { serial, guest }) = item else { return Err("no such call".to_owned()) };
        self.trace(|| format!("{at}: worker {worker} gets call {serial}, guest {guest:?}"));
        let delay = micros(&mut self.rng, self.habits.service);
        let crashes = self.draw(self.habits.crashes);
        if crashes && self.rng.bool() {
            // Before it has read the question.
            self.nodes[at].state.lose(self.now, worker, &Loss::Ended("exit code 1".into()), 1);
            self.nodes[at].state.gone(worker);
            return Ok(());
        }
        self.nodes[at].working.insert(worker, (call, serial));
        let ask = &mut self.asks[serial];
        ask.runs += 1;
        ensure(ask.idempotent || ask.runs == 1, || {
            format!("call {serial} may not run twice and runs {} times", ask.runs)
        })?;
        ensure(!ask.has_begun, || format!("call {serial} runs again after its first part"))?;
        if crashes {
            self.after(delay / 2, Event::Crash(at, worker));
        } else if !self.draw(self.habits.hangs) {
            self.after(delay, Event::Works(at, worker, call, 0));
        }
        Ok(())
    }

    pub(super) fn work(&mut self, at: At, worker: WorkerId, call: CallId, seq: u64) -> Checked {
        let working = self.nodes[at].working.get(&worker).copied();
        let Some((_, serial)) = working.filter(|(other, _)| *other == call) else { return Ok(()) };
        let guest = self.nodes[at].state.payload(call).and_then(|item| item.guest);
        if seq < self.asks[serial].parts {
            if guest.is_some_and(|guest| self.is_held_back(at, guest)) {
                let delay = micros(&mut self.rng, self.habits.service);
                self.after(delay, Event::Works(at, worker, call, seq));
                return Ok(());
            }
            self.pass_part(at, call, serial, seq)?;
            let delay = micros(&mut self.rng, self.habits.service);
            self.after(delay, Event::Works(at, worker, call, seq + 1));
            return self.settle(at);
        }
        self.nodes[at].working.remove(&worker);
        let ended = self.nodes[at].state.answered(self.now, worker, call, true);
        if let Some(ended) = ended {
            let Item { serial, guest } = ended.payload;
            if guest.is_some() {
                let body = answer(serial, self.asks[serial].sizes.1);
                self.end_guest(at, &ended.payload, GuestEnd::Answer(EndOf(End::Good(body))));
            } else if !ended.abandoned {
                self.tell(serial, Told::Answer)?;
            }
        }
        self.settle(at)
    }

    /// A part of an answer comes from a worker.
    fn pass_part(&mut self, at: At, call: CallId, serial: Serial, number: u64) -> Checked {
        let guest = self.nodes[at].state.payload(call).and_then(|item| item.guest);
        if let Some(guest) = guest {
            self.forward(at, guest, serial, number);
        } else if self.nodes[at].state.has_begun(self.now, call).is_some() {
            return self.hear_own_part(serial);
        }
        Ok(())
    }

    pub(super) fn lose(&mut self, at: At, worker: WorkerId) -> Checked {
        if self.nodes[at].working.remove(&worker).is_none() {
            return Ok(());
        }
        self.trace(|| format!("{at}: worker {worker} dies"));
        self.nodes[at].state.lose(self.now, worker, &Loss::Ended("signal 9".into()), 0);
        self.nodes[at].state.gone(worker);
        self.settle(at)
    }
}
