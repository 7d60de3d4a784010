//! The rules of `agent`: an address that is still free, and no strangers at it.
//!
//! Pure.

use super::{address, takes_any_port};
use crate::config::callers::Trust;
use crate::config::file::File;
use crate::config::findings::Findings;
use crate::config::server::ListenAddress;
use crate::config::tree::KeyPath;

/// Returns where load balancers ask. `taken` are the addresses of callers and of operators.
pub(super) fn agent(
    findings: &mut Findings<'_>,
    file: &File,
    taken: [&[ListenAddress]; 2],
    trust: &Trust,
) -> Option<ListenAddress> {
    let path = KeyPath::of(&["agent"]);
    let text = file.agent.as_ref()?.to_string();
    if text == "off" {
        return None;
    }
    let address = match address(&text) {
        Ok(address) => address,
        Err((message, hint)) => {
            findings.refuse(&path, message, format!("{hint}, or \"off\""));
            return None;
        }
    };
    for (key, others) in ["listen", "admin"].into_iter().zip(taken) {
        if others.contains(&address) && !takes_any_port(&address) {
            findings.refuse(&path, format!("`{key}` has {text} already"), "give it another port");
        }
    }
    let is_open = matches!(&address, ListenAddress::Tcp(tcp) if !tcp.ip().is_loopback());
    if is_open && trust.is_empty() && !findings.was_refused(&KeyPath::of(&["trust"])) {
        let message = format!("anybody could ask `agent` at {text}");
        let hint = "name the load balancers in `trust`, or listen on 127.0.0.1";
        findings.refuse(&path, message, hint);
    }
    Some(address)
}
