//! Rules that guard a pool against its own workers, questions and callers.
//!
//! Pure: time comes in as an argument, chance as a seed.

pub mod backoff;
pub mod overload;
pub mod poison;

pub use backoff::Backoff;
pub use overload::Overload;
pub use poison::{Fingerprint, Poison};
