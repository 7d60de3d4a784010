//! Binds the addresses that callers and operators connect to.
//!
//! Binding needs no runtime. Before any thread or worker starts, every address is known, with the
//! real port for `:0`, and every mistake is reported.

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};
use rustix::io::{Errno, ioctl_fionbio};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, getsockname, sockopt};

use super::Stream;
use crate::config::ListenAddress;

/// How many connections the kernel holds until they are accepted; it caps this at
/// `net.core.somaxconn`.
const BACKLOG: i32 = 1024;

/// How long a server waits for others that start or stop in the directory of its socket.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);

const FLAGS: SocketFlags = SocketFlags::CLOEXEC.union(SocketFlags::NONBLOCK);

/// A bound address at which connections arrive. Dropping it removes the file of a Unix socket.
#[derive(Debug)]
pub struct Listener {
    /// Goes before the socket: see [`SocketFile`].
    local: Local,
    socket: OwnedFd,
}

#[derive(Debug)]
enum Local {
    Tcp(SocketAddr),
    Unix(SocketFile),
    /// A Unix socket whose file belongs to somebody else.
    LentUnix(String),
}

/// Why nobody can connect at an address, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on `{address}`: {reason}\n\nhint: {remedy}")]
pub struct ListenError {
    /// The address as the operator wrote it.
    pub address: String,
    /// What the system said.
    pub reason: String,
    /// What to change.
    pub remedy: &'static str,
    /// Another program listens there, so another address may work.
    pub in_use: bool,
}

impl Listener {
    /// Binds an address and listens.
    pub fn bind(address: &ListenAddress) -> Result<Self, ListenError> {
        match address {
            ListenAddress::Tcp(address) => {
                bind_tcp(*address).map_err(|error| tcp_problem(*address, &error))
            }
            ListenAddress::Unix(path) => bind_unix(path),
        }
    }

    /// Takes a socket that somebody else has bound, listens on, and keeps open. `name` is what a
    /// problem calls it.
    pub fn lent(socket: OwnedFd, name: String) -> Result<Self, ListenError> {
        let refuse = |(reason, remedy): (String, &'static str)| ListenError {
            address: name,
            reason,
            remedy,
            in_use: false,
        };
        let local = local_of_lent(&socket).map_err(refuse)?;
        Ok(Self { local, socket })
    }

    /// Returns the address where it listens, with the real port: `127.0.0.1:3000`, or
    /// `unix:/path`.
    pub fn local(&self) -> String {
        match &self.local {
            Local::Tcp(address) => address.to_string(),
            Local::Unix(file) => show_unix(&file.path),
            Local::LentUnix(name) => name.clone(),
        }
    }

    /// Returns true if it is reached over TCP and from this machine only. Web pages in a browser on
    /// this machine reach it, too.
    pub fn is_loopback(&self) -> bool {
        matches!(&self.local, Local::Tcp(address) if address.ip().is_loopback())
    }

    /// Returns true if other machines may reach it.
    pub fn is_open_to_other_machines(&self) -> bool {
        matches!(&self.local, Local::Tcp(address) if !address.ip().is_loopback())
    }

    /// Gives it to the runtime of the current thread.
    pub(super) fn open(self) -> io::Result<OpenListener> {
        let unix = |socket: OwnedFd| tokio::net::UnixListener::from_std(socket.into());
        Ok(match self.local {
            Local::Tcp(_) => {
                OpenListener::Tcp(tokio::net::TcpListener::from_std(self.socket.into())?)
            }
            Local::Unix(file) => OpenListener::Unix(Some(file), unix(self.socket)?),
            Local::LentUnix(_) => OpenListener::Unix(None, unix(self.socket)?),
        })
    }
}

/// A listener on the runtime of the current thread.
#[derive(Debug)]
pub(super) enum OpenListener {
    Tcp(tokio::net::TcpListener),
    Unix(
        #[expect(dead_code, reason = "kept for its drop")] Option<SocketFile>,
        tokio::net::UnixListener,
    ),
}

impl OpenListener {
    /// Waits for the next connection.
    ///
    /// Returns with it the address it comes from; `None` for a Unix socket.
    pub(super) async fn accept(&self) -> io::Result<(Stream, Option<IpAddr>)> {
        Ok(match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                (Stream::Tcp(stream), Some(peer.ip()))
            }
            Self::Unix(_, listener) => (Stream::Unix(listener.accept().await?.0), None),
        })
    }
}

/// Returns where a lent socket listens and makes it ready, or what is wrong with it and what to do.
fn local_of_lent(socket: &OwnedFd) -> Result<Local, (String, &'static str)> {
    const STREAM: &str = "a socket unit needs ListenStream=, and no Accept=yes";
    let unfit = |reason: &str| (reason.to_owned(), STREAM);
    match sockopt::socket_type(socket) {
        Ok(SocketType::STREAM) => {}
        Ok(_) => return Err(unfit("it is not a stream socket")),
        Err(_) => return Err(unfit("it is not a socket")),
    }
    if !sockopt::socket_acceptconn(socket).unwrap_or(false) {
        return Err(unfit("it is a connection, or it does not listen"));
    }
    let failed = |error: Errno| (io::Error::from(error).to_string(), "see the socket unit");
    ioctl_fionbio(socket, true).map_err(failed)?;
    let address = getsockname(socket).map_err(failed)?;
    if let Ok(address) = SocketAddr::try_from(address.clone()) {
        // Accepted connections inherit it, so it is set once instead of for each of them.
        sockopt::set_tcp_nodelay(socket, true).map_err(failed)?;
        return Ok(Local::Tcp(address));
    }
    let Ok(address) = SocketAddrUnix::try_from(address) else {
        return Err(unfit("it is for another kind of network"));
    };
    let path = address.path().map(|path| path.to_string_lossy().into_owned());
    let name = address.abstract_name().map(|name| format!("@{}", name.escape_ascii()));
    Ok(Local::LentUnix(format!("unix:{}", path.or(name).unwrap_or_default())))
}

fn bind_tcp(address: SocketAddr) -> io::Result<Listener> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = rustix::net::socket_with(family, SocketType::STREAM, FLAGS, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    // Accepted connections inherit it, so it is set once instead of for each of them.
    sockopt::set_tcp_nodelay(&socket, true)?;
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, BACKLOG)?;
    let listener = TcpListener::from(socket);
    let local = Local::Tcp(listener.local_addr()?);
    Ok(Listener { socket: listener.into(), local })
}

fn tcp_problem(address: SocketAddr, error: &io::Error) -> ListenError {
    let remedy = match Errno::from_io_error(error) {
        Some(Errno::ADDRINUSE) => {
            "another program listens there: stop it, or choose another port (`:0` takes any free one)"
        }
        Some(Errno::ACCESS | Errno::PERM) => {
            "ports below 1024 need a privilege: choose a higher port, or grant CAP_NET_BIND_SERVICE"
        }
        Some(Errno::ADDRNOTAVAIL) => {
            "this machine has no such address: `127.0.0.1` is for this machine only, `0.0.0.0` for everybody"
        }
        Some(Errno::AFNOSUPPORT) => "this machine has no IPv6: choose an IPv4 address",
        Some(Errno::MFILE | Errno::NFILE) => "too many open files: raise `ulimit -n`",
        _ => "choose another address",
    };
    ListenError {
        address: address.to_string(),
        reason: error.to_string(),
        remedy,
        in_use: Errno::from_io_error(error) == Some(Errno::ADDRINUSE),
    }
}

/// The file of a Unix socket. Dropping this removes it, unless another file has taken its place.
///
/// It is dropped while the socket still listens. So another server that starts finds it in use
/// until it is gone, and no other file can get its inode.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Somebody may have put their own file there meanwhile, and must not do so from here on.
        let _lock = lock_directory(&self.path, Duration::ZERO);
        if identity(&self.path).is_ok_and(|found| found == self.identity)
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove the socket file");
        }
    }
}

fn bind_unix(path: &Path) -> Result<Listener, ListenError> {
    let problem = |error: &io::Error| unix_problem(path, error);
    let address = SocketAddrUnix::new(path).map_err(|error| problem(&error.into()))?;
    // From the look at the file until this server listens, no other one may look.
    let _lock = lock_directory(path, LOCK_PATIENCE);
    make_room(path, &address)?;
    listen_unix(path, &address).map_err(|error| problem(&error))
}

fn listen_unix(path: &Path, address: &SocketAddrUnix) -> io::Result<Listener> {
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, FLAGS, None)?;
    rustix::net::bind(&socket, address)?;
    let file = SocketFile { path: path.to_owned(), identity: identity(path)? };
    // Before it listens nobody can connect, so nobody slips in between.
    fs::set_permissions(path, fs::Permissions::from_mode(0o660))?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(Listener { socket, local: Local::Unix(file) })
}

/// Locks the directory of a socket against other servers that start or stop there; a file of its
/// own would stay behind. Returns `None` if there can be no lock, as on some network file systems,
/// or if somebody holds it for longer than `patience`: a server needs it for a moment only.
fn lock_directory(path: &Path, patience: Duration) -> Option<OwnedFd> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let lock = open(directory.unwrap_or(Path::new(".")), flags, Mode::empty()).ok()?;
    let since = Instant::now();
    loop {
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Some(lock),
            Err(Errno::WOULDBLOCK | Errno::INTR) if since.elapsed() < patience => {
                pause();
            }
            Err(error) => {
                tracing::debug!(path = %path.display(), %error, "no lock for a socket file");
                return None;
            }
        }
    }
}

/// Waits a moment for a lock.
#[expect(clippy::disallowed_methods, reason = "the server has not started yet")]
fn pause() {
    std::thread::sleep(Duration::from_millis(5));
}

/// Removes the file of a socket on which no program listens.
fn make_room(path: &Path, address: &SocketAddrUnix) -> Result<(), ListenError> {
    let refuse = |reason: &str, remedy, in_use| {
        Err(ListenError { address: show_unix(path), reason: reason.to_owned(), remedy, in_use })
    };
    let Ok(found) = fs::symlink_metadata(path) else {
        return Ok(());
    };
    if !found.file_type().is_socket() {
        return refuse(
            "the file exists and is not a socket",
            "choose another path, or remove the file",
            false,
        );
    }
    if is_live(address) {
        return refuse(
            "in use",
            "another program listens there: stop it, or choose another path",
            true,
        );
    }
    fs::remove_file(path).map_err(|error| unix_problem(path, &error))
}

/// Returns true if a program listens there, or if that cannot be told.
fn is_live(address: &SocketAddrUnix) -> bool {
    let Ok(socket) = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, FLAGS, None)
    else {
        return true;
    };
    !matches!(rustix::net::connect(&socket, address), Err(Errno::CONNREFUSED | Errno::NOENT))
}

fn unix_problem(path: &Path, error: &io::Error) -> ListenError {
    let remedy = match Errno::from_io_error(error) {
        Some(Errno::NOENT | Errno::NOTDIR) => "create the directory first",
        Some(Errno::ACCESS | Errno::PERM | Errno::ROFS) => {
            "choose a directory that this user may write to"
        }
        Some(Errno::NAMETOOLONG) => "a socket's path may have 107 bytes: choose a shorter one",
        _ => "choose another path",
    };
    ListenError { address: show_unix(path), reason: error.to_string(), remedy, in_use: false }
}

fn show_unix(path: &Path) -> String {
    format!("unix:{}", path.display())
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let found = fs::symlink_metadata(path)?;
    Ok((found.dev(), found.ino()))
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// A directory of its own for one test.
    struct Place(PathBuf);

    impl Place {
        fn new() -> Self {
            static NEXT: AtomicU32 = AtomicU32::new(0);
            let name = format!(
                "httpipe-listen-{}-{}",
                std::process::id(),
                NEXT.fetch_add(1, Ordering::Relaxed)
            );
            let path = std::env::temp_dir().join(name);
            fs::create_dir(&path).unwrap();
            Self(path)
        }

        fn socket(&self) -> PathBuf {
            self.0.join("socket")
        }

        fn bind(&self) -> Result<Listener, ListenError> {
            Listener::bind(&ListenAddress::Unix(self.socket()))
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    fn tcp(address: &str) -> ListenAddress {
        ListenAddress::Tcp(address.parse().unwrap())
    }

    #[test]
    fn port_zero_becomes_the_real_port_and_people_can_connect() {
        let listener = Listener::bind(&tcp("127.0.0.1:0")).unwrap();
        assert!(!listener.local().ends_with(":0"), "{}", listener.local());
        TcpStream::connect(listener.local()).unwrap();
    }

    #[test]
    fn a_taken_port_is_named_with_a_remedy() {
        let first = Listener::bind(&tcp("127.0.0.1:0")).unwrap();
        let error = Listener::bind(&tcp(&first.local())).unwrap_err();
        assert!(error.in_use);
        let said = error.to_string();
        assert!(said.starts_with(&format!("cannot listen on `{}`", first.local())), "{said}");
        assert!(said.contains("Address already in use"), "{said}");
        assert!(said.contains("hint: another program listens there"), "{said}");
    }

    #[test]
    fn an_address_of_another_machine_is_named_with_a_remedy() {
        let said = Listener::bind(&tcp("192.0.2.1:0")).unwrap_err().to_string();
        assert!(said.contains("this machine has no such address"), "{said}");
    }

    #[test]
    fn a_privileged_port_says_which_privilege_is_missing() {
        let said = tcp_problem("127.0.0.1:80".parse().unwrap(), &Errno::ACCESS.into()).to_string();
        assert!(said.contains("CAP_NET_BIND_SERVICE"), "{said}");
    }

    #[test]
    fn a_socket_file_is_for_owner_and_group_and_goes_with_its_listener() {
        let place = Place::new();
        let listener = place.bind().unwrap();
        assert_eq!(listener.local(), format!("unix:{}", place.socket().display()));
        let mode = fs::metadata(place.socket()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o660);
        UnixStream::connect(place.socket()).unwrap();
        drop(listener);
        assert!(!place.socket().exists());
    }

    #[test]
    fn a_stale_socket_file_is_replaced() {
        let place = Place::new();
        drop(UnixListener::bind(place.socket()).unwrap());
        assert!(place.socket().exists());
        let _listener = place.bind().unwrap();
        UnixStream::connect(place.socket()).unwrap();
    }

    #[test]
    fn a_live_socket_is_in_use_and_stays() {
        let place = Place::new();
        let _first = place.bind().unwrap();
        let error = place.bind().unwrap_err();
        assert!(error.in_use);
        assert!(error.to_string().contains("in use"), "{error}");
        UnixStream::connect(place.socket()).unwrap();
    }

    #[test]
    fn a_file_that_is_no_socket_is_never_replaced() {
        let place = Place::new();
        fs::write(place.socket(), "precious").unwrap();
        let said = place.bind().unwrap_err().to_string();
        assert!(said.contains("is not a socket"), "{said}");
        assert_eq!(fs::read_to_string(place.socket()).unwrap(), "precious");
    }

    #[test]
    fn a_file_that_somebody_put_in_its_place_is_not_removed() {
        let place = Place::new();
        let listener = place.bind().unwrap();
        fs::rename(place.socket(), place.0.join("moved")).unwrap();
        fs::write(place.socket(), "precious").unwrap();
        drop(listener);
        assert_eq!(fs::read_to_string(place.socket()).unwrap(), "precious");
    }

    #[test]
    fn a_missing_directory_and_a_long_path_say_what_to_do() {
        let place = Place::new();
        for (path, remedy) in [
            (place.0.join("none/socket"), "create the directory first"),
            (place.0.join("x".repeat(200)), "choose a shorter one"),
        ] {
            let said = Listener::bind(&ListenAddress::Unix(path)).unwrap_err().to_string();
            assert!(said.contains(remedy), "{said}");
        }
    }
}
