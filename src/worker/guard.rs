//! The process that ends the groups when the server has gone.

/// The server's line to its guard process.
#[derive(Clone, Debug)]
pub struct Guard {}
