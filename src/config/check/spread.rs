//! The rules of pools whose calls are shared with other hosts.
//!
//! Pure. What is said of the NATS server was read before, in `load`.

use std::sync::Arc;

use serde::Serialize;

use crate::config::WireSettings;
use crate::config::file::{File, ListenFile, PoolFile};
use crate::config::findings::Findings;
use crate::config::tree::KeyPath;

/// The word for no listener.
const OFF: &str = "off";

/// Returns true if callers cannot connect.
pub(super) fn is_off(listen: &ListenFile) -> bool {
    match listen {
        ListenFile::Port(_) => false,
        ListenFile::One(text) => text == OFF,
        ListenFile::Many(texts) => texts.len() == 1 && texts[0].to_string() == OFF,
    }
}

/// Refuses a server that nobody can ask.
pub(super) fn may_be_off(findings: &mut Findings<'_>, path: &KeyPath, file: &File) {
    if !file.pool.values().any(|pool| pool.spread) {
        let message = "nobody could ask: `listen` is \"off\", and no pool works for other hosts";
        let hint = "name an address, or write `spread = true` in a pool";
        findings.refuse(path, message, hint);
    }
}

/// What servers must have in common to share the calls of this pool; `None`: they do not share them.
/// It is as it was written, so servers of different versions of this program agree.
pub(super) fn facts(
    findings: &mut Findings<'_>,
    path: &KeyPath,
    file: &PoolFile,
    whole: &File,
) -> Option<Arc<[(&'static str, String)]>> {
    if !file.spread {
        return None;
    }
    if whole.spread.is_none() {
        let message = "`spread` needs a NATS server, and there is no `[spread]`";
        let hint = "add a table: `[spread]` with `nats = \"nats://127.0.0.1:4222\"`";
        findings.refuse(&path.key("spread"), message, hint);
    }
    Some(Arc::new([
        ("python", text(&file.python)),
        ("framing", text(&file.framing)),
        ("matching", text(&file.matching)),
        ("reply", text(&file.reply)),
        ("error", text(&file.error)),
        ("error_status", text(&file.error_status)),
        ("stream", text(&file.stream)),
        ("cancel", text(&file.cancel)),
        ("id", text(&file.id)),
        ("jsonrpc", text(&file.jsonrpc)),
        ("version", text(&file.version)),
    ]))
}

/// Checks that the calls of a pool can go to other hosts.
pub(super) fn possible(
    findings: &mut Findings<'_>,
    path: &KeyPath,
    file: &PoolFile,
    wire: &WireSettings,
) {
    let has_none = file.workers.as_ref().is_some_and(|it| it.bounds() == Ok((0, 0)));
    if file.spread && has_none && wire.is_json_rpc {
        let message = "JSON-RPC that is passed on needs a worker on the server that was asked";
        findings.refuse(&path.key("workers"), message, "write `workers = 1` or more");
    }
}

fn text<T: Serialize>(value: &T) -> String {
    // What was read from a file can be written.
    serde_json::to_string(value).unwrap_or_default()
}
