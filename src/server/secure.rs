//! What connections pass through, made of a configuration.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::config::{Config, TlsSettings};
use crate::net::{Entrance, HandshakeEnd};
use crate::observe::metrics::{Handshake, Metrics};

/// Returns what the connections of this configuration pass through.
pub(super) fn entrance(config: &Config, metrics: &Arc<Metrics>) -> Entrance {
    let counts = Arc::clone(metrics);
    let entrance = Entrance::new(config.tls.as_ref(), move |end| {
        counts.handshake(match end {
            HandshakeEnd::Done => Handshake::Done,
            HandshakeEnd::Failed => Handshake::Failed,
            HandshakeEnd::Late => Handshake::Late,
            HandshakeEnd::Left => Handshake::Left,
            HandshakeEnd::Crowded => Handshake::Crowded,
        });
    });
    if config.proxy_protocol {
        return entrance.through_proxies(&config.callers.trust);
    }
    entrance
}

/// Returns how long a certificate is good from now on.
pub(super) fn left(tls: &TlsSettings) -> Duration {
    tls.identity.ends().duration_since(SystemTime::now()).unwrap_or_default()
}
