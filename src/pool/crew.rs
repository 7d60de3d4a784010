//! The workers of one pool: what each holds, which are free, how many count.
//!
//! Pure: data and the smallest steps on it; `state` decides. Only this module changes a worker, so
//! the list of free workers and the census always fit the workers.

mod busy;
mod census;
mod check;
mod held;
mod looks;
mod owed;
mod reserved;
mod span;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use self::busy::Busy;
pub(super) use self::census::Census;
pub(super) use self::held::{GivenUp, Held};
use self::span::Span;
use super::alarms::Alarms;
use super::line::Charge;
use super::rules::Rules;
use crate::base::{CallId, Conduct, WorkerCount, WorkerId};
use crate::policy::backoff::unit;

/// Limits that recycle a worker are drawn from their last tenth, so that workers that started
/// together do not leave together.
const JITTER: f64 = 0.1;

/// Where a worker is in its life. It moves down this list, and may skip steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Not yet ready for calls.
    Starting,
    /// Takes calls.
    Serving,
    /// Told to stop, or seen to have ended; holds no calls.
    Leaving,
}

/// Whether a worker is to be replaced. It moves down this list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stay {
    /// It stays.
    Kept,
    /// It is to be replaced: it no longer counts, and serves until enough others do.
    Due,
    /// It takes no more calls.
    Parting,
}

/// One worker. Readable by the whole core, changed by [`Crew`] only.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is known for itself")]
pub(super) struct WorkerBook {
    pub(super) id: WorkerId,
    pub(super) phase: Phase,
    pub(super) started: Instant,
    /// The calls it holds, oldest first. Calls that were answered by another worker or abandoned
    /// stay until this worker has answered them too.
    pub(super) held: VecDeque<Held>,
    /// The calls that were given up and not answered since.
    pub(super) given_up: Vec<GivenUp>,
    /// When it last answered any call.
    heard_at: Option<Instant>,
    /// It waits for a call of another server, and takes no others.
    pub(super) is_reserved: bool,
    /// It answers nobody, and only the calls that it holds keep it: it takes no more.
    pub(super) is_mute: bool,
    /// When the first of `held` became the first.
    pub(super) head_since: Instant,
    /// When it last finished a call, or began to work after being free.
    pub(super) busy_since: Instant,
    /// When it last became free.
    pub(super) idle_since: Instant,
    /// How many calls it was ever given.
    pub(super) given: u64,
    /// It is to be replaced after this many calls, ...
    calls_due: u64,
    /// ... and from this time on.
    pub(super) due_at: Option<Instant>,
    stay: Stay,
    /// It has given a good answer.
    pub(super) proven: bool,
    /// How long its head may run before it is overdue, as foreseen when a call was last given.
    pub(super) patience: Duration,
    /// Its head runs longer than foreseen: no further call is sent to it.
    pub(super) overdue: bool,
    /// When it was last looked at because of its head.
    pub(super) looked: Option<Instant>,
    /// What it was seen to do with its head.
    pub(super) conduct: Option<Conduct>,
    /// When it was last looked at because its head may compute for long.
    pub(super) sighted: Option<Instant>,
    /// How far it has stepped back; 0: it has not.
    pub(super) stepped_back: u8,
}

impl WorkerBook {
    /// Returns true if it is to be replaced.
    pub(super) fn is_due(&self) -> bool {
        self.stay != Stay::Kept
    }

    /// Returns true if it counts towards the workers that the pool wants.
    pub(super) fn counts(&self) -> bool {
        self.phase != Phase::Leaving && !self.is_due()
    }

    /// Returns true if it may be given a call when it has room.
    pub(super) fn takes_calls(&self) -> bool {
        self.phase == Phase::Serving
            && self.stay != Stay::Parting
            && !(self.is_mute | self.is_reserved)
    }

    /// Returns when it got the first of the calls that were given up and that it got after its last
    /// answer; `None` if there is none.
    pub(super) fn silent_since(&self) -> Option<Instant> {
        let since = self.heard_at;
        let given = self.given_up.iter().map(|call| call.given);
        given.filter(|given| since.is_none_or(|heard| *given >= heard)).min()
    }

    /// Another of its calls is its oldest from now on.
    fn has_new_head(&mut self, now: Instant) {
        self.head_since = now;
        self.looked = None;
        self.conduct = None;
        self.sighted = None;
    }

    /// Returns true if it serves and holds nothing.
    fn is_free(&self) -> bool {
        self.takes_calls() && self.held.is_empty()
    }
}

/// What [`Crew::give`] did.
#[derive(Clone, Copy, Debug)]
pub(super) struct Given {
    /// The worker held nothing before.
    pub(super) was_free: bool,
    /// The worker is to be replaced from now on.
    pub(super) is_newly_due: bool,
    /// When its head is overdue.
    pub(super) overdue_at: Instant,
}

/// What an answer of a worker changed in its books.
#[derive(Clone, Copy, Debug)]
pub(super) struct Released {
    /// It was the oldest call of the worker, ...
    pub(super) was_head: bool,
    /// ... and it was overdue.
    pub(super) was_overdue: bool,
    /// The worker had stepped back because of it.
    pub(super) had_stepped_back: bool,
    /// When the worker can have begun to work on it.
    pub(super) ran_since: Instant,
    /// When the worker was given it.
    pub(super) given: Instant,
    /// Since the worker had last finished another call, and for as long as it worked on this one: until
    /// now, or for its part of the time of a group.
    pub(super) busy: Span,
    /// What its tenant has paid for it; `None` for background work.
    pub(super) charge: Option<Charge>,
    /// The worker holds nothing now; whether it stays.
    pub(super) freed: Option<Stay>,
}

/// The lesser of two times, where the one before grows a little, so that a lasting change shows.
fn least_of(before: Option<Duration>, time: Duration) -> Duration {
    before.map_or(time, |before| time.min(before + before / 16))
}

/// The workers of one pool.
#[derive(Debug)]
pub(super) struct Crew {
    workers: BTreeMap<WorkerId, WorkerBook>,
    /// Workers that serve and hold nothing; the last is the one used last.
    free: Vec<WorkerId>,
    busy: Busy,
    /// Since when no worker has been free at the end of a settling. A worker that gets its next
    /// call at once was not free.
    none_free_since: Option<Instant>,
    /// The last count, until a worker changes.
    census: Option<Census>,
    count_of_all: WorkerCount,
    /// How long a start takes when little delays it.
    start_time: Option<Duration>,
    seed: u64,
}

impl Crew {
    /// No workers yet; `seed` decides the jitter of their limits.
    pub(super) fn new(seed: u64) -> Self {
        Self {
            workers: BTreeMap::new(),
            free: Vec::new(),
            busy: Busy::default(),
            none_free_since: None,
            census: None,
            count_of_all: WorkerCount::default(),
            start_time: None,
            seed,
        }
    }

    /// Numbers the workers from now on together with those of other pools.
    pub(super) fn count_with(&mut self, others: WorkerCount) {
        self.count_of_all = others;
    }

    pub(super) fn get(&self, worker: WorkerId) -> Option<&WorkerBook> {
        self.workers.get(&worker)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &WorkerBook> {
        self.workers.values()
    }

    /// The names of all workers, for loops that change them.
    pub(super) fn ids(&self) -> Vec<WorkerId> {
        self.workers.keys().copied().collect()
    }

    /// Workers that serve and hold nothing; the last is the one used last.
    pub(super) fn free(&self) -> &[WorkerId] {
        &self.free
    }

    /// The workers that hold calls.
    pub(super) fn busy(&self) -> &Busy {
        &self.busy
    }

    /// Returns true if any worker serves.
    pub(super) fn serves(&self) -> bool {
        self.workers.values().any(|book| book.phase == Phase::Serving)
    }

    /// Notes whether a worker is free, at the end of a settling.
    pub(super) fn look(&mut self, now: Instant) {
        let since = self.none_free_since.unwrap_or(now);
        self.none_free_since = self.free.is_empty().then_some(since);
    }

    /// Since when no worker has been free; `None` while one is.
    pub(super) fn none_free_since(&self) -> Option<Instant> {
        self.none_free_since
    }

    /// Adds a worker that starts.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "a number of calls, lowered by chance: near is enough"
    )]
    pub(super) fn start(&mut self, now: Instant, rules: &Rules, alarms: &mut Alarms) -> WorkerId {
        self.census = None;
        let id = self.count_of_all.next();
        let early = 1.0 - JITTER * unit(&mut self.seed);
        let calls_due = match rules.recycle_calls {
            // Rounded, not cut off: a tenth less than two calls is two.
            Some(calls) => ((calls as f64 * early).round() as u64).max(1),
            None => u64::MAX,
        };
        let due_at = rules.recycle_age.map(|age| now + age.mul_f64(early));
        if let Some(due_at) = due_at {
            alarms.at(due_at);
        }
        let book = WorkerBook {
            id,
            phase: Phase::Starting,
            started: now,
            held: VecDeque::new(),
            given_up: Vec::new(),
            heard_at: None,
            is_reserved: false,
            is_mute: false,
            head_since: now,
            busy_since: now,
            idle_since: now,
            given: 0,
            calls_due,
            due_at,
            stay: Stay::Kept,
            proven: false,
            patience: Duration::ZERO,
            overdue: false,
            looked: None,
            conduct: None,
            sighted: None,
            stepped_back: 0,
        };
        self.workers.insert(id, book);
        id
    }

    /// A worker that started can take calls. Returns whether it stays; `None` if it did not
    /// start.
    pub(super) fn ready(&mut self, now: Instant, worker: WorkerId) -> Option<Stay> {
        let book = self.workers.get_mut(&worker).filter(|book| book.phase == Phase::Starting)?;
        self.census = None;
        book.phase = Phase::Serving;
        self.start_time = Some(least_of(self.start_time, now.duration_since(book.started)));
        Some(Self::freed(&mut self.free, now, book))
    }

    /// How long a start takes when little delays it; `None` before the first.
    pub(super) fn start_time(&self) -> Option<Duration> {
        self.start_time
    }

    /// Gives a worker a call.
    pub(super) fn give(
        &mut self,
        now: Instant,
        worker: WorkerId,
        call: Held,
        patience: Duration,
        rules: &Rules,
    ) -> Option<Given> {
        let book = self.workers.get_mut(&worker)?;
        let was_free = book.held.is_empty();
        if was_free {
            book.has_new_head(now);
            book.busy_since = now;
            Self::leave_free(&mut self.free, worker);
            self.busy.add(now, worker, rules.processors);
        }
        book.held.push_back(call);
        book.given += 1;
        book.patience = patience;
        let mut is_newly_due = false;
        if book.given >= book.calls_due {
            is_newly_due = !book.is_due();
            // With `calls = 1` a process serves one call even if the next one must wait for it.
            let at_once = rules.recycle_calls == Some(1);
            book.stay = book.stay.max(if at_once { Stay::Parting } else { Stay::Due });
        }
        if is_newly_due {
            self.census = None;
        }
        Some(Given { was_free, is_newly_due, overdue_at: book.head_since + patience })
    }

    /// A call leaves a worker; `None` if the worker does not hold it. A good answer shows that
    /// the worker works. `shares`: all calls that it holds were one question, and each took an equal
    /// part of its time.
    pub(super) fn release(
        &mut self,
        now: Instant,
        worker: WorkerId,
        id: CallId,
        good: bool,
        shares: bool,
    ) -> Option<Released> {
        let book = self.workers.get_mut(&worker)?;
        let place = book.held.iter().position(|held| held.id == id)?;
        let was_head = place == 0;
        let held = if was_head { book.held.pop_front() } else { book.held.remove(place) }?;
        let is_last = book.held.is_empty();
        let until = match u32::try_from(book.held.len()) {
            Ok(others @ 1..) if shares => {
                book.busy_since + now.saturating_duration_since(book.busy_since) / (others + 1)
            }
            _ => now,
        };
        let released = Released {
            was_head,
            was_overdue: was_head && book.overdue,
            had_stepped_back: was_head && std::mem::take(&mut book.stepped_back) > 0,
            ran_since: if was_head { book.head_since } else { held.given },
            given: held.given,
            busy: Span::new(std::mem::replace(&mut book.busy_since, until), until),
            charge: held.charge,
            freed: None,
        };
        // The clock of a group is that of its last call.
        if was_head && (is_last || !shares) {
            book.has_new_head(now);
            book.overdue = false;
        }
        book.proven |= good;
        let freed = book.held.is_empty().then(|| Self::freed(&mut self.free, now, book));
        if freed.is_some() {
            self.busy.remove(worker);
        }
        Some(Released { freed, ..released })
    }

    /// A worker holds nothing now, and is free if it takes more calls.
    fn freed(free: &mut Vec<WorkerId>, now: Instant, book: &mut WorkerBook) -> Stay {
        book.idle_since = now;
        if book.is_free() {
            free.push(book.id);
        }
        book.stay
    }

    fn leave_free(free: &mut Vec<WorkerId>, worker: WorkerId) {
        if free.last() == Some(&worker) {
            free.pop();
        } else {
            free.retain(|other| *other != worker);
        }
    }

    /// The head of a worker runs longer than foreseen.
    pub(super) fn runs_over(&mut self, worker: WorkerId) {
        if let Some(book) = self.workers.get_mut(&worker) {
            book.overdue = true;
        }
    }

    /// Makes a worker leave as soon as it holds nothing.
    pub(super) fn part_with(&mut self, id: WorkerId) {
        if let Some(book) = self.workers.get_mut(&id) {
            book.stay = Stay::Parting;
            self.census = None;
        }
    }

    /// A worker is to be replaced.
    pub(super) fn make_due(&mut self, worker: WorkerId) {
        if let Some(book) = self.workers.get_mut(&worker) {
            book.stay = book.stay.max(Stay::Due);
            self.census = None;
        }
    }

    /// Workers that are to be replaced take no more calls. Returns those that hold nothing.
    pub(super) fn part_with_due(&mut self) -> Vec<WorkerId> {
        let serving = self.workers.values_mut().filter(|book| book.phase == Phase::Serving);
        let mut idle = Vec::new();
        for book in serving.filter(|book| book.is_due()) {
            book.stay = Stay::Parting;
            if book.held.is_empty() {
                idle.push(book.id);
            }
        }
        idle
    }

    /// A worker leaves. Returns what it held; `None` if it is not in the crew.
    pub(super) fn empty(&mut self, worker: WorkerId) -> Option<VecDeque<Held>> {
        let book = self.workers.get_mut(&worker)?;
        self.census = None;
        book.phase = Phase::Leaving;
        Self::leave_free(&mut self.free, worker);
        self.busy.remove(worker);
        Some(std::mem::take(&mut book.held))
    }

    /// A worker is told to leave. Returns true if it was not leaving already.
    pub(super) fn leave(&mut self, worker: WorkerId) -> bool {
        let Some(book) = self.workers.get_mut(&worker) else { return false };
        if book.phase == Phase::Leaving {
            return false;
        }
        self.census = None;
        book.phase = Phase::Leaving;
        Self::leave_free(&mut self.free, worker);
        true
    }

    /// The process of a worker that left is gone.
    pub(super) fn remove(&mut self, worker: WorkerId) {
        self.census = None;
        self.workers.remove(&worker);
    }
}
