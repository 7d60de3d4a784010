//! Rules that protect a pool from bad workers, bad questions and too many callers.
//!
//! Pure: time comes in as an argument, chance as a seed.

pub mod backoff;
pub mod overload;
pub mod poison;

pub use backoff::Backoff;
pub use overload::Overload;
pub use poison::{Fingerprint, Poison};
