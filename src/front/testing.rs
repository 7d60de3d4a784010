//! What the tests of this room begin with: settings, and bodies that come in pieces.

use std::collections::{HashSet, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Frame, SizeHint};

use crate::base::ByteSize;
use crate::base::template::Template;
use crate::config::framing::Framings;
use crate::config::route::ContentType;
use crate::config::stamp::Stamps;
use crate::config::{
    AccessSettings, AdminSettings, CacheSettings, CallSettings, CallersSettings, Config,
    DocsSettings, Framing, Hosts, LimitSettings, LogFormat, LogLevel, LogSettings,
    PerAddressSettings, PoolSettings, RouteSettings, SendShape,
};

/// A pool whose questions are framed so.
pub(super) fn pool(framing: Framing) -> PoolSettings {
    let mut pool = PoolSettings::for_tests();
    pool.name = "fib".to_owned();
    pool.program.wire.framing = Framings { send: framing.clone(), reply: framing };
    pool
}

/// A call whose question is made from this template over the route's parameters.
pub(super) fn call(send: &str, route: &RouteSettings) -> CallSettings {
    let names = route.parameters.iter().map(|it| Arc::clone(&it.name)).collect::<Vec<_>>();
    let send = match send {
        "json" => SendShape::Json,
        "http" => SendShape::Http,
        text => SendShape::Template(Template::parse(text, &names).expect("a template")),
    };
    let has_kept = matches!(&send, SendShape::Template(template) if template.has_kept());
    CallSettings {
        pool: 0,
        send,
        cache: None,
        kept: has_kept.then_some(16 << 10),
        idempotent: true,
        content_type: ContentType::default(),
        items: None,
        jobs: None,
    }
}

/// A configuration of these routes over one pool of lines; a body may have 2048 bytes, a
/// question 1024.
pub(super) fn config(routes: Vec<RouteSettings>) -> Config {
    Config {
        files: Stamps::default(),
        warnings: vec![],
        listen: vec![],
        admin: AdminSettings { address: None, explicit: false, token: None },
        agent: None,
        tls: None,
        callers: CallersSettings::default(),
        proxy_protocol: false,
        hosts: Arc::new(Hosts::Named(HashSet::new())),
        cors: None,
        docs: DocsSettings::Off,
        threads: 1,
        drain: Duration::from_secs(30),
        log: LogSettings {
            format: LogFormat::Json,
            level: LogLevel::Info,
            access: AccessSettings::Off,
        },
        limits: LimitSettings {
            header: ByteSize(32 << 10),
            body: ByteSize(2048),
            memory: ByteSize(256 << 20),
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(75),
            connections: 100,
            per_address: PerAddressSettings::new(None),
        },
        pools: vec![Arc::new(pool(Framing::Line))],
        routes,
        cache: CacheSettings { memory: ByteSize(1 << 20), shared: None },
        jobs: None,
        spread: None,
    }
}

/// A body that comes in these pieces and then ends, or never does.
pub(super) struct Pieces {
    pub(super) pieces: VecDeque<&'static [u8]>,
    pub(super) endless: bool,
}

impl Pieces {
    /// A body of these pieces.
    pub(super) fn of(pieces: &[&'static [u8]]) -> Self {
        Self { pieces: pieces.iter().copied().collect(), endless: false }
    }
}

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.pieces.pop_front() {
            Some(piece) => Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(piece))))),
            None if self.endless => Poll::Pending,
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty() && !self.endless
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
