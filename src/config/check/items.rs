//! Whether a route can be sent many items in one request.
//!
//! Pure.

use crate::base::parameter::Parameter;
use crate::base::template::{Segment, Slot, Template};
use crate::config::pool::PoolSettings;
use crate::config::route::{CallSettings, SendShape};
use crate::config::route_text::RouteText;

/// Returns why a route cannot have `items`, and what to do.
pub(super) fn no_items(
    text: &RouteText,
    parameters: &[Parameter],
    call: &CallSettings,
    (pool, streams): (&PoolSettings, bool),
) -> Option<(String, String)> {
    let found = |message: &str, hint: &str| Some((message.to_owned(), hint.to_owned()));
    if matches!(text.method.as_str(), "GET" | "HEAD") {
        return found(
            "a batch is a body, and a GET has none",
            "add a route of POST with the same path for it",
        );
    }
    if streams {
        return found("answers that come in parts are no outcomes of items", "leave `items` out");
    }
    if call.passes_json_rpc_on(&pool.program.wire) {
        return found(
            "JSON-RPC has batches of its own, which this route takes",
            "leave `items` out",
        );
    }
    if !is_made_of_item(parameters, &call.send) {
        return found(
            "nothing of an item would be in the question",
            "let `send` use the body, or a parameter that is not in the path",
        );
    }
    if pool.background_most() > 0 {
        return None;
    }
    if pool.rules.workers_most == 0 {
        return found(
            "no item could ever run: the pool has no workers on this server",
            "write `workers = 1` or more, or leave `items` out here",
        );
    }
    let hint = if pool.rules.share == 0 {
        format!("give `pool.{}` a `share` above 0", pool.name)
    } else {
        format!("write `workers = \"1..2\"` or `share = 1` in `pool.{}`", pool.name)
    };
    Some(("no item could ever run: callers have all the workers for themselves".to_owned(), hint))
}

/// Returns true if a question has anything of the body of its request.
fn is_made_of_item(parameters: &[Parameter], send: &SendShape) -> bool {
    match send {
        SendShape::Template(Template { segments, .. }) => segments.iter().any(|it| match it {
            Segment::Slot(Slot::Body(_)) => true,
            Segment::Slot(Slot::Parameter { .. }) => parameters.iter().any(|it| !it.in_path),
            Segment::Slot(_) | Segment::Literal(_) => false,
        }),
        SendShape::Json => parameters.iter().any(|it| !it.in_path),
        SendShape::Http | SendShape::Function(_) => true,
    }
}
