//! The owner of calls: what it tells hosts, and what it makes of what they tell.
//!
//! Pure: events come in with their time, [`OwnerStep`]s come out, and the shell carries them out. The
//! books of the pool decide about calls; this knows which host has been given which, so that it can
//! ask what became of them.
//!
//! - Where calls wait, it *demands*: one idle host is told. It repeats that, because a message may be
//!   lost, and a host may become free later. Where demands bring no claim, all hosts are busy, and calls
//!   that come then are demanded together, once in [`DEMAND_PAUSE`]. An owner whose oldest call has
//!   waited for [`HUNGRY_AFTER`] tells all hosts how long.
//! - A host that has calls is *pinged*. Its pong says which of them it does not know. That counts if
//!   the grant was sent [`SETTLED_AFTER`] before the ping: by then the claim of the host has ended, so
//!   a grant that comes later is refused. A host that is sure has never had such a call.
//! - A question or an answer that goes in parts is in the file `parts`.
//! - A host that is not heard for [`SILENT_MOST`], or to which nobody listens for [`UNHEARD_MOST`], is
//!   lost. While this server is cut off itself, or stands still, that is no sign of a host: it asks
//!   nothing then.

mod parts;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::said::{ToHost, ToOwner};
pub use super::steps::OwnerStep;
use super::transfer::Sizes;
use crate::base::{NodeId, Question, RunId};
use crate::pool::away::{AwayLoss, Granted, Hunger};
use parts::{ArrivingAnswer, LeavingQuestion};

/// How often demands are repeated.
const DEMAND_EVERY: Duration = Duration::from_millis(250);
/// Once demands have brought no claim for this long, further calls are demanded together, and as often.
const DEMAND_PAUSE: Duration = Duration::from_millis(5);
/// After this time, and as often, all hosts are told how long the oldest call has waited.
const HUNGRY_AFTER: Duration = Duration::from_millis(100);
/// How often a host that has calls is asked what became of them.
const PING_EVERY: Duration = Duration::from_millis(500);
/// Pings are no closer together than this.
const PING_LEAST: Duration = Duration::from_millis(100);
/// A ping that is sent this long after a grant settles whether the grant has arrived. It is longer
/// than a claim lasts.
const SETTLED_AFTER: Duration = Duration::from_millis(300);
/// A host that is not heard for this long is lost.
const SILENT_MOST: Duration = Duration::from_secs(3);
/// A ping that is sent this late shows that this server stood still.
const PING_LATE: Duration = Duration::from_secs(1);
/// A host that nobody reaches for this long is lost.
const UNHEARD_MOST: Duration = Duration::from_millis(700);
/// How long a host is remembered that has no calls.
const KNOWN_FOR: Duration = Duration::from_mins(1);
/// Most hosts that are remembered. Others are not heard.
const HOSTS_MOST: usize = 4096;
/// How many of the last claims of a host are remembered. No claim is answered twice.
const CLAIMS_KEPT: u64 = 256;

/// What an owner knows of the hosts that serve it.
#[derive(Debug)]
pub struct OwnerDesk {
    hosts: BTreeMap<NodeId, HostBook>,
    is_connected: bool,
    hunger: Option<Hunger>,
    /// How many calls were demanded and not claimed since.
    demanded: usize,
    demanded_at: Option<Instant>,
    /// Since when demands have brought no claim.
    in_vain: Option<Instant>,
    hungry_at: Option<Instant>,
    pings: u64,
    sizes: Sizes,
    /// Most bytes of an answer.
    answer_most: u64,
    steps: Vec<OwnerStep>,
}

#[derive(Debug)]
struct HostBook {
    /// When it was last heard.
    heard: Instant,
    /// Since when nobody listens to what it is told.
    unheard: Option<Instant>,
    /// The last pings, from the first to the last of them, and when that was.
    pinged: Option<(u64, u64, Instant)>,
    runs: BTreeMap<RunId, RunBook>,
    /// Since when it keeps answers, or calls, that it must be told to forget.
    must_forget: Option<Instant>,
    /// It works on one call, and nothing else.
    alone: bool,
    claims: BTreeSet<u64>,
}

#[derive(Debug)]
struct RunBook {
    sent: Instant,
    /// The last ping before it was sent.
    ping: u64,
    /// Its question, if that goes in parts.
    question: Option<Box<LeavingQuestion>>,
    /// What has come of its answer.
    answer: ArrivingAnswer,
    /// Its caller has left.
    has_left: bool,
}

impl HostBook {
    fn new(now: Instant) -> Self {
        Self {
            heard: now,
            unheard: None,
            pinged: None,
            runs: BTreeMap::new(),
            must_forget: None,
            alone: false,
            claims: BTreeSet::new(),
        }
    }

    /// Notes a claim. Returns false if it was seen before, or may have been.
    fn is_new(&mut self, claim: u64) -> bool {
        let newest = self.claims.last().copied().unwrap_or(claim);
        let is_new = claim.saturating_add(CLAIMS_KEPT) > newest && self.claims.insert(claim);
        if self.claims.len() as u64 > CLAIMS_KEPT {
            self.claims.pop_first();
        }
        is_new
    }

    /// When it is to be pinged; `None` if it has nothing to tell.
    fn ping_at(&self) -> Option<Instant> {
        let last = self.pinged.map(|(_, _, at)| at);
        let unsettled = |run: &&RunBook| last.is_none_or(|last| last < run.sent + SETTLED_AFTER);
        let first = self.runs.values().filter(unsettled).map(|run| run.sent + SETTLED_AFTER).min();
        let Some(last) = last else {
            let forget = self.must_forget.map(|since| since + PING_EVERY);
            return first.into_iter().chain(forget).min();
        };
        let is_asked = !self.runs.is_empty() || self.must_forget.is_some();
        let again = is_asked.then(|| last + PING_EVERY);
        let next = again.into_iter().chain(first).min();
        next.map(|at| at.max(last + PING_LEAST))
    }

    fn must_forget(&mut self) {
        self.must_forget.get_or_insert(self.heard);
    }

    /// From now on it counts how long it is not heard.
    const fn count_silence(&mut self, now: Instant) {
        (self.heard, self.unheard) = (now, None);
    }

    /// When it is lost if it is not heard until then; `None` if it has no calls.
    fn lost_at(&self) -> Option<Instant> {
        if self.runs.is_empty() {
            return None;
        }
        let silent = self.heard + SILENT_MOST;
        Some(self.unheard.map_or(silent, |since| silent.min(since + UNHEARD_MOST)))
    }
}

impl OwnerDesk {
    /// An owner that is connected and knows no hosts.
    pub fn new() -> Self {
        Self {
            hosts: BTreeMap::new(),
            is_connected: true,
            hunger: None,
            demanded: 0,
            demanded_at: None,
            in_vain: None,
            hungry_at: None,
            pings: 0,
            sizes: Sizes::default(),
            answer_most: u64::MAX,
            steps: Vec::new(),
        }
    }

    /// Bodies are cut like this from now on.
    pub fn carries(&mut self, sizes: Sizes) {
        self.sizes = sizes;
    }

    /// Answers with more bytes are refused.
    pub fn takes_at_most(&mut self, answer: u64) {
        self.answer_most = answer;
    }

    /// Removes and returns what is to be done, in this order.
    pub fn take_steps(&mut self) -> Vec<OwnerStep> {
        std::mem::take(&mut self.steps)
    }

    /// When [`OwnerDesk::tick`] must be called.
    pub fn next_deadline(&self) -> Option<Instant> {
        if !self.is_connected {
            return None;
        }
        let hosts = self.hosts.values().flat_map(|host| [host.ping_at(), host.lost_at()]).flatten();
        hosts.chain(self.demand_at()).chain(self.more_due()).chain(self.hungry_due()).min()
    }

    /// The books were settled, and say which calls wait for hosts.
    pub fn hunger(&mut self, now: Instant, hunger: Option<Hunger>) {
        self.hunger = hunger;
        match hunger {
            None => (self.demanded, self.demanded_at, self.in_vain) = (0, None, None),
            Some(_) => self.demand_more(now),
        }
    }

    /// Demands the calls that have come since the last demand, unless that can wait.
    fn demand_more(&mut self, now: Instant) {
        let is_fresh = self.in_vain.is_none_or(|since| now < since + DEMAND_PAUSE);
        if let (Some(hunger), Some(due)) = (self.hunger, self.more_due())
            && (is_fresh || due <= now)
        {
            self.demand(now, hunger.calls - self.demanded, hunger.calls);
        }
    }

    /// When the calls are demanded that have come since the last demand, at the latest.
    fn more_due(&self) -> Option<Instant> {
        let hunger = self.hunger.filter(|hunger| hunger.calls > self.demanded)?;
        Some(self.demanded_at.map_or(hunger.since, |last| last + DEMAND_PAUSE))
    }

    fn demand(&mut self, now: Instant, calls: usize, demanded: usize) {
        if self.is_connected {
            self.demanded = demanded;
            self.demanded_at = Some(now);
            self.in_vain.get_or_insert(now);
            self.steps.push(OwnerStep::Demand { calls });
        }
    }

    fn demand_at(&self) -> Option<Instant> {
        self.hunger?;
        Some(self.demanded_at? + DEMAND_EVERY)
    }

    fn hungry_due(&self) -> Option<Instant> {
        let since = self.hunger?.since;
        let last = self.hungry_at.filter(|last| *last > since).unwrap_or(since);
        Some(last + HUNGRY_AFTER)
    }

    /// The books have, or have not, a call for a claim.
    pub fn granted(
        &mut self,
        now: Instant,
        host: NodeId,
        claim: u64,
        granted: Option<(Granted, Question)>,
    ) {
        let Some(book) = self.hosts.get_mut(&host) else { return };
        let Some((Granted { run, left, .. }, mut question)) = granted else {
            let what = ToHost::Nothing { claim };
            return self.steps.push(OwnerStep::Tell { host, what });
        };
        let (ping, len) = (self.pings, question.text.len() as u64);
        let in_parts = LeavingQuestion::of(now, &mut question, self.sizes);
        let goes_on = in_parts.is_some();
        let answer = ArrivingAnswer::Nothing;
        let sent = RunBook { sent: now, ping, question: in_parts, answer, has_left: false };
        book.runs.insert(run, sent);
        let what = ToHost::Grant { claim, run, left, ping, question, len };
        self.steps.push(OwnerStep::Tell { host, what });
        if goes_on {
            self.send_question(now, host, run);
        }
    }

    /// Nobody waits any longer for a call that a host has. `is_over`: it has left the books.
    pub fn called_back(&mut self, host: NodeId, run: RunId, is_over: bool) {
        let Some(book) = self.hosts.get_mut(&host) else { return };
        if let Some(sent) = book.runs.get_mut(&run) {
            sent.has_left = true;
        }
        if is_over {
            book.runs.remove(&run);
            book.must_forget();
        }
        self.steps.push(OwnerStep::Tell { host, what: ToHost::Leave { run } });
    }

    /// A host says something.
    pub fn hear(&mut self, now: Instant, host: NodeId, said: ToOwner) {
        if self.hosts.len() >= HOSTS_MOST && !self.hosts.contains_key(&host) {
            return self.steps.push(OwnerStep::Late);
        }
        let book = self.hosts.entry(host).or_insert_with(|| HostBook::new(now));
        book.heard = now;
        book.unheard = None;
        match said {
            ToOwner::Claim { claim } => {
                self.in_vain = None;
                self.claimed(host, claim);
            }
            ToOwner::Answer { run, before, claim } => {
                self.answered(host, run, before);
                if let Some(claim) = claim {
                    self.claimed(host, claim);
                } else if let Some(book) = self.hosts.get_mut(&host) {
                    book.must_forget();
                }
            }
            ToOwner::NotBegun { run } => {
                book.must_forget();
                let loss = AwayLoss::NotBegun;
                self.ended(host, run, OwnerStep::Lost { host, run, loss });
            }
            ToOwner::Part(part) => self.part(host, part),
            ToOwner::More { run, taken } => self.more(now, host, run, taken),
            ToOwner::Pong { ping, unknown, sure, alone, sent } => {
                book.alone = alone;
                self.look_for_gaps(host, &sent);
                let Some(book) = self.hosts.get_mut(&host) else { return };
                let is_of =
                    |(first, last, _): &(u64, u64, Instant)| (*first..=*last).contains(&ping);
                let Some((first, _, at)) = book.pinged.filter(is_of) else { return };
                for run in unknown {
                    let is_settled =
                        |sent: &RunBook| sent.ping < first && at >= sent.sent + SETTLED_AFTER;
                    if book.runs.get(&run).is_some_and(is_settled) {
                        book.runs.remove(&run);
                        let loss = if sure { AwayLoss::NotBegun } else { AwayLoss::Unknown };
                        self.steps.push(OwnerStep::Lost { host, run, loss });
                    }
                }
            }
        }
    }

    fn claimed(&mut self, host: NodeId, claim: u64) {
        let Some(book) = self.hosts.get_mut(&host) else { return };
        if book.is_new(claim) {
            self.demanded = self.demanded.saturating_sub(1);
            self.steps.push(OwnerStep::Ask { host, claim });
        }
    }

    fn ended(&mut self, host: NodeId, run: RunId, step: OwnerStep) {
        let book = self.hosts.get_mut(&host);
        let is_there = book.is_some_and(|book| book.runs.remove(&run).is_some());
        self.steps.push(if is_there { step } else { OwnerStep::Late });
    }

    /// Nobody listens to what this host is told.
    pub fn unheard(&mut self, now: Instant, host: NodeId) {
        if let Some(book) = self.hosts.get_mut(&host) {
            book.unheard.get_or_insert(now);
        }
    }

    /// This server has got, or has lost, its connection.
    pub fn connected(&mut self, now: Instant, is_connected: bool) {
        self.is_connected = is_connected;
        if !is_connected {
            return;
        }
        (self.demanded, self.demanded_at, self.in_vain) = (0, None, None);
        self.hungry_at = None;
        for book in self.hosts.values_mut() {
            book.count_silence(now);
            book.pinged = None;
        }
        let held: Vec<NodeId> = self.with_runs();
        for host in held {
            self.ping(now, host);
        }
        self.hunger(now, self.hunger);
    }

    fn with_runs(&self) -> Vec<NodeId> {
        let held = self.hosts.iter().filter(|(_, book)| !book.runs.is_empty());
        held.map(|(host, _)| *host).collect()
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Instant) {
        if !self.is_connected {
            return;
        }
        self.hosts.retain(|_, book| {
            let is_idle = book.runs.is_empty() && book.must_forget.is_none();
            !is_idle || now < book.heard + KNOWN_FOR
        });
        for host in self.hosts.keys().copied().collect::<Vec<_>>() {
            let Some(book) = self.hosts.get_mut(&host) else { continue };
            let ping_at = book.ping_at();
            if ping_at.is_some_and(|at| at + PING_LATE <= now) {
                book.count_silence(now);
            }
            if book.lost_at().is_some_and(|at| at <= now) {
                self.lose(host);
            } else if ping_at.is_some_and(|at| at <= now) {
                self.ping(now, host);
            }
        }
        if let (Some(hunger), Some(at)) = (self.hunger, self.demand_at())
            && at <= now
        {
            self.demand(now, hunger.calls, hunger.calls);
        }
        self.demand_more(now);
        if let (Some(hunger), Some(at)) = (self.hunger, self.hungry_due())
            && at <= now
        {
            self.hungry_at = Some(now);
            let age = now.saturating_duration_since(hunger.since);
            self.steps.push(OwnerStep::Hungry { age });
        }
    }

    fn ping(&mut self, now: Instant, host: NodeId) {
        let Some(book) = self.hosts.get_mut(&host) else { return };
        let first = self.pings + 1;
        book.must_forget = None;
        let tell = |what| OwnerStep::Tell { host, what };
        // What was told of these before may be lost.
        let left = book.runs.iter().filter(|(_, sent)| sent.has_left);
        self.steps.extend(left.map(|(run, _)| tell(ToHost::Leave { run: *run })));
        for (run, sent) in &mut book.runs {
            let taken = sent.answer.tell();
            self.steps.extend(taken.map(|taken| tell(ToHost::More { run: *run, taken })));
        }
        let mut holds: Vec<RunId> = book.runs.keys().copied().collect();
        let named = self.sizes.named;
        let is_whole = holds.len() <= named;
        loop {
            self.pings += 1;
            let rest = holds.split_off(holds.len().min(named));
            self.steps.push(tell(ToHost::Ping { ping: self.pings, holds, is_whole }));
            holds = rest;
            if holds.is_empty() {
                break;
            }
        }
        book.pinged = Some((first, self.pings, now));
    }

    fn lose(&mut self, host: NodeId) {
        let Some(book) = self.hosts.remove(&host) else { return };
        let alone = book.alone && book.runs.len() == 1;
        self.steps.push(OwnerStep::HostLost(host));
        for run in book.runs.into_keys() {
            self.steps.push(OwnerStep::Lost { host, run, loss: AwayLoss::Host { alone } });
        }
    }

    /// Returns how many calls hosts have.
    pub fn runs(&self) -> usize {
        self.hosts.values().map(|book| book.runs.len()).sum()
    }
}

impl Default for OwnerDesk {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::super::said::SentBefore;
    use super::*;
    use crate::base::CallId;

    const HOST: NodeId = NodeId(7);
    const RUN: RunId = RunId { call: 1, attempt: 1, key: 9 };

    fn granted(desk: &mut OwnerDesk, now: Instant) {
        desk.hear(now, HOST, ToOwner::Claim { claim: 1 });
        let granted = Granted { call: CallId(1), run: RUN, left: Duration::from_secs(30) };
        desk.granted(now, HOST, 1, Some((granted, Question::plain("a"))));
        desk.take_steps();
    }

    /// Ticks until a ping is due. Returns its number and time.
    fn pinged(desk: &mut OwnerDesk) -> (u64, Instant) {
        let now = desk.next_deadline().expect("it has a call");
        desk.tick(now);
        let steps = desk.take_steps();
        let [OwnerStep::Tell { what: ToHost::Ping { ping, .. }, .. }] = steps[..] else {
            panic!("{steps:?}")
        };
        (ping, now)
    }

    /// How many calls each demand is for that was made since the last look.
    fn demanded(desk: &mut OwnerDesk) -> Vec<usize> {
        let calls = |step| if let OwnerStep::Demand { calls } = step { Some(calls) } else { None };
        desk.take_steps().into_iter().filter_map(calls).collect()
    }

    fn is_lost(desk: &mut OwnerDesk) -> bool {
        let steps = desk.take_steps();
        steps.iter().any(|step| matches!(step, OwnerStep::Lost { loss: AwayLoss::Unknown, .. }))
    }

    #[test]
    fn a_call_is_unknown_only_after_a_ping_that_settles_it() {
        let (mut desk, now) = (OwnerDesk::new(), Instant::now());
        granted(&mut desk, now);
        let (number, at) = pinged(&mut desk);
        assert_eq!(at, now + SETTLED_AFTER);
        let second = RunId { call: 2, ..RUN };
        desk.hear(at, HOST, ToOwner::Claim { claim: 2 });
        let late = Granted { call: CallId(2), run: second, left: Duration::from_secs(30) };
        desk.granted(at, HOST, 2, Some((late, Question::plain("a"))));
        desk.take_steps();
        let says = |ping, run| {
            let (unknown, sent) = (vec![run], vec![]);
            ToOwner::Pong { ping, unknown, sure: false, alone: false, sent }
        };
        desk.hear(at, HOST, says(number, second));
        assert!(!is_lost(&mut desk), "its grant may be on its way");
        desk.hear(at, HOST, says(number - 1, RUN));
        assert!(!is_lost(&mut desk), "an old pong says nothing");
        desk.hear(at, HOST, says(number, RUN));
        assert!(is_lost(&mut desk));
        assert_eq!(desk.runs(), 1);
    }

    #[test]
    fn a_stop_of_this_server_is_no_silence_of_its_hosts() {
        let second = Duration::from_secs(1);
        let lost = |desk: &mut OwnerDesk| {
            let steps = desk.take_steps();
            steps.iter().any(|step| matches!(step, OwnerStep::HostLost(HOST)))
        };
        let (mut desk, now) = (OwnerDesk::new(), Instant::now());
        granted(&mut desk, now);
        let (_, at) = pinged(&mut desk);
        // It has asked, and hears nothing of the answer before it looks at the clock.
        let later = at + 5 * second;
        desk.unheard(at, HOST);
        desk.tick(later);
        assert!(!lost(&mut desk) && desk.runs() == 1);
        let mut looked = later;
        while looked < later + SILENT_MOST {
            assert!(!lost(&mut desk), "{:?} after it went on", looked - later);
            looked = desk.next_deadline().expect("it has a call");
            desk.tick(looked);
        }
        assert!(lost(&mut desk), "now it has asked all the time");
        assert_eq!(looked, later + SILENT_MOST);
    }

    #[test]
    fn a_busy_host_is_told_to_forget_as_soon_as_one_that_says_nothing() {
        let (mut desk, now) = (OwnerDesk::new(), Instant::now());
        for number in 0..20 {
            let at = now + Duration::from_millis(50) * number;
            let run = RunId { call: number.into(), ..RUN };
            desk.tick(at);
            let steps = desk.take_steps();
            let is_ping = |step: &OwnerStep| {
                matches!(step, OwnerStep::Tell { what: ToHost::Ping { .. }, .. })
            };
            assert_eq!(steps.iter().any(is_ping), number == 11, "{number}: {steps:?}");
            let claim = u64::from(number) + 1;
            desk.hear(at, HOST, ToOwner::Claim { claim });
            let granted = Granted { call: CallId(1), run, left: Duration::from_secs(30) };
            desk.granted(at, HOST, claim, Some((granted, Question::plain("a"))));
            // One answer comes without a claim, so that only a ping says that it has arrived.
            let (before, claim) = (SentBefore::Nothing, (number != 1).then_some(claim));
            desk.hear(at, HOST, ToOwner::Answer { run, before, claim });
            desk.take_steps();
        }
    }

    #[test]
    fn a_claim_that_comes_twice_is_answered_once() {
        let (mut desk, now) = (OwnerDesk::new(), Instant::now());
        let asked = |desk: &mut OwnerDesk| desk.take_steps().len();
        for claim in 1..1000 {
            desk.hear(now, HOST, ToOwner::Claim { claim });
            assert_eq!(asked(&mut desk), 1);
        }
        for claim in [1, 500, 800, 999] {
            desk.hear(now, HOST, ToOwner::Claim { claim });
            assert_eq!(asked(&mut desk), 0, "{claim}");
        }
    }

    #[test]
    fn demands_are_repeated_and_only_news_are_told_at_once() {
        let (mut desk, now) = (OwnerDesk::new(), Instant::now());
        let since = now;
        desk.hunger(now, Some(Hunger { since, calls: 2 }));
        desk.hunger(now, Some(Hunger { since, calls: 2 }));
        desk.hunger(now, Some(Hunger { since, calls: 3 }));
        assert_eq!(demanded(&mut desk), [2, 1]);
        let later = now + DEMAND_EVERY;
        desk.tick(later);
        assert_eq!(demanded(&mut desk), [3]);
        desk.hunger(later, None);
        assert_eq!(desk.next_deadline(), None);
    }

    #[test]
    fn while_all_hosts_are_busy_the_calls_of_a_while_are_demanded_together() {
        let (mut desk, now) = (OwnerDesk::new(), Instant::now());
        let at = |millis| now + Duration::from_millis(millis);
        let wait = |desk: &mut OwnerDesk, now, calls| {
            desk.hunger(now, Some(Hunger { since: now, calls }));
        };
        for (millis, calls) in [(0, 1), (4, 2), (6, 3), (7, 4)] {
            wait(&mut desk, at(millis), calls);
        }
        assert_eq!(demanded(&mut desk), [1, 1], "two while a host may have a free worker");
        assert_eq!(desk.next_deadline(), Some(at(9)));
        desk.tick(at(9));
        assert_eq!(demanded(&mut desk), [2], "those that came since");
        // The next call of a worker that was busy says nothing of free ones.
        let (run, before) = (RUN, SentBefore::Nothing);
        desk.hear(at(10), HOST, ToOwner::Answer { run, before, claim: Some(1) });
        wait(&mut desk, at(10), 4);
        assert!(demanded(&mut desk).is_empty());
        desk.hear(at(11), HOST, ToOwner::Claim { claim: 2 });
        wait(&mut desk, at(11), 5);
        assert_eq!(demanded(&mut desk), [3], "a worker is free, so others may be");
    }
}
