//! Calls that are taken back from a worker that has not read them.

use httpipe::testing::base::{CallId, WorkerId};

use super::model::ensure;
use super::oracle::Oracle;

impl Oracle {
    /// Takes the calls out of a worker that it has not read: all but this many.
    pub(crate) fn take_back(
        &mut self,
        worker: WorkerId,
        read: usize,
    ) -> Result<Vec<CallId>, String> {
        ensure(self.rules.takes_back, || format!("worker {worker} reads several at once"))?;
        let model = self.workers.get_mut(&worker).ok_or("a worker that is gone")?;
        let taken = model.held.split_off(read);
        if read == 0 {
            (model.idle_since, model.used, model.is_rescued) = (self.now, self.step, false);
        }
        self.emptied += 1;
        for (place, inside) in taken.iter().enumerate() {
            let ask = &mut self.asks[inside.serial];
            ask.holders.retain(|holder| *holder != worker);
            ask.may_be_read = false;
            ask.is_taken_back = true;
            ask.requeued = (self.emptied, place);
            ask.waits_until = self.now + self.queue_wait_most;
        }
        Ok(taken.iter().map(|inside| inside.id).collect())
    }
}
