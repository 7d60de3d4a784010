//! The client of the commands that speak with a running server: `reload`, `status`, `top`, `open`
//! and `tap`.
//!
//! It finds the server, reads the operator's key where its file can be read, and says what to do if
//! something is in the way. A minimal HTTP client is enough, because it speaks only to the admin
//! listener of httpipe.

mod address;
mod response;

use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::Duration;

use self::address::DEFAULT;
use self::response::is_not_http;
use super::{FAILED, REFUSED, complain_with_hint};
use crate::admin::key::{find_key, known_addresses};
use crate::config::flags::ServerArguments;
use crate::config::problem::reason;

pub(super) use self::address::AdminAddress;
pub(super) use self::response::AdminResponse;

/// Longest time for a connection, and for a pause while a request is sent.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How many bytes of an answer are read; no status is longer.
const ANSWER_MAX: u64 = 64 << 20;

/// A server that may be running.
#[derive(Debug)]
pub(super) struct Remote {
    address: AdminAddress,
    secret: Option<String>,
}

/// Why a command did not get what it asked for.
#[derive(Debug)]
pub(super) enum RemoteError {
    /// The command line names no server.
    Usage { what: String, hint: String },
    /// The server cannot be asked, or does not answer.
    Failed { what: String, hint: String },
    /// It answered with this status and these words. `is_admin`: they are those of an admin listener.
    Answered { address: String, status: u16, words: String, is_admin: bool },
}

/// What a problem document says. One for callers has a code; one of the admin listener has none.
#[derive(serde::Deserialize)]
struct RemoteProblem {
    detail: String,
    code: Option<String>,
}

impl RemoteProblem {
    fn read(body: &str) -> Option<Self> {
        serde_json::from_str(body).ok()
    }
}

/// A connection to the admin listener.
trait Duplex: Read + Write {}
impl Duplex for TcpStream {}
impl Duplex for UnixStream {}

/// The answer to a request, with a body that is read as it comes.
pub(super) type RemoteReply = AdminResponse<Box<dyn Read>>;

impl Remote {
    /// Finds the server that the command line names, or the one that runs on this machine.
    pub(super) fn find(arguments: &ServerArguments) -> Result<Self, RemoteError> {
        let address = match &arguments.url {
            Some(url) => AdminAddress::read(url).map_err(|how| RemoteError::Usage {
                what: format!("`{}` is not an admin address", url.escape_debug()),
                hint: how.to_owned(),
            })?,
            None => the_only_one()?,
        };
        Self::at(address, arguments.token.as_deref())
    }

    /// Speaks with the server at this address, by the token or else by the operator's key.
    pub(super) fn at(address: AdminAddress, token: Option<&str>) -> Result<Self, RemoteError> {
        let secret = match token {
            // It could forge a header.
            Some(token) if !token.bytes().all(|byte| matches!(byte, b' '..=b'~')) => {
                return Err(RemoteError::Usage {
                    what: "the token has characters that no token has".to_owned(),
                    hint: "see `admin_token` in the configuration file".to_owned(),
                });
            }
            Some(token) => Some(token.to_owned()),
            None => find_key(&address.to_string()).map(|key| key.reveal().to_owned()),
        };
        Ok(Self { address, secret })
    }

    /// Returns where the server is.
    pub(super) fn address(&self) -> &AdminAddress {
        &self.address
    }

    /// Returns the token or the key that is sent, if there is one.
    pub(super) fn secret(&self) -> Option<&str> {
        self.secret.as_deref()
    }

    /// Sends a request without a body. The answer, whatever its status, is to begin within
    /// `patience`, and no pause in it may be longer.
    pub(super) fn ask(
        &self,
        method: &str,
        target: &str,
        patience: Duration,
    ) -> Result<RemoteReply, RemoteError> {
        self.try_ask(method, target, patience).map_err(|error| self.trouble(&error))
    }

    /// Gets a page, which must be there.
    pub(super) fn get(&self, target: &str, patience: Duration) -> Result<RemoteReply, RemoteError> {
        let reply = self.ask("GET", target, patience)?;
        if reply.status == 200 { Ok(reply) } else { Err(self.refused(reply)) }
    }

    /// Hands the data of each event of a stream to `take`, until that returns false or the stream ends.
    /// No pause may be longer than `silence`.
    pub(super) fn events(
        &self,
        target: &str,
        silence: Duration,
        mut take: impl FnMut(&str) -> Result<bool, RemoteError>,
    ) -> Result<(), RemoteError> {
        let mut reader = BufReader::new(self.get(target, silence)?);
        let mut line = String::new();
        loop {
            line.clear();
            let count = reader.read_line(&mut line).map_err(|error| self.trouble(&error))?;
            if count == 0 {
                return Ok(());
            }
            let Some(data) = line.strip_prefix("data:") else { continue };
            if !take(data.trim())? {
                return Ok(());
            }
        }
    }

    /// Reads an answer to its end.
    pub(super) fn text(&self, reply: RemoteReply) -> Result<String, RemoteError> {
        let mut bytes = Vec::new();
        reply.take(ANSWER_MAX).read_to_end(&mut bytes).map_err(|error| self.trouble(&error))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Turns an answer that is not the one hoped for into what the user is told.
    pub(super) fn refused(&self, reply: RemoteReply) -> RemoteError {
        let status = reply.status;
        match self.text(reply) {
            Ok(body) => {
                let told = RemoteProblem::read(&body);
                let is_admin = told.as_ref().is_some_and(|it| it.code.is_none());
                let words = told.map_or(body, |it| it.detail);
                let address = self.address.to_string();
                RemoteError::Answered { address, status, words, is_admin }
            }
            Err(trouble) => trouble,
        }
    }

    fn try_ask(&self, method: &str, target: &str, patience: Duration) -> io::Result<RemoteReply> {
        let mut stream = connect(&self.address, patience)?;
        let secret = self.secret.as_ref().map(|it| format!("Authorization: Bearer {it}\r\n"));
        let request = format!(
            "{method} {target} HTTP/1.1\r\nHost: {}\r\nHttpipe-Admin: 1\r\n{}\
             Content-Length: 0\r\nConnection: close\r\n\r\n",
            self.address.host(),
            secret.unwrap_or_default()
        );
        stream.write_all(request.as_bytes())?;
        let reader: Box<dyn Read> = stream;
        AdminResponse::read(reader)
    }

    /// Says that what answers is not what this command can use.
    pub(super) fn strange(&self, why: &str) -> RemoteError {
        RemoteError::Failed {
            what: format!("{} is no httpipe that this one can read: {why}", self.address),
            hint: "run the `httpipe` of the server's version, against its `admin` address"
                .to_owned(),
        }
    }

    /// Says why a request got no answer.
    pub(super) fn trouble(&self, error: &io::Error) -> RemoteError {
        let address = &self.address;
        if is_not_http(error) {
            return RemoteError::Failed {
                what: format!("{address} did not answer with HTTP"),
                hint: "is this the `admin` address of httpipe?".to_owned(),
            };
        }
        let what = match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "it does not answer".to_owned(),
            _ => reason(error),
        };
        RemoteError::Failed {
            what: format!("cannot reach {address}: {what}"),
            hint: "is a server running, and is this its `admin` address?".to_owned(),
        }
    }
}

impl RemoteError {
    /// Returns what is wrong, on one line.
    pub(super) fn words(&self) -> String {
        match self {
            Self::Usage { what, .. } | Self::Failed { what, .. } => what.clone(),
            Self::Answered { address, status, words, .. } => {
                format!("{address} answered {status}: {}", words.trim_end())
            }
        }
    }

    /// Tells the user, and returns the exit code.
    pub(super) fn tell(&self) -> ExitCode {
        match self {
            Self::Usage { what, hint } => {
                complain_with_hint(what, hint);
                ExitCode::from(REFUSED)
            }
            Self::Failed { what, hint } => {
                complain_with_hint(what, hint);
                ExitCode::from(FAILED)
            }
            Self::Answered { address, status, words, is_admin } => {
                let words = words.trim_end();
                let what = format!("{address} answered {status}\n{words}");
                complain_with_hint(&what, remedy(*status, *is_admin));
                ExitCode::from(FAILED)
            }
        }
    }
}

/// Returns what a user can do about an answer.
fn remedy(status: u16, is_admin: bool) -> &'static str {
    match status {
        401 => {
            "run this as the user of the server, who can read its key, or as root; or give \
             `--token` what `admin_token` says"
        }
        403 => "give the address as 127.0.0.1 or localhost, or give `--token`",
        404 if is_admin => "`httpipe status` shows what the server has",
        404 => "is this the `admin` address of httpipe, and of this version?",
        503 => "others look at the server already; close one of them",
        _ => "see the log of the server",
    }
}

/// Returns the server that runs on this machine: the one whose key can be read, or else the one at
/// the default address.
fn the_only_one() -> Result<AdminAddress, RemoteError> {
    let known = known_addresses().into_iter().filter_map(|it| AdminAddress::read(&it).ok());
    // A server that was killed has left its key.
    let mut alive: Vec<AdminAddress> =
        known.filter(|address| connect(address, CONNECT_TIMEOUT).is_ok()).collect();
    let default = AdminAddress::Tcp(DEFAULT.to_owned());
    if alive.len() > 1 && !alive.contains(&default) {
        let names: Vec<String> = alive.iter().map(ToString::to_string).collect();
        return Err(RemoteError::Usage {
            what: format!("several servers are running: {}", names.join(", ")),
            hint: format!("give the address of one, as in `httpipe top {}`", names[0]),
        });
    }
    Ok(if alive.len() == 1 { alive.remove(0) } else { default })
}

fn connect(address: &AdminAddress, patience: Duration) -> io::Result<Box<dyn Duplex>> {
    match address {
        AdminAddress::Tcp(authority) => {
            let stream = connect_tcp(authority)?;
            stream.set_read_timeout(Some(patience))?;
            stream.set_write_timeout(Some(CONNECT_TIMEOUT))?;
            Ok(Box::new(stream))
        }
        AdminAddress::Unix(path) => {
            let stream = UnixStream::connect(path)?;
            stream.set_read_timeout(Some(patience))?;
            stream.set_write_timeout(Some(CONNECT_TIMEOUT))?;
            Ok(Box::new(stream))
        }
    }
}

/// Connects to the first address of the name that answers.
fn connect_tcp(authority: &str) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in authority.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}
