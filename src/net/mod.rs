//! Listeners, connections and their limits: knows HTTP, knows nothing of workers.
//!
//! [`listen`] binds addresses, [`accept`] takes connections within the limit, [`connection`]
//! serves each of them over HTTP/1.1, and [`Drain`] ends them all in good order.

pub mod accept;
pub mod conformance;
pub mod connection;
mod drain;
mod http1;
pub mod listen;
pub mod per_address;
pub mod refusal;
mod seats;
pub mod site;
mod stream;
mod watch;
mod watched;

pub use accept::Permit;
pub use drain::Drain;
pub use listen::Listener;
pub use refusal::Refusal;
pub use stream::{Accepted, Caller, Stream};
