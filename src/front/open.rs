//! A request between its head and its response.

use std::time::Instant;

use http::request::Parts;

use super::Front;
use super::access::Account;
use super::routes::Found;
use super::sender::RequestSender;

/// A request that is being answered. If its caller leaves first, it is dropped, and its line says
/// so: there is no response that a line could be about.
pub(super) struct Open<'a> {
    pub(super) front: &'a Front,
    pub(super) head: &'a Parts,
    pub(super) sender: RequestSender<'a>,
    pub(super) request_id: &'a str,
    pub(super) received: Instant,
    pub(super) is_answered: bool,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        let Self { front, head, sender, request_id, received, is_answered } = *self;
        if is_answered || !front.access.is_on() {
            return;
        }
        let label = match front.table.find(head.method.as_str(), head.uri.path()) {
            Found::Route(index) => &front.routes[index].label,
            _ => &front.no_label,
        };
        let at = Instant::now();
        let account = Account {
            at,
            method: head.method.as_str(),
            path: head.uri.path(),
            status: None,
            label,
            duration: at.saturating_duration_since(received),
            bytes: 0,
            sender,
            request_id,
        };
        account.write(&front.access, None, None);
    }
}
