//! TLS on a connection: the handshake within its limits, and the bytes after it.

use std::cell::RefCell;
use std::fmt;
use std::future::poll_fn;
use std::io::{self, IoSlice, Write as _};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll};
use std::time::Instant;

use rustls::crypto::aws_lc_rs::{Ticketer, default_provider};
use rustls::server::{NoServerSessionStorage, ProducesTickets, ServerConfig, WebPkiClientVerifier};
use rustls::sign::SingleCertAndKey;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use webpki::EndEntityCert;

use super::conduit::{Conduit, PlainConduit};
use super::places::PlaceLimit;
use super::stream::{Reader, Writer};
use super::waits::{linger, makes_room, overdue};
use super::watch::{Patience, Watch};
use super::{Drain, HandshakeEnd, Permit, Stream};
use crate::config::{LimitSettings, TlsSettings};

/// How many handshakes may be under way at once. Above it, the one that waits longest for its caller
/// ends for a new one.
const HANDSHAKES_MOST: usize = 512;

/// What HTTP/2 is called in a handshake.
const HTTP2: &[u8] = b"h2";

/// Where connections become secure.
pub(super) struct TlsDoor {
    /// Each connection keeps the one with which it began.
    config: RwLock<Arc<ServerConfig>>,
    /// Makes tickets by which a caller comes back without a whole handshake. It outlives renewals.
    ticketer: Option<Arc<dyn ProducesTickets>>,
    places: PlaceLimit,
    count: Box<dyn Fn(HandshakeEnd) + Send + Sync>,
}

impl fmt::Debug for TlsDoor {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_struct("TlsDoor").finish_non_exhaustive()
    }
}

/// A connection after its handshake.
pub struct SecureStream {
    pub(super) conduit: SecureConduit,
    /// It has watched the connection since it was accepted.
    pub(super) watch: Rc<Watch>,
    /// Both sides speak HTTP/2.
    pub(super) is_http2: bool,
}

impl SecureStream {
    /// Returns the DNS names of the certificate that the caller has shown, in lower case. One that
    /// was signed for none, or that stands for many (`*.example`), has none.
    pub(super) fn names(&self) -> Box<[Box<str>]> {
        let stream = self.conduit.stream.borrow();
        // Only one that was found good is there.
        let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let Some(Ok(shown)) = shown.map(EndEntityCert::try_from) else { return Box::default() };
        let names = shown.valid_dns_names().filter(|name| !name.contains('*'));
        names.map(|name| name.to_ascii_lowercase().into()).collect()
    }
}

impl TlsDoor {
    pub(super) fn new(
        tls: &TlsSettings,
        count: impl Fn(HandshakeEnd) + Send + Sync + 'static,
    ) -> Self {
        // Without it, callers make a whole handshake each time.
        let ticketer = Ticketer::new()
            .map_err(|error| tracing::warn!(%error, "sessions of TLS cannot be resumed"))
            .ok();
        let config = RwLock::new(Arc::new(config(tls, ticketer.as_ref())));
        let places = PlaceLimit::new(HANDSHAKES_MOST);
        Self { config, ticketer, places, count: Box::new(count) }
    }

    /// Uses this certificate from now on.
    pub(super) fn renew(&self, tls: &TlsSettings) {
        let new = Arc::new(config(tls, self.ticketer.as_ref()));
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = new;
    }

    /// Makes a connection secure that was accepted at `since`; `None`: it has ended.
    pub(super) async fn open(
        &self,
        stream: Stream,
        since: Instant,
        permit: &Permit,
        limits: &LimitSettings,
        drain: &Drain,
    ) -> Option<SecureStream> {
        let watch = Rc::new(Watch::new(since, permit.seat()));
        let (reader, writer) = stream.split();
        let wire = Wire {
            reader: Rc::clone(&reader),
            writer: Rc::clone(&writer),
            watch: Rc::clone(&watch),
        };
        let outcome = {
            let seat = permit.seat();
            let late = overdue(&watch, Patience::of(limits));
            let makes_room = makes_room(&seat, &watch);
            tokio::select! {
                biased;
                done = self.shake_hands(wire) => done,
                () = writer.peer_left() => Err(Unsecured::End(HandshakeEnd::Left)),
                _ = late => Err(Unsecured::End(HandshakeEnd::Late)),
                () = makes_room => Err(Unsecured::End(HandshakeEnd::Crowded)),
                () = drain.closing() => Err(Unsecured::End(HandshakeEnd::Left)),
            }
        };
        match outcome {
            Ok(stream) => {
                (self.count)(HandshakeEnd::Done);
                let is_http2 = stream.get_ref().1.alpn_protocol() == Some(HTTP2);
                let stream = Rc::new(RefCell::new(stream));
                Some(SecureStream {
                    conduit: SecureConduit { stream, reader, writer },
                    watch,
                    is_http2,
                })
            }
            Err(Unsecured::End(end)) => {
                (self.count)(end);
                None
            }
            Err(Unsecured::IsPlain) => {
                (self.count)(HandshakeEnd::Failed);
                let conduit = PlainConduit::of(reader, writer);
                conduit.say_last(ASK_FOR_HTTPS);
                linger(conduit).await;
                None
            }
        }
    }

    /// Makes the handshake, once there is a place for it.
    async fn shake_hands(&self, wire: Wire) -> Result<TlsStream<Wire>, Unsecured> {
        let place = self.places.take().await;
        let config = Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner));
        let seat = &place.seat;
        let shake = async {
            if wire.begins_with_a_method().await {
                return Err(Unsecured::IsPlain);
            }
            TlsAcceptor::from(config).accept(wire).await.map_err(|error| {
                tracing::debug!(%error, "a handshake failed");
                Unsecured::End(HandshakeEnd::Failed)
            })
        };
        tokio::select! {
            biased;
            done = shake => done,
            () = seat.wanted() => Err(Unsecured::End(HandshakeEnd::Crowded)),
        }
    }
}

/// Why a connection is not secure.
enum Unsecured {
    /// It has ended.
    End(HandshakeEnd),
    /// The caller speaks plain HTTP.
    IsPlain,
}

/// What callers are told who speak plain HTTP where HTTPS is spoken.
const ASK_FOR_HTTPS: &[u8] = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\
    content-type: text/plain; charset=utf-8\r\ncontent-length: 45\r\n\r\n\
    this address speaks HTTPS: write https://\xe2\x80\xa6\n";

fn config(tls: &TlsSettings, ticketer: Option<&Arc<dyn ProducesTickets>>) -> ServerConfig {
    let versions = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider has suites for TLS 1.2 and 1.3");
    let certified = SingleCertAndKey::from(Arc::clone(&tls.identity.certified));
    let verifier = match &tls.identity.clients {
        None => WebPkiClientVerifier::no_client_auth(),
        Some(roots) => {
            let provider = Arc::new(default_provider());
            WebPkiClientVerifier::builder_with_provider(Arc::clone(roots), provider)
                .build()
                .expect("there is at least one, and nothing is said of revocation")
        }
    };
    let versions = versions.with_client_cert_verifier(verifier);
    let mut config = versions.with_cert_resolver(Arc::new(certified));
    config.alpn_protocols = vec![HTTP2.to_vec(), b"http/1.1".to_vec()];
    // The server chooses the cipher, the strongest that both know first.
    config.ignore_client_order = true;
    // A ticket would let callers in whose signer is no longer among those named.
    let ticketer = ticketer.filter(|_| tls.identity.clients.is_none());
    if let Some(ticketer) = ticketer {
        config.ticketer = Arc::clone(ticketer);
    } else {
        config.session_storage = Arc::new(NoServerSessionStorage {});
    }
    config
}

/// The bytes of TLS on their way to the socket.
#[derive(Debug)]
pub(super) struct Wire {
    reader: Rc<RefCell<Reader>>,
    writer: Rc<Writer>,
    watch: Rc<Watch>,
}

impl Wire {
    /// Waits for the first byte. Returns true if it is that of a method of HTTP, not one of TLS.
    async fn begins_with_a_method(&self) -> bool {
        let mut first = [0];
        let looked = poll_fn(|context| {
            self.reader.borrow_mut().poll_peek(context, &mut ReadBuf::new(&mut first))
        });
        looked.await.is_ok_and(|length| length == 1) && first[0].is_ascii_uppercase()
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.reader.borrow_mut()).poll_read(context, buffer)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = self.writer.poll_write(context, parts);
        self.watch.note(&polled);
        polled
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Dropping the writer shuts the connection down.
        Poll::Ready(Ok(()))
    }
}

/// A connection within TLS.
#[derive(Clone)]
pub(super) struct SecureConduit {
    stream: Rc<RefCell<TlsStream<Wire>>>,
    reader: Rc<RefCell<Reader>>,
    writer: Rc<Writer>,
}

impl Conduit for SecureConduit {
    /// The end of a session is a message within it.
    const LEAVING_IS_READ: bool = true;
    /// What the socket has may be no byte of HTTP.
    const CAN_REST: bool = false;

    fn writer(&self) -> &Rc<Writer> {
        &self.writer
    }

    fn poll_readable(&self, _context: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }

    fn poll_read(
        &self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream.borrow_mut()).poll_read(context, buffer)
    }

    fn poll_write(
        &self,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
        _watch: &Watch,
    ) -> Poll<io::Result<usize>> {
        // `Wire` notes what the caller takes: here it is only encrypted.
        Pin::new(&mut *self.stream.borrow_mut()).poll_write_vectored(context, parts)
    }

    fn poll_flush(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream.borrow_mut()).poll_flush(context)
    }

    fn poll_end(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream.borrow_mut()).poll_shutdown(context)
    }

    fn say_last(&self, words: &[u8]) {
        let mut stream = self.stream.borrow_mut();
        let (_, session) = stream.get_mut();
        let mut said = session.writer().write_all(words);
        session.send_close_notify();
        while said.is_ok() && session.wants_write() {
            said = session.write_tls(&mut UntilFull(&self.writer)).map(drop);
        }
        if let Err(error) = said {
            tracing::trace!(%error, "a caller did not take the last words");
        }
    }

    fn into_reader(self) -> Option<Reader> {
        let Self { stream, reader, writer } = self;
        drop((stream, writer));
        Rc::into_inner(reader).map(RefCell::into_inner)
    }
}

/// Writes what the kernel takes at once.
struct UntilFull<'a>(&'a Writer);

impl io::Write for UntilFull<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write(parts)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
