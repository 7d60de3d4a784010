//! What a worker's process finds when it starts and what it leaves when it ends. Real processes,
//! with the real binary as shim and guard.

#![expect(clippy::disallowed_methods, reason = "tests start other processes too")]

mod birth;
mod death;
mod forks;
mod gate;
mod leaving;
mod look;
mod python;
mod stderr;
mod support;
