//! Listeners, connections and their limits: knows HTTP, knows nothing of workers.
//!
//! [`listen`] binds addresses, [`accept`] takes connections within the limit, [`connection`]
//! serves each of them over HTTP/1.1, and [`Drain`] ends them all in good order. With the feature
//! `tls`, an [`Entrance`] makes them secure before, and they may speak HTTP/2.

pub mod accept;
mod arrival;
mod bodiless;
#[cfg(feature = "tls")]
mod calm;
mod conduit;
pub mod conformance;
pub mod connection;
mod date;
mod drain;
pub mod entrance;
pub mod fields;
#[cfg_attr(not(feature = "tls"), path = "no_handshake.rs")]
mod handshake;
mod head;
mod http1;
#[cfg(feature = "tls")]
mod http2;
pub mod listen;
pub mod per_address;
mod places;
pub mod proxy;
pub mod refusal;
mod request_body;
mod resting;
mod seats;
pub mod site;
mod stream;
mod waits;
mod watch;
mod watched;

use std::time::Instant;

pub use accept::Permit;
pub use arrival::{Arrival, WrittenHead};
pub use drain::Drain;
pub use entrance::Entrance;
pub use http::request::Parts as RequestHead;
pub use listen::Listener;
pub use refusal::Refusal;
pub use stream::{Accepted, Caller, Stream};

/// The time on the runtime's clock.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// How a handshake of TLS ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "tls"), expect(dead_code, reason = "there are no handshakes"))]
pub enum HandshakeEnd {
    /// The connection is secure.
    Done,
    /// Both sides have nothing in common, or one of them does not speak TLS.
    Failed,
    /// It took longer than `header_timeout`.
    Late,
    /// The caller left meanwhile.
    Left,
    /// Too many handshakes were waited for, and this one longest.
    Crowded,
}
