//! The certificate of the server: what the file says of it, and the files that it names.
//!
//! Certificates are read again while the server runs, so all that is wrong with them is said in
//! words that need no configuration around them.

use std::fs::Metadata;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::file::TlsFile;
use super::identity::TlsIdentity;
use super::paths::path_at;
use super::problem::{Problem, Warning};
use super::stamp::Stamps;
use super::tls_files::{BadTls, TlsFiles, UNBUILT};
use super::tree::{KeyPath, Places};

/// How long before its end a certificate is warned about.
pub const ENDS_SOON: Duration = Duration::from_hours(7 * 24);
/// How often a pair is read until it is refused: who renews it writes one file after the other.
const TRIES: usize = 3;
/// How long a new pair may take from one file to the other.
const PAUSE: Duration = Duration::from_millis(100);

/// The certificate of the server, and where it was read.
#[derive(Clone, Debug)]
pub struct TlsSettings {
    /// Where it was read.
    pub files: TlsFiles,
    /// What the files looked like just before they were read.
    pub stamps: Stamps,
    /// What they hold.
    pub identity: TlsIdentity,
}

/// Two with the same files are equal, whatever these hold: a renewed certificate is no change of
/// the configuration.
impl PartialEq for TlsSettings {
    fn eq(&self, other: &Self) -> bool {
        self.files == other.files
    }
}

impl TlsSettings {
    /// Reads a certificate and its key. If they are no pair, looks again a little later: perhaps
    /// only one of them was written.
    ///
    /// # Errors
    ///
    /// Why they cannot be used, at the last look.
    pub fn read(files: TlsFiles) -> Result<Self, BadTls> {
        let mut tries = 1;
        loop {
            // Before they are read: a change while they are read is then seen as one.
            let stamps = Stamps::of_files(files.all());
            match TlsIdentity::read(&files, SystemTime::now()) {
                Ok(identity) => return Ok(Self { files, stamps, identity }),
                Err(bad) if tries == TRIES || bad.key == UNBUILT => return Err(bad),
                Err(_) => {
                    tries += 1;
                    pause();
                }
            }
        }
    }
}

/// Waits a moment for the second file of a pair.
#[expect(clippy::disallowed_methods, reason = "configurations are loaded on their own thread")]
fn pause() {
    std::thread::sleep(PAUSE);
}

/// Reads the certificate that a configuration names, and says what is unwise about it. `base` is the
/// absolute directory of the configuration file.
///
/// # Errors
///
/// Why it cannot be used.
pub fn resolve(
    file: &TlsFile,
    places: &Places,
    base: &Path,
    warnings: &mut Vec<Warning>,
) -> Result<Option<TlsSettings>, Problem> {
    let path = KeyPath::of(&["tls"]);
    let (cert, key) = match (&file.cert, &file.key) {
        (None, None) if file.clients.is_some() => {
            let problem =
                Problem::new(places.value(&path.key("clients")), "`clients` has no `cert`");
            return Err(problem.hint("name the certificate of this server, and its `key`"));
        }
        (None, None) => return Ok(None),
        (Some(cert), Some(key)) => (cert, key),
        (Some(_), None) => {
            let problem = Problem::new(places.value(&path.key("cert")), "`cert` has no `key`");
            return Err(problem.hint("name the file of its private key: `key = \"privkey.pem\"`"));
        }
        (None, Some(_)) => {
            let problem = Problem::new(places.value(&path.key("key")), "`key` has no `cert`");
            return Err(problem.hint("name the certificate: `cert = \"fullchain.pem\"`"));
        }
    };
    let absolute = |name: &str, text: &String| path_at(&places.value(&path.key(name)), text, base);
    let clients = file.clients.as_ref().map(|clients| absolute("clients", clients));
    let files = TlsFiles { cert: absolute("cert", cert), key: absolute("key", key), clients };
    let settings = TlsSettings::read(files).map_err(|bad| {
        let path = if bad.key == UNBUILT { path.key("cert") } else { path.key(bad.key) };
        Problem::new(places.value(&path), bad.what).hint(bad.hint)
    })?;
    warnings.extend(unwise(&settings, SystemTime::now()));
    Ok(Some(settings))
}

/// What is unwise about a certificate.
fn unwise(settings: &TlsSettings, now: SystemTime) -> impl Iterator<Item = Warning> {
    let left = settings.identity.ends().duration_since(now).unwrap_or_default();
    let ends_soon = (left < ENDS_SOON).then(|| Warning {
        message: format!("the certificate ends in {}", in_words(left)),
        hint: "renew it; a running server takes the new one by itself".to_owned(),
    });
    let key = &settings.files.key;
    let mode = std::fs::metadata(key).ok().filter(Metadata::is_file);
    let is_open = mode.is_some_and(|data| data.permissions().mode() & 0o007 != 0);
    let is_open = is_open.then(|| Warning {
        message: format!("everybody on this machine may read the key `{}`", key.display()),
        hint: format!("`chmod 600 {}`", key.display()),
    });
    ends_soon.into_iter().chain(is_open)
}

/// A time until a certificate ends, as people say it.
pub fn in_words(left: Duration) -> String {
    match left.as_secs() / 3600 {
        0 => "less than an hour".to_owned(),
        1 => "one hour".to_owned(),
        hours @ 2..48 => format!("{hours} hours"),
        hours => format!("{} days", hours / 24),
    }
}
