//! Which calls a worker held when it was lost, for its record.
//!
//! Pure: the part of [`State`] that notes them before they are failed or put back.

use std::collections::VecDeque;
use std::time::Instant;

use super::crew::Held;
use super::inside::{Inside, Insides, LostWorker};
use super::state::State;
use crate::base::WorkerId;

/// Most calls that are noted. The others are counted.
const INSIDE_MOST: usize = 16;
/// A longer question gets no fingerprint for the record alone: that would hold up the server.
const FINGERPRINT_MOST: usize = 64 << 10;

impl<P> State<P> {
    /// Notes the calls that a worker is lost with. It has read the first `read` of them.
    pub(super) fn note_inside(
        &mut self,
        now: Instant,
        worker: WorkerId,
        held: &VecDeque<Held>,
        read: usize,
    ) {
        if self.stopping || held.is_empty() {
            return;
        }
        let mut insides = Insides { more: held.len().saturating_sub(INSIDE_MOST), calls: vec![] };
        for (place, held) in held.iter().enumerate().take(INSIDE_MOST) {
            let Some(call) = self.calls.get_mut(held.id) else {
                insides.more += 1;
                continue;
            };
            let is_short = call.bytes <= FINGERPRINT_MOST;
            insides.calls.push(Inside {
                call: held.id,
                route: (self.route_of)(&call.payload),
                since: now.saturating_duration_since(held.given),
                bytes: call.bytes,
                retries: call.retries,
                abandoned: call.abandoned.is_some() || held.orphaned.is_some(),
                unread: place >= read,
                question: call.question.or_else(|| is_short.then(|| self.suspects.question(call))),
            });
        }
        self.insides.insert(worker, insides);
    }

    /// Returns what the books say of a worker that was lost; `None` if it is not in them.
    pub fn lost(&self, now: Instant, worker: WorkerId) -> Option<LostWorker> {
        let book = self.crew.get(worker)?;
        let Insides { calls, more } = self.insides.get(&worker).cloned().unwrap_or_default();
        Some(LostWorker {
            inside: calls,
            inside_more: more,
            given_up: book.given_up.len(),
            calls: book.given,
            age: now.saturating_duration_since(book.started),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::base::Tenant;
    use crate::config::{InFlight, PoolSettings};
    use crate::policy::Fingerprint;
    use crate::pool::actions::{Action, Loss, NewCall};
    use crate::pool::rules::Rules;

    #[test]
    fn the_calls_of_a_lost_worker_are_noted_up_to_a_bound() {
        let mut settings = PoolSettings::for_tests();
        settings.rules.in_flight = InFlight::Fixed(64);
        let now = Instant::now();
        let mut state =
            State::new(Rules::from(&settings), 1, |size: &usize| Fingerprint(*size as u64))
                .naming_routes_with(|size| format!("GET /{size}"));
        state.settle(now);
        let started = state.take_actions();
        let [Action::Start(worker)] = started[..] else { panic!("{started:?}") };
        state.ready(now, worker);
        for size in 0..20 {
            let bytes = if size == 1 { FINGERPRINT_MOST + 1 } else { size };
            let call = NewCall {
                payload: size,
                bytes,
                idempotent: false,
                caller_deadline: None,
                tenant: Tenant::ANONYMOUS,
                timeout: None,
            };
            state.arrive(now, call).expect("there is room");
        }
        state.settle(now);
        let later = now + Duration::from_millis(70);
        state.lose(later, worker, &Loss::Killed, 18);
        // Its process is reaped.
        state.lose(later, worker, &Loss::Killed, 0);
        let lost = state.lost(later, worker).expect("it is in the books until it is gone");
        assert_eq!((lost.inside.len(), lost.inside_more, lost.calls), (INSIDE_MOST, 4, 20));
        let questions: Vec<_> = lost.inside.iter().take(3).map(|it| it.question).collect();
        assert_eq!(questions, [Some(Fingerprint(0)), None, Some(Fingerprint(2))]);
        assert_eq!(lost.inside[3].route, "GET /3");
        assert!(lost.inside.iter().all(|it| it.since == Duration::from_millis(70)));
        let read = lost.inside.iter().filter(|it| !it.unread).count();
        assert_eq!(read, 2);
        state.gone(worker);
        assert!(state.lost(later, worker).is_none());
    }
}
