//! Questions that go in parts, and answers that come in parts.

use std::time::Instant;

use bytes::{Bytes, BytesMut};

use super::{OwnerDesk, OwnerStep, RunBook};
use crate::base::{NodeId, Question, RunId};
use crate::pool::away::AwayLoss;
use crate::spread::said::{PartOfAnswer, SentBefore, ToHost};
use crate::spread::transfer::{Gathering, HeardPart, InFlow, Shipment, Sizes};

/// A question that goes in parts.
#[derive(Debug)]
pub(super) struct LeavingQuestion {
    text: Bytes,
    shipment: Shipment,
}

impl LeavingQuestion {
    /// Takes the text out of a question that is too large for one message.
    pub(super) fn of(now: Instant, question: &mut Question, sizes: Sizes) -> Option<Box<Self>> {
        if question.text.len() <= sizes.whole {
            return None;
        }
        let text = std::mem::take(&mut question.text);
        Some(Box::new(Self { shipment: Shipment::new(now, text.len()), text }))
    }
}

/// What has come of an answer.
#[derive(Debug)]
pub(super) enum ArrivingAnswer {
    /// Nothing.
    Nothing,
    /// Some of an answer that counts only as a whole.
    Whole(Box<Gathering>),
    /// Parts that the caller gets as they come, and the beginning of the one that is next.
    Parts(InFlow, BytesMut),
}

impl ArrivingAnswer {
    /// Returns what the host is told once more of what was taken.
    pub(super) const fn tell(&mut self) -> Option<u64> {
        match self {
            Self::Nothing => None,
            Self::Whole(body) => Some(body.tell()),
            Self::Parts(flow, _) => Some(flow.tell()),
        }
    }
}

/// What follows from a part.
enum Follows {
    Nothing,
    Late,
    Tell(u64),
    Give(Bytes),
    Gap,
    TooLarge,
}

impl OwnerDesk {
    /// Sends the parts of a question that may go now.
    pub(super) fn send_question(&mut self, now: Instant, host: NodeId, run: RunId) {
        let book = self.hosts.get_mut(&host).and_then(|book| book.runs.get_mut(&run));
        let Some(leaving) = book.and_then(|run| run.question.as_mut()) else { return };
        while let Some((from, to)) = leaving.shipment.next(now, self.sizes) {
            let body = leaving.text.slice(from..to);
            let what = ToHost::Part { run, at: from as u64, body };
            self.steps.push(OwnerStep::Tell { host, what });
        }
    }

    /// A host has taken this much of a question.
    pub(super) fn more(&mut self, now: Instant, host: NodeId, run: RunId, taken: u64) {
        let book = self.hosts.get_mut(&host).and_then(|book| book.runs.get_mut(&run));
        if let Some(leaving) = book.and_then(|run| run.question.as_mut()) {
            leaving.shipment.take(now, taken);
            self.send_question(now, host, run);
        }
    }

    /// A part of an answer comes.
    pub(super) fn part(&mut self, host: NodeId, part: PartOfAnswer) {
        let (run, most, sizes) = (part.run, self.answer_most, self.sizes);
        let book = self.hosts.get_mut(&host).and_then(|book| book.runs.get_mut(&run));
        let Some(book) = book else { return self.steps.push(OwnerStep::Late) };
        let follows = match part.len {
            Some(len) => gather(book, len, &part, most, sizes),
            None => pass_on(book, part, most, sizes),
        };
        match follows {
            Follows::Nothing => {}
            Follows::Late => self.steps.push(OwnerStep::Late),
            Follows::Tell(taken) => {
                self.steps.push(OwnerStep::Tell { host, what: ToHost::More { run, taken } });
            }
            Follows::Give(part) => self.steps.push(OwnerStep::TakePart { host, run, part }),
            Follows::Gap => self.tear(host, run),
            Follows::TooLarge => {
                self.called_back(host, run, true);
                self.steps.push(OwnerStep::TooLarge { host, run });
            }
        }
    }

    /// The caller has room for more of an answer than what it has got.
    pub fn took(&mut self, host: NodeId, run: RunId) {
        let book = self.hosts.get_mut(&host).and_then(|book| book.runs.get_mut(&run));
        if let Some(ArrivingAnswer::Parts(flow, _)) = book.map(|book| &mut book.answer)
            && let Some(taken) = flow.take(self.sizes)
        {
            self.steps.push(OwnerStep::Tell { host, what: ToHost::More { run, taken } });
        }
    }

    /// A call has ended.
    pub(super) fn answered(&mut self, host: NodeId, run: RunId, before: SentBefore) {
        let book = self.hosts.get_mut(&host).and_then(|book| book.runs.get_mut(&run));
        let Some(book) = book else { return self.steps.push(OwnerStep::Late) };
        let before = match (before, &mut book.answer) {
            (SentBefore::Nothing, ArrivingAnswer::Nothing | ArrivingAnswer::Whole(_)) => {
                Bytes::new()
            }
            (SentBefore::Body(len), ArrivingAnswer::Whole(body))
                if body.size() == len && body.is_whole() =>
            {
                std::mem::replace(&mut **body, Gathering::new(0)).into_bytes()
            }
            // What is missing is sent again at the next ping, and the end after it.
            (SentBefore::Body(_), ArrivingAnswer::Nothing | ArrivingAnswer::Whole(_)) => return,
            (SentBefore::Parts(sent), ArrivingAnswer::Parts(flow, rest))
                if flow.heard() == sent && rest.is_empty() =>
            {
                Bytes::new()
            }
            _ => return self.tear(host, run),
        };
        self.ended(host, run, OwnerStep::Take { host, run, before });
    }

    /// A host says how much it has sent of answers that come in parts. What was not heard by now is
    /// missing, because messages do not overtake each other.
    pub(super) fn look_for_gaps(&mut self, host: NodeId, sent: &[(RunId, u64)]) {
        for (run, sent) in sent {
            let book = self.hosts.get(&host).and_then(|book| book.runs.get(run));
            let heard = match book.map(|book| &book.answer) {
                Some(ArrivingAnswer::Parts(flow, _)) => flow.heard(),
                Some(ArrivingAnswer::Nothing) => 0,
                Some(ArrivingAnswer::Whole(_)) | None => continue,
            };
            if heard < *sent {
                self.tear(host, *run);
            }
        }
    }

    /// A part of an answer is missing, so the rest of it is of no use.
    pub fn tear(&mut self, host: NodeId, run: RunId) {
        let exit = "a part of its answer is missing".into();
        let loss = AwayLoss::Worker { exit, blamed: false };
        self.called_back(host, run, true);
        self.steps.push(OwnerStep::Lost { host, run, loss });
    }
}

/// Takes a part of an answer that counts only as a whole.
fn gather(book: &mut RunBook, len: u64, part: &PartOfAnswer, most: u64, sizes: Sizes) -> Follows {
    if len > most {
        return Follows::TooLarge;
    }
    if matches!(book.answer, ArrivingAnswer::Nothing) {
        book.answer = ArrivingAnswer::Whole(Box::new(Gathering::new(len)));
    }
    match &mut book.answer {
        ArrivingAnswer::Whole(body) if body.size() == len => {
            match body.hear(part.at, &part.body, sizes) {
                Ok(Some(taken)) => Follows::Tell(taken),
                Ok(None) => Follows::Nothing,
                Err(_) => Follows::Gap,
            }
        }
        _ => Follows::Gap,
    }
}

/// Takes a part that the caller gets.
fn pass_on(book: &mut RunBook, part: PartOfAnswer, most: u64, sizes: Sizes) -> Follows {
    if matches!(book.answer, ArrivingAnswer::Nothing) {
        book.answer = ArrivingAnswer::Parts(InFlow::default(), BytesMut::new());
    }
    let ArrivingAnswer::Parts(flow, begun) = &mut book.answer else { return Follows::Gap };
    let size = part.body.len() as u64 + sizes.cost;
    match flow.hear(part.at, size, sizes) {
        HeardPart::Next => {}
        HeardPart::Again => return Follows::Late,
        HeardPart::Gap | HeardPart::TooMuch => return Follows::Gap,
    }
    if (begun.len() + part.body.len()) as u64 > most {
        return Follows::TooLarge;
    }
    if part.cut || !begun.is_empty() {
        begun.extend_from_slice(&part.body);
    }
    if part.cut {
        return flow.take(sizes).map_or(Follows::Nothing, Follows::Tell);
    }
    Follows::Give(if begun.is_empty() { part.body } else { begun.split().freeze() })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::base::CallId;
    use crate::pool::away::Granted;
    use crate::spread::said::ToOwner;

    const HOST: NodeId = NodeId(7);
    const RUN: RunId = RunId { call: 1, attempt: 1, key: 9 };
    const SIZES: Sizes = Sizes { whole: 8, piece: 4, window: 16, named: 9, cost: 1 };

    fn granted(question: &'static str) -> (OwnerDesk, Instant) {
        let (mut desk, now) = (OwnerDesk::new(), Instant::now());
        desk.carries(SIZES);
        desk.takes_at_most(20);
        desk.hear(now, HOST, ToOwner::Claim { claim: 1 });
        let granted = Granted { call: CallId(1), run: RUN, left: Duration::from_secs(30) };
        desk.granted(now, HOST, 1, Some((granted, Question::plain(question))));
        (desk, now)
    }

    /// What follows, in a few letters.
    fn follows(desk: &mut OwnerDesk) -> String {
        let word = |step| match step {
            OwnerStep::Tell { what: ToHost::Grant { question, len, .. }, .. } => {
                format!("grant {} of {len}", question.text.len())
            }
            OwnerStep::Tell { what: ToHost::Part { at, body, .. }, .. } => {
                format!("{}@{at}", String::from_utf8_lossy(&body))
            }
            OwnerStep::Tell { what: ToHost::More { taken, .. }, .. } => format!("more {taken}"),
            OwnerStep::Tell { what: ToHost::Leave { .. }, .. } => "leave".to_owned(),
            OwnerStep::TakePart { part, .. } => format!("part {}", String::from_utf8_lossy(&part)),
            OwnerStep::Take { before, .. } => format!("take {}", String::from_utf8_lossy(&before)),
            OwnerStep::Lost { .. } => "lost".to_owned(),
            OwnerStep::Late => "late".to_owned(),
            OwnerStep::TooLarge { .. } => "too large".to_owned(),
            OwnerStep::Ask { .. } => "ask".to_owned(),
            other => format!("{other:?}"),
        };
        desk.take_steps().into_iter().map(word).collect::<Vec<_>>().join(", ")
    }

    fn part(at: u64, len: Option<u64>, cut: bool, body: &'static str) -> ToOwner {
        ToOwner::Part(PartOfAnswer { run: RUN, at, len, cut, body: body.into() })
    }

    fn answer(before: SentBefore) -> ToOwner {
        ToOwner::Answer { run: RUN, before, claim: None }
    }

    #[test]
    fn a_large_question_goes_as_far_as_the_window_and_then_as_it_is_taken() {
        let (mut desk, now) = granted("0123456789abcdefghij");
        let begun = "ask, grant 0 of 20, 0123@0, 4567@4, 89ab@8, cdef@12";
        assert_eq!(follows(&mut desk), begun);
        desk.hear(now, HOST, ToOwner::More { run: RUN, taken: 4 });
        assert_eq!(follows(&mut desk), "ghij@16");
        let later = now + Duration::from_millis(250);
        desk.hear(later, HOST, ToOwner::More { run: RUN, taken: 12 });
        assert_eq!(follows(&mut desk), "", "the rest is on its way");
        let later = later + Duration::from_millis(250);
        desk.hear(later, HOST, ToOwner::More { run: RUN, taken: 12 });
        assert_eq!(follows(&mut desk), "cdef@12, ghij@16", "it was lost");
        let (mut small, _) = granted("01234567");
        assert_eq!(follows(&mut small), "ask, grant 8 of 8");
    }

    #[test]
    fn an_answer_in_parts_counts_once_it_is_whole() {
        let (mut desk, now) = granted("q");
        follows(&mut desk);
        for (said, expected) in [
            (part(0, Some(10), false, "abcd"), "more 4"),
            (part(8, Some(10), false, "ij"), ""),
            (answer(SentBefore::Body(10)), ""),
            (part(4, Some(10), false, "efgh"), "more 8"),
            (part(0, Some(10), false, "abcd"), ""),
            (part(8, Some(10), false, "ij"), ""),
            (answer(SentBefore::Body(10)), "take abcdefghij"),
            (answer(SentBefore::Body(10)), "late"),
        ] {
            desk.hear(now, HOST, said.clone());
            assert_eq!(follows(&mut desk), expected, "{said:?}");
        }
    }

    #[test]
    fn a_caller_gets_parts_as_they_come_and_those_in_pieces_as_one() {
        let (mut desk, now) = granted("q");
        follows(&mut desk);
        for (said, expected) in [
            (part(0, None, false, "a"), "part a"),
            (part(0, None, false, "a"), "late"),
            (part(2, None, true, "bcd"), "more 6"),
            (part(6, None, false, "e"), "part bcde"),
            (part(8, None, false, ""), "part "),
            (answer(SentBefore::Parts(9)), "take "),
        ] {
            desk.hear(now, HOST, said.clone());
            assert_eq!(follows(&mut desk), expected, "{said:?}");
        }
    }

    #[test]
    fn what_the_caller_took_is_told_when_it_is_much_or_when_the_host_is_asked() {
        let (mut desk, now) = granted("q");
        desk.hear(now, HOST, part(0, None, false, "ab"));
        follows(&mut desk);
        desk.took(HOST, RUN);
        assert_eq!(follows(&mut desk), "");
        desk.hear(now, HOST, part(3, None, false, "ab"));
        desk.took(HOST, RUN);
        assert_eq!(follows(&mut desk), "part ab, more 6");
        desk.tick(now + Duration::from_secs(1));
        assert!(follows(&mut desk).starts_with("more 6, "), "what was told may be lost");
    }

    #[test]
    fn what_lacks_a_part_or_has_one_too_many_is_cut_off() {
        let pong =
            |sent| ToOwner::Pong { ping: 0, unknown: vec![], sure: true, alone: false, sent };
        for said in [
            vec![part(3, None, false, "a")],
            vec![part(0, None, false, "a"), part(3, None, false, "b")],
            vec![part(0, None, false, "a"), answer(SentBefore::Nothing)],
            vec![part(0, None, false, "a"), answer(SentBefore::Parts(5))],
            vec![part(0, None, true, "a"), answer(SentBefore::Parts(2))],
            vec![part(0, None, false, "a"), answer(SentBefore::Body(5))],
            vec![answer(SentBefore::Parts(5))],
            vec![part(0, None, false, "a"), pong(vec![(RUN, 3)])],
            vec![pong(vec![(RUN, 3)])],
            vec![part(0, None, false, "a"), part(2, Some(10), false, "abcd")],
            vec![part(0, Some(10), false, "abcd"), part(4, Some(11), false, "abcd")],
            vec![part(0, Some(10), false, "abcd"), part(4, None, false, "abcd")],
            vec![part(0, Some(4), false, "abcde")],
            vec![part(0, None, false, "0123456789abcdefg")],
        ] {
            let (mut desk, now) = granted("q");
            for message in &said {
                desk.hear(now, HOST, message.clone());
            }
            assert!(follows(&mut desk).ends_with("leave, lost"), "{said:?}");
            assert_eq!(desk.runs(), 0);
        }
    }

    #[test]
    fn an_answer_that_is_too_large_is_refused_before_it_is_kept() {
        let (mut desk, now) = granted("q");
        follows(&mut desk);
        desk.hear(now, HOST, part(0, Some(21), false, "abcd"));
        assert_eq!(follows(&mut desk), "leave, too large");
        let (mut desk, now) = granted("q");
        for at in [0, 9, 18] {
            desk.hear(now, HOST, part(at, None, true, "01234567"));
            desk.took(HOST, RUN);
        }
        assert!(follows(&mut desk).ends_with("leave, too large"));
    }
}
