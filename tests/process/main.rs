//! What a worker's process finds when it starts and leaves when it ends, with real processes
//! and the real binary for shim and guard.

#![expect(clippy::disallowed_methods, reason = "tests start other processes too")]

mod birth;
mod death;
mod leaving;
mod stderr;
mod support;
