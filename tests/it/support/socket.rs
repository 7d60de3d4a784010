//! One connection to the server, by TCP or by a Unix socket. Every read and write has a time limit.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;

use rustix::net::sockopt::set_socket_recv_buffer_size;

use super::CALLER_PATIENCE;

/// A connected stream.
#[derive(Debug)]
pub(super) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
    #[cfg(feature = "tls")]
    Tls(Box<super::tls::TlsSocket>),
}

impl Socket {
    /// Connects to `127.0.0.1:3000`, `tls:127.0.0.1:3000` or `unix:/path`.
    pub(super) fn connect(address: &str) -> io::Result<Self> {
        if let Some(path) = address.strip_prefix("unix:") {
            let stream = UnixStream::connect(path)?;
            stream.set_read_timeout(Some(CALLER_PATIENCE))?;
            stream.set_write_timeout(Some(CALLER_PATIENCE))?;
            return Ok(Self::Unix(stream));
        }
        #[cfg(feature = "tls")]
        if let Some(address) = address.strip_prefix("tls:") {
            return super::tls::TlsSocket::connect(address).map(|it| Self::Tls(Box::new(it)));
        }
        Self::connect_tcp(address).map(Self::Tcp)
    }

    /// Connects to `127.0.0.1:3000`.
    pub(super) fn connect_tcp(address: &str) -> io::Result<TcpStream> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(CALLER_PATIENCE))?;
        stream.set_write_timeout(Some(CALLER_PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// Returns our own address of a TCP connection.
    pub(super) fn own_address(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Tcp(stream) => stream.local_addr(),
            Self::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.tcp().local_addr(),
        }
    }

    /// Lets the kernel hold few bytes that were not read.
    pub(super) fn hold_little(&self) {
        match self {
            Self::Tcp(stream) => set_socket_recv_buffer_size(stream, 4096),
            Self::Unix(stream) => set_socket_recv_buffer_size(stream, 4096),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => set_socket_recv_buffer_size(stream.tcp(), 4096),
        }
        .expect("a socket has a buffer");
    }

    /// Closes the sending side. The other side can still be read.
    pub(super) fn finish_sending(&self) {
        match self {
            Self::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Self::Unix(stream) => stream.shutdown(Shutdown::Write),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.tcp().shutdown(Shutdown::Write),
        }
        .expect("a socket has two halves");
    }
}

impl Read for Socket {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(bytes),
            Self::Unix(stream) => stream.read(bytes),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.read(bytes),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
