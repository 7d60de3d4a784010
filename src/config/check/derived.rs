//! The routes of functions that no route of the file names.
//!
//! Pure.

use std::sync::Arc;

use super::function;
use super::items::no_items;
use super::jobs;
use super::shadows::Shadows;
use crate::base::RouteId;
use crate::base::parameter::Parameter;
use crate::config::file::File;
use crate::config::findings::Findings;
use crate::config::origins::Cors;
use crate::config::pool::PoolSettings;
use crate::config::route::{CallSettings, RouteAbout, RouteAction, RouteSettings, SendShape};
use crate::config::route_text::RouteText;
use crate::config::tree::KeyPath;
use crate::python::Function;

/// Adds the routes of functions that no route names.
pub(super) fn add(
    findings: &mut Findings<'_>,
    file: &File,
    routes: &mut Vec<RouteSettings>,
    shadows: &mut Shadows,
    (pool, settings): (usize, &PoolSettings),
    cors: Option<&Arc<Cors>>,
) {
    let Some(python) = &settings.program.python else { return };
    for function::Derived { text, parameters, call } in function::derived(python) {
        let label = format!("{} /{}", text.method, call.name);
        if shadows.first_over(&text).is_some() {
            let path = KeyPath::of(&["pool", &settings.name, "python"]);
            let message =
                format!("`{label}` can never match: another route takes the same requests");
            findings.refuse(&path, message, "write a `[[route]]` with another path for it");
            continue;
        }
        shadows.add(&text, routes.len());
        let named = python.functions.iter().find(|it| it.name == call.name);
        let mut call = CallSettings {
            pool,
            send: SendShape::Function(Arc::new(call)),
            cache: None,
            kept: None,
            idempotent: named.is_some_and(|function| function.pure),
            content_type: function::bytes(),
            items: None,
            jobs: None,
        };
        if let Some(function) = named {
            let about = (&text, &parameters[..], settings);
            add_background(findings, file, about, function, &mut call);
        }
        let Ok(id) = u16::try_from(routes.len()) else { return };
        routes.push(RouteSettings {
            id: RouteId(id),
            label: label.into(),
            method: text.method,
            path: text.path,
            rest: false,
            parameters,
            cors: cors.cloned(),
            about: RouteAbout::default(),
            action: RouteAction::Call(call),
        });
    }
}

/// Lets a derived route have what its function says of items and jobs.
fn add_background(
    findings: &mut Findings<'_>,
    file: &File,
    (text, parameters, pool): (&RouteText, &[Parameter], &PoolSettings),
    function: &Function,
    call: &mut CallSettings,
) {
    let streams = function.kind.streams();
    let mut impossible = None;
    if function.items > 0 && text.method == "POST" {
        call.items = Some(function.items);
        impossible = no_items(text, parameters, call, (pool, streams));
    }
    if function.jobs {
        call.jobs = Some(jobs::usual());
        impossible = impossible.or_else(|| jobs::no_jobs(file, call, (pool, streams)));
    }
    // Each function has one such route at least, and tells it once.
    if let Some((message, hint)) = impossible.filter(|_| text.method == "POST") {
        let path = KeyPath::of(&["pool", &pool.name, "python"]);
        findings.refuse(&path, format!("`@httpipe.route` of `{}`: {message}", function.name), hint);
    }
}
