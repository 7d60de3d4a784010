//! The rules of how answers find their calls beyond `matching`: the name of the id, JSON-RPC, and
//! messages that are no answers.
//!
//! Pure.

use crate::config::file::{IdFile, MatchingText, PoolFile, StrayText};
use crate::config::findings::Findings;
use crate::config::framing::IdNames;
use crate::config::tree::KeyPath;

/// Names that mean something else in a message.
const TAKEN: [&str; 2] = ["method", "type"];

/// Which members hold the id of a call.
pub(super) fn id(findings: &mut Findings<'_>, path: &KeyPath, file: &PoolFile) -> IdNames {
    let Some(id) = &file.id else { return IdNames::default() };
    let path = path.key("id");
    let names = match id {
        IdFile::Both(name) => IdNames { send: name.clone(), reply: name.clone() },
        IdFile::Each(each) => IdNames { send: each.send.clone(), reply: each.reply.clone() },
    };
    if file.matching != MatchingText::JsonId {
        let message = "`id` needs `matching = \"json-id\"`: other calls have no id";
        findings.refuse(&path, message, "remove it");
    }
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    for name in [&names.send, &names.reply] {
        if name.is_empty() || !name.bytes().all(is_plain) {
            let message = format!("an id cannot be called `{}`", name.escape_debug());
            findings.refuse(&path, message, "use letters, digits, `_`, `-` and `.`");
        } else if TAKEN.contains(&name.as_str()) {
            let message = format!("`{name}` cannot hold an id: it says what a message is");
            findings.refuse(&path, message, "name the member that answers repeat");
        }
    }
    names
}

/// Whether questions must be those of JSON-RPC.
pub(super) fn is_json_rpc(
    findings: &mut Findings<'_>,
    path: &KeyPath,
    file: &PoolFile,
    id: &IdNames,
) -> bool {
    let may_be = file.matching == MatchingText::JsonId && id.are_of_json_rpc();
    if file.jsonrpc == Some(true) && !may_be {
        findings.refuse(
            &path.key("jsonrpc"),
            "`jsonrpc` needs `matching = \"json-id\"` and the id in the member `id`",
            "remove it",
        );
    }
    file.jsonrpc.unwrap_or(may_be)
}

/// Whether messages that are no answers are dropped.
pub(super) fn drops_strays(findings: &mut Findings<'_>, path: &KeyPath, file: &PoolFile) -> bool {
    let drops = file.stray == StrayText::Drop;
    if drops && file.matching == MatchingText::Order {
        findings.refuse(
            &path.key("stray"),
            "with `order` any message may be an answer, so none can be dropped",
            "let the program repeat its question or its tag, and set `matching`",
        );
    }
    drops
}
