//! The cache that several servers share, as its settings say it.
//!
//! Pure.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::secret::Secret;

/// Where servers share kept answers, and how it is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedCacheSettings {
    /// Where it is.
    pub place: SharedPlace,
    /// The user; `None`: the one that needs no name.
    pub user: Option<String>,
    /// The password of the user; `None`: none is needed.
    pub password: Option<Secret>,
    /// The number of the database.
    pub database: u32,
    /// The file of those who sign for its certificate; `None`: whom this machine trusts.
    pub ca: Option<PathBuf>,
    /// How long a look into it may take.
    pub limit: Duration,
}

/// Where a Redis or Valkey is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SharedPlace {
    /// At a host and a port.
    Tcp {
        /// A name or an address, without brackets.
        host: String,
        /// The port.
        port: u16,
        /// With TLS.
        secure: bool,
    },
    /// At a socket in a file.
    Unix(PathBuf),
}

impl fmt::Display for SharedPlace {
    /// Writes it as the configuration does, without user and database.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port, secure } => {
                let scheme = if *secure { "rediss" } else { "redis" };
                let open = if host.contains(':') { ("[", "]") } else { ("", "") };
                write!(f, "{scheme}://{}{host}{}:{port}", open.0, open.1)
            }
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl SharedCacheSettings {
    /// Makes the paths in it absolute, which are relative to this directory.
    pub(super) fn in_base(mut self: Arc<Self>, base: &Path) -> Arc<Self> {
        let settings = Arc::make_mut(&mut self);
        settings.ca = settings.ca.take().map(|ca| base.join(ca));
        if let SharedPlace::Unix(path) = &mut settings.place {
            *path = base.join(&*path);
        }
        self
    }
}
