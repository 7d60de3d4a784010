//! What the tests of this room ask.

use super::Request;
use crate::base::{Call, Class, Question, RouteId, Tenant};

/// A request with this question to the first pool, on a route that keeps nothing.
pub(super) fn asking(question: Question) -> Request {
    let call = Call {
        route: RouteId(0),
        question,
        idempotent: true,
        caller_deadline: None,
        own_name: None,
        tenant: Tenant::ANONYMOUS,
        hold: None,
        class: Class::default(),
        timeout: None,
    };
    Request { pool: 0, call, keep: None, claim: None, asked: None }
}
