//! The doctor: what a program does that does not answer, and what to change.
//!
//! `httpipe check` asks it about a worker that it tries; a running server asks it about a worker whose
//! oldest call runs long. `signs`, `remedy` and
//! `advice` are pure; `activity` and `visit` read `/proc`.

mod activity;
mod advice;
pub mod remedy;
mod signs;
mod stdbuf;
mod visit;

pub use activity::Activity;
pub use advice::advice;
pub use signs::Signs;
pub use stdbuf::stdbuf_of;
pub use visit::{Pipework, Visit, visit};
