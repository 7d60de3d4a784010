//! One type for the two kinds of connection that callers have: TCP and Unix sockets.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::net::{IpAddr, Ipv6Addr};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::net::sockopt;
use tokio::io::{AsyncRead, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream, tcp, unix};

/// A connection that no runtime owns yet, so that any thread may take it.
#[derive(Debug)]
pub enum Accepted {
    /// Came by TCP.
    Tcp(std::net::TcpStream),
    /// Came by a Unix socket.
    Unix(std::os::unix::net::UnixStream),
}

impl Accepted {
    /// Gives the connection to the runtime of the current thread.
    pub fn open(self) -> io::Result<Stream> {
        Ok(match self {
            Self::Tcp(stream) => Stream::Tcp(TcpStream::from_std(stream)?),
            Self::Unix(stream) => Stream::Unix(UnixStream::from_std(stream)?),
        })
    }
}

/// A connection on the runtime of the current thread.
#[derive(Debug)]
pub enum Stream {
    /// Came by TCP.
    Tcp(TcpStream),
    /// Came by a Unix socket.
    Unix(UnixStream),
}

/// The caller at the other end of a connection.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Their address, as `127.0.0.1:40312`; `unix` for a Unix socket.
    pub peer: Box<str>,
    /// Their address without the port; `None` for a Unix socket.
    pub address: Option<IpAddr>,
    /// The connection came by a loopback listener, which web pages of other sites must not use.
    pub is_guarded: bool,
    /// The DNS names of the certificate that they have shown, in lower case.
    pub names: Box<[Box<str>]>,
    /// Tells their connection from others. It is drawn at random.
    pub connection: u64,
}

impl Stream {
    /// Returns the caller at the other end. `is_guarded` is true if the listener is loopback.
    pub fn caller(&self, is_guarded: bool) -> Caller {
        let (peer, address) = match self {
            Self::Tcp(stream) => match stream.peer_addr() {
                Ok(peer) => (peer.to_string().into(), Some(peer.ip())),
                // A connection that the caller has already closed may have no address. It must not
                // pass for one by a socket file.
                Err(_) => ("gone".into(), Some(Ipv6Addr::UNSPECIFIED.into())),
            },
            Self::Unix(_) => ("unix".into(), None),
        };
        let (names, connection) = (Box::default(), fastrand::u64(..));
        Caller { peer, address, is_guarded, names, connection }
    }

    /// Breaks the connection when the other end has taken none of the bytes that wait for it for
    /// this long, those that the kernel holds included. Small pieces fit into the kernel for hours.
    pub fn break_when_unread(&self, patience: Duration) {
        let millis = u32::try_from(patience.as_millis()).unwrap_or(u32::MAX);
        if let Self::Tcp(stream) = self
            && let Err(error) = sockopt::set_tcp_user_timeout(stream, millis)
        {
            tracing::debug!(%error, "a connection has no limit of its unread bytes");
        }
    }

    /// Takes the connection from its runtime, for another thread.
    pub fn detach(self) -> io::Result<Accepted> {
        Ok(match self {
            Self::Tcp(stream) => Accepted::Tcp(stream.into_std()?),
            Self::Unix(stream) => Accepted::Unix(stream.into_std()?),
        })
    }

    /// Splits the connection into its two directions, each for several owners on this thread.
    pub(super) fn split(self) -> (Rc<RefCell<Reader>>, Rc<Writer>) {
        let (reader, writer) = match self {
            Self::Tcp(stream) => {
                let (reader, writer) = stream.into_split();
                (Reader::Tcp(reader), Writer::Tcp(writer))
            }
            Self::Unix(stream) => {
                let (reader, writer) = stream.into_split();
                (Reader::Unix(reader), Writer::Unix(writer))
            }
        };
        (Rc::new(RefCell::new(reader)), Rc::new(writer))
    }
}

/// What the caller sends.
#[derive(Debug)]
pub(super) enum Reader {
    Tcp(tcp::OwnedReadHalf),
    Unix(unix::OwnedReadHalf),
}

impl Reader {
    /// Waits until something can be read, if only the end or a failure.
    pub(super) fn poll_readable(&mut self, context: &mut Context<'_>) -> Poll<()> {
        match self {
            // The runtime takes a new connection for readable, so only a look tells.
            Self::Tcp(half) => {
                let mut byte = [0];
                half.poll_peek(context, &mut ReadBuf::new(&mut byte)).map(drop)
            }
            Self::Unix(half) => {
                AsRef::<UnixStream>::as_ref(half).poll_read_ready(context).map(drop)
            }
        }
    }

    /// Waits for the next bytes that the caller sends, and leaves them to be read. Returns how many
    /// there are; 0: the caller left. Only TCP can look ahead.
    #[cfg(feature = "tls")]
    pub(super) fn poll_peek(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(half) => half.poll_peek(context, buffer),
            Self::Unix(_) => Poll::Ready(Err(io::ErrorKind::Unsupported.into())),
        }
    }
}

impl AsyncRead for Reader {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(half) => Pin::new(half).poll_read(context, buffer),
            Self::Unix(half) => Pin::new(half).poll_read(context, buffer),
        }
    }
}

/// What the caller receives. It writes through a shared reference, so that a connection's
/// watcher can look at the socket too. Dropping it tells the caller that no more will come.
#[derive(Debug)]
pub(super) enum Writer {
    Tcp(tcp::OwnedWriteHalf),
    Unix(unix::OwnedWriteHalf),
}

impl Writer {
    /// Writes as much as the kernel takes now.
    pub(super) fn try_write(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        match (self, parts) {
            (Self::Tcp(half), [one]) => half.try_write(one),
            (Self::Tcp(half), _) => half.try_write_vectored(parts),
            (Self::Unix(half), [one]) => half.try_write(one),
            (Self::Unix(half), _) => half.try_write_vectored(parts),
        }
    }

    pub(super) fn poll_write(
        &self,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            // There mostly is room, so it is not waited for before.
            match self.try_write(parts) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
            ready!(match self {
                Self::Tcp(half) => AsRef::<TcpStream>::as_ref(half).poll_write_ready(context),
                Self::Unix(half) => AsRef::<UnixStream>::as_ref(half).poll_write_ready(context),
            })?;
        }
    }

    /// Resets the connection now: the caller learns that what it got is not all, and the kernel
    /// keeps nothing for a caller that does not read. A Unix socket cannot be reset.
    pub(super) fn reset(&self) {
        // A drop after "no linger" would do it too, but sends an orderly end first.
        if let Self::Tcp(half) = self
            && let Err(error) = rustix::net::connect_unspec(AsRef::<TcpStream>::as_ref(half))
        {
            tracing::debug!(%error, "cannot reset a connection");
        }
    }

    /// Sets whether the kernel resets the connection if this process ends without closing it.
    pub(super) fn reset_by_kernel(&self, resets: bool) {
        let linger = resets.then_some(Duration::ZERO);
        if let Self::Tcp(half) = self
            && let Err(error) = sockopt::set_socket_linger(AsRef::<TcpStream>::as_ref(half), linger)
        {
            tracing::debug!(%error, "cannot set how a connection ends");
        }
    }

    /// Waits until the caller has closed its side, or the connection is broken. Sees this
    /// even while bytes that came before are still unread.
    pub(super) async fn peer_left(&self) {
        // "Priority" also stands for "the reading side was closed", and, unlike "readable",
        // it is not set by bytes that wait.
        let waited = match self {
            Self::Tcp(half) => half.ready(Interest::PRIORITY).await,
            Self::Unix(half) => half.ready(Interest::PRIORITY).await,
        };
        match waited {
            Ok(ready) if ready.is_read_closed() => {}
            // Urgent data, which no caller needs to send. After it only reads see the end.
            Ok(_) => std::future::pending().await,
            Err(error) => tracing::debug!(%error, "cannot watch a connection"),
        }
    }
}
