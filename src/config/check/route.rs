//! The rules of one route, and of routes among each other.
//!
//! Pure.

use std::sync::Arc;

use super::cors::cors;
use super::derived;
use super::function;
use super::items::no_items;
use super::jobs;
use super::kept::kept;
use super::parameter::parameters;
use super::shadows::{Shadows, covers};
use crate::base::RouteId;
use crate::base::parameter::Parameter;
use crate::base::template::{Form, Segment, Slot, Template};
use crate::config::file::{File, RouteFile};
use crate::config::findings::Findings;
use crate::config::origins::Cors;
use crate::config::pool::{PoolSettings, PythonSettings, WireSettings};
use crate::config::problem::{Place, Problem};
use crate::config::route::{
    CallSettings, ContentType, RouteAbout, RouteAction, RouteSettings, SendShape,
};
use crate::config::route_text::{self, RouteText};
use crate::config::shape::nearest;
use crate::config::tree::KeyPath;

/// Most routes: a [`RouteId`] has no more numbers.
const ROUTES_MAX: usize = 1 << 16;
/// Most pools that a hint lists.
const NAMED_MAX: usize = 8;

/// The routes that can be used, in file order.
pub(super) fn routes(
    findings: &mut Findings<'_>,
    file: &File,
    cors: Option<&Arc<Cors>>,
    pool_names: &[&String],
    pools: &[Option<PoolSettings>],
) -> Vec<RouteSettings> {
    let list = KeyPath::of(&["route"]);
    refuse_unused(findings, file, &list);
    if file.route.len() > ROUTES_MAX {
        let message = format!("there are {} routes; {ROUTES_MAX} can be served", file.route.len());
        let hint = "join routes that differ in a part of the path: /{part}";
        findings.refuse(&list.index(ROUTES_MAX), message, hint);
        return Vec::new();
    }
    let mut shadows = Shadows::default();
    let mut earlier: Vec<(RouteText, &str)> = Vec::new();
    let mut routes = Vec::new();
    for (index, route) in file.route.iter().enumerate() {
        let mut checker =
            RouteCheck { findings, path: list.index(index), file, route, pool_names, pools };
        let label = route.match_text.as_str();
        let Some(text) = checker.text() else {
            checker.rest_of(None);
            continue;
        };
        if let Some((earlier, shadow)) = shadows.first_over(&text).map(|place| &earlier[place]) {
            let (message, hint) = if *shadow == label {
                (format!("`{label}` is there twice"), "leave one out")
            } else if covers(&text, earlier) {
                (
                    format!("`{label}` can never match: `{shadow}` takes the same requests"),
                    "parameters of the query do not tell routes apart: give one another path",
                )
            } else {
                (
                    format!("`{label}` can never match: `{shadow}` comes first"),
                    "put the one with the narrower path first",
                )
            };
            checker.findings.refuse(&checker.path.key("match"), message, hint);
        }
        let rest = checker.rest_of(Some(&text));
        let cors = checker.cors(cors);
        if let (Some((parameters, action)), Ok(id)) = (rest, u16::try_from(index)) {
            routes.push(RouteSettings {
                id: RouteId(id),
                label: Arc::from(label),
                method: text.method.clone(),
                path: text.path.clone(),
                rest: text.rest,
                parameters,
                cors,
                about: about(route),
                action,
            });
        }
        shadows.add(&text, earlier.len());
        earlier.push((text, label));
    }
    for index in unnamed(file, pool_names) {
        if let Some(pool) = &pools[index] {
            derived::add(findings, file, &mut routes, &mut shadows, (index, pool), cors);
        }
    }
    routes
}

/// Reports pools that nobody can ask.
fn refuse_unused(findings: &mut Findings<'_>, file: &File, list: &KeyPath) {
    let has_functions = file.pool.values().any(|pool| pool.python.is_some());
    if file.route.is_empty() && file.pool.len() > 1 && !has_functions && !findings.was_refused(list)
    {
        let message = format!("no route uses any of the {} pools", file.pool.len());
        let hint = "add a `[[route]]` with `match` and `pool` for each of them";
        findings.problems.push(Problem::new(Place::Nowhere, message).hint(hint));
    }
}

/// The pools that no route names.
fn unnamed(file: &File, pool_names: &[&String]) -> Vec<usize> {
    let names = |route: &RouteFile, pool: &String| match &route.pool {
        Some(name) => name == pool,
        None => pool_names.len() == 1 && route.text.is_none(),
    };
    let is_named = |pool: &String| file.route.iter().any(|route| names(route, pool));
    (0..pool_names.len()).filter(|index| !is_named(pool_names[*index])).collect()
}

fn about(route: &RouteFile) -> RouteAbout {
    let text = |text: &Option<String>| text.as_deref().map(Arc::from);
    RouteAbout { summary: text(&route.summary), description: text(&route.description) }
}

struct RouteCheck<'a, 'b> {
    findings: &'a mut Findings<'b>,
    path: KeyPath,
    file: &'a File,
    route: &'a RouteFile,
    pool_names: &'a [&'a String],
    pools: &'a [Option<PoolSettings>],
}

impl RouteCheck<'_, '_> {
    /// Its match text, if there is a good one.
    fn text(&mut self) -> Option<RouteText> {
        if self.route.match_text.is_empty() {
            // `shape` has reported it.
            return None;
        }
        match route_text::parse(&self.route.match_text) {
            Ok(text) => Some(text),
            Err((message, hint)) => {
                self.findings.refuse(&self.path.key("match"), message, hint);
                None
            }
        }
    }

    /// Checks everything besides the match text. Without a good one, what depends on it is
    /// left out.
    fn rest_of(&mut self, text: Option<&RouteText>) -> Option<(Vec<Parameter>, RouteAction)> {
        let content_type = self.content_type();
        if let Some(body) = &self.route.text {
            self.nothing_beside_text();
            let action = RouteAction::Text { text: body.clone(), content_type };
            let parameters = parameters(self.findings, &self.path, self.route, &text?.parameters);
            return Some((parameters, action));
        }
        let pool = self.pool();
        if let Some(python) = self.python(pool) {
            let text = text?;
            return self.function(pool?, text, &python);
        }
        if self.route.function.is_some() && pool.is_some_and(|pool| self.pools[pool].is_some()) {
            let message = "`function` has no effect: the pool of this route has no `python`";
            self.findings.refuse(&self.path.key("function"), message, "remove it");
        }
        let parameters =
            text.map(|text| parameters(self.findings, &self.path, self.route, &text.parameters));
        let idempotent = self.route.idempotent.unwrap_or_else(|| {
            text.is_some_and(|text| matches!(text.method.as_str(), "GET" | "HEAD"))
        });
        let send = parameters.as_deref().and_then(|parameters| self.send(parameters, pool));
        let streams = self.wire(pool).is_some_and(|wire| wire.stream.is_some());
        if text.is_some() {
            self.cache(idempotent, streams.then_some("a pool that has `stream`"));
        }
        let mut call = self.call(pool?, send?, idempotent, content_type, streams);
        let parameters = parameters?;
        call.items = self.items(text?, &parameters, &call, streams);
        Some((parameters, RouteAction::Call(call)))
    }

    /// What the pool serves, if these are functions.
    fn python(&self, pool: Option<usize>) -> Option<Arc<PythonSettings>> {
        self.pools[pool?].as_ref()?.program.python.clone()
    }

    /// Checks a route that calls a function.
    fn function(
        &mut self,
        pool: usize,
        text: &RouteText,
        python: &PythonSettings,
    ) -> Option<(Vec<Parameter>, RouteAction)> {
        let content_type = match self.route.content_type {
            Some(_) => self.content_type(),
            None => function::bytes(),
        };
        let calling = function::calling(self.findings, &self.path, self.route, text, python)?;
        let idempotent = self.route.idempotent.unwrap_or(calling.function.pure);
        let streams = calling.function.kind.streams();
        self.cache(idempotent, streams.then_some("a function that yields parts"));
        let send = SendShape::Function(Arc::new(calling.call));
        let mut call = self.call(pool, send, idempotent, content_type, streams);
        call.items = self.items(text, &calling.parameters, &call, streams);
        Some((calling.parameters, RouteAction::Call(call)))
    }

    /// Checks what is said of each call, and puts it together. Its items are checked later.
    fn call(
        &mut self,
        pool: usize,
        send: SendShape,
        idempotent: bool,
        content_type: ContentType,
        streams: bool,
    ) -> CallSettings {
        let mut call = CallSettings {
            pool,
            send,
            cache: self.route.cache.map(|time| time.0),
            kept: None,
            idempotent,
            content_type,
            items: None,
            jobs: jobs::rules(self.findings, &self.path, self.route.jobs.as_ref()),
        };
        self.kept(&mut call);
        self.jobs(&call, streams);
        call
    }

    /// Most items of a batch, if one can be sent here.
    fn items(
        &mut self,
        text: &RouteText,
        parameters: &[Parameter],
        call: &CallSettings,
        streams: bool,
    ) -> Option<u64> {
        let most = self.route.items?;
        let settings = self.pools[call.pool].as_ref()?;
        if let Some((message, hint)) = no_items(text, parameters, call, (settings, streams)) {
            self.findings.refuse(&self.path.key("items"), message, hint);
        }
        Some(most)
    }

    /// Its own `cors`, or that of the top.
    fn cors(&mut self, top: Option<&Arc<Cors>>) -> Option<Arc<Cors>> {
        match &self.route.cors {
            None => top.cloned(),
            Some(own) => cors(self.findings, &self.path.key("cors"), own),
        }
    }

    /// Checks what its questions tell of kept answers.
    fn kept(&mut self, call: &mut CallSettings) {
        let wire = self.pools[call.pool].as_ref().map(|pool| &pool.program.wire);
        call.kept = kept(self.findings, &self.path, self.route, &call.send, wire);
    }

    /// Checks that its jobs can be kept and run.
    fn jobs(&mut self, call: &CallSettings, streams: bool) {
        let Some(pool) = self.pools[call.pool].as_ref().filter(|_| call.jobs.is_some()) else {
            return;
        };
        if let Some((message, hint)) = jobs::no_jobs(self.file, call, (pool, streams)) {
            self.findings.refuse(&self.path.key("jobs"), message, hint);
        }
    }

    fn nothing_beside_text(&mut self) {
        let route = self.route;
        let others = [
            ("pool", route.pool.is_some()),
            ("send", route.send.is_some()),
            ("cache", route.cache.is_some()),
            ("kept", route.kept.is_some()),
            ("idempotent", route.idempotent.is_some()),
            ("function", route.function.is_some()),
            ("items", route.items.is_some()),
            ("jobs", route.jobs.is_some()),
        ];
        for (key, _) in others.into_iter().filter(|(_, is_set)| *is_set) {
            let message = format!("`{key}` has no effect beside `text`, which is a fixed answer");
            self.findings.refuse(&self.path.key(key), message, "leave one of them out");
        }
    }

    fn content_type(&mut self) -> ContentType {
        let Some(text) = &self.route.content_type else { return ContentType::default() };
        ContentType::parse(text).unwrap_or_else(|| {
            let message = format!("`{}` is not a content type", text.escape_debug());
            let hint = format!("write it as in \"{}\"", ContentType::TEXT);
            self.findings.refuse(&self.path.key("content_type"), message, hint);
            ContentType::default()
        })
    }

    /// The index of the pool.
    fn pool(&mut self) -> Option<usize> {
        let path = self.path.key("pool");
        let Some(name) = &self.route.pool else {
            match self.pool_names {
                [_] => return Some(0),
                _ if self.findings.was_refused(&path) => {}
                [] => {
                    let message = "this route has neither a pool nor a `text`";
                    let hint = "add a `[pool.NAME]` with a `command`, or `text = \"Ok\"` here";
                    self.findings.refuse(&path, message, hint);
                }
                several => {
                    let names: Vec<&str> =
                        several.iter().take(NAMED_MAX).map(|name| name.as_str()).collect();
                    let hint = format!("add `pool = \"{}\"`", names.join("\"` or `pool = \""));
                    self.findings.refuse(&path, "this route does not say which pool it uses", hint);
                }
            }
            return None;
        };
        let index = self.pool_names.iter().position(|known| *known == name);
        if index.is_none() {
            let known = self.pool_names.iter().take(self.findings.hints_most());
            let hint = match nearest(name, known.map(|name| name.as_str())) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => format!("add `[pool.{name}]` with a `command`"),
            };
            self.findings.refuse(&path, format!("there is no pool `{name}`"), hint);
        }
        index
    }

    fn send(&mut self, parameters: &[Parameter], pool: Option<usize>) -> Option<SendShape> {
        let path = self.path.key("send");
        let template = match self.route.send.as_deref() {
            Some(word @ ("json" | "http")) => {
                self.refuse_without_nonce(pool);
                return Some(if word == "json" { SendShape::Json } else { SendShape::Http });
            }
            Some(text) => {
                let names: Vec<Arc<str>> =
                    parameters.iter().map(|parameter| Arc::clone(&parameter.name)).collect();
                match Template::parse(text, &names) {
                    Ok(template) => template,
                    Err(problem) => {
                        let message = format!("`{}` is not a template", self.findings.name(&path));
                        self.findings.refuse(&path, message, problem.to_string());
                        return None;
                    }
                }
            }
            None if self.findings.was_refused(&path) => return None,
            None => {
                let slot = match parameters {
                    [] => Slot::Body(Form::AsIs),
                    [_] => Slot::Parameter { index: 0, form: Form::AsIs },
                    several => {
                        let slots: Vec<String> =
                            several.iter().map(|one| format!("{{{}}}", one.name)).collect();
                        let message = "this route has several parameters and no `send`";
                        let hint = format!("add `send = \"{}\"`, or \"json\"", slots.join(" "));
                        self.findings.refuse(&path, message, hint);
                        return None;
                    }
                };
                Template { segments: vec![Segment::Slot(slot)] }
            }
        };
        if !template.has_nonce() {
            self.refuse_without_nonce(pool);
        }
        self.refuse_plain_files(&template, parameters, pool);
        Some(SendShape::Template(template))
    }

    /// The wire settings of the pool, if it can be used.
    fn wire(&self, pool: Option<usize>) -> Option<&WireSettings> {
        self.pools[pool?].as_ref().map(|pool| &pool.program.wire)
    }

    /// Reports a question without a nonce to a pool whose answers end with the nonce.
    fn refuse_without_nonce(&mut self, pool: Option<usize>) {
        let wire = self.wire(pool);
        if wire.is_some_and(|wire| wire.framing.reply_ends_with_nonce()) {
            let message =
                "the answer would end with `{nonce}`, which `send` does not tell the program";
            let hint = "put {nonce} into `send`, as in \"{body}\\n.print {nonce}\"";
            self.findings.refuse(&self.path.key("send"), message, hint);
        }
    }

    /// Reports a file that is written as it is into questions which cannot hold any bytes.
    fn refuse_plain_files(
        &mut self,
        template: &Template,
        parameters: &[Parameter],
        pool: Option<usize>,
    ) {
        if self.wire(pool).is_none_or(|wire| wire.framing.send.carries_files()) {
            return;
        }
        for segment in &template.segments {
            let Segment::Slot(Slot::Parameter { index, form: Form::AsIs }) = segment else {
                continue;
            };
            let Parameter { name, kind, .. } = &parameters[*index];
            if kind.is_file() {
                let message = format!(
                    "`{name}` is a file, and a question of this pool cannot hold all bytes"
                );
                let hint = format!(
                    "write {{{name}:base64}} in `send`, or frame questions by a length or `eof`"
                );
                self.findings.refuse(&self.path.key("send"), message, hint);
            }
        }
    }

    /// Checks `cache`. `streams`: what it cannot be used with, if that answers in parts.
    fn cache(&mut self, idempotent: bool, streams: Option<&str>) {
        let Some(time) = self.route.cache else { return };
        let path = self.path.key("cache");
        if time.0.is_zero() {
            self.findings.refuse(&path, "`cache` cannot be 0", "leave it out to keep nothing");
        } else if !idempotent {
            let message = "`cache` would answer a second call without running it";
            let hint = "add `idempotent = true` if a call may be left out, else remove `cache`";
            self.findings.refuse(&path, message, hint);
        } else if self.route.send.as_deref() == Some("http") {
            let message =
                "`cache` cannot be used with `send = \"http\"`: no two requests are the same";
            self.findings.refuse(&path, message, "choose the parts that matter with a template");
        } else if let Some(what) = streams {
            let message = format!("`cache` cannot be used with {what}");
            self.findings.refuse(&path, message, "remove one of them");
        }
    }
}
