//! Through which NATS server calls are shared with other hosts.

use std::path::{Path, PathBuf};

use super::file::{OneOrMany, SpreadFile};
use super::nats_login::NatsLogin;
use super::problem::{Place, Problem};
use super::regular::read_regular;
use super::tree::{KeyPath, Places};

/// The port of NATS.
const PORT: u16 = 4222;
/// The largest file that says who a client is, in bytes.
const CREDS_MAX: u64 = 64 << 10;
/// Whom the system trusts.
const SYSTEM_CA: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Through which NATS server calls are shared with other hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpreadSettings {
    /// The servers of one cluster; at least one.
    pub servers: Vec<NatsServer>,
    /// The file that says who this server is; absolute.
    pub creds: Option<PathBuf>,
    /// The file with the certificates of those who sign for the servers; absolute.
    pub ca: PathBuf,
    /// The first word of all subjects.
    pub name: String,
}

/// One NATS server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NatsServer {
    /// Its name or its address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Nothing is said to it without TLS.
    pub tls: bool,
}

impl std::fmt::Display for NatsServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = if self.tls { "tls" } else { "nats" };
        let host = &self.host;
        if host.contains(':') {
            write!(f, "{scheme}://[{host}]:{}", self.port)
        } else {
            write!(f, "{scheme}://{host}:{}", self.port)
        }
    }
}

impl SpreadSettings {
    /// Reads who this server is; `None`: nobody in particular.
    ///
    /// # Errors
    ///
    /// Why the file cannot be used, in words that say nothing of what it holds.
    pub fn login(&self) -> Result<Option<NatsLogin>, String> {
        let Some(path) = &self.creds else { return Ok(None) };
        let text = read_regular(path, CREDS_MAX)?;
        let text = String::from_utf8(text).map_err(|_| "it is not UTF-8")?;
        Ok(Some(NatsLogin::read(&text)?))
    }
}

#[cfg(test)]
impl SpreadSettings {
    /// A server on this machine, for tests to change.
    pub(crate) fn for_tests() -> Self {
        let server = NatsServer { host: "127.0.0.1".to_owned(), port: PORT, tls: false };
        Self {
            servers: vec![server],
            creds: None,
            ca: SYSTEM_CA.into(),
            name: "httpipe".to_owned(),
        }
    }
}

/// Reads what the configuration says of NATS. `base` is the absolute directory of the configuration
/// file.
///
/// # Errors
///
/// All that is wrong with it.
pub fn resolve(
    file: Option<&SpreadFile>,
    places: &Places,
    base: &Path,
) -> Result<Option<SpreadSettings>, Vec<Problem>> {
    let Some(file) = file else { return Ok(None) };
    let path = KeyPath::of(&["spread"]);
    let place = |key: &str| places.value(&path.key(key));
    if !cfg!(feature = "nats") {
        let problem = Problem::new(places.value(&path), "this httpipe was built without NATS");
        return Err(vec![problem.hint(UNBUILT_HINT)]);
    }
    let mut problems = Vec::new();
    let texts = match &file.nats {
        OneOrMany::One(text) => std::slice::from_ref(text),
        OneOrMany::Many(texts) => texts,
    };
    let mut servers = Vec::new();
    for text in texts {
        match server(text) {
            Ok(server) => servers.push(server),
            Err((what, hint)) => {
                // The line of the file would show the password.
                let at = if text.contains('@') { Place::Nowhere } else { place("nats") };
                problems.push(Problem::new(at, what).hint(hint));
            }
        }
    }
    if texts.is_empty() {
        let problem = Problem::new(places.value(&path), "`spread` names no NATS server");
        problems.push(problem.hint("add it: `nats = \"nats://127.0.0.1:4222\"`"));
    }
    let absolute = |name: &str, text: &String| match place(name) {
        // Relative to where it was typed.
        Place::Option(_) => std::path::absolute(text).unwrap_or_else(|_| text.into()),
        Place::File(_) | Place::Nowhere => base.join(text),
    };
    let settings = SpreadSettings {
        servers,
        creds: file.creds.as_ref().map(|creds| absolute("creds", creds)),
        ca: file.ca.as_ref().map_or_else(|| SYSTEM_CA.into(), |ca| absolute("ca", ca)),
        name: file.name.clone(),
    };
    if let (Some(creds), Err(why)) = (&settings.creds, settings.login()) {
        let what = format!("`{}` cannot be used: {why}", creds.display());
        let hint = "name a file of `nsc`, one with the seed of an nkey (SU…), or one with \
                    USER:PASSWORD in one line";
        problems.push(Problem::new(place("creds"), what).hint(hint));
    }
    if file.ca.is_some()
        && let Err(why) = read_regular(&settings.ca, CREDS_MAX << 4)
    {
        let what = format!("the certificates `{}` cannot be read: {why}", settings.ca.display());
        let hint = "name those of who signs for the NATS server, in PEM";
        problems.push(Problem::new(place("ca"), what).hint(hint));
    }
    if problems.is_empty() { Ok(Some(settings)) } else { Err(problems) }
}

/// What to do without NATS.
const UNBUILT_HINT: &str = "build it in a clone with `cargo install --locked --path . --features nats`, \
                            or use the wheel, the Debian package or the image, which have it";

/// Reads where a server is, or says what is wrong and what to write instead.
fn server(text: &str) -> Result<NatsServer, (String, &'static str)> {
    const USUAL: &str = "write it as in \"nats://10.0.0.7:4222\" or \"tls://nats.internal:4222\"";
    if text.contains('@') {
        // Whatever stands before it is not shown.
        let what = "the address of a NATS server holds a user or a password".to_owned();
        return Err((what, "put USER:PASSWORD into a file, and name it: `creds = \"nats.creds\"`"));
    }
    let bad = || (format!("`{}` is not the address of a NATS server", text.escape_debug()), USUAL);
    let (tls, rest) = match text.split_once("://") {
        Some(("nats", rest)) => (false, rest),
        Some(("tls", rest)) => (true, rest),
        Some(_) => return Err(bad()),
        None => (false, text),
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (host, port) = match rest.strip_prefix('[').map(|rest| rest.split_once(']')) {
        Some(Some((host, ""))) => (host, None),
        Some(Some((host, rest))) => (host, Some(rest.strip_prefix(':').ok_or_else(bad)?)),
        Some(None) => return Err(bad()),
        None => match rest.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (rest, None),
        },
    };
    let is_address = host.parse::<std::net::IpAddr>().is_ok();
    let is_name = !host.is_empty()
        && host.len() < 254
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    if !(is_address || is_name) {
        return Err(bad());
    }
    let port = match port {
        None => PORT,
        Some(port) => port.parse().ok().filter(|port| *port > 0).ok_or_else(bad)?,
    };
    Ok(NatsServer { host: host.to_owned(), port, tls })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_shown_without_what_is_secret() {
        for (text, shown) in [
            ("nats.internal", "nats://nats.internal:4222"),
            ("nats://10.0.0.7", "nats://10.0.0.7:4222"),
            ("10.0.0.7:4000", "nats://10.0.0.7:4000"),
            ("tls://nats.internal:4223/", "tls://nats.internal:4223"),
            ("tls://[::1]:4223", "tls://[::1]:4223"),
            ("[::1]", "nats://[::1]:4222"),
        ] {
            assert_eq!(server(text).map(|server| server.to_string()), Ok(shown.to_owned()));
        }
        for text in ["", "http://a", "a:b", "a:0", "a:99999", "nats://", "[::1", "a b", "a/b:1"] {
            assert!(server(text).is_err_and(|(what, _)| what.contains("is not the address")));
        }
        let (what, hint) = server("nats://front:hunter2@a").expect_err("a password");
        assert!(!what.contains("hunter2") && !what.contains("front"), "{what}");
        assert!(hint.contains("creds"));
    }
}
