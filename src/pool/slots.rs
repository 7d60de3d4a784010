//! How many calls the workers of a pool can have at once, for those who spread calls over several
//! servers.
//!
//! Pure: the part of [`State`] that counts places.

use super::crew::{Phase, WorkerBook};
use super::state::State;
use crate::config::InFlight;

impl<P> State<P> {
    /// Returns how many calls of waiting callers can be in workers at once: those that are there, and
    /// those for which a worker has room, or would be started now. A worker of the least that does not
    /// serve yet has no room, and neither has one for a call that runs on although its caller has
    /// left. Background work takes no place away: callers go before it.
    pub fn slots(&self) -> usize {
        // What the operator lets a worker hold, also where it works on one call at a time: the next
        // one is there when it has answered.
        let each = match (self.rules.group, self.rules.in_flight) {
            (Some(group), _) => group.most,
            (None, InFlight::Fixed(calls)) => calls as usize,
            (None, InFlight::Auto) => 1,
        };
        let serving = self.crew.iter().filter(|book| book.phase == Phase::Serving);
        let there: usize = serving.map(|book| self.slots_of(book, each)).sum();
        let counted = self.crew.iter().filter(|book| book.counts()).count();
        let startable = if self.backoff.is_failing() || self.stopping {
            0
        } else {
            self.rules.most.saturating_sub(counted.max(self.rules.least))
        };
        let most = self.rules.most.saturating_mul(each);
        let here = there.saturating_add(startable.saturating_mul(each)).min(most);
        here.saturating_add(self.slots_away())
    }

    fn slots_of(&self, book: &WorkerBook, each: usize) -> usize {
        let awaited = book.held.iter().filter(|held| self.is_awaited(held.id)).count();
        if book.takes_calls() || book.is_reserved {
            let lost = book.held.len() - awaited + book.given_up.len();
            each.saturating_sub(lost)
        } else {
            awaited.min(each)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use crate::base::{CallId, Tenant, WorkerId};
    use crate::config::{InFlight, PoolSettings};
    use crate::policy::Fingerprint;
    use crate::pool::actions::{Action, Loss, NewCall};
    use crate::pool::rules::Rules;
    use crate::pool::state::State;

    /// A pool whose first workers are not ready yet.
    fn pool(least: usize, most: usize, in_flight: InFlight) -> (State<()>, Vec<WorkerId>, Instant) {
        let mut settings = PoolSettings::for_tests();
        settings.rules.workers_least = least;
        settings.rules.workers_most = most;
        settings.rules.in_flight = in_flight;
        let now = Instant::now();
        let mut state = State::new(Rules::from(&settings), 1, |(): &()| Fingerprint(1));
        state.settle(now);
        let workers = started(&mut state);
        (state, workers, now)
    }

    fn started(state: &mut State<()>) -> Vec<WorkerId> {
        let actions = state.take_actions().into_iter();
        let start = |action| if let Action::Start(worker) = action { Some(worker) } else { None };
        actions.filter_map(start).collect()
    }

    fn new_call() -> NewCall<()> {
        NewCall {
            payload: (),
            bytes: 1,
            idempotent: false,
            caller_deadline: None,
            tenant: Tenant::ANONYMOUS,
            timeout: None,
        }
    }

    fn call(state: &mut State<()>, now: Instant) -> CallId {
        let id = state.arrive(now, new_call()).expect("there is room");
        state.settle(now);
        id
    }

    #[test]
    fn workers_that_do_not_serve_yet_have_no_room() {
        for (in_flight, each) in [(InFlight::Fixed(1), 1), (InFlight::Fixed(3), 3)] {
            let (mut state, workers, now) = pool(2, 2, in_flight);
            assert_eq!(state.slots(), 0);
            state.ready(now, workers[0]);
            assert_eq!(state.slots(), each);
            state.ready(now, workers[1]);
            assert_eq!(state.slots(), 2 * each);
            call(&mut state, now);
            assert_eq!(state.slots(), 2 * each, "a busy worker is one of them");
        }
        let (mut state, workers, now) = pool(1, 1, InFlight::Auto);
        state.ready(now, workers[0]);
        assert_eq!(state.slots(), 1);
    }

    #[test]
    fn workers_that_would_be_started_count_unless_starts_fail() {
        let (mut state, workers, now) = pool(1, 4, InFlight::Fixed(1));
        assert_eq!(state.slots(), 3, "the least are not there");
        state.ready(now, workers[0]);
        assert_eq!(state.slots(), 4);
        let later = now + Duration::from_millis(20);
        call(&mut state, now);
        call(&mut state, now);
        state.settle(later);
        let second = started(&mut state);
        assert_eq!((second.len(), state.slots()), (1, 3), "it has been started and does not serve");
        let failed = Loss::StartFailed { why: "it ended".into() };
        state.lose(later, second[0], &failed, 0);
        state.settle(later);
        assert_eq!(state.slots(), 1);
    }

    #[test]
    fn a_call_that_runs_on_without_its_caller_has_taken_a_place() {
        let (mut state, workers, now) = pool(1, 1, InFlight::Fixed(1));
        state.ready(now, workers[0]);
        let id = call(&mut state, now);
        assert_eq!(state.slots(), 1);
        state.caller_left(now, id);
        assert_eq!(state.slots(), 0);
        state.answered(now, workers[0], id, true);
        assert_eq!(state.slots(), 1);
    }

    #[test]
    fn background_work_takes_no_place_away() {
        let (mut state, workers, now) = pool(2, 2, InFlight::Fixed(1));
        for worker in workers {
            state.ready(now, worker);
        }
        state.settle(now);
        assert!(state.begin(now, new_call(), 0).is_ok());
        state.settle(now);
        assert!(state.runs_background());
        assert_eq!(state.slots(), 2);
    }

    #[test]
    fn while_workers_are_replaced_there_are_no_more_than_the_most() {
        let (mut state, workers, now) = pool(1, 1, InFlight::Fixed(1));
        state.ready(now, workers[0]);
        call(&mut state, now);
        state.renew_all();
        state.settle(now);
        assert_eq!(state.slots(), 1);
        let fresh = started(&mut state);
        state.ready(now, fresh[0]);
        assert_eq!(state.slots(), 1, "the old one holds a call, and the new one is free");
    }
}
