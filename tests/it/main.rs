//! Black-box tests: the real binary, real sockets, real workers, one behaviour a file.

#![allow(clippy::float_cmp, reason = "metrics are read as numbers, and these are whole")]

mod abandoned;
mod access_log;
mod admin;
mod backoff;
mod bad_starts;
mod cache;
mod clock;
mod crash;
mod deadlines;
mod drain;
mod faults;
mod first_request;
mod flood;
mod hostile_callers;
mod hostile_questions;
mod hostile_requests;
mod hygiene;
mod json_rpc;
mod kill;
mod late;
mod lengths;
mod life_cycle;
mod many_connections;
mod mapping;
mod one_liner;
mod orphans;
mod overload;
mod poisonous;
mod program_errors;
mod queue;
mod readiness;
mod recycle;
mod reload;
mod retry;
mod scaling;
mod soak;
mod startup;
mod stderr;
mod streaming;
mod stress;
mod support;
mod system;
mod two_pools;
mod unasked;
