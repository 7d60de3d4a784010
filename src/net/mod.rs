//! Listeners, connections and their limits: knows HTTP, knows nothing of workers.
//!
//! [`listen`] binds addresses, [`accept`] turns them into connections within the limit,
//! [`connection`] serves one of them, and [`Drain`] ends them all in good order.

pub mod accept;
pub mod conformance;
pub mod connection;
mod drain;
pub mod listen;
mod stream;
mod watch;

pub use accept::{Slot, Slots};
pub use drain::Drain;
pub use listen::Listener;
pub use stream::{Accepted, Stream};
