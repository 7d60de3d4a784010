//! Looks whether workers compute, and changes their priority as the books decide.

use super::Pool;
use super::sight::Sight;
use crate::base::WorkerId;
use crate::worker::priority;

impl Pool {
    /// Looks at a worker and at the processors. Returns true if the books may have changed.
    pub(super) fn sight(&self, worker: WorkerId) -> bool {
        let Some(id) = self.links.get(worker).and_then(|link| link.process()) else { return false };
        let is_full = self.are_processors_full();
        // The cheaper look first: most of the time there is room.
        let sight = Sight { is_full, computes: is_full && priority::computes(id) };
        self.state.borrow_mut().seen(worker, sight);
        is_full
    }

    /// Returns true if as many threads compute as the server has processors. Where it has only a part of
    /// the machine (a quota, or some of the processors), others that compute say nothing of that part,
    /// and those of its own workers are counted.
    fn are_processors_full(&self) -> bool {
        let processors = self.settings().rules.processors;
        if priority::of_machine().is_none_or(|all| all <= processors) {
            return priority::computing().is_some_and(|computing| computing >= processors);
        }
        let busy = self.state.borrow().busy_workers();
        let ids = busy.into_iter().filter_map(|worker| self.links.get(worker)?.process());
        ids.filter(|id| priority::computes(*id)).take(processors).count() == processors
    }

    pub(super) fn step_back(&self, worker: WorkerId, by: u8) {
        if let Some(id) = self.links.get(worker).and_then(|link| link.process()) {
            // One that has just ended, or is not ours to slow down, stays as it is.
            if priority::step_back(id, by).is_err() {
                self.state.borrow_mut().stays_in_front(worker);
            }
        }
    }

    /// Raises a worker again. Returns true if that is not permitted, and the books have changed.
    pub(super) fn come_forward(&self, worker: WorkerId) -> bool {
        let Some(id) = self.links.get(worker).and_then(|link| link.process()) else { return false };
        // One that has just ended says nothing of what is permitted.
        let refused = priority::step_back(id, 0)
            .is_err_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied);
        if refused {
            self.state.borrow_mut().stays_back(worker);
        }
        refused
    }
}
