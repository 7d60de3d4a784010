//! Commands and exit codes.

pub mod demo_worker;
