//! Questions that come in parts, and answers that go in parts.

use std::time::Instant;

use super::{GuestEnd, GuestId, HostDesk, HostStep, of_owner};
use crate::base::{NodeId, Question, RunId, WorkerId};
use crate::spread::said::{SentBefore, ToOwner};
use crate::spread::transfer::Gathering;

/// A question that is not whole yet, and the worker that waits for it.
#[derive(Debug)]
pub(super) struct ComingQuestion {
    pub(super) worker: WorkerId,
    /// When the time of the call is over.
    until: Instant,
    /// All but its text.
    question: Question,
    text: Gathering,
}

impl ComingQuestion {
    pub(super) fn new(worker: WorkerId, until: Instant, question: Question, len: u64) -> Self {
        Self { worker, until, question, text: Gathering::new(len) }
    }
}

impl<T: Clone> HostDesk<T> {
    /// A part of a question comes. Once the question is whole, its worker gets it.
    pub(super) fn question_part(&mut self, now: Instant, guest: GuestId, at: u64, body: &[u8]) {
        let Some(book) = self.guests.get_mut(&guest) else { return };
        let Some(coming) = &mut book.coming else { return };
        // What is no part of it is as if it had been lost.
        let told = coming.text.hear(at, body, self.sizes).unwrap_or(None);
        if let Some(taken) = told {
            return self.tell(guest.0, ToOwner::More { run: guest.1, taken });
        }
        if !coming.text.is_whole() {
            return;
        }
        let Some(coming) = book.coming.take() else { return };
        let ComingQuestion { worker, until, question, text } = *coming;
        let left = until.saturating_duration_since(now);
        let question = Some(Question { text: text.into_bytes(), ..question });
        self.steps.push(HostStep::Give { worker, guest, left, question });
    }

    /// When the first question is given up that does not come.
    pub(super) fn coming_until(&self) -> Option<Instant> {
        self.guests.values().filter_map(|book| Some(book.coming.as_ref()?.until)).min()
    }

    /// Gives up the questions whose calls have no time left.
    pub(super) fn give_up_coming(&mut self, now: Instant) {
        let late = |(guest, book): (&GuestId, &super::GuestBook)| {
            let coming = book.coming.as_ref().filter(|coming| coming.until <= now)?;
            Some((*guest, coming.worker))
        };
        let late: Vec<_> = self.guests.iter().filter_map(late).collect();
        for (guest, worker) in late {
            self.steps.push(HostStep::Release(worker));
            self.refused(now, guest);
        }
    }

    /// Tells an owner once more how much of its questions was taken, since what was told may be lost.
    pub(super) fn tell_taken(&mut self, owner: NodeId) {
        let Self { guests, steps, .. } = self;
        let coming = guests.iter_mut().filter(|(guest, _)| guest.0 == owner);
        for ((_, run), book) in coming {
            if let Some(coming) = &mut book.coming {
                let what = ToOwner::More { run: *run, taken: coming.text.tell() };
                steps.push(HostStep::Tell { owner, what });
            }
        }
    }

    /// An owner has taken this much of an answer.
    pub(super) fn more(&mut self, now: Instant, guest: GuestId, taken: u64) {
        if let Some(book) = self.guests.get_mut(&guest) {
            if book.out.take(taken) {
                self.steps.push(HostStep::Room(guest));
            }
        } else if let Some(shipment) =
            self.kept.get_mut(&guest).and_then(|kept| kept.shipment.as_mut())
        {
            shipment.take(now, taken);
            if !shipment.is_sent() {
                self.tell_end(now, guest);
            }
        }
    }

    /// Returns how many bytes the next part of an answer may have that the caller gets as it comes;
    /// `None`: nothing may be sent now.
    pub fn room(&self, guest: GuestId) -> Option<usize> {
        let out = &self.guests.get(&guest)?.out;
        if self.is_connected { out.room(self.sizes) } else { None }
    }

    /// There is a connection again: the answers go on that stood still.
    pub(super) fn go_on(&mut self) {
        self.steps.extend(self.guests.keys().map(|guest| HostStep::Room(*guest)));
    }

    /// Returns true if parts of this answer are wanted.
    pub fn is_wanted(&self, guest: GuestId) -> bool {
        self.guests.get(&guest).is_some_and(|book| !book.has_left)
    }

    /// Such a part goes to its owner. Returns how much went before.
    pub fn part(&mut self, guest: GuestId, bytes: usize) -> Option<u64> {
        let book = self.guests.get_mut(&guest).filter(|book| !book.has_left)?;
        Some(book.out.send(bytes, self.sizes))
    }

    /// How much of each such answer was sent to this owner.
    pub(super) fn sent_to(&self, owner: NodeId) -> Vec<(RunId, u64)> {
        let sent = of_owner(owner, &self.guests).filter(|(_, book)| book.out.sent() > 0);
        sent.take(self.sizes.named / 2).map(|(guest, book)| (guest.1, book.out.sent())).collect()
    }

    /// Tells how a call has ended, with the parts of its answer that may go now.
    pub(super) fn tell_end(&mut self, now: Instant, guest: GuestId) {
        let sizes = self.sizes;
        let Some(kept) = self.kept.tell(now, guest) else { return };
        let answer = match &kept.end {
            GuestEnd::Answer(answer) => answer.clone(),
            GuestEnd::NotBegun => {
                let what = ToOwner::NotBegun { run: guest.1 };
                return self.steps.push(HostStep::Tell { owner: guest.0, what });
            }
        };
        let mut before = kept.before;
        if let Some(shipment) = &mut kept.shipment {
            while let Some(range) = shipment.next(now, sizes) {
                let answer = answer.clone();
                self.steps.push(HostStep::Part { guest, range, answer });
            }
            if !shipment.is_sent() {
                return;
            }
            before = SentBefore::Body(shipment.size());
        }
        let claim = kept.claim;
        self.steps.push(HostStep::Answer { guest, before, claim, answer });
    }

    /// Tells once more how a call has ended, since its owner has not heard it.
    pub(super) fn tell_again(&mut self, now: Instant, guest: GuestId) {
        if let Some(shipment) = self.kept.get_mut(&guest).and_then(|kept| kept.shipment.as_mut()) {
            shipment.again(now);
        }
        self.tell_end(now, guest);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;
    use crate::base::CallId;
    use crate::spread::host::{EndSize, Seating};
    use crate::spread::said::ToHost;
    use crate::spread::transfer::Sizes;

    const OWNER: NodeId = NodeId(7);
    const RUN: RunId = RunId { call: 1, attempt: 1, key: 9 };
    const SIZES: Sizes = Sizes { whole: 8, piece: 4, window: 16, named: 9, cost: 1 };

    /// A host that is granted a question of this length, which comes in parts.
    fn granted(len: u64) -> (HostDesk<()>, Instant) {
        let (mut desk, now) = (HostDesk::new(NodeId(1)), Instant::now());
        desk.carries(now, SIZES);
        desk.takes_at_most(20);
        desk.demand(now, OWNER, 1, 9);
        desk.reserved(now, WorkerId(3));
        let (left, question) = (Duration::from_secs(30), Question::plain(""));
        desk.hear(now, OWNER, ToHost::Grant { claim: 1, run: RUN, left, ping: 0, question, len });
        follows(&mut desk, now);
        (desk, now)
    }

    /// What follows, in a few letters.
    fn follows(desk: &mut HostDesk<()>, now: Instant) -> String {
        desk.settled(now, Seating::default());
        let word = |step| match step {
            HostStep::Give { question, .. } => format!("give {:?}", question.map(|it| it.text)),
            HostStep::Release(_) => "release".to_owned(),
            HostStep::Part { range, .. } => format!("{range:?}"),
            HostStep::Answer { before, .. } => format!("answer {before:?}"),
            HostStep::Room(_) => "room".to_owned(),
            HostStep::Leave(_) => "leave".to_owned(),
            HostStep::Tell { what: ToOwner::More { taken, .. }, .. } => format!("more {taken}"),
            HostStep::Tell { what: ToOwner::NotBegun { .. }, .. } => "not begun".to_owned(),
            HostStep::Tell { what: ToOwner::Pong { sent, sure, .. }, .. } => {
                let sure = if sure { "" } else { "unsure " };
                format!("{sure}pong {:?}", sent.into_iter().map(|it| it.1).collect::<Vec<_>>())
            }
            HostStep::Tell { what: ToOwner::Claim { .. }, .. } => "claim".to_owned(),
            other => format!("{other:?}"),
        };
        desk.take_steps().into_iter().map(word).collect::<Vec<_>>().join(", ")
    }

    fn part(at: u64, body: &'static str) -> ToHost {
        ToHost::Part { run: RUN, at, body: Bytes::from_static(body.as_bytes()) }
    }

    fn ping(ping: u64, holds: Vec<RunId>) -> ToHost {
        ToHost::Ping { ping, holds, is_whole: true }
    }

    #[test]
    fn a_question_is_given_to_its_worker_once_it_is_whole() {
        let (mut desk, now) = granted(10);
        for (said, expected) in [
            (part(0, "abcd"), "more 4"),
            (part(8, "ij"), ""),
            (part(0, "abcd"), ""),
            (ping(1, vec![RUN]), "more 4, pong []"),
            (part(4, "efgh"), "more 8"),
            (part(8, "ijk"), ""),
            (part(8, "ij"), "give Some(b\"abcdefghij\")"),
        ] {
            desk.hear(now, OWNER, said.clone());
            assert_eq!(follows(&mut desk, now), expected, "{said:?}");
        }
        desk.hear(now, NodeId(8), part(0, "abcd"));
        assert_eq!(follows(&mut desk, now), "");
    }

    #[test]
    fn a_question_that_does_not_come_frees_its_worker_and_was_not_begun() {
        for (said, after) in [
            (Some(ToHost::Leave { run: RUN }), 0),
            (Some(ping(1, vec![])), 0),
            (None, 3),
            (Some(part(0, "abcd")), 30),
        ] {
            let (mut desk, now) = granted(10);
            if let Some(said) = said.clone() {
                desk.hear(now, OWNER, said);
            }
            let later = now + Duration::from_secs(after);
            if after == 30 {
                // Its owner is there, and sends nothing more.
                desk.hear(later, OWNER, part(0, "abcd"));
            }
            assert!(said.is_some() || desk.next_deadline() <= Some(later));
            desk.tick(later);
            let all = follows(&mut desk, later);
            assert!(all.contains("release") && all.contains("not begun"), "{said:?}: {all}");
        }
    }

    #[test]
    fn a_question_that_is_too_long_is_given_to_nobody() {
        let (mut desk, now) = (HostDesk::<()>::new(NodeId(1)), Instant::now());
        desk.takes_at_most(20);
        desk.demand(now, OWNER, 1, 9);
        desk.reserved(now, WorkerId(3));
        let (left, question) = (Duration::from_secs(30), Question::plain(""));
        let grant = ToHost::Grant { claim: 1, run: RUN, left, ping: 0, question, len: u64::MAX };
        desk.hear(now, OWNER, grant);
        assert!(follows(&mut desk, now).ends_with("give None"));
    }

    #[test]
    fn a_large_answer_goes_as_it_is_taken_and_its_end_comes_last() {
        let (mut desk, now) = granted(1);
        desk.hear(now, OWNER, part(0, "a"));
        desk.begun((OWNER, RUN), CallId(5));
        follows(&mut desk, now);
        let size = EndSize { body: 18, rest: 0 };
        desk.ended(now, (OWNER, RUN), GuestEnd::Answer(()), size);
        assert_eq!(follows(&mut desk, now), "(0, 4), (4, 8), (8, 12), (12, 16)");
        let more = |taken| ToHost::More { run: RUN, taken };
        desk.hear(now, OWNER, more(4));
        assert_eq!(follows(&mut desk, now), "(16, 18), answer Body(18)");
        desk.hear(now, OWNER, more(16));
        assert_eq!(follows(&mut desk, now), "", "all is on its way");
        let later = now + Duration::from_millis(250);
        desk.hear(later, OWNER, ping(1, vec![RUN]));
        assert_eq!(follows(&mut desk, later), "(16, 18), answer Body(18), pong []");
        desk.hear(later, OWNER, ping(2, vec![]));
        assert!(desk.is_empty());
    }

    #[test]
    fn an_answer_that_no_longer_fits_into_one_message_goes_in_parts() {
        let (mut desk, now) = granted(1);
        desk.hear(now, OWNER, part(0, "a"));
        desk.begun((OWNER, RUN), CallId(5));
        let size = EndSize { body: 8, rest: 0 };
        desk.ended(now, (OWNER, RUN), GuestEnd::Answer(()), size);
        assert!(follows(&mut desk, now).ends_with("answer Nothing"));
        desk.carries(now, Sizes { whole: 4, ..SIZES });
        let later = now + Duration::from_millis(250);
        desk.hear(later, OWNER, ping(1, vec![RUN]));
        assert_eq!(follows(&mut desk, later), "(0, 4), (4, 8), answer Body(8), pong []");
    }

    #[test]
    fn the_next_claim_does_not_wait_for_an_answer_that_takes_its_time() {
        for (body, expected) in [(8, "answer Nothing"), (9, "claim, (0, 4), (4, 8), (8, 9)")] {
            let (mut desk, now) = granted(1);
            desk.hear(now, OWNER, part(0, "a"));
            desk.begun((OWNER, RUN), CallId(5));
            follows(&mut desk, now);
            let size = EndSize { body, rest: 0 };
            desk.ended(now, (OWNER, RUN), GuestEnd::Answer(()), size);
            desk.reserved(now, WorkerId(3));
            let all = follows(&mut desk, now);
            assert!(all.starts_with(expected), "{all}");
        }
    }

    #[test]
    fn one_that_has_forgotten_an_end_is_not_sure_any_longer() {
        let (mut desk, now) = granted(1);
        desk.hear(now, OWNER, part(0, "a"));
        desk.begun((OWNER, RUN), CallId(5));
        desk.ended(now, (OWNER, RUN), GuestEnd::Answer(()), EndSize::default());
        follows(&mut desk, now);
        let later = now + Duration::from_mins(1);
        desk.hear(later, OWNER, ping(1, vec![RUN]));
        assert!(follows(&mut desk, later).ends_with("pong []"));
        desk.tick(later);
        desk.hear(later, OWNER, ping(2, vec![RUN]));
        assert!(follows(&mut desk, later).ends_with("unsure pong []"));
        desk.hear(later, NodeId(8), ping(1, vec![RUN]));
        assert_eq!(follows(&mut desk, later), "pong []", "it has never had a call of this one");
    }

    #[test]
    fn parts_stand_still_at_the_window_while_cut_off_and_once_nobody_reads() {
        let (mut desk, now) = granted(1);
        let guest = (OWNER, RUN);
        desk.hear(now, OWNER, part(0, "a"));
        desk.begun(guest, CallId(5));
        follows(&mut desk, now);
        for at in [0, 5, 10] {
            assert_eq!(desk.room(guest), Some(4));
            assert_eq!(desk.part(guest, 4), Some(at));
        }
        assert_eq!(desk.room(guest), None);
        desk.hear(now, OWNER, ping(1, vec![RUN]));
        assert_eq!(follows(&mut desk, now), "pong [15]");
        desk.hear(now, OWNER, ToHost::More { run: RUN, taken: 5 });
        assert_eq!(follows(&mut desk, now), "room");
        assert_eq!(desk.room(guest), Some(4));
        desk.connected(now, false);
        assert_eq!(desk.room(guest), None);
        desk.connected(now, true);
        assert!(follows(&mut desk, now).contains("room"));
        desk.hear(now, OWNER, ToHost::Leave { run: RUN });
        assert_eq!(follows(&mut desk, now), "leave, room");
        assert!(!desk.is_wanted(guest) && desk.part(guest, 1).is_none());
    }
}
