//! The operator's key: a secret that the server makes at its start and keeps in a file that only its
//! user can read. Who can read the file may operate the server, without any configuration.
//!
//! The file is `ADDRESS.key` in a directory that is the user's alone. Both sides look for it in the
//! same places: the server writes it, and commands such as `httpipe top` read it.

use std::ffi::OsString;
use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::process::geteuid;
use rustix::rand::GetRandomFlags;

/// How many random bytes a key has.
const BYTES: usize = 16;
/// What the name of a key's file ends with.
const ENDING: &str = ".key";
/// The directory below the runtime directory of a systemd unit. That one may be open to others, as
/// for a socket file.
const BELOW_UNIT: &str = "operator";
/// Where units have their runtime directories, which only root and they can look into.
const UNITS: &str = "/run/httpipe";
/// What a file name has as it is. A slash is not among it.
const PLAIN: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'.').remove(b':').remove(b'-').remove(b'_').remove(b'[').remove(b']');

/// The secret itself: hexadecimal digits.
#[derive(Clone, PartialEq, Eq)]
pub struct OperatorKey(String);

impl fmt::Debug for OperatorKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OperatorKey(…)")
    }
}

impl OperatorKey {
    /// Draws a key from the system's source of randomness.
    fn draw() -> io::Result<Self> {
        let mut bytes = [0; BYTES];
        let mut filled = 0;
        while filled < BYTES {
            filled += rustix::rand::getrandom(&mut bytes[filled..], GetRandomFlags::empty())?;
        }
        Ok(Self(format!("{:032x}", u128::from_ne_bytes(bytes))))
    }

    /// Reads what a key's file holds. Anything else is no key, so no other file's text is ever sent
    /// to a server.
    pub(super) fn read(text: &str) -> Option<Self> {
        let digits = text.trim_end();
        let is_key = digits.len() == 2 * BYTES && digits.bytes().all(|b| b.is_ascii_hexdigit());
        is_key.then(|| Self(digits.to_owned()))
    }

    /// Returns the secret, to be sent or compared and shown to nobody.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

/// A key in its file, which is removed when this is dropped.
#[derive(Debug)]
pub struct KeyFile {
    directory: OwnedFd,
    name: String,
    key: OperatorKey,
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("; "))]
pub struct NoKey(Vec<String>);

impl KeyFile {
    /// Draws the key of the server whose operators connect at `address`, and writes its file.
    ///
    /// # Errors
    ///
    /// Why each place was refused. The server can do without the key.
    pub fn create(address: &str) -> Result<Self, NoKey> {
        let key = OperatorKey::draw()
            .map_err(|error| NoKey(vec![format!("the system has no random bytes: {error}")]))?;
        let mut refused = Vec::new();
        for place in places_to_write(|name| std::env::var_os(name)) {
            match Self::write(&place, address, key.clone()) {
                Ok(file) => return Ok(file),
                Err(error) => refused.push(format!("{}: {error}", place.display())),
            }
        }
        Err(NoKey(refused))
    }

    fn write(place: &Path, address: &str, key: OperatorKey) -> io::Result<Self> {
        let directory = private_directory(place)?;
        let name = file_name(address);
        // A reader finds the old key or the new one, and never half of one.
        let draft = format!(".{name}.{}", std::process::id());
        rustix::fs::unlinkat(&directory, &draft, AtFlags::empty()).ok();
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        let draft_file = rustix::fs::openat(&directory, &draft, flags, Mode::RUSR | Mode::WUSR)?;
        let written = std::fs::File::from(draft_file).write_all(key.reveal().as_bytes());
        let placed = written.and_then(|()| {
            rustix::fs::renameat(&directory, &draft, &directory, &name).map_err(io::Error::from)
        });
        if let Err(error) = placed {
            rustix::fs::unlinkat(&directory, &draft, AtFlags::empty()).ok();
            return Err(error);
        }
        Ok(Self { directory, name, key })
    }

    /// Returns the key.
    pub fn key(&self) -> &OperatorKey {
        &self.key
    }
}

impl Drop for KeyFile {
    fn drop(&mut self) {
        // The next server at this address may have put its own key in the place.
        if read_in(&self.directory, &self.name).as_ref() == Some(&self.key) {
            rustix::fs::unlinkat(&self.directory, &*self.name, AtFlags::empty()).ok();
        }
    }
}

/// Returns the key of the server whose operators connect at `address`, if its file can be read here.
pub fn find_key(address: &str) -> Option<OperatorKey> {
    let names: Vec<String> = names_of(address).iter().map(|name| file_name(name)).collect();
    let places = places_to_read(|name| std::env::var_os(name));
    places
        .iter()
        .filter_map(|place| open_to_read(place))
        .find_map(|directory| names.iter().find_map(|name| read_in(&directory, name)))
}

/// Returns the addresses whose keys can be read here, sorted.
pub fn known_addresses() -> Vec<String> {
    let places = places_to_read(|name| std::env::var_os(name));
    let mut found: Vec<String> = places.iter().flat_map(|place| addresses_in(place)).collect();
    found.sort();
    found.dedup();
    found
}

fn addresses_in(place: &Path) -> Vec<String> {
    let Some(directory) = open_to_read(place) else { return Vec::new() };
    let entries = std::fs::read_dir(place).into_iter().flatten().filter_map(Result::ok);
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let keys = names.filter(|name| !name.starts_with('.') && read_in(&directory, name).is_some());
    keys.filter_map(|name| {
        let address = percent_decode_str(name.strip_suffix(ENDING)?).decode_utf8().ok()?;
        Some(address.into_owned())
    })
    .collect()
}

/// Returns the names under which the server at `address` may have written its key.
fn names_of(address: &str) -> Vec<String> {
    let mut names = vec![address.to_owned()];
    let Some((host, port)) = address.rsplit_once(':') else { return names };
    let others: &[&str] = match host {
        "localhost" => &["127.0.0.1", "[::1]", "0.0.0.0", "[::]"],
        "127.0.0.1" => &["0.0.0.0"],
        "[::1]" => &["[::]"],
        _ => &[],
    };
    names.extend(others.iter().map(|host| format!("{host}:{port}")));
    names
}

fn file_name(address: &str) -> String {
    format!("{}{ENDING}", utf8_percent_encode(address, PLAIN))
}

/// Returns the directories that a server tries, the best first.
fn places_to_write(variable: impl Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
    let unit = variable("RUNTIME_DIRECTORY").and_then(|list| {
        // systemd separates several by colons.
        let first = std::env::split_paths(&list).next()?;
        first.is_absolute().then(|| first.join(BELOW_UNIT))
    });
    let user = variable("XDG_RUNTIME_DIR").map(PathBuf::from);
    let user = user.filter(|path| path.is_absolute()).map(|path| path.join("httpipe"));
    let temporary = PathBuf::from(format!("/tmp/httpipe-{}", geteuid().as_raw()));
    unit.into_iter().chain(user).chain([temporary]).collect()
}

/// Returns the directories in which a command looks: those of servers that it would start itself, and
/// those of units.
fn places_to_read(variable: impl Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
    let mut places = places_to_write(variable);
    places.push(Path::new(UNITS).join(BELOW_UNIT));
    let instances = std::fs::read_dir(UNITS).into_iter().flatten().filter_map(Result::ok);
    places.extend(instances.map(|entry| entry.path().join(BELOW_UNIT)));
    places
}

/// Opens a directory that belongs to this user alone, and makes it if it is not there. Anybody may
/// have made one in `/tmp`, so it is looked at once it is open.
fn private_directory(path: &Path) -> io::Result<OwnedFd> {
    match rustix::fs::mkdirat(CWD, path, Mode::RWXU) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    let directory = open_directory(path)?;
    let status = rustix::fs::fstat(&directory)?;
    if status.st_uid != geteuid().as_raw() {
        return Err(io::Error::other("it belongs to another user"));
    }
    if !is_private(status.st_mode) {
        return Err(io::Error::other("others may use it; `chmod 700` it"));
    }
    Ok(directory)
}

/// Opens a directory with keys. Only root takes a directory of another user, and none in `/tmp`.
fn open_to_read(path: &Path) -> Option<OwnedFd> {
    let directory = open_directory(path).ok()?;
    let status = rustix::fs::fstat(&directory).ok()?;
    let own = geteuid();
    let is_own = status.st_uid == own.as_raw() && is_private(status.st_mode);
    let is_of_unit = own.is_root() && path.starts_with(UNITS);
    (is_own || is_of_unit).then_some(directory)
}

fn is_private(mode: rustix::fs::RawMode) -> bool {
    !Mode::from_raw_mode(mode).intersects(Mode::RWXG | Mode::RWXO)
}

fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(CWD, path, flags, Mode::empty())?)
}

/// Reads a key; `None` if there is none, or something else.
fn read_in(directory: &OwnedFd, name: &str) -> Option<OperatorKey> {
    // Without NONBLOCK, opening a pipe would wait.
    let flags = OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::openat(directory, name, flags, Mode::empty()).ok()?;
    let mut text = String::new();
    std::fs::File::from(file).take(4 * BYTES as u64).read_to_string(&mut text).ok()?;
    OperatorKey::read(&text)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    /// An empty directory below the build directory, removed at the end.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let path =
                std::env::temp_dir().join(format!("httpipe-key-{name}-{}", std::process::id()));
            drop(std::fs::remove_dir_all(&path));
            std::fs::create_dir(&path).expect("it can be made");
            Self(path)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            drop(std::fs::remove_dir_all(&self.0));
        }
    }

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).expect("it is there").permissions().mode() & 0o777
    }

    #[test]
    fn a_key_is_128_random_bits_that_no_debug_output_shows() {
        let (one, other) = (OperatorKey::draw().expect("bits"), OperatorKey::draw().expect("bits"));
        assert_ne!(one, other);
        assert_eq!(one.reveal().len(), 32);
        assert!(!format!("{one:?}").contains(one.reveal()));
    }

    #[test]
    fn the_file_is_the_users_alone_and_goes_with_the_server() {
        let scratch = Scratch::new("own");
        let place = scratch.0.join("httpipe");
        let key = OperatorKey::draw().expect("bits");
        let file = KeyFile::write(&place, "127.0.0.1:3001", key.clone()).expect("written");
        let path = place.join("127.0.0.1:3001.key");
        assert_eq!((mode(&place), mode(&path)), (0o700, 0o600));
        assert_eq!(std::fs::read_to_string(&path).expect("a file"), key.reveal());
        assert_eq!(addresses_in(&place), ["127.0.0.1:3001"]);
        assert_eq!(std::fs::read_dir(&place).expect("a directory").count(), 1, "no draft is left");
        drop(file);
        assert!(!path.exists());
    }

    #[test]
    fn a_server_leaves_the_key_of_the_next_one() {
        let scratch = Scratch::new("next");
        let place = scratch.0.join("httpipe");
        let write = || {
            let key = OperatorKey::draw().expect("bits");
            KeyFile::write(&place, "unix:/run/a b.sock", key).expect("written")
        };
        let (first, second) = (write(), write());
        drop(first);
        assert_eq!(addresses_in(&place), ["unix:/run/a b.sock"]);
        drop(second);
        assert!(addresses_in(&place).is_empty());
    }

    #[test]
    fn a_directory_that_others_may_use_or_that_is_a_link_is_refused() {
        let scratch = Scratch::new("open");
        let open = scratch.0.join("open");
        std::fs::create_dir(&open).expect("made");
        std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o755)).expect("ours");
        let private = scratch.0.join("private");
        drop(private_directory(&private).expect("made"));
        let link = scratch.0.join("link");
        symlink(&private, &link).expect("linked");
        let missing = scratch.0.join("missing/below");
        for place in [&open, &link, &missing] {
            let key = OperatorKey::draw().expect("bits");
            assert!(KeyFile::write(place, "127.0.0.1:1", key).is_err(), "{}", place.display());
            assert!(open_to_read(place).is_none(), "{}", place.display());
        }
    }

    /// Else another user could make a command send a file of ours to a port of theirs.
    #[test]
    fn what_is_no_key_or_a_link_is_never_read_as_one() {
        let scratch = Scratch::new("link");
        let place = scratch.0.join("httpipe");
        let directory = private_directory(&place).expect("made");
        let key = OperatorKey::draw().expect("bits");
        std::fs::write(scratch.0.join("elsewhere"), key.reveal()).expect("written");
        symlink(scratch.0.join("elsewhere"), place.join("linked.key")).expect("linked");
        std::fs::write(place.join("other.key"), "ssh-ed25519 AAAA").expect("written");
        std::fs::write(place.join("good.key"), format!("{}\n", key.reveal())).expect("written");
        assert_eq!(read_in(&directory, "linked.key"), None);
        assert_eq!(read_in(&directory, "other.key"), None);
        assert_eq!(read_in(&directory, "good.key"), Some(key));
    }

    #[test]
    fn the_runtime_directory_of_a_unit_comes_before_that_of_a_user_and_tmp_is_last() {
        let places = |unit: &str, user: &str| {
            let value = |text: &str| (!text.is_empty()).then(|| OsString::from(text));
            let places = places_to_write(|name| match name {
                "RUNTIME_DIRECTORY" => value(unit),
                _ => value(user),
            });
            places.iter().map(|place| place.display().to_string()).collect::<Vec<_>>()
        };
        let temporary = format!("/tmp/httpipe-{}", geteuid().as_raw());
        assert_eq!(places("", ""), [&*temporary]);
        assert_eq!(places("", "relative"), [&*temporary]);
        assert_eq!(places("", "/run/user/7"), ["/run/user/7/httpipe", &temporary]);
        assert_eq!(
            places("/run/httpipe/a:/run/b", "/run/user/7"),
            ["/run/httpipe/a/operator", "/run/user/7/httpipe", &temporary]
        );
    }

    #[test]
    fn names_of_this_machine_lead_to_the_address_that_the_server_listens_on() {
        assert_eq!(names_of("127.0.0.1:3001"), ["127.0.0.1:3001", "0.0.0.0:3001"]);
        assert!(names_of("localhost:1").contains(&"[::1]:1".to_owned()));
        assert_eq!(names_of("unix:/run/x"), ["unix:/run/x"]);
        assert_eq!(names_of("ops.example:3001"), ["ops.example:3001"]);
        assert_eq!(file_name("unix:/run/x"), "unix:%2Frun%2Fx.key");
        assert_eq!(file_name("[::1]:3001"), "[::1]:3001.key");
    }
}
