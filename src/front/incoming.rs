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
use crate::net::fields::HeadFields;
use crate::sync::memory::Memory;

/// One request whose head was received.
#[derive(Debug)]
pub(super) struct Incoming<'a, B> {
    /// Its head.
    pub(super) head: &'a Parts,
    /// What was found in it.
    pub(super) fields: HeadFields<'a>,
    /// `None` once another one reads it.
    body: Option<B>,
    /// What was read of the body to see what it is.
    first: Bytes,
    read_whole: bool,
    received: Instant,
    pub(super) request_id: &'a str,
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
    pub(super) request_id: &'a str,
    /// In which the caller's bodies and answers are counted.
    pub(super) memory: &'a Arc<Memory>,
    /// Where the session is noted that begins with the request.
    pub(super) new_session: &'a RefCell<Option<String>>,
}

impl<'a, B: Body<Data = Bytes> + Unpin> Incoming<'a, B> {
    /// A request whose head has these fields and ended at `received`.
    pub(super) fn new(
        head: &'a Parts,
        fields: HeadFields<'a>,
        body: B,
        received: Instant,
        request_id: &'a str,
    ) -> Self {
        let read_whole = body.is_end_stream();
        let (body, first) = (Some(body), Bytes::new());
        let new_session = RefCell::default();
        Self { head, fields, body, first, read_whole, received, request_id, new_session }
    }

    /// Returns when its head ended.
    pub(super) fn received(&self) -> Instant {
        self.received
    }

    /// Returns when the caller stops waiting; `None`: the caller set no limit.
    pub(super) fn caller_deadline(&self) -> Result<Option<Instant>, Failure> {
        if !self.fields.has_timeout {
            return Ok(None);
        }
        request::caller_deadline(&self.head.headers, self.received)
    }

    /// Returns nothing if the body is not used, or the body if nothing of it is left to be read; `None`:
    /// it is to be read.
    pub(super) fn at_hand(&mut self, is_used: bool) -> Option<Bytes> {
        if !is_used {
            return Some(Bytes::new());
        }
        self.read_whole.then(|| std::mem::take(&mut self.first))
    }

    /// Reads the body within its limits. What was read before is gone.
    pub(super) async fn read(
        &mut self,
        limits: &LimitSettings,
        memory: &Arc<Memory>,
        caller_deadline: Option<Instant>,
    ) -> Result<Bytes, Failure> {
        let first = std::mem::take(&mut self.first);
        let Some(body) = self.body.as_mut().filter(|_| !self.read_whole) else { return Ok(first) };
        let limits = body::BodyLimits::new(limits, self.received, caller_deadline);
        let (body, headers) = (Pin::new(body), &self.head.headers);
        let bytes = body::read(body, first, headers, limits, memory).await?;
        self.read_whole = true;
        Ok(bytes)
    }

    /// Returns true if the head says that the body has at most so many bytes.
    pub(super) fn announces_at_most(&self, most: u64) -> bool {
        request::declared_length(&self.head.headers).is_some_and(|length| length <= most)
    }

    /// Returns the first byte of the body that is no white space. What is read for it can be read
    /// again: a body that announces its length and is not too long is read whole.
    pub(super) async fn peek(
        &mut self,
        limits: &LimitSettings,
        memory: &Arc<Memory>,
        caller_deadline: Option<Instant>,
    ) -> Result<Option<u8>, Failure> {
        if self.announces_at_most(limits.body.0) {
            self.first = self.read(limits, memory, caller_deadline).await?;
        } else if let Some(body) = self.body.as_mut().filter(|_| !self.read_whole) {
            request::check_encoding(&self.head.headers)?;
            let limits = body::BodyLimits::new(limits, self.received, caller_deadline);
            self.first = body::read_beginning(Pin::new(body), limits).await?;
        }
        Ok(self.first.iter().find(|byte| !byte.is_ascii_whitespace()).copied())
    }

    /// Takes the body away: what was read of it, and the rest; `None`: that is all of it.
    pub(super) fn take(&mut self) -> Result<(Bytes, Option<B>), Failure> {
        request::check_encoding(&self.head.headers)?;
        let body = self.body.take().filter(|_| !self.read_whole);
        self.read_whole = true;
        Ok((std::mem::take(&mut self.first), body))
    }

    /// Returns true if nothing of the request is left unread.
    pub(super) fn was_read_whole(&self) -> bool {
        self.read_whole
    }
}
