//! Requests that are made up: for the `curl` line that `run` prints, and for what `check` asks.
//!
//! Pure.

use bytes::Bytes;
use http::HeaderMap;

use super::parameters::{Body, Sources};
use super::question::{self, Material, uses_nonce};
use crate::base::example::example;
use crate::base::{Failure, Question};
use crate::config::{
    CallSettings, FunctionCall, PathPart, RouteAction, RouteSettings, SendShape, WireSettings,
};

/// How many samples of one route differ at most.
pub const SAMPLES_MAX: usize = 6;

/// The bodies of samples, in their order.
const BODIES: [&str; SAMPLES_MAX] = ["a b", "c d", "1", "2", "{\"a\":1}", "{\"b\":2}"];

/// A request that a route turns into a call.
#[derive(Clone, Debug)]
pub struct Sample<'a> {
    route: &'a RouteSettings,
    call: &'a CallSettings,
    /// One value for each declared parameter.
    values: Vec<String>,
    body: &'static str,
}

impl<'a> Sample<'a> {
    /// Makes up a request of this route, or returns `None` if no value of a parameter can be made
    /// up. Requests of different numbers differ where the route allows it.
    pub fn new(route: &'a RouteSettings, number: usize) -> Option<Self> {
        let RouteAction::Call(call) = &route.action else { return None };
        let values =
            route.parameters.iter().map(|it| example(it, number)).collect::<Option<_>>()?;
        Some(Self { route, call, values, body: BODIES[number % BODIES.len()] })
    }

    /// Returns the `curl` command that sends it to this address: `http://127.0.0.1:3000` or
    /// `unix:/path`.
    pub fn curl(&self, address: &str) -> String {
        let files: String = self.files().collect();
        let options = match (self.route.method.as_str(), &self.call.send) {
            ("GET", _) => String::new(),
            ("POST" | "ANY", _) if !files.is_empty() => files.clone(),
            (method, _) if !files.is_empty() => format!("-X {method} {files}"),
            (_, SendShape::Function(call)) => match arguments(call) {
                Some(json) => format!("--json '{}' ", json.replace('\'', "'\\''")),
                None => "--data-binary @FILE ".to_owned(),
            },
            ("POST" | "ANY", SendShape::Template(_) | SendShape::Http) => {
                format!("-d '{}' ", self.body)
            }
            (method, _) => format!("-X {method} "),
        };
        let target = match self.query(files.is_empty() || self.route.method == "GET") {
            query if query.is_empty() => self.path(),
            query => format!("{}?{query}", self.path()),
        };
        match address.strip_prefix("unix:") {
            Some(path) => format!("curl {options}--unix-socket {path} 'http://localhost{target}'"),
            None => format!("curl {options}'{address}{target}'"),
        }
    }

    /// Returns the question that it becomes. `nonce` is used if the question has a place for it.
    ///
    /// # Errors
    ///
    /// Why the question cannot be sent in the framing of the pool.
    pub fn question(&self, wire: &WireSettings, nonce: &str) -> Result<Question, Failure> {
        let (path, query) = (self.path(), self.query(true));
        let material = Material {
            route: self.route,
            method: &self.route.method,
            sources: Sources { path: &path, query: &query, body: Body::Nothing },
            headers: &HeaderMap::new(),
            body: &Bytes::from_static(self.body.as_bytes()),
            caller: None,
        };
        let nonce = if uses_nonce(&self.call.send) { nonce } else { "" };
        Ok(question::ask(self.call, wire, material, nonce)?.question)
    }

    fn path(&self) -> String {
        let segments = self.route.path.iter().map(|part| match part {
            PathPart::Literal(text) => encoded(text),
            PathPart::Parameter(index) => encoded(&self.values[*index]),
        });
        let path: String = segments.flat_map(|segment| ["/".to_owned(), segment]).collect();
        if path.is_empty() { "/".to_owned() } else { path }
    }

    /// The options of `curl` that send the files.
    fn files(&self) -> impl Iterator<Item = String> {
        let values = self.route.parameters.iter().zip(&self.values);
        let files = values.filter(|(parameter, _)| parameter.kind.is_file());
        files.map(|(parameter, value)| format!("-F '{}={value}' ", parameter.key))
    }

    /// The query, with the files or without.
    fn query(&self, with_files: bool) -> String {
        let values = self.route.parameters.iter().zip(&self.values);
        let in_query = values.filter(|(parameter, _)| {
            !parameter.in_path && (with_files || !parameter.kind.is_file())
        });
        let pairs: Vec<String> = in_query
            .map(|(parameter, value)| format!("{}={}", encoded(&parameter.key), encoded(value)))
            .collect();
        pairs.join("&")
    }
}

/// Makes up the arguments of a function as JSON; `None` if they are raw bytes.
fn arguments(call: &FunctionCall) -> Option<String> {
    if call.raw.is_some() {
        return None;
    }
    let missing = call
        .arguments
        .iter()
        .enumerate()
        .filter(|(index, argument)| argument.required && !call.declared.contains(index));
    let members = missing.map(|(_, argument)| {
        let value = match &argument.scalar {
            Some(scalar) => {
                ["10", "1.5", "true", "hello"].iter().find_map(|it| scalar.read(it).ok())
            }
            None => None,
        };
        format!("\"{}\":{}", argument.name, value.as_deref().unwrap_or("[]"))
    });
    Some(format!("{{{}}}", members.collect::<Vec<_>>().join(",")))
}

fn encoded(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::parameter::ParameterKind;
    use crate::config::Framing;
    use crate::front::parameters::tests::{route, text};
    use crate::front::testing::{call, pool};

    fn calling(path: &str, parameters: &[(&str, ParameterKind)], send: &str) -> RouteSettings {
        let mut route = route(path, parameters);
        route.action = RouteAction::Call(call(send, &route));
        route
    }

    fn samples(path: &str, parameters: &[(&str, ParameterKind)], send: &str) -> Vec<String> {
        let route = calling(path, parameters, send);
        let wire = pool(Framing::Line).program.wire;
        let question = |sample: Sample<'_>| {
            let question = sample.question(&wire, "n0").expect("it can be sent");
            String::from_utf8(question.text.to_vec()).expect("text")
        };
        (0..SAMPLES_MAX).filter_map(|number| Sample::new(&route, number)).map(question).collect()
    }

    fn int(min: Option<&str>) -> ParameterKind {
        ParameterKind::Int { min: min.map(str::to_owned), max: Some("30".to_owned()) }
    }

    #[test]
    fn samples_differ_where_the_route_allows_it() {
        assert_eq!(samples("POST /", &[], "{body}")[..3], ["a b", "c d", "1"]);
        assert_eq!(samples("GET /a", &[("q", text())], "{q}")[..3], ["hello", "world", "1"]);
        assert_eq!(samples("GET /a", &[("n", int(None))], "n {n}")[..3], ["n 10", "n 1", "n 2"]);
        assert_eq!(
            samples("GET /a", &[("b", ParameterKind::Bool)], "{b}")[..3],
            ["true", "false", "true"]
        );
        assert_eq!(samples("GET /a", &[], "now {nonce}")[..2], ["now n0", "now n0"]);
        assert_eq!(samples("GET /a", &[("q", text())], "json")[0], r#"{"q":"hello"}"#);
    }

    #[test]
    fn a_value_keeps_to_the_bounds_of_its_parameter() {
        assert_eq!(samples("GET /a", &[("n", int(Some("20")))], "{n}")[..3], ["20", "30", "20"]);
        let one_of = vec!["red".to_owned(), "blue".to_owned()];
        let choice = ParameterKind::Text { max_length: 9, pattern: None, one_of };
        assert_eq!(samples("GET /a", &[("c", choice)], "{c}")[..2], ["red", "blue"]);
        let none = ParameterKind::Text { max_length: 0, pattern: None, one_of: vec![] };
        assert!(samples("GET /a", &[("q", none)], "{q}").is_empty());
    }

    #[test]
    fn a_sample_is_a_command_for_people() {
        let mut route = calling("GET /a", &[("y", text())], "{y} {body}");
        let sample =
            |route: &RouteSettings, address| Sample::new(route, 0).expect("a sample").curl(address);
        assert_eq!(sample(&route, "http://[::1]:3000"), "curl 'http://[::1]:3000/a?y=hello'");
        route.method = "POST".to_owned();
        let file = ParameterKind::File { max_length: None };
        let upload = calling("POST /a", &[("doc", file), ("y", text())], "{y} {doc:base64}");
        let command = "curl -F 'doc=hello' 'http://[::1]:3000/a?y=hello'";
        assert_eq!(sample(&upload, "http://[::1]:3000"), command);
        let socket = "curl -d 'a b' --unix-socket /s 'http://localhost/a?y=hello'";
        assert_eq!(sample(&route, "unix:/s"), socket);
    }
}
