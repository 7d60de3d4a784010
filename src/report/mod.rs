//! What a server tells about itself: `/status.json`, and the events of `/events`.
//!
//! Pure: data only, owned, written and read as JSON. The server fills it, the page reads it as
//! JavaScript, `httpipe top` and its likes read it back into these types. Nothing in a [`Status`] is
//! secret: no environment, no questions, no answers. What a worker wrote is in it in one place, the
//! progress of jobs, and for operators only ([`Status::hide_contents`]). Fields may be added; if the
//! meaning of one changes, so does [`VERSION`].
//!
//! | where | what it is |
//! |---|---|
//! | `GET /status.json` | a [`Status`] |
//! | event `hello` of `GET /events` | a [`Status`], each pool with its `history` |
//! | event `piece` of `GET /tap` | a [`TapEvent`] |
//! | `GET /records/WORKER` | a [`WorkerRecord`] |
//! | event `tick`, each second after that | a [`Status`] without `about` and `history` |
//!
//! A reader of the stream keeps the last `hello`, takes each `tick` for all that it has, and appends
//! `sample` of each pool to the columns of its `history`. A reader that does not keep up misses
//! ticks; `sample.at` and `history.end` say which seconds are missing. When a reload may have changed
//! what only `hello` has, `hello` comes again.
//!
//! Times are in seconds, where the name does not say otherwise, and sizes in bytes. A number that is
//! not known is `null`.

mod background;
#[cfg(test)]
pub mod fixture;
mod history;
mod notices;
mod pool;
mod record;
mod seconds;
pub mod spread;
mod status;
mod tap;
mod worker;

pub use background::{
    BackgroundStatus, BatchStatus, GroupSizeStatus, GroupStatus, JobCountsStatus, PoolWorkStatus,
    RunningJobStatus,
};
pub use history::{History, SecondSample};
pub use pool::{
    About, FailureStatus, Percentiles, PoisonousStatus, PoolStatus, QueueStatus, Recent, SlowCall,
};
pub use record::{InsideCall, WorkerRecord};
pub use status::{
    AgentStatus, CacheStatus, Notice, NoticeLevel, ServerStatus, SharedCacheStatus, Status, VERSION,
};
pub use tap::{TapEvent, TapKind};
pub use worker::{ExitStatus, Head, WorkerState, WorkerStatus};
