//! One request from start to end.

pub mod parameters;
pub mod problem;
pub mod routes;
