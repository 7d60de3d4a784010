//! What stands for TLS in a build without the feature `tls`, where no configuration has a certificate.

use std::time::Instant;

use super::{Drain, HandshakeEnd, Permit, Stream};
use crate::config::{LimitSettings, TlsSettings};

/// A door that lets nobody in.
#[derive(Debug)]
pub(super) struct TlsDoor;

/// A connection that there is not.
pub enum SecureStream {}

impl SecureStream {
    /// Returns the names of nobody.
    pub(super) fn names(&self) -> Box<[Box<str>]> {
        match *self {}
    }
}

impl TlsDoor {
    pub(super) fn new(
        _tls: &TlsSettings,
        _count: impl Fn(HandshakeEnd) + Send + Sync + 'static,
    ) -> Self {
        Self
    }

    #[expect(clippy::unused_self, reason = "its twin has a certificate")]
    pub(super) fn renew(&self, _tls: &TlsSettings) {}

    #[expect(clippy::unused_async, reason = "its twin waits")]
    pub(super) async fn open(
        &self,
        _stream: Stream,
        _since: Instant,
        _permit: &Permit,
        _limits: &LimitSettings,
        _drain: &Drain,
    ) -> Option<SecureStream> {
        None
    }
}
