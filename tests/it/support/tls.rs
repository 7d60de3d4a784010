//! Callers that speak TLS, and certificates to speak it with. OpenSSL makes these when a test runs.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};

use super::socket::Socket;
use super::{Plan, Server, shell, skipped};

/// The command that makes a key `NAME.key` and a certificate `NAME.pem` of it that ends in some days.
pub(crate) fn make(name: &str, days: i32) -> String {
    format!(
        "openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN={name} \
         -keyout {name}.key -out {name}.csr 2>openssl && \
         echo subjectAltName=DNS:localhost >extensions && \
         openssl x509 -req -in {name}.csr -signkey {name}.key -days {days} -extfile extensions \
         -out {name}.pem 2>openssl"
    )
}

/// The lines of a configuration that name this pair.
pub(crate) fn pair(name: &str) -> String {
    format!("tls = {{ cert = \"{name}.pem\", key = \"{name}.key\" }}")
}

/// Plans a server with a certificate for `one`. Returns `None` if there is no OpenSSL; then the test
/// is skipped.
pub(crate) fn secure(pool: &str) -> Option<Plan> {
    has_openssl().then(|| Server::with(pool).prepare_with(&make("one", 30)).top(&pair("one")))
}

/// Returns true if certificates can be made. Otherwise the test is skipped.
pub(crate) fn has_openssl() -> bool {
    let is_there = shell("openssl version >/dev/null").0 == 0;
    if !is_there {
        skipped("openssl is not installed", "`apt-get install openssl` does it");
    }
    is_there
}

/// Runs a command where a server runs.
pub(crate) fn run_in(server: &Server, line: &str) {
    let line = format!("cd '{}' && {line}", server.dir().display());
    let (code, output) = shell(&line);
    assert_eq!(code, 0, "{line}: {output}");
}

/// A connection within TLS.
#[derive(Debug)]
pub(crate) struct TlsSocket(StreamOwned<ClientConnection, TcpStream>);

impl TlsSocket {
    pub(crate) fn connect(address: &str) -> io::Result<Self> {
        Self::with(address, &[])
    }

    /// Connects and offers these protocols.
    pub(crate) fn with(address: &str, protocols: &[&[u8]]) -> io::Result<Self> {
        Self::after(&[], address, protocols)
    }

    /// Connects, sends these bytes as they are, and offers these protocols.
    pub(crate) fn after(first: &[u8], address: &str, protocols: &[&[u8]]) -> io::Result<Self> {
        let versions = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions");
        let mut config = versions
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Credulous))
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|it| it.to_vec()).collect();
        let name = ServerName::try_from("localhost").expect("a name");
        let mut session = ClientConnection::new(Arc::new(config), name).expect("a session");
        let mut stream = Socket::connect_tcp(address)?;
        stream.write_all(first)?;
        while session.is_handshaking() {
            session.complete_io(&mut stream)?;
        }
        Ok(Self(StreamOwned::new(session, stream)))
    }

    pub(crate) fn tcp(&self) -> &TcpStream {
        &self.0.sock
    }

    /// Says that no more will be sent, and leaves the connection open.
    pub(crate) fn say_end(&mut self) {
        self.0.conn.send_close_notify();
        self.0.flush().expect("the server reads");
    }

    /// Returns the name for which the certificate of the server was made.
    pub(crate) fn certificate(&self) -> String {
        let chain = self.0.conn.peer_certificates().expect("it has shown one");
        let text = chain[0].escape_ascii().to_string();
        ["one", "two", "three"].into_iter().filter(|name| text.contains(name)).collect()
    }
}

impl Read for TlsSocket {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.0.read(bytes)
    }
}

impl Write for TlsSocket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.0.write(bytes)?;
        self.0.flush()?;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Believes any certificate.
#[derive(Debug)]
struct Credulous;

impl ServerCertVerifier for Credulous {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _above: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        default_provider().signature_verification_algorithms.supported_schemes()
    }
}
