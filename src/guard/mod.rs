//! Rules that guard a pool against its own workers.
//!
//! Pure: time comes in as an argument, chance as a seed.

pub mod backoff;

pub use backoff::Backoff;
