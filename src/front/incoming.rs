//! A request that is being read: its head, and as much of its body as was wanted.

use std::cell::RefCell;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::request::Parts;
use hyper::body::Body;

use super::sender::RequestSender;
use super::{body, request};
use crate::base::Failure;
use crate::config::{CallSettings, LimitSettings, RouteSettings};
use crate::sync::memory::Memory;

/// One request whose head was received.
#[derive(Debug)]
pub(super) struct Incoming<'a, B> {
    /// Its head.
    pub(super) head: &'a Parts,
    body: Pin<&'a mut B>,
    read_whole: bool,
    received: Instant,
    /// The session that begins with this request.
    pub(super) new_session: RefCell<Option<String>>,
}

/// A request that took a route which makes calls.
#[derive(Clone, Copy)]
pub(super) struct Matched<'a> {
    /// The index of the route.
    pub(super) index: usize,
    pub(super) route: &'a Arc<RouteSettings>,
    pub(super) call: &'a CallSettings,
    pub(super) head: &'a Parts,
    pub(super) caller_deadline: Option<Instant>,
    pub(super) sender: RequestSender<'a>,
    /// In which the caller's bodies and answers are counted.
    pub(super) memory: &'a Arc<Memory>,
    /// Where the session is noted that begins with the request.
    pub(super) new_session: &'a RefCell<Option<String>>,
}

impl<'a, B: Body<Data = Bytes>> Incoming<'a, B> {
    /// A request whose head ended at `received`.
    pub(super) fn new(head: &'a Parts, body: Pin<&'a mut B>, received: Instant) -> Self {
        let read_whole = body.is_end_stream();
        Self { head, body, read_whole, received, new_session: RefCell::default() }
    }

    /// Returns when the caller stops waiting; `None`: the caller set no limit.
    pub(super) fn caller_deadline(&self) -> Result<Option<Instant>, Failure> {
        request::caller_deadline(&self.head.headers, self.received)
    }

    /// Reads the body within its limits. What was read before is gone.
    pub(super) async fn read(
        &mut self,
        limits: &LimitSettings,
        memory: &Arc<Memory>,
        caller_deadline: Option<Instant>,
    ) -> Result<Bytes, Failure> {
        if self.read_whole {
            return Ok(Bytes::new());
        }
        let limits = body::BodyLimits::new(limits, self.received, caller_deadline);
        let bytes = body::read(self.body.as_mut(), &self.head.headers, limits, memory).await?;
        self.read_whole = true;
        Ok(bytes)
    }

    /// Returns true if nothing of the request is left unread.
    pub(super) fn was_read_whole(&self) -> bool {
        self.read_whole
    }
}
