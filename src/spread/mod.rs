//! Pools over several hosts, through NATS.
//!
//! A call stays with the front end that its caller asked, its *owner*. Where no worker of its own is
//! free, a *host* with a free worker claims the call and answers it.

pub mod few;
pub mod message;
pub mod node;
pub mod subject;
