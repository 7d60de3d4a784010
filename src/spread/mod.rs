//! Pools over several hosts, through NATS.
//!
//! A call stays with the front end that its caller asked, its *owner*. Where no worker of its own is
//! free, a *host* with a free worker claims the call and answers it.

#[cfg(feature = "nats")]
pub mod cluster;
#[cfg(feature = "nats")]
mod desk;
#[cfg(feature = "nats")]
mod dial;
pub mod few;
pub mod host;
pub mod hosts;
mod kept;
#[cfg(feature = "nats")]
mod link;
pub mod message;
pub mod nats;
pub mod node;
pub mod owner;
pub mod said;
mod steps;
pub mod subject;
pub mod told;
pub mod transfer;
#[cfg(feature = "nats")]
pub mod trial;
