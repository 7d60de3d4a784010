//! The files of a certificate, and what may be wrong with them.

use std::path::PathBuf;

/// The files of a certificate; all paths are absolute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate and those above it.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Those who sign for callers; `None`: callers show no certificate.
    pub clients: Option<PathBuf>,
}

/// Why a certificate cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct BadTls {
    /// The key in `tls` that is to blame.
    pub key: &'static str,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub hint: &'static str,
}

impl TlsFiles {
    /// All files.
    pub fn all(&self) -> impl Iterator<Item = &PathBuf> {
        [&self.cert, &self.key].into_iter().chain(&self.clients)
    }
}

/// The key of a [`BadTls`] that no file can mend.
pub(super) const UNBUILT: &str = "";
