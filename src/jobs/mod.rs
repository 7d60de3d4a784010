//! Calls that outlive their requests: accepted once, kept in a file, run when there is room.
//!
//! One thread owns the file, which is a database of SQLite. What it promises is on the disk before
//! it is said: an accepted job is never lost, and one that may not run twice is not begun twice.

mod board;
mod clock;
mod copying;
mod desk;
mod disk;
mod job;
mod keeper;
mod order;
mod request;
mod rows;
mod schema;
mod store;
mod tally;
mod turns;
mod upkeep;

#[cfg(test)]
pub use board::Closing;
pub use board::{JobBoard, JobWatch};
pub use clock::wall_now;
pub use desk::{JobDesk, JobThread, Recovered, open};
#[cfg(test)]
pub use fixture::{forgetful_desk, waiting_job};
pub use job::{ClaimedJob, Job, JobEnd, JobId, JobState, NewJob, RepeatKey, WallTime};
pub use order::NextJob;
pub use request::{KeeperSettings, StoreFailed};
pub use schema::{NotOpened, examine};
pub use store::{Acceptance, JobFilter, JobRefusal, JobRemoval, KeptJob, StoreLimits, WaitingJobs};
pub use tally::JobCounts;
#[cfg(test)]
pub use tests::with_begun_job;

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod tests;
