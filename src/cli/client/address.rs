//! Where a server's admin listener is, as a user writes it.
//!
//! Pure.

use std::fmt;
use std::path::PathBuf;

/// The port of the admin listener by default.
pub(crate) const DEFAULT: &str = "127.0.0.1:3001";

/// Where to connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AdminAddress {
    /// A host and a port.
    Tcp(String),
    /// A socket file.
    Unix(PathBuf),
}

impl AdminAddress {
    /// Reads `http://127.0.0.1:3001`, `127.0.0.1:3001`, `[::1]:3001`, `host` or `unix:/path`.
    ///
    /// # Errors
    ///
    /// How it is to be written.
    pub(crate) fn read(text: &str) -> Result<Self, &'static str> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = PathBuf::from(path);
            return if path.is_absolute() {
                Ok(Self::Unix(path))
            } else {
                Err("write a socket file as unix:/run/httpipe/admin.sock")
            };
        }
        if text.starts_with("https://") {
            return Err("the admin listener speaks HTTP: write it as http://127.0.0.1:3001");
        }
        let url = text.trim_end_matches('/');
        let authority = url.strip_prefix("http://").unwrap_or(url);
        let is_plain = |c: char| !c.is_whitespace() && !c.is_control() && !"/?#@\\".contains(c);
        if authority.is_empty() || !authority.chars().all(is_plain) {
            return Err("write it as http://127.0.0.1:3001");
        }
        let port =
            authority.rsplit_once(':').map(|(_, port)| port).filter(|_| !authority.ends_with(']'));
        match port.map(str::parse::<u16>) {
            None => Ok(Self::Tcp(format!("{authority}:80"))),
            Some(Ok(_)) => Ok(Self::Tcp(authority.to_owned())),
            Some(Err(_)) => Err("write it as http://127.0.0.1:3001, with a port below 65536"),
        }
    }

    /// Returns the value of `Host`.
    pub(crate) fn host(&self) -> &str {
        match self {
            Self::Tcp(authority) => authority,
            Self::Unix(_) => "localhost",
        }
    }
}

impl fmt::Display for AdminAddress {
    /// Writes it as the server's log does.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(authority) => f.write_str(authority),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_as_people_write_it() {
        for (text, shown) in [
            ("http://127.0.0.1:3001", "127.0.0.1:3001"),
            ("http://127.0.0.1:3001/", "127.0.0.1:3001"),
            ("localhost:1", "localhost:1"),
            ("[::1]:3001", "[::1]:3001"),
            ("http://[::1]", "[::1]:80"),
            ("ops.example", "ops.example:80"),
            ("unix:/run/a b.sock", "unix:/run/a b.sock"),
        ] {
            let address = AdminAddress::read(text).expect(text);
            assert_eq!(address.to_string(), shown);
        }
        for text in [
            "",
            "http://",
            "https://127.0.0.1:3001",
            "http://127.0.0.1:3001/status.json",
            "127.0.0.1:99999",
            "127.0.0.1:x",
            "a b:1",
            "a:1\r\nX: y",
            "user@host:1",
            "unix:relative.sock",
            "unix:",
        ] {
            assert!(AdminAddress::read(text).is_err(), "{text}");
        }
    }
}
