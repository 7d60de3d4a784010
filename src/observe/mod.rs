//! What operators see: metrics and the log.

pub mod log;
pub mod metrics;
pub mod rings;
pub mod tap;
