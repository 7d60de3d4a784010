//! What the server needs of what runs its jobs.

use std::fmt::Debug;
use std::rc::Rc;
use std::sync::Arc;

use crate::config::Config;
use crate::pool::Pool;
use crate::report::RunningJobStatus;

/// What runs jobs.
pub(super) trait JobRunner: Debug {
    /// Lets a pool have the jobs that wait for it, if any can.
    fn feed(&self, pool: &Rc<Pool>, config: &Config);

    /// Lets the limits of this configuration hold, and says which jobs wait for what it does not have.
    fn adopt(&self, config: &Arc<Config>);

    /// Ends what waits for jobs, and begins no more of them.
    fn drain(&self);

    /// Returns the jobs that run, the one first that has run longest.
    fn running(&self) -> Vec<RunningJobStatus>;
}
