//! A certificate with its private key, as rustls uses it.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::regular::read_regular;
use super::tls_files::{BadTls, TlsFiles};
use super::validity::Validity;

/// The largest file of certificates that is read, in bytes.
const FILE_MAX: u64 = 1 << 20;

/// A certificate with its private key.
#[derive(Clone, Debug)]
pub struct TlsIdentity {
    /// The certificate, those above it, and what signs for it.
    pub certified: Arc<CertifiedKey>,
    /// Who signs for callers; `None`: callers show no certificate.
    pub clients: Option<Arc<RootCertStore>>,
    validity: Validity,
}

impl TlsIdentity {
    /// Reads a certificate and its key, which are good at `now`.
    ///
    /// # Errors
    ///
    /// Why they cannot be used.
    pub fn read(files: &TlsFiles, now: SystemTime) -> Result<Self, BadTls> {
        let clients = files.clients.as_deref().map(clients).transpose()?;
        let chain = chain(files)?;
        let key = key(files)?;
        let validity = Validity::of(&chain[0]).ok_or_else(|| BadTls {
            key: "cert",
            what: format!("`{}` holds a certificate that cannot be read", files.cert.display()),
            hint: "look at it with `openssl x509 -noout -text -in FILE`",
        })?;
        check(validity, now)?;
        let certified = CertifiedKey::from_der(chain, key, &default_provider());
        let certified = certified.map_err(|error| bad_pair(files, &error))?;
        Ok(Self { certified: Arc::new(certified), clients, validity })
    }

    /// Returns when it ends.
    pub fn ends(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(self.validity.ends)
    }
}

/// Reads the certificates of those who sign for callers.
fn clients(path: &Path) -> Result<Arc<RootCertStore>, BadTls> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates("clients", path)? {
        roots.add(certificate).map_err(|error| BadTls {
            key: "clients",
            what: format!("a certificate in `{}` cannot be used: {error}", path.display()),
            hint: "name those of certificate authorities, of X.509 version 3",
        })?;
    }
    Ok(Arc::new(roots))
}

fn chain(files: &TlsFiles) -> Result<Vec<CertificateDer<'static>>, BadTls> {
    certificates("cert", &files.cert)
}

/// Reads the certificates in a file; at least one. `key` names it in the configuration.
fn certificates(key: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, BadTls> {
    let bad = |why: String, hint| BadTls {
        key,
        what: format!("the certificate `{}` cannot be read: {why}", path.display()),
        hint,
    };
    let bytes = read_regular(path, FILE_MAX).map_err(|why| bad(why, MAKE_ONE))?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let chain = chain.map_err(|error| bad(in_words(&error), IS_PEM))?;
    if chain.is_empty() {
        return Err(bad("it has no certificate".to_owned(), IS_PEM));
    }
    Ok(chain)
}

fn key(files: &TlsFiles) -> Result<PrivateKeyDer<'static>, BadTls> {
    let path = &files.key;
    let bad = |why: String, hint| BadTls {
        key: "key",
        what: format!("the private key `{}` cannot be read: {why}", path.display()),
        hint,
    };
    let bytes = read_regular(path, FILE_MAX).map_err(|why| bad(why, MAKE_ONE))?;
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| match error {
        pem::Error::NoItemsFound if is_encrypted(&bytes) => {
            let hint = "write it without a password: `openssl pkey -in OLD -out NEW`";
            bad("it is encrypted".to_owned(), hint)
        }
        pem::Error::NoItemsFound => bad("it has no private key".to_owned(), IS_PEM),
        error => bad(in_words(&error), IS_PEM),
    })
}

/// What to do if there is no certificate.
const MAKE_ONE: &str = "name the files that your certificate authority gave you; docs/guard.md says \
                        how to make some to try it out";
/// What to do with other bytes.
const IS_PEM: &str = "it must be in PEM, with lines such as `-----BEGIN CERTIFICATE-----`";

fn is_encrypted(pem: &[u8]) -> bool {
    memchr::memmem::find(pem, b"BEGIN ENCRYPTED PRIVATE KEY").is_some()
}

/// Never tells what the file holds.
fn in_words(error: &pem::Error) -> String {
    let what = match error {
        pem::Error::MissingSectionEnd { .. } => "it ends too early",
        pem::Error::NoItemsFound => "it has none",
        _ => "it is not PEM",
    };
    what.to_owned()
}

fn check(validity: Validity, now: SystemTime) -> Result<(), BadTls> {
    let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let at =
        |seconds| httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
    let bad = |what: String, hint| BadTls { key: "cert", what, hint };
    if validity.ends <= now {
        let what = format!("the certificate has expired: it ended on {}", at(validity.ends));
        return Err(bad(what, "renew it"));
    }
    if validity.begins > now {
        let what = format!("the certificate is not valid before {}", at(validity.begins));
        return Err(bad(what, "wait, or set the clock of this machine: `date` shows it"));
    }
    Ok(())
}

fn bad_pair(files: &TlsFiles, error: &rustls::Error) -> BadTls {
    let (cert, key) = (files.cert.display(), files.key.display());
    if matches!(error, rustls::Error::InconsistentKeys(_)) {
        return BadTls {
            key: "key",
            what: format!("`{key}` is not the private key of `{cert}`"),
            hint: "name the key that was made for this certificate",
        };
    }
    if let rustls::Error::InvalidCertificate(why) = error {
        return BadTls {
            key: "cert",
            what: format!("the certificate `{cert}` cannot be used: {why:?}"),
            hint: "it must be of X.509 version 3: look at it with `openssl x509 -noout -text -in FILE`",
        };
    }
    BadTls {
        key: "key",
        what: format!("the private key `{key}` cannot be used: {error}"),
        hint: "use an RSA key of 2048 bits or more, an ECDSA key on P-256, P-384 or P-521, or an \
               Ed25519 key",
    }
}
