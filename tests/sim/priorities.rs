//! Workers that step back, in the world.

use httpipe::testing::pool::actions::Action;
use httpipe::testing::pool::sight::Sight;

use super::model::{Checked, Serial, ensure};
use super::world::World;

impl World {
    /// Looks at a worker, or changes its priority. In some worlds none may rise again.
    pub(super) fn change_priority(&mut self, action: &Action<Serial>) -> Checked {
        match *action {
            Action::Sight(worker) => {
                let sight = Sight { computes: self.rng.bool(), is_full: self.rng.bool() };
                self.state.seen(worker, sight);
            }
            Action::StepBack { worker, by } => {
                let before = self.stepped_back.insert(worker, by).unwrap_or(0);
                ensure(by > before && by < 20, || {
                    format!("worker {worker} steps back from {before} to {by}")
                })?;
            }
            Action::ComeForward(worker) => {
                ensure(self.stepped_back.remove(&worker).is_some(), || {
                    format!("worker {worker} comes forward and had not stepped back")
                })?;
                if self.weather.none_rises {
                    // There may be more workers than the most from now on.
                    self.oracle.is_renewing = true;
                    // It was free until this moment.
                    self.oracle.no_free_since = None;
                    self.state.stays_back(worker);
                }
            }
            _ => {}
        }
        Ok(())
    }
}
