//! The rules of answers that come in parts, and of calls that are cancelled.
//!
//! Pure.

use crate::config::file::{MatchingText, PoolFile};
use crate::config::findings::Findings;
use crate::config::pool::{ReplyShape, StreamEnd, StreamSettings};
use crate::config::scalar::InFlightText;
use crate::config::tree::KeyPath;

/// How streamed answers end; `None` if the pool does not stream.
pub(super) fn stream(
    findings: &mut Findings<'_>,
    path: &KeyPath,
    file: &PoolFile,
    reply: &ReplyShape,
) -> Option<StreamSettings> {
    let buffer = findings.positive_size(&path.key("stream_buffer"), file.stream_buffer);
    let text = file.stream.as_deref()?;
    let key = path.key("stream");
    let end = match text.split_once(':') {
        None if text == "more" => StreamEnd::More,
        None if text == "turn" => StreamEnd::Turn,
        Some(("until", end)) if !end.is_empty() => StreamEnd::Until(end.to_owned()),
        _ => {
            let message = format!("`{text}` does not say how a streamed answer ends");
            let hint = "write \"until:END\", END being the message after the last part, \"more\" or \"turn\"";
            findings.refuse(&key, message, hint);
            return None;
        }
    };
    let matching = file.matching;
    if end == StreamEnd::Turn && matching != MatchingText::Order {
        let message = "`stream = \"turn\"` needs `order`: other workers take no turns";
        findings.refuse(&key, message, "remove `matching`");
    } else if matching == MatchingText::Echo {
        let message =
            "`stream` cannot be used with `echo`: the end of an answer repeats no question";
        findings.refuse(&key, message, "use `order`, `tag` or `json-id`");
    } else if matching == MatchingText::JsonId && end != StreamEnd::More {
        let message = "with `json-id` every message is JSON, and so is the last of an answer";
        findings.refuse(&key, message, "write `stream = \"more\"`");
    } else if matches!(reply, ReplyShape::Http) {
        let message = "`reply = \"http\"` cannot be used with `stream`";
        findings.refuse(&key, message, "remove one of them");
    }
    match &file.in_flight {
        Some(InFlightText::Text(_)) => {
            let message =
                "`in_flight = \"auto\"` may run a call twice, which `stream` does not allow";
            findings.refuse(&path.key("in_flight"), message, "write a number");
        }
        Some(InFlightText::Number(2..)) if matching == MatchingText::Order => {
            let message = "with `order` a worker can stream only one answer at a time";
            let hint = "leave `in_flight` out, or use `tag` or `json-id`";
            findings.refuse(&path.key("in_flight"), message, hint);
        }
        _ => {}
    }
    let buffer = usize::try_from(buffer.0).unwrap_or(usize::MAX);
    Some(StreamSettings { end, buffer })
}

/// The message that cancels a call.
pub(super) fn cancel(
    findings: &mut Findings<'_>,
    path: &KeyPath,
    file: &PoolFile,
) -> Option<String> {
    let text = file.cancel.clone()?;
    let key = path.key("cancel");
    let is_json = serde_json::from_str::<serde_json::Value>(&text.replace("{id}", "1")).is_ok();
    if file.matching != MatchingText::JsonId {
        let message = "`cancel` needs `matching = \"json-id\"`: other calls have no id to name";
        findings.refuse(&key, message, "remove it");
    } else if !text.contains("{id}") {
        findings.refuse(
            &key,
            "`cancel` does not name the call",
            "put {id} where the id of the call is",
        );
    } else if !is_json {
        findings.refuse(&key, "`cancel` is not JSON", "write {id} without quotes");
    }
    Some(text)
}
