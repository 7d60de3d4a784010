//! How workers of the simulated shell end: lost, replaced, or killed by an operator.

use httpipe::testing::base::WorkerId;
use httpipe::testing::pool::actions::Loss;

use super::model::{Blame, Checked, Stage};
use super::weather::spread;
use super::world::{Event, World};

impl World {
    /// The shell finds a grown worker, or an operator replaces or kills some.
    pub(super) fn recycle(&mut self) {
        self.oracle.is_renewing = true;
        self.oracle.may_recycle = true;
        let workers: Vec<WorkerId> = self.oracle.workers.keys().copied().collect();
        let Some(worker) = self.rng.choice(workers) else { return };
        match self.rng.u8(..5) {
            0 => {
                self.trace(|| "renew all".to_owned());
                self.state.renew_all();
            }
            1 => {
                self.trace(|| format!("renew {worker}"));
                self.state.renew(worker);
            }
            2 | 3 => {
                self.trace(|| format!("kill {worker}"));
                self.state.kill(worker);
            }
            _ => self.state.recycle(worker),
        }
    }

    /// An operator kills a worker: it dies a moment later, and gets no call until then.
    pub(super) fn kill(&mut self, worker: WorkerId) {
        self.doomed.insert(worker);
        let delay = spread(&mut self.rng, (1, 3_000_000));
        match self.oracle.workers.get_mut(&worker) {
            Some(model) if model.held.is_empty() && model.stage != Stage::Leaving => {
                model.stage = Stage::Leaving;
                self.reap(worker);
            }
            _ => self.after(delay, Event::Killed(worker)),
        }
    }

    #[expect(clippy::unnecessary_wraps, reason = "one shape for all that can happen")]
    pub(super) fn lose(
        &mut self,
        worker: WorkerId,
        loss: &Loss,
        unwritten: usize,
        may: impl Fn(Stage) -> bool,
    ) -> Checked {
        if !self.oracle.workers.get(&worker).is_some_and(|model| may(model.stage)) {
            return Ok(());
        }
        let (doubtful, suspects) = match loss {
            Loss::BadAnswer { calls, .. } => (*calls, 0),
            Loss::Ended(_) | Loss::Killed => (0, 1),
            Loss::UnaskedOutput | Loss::StartFailed { .. } => (0, 0),
        };
        self.trace(|| format!("lost {worker}: {loss:?}, {unwritten} unwritten"));
        let blame = |place| if place < doubtful { Blame::Doubt } else { Blame::Lost };
        let holds = self.oracle.workers.get(&worker).map_or(0, |model| model.held.len());
        let owes = self.oracle.workers.get(&worker).map_or(0, |model| model.given_up.len());
        let is_alone = self.oracle.rules.in_order || holds.saturating_sub(unwritten) == 1;
        let is_alone = is_alone && owes == 0;
        let is_killed = matches!(loss, Loss::Killed);
        let is_certain = is_alone && (suspects == 1 || doubtful == 1) && !is_killed;
        let (deaths, pause) = (self.oracle.unproven_deaths, self.oracle.pause.clone());
        self.oracle.empty(worker, unwritten, blame, suspects, is_certain);
        if is_killed {
            // That tells nothing about the program.
            (self.oracle.unproven_deaths, self.oracle.pause) = (deaths, pause);
        }
        self.state.lose(self.oracle.now, worker, loss, unwritten);
        self.reap(worker);
        Ok(())
    }

    pub(super) fn reap(&mut self, worker: WorkerId) {
        let delay = spread(&mut self.rng, (1, 3_000_000));
        self.after(delay, Event::Gone(worker));
    }
}
