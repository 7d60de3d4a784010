//! What a connection passes through before it is served: nothing, or a handshake.

use std::sync::Arc;

use super::handshake::{SecureStream, TlsDoor};
use super::{Caller, Drain, HandshakeEnd, Permit, Stream};
use crate::config::LimitSettings;
use crate::config::TlsSettings;

/// A connection that can be served.
pub enum Entered {
    /// Its bytes are those of HTTP.
    Plain(Stream),
    /// HTTP is within TLS.
    Secure(SecureStream),
}

impl From<Stream> for Entered {
    fn from(stream: Stream) -> Self {
        Self::Plain(stream)
    }
}

/// What connections of one server pass through. Clones are the same entrance.
#[derive(Clone, Debug, Default)]
pub struct Entrance {
    door: Option<Arc<TlsDoor>>,
}

impl Entrance {
    /// The entrance to a server with this certificate. Calls `count` with the end of each handshake.
    pub fn new(
        tls: Option<&TlsSettings>,
        count: impl Fn(HandshakeEnd) + Send + Sync + 'static,
    ) -> Self {
        Self { door: tls.map(|tls| Arc::new(TlsDoor::new(tls, count))) }
    }

    /// Uses this certificate from now on, if it uses one.
    pub fn renew(&self, tls: &TlsSettings) {
        if let Some(door) = &self.door {
            door.renew(tls);
        }
    }

    /// Lets a connection in. `is_guarded` is true if it came by a loopback listener. Returns `None`
    /// if it ended before it could be served.
    pub async fn enter(
        &self,
        stream: Stream,
        is_guarded: bool,
        permit: &Permit,
        limits: &LimitSettings,
        drain: &Drain,
    ) -> Option<(Entered, Caller)> {
        let caller = stream.caller(is_guarded);
        if let Some(door) = &self.door
            && matches!(stream, Stream::Tcp(_))
        {
            let secured = Box::pin(door.open(stream, permit, limits, drain)).await?;
            return Some((Entered::Secure(secured), caller));
        }
        Some((Entered::Plain(stream), caller))
    }
}
