//! Whether a route can tell its program the answers that it keeps (`{kept:json}`).
//!
//! Pure.

use crate::base::ByteSize;
use crate::base::template::{Segment, Slot};
use crate::config::file::RouteFile;
use crate::config::findings::Findings;
use crate::config::framing::Framing;
use crate::config::pool::WireSettings;
use crate::config::route::SendShape;
use crate::config::tree::KeyPath;

/// Most bytes of the object, and how many it has unless the file says less. Pieces of this size are
/// not counted in `limits.memory`.
const MOST: ByteSize = ByteSize(16 << 10);

/// Returns the most bytes of kept answers in a question; `None` if `send` does not ask for them.
pub(super) fn kept(
    findings: &mut Findings<'_>,
    path: &KeyPath,
    route: &RouteFile,
    send: &SendShape,
    wire: Option<&WireSettings>,
) -> Option<usize> {
    let key = path.key("kept");
    let places = match send {
        SendShape::Template(template) => {
            let is_kept = |it: &&Segment| **it == Segment::Slot(Slot::Kept);
            template.segments.iter().filter(is_kept).count()
        }
        SendShape::Json | SendShape::Http | SendShape::Function(_) => 0,
    };
    if places == 0 {
        if route.kept.is_some() {
            let message = "`kept` has no effect: `send` does not ask for the kept answers";
            findings.refuse(&key, message, "put {kept:json} into `send`, or remove `kept`");
        }
        return None;
    }
    let refused = if places > 1 {
        Some(("`{kept:json}` is in `send` twice", "leave one out"))
    } else if route.cache.is_none() {
        Some((
            "`{kept:json}` tells nothing: this route keeps no answers",
            "add `cache = \"1h\"`, or remove the slot",
        ))
    } else if route.jobs.is_some() {
        Some((
            "`{kept:json}` cannot be used beside `jobs`, whose questions are written down long \
             before they are asked",
            "give jobs a route of their own, without the slot",
        ))
    } else if names_caller(send) {
        Some((
            "`{kept:json}` cannot be used beside `{caller}`: it tells the answers that others got",
            "leave one of them out",
        ))
    } else if wire.is_some_and(ends_with_text) {
        Some((
            "`{kept:json}` cannot be used where a text ends a message: an answer may contain it",
            "let {nonce} be part of that text, or frame messages by lines or by a length",
        ))
    } else {
        None
    };
    if let Some((message, hint)) = refused {
        findings.refuse(&path.key("send"), message, hint);
    }
    let most = route.kept.map_or(MOST, |size| findings.positive_size(&key, size));
    if most > MOST {
        let message = "`kept` cannot be more than 16 KiB";
        findings.refuse(&key, message, "write \"16KiB\" or less");
    }
    usize::try_from(most.0).ok()
}

/// Returns true if the question says who asks, so that each caller has answers of their own.
fn names_caller(send: &SendShape) -> bool {
    let SendShape::Template(template) = send else { return false };
    template.segments.iter().any(|it| *it == Segment::Slot(Slot::Caller))
}

/// Returns true if a text ends questions or answers that anybody can know.
fn ends_with_text(wire: &WireSettings) -> bool {
    let known = |it: &Framing| matches!(it, Framing::Until(end) if !end.contains("{nonce}"));
    known(&wire.framing.send) || known(&wire.framing.reply)
}
