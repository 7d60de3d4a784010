//! One request from start to end.
//!
//! Everything that can be decided without waiting is decided in the pure files beside this one.
//! This file reads the body, makes the call, and counts and logs what happened.

pub mod access;
pub mod docs;
pub mod items;
pub mod jobs;
pub mod json_rpc;
pub mod multipart;
pub mod parameters;
pub mod parts;
pub mod problem;
pub mod question;
pub mod request;
pub mod response;
pub mod routes;
pub mod sample;
pub mod sender;
pub mod words;

mod batch;
mod body;
mod converse;
mod cors;
mod door;
mod ending;
mod header_text;
mod heading;
mod incoming;
mod job_answer;
mod job_events;
mod job_page;
mod job_said;
mod maker;
mod open;
mod panics;
mod preference;
mod said;
mod short_list;
mod way;

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::HeaderValue;
use http::request::Parts;
use http::{Method, Response};

use self::access::{Account, RequestId, RequestIds};
use self::cors::Reads;
use self::docs::{Docs, DocsSource};
use self::door::Door;
use self::ending::FrontEnding;
use self::foreign::JobPages;
use self::heading::{AllHeadings, Headings};
use self::incoming::{Incoming, Matched};
use self::jobs::FrontJobs;
use self::open::Open;
use self::panics::unless_panic;
pub use self::response::FrontBody;
use self::response::Manner;
use self::routes::RouteTable;
use self::said::Said;
use self::sender::RequestSender;
use self::way::Way;
use crate::base::{Failure, Timing};
use crate::call::{Answer, Calls};
use crate::config::callers::route_name;
use crate::config::{
    CallSettings, Config, Cors, LimitSettings, PoolSettings, RouteAction, RouteSettings, WhoMayAsk,
    WireSettings,
};
use crate::gate::KeyGate;
use crate::net::fields::HeadFields;
use crate::net::{Arrival, Caller, Refusal, conformance};
use crate::observe::log::{AccessLog, KnownText};
use crate::observe::metrics::{CallerMetrics, Metrics, RouteMetrics};
use crate::sync::memory::Memory;

/// What all requests under one configuration share. Nothing in it changes except the switch to
/// draining, so a reload makes a new one.
#[derive(Debug)]
pub struct Front {
    table: RouteTable,
    routes: Vec<Served>,
    pools: Vec<Arc<PoolSettings>>,
    limits: LimitSettings,
    /// Counts requests without a route.
    none: RouteMetrics,
    /// The label of requests without a route.
    no_label: KnownText,
    access: AccessLog,
    /// For the bodies and answers of all connections.
    memory: Arc<Memory>,
    /// `None`: everybody may ask, and nobody wants to know who it was.
    gate: Option<KeyGate>,
    callers: Arc<CallerMetrics>,
    door: Door,
    /// Which pages may read what no route answers.
    cors: Option<Arc<Cors>>,
    /// The configuration has `cors` somewhere.
    has_cors: bool,
    /// Which pages may look for jobs.
    job_pages: Option<Box<JobPages>>,
    /// What callers can see of what can be asked; `None`: nothing.
    docs: Option<Docs>,
    /// Where jobs are found; `None`: there are none.
    jobs: Option<Box<FrontJobs>>,
    ids: RequestIds,
    /// Where its end begins.
    pub ending: FrontEnding,
}

/// A route, with what its requests need prepared.
#[derive(Debug)]
struct Served {
    settings: Arc<RouteSettings>,
    label: KnownText,
    metrics: RouteMetrics,
    headings: Arc<Headings>,
    /// The answer of a route with a fixed one.
    text: Bytes,
    /// The route passes JSON-RPC bodies on as they are.
    json_rpc: bool,
    /// The body is a part of the question, or may hold parameters.
    uses_body: bool,
    reads: Reads,
    /// What the routes of a key call it: method and path.
    name: Box<str>,
}

impl Front {
    /// The front of this configuration. Its limits are `limits`, those of the start of the server,
    /// for a reload changes none. It logs requests to `access`, and counts bodies and answers in
    /// `memory`.
    pub fn new(
        config: &Config,
        limits: LimitSettings,
        metrics: &Metrics,
        access: AccessLog,
        memory: Arc<Memory>,
    ) -> Self {
        let reads_keys = matches!(config.callers.who, WhoMayAsk::Keys(_));
        let mut headings = AllHeadings::default();
        let served = config.routes.iter().map(|route| {
            let (pool, text) = match &route.action {
                RouteAction::Text { text, .. } => (None, text.clone()),
                RouteAction::Call(call) => (Some(&*config.pools[call.pool].name), String::new()),
            };
            Served {
                label: KnownText::new(&route.label),
                metrics: metrics.route(&route.label, pool),
                headings: headings.of_route(&route.action),
                text: text.into(),
                json_rpc: matches!(&route.action, RouteAction::Call(call)
                    if call.passes_json_rpc_on(&config.pools[call.pool].program.wire)),
                uses_body: matches!(&route.action, RouteAction::Call(call)
                    if question::may_use_body(route, call)),
                reads: Reads::of(route, reads_keys),
                name: route_name(&route.label).unwrap_or_default().into(),
                settings: Arc::new(route.clone()),
            }
        });
        Self {
            table: RouteTable::new(&config.routes),
            routes: served.collect(),
            pools: config.pools.clone(),
            limits,
            none: metrics.route("none", None),
            no_label: KnownText::new("none"),
            access,
            memory,
            gate: None,
            callers: metrics.callers(),
            door: Door::new(config),
            cors: config.cors.clone(),
            has_cors: config.cors.is_some() || config.routes.iter().any(|it| it.cors.is_some()),
            job_pages: JobPages::of(config, reads_keys),
            docs: None,
            jobs: None,
            ids: RequestIds::new(),
            ending: FrontEnding::default(),
        }
    }

    /// Puts a gate before everything.
    #[must_use]
    pub fn guarded(self, gate: Option<KeyGate>) -> Self {
        Self { gate, ..self }
    }

    /// Lets callers see what can be asked, as far as the configuration and its routes allow it.
    /// `is_private`: only this machine can reach the server.
    #[must_use]
    pub fn described(self, config: &Config, described: Arc<DocsSource>, is_private: bool) -> Self {
        let docs = Docs::new(&config.docs, is_private, described, &self.table);
        Self { docs, ..self }
    }

    /// Returns the path of the page that shows callers what can be asked, if they can see it.
    pub fn docs_path(&self) -> Option<&str> {
        self.docs.as_ref()?.page()
    }

    /// Answers one request of this caller. Never fails: what goes wrong becomes a response. The beginning
    /// of one is written where its arrival says so, if it is like most.
    pub async fn handle<B, C>(
        self: &Arc<Self>,
        calls: &C,
        head: &Parts,
        body: B,
        caller: &Caller,
        Arrival { at: received, written }: Arrival<'_>,
    ) -> Response<FrontBody>
    where
        B: hyper::body::Body<Data = Bytes> + Unpin + 'static,
        C: Calls + Clone + 'static,
    {
        let fields = HeadFields::of(&head.headers);
        let own_id = request::own_request_id(fields.request_id);
        let made_id = own_id.is_none().then(|| self.ids.next());
        let made_id = made_id.as_ref().map(RequestId::as_str);
        let request_id = own_id.or(made_id).expect("one of both is there");
        let (visitor, refused) = match &self.gate {
            Some(gate) => self.receive(gate, head, caller, received),
            None => (None, None),
        };
        let sender = RequestSender { caller, visitor: visitor.as_ref() };
        let draining = self.ending.is_draining();
        let mut incoming = Incoming::new(head, fields, body, received, request_id);
        let sound = conformance::check(head, &fields);
        let said = if let Some(failure) = refused {
            Said::Failure(None, failure)
        } else if draining {
            Said::Failure(None, Failure::Draining)
        } else if let Err(detail) = sound {
            Said::Failure(None, Failure::BadRequest { detail: detail.into() })
        } else {
            let mut open =
                Open { front: self, head, sender, request_id, received, is_answered: false };
            let answering = pin!(self.answer(calls, &mut incoming, (sender, request_id)));
            let mut said = unless_panic(answering).await.unwrap_or_else(|| {
                tracing::error!(request_id, "a request ended in a fault of the server");
                Said::Failure(None, Failure::Internal)
            });
            open.is_answered = true;
            said.hold(self.memory_of(sender));
            said
        };
        // Draining may have begun meanwhile; then this is the last answer of the connection.
        let close = self.ending.is_parting()
            || !incoming.was_read_whole()
            || sound.is_err()
            || matches!(said.failure(), Some(Failure::Draining));
        // What says less than these has a map.
        let written = written.filter(|_| head.method == Method::GET && !close && !fields.has_tags);
        let manner = Manner { request_id, head: head.method == Method::HEAD, close, written };
        let mut response = self.finish((head, &fields), sender, &said, manner, received);
        if let Some(session) = incoming.new_session.take()
            && response.status().is_success()
        {
            let session = HeaderValue::try_from(session).expect("hexadecimal digits");
            response.headers_mut().insert(converse::SESSION, session);
        }
        response
    }

    /// Answers a head that never became a request: counts and logs it, and says why.
    pub fn refuse(&self, refusal: Refusal, caller: &Caller) -> Response<Bytes> {
        let failure = match refusal {
            Refusal::Malformed => {
                let detail = "the bytes are not the head of an HTTP/1 request".into();
                Failure::BadRequest { detail }
            }
            Refusal::Late => Failure::RequestTimeout,
            Refusal::TargetTooLong => Failure::UriTooLong,
            Refusal::HeadTooLarge => Failure::HeadersTooLarge,
        };
        let id = self.ids.next();
        let manner = Manner { request_id: id.as_str(), head: false, close: true, written: None };
        let response = response::of_failure(&failure, Timing::default(), manner);
        let account = Account {
            at: Instant::now(),
            method: "-",
            path: "-",
            status: Some(response.status().as_u16()),
            label: &self.no_label,
            duration: Duration::ZERO,
            bytes: response.body().length(),
            sender: RequestSender { caller, visitor: None },
            request_id: id.as_str(),
        };
        self.none.request(response.status().as_u16(), account.duration);
        if self.access.is_on() {
            account.write(&self.access, None, Some(&failure));
        }
        response.map(FrontBody::into_bytes)
    }

    /// Answers a request. What is rare is in a box: each connection has room for the rest of this.
    async fn answer<B, C>(
        self: &Arc<Self>,
        calls: &C,
        incoming: &mut Incoming<'_, B>,
        (sender, request_id): (RequestSender<'_>, &str),
    ) -> Said
    where
        B: hyper::body::Body<Data = Bytes> + Unpin + 'static,
        C: Calls + Clone + 'static,
    {
        let (head, memory) = (incoming.head, self.memory_of(sender));
        let (index, call) = match self.way(head, incoming.fields.marks, sender) {
            Way::Call(index, call) => (index, call),
            Way::Text(index) => return Said::Text(index),
            Way::Said(said) => return *said,
            Way::Job(jobs, path) => {
                return Box::pin(jobs.attend(path, head, (sender, memory), request_id)).await;
            }
            Way::Nowhere => return Box::pin(self.unrouted(head)).await,
        };
        let route = &self.routes[index].settings;
        // Then nothing is waited for, and the call is made at this moment.
        let asked = incoming.was_read_whole().then_some(incoming.received());
        if call.items.is_some()
            && let Some(form) = batch::form_of(&head.headers, route)
        {
            let items = self.items(calls, incoming, (index, form), (sender, request_id));
            if let Some(said) = Box::pin(items).await {
                return said;
            }
        }
        let at_hand = incoming.at_hand(self.routes[index].uses_body);
        let read = match (incoming.caller_deadline(), at_hand) {
            (Ok(deadline), Some(bytes)) => Ok((bytes, deadline)),
            (Ok(deadline), None) => Box::pin(self.read(incoming, memory, deadline)).await,
            (Err(failure), _) => Err(failure),
        };
        let (bytes, caller_deadline) = match read {
            Ok(read) => read,
            Err(failure) => return Said::Failure(Some(index), failure),
        };
        let matched = Matched {
            index,
            route,
            call,
            head,
            caller_deadline,
            sender,
            memory,
            request_id: incoming.request_id,
            new_session: &incoming.new_session,
        };
        if self.routes[index].json_rpc {
            return Box::pin(self.converse(calls, matched, &bytes)).await;
        }
        let made = match self.made_here(matched, &bytes, maker::asking) {
            Some(made) => made,
            None => Box::pin(self.made_apart(matched, &bytes, maker::asking)).await,
        };
        match made.and_then(|asking| maker::held(asking, bytes, memory)) {
            Ok(asking) if call.jobs.is_some() && incoming.fields.has_preferences => {
                Box::pin(self.asked(calls, matched, asking)).await
            }
            Ok(mut asking) => {
                asking.asked = asked;
                Said::Answer(index, calls.call(asking).await)
            }
            Err(failure) => Said::Failure(Some(index), failure),
        }
    }

    /// Returns the memory in which the bodies and answers of a caller are counted.
    fn memory_of<'a>(&'a self, sender: RequestSender<'a>) -> &'a Arc<Memory> {
        let gate = self.gate.as_ref().zip(sender.visitor);
        gate.and_then(|(gate, visitor)| gate.memory(visitor)).unwrap_or(&self.memory)
    }

    /// Returns true if a caller is one of several who have a share each.
    fn has_share(&self, sender: RequestSender<'_>) -> bool {
        let gate = self.gate.as_ref().zip(sender.visitor);
        gate.is_some_and(|(gate, visitor)| gate.memory(visitor).is_some())
    }

    /// Returns how questions of this call are written.
    fn wire(&self, call: &CallSettings) -> &WireSettings {
        &self.pools[call.pool].program.wire
    }

    /// Reads the body. Returns when its caller stops waiting, too.
    async fn read<B: hyper::body::Body<Data = Bytes> + Unpin>(
        &self,
        incoming: &mut Incoming<'_, B>,
        memory: &Arc<Memory>,
        deadline: Option<Instant>,
    ) -> Result<(Bytes, Option<Instant>), Failure> {
        Ok((incoming.read(&self.limits, memory, deadline).await?, deadline))
    }

    /// Makes the response of what most requests are not answered with.
    fn made_of_rare(
        &self,
        said: &Said,
        head: &Parts,
        now: Instant,
        manner: Manner<'_>,
    ) -> Response<FrontBody> {
        match said {
            Said::Text(_) | Said::Answer(..) => unreachable!("its caller makes it"),
            Said::Options(allow, _) => response::of_options(allow, manner),
            Said::Batch(_, replies, timing) => response::of_batch(replies, *timing, manner),
            Said::Items(_, batch) => response::of_items(batch, manner),
            Said::Accepted(_) => response::of_accepted(manner),
            Said::Job(_, job) => response::of_job(job, manner),
            Said::Kept(_, kept) => response::of_kept(kept, &head.headers, now, manner),
            Said::Docs(body) => response::of_docs(body, &head.headers, manner),
            Said::Failure(_, failure) => {
                let mut response = response::of_failure(failure, Timing::default(), manner);
                if let Some(docs) = &self.docs {
                    response::show_instead(&mut response, docs, head, failure, manner);
                }
                response
            }
        }
    }

    /// Makes the response, and counts and logs it.
    fn finish(
        &self,
        (head, fields): (&Parts, &HeadFields<'_>),
        sender: RequestSender<'_>,
        said: &Said,
        manner: Manner<'_>,
        received: Instant,
    ) -> Response<FrontBody> {
        let now = Instant::now();
        let (route, mut response) = match said {
            Said::Text(index) => {
                let served = &self.routes[*index];
                (Some(served), response::of_text(&served.text, &served.headings, manner))
            }
            Said::Answer(index, answer) => {
                let served = &self.routes[*index];
                let reads = || matches!(head.method, Method::GET | Method::HEAD);
                let may_be_known = fields.has_tags && reads();
                let (headings, request) = (&served.headings, &head.headers);
                let response =
                    response::of_answer(answer, headings, request, may_be_known, now, manner);
                (Some(served), response)
            }
            rare => {
                let index = rare.route().filter(|_| !matches!(rare, Said::Options(..)));
                (self.served(index), self.made_of_rare(rare, head, now, manner))
            }
        };
        if let Some(visitor) = sender.visitor {
            self.note(visitor, said.failure(), &head.headers, now, (manner.written, &mut response));
        }
        if self.has_cors {
            self.permit(&mut response, said, head);
        }
        let status = response.status().as_u16();
        manner.written.inspect(|written| written.note_made(now));
        let metrics = route.map_or(&self.none, |served| &served.metrics);
        let duration = now.saturating_duration_since(received);
        metrics.request(status, duration);
        if let Said::Answer(_, Answer { cache: Some(cache), .. }) = said {
            metrics.cache(said::result_of(cache));
        }
        if self.access.is_on() && said.has_ended() {
            let label = route.map_or(&self.no_label, |served| &served.label);
            let bytes = response.body().length();
            let (method, path) = (head.method.as_str(), head.uri.path());
            let (status, request_id) = (Some(status), manner.request_id);
            let account = Account {
                at: now,
                method,
                path,
                status,
                label,
                duration,
                bytes,
                sender,
                request_id,
            };
            account.write(&self.access, said.call(), said.failure());
        }
        response
    }
}

#[cfg(test)]
mod failures_page;
mod foreign;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
