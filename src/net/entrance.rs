//! What a connection passes through before it is served: nothing, the word of a proxy, a handshake.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::handshake::{SecureStream, TlsDoor};
use super::proxy::{ProxyStart, START};
use super::{Caller, Drain, HandshakeEnd, Permit, Stream, now};
use crate::config::{LimitSettings, TlsSettings, Trust};

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
    proxies: Option<Arc<Proxies>>,
}

/// The proxies that must say for whom they connect.
#[derive(Debug)]
struct Proxies {
    trusted: RwLock<Trust>,
    /// The log has said that one did not.
    is_told: AtomicBool,
}

impl Entrance {
    /// The entrance to a server with this certificate. Calls `count` with the end of each handshake.
    pub fn new(
        tls: Option<&TlsSettings>,
        count: impl Fn(HandshakeEnd) + Send + Sync + 'static,
    ) -> Self {
        Self { door: tls.map(|tls| Arc::new(TlsDoor::new(tls, count))), proxies: None }
    }

    /// Demands a header of the PROXY protocol from these proxies, and reads none of others.
    #[must_use]
    pub fn through_proxies(self, trusted: &Trust) -> Self {
        let trusted = RwLock::new(trusted.clone());
        let proxies = Arc::new(Proxies { trusted, is_told: AtomicBool::new(false) });
        Self { proxies: Some(proxies), ..self }
    }

    /// Returns true if connections become secure.
    pub fn is_secure(&self) -> bool {
        self.door.is_some()
    }

    /// Uses this certificate from now on, if it uses one.
    pub fn renew(&self, tls: &TlsSettings) {
        if let Some(door) = &self.door {
            door.renew(tls);
        }
    }

    /// Trusts these proxies from now on, if it demands their word.
    pub fn trust(&self, trusted: &Trust) {
        if let Some(proxies) = &self.proxies {
            *proxies.trusted.write().unwrap_or_else(PoisonError::into_inner) = trusted.clone();
        }
    }

    /// Lets a connection in. `is_guarded` is true if it came by a loopback listener. Returns `None`
    /// if it ended before it could be served.
    pub async fn enter(
        &self,
        mut stream: Stream,
        is_guarded: bool,
        permit: &Permit,
        limits: &LimitSettings,
        drain: &Drain,
    ) -> Option<(Entered, Caller)> {
        let mut caller = stream.caller(is_guarded);
        let since = now();
        if let Some(proxies) = &self.proxies
            && proxies.has(&caller)
        {
            let seat = permit.seat();
            let told = tokio::select! {
                biased;
                told = proxies.hear(&mut stream, &mut caller) => told,
                () = tokio::time::sleep_until((since + limits.header_timeout).into()) => {
                    Err(io::Error::other("its header did not come in time"))
                }
                () = seat.wanted() => return None,
                () = drain.closing() => return None,
            };
            if let Err(error) = told {
                proxies.complain(&caller, &error);
                return None;
            }
        }
        if let Some(door) = &self.door
            && matches!(stream, Stream::Tcp(_))
        {
            let secured = Box::pin(door.open(stream, since, permit, limits, drain)).await?;
            let caller = Caller { names: secured.names(), ..caller };
            return Some((Entered::Secure(secured), caller));
        }
        Some((Entered::Plain(stream), caller))
    }
}

impl Proxies {
    fn has(&self, caller: &Caller) -> bool {
        let trusted = self.trusted.read().unwrap_or_else(PoisonError::into_inner);
        trusted.has(caller.address.map(|address| address.to_canonical()))
    }

    /// Reads for whom a proxy connects.
    async fn hear(&self, stream: &mut Stream, caller: &mut Caller) -> io::Result<()> {
        let source = match stream {
            Stream::Tcp(stream) => header(stream).await?,
            Stream::Unix(stream) => header(stream).await?,
        };
        if let Some(source) = source {
            caller.peer = source.to_string().into();
            caller.address = Some(source.ip());
        }
        Ok(())
    }

    /// Logs once that a proxy does not say for whom it connects: it does so at each connection.
    fn complain(&self, caller: &Caller, error: &io::Error) {
        let peer = &caller.peer;
        if self.is_told.swap(true, Ordering::Relaxed) {
            tracing::debug!(%peer, why = %error, "a connection of a proxy was closed");
            return;
        }
        tracing::warn!(
            %peer,
            why = %error,
            hint = "let it send the header (HAProxy: `send-proxy-v2`), or take it out of `trust`; \
                    the next ones are logged at the level debug",
            "a connection of a proxy was closed"
        );
    }
}

async fn header(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<std::net::SocketAddr>> {
    let mut start = [0; START];
    stream.read_exact(&mut start).await?;
    let start = ProxyStart::read(&start).map_err(io::Error::other)?;
    let mut rest = vec![0; start.rest];
    stream.read_exact(&mut rest).await?;
    start.source(&rest).map_err(io::Error::other)
}
