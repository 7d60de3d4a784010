//! `httpipe open`: opens the page of a running server in the browser, with the operator's key.

use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::time::Duration;

use super::client::{AdminAddress, Remote, RemoteError};
use super::{complain, say};
use crate::config::flags::ServerArguments;
use crate::worker::own;

/// How long the server may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Programs that open an address in the browser of the user, the first that is there.
#[cfg(target_os = "macos")]
const OPENERS: &[&str] = &["open"];
#[cfg(not(target_os = "macos"))]
const OPENERS: &[&str] = &["xdg-open", "wslview"];

/// Opens the page, or prints its address where there is no browser.
pub(super) fn run(arguments: &ServerArguments) -> ExitCode {
    match Remote::find(arguments).and_then(|remote| page(&remote)) {
        Ok(page) => {
            // With the key in it, so it is shown only where nobody else reads.
            if !has_browser() || !opens(&page) {
                say(&format!("{page}\n"));
                if io::stdout().is_terminal() {
                    complain("hint: open it in a browser; it has the operator's key, keep it\n");
                }
            }
            ExitCode::SUCCESS
        }
        Err(trouble) => trouble.tell(),
    }
}

/// Returns the address of the page, once the server has answered.
fn page(remote: &Remote) -> Result<String, RemoteError> {
    let AdminAddress::Tcp(authority) = remote.address() else {
        return Err(RemoteError::Failed {
            what: "a browser cannot open a socket file".to_owned(),
            hint: "use `httpipe top`, or set `admin` to a port such as 127.0.0.1:3001".to_owned(),
        });
    };
    remote.get("/status.json", PATIENCE)?;
    // The listener of all addresses is on this machine too.
    let authority = authority.replace("0.0.0.0:", "127.0.0.1:").replace("[::]:", "[::1]:");
    // A fragment is never sent to a server.
    let key = remote.secret().map(|secret| format!("#key={secret}"));
    Ok(format!("http://{authority}/{}", key.unwrap_or_default()))
}

/// Returns true if the user sits before a desktop of this machine.
fn has_browser() -> bool {
    let has = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    cfg!(target_os = "macos") || has("DISPLAY") || has("WAYLAND_DISPLAY") || has("WSL_DISTRO_NAME")
}

/// Hands the address to the first program that opens it.
fn opens(page: &str) -> bool {
    OPENERS.iter().any(|opener| own::opens(opener, page))
}
