//! The host of calls of other servers: what it claims, works on, and tells their owners.
//!
//! Pure: events come in with their time, [`HostStep`]s come out, and the shell carries them out. `T`
//! is what the shell needs to tell how a call has ended.
//!
//! - An owner that demands is remembered for [`WANTS_FOR`]. The books reserve workers for such owners,
//!   which take turns. What is not claimed at once is passed on to another
//!   host as well, because that one may have a free worker.
//! - A claim lasts [`CLAIM_FOR`]. A grant that comes later is refused. A grant for a claim that is not
//!   known at all is ignored: it may be a copy of one that was taken.
//! - What a call ended with is kept until its owner no longer asks for it, so it can be told again. The
//!   answer to a claim that came with it shows that it has arrived; else the next ping does. While much
//!   is kept, nothing is claimed, and what is kept for owners that have left is forgotten.
//! - A question that comes in parts has its worker from the grant on, and is given to it once it is
//!   whole. An answer that goes in parts is in the file `parts`.
//! - An owner that is not heard for [`SILENT_MOST`] has left its calls. While this server is cut off
//!   itself, that is no sign of an owner.

mod parts;
mod pings;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

pub use super::kept::{EndSize, GuestEnd, GuestId};
use super::kept::{KEPT_FOR, KeptEnds, of_owner};
use super::said::{SentBefore, ToHost, ToOwner};
pub use super::steps::{HostStep, Seating};
use super::transfer::{OutFlow, Sizes};
use crate::base::{CallId, NodeId, Question, WorkerId};
use parts::ComingQuestion;

/// How long a worker is reserved for a call that is claimed.
const CLAIM_FOR: Duration = Duration::from_millis(250);
/// How long it is remembered that an owner has calls.
const WANTS_FOR: Duration = Duration::from_millis(250);
/// An answer is not told again sooner.
const AGAIN_AFTER: Duration = Duration::from_millis(250);
/// An owner that is not heard for this long has left.
const SILENT_MOST: Duration = Duration::from_secs(3);
/// Most owners that are remembered. Others are not heard.
const OWNERS_MOST: usize = 4096;
/// How often a demand is passed on.
const HOPS_MOST: u32 = 3;

/// What a host knows of owners, their calls and its claims.
#[derive(Debug)]
pub struct HostDesk<T> {
    id: NodeId,
    owners: BTreeMap<NodeId, OwnerBook>,
    claims: BTreeMap<u64, ClaimBook>,
    last_claim: u64,
    /// Claims that ended without a grant, and when they are forgotten.
    ended_claims: BTreeMap<u64, Instant>,
    /// Claims that a drain has ended, until their owners have answered, or have had the time for it.
    unanswered: BTreeMap<u64, Instant>,
    guests: BTreeMap<GuestId, GuestBook>,
    kept: KeptEnds<T>,
    /// What has ended since the last settling.
    news: Vec<GuestId>,
    /// Demands that came since the last settling: of whom, how many calls, and how often passed on.
    fresh: Vec<(NodeId, usize, u32)>,
    is_connected: bool,
    is_draining: bool,
    /// Demands reach it.
    listens: bool,
    sizes: Sizes,
    /// Most bytes of a question.
    question_most: u64,
    places: Seating,
    steps: Vec<HostStep<T>>,
}

#[derive(Debug)]
struct OwnerBook {
    heard: Instant,
    /// Since when its oldest call waits, and how many wait, ...
    since: Instant,
    calls: usize,
    /// ... as far as is known until then.
    wants_until: Instant,
    /// Its call was answered, so its next one may come at once.
    again: usize,
    /// The last claim that it was told.
    claimed: u64,
    has_left: bool,
}

#[derive(Clone, Copy, Debug)]
struct ClaimBook {
    owner: NodeId,
    worker: WorkerId,
    until: Instant,
}

#[derive(Debug)]
struct GuestBook {
    /// Its number in the books of this pool.
    call: Option<CallId>,
    /// The last ping before it was granted.
    ping: u64,
    /// The parts of its answer that the caller gets as they come.
    out: OutFlow,
    has_left: bool,
    /// Its question, as long as some of it is missing.
    coming: Option<Box<ComingQuestion>>,
}

impl GuestBook {
    fn new(ping: u64) -> Self {
        Self { call: None, ping, out: OutFlow::default(), has_left: false, coming: None }
    }
}

impl OwnerBook {
    fn new(now: Instant) -> Self {
        Self {
            heard: now,
            since: now,
            calls: 0,
            wants_until: now,
            again: 0,
            claimed: 0,
            has_left: false,
        }
    }

    fn wants(&self) -> usize {
        self.calls + self.again
    }
}

impl<T: Clone> HostDesk<T> {
    /// A host of this name that is connected and knows no owners. It listens to demands once a
    /// worker is free.
    pub fn new(id: NodeId) -> Self {
        Self {
            id,
            owners: BTreeMap::new(),
            claims: BTreeMap::new(),
            last_claim: 0,
            ended_claims: BTreeMap::new(),
            unanswered: BTreeMap::new(),
            guests: BTreeMap::new(),
            kept: KeptEnds::new(),
            news: Vec::new(),
            fresh: Vec::new(),
            is_connected: true,
            is_draining: false,
            listens: false,
            sizes: Sizes::default(),
            question_most: u64::MAX,
            places: Seating::default(),
            steps: Vec::new(),
        }
    }

    /// Bodies are cut like this from now on.
    pub fn carries(&mut self, now: Instant, sizes: Sizes) {
        self.sizes = sizes;
        self.kept.cut(now, sizes);
    }

    /// Questions with more bytes are refused.
    pub fn takes_at_most(&mut self, question: u64) {
        self.question_most = question;
    }

    /// Removes and returns what is to be done, in this order.
    pub fn take_steps(&mut self) -> Vec<HostStep<T>> {
        std::mem::take(&mut self.steps)
    }

    /// When [`HostDesk::tick`] must be called.
    pub fn next_deadline(&self) -> Option<Instant> {
        let claims = self.claims.values().map(|claim| claim.until).min();
        let wants = self.owners.values().filter(|owner| owner.calls > 0);
        let wants = wants.map(|owner| owner.wants_until).min();
        let silent = self
            .owners
            .iter()
            .filter(|(id, owner)| self.is_connected && !owner.has_left && self.is_needed_by(**id));
        let silent = silent.map(|(_, owner)| owner.heard + SILENT_MOST).min();
        let unanswered = self.unanswered.values().copied().min();
        let (kept, coming) = (self.kept.next_deadline(), self.coming_until());
        [claims, wants, silent, unanswered, kept, coming].into_iter().flatten().min()
    }

    /// Since when the oldest call of another server waits, and how many are to be claimed. Tell the
    /// books before they settle.
    pub fn wants(&self) -> (Option<Instant>, usize) {
        if self.is_draining || !self.is_connected || self.kept.is_full() {
            return (None, 0);
        }
        let wanting = || self.owners.values().filter(|owner| owner.wants() > 0);
        (wanting().map(|owner| owner.since).min(), wanting().map(OwnerBook::wants).sum())
    }

    /// An owner has calls that wait, and one idle host is told.
    pub fn demand(&mut self, now: Instant, owner: NodeId, calls: usize, hops: u32) {
        self.fresh.push((owner, calls, hops));
        // Its own workers take its calls without being told.
        if owner != self.id {
            self.note_wants(now, owner, now, calls);
        }
    }

    /// The oldest call of an owner has waited this long, and all hosts are told.
    pub fn hungry(&mut self, now: Instant, owner: NodeId, age: Duration) {
        if owner != self.id {
            self.note_wants(now, owner, now.checked_sub(age).unwrap_or(now), 1);
        }
    }

    fn owner(&mut self, now: Instant, owner: NodeId) -> Option<&mut OwnerBook> {
        if self.owners.len() >= OWNERS_MOST && !self.owners.contains_key(&owner) {
            return None;
        }
        Some(self.owners.entry(owner).or_insert_with(|| OwnerBook::new(now)))
    }

    fn note_wants(&mut self, now: Instant, owner: NodeId, since: Instant, calls: usize) {
        let Some(book) = self.owner(now, owner) else { return };
        book.since = if book.calls > 0 { book.since.min(since) } else { since };
        book.calls = book.calls.max(calls);
        book.wants_until = now + WANTS_FOR;
    }

    /// The books have reserved a worker for a call of another server.
    pub fn reserved(&mut self, now: Instant, worker: WorkerId) {
        let wanting = self.owners.iter_mut().filter(|(_, owner)| owner.wants() > 0);
        let next = wanting.min_by_key(|(_, owner)| (owner.claimed, owner.since));
        let Some((owner, book)) = next.filter(|_| !self.is_draining) else {
            return self.steps.push(HostStep::Release(worker));
        };
        let owner = *owner;
        if book.again > 0 {
            book.again -= 1;
        } else {
            book.calls -= 1;
        }
        self.last_claim += 1;
        book.claimed = self.last_claim;
        let claim = self.last_claim;
        self.claims.insert(claim, ClaimBook { owner, worker, until: now + CLAIM_FOR });
        if let Some((_, calls, _)) = self.fresh.iter_mut().find(|it| it.0 == owner && it.1 > 0) {
            *calls -= 1;
        }
        // It goes with an answer to the same owner, if there is one.
        let (news, kept) = (&self.news, &mut self.kept);
        let mut told = news.iter().filter(|guest| guest.0 == owner);
        if !told.any(|guest| kept.claim_with(*guest, claim)) {
            self.tell(owner, ToOwner::Claim { claim });
        }
    }

    fn tell(&mut self, owner: NodeId, what: ToOwner) {
        self.steps.push(HostStep::Tell { owner, what });
    }

    /// An owner says something.
    pub fn hear(&mut self, now: Instant, owner: NodeId, said: ToHost) {
        let Some(book) = self.owner(now, owner) else { return };
        book.heard = now;
        book.has_left = false;
        match said {
            ToHost::Grant { claim, run, left, ping, question, len } => {
                self.granted(now, (owner, run), claim, (left, ping), (question, len));
            }
            ToHost::Part { run, at, body } => self.question_part(now, (owner, run), at, &body),
            ToHost::More { run, taken } => self.more(now, (owner, run), taken),
            ToHost::Nothing { claim } => {
                book.calls = 0;
                self.end_claim(owner, claim);
            }
            ToHost::Leave { run } => self.left(now, (owner, run)),
            ToHost::Ping { ping, holds, is_whole } => {
                self.pinged(now, owner, ping, &holds, is_whole);
            }
        }
    }

    fn granted(
        &mut self,
        now: Instant,
        guest: GuestId,
        claim: u64,
        (left, ping): (Duration, u64),
        (question, len): (Question, u64),
    ) {
        self.unanswered.remove(&claim);
        if self.guests.contains_key(&guest) || self.kept.has(&guest) {
            return;
        }
        let is_open = |it: &&ClaimBook| it.owner == guest.0 && now < it.until;
        let Some(ClaimBook { worker, .. }) = self.claims.get(&claim).filter(is_open).copied()
        else {
            self.kept.acknowledge(guest.0, claim);
            let is_late = self.claims.get(&claim).is_some_and(|it| it.owner == guest.0);
            if is_late || self.ended_claims.contains_key(&claim) {
                let end = (GuestEnd::NotBegun, EndSize::default());
                self.keep(now, guest, end, (ping, SentBefore::Nothing));
            }
            return;
        };
        self.claims.remove(&claim);
        self.kept.acknowledge(guest.0, claim);
        let mut book = GuestBook::new(ping);
        if len > self.question_most {
            self.steps.push(HostStep::Give { worker, guest, left, question: None });
        } else if question.text.len() as u64 == len {
            self.steps.push(HostStep::Give { worker, guest, left, question: Some(question) });
        } else {
            book.coming = Some(Box::new(ComingQuestion::new(worker, now + left, question, len)));
        }
        self.guests.insert(guest, book);
    }

    /// The books have given the call to its worker.
    pub fn begun(&mut self, guest: GuestId, call: CallId) {
        if let Some(book) = self.guests.get_mut(&guest) {
            book.call = Some(call);
        }
    }

    /// The worker could not be given the call.
    pub fn refused(&mut self, now: Instant, guest: GuestId) {
        if let Some(book) = self.guests.remove(&guest) {
            let end = (GuestEnd::NotBegun, EndSize::default());
            self.keep(now, guest, end, (book.ping, SentBefore::Nothing));
        }
    }

    /// A call of another server has ended. Its answer takes so much.
    pub fn ended(&mut self, now: Instant, guest: GuestId, end: GuestEnd<T>, size: EndSize) {
        let Some(book) = self.guests.remove(&guest) else { return };
        if let Some(owner) = self.owners.get_mut(&guest.0).filter(|owner| !owner.has_left) {
            owner.since = if owner.wants() > 0 { owner.since } else { now };
            owner.again += 1;
        }
        let before = match book.out.sent() {
            0 => SentBefore::Nothing,
            sent => SentBefore::Parts(sent),
        };
        self.keep(now, guest, (end, size), (book.ping, before));
    }

    fn keep(
        &mut self,
        now: Instant,
        guest: GuestId,
        end: (GuestEnd<T>, EndSize),
        since: (u64, SentBefore),
    ) {
        self.kept.keep(now, guest, end, since, self.sizes);
        self.news.push(guest);
    }

    /// The books were settled: tells what has ended, and passes on what was not claimed.
    pub fn settled(&mut self, now: Instant, places: Seating) {
        self.places = places;
        for guest in std::mem::take(&mut self.news) {
            self.tell_end(now, guest);
        }
        for owner in self.owners.values_mut() {
            owner.again = 0;
        }
        for (owner, calls, hops) in std::mem::take(&mut self.fresh) {
            if calls > 0 && hops < HOPS_MOST {
                self.steps.push(HostStep::PassOn { owner, calls, hops: hops + 1 });
            }
        }
        if places.free > 0 && !self.is_draining {
            self.listen(true);
        }
    }

    fn listen(&mut self, listens: bool) {
        if std::mem::replace(&mut self.listens, listens) != listens {
            self.steps.push(HostStep::Listen(listens));
        }
    }

    /// An owner has no call for a claim.
    fn end_claim(&mut self, owner: NodeId, claim: u64) {
        self.unanswered.remove(&claim);
        self.kept.acknowledge(owner, claim);
        if self.claims.get(&claim).is_some_and(|it| it.owner == owner)
            && let Some(book) = self.claims.remove(&claim)
        {
            self.steps.push(HostStep::Release(book.worker));
        }
    }

    fn left(&mut self, now: Instant, guest: GuestId) {
        self.kept.forget(guest);
        let Some(book) = self.guests.get_mut(&guest) else { return };
        if std::mem::replace(&mut book.has_left, true) {
            return;
        }
        if let Some(call) = book.call {
            self.steps.extend([HostStep::Leave(call), HostStep::Room(guest)]);
        } else if let Some(coming) = book.coming.take() {
            self.steps.push(HostStep::Release(coming.worker));
            self.refused(now, guest);
        }
    }

    /// This server has got, or has lost, its connection.
    pub fn connected(&mut self, now: Instant, is_connected: bool) {
        self.is_connected = is_connected;
        for owner in self.owners.values_mut() {
            owner.heard = now;
        }
        if is_connected && self.listens {
            self.steps.push(HostStep::Listen(true));
        }
        if is_connected {
            self.go_on();
        }
    }

    /// Claims nothing from now on. What it has, it ends. A grant that is on its way is refused, so it
    /// stays to say so.
    pub fn drain(&mut self, now: Instant) {
        self.is_draining = true;
        self.listen(false);
        let all: Vec<u64> = self.claims.keys().copied().collect();
        for claim in all {
            self.time_out(now, claim);
            self.unanswered.insert(claim, now + CLAIM_FOR);
        }
        self.leave_silent(now);
    }

    fn time_out(&mut self, now: Instant, claim: u64) {
        if let Some(ClaimBook { worker, .. }) = self.claims.remove(&claim) {
            self.ended_claims.insert(claim, now + KEPT_FOR);
            self.steps.push(HostStep::Release(worker));
        }
    }

    /// Returns true if no call of another server is here or on its way, and every owner has heard how
    /// its calls have ended.
    pub fn is_empty(&self) -> bool {
        self.guests.is_empty() && self.kept.is_empty() && self.unanswered.is_empty()
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Instant) {
        let late = self.claims.iter().filter(|(_, claim)| claim.until <= now);
        let late: Vec<(u64, NodeId)> = late.map(|(claim, book)| (*claim, book.owner)).collect();
        for (claim, owner) in late {
            self.time_out(now, claim);
            if let Some(owner) = self.owners.get_mut(&owner) {
                owner.calls = 0;
            }
        }
        for owner in self.owners.values_mut().filter(|owner| owner.wants_until <= now) {
            owner.calls = 0;
        }
        self.ended_claims.retain(|_, until| *until > now);
        self.unanswered.retain(|_, until| *until > now);
        self.give_up_coming(now);
        self.leave_silent(now);
        self.kept.forget_old(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::RunId;

    const HOST: NodeId = NodeId(1);
    const OWNER: NodeId = NodeId(7);
    const WORKER: WorkerId = WorkerId(3);
    const FREE: Seating = Seating { free: 1, busy: 0 };

    fn run(call: u64) -> RunId {
        RunId { call, attempt: 1, key: 9 }
    }

    fn grant(claim: u64, call: u64) -> ToHost {
        let (left, question) = (Duration::from_secs(30), Question::plain("a"));
        ToHost::Grant { claim, run: run(call), left, ping: 0, question, len: 1 }
    }

    /// A host that has claimed a call.
    fn claiming(now: Instant) -> HostDesk<()> {
        let mut desk = HostDesk::new(HOST);
        desk.settled(now, FREE);
        desk.demand(now, OWNER, 1, 0);
        assert_eq!(desk.wants(), (Some(now), 1));
        desk.reserved(now, WORKER);
        desk.settled(now, Seating::default());
        let said = desk.take_steps();
        let is_claim = |step: &HostStep<()>| {
            matches!(step, HostStep::Tell { owner: OWNER, what: ToOwner::Claim { claim: 1 } })
        };
        assert!(said.iter().any(is_claim), "{said:?}");
        desk
    }

    /// What follows, in a few letters.
    fn follows(desk: &mut HostDesk<()>, now: Instant) -> String {
        desk.settled(now, Seating::default());
        let steps = desk.take_steps().into_iter();
        let word = |step| match step {
            HostStep::Give { .. } => "give ",
            HostStep::Release(_) => "release ",
            HostStep::Answer { .. } => "answer ",
            HostStep::Part { .. } => "part ",
            HostStep::Room(_) => "",
            HostStep::Leave(_) => "leave ",
            HostStep::PassOn { .. } => "pass on ",
            HostStep::Listen(_) => "listen ",
            HostStep::Tell { what: ToOwner::NotBegun { .. }, .. } => "not begun ",
            HostStep::Tell { what: ToOwner::Pong { unknown, .. }, .. } if unknown.is_empty() => {
                "knows "
            }
            HostStep::Tell { .. } => "tell ",
        };
        steps.map(word).collect::<String>().trim_end().to_owned()
    }

    #[test]
    fn a_claim_is_used_once_and_by_the_owner_that_it_was_told() {
        let now = Instant::now();
        let mut desk = claiming(now);
        desk.hear(now, NodeId(8), grant(1, 5));
        assert_eq!(follows(&mut desk, now), "", "it was not told the claim");
        desk.hear(now, OWNER, grant(2, 5));
        assert_eq!(follows(&mut desk, now), "", "there is no such claim");
        desk.hear(now, OWNER, grant(1, 5));
        assert_eq!(follows(&mut desk, now), "give");
        desk.begun((OWNER, run(5)), CallId(50));
        for call in [5, 6] {
            // A copy, and a call that would be the second for the claim.
            desk.hear(now, OWNER, grant(1, call));
            assert_eq!(follows(&mut desk, now), "");
        }
        desk.ended(now, (OWNER, run(5)), GuestEnd::Answer(()), EndSize::default());
        assert_eq!(follows(&mut desk, now), "answer");
        desk.hear(now, OWNER, grant(1, 5));
        assert_eq!(follows(&mut desk, now), "", "a copy that comes late is not refused");
    }

    #[test]
    fn a_grant_that_comes_after_its_claim_is_refused_also_before_a_tick() {
        let now = Instant::now();
        for is_ticked in [true, false] {
            let (mut desk, later) = (claiming(now), now + CLAIM_FOR);
            if is_ticked {
                desk.tick(later);
                assert_eq!(follows(&mut desk, later), "release");
            }
            desk.hear(later, OWNER, grant(1, 5));
            assert_eq!(follows(&mut desk, later), "not begun");
        }
    }

    #[test]
    fn an_answer_is_kept_until_its_owner_has_heard_it() {
        let now = Instant::now();
        let ping = |number, holds: &[u64]| ToHost::Ping {
            ping: number,
            holds: holds.iter().map(|call| run(*call)).collect(),
            is_whole: true,
        };
        let mut desk = claiming(now);
        desk.hear(now, OWNER, grant(1, 5));
        desk.begun((OWNER, run(5)), CallId(50));
        desk.ended(now, (OWNER, run(5)), GuestEnd::Answer(()), EndSize::default());
        assert_eq!(follows(&mut desk, now), "give answer");
        desk.hear(now, OWNER, ping(1, &[5]));
        assert_eq!(follows(&mut desk, now), "knows", "it is on its way");
        let later = now + AGAIN_AFTER;
        desk.hear(later, OWNER, ping(2, &[5]));
        assert_eq!(follows(&mut desk, later), "answer knows");
        desk.hear(later, OWNER, ping(0, &[]));
        assert!(!desk.is_empty(), "a ping from before the grant says nothing");
        desk.hear(later, OWNER, ping(3, &[]));
        assert!(desk.is_empty());
    }

    #[test]
    fn one_that_keeps_much_claims_nothing_until_its_owner_has_heard_or_is_gone() {
        let (now, much) = (Instant::now(), EndSize { body: 0, rest: 65 << 20 });
        for hears in [true, false] {
            let mut desk = claiming(now);
            desk.hear(now, OWNER, grant(1, 5));
            desk.ended(now, (OWNER, run(5)), GuestEnd::Answer(()), much);
            assert_eq!(follows(&mut desk, now), "give answer");
            desk.demand(now, NodeId(8), 1, 0);
            assert_eq!(desk.wants(), (None, 0));
            let later = if hears {
                desk.hear(now, OWNER, ToHost::Ping { ping: 1, holds: vec![], is_whole: true });
                now
            } else {
                let gone = now + SILENT_MOST;
                assert_eq!(desk.next_deadline(), Some(now + WANTS_FOR));
                desk.tick(now + WANTS_FOR);
                assert_eq!(desk.next_deadline(), Some(gone));
                desk.tick(gone);
                desk.demand(gone, NodeId(8), 1, 0);
                gone
            };
            assert_eq!(desk.wants(), (Some(later), 1), "{hears}");
        }
    }

    #[test]
    fn a_call_that_its_owner_does_not_name_has_been_left() {
        let now = Instant::now();
        let mut desk = claiming(now);
        desk.hear(now, OWNER, grant(1, 5));
        desk.begun((OWNER, run(5)), CallId(50));
        let ping = |is_whole| ToHost::Ping { ping: 1, holds: vec![], is_whole };
        desk.hear(now, OWNER, ping(false));
        assert_eq!(follows(&mut desk, now), "give knows");
        desk.hear(now, OWNER, ping(true));
        assert_eq!(follows(&mut desk, now), "leave knows");
    }

    #[test]
    fn a_demand_that_is_not_claimed_is_passed_on_a_few_times() {
        let (mut desk, now) = (HostDesk::<()>::new(HOST), Instant::now());
        for (hops, expected) in [(0, "pass on"), (HOPS_MOST, "")] {
            desk.demand(now, OWNER, 1, hops);
            assert_eq!(follows(&mut desk, now), expected);
        }
        desk.demand(now, HOST, 1, 0);
        desk.tick(now + WANTS_FOR);
        assert_eq!(desk.wants(), (None, 0), "its own calls are no calls of others");
    }

    #[test]
    fn one_that_drains_gives_its_claims_up_and_makes_no_others() {
        let now = Instant::now();
        let mut desk = claiming(now);
        desk.drain(now);
        assert_eq!(follows(&mut desk, now), "listen release");
        desk.hear(now, OWNER, grant(1, 5));
        assert_eq!(follows(&mut desk, now), "not begun");
        desk.demand(now, OWNER, 1, HOPS_MOST);
        assert_eq!(desk.wants(), (None, 0));
    }

    #[test]
    fn one_that_drains_stays_until_its_claims_are_answered_or_could_have_been() {
        let now = Instant::now();
        let refused = |desk: &mut HostDesk<()>| {
            desk.hear(now, OWNER, grant(1, 5));
            assert_eq!(follows(desk, now), "listen release not begun");
            assert!(!desk.is_empty(), "its owner may not have heard that");
            desk.hear(now, OWNER, ToHost::Ping { ping: 1, holds: vec![], is_whole: true });
        };
        let none = |desk: &mut HostDesk<()>| desk.hear(now, OWNER, ToHost::Nothing { claim: 1 });
        let nothing = |desk: &mut HostDesk<()>| {
            assert_eq!(desk.next_deadline(), Some(now + CLAIM_FOR));
            desk.tick(now + CLAIM_FOR);
        };
        for answer in [&refused as &dyn Fn(&mut HostDesk<()>), &none, &nothing] {
            let mut desk = claiming(now);
            desk.drain(now);
            assert!(!desk.is_empty(), "a grant may be on its way");
            answer(&mut desk);
            assert!(desk.is_empty(), "{desk:?}");
        }
    }
}
