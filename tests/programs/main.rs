//! Programs that were not written for httpipe, each served by its file in `examples/` as
//! `docs/programs/` tells, and asked. `tests/programs/install.sh` installs them; a missing one is
//! skipped aloud, except where `CI=true`.

#![allow(clippy::float_cmp, reason = "metrics are read as numbers, and these are whole")]

mod calculators;
mod cookbook;
mod documents;
mod fenced;
mod filters;
mod helpers;
mod json_rpc;
mod language;
mod lengths;
mod openapi;
mod poison;
mod python;
mod scripts;
mod seed;
mod serve;
#[path = "../it/support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "shared with other tests, which use the rest of it")]
mod support;
mod whole_input;
