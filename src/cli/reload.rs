//! `httpipe reload`: tells a running server to load its configuration again, and to replace the
//! workers whose program has changed.
//!
//! A minimal HTTP client is enough, because it speaks only to the admin listener of httpipe.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::process::ExitCode;
use std::time::Duration;

use super::{FAILED, REFUSED, complain, complain_with_hint, say};
use crate::config::flags::ReloadArguments;
use crate::config::launch::reason;

/// The server answers once its new workers are ready, which takes time.
const ANSWER_TIMEOUT: Duration = Duration::from_mins(2);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How many bytes of an answer are read; no list of problems is longer.
const ANSWER_MAX: u64 = 1 << 20;

/// Sends `POST /reload` and prints the answer.
pub(super) fn run(arguments: &ReloadArguments) -> ExitCode {
    let (address, workers) = arguments.address_and_workers();
    let url = address.trim_end_matches('/');
    let authority = url.strip_prefix("http://").unwrap_or(url);
    if authority.is_empty() || authority.contains(['/', ' ']) {
        let hint = "write it as http://127.0.0.1:3001";
        complain_with_hint(&format!("`{address}` is not an admin address"), hint);
        return ExitCode::from(REFUSED);
    }
    let token = arguments.token.as_deref().filter(|token| !token.contains(['\r', '\n']));
    let Some(target) = target(workers) else {
        let hint = "see the names after `pool.` in the configuration file";
        complain_with_hint("`--workers` takes the name of a pool, or nothing", hint);
        return ExitCode::from(REFUSED);
    };
    let answer = match ask(authority, &target, token) {
        Ok(answer) => answer,
        Err(error) => {
            let hint = "is a server running, and is this its `admin` address?";
            complain_with_hint(&format!("cannot reach {authority}: {}", reason(&error)), hint);
            return ExitCode::from(FAILED);
        }
    };
    match read_answer(&answer) {
        Some((200, report)) => {
            say(&report);
            ExitCode::SUCCESS
        }
        Some((409, problems)) => {
            complain(&format!("{}\n", problems.trim_end()));
            complain("the server keeps its old configuration\n");
            ExitCode::from(FAILED)
        }
        Some((status, body)) => {
            complain(&format!("error: {authority} answered {status}\n{}\n", body.trim_end()));
            ExitCode::from(FAILED)
        }
        None => {
            let hint = "is this the `admin` address of httpipe?";
            complain_with_hint(&format!("{authority} did not answer with HTTP"), hint);
            ExitCode::from(FAILED)
        }
    }
}

/// Returns the path and the query of the request. `workers`: the pool whose workers are replaced
/// in any case; empty: all pools.
fn target(workers: Option<&str>) -> Option<String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    match workers {
        None => Some("/reload".to_owned()),
        Some("") => Some("/reload?workers".to_owned()),
        Some(pool) => pool.bytes().all(is_plain).then(|| format!("/reload?workers={pool}")),
    }
}

/// Sends the request and returns the whole answer.
fn ask(authority: &str, target: &str, token: Option<&str>) -> io::Result<String> {
    let mut stream = connect(authority)?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    stream.set_write_timeout(Some(CONNECT_TIMEOUT))?;
    let token = token.map(|token| format!("Authorization: Bearer {token}\r\n"));
    let request = format!(
        "POST {target} HTTP/1.1\r\nHost: {authority}\r\nHttpipe-Admin: 1\r\n{}\
         Content-Length: 0\r\nConnection: close\r\n\r\n",
        token.unwrap_or_default()
    );
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(ANSWER_MAX).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Connects to the first address of the name that answers.
fn connect(authority: &str) -> io::Result<TcpStream> {
    let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let with_port = if has_port { authority.to_owned() } else { format!("{authority}:80") };
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in with_port.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Returns status and body; for a problem document its `detail` instead of the body.
fn read_answer(answer: &str) -> Option<(u16, String)> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let mut words = head.split(' ');
    let is_http = words.next()?.starts_with("HTTP/1.");
    let status = words.next()?.parse().ok().filter(|_| is_http)?;
    let document: Option<serde_json::Value> = serde_json::from_str(body).ok();
    let detail = document.as_ref().and_then(|document| document["detail"].as_str());
    Some((status, detail.unwrap_or(body).to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_status_and_a_text() {
        let said = |answer: &str| read_answer(answer);
        assert_eq!(said("HTTP/1.1 200 OK\r\nA: b\r\n\r\n"), Some((200, String::new())));
        let problem = "HTTP/1.1 409 Conflict\r\n\r\n{\"detail\":\"error: x\"}";
        assert_eq!(said(problem), Some((409, "error: x".to_owned())));
        assert_eq!(said("SSH-2.0\r\n\r\n"), None);
        assert_eq!(said(""), None);
    }
}
