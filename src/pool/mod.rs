//! Which worker gets a call, and how many workers there are.
//!
//! `state` decides and is pure; `driver` carries out what it decides.

pub mod actions;
pub mod books;
pub mod rules;
pub mod state;

pub mod check;
mod deadlines;
mod estimate;
mod queue;
mod scale;
