//! The rules of groups: calls that a worker gets together (`batch`).
//!
//! Pure.

use std::time::Duration;

use crate::base::units::show_duration;
use crate::config::file::{BatchFile, FramingFile, MatchingText, PoolFile};
use crate::config::findings::Findings;
use crate::config::framing::{Framing, Framings};
use crate::config::pool::{GroupSettings, GroupShape};
use crate::config::tree::KeyPath;

/// Calls may gather for at most this part of `queue.wait`: with more, a queue would seem to stand.
const WAIT_PARTS: u32 = 10;

/// What a group looks like on the wire; `None` where workers get one call at a time.
pub(super) fn shape(
    findings: &mut Findings<'_>,
    path: &KeyPath,
    file: &PoolFile,
    framing: Option<&Framings>,
) -> Option<GroupShape> {
    file.batch.as_ref()?;
    let key = path.key("batch");
    if file.matching != MatchingText::Order {
        let message = "`batch` needs `order`: each answer of a group is known by its place";
        let hint = "remove `matching`; or remove `batch`, and set `in_flight`: where answers say whose \
                    they are, a worker may have several calls";
        findings.refuse(&key, message, hint);
    }
    if file.stream.is_some() {
        let message = "`batch` cannot be used with `stream`: a group has one answer";
        findings.refuse(&key, message, "remove one of them");
    }
    if file.in_flight.is_some() {
        let message = "`in_flight` cannot be used with `batch`: a worker has one group at a time";
        findings.refuse(
            &path.key("in_flight"),
            message,
            "remove `in_flight`: `most` says how many",
        );
    }
    if file.recycle.as_ref().is_some_and(|recycle| recycle.calls == Some(1)) {
        let message = "`batch` cannot be used with `recycle.calls = 1`: each worker gets one call";
        findings.refuse(&key, message, "remove one of them");
    }
    let Framings { send, reply } = framing?;
    let shape = shape_of(send).filter(|shape| shape_of(reply) == Some(*shape));
    if shape.is_none() {
        let written = match &file.framing {
            FramingFile::Both(text) => format!("`framing = \"{text}\"`"),
            FramingFile::Each(_) => format!("questions as `{send}` and answers as `{reply}`"),
        };
        let message = format!("`batch` cannot be used with {written}");
        let hint = "write `framing = \"block\"` where each question and each answer is a line; or \
                    \"line\", \"nul\", \"u16\", \"u32\", \"u32le\", \"netstring\" or \
                    \"content-length\" where they are JSON: the program then gets an array";
        findings.refuse(&key, message, hint);
    }
    shape
}

/// What groups in this framing look like; `None`: there are none.
fn shape_of(framing: &Framing) -> Option<GroupShape> {
    match framing {
        Framing::Block => Some(GroupShape::Lines),
        Framing::Line
        | Framing::Nul
        | Framing::U16
        | Framing::U32
        | Framing::U32le
        | Framing::Netstring
        | Framing::ContentLength => Some(GroupShape::Array),
        Framing::Lines(_)
        | Framing::Until(_)
        | Framing::LastLine(_)
        | Framing::Turn
        | Framing::Eof => None,
    }
}

/// How large groups are, and how long calls may wait for them.
pub(super) fn rules(
    findings: &mut Findings<'_>,
    path: &KeyPath,
    file: &PoolFile,
) -> Option<GroupSettings> {
    let BatchFile { most, wait } = file.batch.as_ref()?;
    let key = path.key("batch");
    let longest = file.queue.wait.0 / WAIT_PARTS;
    if wait.0 > longest {
        let message = format!(
            "calls cannot gather for {}: that is more than a tenth of `queue.wait`",
            show_duration(wait.0)
        );
        let hint = format!("write {} or less, or a longer `queue.wait`", show_duration(longest));
        findings.refuse(&key.key("wait"), message, hint);
    }
    if file.queue.length == 0 && wait.0 == Duration::ZERO {
        let message =
            "`batch` has no effect with `queue.length = 0`: a group is made of calls that wait";
        findings.refuse(&key, message, "leave `queue.length` out, or remove `batch`");
    }
    Some(GroupSettings { most: *most as usize, wait: wait.0, mixes_all: false })
}
