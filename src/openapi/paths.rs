//! The paths of a document, with the operations of each.
//!
//! Pure. The first route that takes a method of a path is the one that a request meets, so it is the
//! one that the document has.

use std::collections::{HashMap, HashSet};

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::{Map, Value};

use super::operation::{Making, Operation};
use crate::config::{PathPart, RouteSettings};

/// What cannot stand in a path as it is.
const ESCAPED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// The methods that a document has a place for.
const METHODS: [&str; 6] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];
/// The methods that stand for `ANY`. HEAD is what GET says without its body.
const OF_ANY: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];
/// Where other methods stand, by the name that OpenAPI 3.2 has for the place.
const OTHERS: &str = "x-additionalOperations";

/// One path, as a template.
struct PathTemplate {
    text: String,
    /// The names in it, in order.
    names: Vec<String>,
    /// The name of what `/*` stands for.
    rest: Option<String>,
}

/// Returns the paths of all routes, in file order.
pub(super) fn paths(shared: &mut Making<'_>) -> Map<String, Value> {
    let mut paths: Map<String, Value> = Map::new();
    let mut templates: HashMap<String, PathTemplate> = HashMap::new();
    let mut ids = Ids::default();
    let config = shared.config;
    for route in &config.routes {
        // Paths that differ in the names of their parameters only are one path.
        let template = templates.entry(shape(route)).or_insert_with(|| PathTemplate::of(route));
        if !paths.contains_key(&template.text) {
            paths.insert(template.text.clone(), Value::Object(Map::new()));
        }
        let Some(Value::Object(item)) = paths.get_mut(&template.text) else { continue };
        let own = [route.method.as_str()];
        let methods = if route.method == "ANY" { &OF_ANY[..] } else { &own };
        for method in methods {
            let is_usual = METHODS.contains(method);
            let place = if is_usual {
                &mut *item
            } else {
                let others = item.entry(OTHERS).or_insert_with(|| Map::new().into());
                others.as_object_mut().expect("only this puts something there")
            };
            let key = if is_usual { method.to_ascii_lowercase() } else { (*method).to_owned() };
            if place.contains_key(&key) {
                continue;
            }
            let operation = Operation {
                id: ids.next(method, route),
                route,
                method,
                in_path: &template.names,
                rest: template.rest.as_deref(),
            };
            place.insert(key, operation.write(shared));
        }
    }
    paths
}

/// The path of a route without the names of its parameters.
fn shape(route: &RouteSettings) -> String {
    let parts = route.path.iter().map(|part| match part {
        PathPart::Literal(text) => literal(text),
        PathPart::Parameter(_) => "{}".to_owned(),
    });
    let shape: String = parts.flat_map(|part| ["/".to_owned(), part]).collect();
    if route.rest { shape + "/*" } else { shape }
}

fn literal(text: &str) -> String {
    utf8_percent_encode(text, ESCAPED).to_string()
}

impl PathTemplate {
    fn of(route: &RouteSettings) -> Self {
        let (mut text, mut names) = (String::new(), Vec::new());
        for part in &route.path {
            text.push('/');
            match part {
                PathPart::Literal(part) => text.push_str(&literal(part)),
                PathPart::Parameter(index) => {
                    let name = &route.parameters[*index].name;
                    text.extend([format!("{{{name}}}")]);
                    names.push(name.to_string());
                }
            }
        }
        let rest = route.rest.then(|| {
            let is_free = |name: &String| route.parameters.iter().all(|it| *it.key != **name);
            let numbered = (2..).map(|number| format!("rest-{number}"));
            let mut all = std::iter::once("rest".to_owned()).chain(numbered);
            all.find(is_free).expect("numbers do not end")
        });
        if let Some(rest) = &rest {
            text.extend([format!("/{{{rest}}}")]);
        }
        if text.is_empty() {
            text.push('/');
        }
        Self { text, names, rest }
    }
}

/// The names of operations. Each is given once.
#[derive(Default)]
struct Ids {
    given: HashSet<String>,
    /// How often a name was asked for that was given before.
    again: HashMap<String, usize>,
}

impl Ids {
    /// Names an operation by its method and the words of its path.
    fn next(&mut self, method: &str, route: &RouteSettings) -> String {
        let words = route.path.iter().map(|part| match part {
            PathPart::Literal(text) => text.clone(),
            PathPart::Parameter(index) => format!("by-{}", route.parameters[*index].name),
        });
        let mut id = method.to_ascii_lowercase();
        for word in words.chain(route.rest.then(|| "rest".to_owned())) {
            let plain: String =
                word.chars().map(|it| if it.is_ascii_alphanumeric() { it } else { '-' }).collect();
            let plain = plain.trim_matches('-');
            if !plain.is_empty() {
                id.push('-');
                id.push_str(plain);
            }
        }
        while !self.given.insert(id.clone()) {
            let again = self.again.entry(id.clone()).or_insert(1);
            *again += 1;
            id = format!("{id}-{again}");
        }
        id
    }
}
