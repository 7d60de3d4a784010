//! Makes the call of a request. That of a large request is made on a thread of its own: each byte of
//! it is looked at, some more than once.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::request::Parts;

use super::incoming::Matched;
use super::json_rpc::{self, Purpose};
use super::parameters::{Body, Sources};
use super::parts::wants_events;
use super::question::{self, Material};
use super::{Front, body, request};
use crate::base::{Call, Class, Failure, Tenant};
use crate::cache::KeptBounds;
use crate::call::{Keep, Request as Asking};
use crate::config::{CallSettings, RouteAction, RouteSettings, SendShape, WireSettings};
use crate::gate::Visitor;
use crate::sync::bulk::{LARGE, apart};
use crate::sync::memory::{Exhausted, Memory, SMALL};

/// Makes calls of one request.
pub(super) struct Maker<'a> {
    route: &'a RouteSettings,
    call: &'a CallSettings,
    /// How questions of the call are written.
    wire: &'a WireSettings,
    head: &'a Parts,
    caller_deadline: Option<Instant>,
    visitor: Option<&'a Visitor>,
}

impl Front {
    /// Makes something of a body, or of a part of it.
    pub(super) async fn made<T: Send + 'static>(
        &self,
        matched: Matched<'_>,
        bytes: &Bytes,
        make: fn(&Maker<'_>, &Bytes) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        match self.made_here(matched, bytes, make) {
            Some(result) => result,
            None => Box::pin(self.made_apart(matched, bytes, make)).await,
        }
    }

    /// Makes something of a body at once, which needs no future; `None`: it is large.
    pub(super) fn made_here<T>(
        &self,
        matched: Matched<'_>,
        bytes: &Bytes,
        make: fn(&Maker<'_>, &Bytes) -> Result<T, Failure>,
    ) -> Option<Result<T, Failure>> {
        if bytes.len() > LARGE {
            return None;
        }
        let Matched { route, call, head, caller_deadline, sender, .. } = matched;
        let wire = &self.pools[call.pool].program.wire;
        let visitor = sender.visitor;
        Some(make(&Maker { route, call, wire, head, caller_deadline, visitor }, bytes))
    }

    /// Makes something of a large body, on a thread of its own.
    pub(super) async fn made_apart<T: Send + 'static>(
        &self,
        matched: Matched<'_>,
        bytes: &Bytes,
        make: fn(&Maker<'_>, &Bytes) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let Matched { route, call, head, caller_deadline, sender, .. } = matched;
        let visitor = sender.visitor;
        let pool = &self.pools[call.pool];
        let (route, pool) = (Arc::clone(route), Arc::clone(pool));
        let (head, bytes, visitor) = (head.clone(), bytes.clone(), visitor.cloned());
        apart(move || {
            let RouteAction::Call(call) = &route.action else { unreachable!("it makes calls") };
            let (wire, head, visitor) = (&pool.program.wire, &head, visitor.as_ref());
            make(&Maker { route: &route, call, wire, head, caller_deadline, visitor }, &bytes)
        })
        .await
    }
}

/// Makes a call with this body.
pub(super) fn asking(maker: &Maker<'_>, bytes: &Bytes) -> Result<Box<Asking>, Failure> {
    let Maker { route, call, head, .. } = *maker;
    let sources = Sources {
        path: head.uri.path(),
        query: head.uri.query().unwrap_or_default(),
        body: if bytes.is_empty() || question::uses_body(&call.send) {
            Body::Nothing
        } else {
            Body::of(request::content_type(&head.headers), bytes)
        },
    };
    let (method, headers) = (head.method.as_str(), &head.headers);
    let material = Material {
        route,
        method,
        sources,
        headers,
        body: bytes,
        caller: maker.visitor.and_then(Visitor::name),
    };
    let mut asking = made_of(call, maker.wire, material, maker.caller_deadline, maker.visitor)?;
    if hears_progress(call, maker.wire) && wants_events(headers) {
        asking.call.question.listener = Some(Bytes::new());
    }
    Ok(asking)
}

/// Returns true if callers who take answers as events are told of progress.
fn hears_progress(call: &CallSettings, wire: &WireSettings) -> bool {
    let streams = match &call.send {
        SendShape::Function(function) => function.streams,
        SendShape::Http | SendShape::Json | SendShape::Template(_) => wire.stream.is_some(),
    };
    streams && wire.progress.is_some()
}

/// Makes a call of what a request has for it.
pub(super) fn made_of(
    call: &CallSettings,
    wire: &WireSettings,
    material: Material<'_>,
    caller_deadline: Option<Instant>,
    visitor: Option<&Visitor>,
) -> Result<Box<Asking>, Failure> {
    let nonce = if question::uses_nonce(&call.send) { body::nonce() } else { String::new() };
    let asked = question::ask(call, wire, material, &nonce)?;
    let kept = call.kept.map(|most| {
        let own = asked.question.text.len();
        KeptBounds { held: most, told: if own > SMALL { 0 } else { wire.message_max - own } }
    });
    let keep = call.cache.map(|ttl| Keep { question: asked.key, ttl, kept });
    let call_of_it = Call {
        route: material.route.id,
        question: asked.question,
        idempotent: call.idempotent,
        caller_deadline,
        own_name: None,
        tenant: visitor.map_or(Tenant::ANONYMOUS, Visitor::tenant),
        hold: None,
        class: Class::default(),
        timeout: None,
    };
    let claim = visitor.and_then(|visitor| visitor.claim.clone());
    Ok(Box::new(Asking { pool: call.pool, call: call_of_it, keep, claim, asked: None }))
}

/// Counts the question of a call until the call is over, and lets the body go that it was made of. A
/// question that is a part of the body keeps the body, which is counted already.
pub(super) fn held(
    mut asking: Box<Asking>,
    body: Bytes,
    memory: &Arc<Memory>,
) -> Result<Box<Asking>, Failure> {
    let text = &mut asking.call.question.text;
    if text.len() <= SMALL || question::is_part(text, &body) {
        return Ok(asking);
    }
    drop(body);
    *text = memory.hold(std::mem::take(text)).map_err(|Exhausted| Failure::Busy)?;
    Ok(asking)
}

/// Makes a call of a message of JSON-RPC.
pub(super) fn message(maker: &Maker<'_>, text: &Bytes) -> Result<Box<Asking>, Failure> {
    asking(maker, &as_it_is_sent(maker.wire, text))
}

/// Makes a call of a message that nobody answers. Returns what it is for, too.
pub(super) fn notification(
    maker: &Maker<'_>,
    text: &Bytes,
) -> Result<(Box<Asking>, Purpose), Failure> {
    let asking = message(&Maker { caller_deadline: None, ..*maker }, text)?;
    let purpose = json_rpc::purpose(&asking.call.question.text);
    Ok((asking, purpose))
}

/// Replaces line ends between the tokens if the framing cannot carry them.
fn as_it_is_sent(wire: &WireSettings, text: &Bytes) -> Bytes {
    let text = text.slice_ref(text.trim_ascii());
    let is_carried = wire.framing.unsendable(&text).is_none();
    if is_carried { text } else { json_rpc::in_one_line(&text) }
}
