//! The first lines of the log: the addresses, the programs, and a `curl` line to try.

use crate::base::parameter::{Parameter, ParameterKind};
use crate::config::{
    AdminSettings, Config, ListenAddress, PathPart, RouteAction, RouteSettings, SendShape,
};

/// Logs where callers connect, which programs run, and how to try them.
pub(super) fn listening(config: &Config, addresses: &[String]) {
    for address in addresses {
        tracing::info!(address, "listening on {}", shown(address));
    }
    for pool in &config.pools {
        let launch = &pool.program.launch;
        // Without its arguments, which may hold secrets.
        let program = &launch.name;
        let (least, most) = (pool.rules.workers_least, pool.rules.workers_most);
        tracing::info!(pool = pool.name, program, workers = format!("{least}..{most}"), "running");
        let wire = &pool.program.wire;
        if !wire.proves_question() && !wire.takes_turns {
            tracing::warn!(
                pool = pool.name,
                "with `in_flight` above 1, output beyond one answer a question may reach wrong \
                 callers: leave `in_flight` out, or let each answer repeat its question \
                 (`{{input}}` in `reply`)"
            );
        }
    }
    let sample = config.routes.iter().find_map(sample_of);
    if let (Some(sample), Some(address)) = (sample, addresses.first()) {
        let target = match address.strip_prefix("unix:") {
            Some(path) => format!("--unix-socket {path} 'http://localhost{}'", sample.target),
            None => format!("'http://{address}{}'", sample.target),
        };
        let line = format!("curl {}{target}", sample.options);
        tracing::info!(line, "try it");
    }
}

/// Logs where operators connect.
pub(super) fn admin(settings: &AdminSettings, address: &str) {
    let wanted = match &settings.address {
        Some(ListenAddress::Tcp(tcp)) => tcp.to_string(),
        Some(ListenAddress::Unix(_)) | None => address.to_owned(),
    };
    if wanted != address && !wanted.ends_with(":0") {
        tracing::warn!(wanted, "the admin address is taken; another port is used instead");
    }
    tracing::info!(address, "admin listening on {}", shown(address));
}

/// An address as people type it.
fn shown(address: &str) -> String {
    let is_path = address.starts_with("unix:");
    if is_path { address.to_owned() } else { format!("http://{address}") }
}

/// What a `curl` line needs beside the address.
struct Sample {
    options: String,
    target: String,
}

/// An example request for a route that makes calls; `None` if no valid value is known for a
/// parameter.
fn sample_of(route: &RouteSettings) -> Option<Sample> {
    let RouteAction::Call(call) = &route.action else { return None };
    let values = route.parameters.iter().map(sample_value).collect::<Option<Vec<_>>>()?;
    let segments = route.path.iter().map(|part| match part {
        PathPart::Literal(text) => encode(text),
        PathPart::Parameter(index) => encode(&values[*index]),
    });
    let path: String = segments.flat_map(|segment| ["/".to_owned(), segment]).collect();
    let in_query = route.parameters.iter().zip(&values).filter(|(it, _)| !it.in_path);
    let pairs: Vec<String> =
        in_query.map(|(it, value)| format!("{}={}", encode(&it.key), encode(value))).collect();
    let query = if pairs.is_empty() { String::new() } else { format!("?{}", pairs.join("&")) };
    let target = format!("{}{query}", if path.is_empty() { "/" } else { &path });
    let options = match (route.method.as_str(), &call.send) {
        ("GET", _) => String::new(),
        ("POST", SendShape::Template(_) | SendShape::Http) => "-d 'a b' ".to_owned(),
        (method, _) => format!("-X {method} "),
    };
    Some(Sample { options, target })
}

fn sample_value(parameter: &Parameter) -> Option<String> {
    if let Some(default) = &parameter.default {
        return Some(default.clone());
    }
    let candidates: Vec<String> = match &parameter.kind {
        ParameterKind::Text { one_of, .. } => {
            one_of.iter().cloned().chain(["hello".to_owned(), "1".to_owned()]).collect()
        }
        ParameterKind::Int { min, max } => ["10".to_owned(), "1".to_owned()]
            .into_iter()
            .chain(min.clone())
            .chain(max.clone())
            .collect(),
        ParameterKind::Float { min, .. } => {
            ["1.5".to_owned()].into_iter().chain(min.map(|min| min.to_string())).collect()
        }
        ParameterKind::Bool => vec!["true".to_owned()],
        ParameterKind::Json => vec!["{}".to_owned()],
    };
    candidates.into_iter().find(|value| parameter.kind.read(value).is_ok())
}

fn encode(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}
