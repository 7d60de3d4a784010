//! How a connection to a NATS server begins: TCP, perhaps TLS, and the login.

use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::crypto::aws_lc_rs::sign::any_eddsa_type;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SignatureScheme};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::nats::{ClientWriter, Login, ServerInfo, ServerOp, ServerReader};
use crate::config::{NatsLogin, NatsServer, NkeySeed, SpreadSettings};
use crate::sync::bulk::apart;

/// How long each step may take.
const STEP: Duration = Duration::from_secs(3);
/// Most bytes of a payload that is read.
pub(super) const PAYLOAD_MAX: usize = 64 << 20;
/// The largest file of certificates that is read, in bytes.
const CA_MAX: u64 = 4 << 20;
/// What stands before the private key in the PKCS#8 form of a key of Ed25519.
const PKCS8: [u8; 16] = [48, 46, 2, 1, 0, 48, 5, 6, 3, 43, 101, 112, 4, 34, 4, 32];

/// What bytes go through: TCP or TLS.
pub(super) trait NatsWire: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> NatsWire for T {}

/// A connection on which the server has accepted the login.
pub(super) struct Dialed {
    /// What bytes go through.
    pub(super) wire: Box<dyn NatsWire>,
    /// What the server has sent and is not read yet.
    pub(super) reader: ServerReader,
    /// What the server says of itself.
    pub(super) info: ServerInfo,
}

/// Which step of a dial failed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DialStep {
    /// The name could not be resolved, or nobody listens.
    Tcp,
    /// The server does not greet as NATS does.
    Greeting,
    /// The certificate is not good, or there is no TLS.
    Tls,
    /// The server does not let this client in.
    Login,
}

/// Why there is no connection.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{why}")]
pub struct NotDialed {
    /// Which step failed.
    pub step: DialStep,
    /// What happened, in words that hold no secret.
    pub why: String,
}

fn failed<E: std::fmt::Display>(step: DialStep, what: &str) -> impl FnOnce(E) -> NotDialed {
    move |error| NotDialed { step, why: format!("{what}: {error}") }
}

async fn within<T, E: std::fmt::Display>(
    step: DialStep,
    what: &str,
    future: impl Future<Output = Result<T, E>>,
) -> Result<T, NotDialed> {
    match timeout(STEP, future).await {
        Ok(done) => done.map_err(failed(step, what)),
        Err(_) => Err(NotDialed { step, why: format!("{what}: it takes too long") }),
    }
}

/// Connects to a server and logs in. `name` is what the server calls this client; its own messages
/// come back if `echo`.
pub(super) async fn dial(
    settings: &SpreadSettings,
    server: &NatsServer,
    name: &str,
    echo: bool,
) -> Result<Dialed, NotDialed> {
    let tcp = connect(server).await?;
    let mut wire: Box<dyn NatsWire> = Box::new(tcp);
    let mut reader = ServerReader::new(PAYLOAD_MAX);
    let greeting = within(DialStep::Greeting, "no greeting", read_op(&mut wire, &mut reader));
    let ServerOp::Info(mut info) = greeting.await? else {
        let why = "its first word is not INFO: this is no NATS server".to_owned();
        return Err(NotDialed { step: DialStep::Greeting, why });
    };
    let is_secure = server.tls || info.tls_required;
    if is_secure {
        if !reader.is_empty() {
            let why = "it says more than its greeting before TLS".to_owned();
            return Err(NotDialed { step: DialStep::Tls, why });
        }
        wire = encrypt(settings, server, wire).await?;
    }
    let login = login(settings, &info.nonce).await?;
    let mut writer = ClientWriter::default();
    writer.connect(&login, name, is_secure, echo);
    let sent = wire.write_all(writer.bytes());
    within(DialStep::Login, "cannot send", sent).await?;
    within(DialStep::Login, "cannot send", wire.flush()).await?;
    loop {
        let answer = within(DialStep::Login, "no answer", read_op(&mut wire, &mut reader));
        match answer.await? {
            ServerOp::Pong => return Ok(Dialed { wire, reader, info: *info }),
            ServerOp::Info(later) => info = later,
            ServerOp::Refused(why) => {
                let hint = match (&settings.creds, info.auth_required) {
                    (None, true) => "; it wants to know who asks: set `creds`",
                    _ => "",
                };
                let why = format!("it says `{why}`{hint}");
                return Err(NotDialed { step: DialStep::Login, why });
            }
            ServerOp::Msg { .. } | ServerOp::Ping | ServerOp::Fine => {}
        }
    }
}

async fn connect(server: &NatsServer) -> Result<TcpStream, NotDialed> {
    let what = format!("cannot connect to {server}");
    let addresses = tokio::net::lookup_host((server.host.as_str(), server.port));
    let addresses: Vec<_> = within(DialStep::Tcp, &what, addresses).await?.collect();
    let tcp = within(DialStep::Tcp, &what, TcpStream::connect(&addresses[..])).await?;
    tcp.set_nodelay(true).map_err(failed(DialStep::Tcp, &what))?;
    Ok(tcp)
}

async fn encrypt(
    settings: &SpreadSettings,
    server: &NatsServer,
    wire: Box<dyn NatsWire>,
) -> Result<Box<dyn NatsWire>, NotDialed> {
    let bad = |why: String| NotDialed { step: DialStep::Tls, why };
    let ca = settings.ca.clone();
    let roots = apart(move || read_roots(&ca)).await.map_err(bad)?;
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(failed(DialStep::Tls, "no TLS"))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = match server.host.parse::<IpAddr>() {
        Ok(address) => ServerName::from(address),
        Err(_) => ServerName::try_from(server.host.clone())
            .map_err(|_| bad(format!("no certificate can be for `{}`", server.host)))?,
    };
    let connector = TlsConnector::from(Arc::new(config));
    let secure = within(DialStep::Tls, "no TLS", connector.connect(name, wire)).await?;
    Ok(Box::new(secure))
}

/// Reads the certificates of those who sign for servers.
fn read_roots(path: &Path) -> Result<RootCertStore, String> {
    let bad = |why: String| format!("the certificates `{}` cannot be used: {why}", path.display());
    let pem = crate::config::read_regular(path, CA_MAX).map_err(bad)?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|_| bad("they are not PEM".to_owned()))?;
        // A system trusts some that are of no use here.
        roots.add(certificate).ok();
    }
    if roots.is_empty() { Err(bad("there is none".to_owned())) } else { Ok(roots) }
}

async fn login(settings: &SpreadSettings, nonce: &str) -> Result<Login, NotDialed> {
    let bad = |why: String| NotDialed {
        step: DialStep::Login,
        why: format!("`spread.creds` cannot be used: {why}"),
    };
    if settings.creds.is_none() {
        return Ok(Login::default());
    }
    let read = settings.clone();
    let login = apart(move || read.login()).await.map_err(bad)?;
    let login = match login {
        None => Login::default(),
        Some(NatsLogin::Password { user, password }) => {
            Login { user: Some(user), pass: Some(password.reveal().to_owned()), ..Login::default() }
        }
        Some(NatsLogin::Key(seed)) => {
            let (sig, public) = sign(&seed, nonce).map_err(bad)?;
            Login { nkey: Some(NkeySeed::name(&public)), sig: Some(sig), ..Login::default() }
        }
        Some(NatsLogin::Signed { jwt, seed }) => {
            let (sig, _) = sign(&seed, nonce).map_err(bad)?;
            Login { jwt: Some(jwt.reveal().to_owned()), sig: Some(sig), ..Login::default() }
        }
    };
    Ok(login)
}

/// Signs what the server has drawn. Returns the signature as text, and the public key.
fn sign(seed: &NkeySeed, nonce: &str) -> Result<(String, Vec<u8>), String> {
    let key = [&PKCS8[..], &seed.0].concat();
    let key = any_eddsa_type(&PrivatePkcs8KeyDer::from(key)).map_err(|error| error.to_string())?;
    let signer = key.choose_scheme(&[SignatureScheme::ED25519]).ok_or("it is no Ed25519 key")?;
    let signature = signer.sign(nonce.as_bytes()).map_err(|error| error.to_string())?;
    let public = key.public_key().ok_or("it has no public key")?;
    // The key is the end of its description.
    let public = public.last_chunk::<32>().ok_or("its public key is too short")?;
    Ok((URL_SAFE_NO_PAD.encode(signature), public.to_vec()))
}

/// Reads the next operation.
pub(super) async fn read_op<R: AsyncRead + Unpin + ?Sized>(
    wire: &mut R,
    reader: &mut ServerReader,
) -> io::Result<ServerOp> {
    loop {
        let next = reader.next_op();
        if let Some(op) = next.map_err(|not| io::Error::new(io::ErrorKind::InvalidData, not))? {
            return Ok(op);
        }
        if wire.read_buf(reader.room()).await? == 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "it has closed the connection",
            ));
        }
    }
}
