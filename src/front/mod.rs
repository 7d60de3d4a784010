//! One request from start to end.

pub mod problem;
pub mod routes;
