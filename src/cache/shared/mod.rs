//! Answers that several servers share: how they are written down, under which key, and who runs a
//! question that several servers are asked at once.
//!
//! Pure: `redis` asks the server where they are kept. Whatever it hears that is not an answer to the very
//! question, the call only misses.

mod breaker;
mod key;
mod search;
mod value;

use std::time::Duration;

pub use self::breaker::Breaker;
pub use self::key::{RunToken, SharedKey, SharedScope};
pub use self::search::{Search, SharedFault, SharedFound, SharedSeen, SharedStep, WhyRun};
pub use self::value::{SharedValue, VALUE_MAX, read, write};

/// How long a server may run a question without a word before another one runs it.
pub const LEASE: Duration = Duration::from_secs(2);
/// How often a server says that it still runs a question.
pub const RENEWAL: Duration = Duration::from_millis(600);
/// How often a server that waits for another one's run looks by itself.
pub const LOOK: Duration = Duration::from_millis(250);
/// How long the end of a run is told that left no answer to keep.
pub const NOTE: Duration = Duration::from_secs(1);
/// Who waits for a run learns here that it has ended.
pub const ENDED: &str = "hp1:ended";
