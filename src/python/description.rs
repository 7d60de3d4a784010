//! What a worker says about the functions that it serves, or why it can serve none.
//!
//! Pure.

use std::path::PathBuf;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// The version of descriptions that this server reads.
const VERSION: u32 = 1;

/// The answer to [`super::DESCRIBE`].
#[derive(Clone, Debug, Deserialize)]
pub struct Description {
    /// The version of this description.
    pub httpipe: u32,
    /// The version of Python.
    pub python: String,
    /// Where that Python is installed, or its virtual environment.
    #[serde(default)]
    pub prefix: String,
    /// What is served, in the order of the target.
    pub functions: Vec<Function>,
    /// How long the import took, in milliseconds.
    #[serde(default)]
    pub import_ms: f64,
    /// Why the process must not be forked; `None` if nothing speaks against it, or if it is no fork
    /// server.
    #[serde(default, rename = "unsafe")]
    pub unsafe_to_fork: Option<String>,
    /// The imported files of the user's own.
    #[serde(default)]
    pub files: Vec<PathBuf>,
}

/// One function.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "each is one fact, and any of them may hold")]
pub struct Function {
    /// Its name.
    pub name: String,
    /// Its docstring.
    #[serde(default)]
    pub doc: String,
    /// What it is.
    pub kind: FunctionKind,
    /// It takes lists of at most this many calls; 0: one call.
    #[serde(default)]
    pub batch: u32,
    /// It may run twice, and its results may be kept.
    #[serde(default)]
    pub pure: bool,
    /// Its parameters, in order.
    pub parameters: Vec<FunctionParameter>,
    /// The schema of the values of any other name, if it takes them (`**kw`).
    #[serde(default)]
    pub rest: Option<Value>,
    /// The schema of its results, or of their parts.
    #[serde(default)]
    pub returns: Option<Value>,
    /// Calls that one worker can take at once.
    #[serde(default = "one")]
    pub in_flight: u32,
    /// A worker reads one question of it at a time, and begins with it at once.
    #[serde(default)]
    pub begins_at_once: bool,
    /// A worker takes several of its calls as one question.
    #[serde(default)]
    pub takes_groups: bool,
    /// Most items of one request to the routes of its own; 0: none.
    #[serde(default)]
    pub items: u64,
    /// Calls of the routes of its own may be jobs.
    #[serde(default)]
    pub jobs: bool,
}

/// What a function is.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
pub enum FunctionKind {
    /// `def`
    #[serde(rename = "sync")]
    Sync,
    /// `def` with `yield`
    #[serde(rename = "stream")]
    Stream,
    /// `async def`
    #[serde(rename = "async")]
    Async,
    /// `async def` with `yield`
    #[serde(rename = "async stream")]
    AsyncStream,
}

/// One parameter of a function.
#[derive(Clone, Debug, Deserialize, PartialEq)]
pub struct FunctionParameter {
    /// Its name.
    pub name: String,
    /// The JSON schema of its values.
    pub schema: Value,
    /// A call must have it.
    #[serde(default)]
    pub required: bool,
    /// Its value if a call does not have it, as far as that is JSON.
    #[serde(default, deserialize_with = "present")]
    pub default: Option<Value>,
    /// It is raw bytes: the body.
    #[serde(default)]
    pub bytes: bool,
}

/// Why a program cannot be served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotServable {
    /// `import`, `annotation`, `missing` or `version`.
    pub kind: String,
    /// `calculate.py:3`; empty if there is no such place.
    pub place: String,
    /// The text of that line.
    pub line: String,
    /// What is wrong.
    pub message: String,
}

/// A value that is there, `null` as well.
fn present<'a, D: Deserializer<'a>>(from: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(from).map(Some)
}

fn one() -> u32 {
    1
}

impl FunctionKind {
    /// Returns true if its answers come in parts.
    pub fn streams(self) -> bool {
        matches!(self, Self::Stream | Self::AsyncStream)
    }
}

impl Function {
    /// Returns its signature in words for people: `fib(n: integer)`.
    pub fn signature(&self) -> String {
        let shown = |parameter: &FunctionParameter| {
            let kind = if parameter.bytes { "bytes".to_owned() } else { shown(&parameter.schema) };
            let default = match (&parameter.default, parameter.required) {
                (Some(value), _) => format!(" = {value}"),
                (None, false) => " = …".to_owned(),
                (None, true) => String::new(),
            };
            match kind.as_str() {
                "" => format!("{}{default}", parameter.name),
                kind => format!("{}: {kind}{default}", parameter.name),
            }
        };
        let mut parameters: Vec<String> = self.parameters.iter().map(shown).collect();
        parameters.extend(self.rest.as_ref().map(|_| "**".to_owned()));
        let returns = self.returns.as_ref().map(|schema| match schema["contentEncoding"] {
            Value::Null => self::shown(schema),
            _ => "bytes".to_owned(),
        });
        let returns = returns.filter(|kind| !kind.is_empty());
        let parts = if self.kind.streams() { "parts: " } else { "" };
        let returns = returns.map(|kind| format!(" -> {parts}{kind}"));
        format!("{}({}){}", self.name, parameters.join(", "), returns.unwrap_or_default())
    }
}

/// Writes a schema as briefly as people do.
fn shown(schema: &Value) -> String {
    if let Some(allowed) = schema["enum"].as_array() {
        return allowed.iter().map(Value::to_string).collect::<Vec<_>>().join(" | ");
    }
    if let Some(several) = schema["anyOf"].as_array() {
        return several.iter().map(shown).collect::<Vec<_>>().join(" | ");
    }
    let kind = schema["type"].as_str().unwrap_or_default();
    match (kind, schema["title"].as_str(), schema["format"].as_str()) {
        ("object", Some(title), _) => title.to_owned(),
        ("string", _, Some(format)) => format.to_owned(),
        ("array", ..) => match shown(&schema["items"]) {
            items if items.is_empty() => kind.to_owned(),
            items => format!("array of {items}"),
        },
        _ => kind.to_owned(),
    }
}

/// Reads the answer to [`super::DESCRIBE`].
///
/// # Errors
///
/// Why the program cannot be served.
pub fn read_description(answer: &[u8]) -> Result<Description, NotServable> {
    let broken = |message: String| NotServable {
        kind: "import".to_owned(),
        place: String::new(),
        line: String::new(),
        message,
    };
    match answer.split_first() {
        Some((b'=', json)) => match serde_json::from_slice::<Description>(json) {
            Ok(description) if description.httpipe == VERSION => Ok(description),
            Ok(_) => Err(broken("its description has another version".to_owned())),
            Err(error) => Err(broken(format!("its description cannot be read: {error}"))),
        },
        Some((b'!', json)) => {
            let failed: Value = serde_json::from_slice(json).unwrap_or_default();
            let problem = &failed["problem"];
            let text = |key: &str| problem[key].as_str().unwrap_or_default().to_owned();
            let message = problem["message"].as_str().or(failed["message"].as_str());
            Err(NotServable {
                kind: text("kind"),
                place: text("where"),
                line: text("line").trim().to_owned(),
                message: message.unwrap_or("it cannot be served").to_owned(),
            })
        }
        _ => Err(broken("it wrote something else than its description".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_is_read_with_what_it_leaves_out() {
        let answer = br#"={"httpipe":1,"python":"3.11.7","functions":[{"name":"fib","kind":"sync",
            "parameters":[{"name":"n","schema":{"type":"integer"},"required":true},
            {"name":"mode","schema":{"enum":["a","b"]},"default":"a"},
            {"name":"on","schema":{},"default":null},{"name":"to","schema":{}}],
            "returns":{"type":"array","items":{"type":"integer"}}}]}"#;
        let description = read_description(answer).expect("a description");
        let function = &description.functions[0];
        assert_eq!((function.batch, function.in_flight, function.pure), (0, 1, false));
        let signature =
            r#"fib(n: integer, mode: "a" | "b" = "a", on = null, to = …) -> array of integer"#;
        assert_eq!(function.signature(), signature);
    }

    #[test]
    fn a_program_that_cannot_be_served_says_where() {
        let answer = br#"!{"status":500,"message":"no module named x","problem":{"kind":"import",
            "where":"calculate.py:1","line":"  import x","message":"No module named 'x'"}}"#;
        let refusal = read_description(answer).expect_err("it is refused");
        assert_eq!((&*refusal.place, &*refusal.line), ("calculate.py:1", "import x"));
        assert_eq!(refusal.message, "No module named 'x'");
        for broken in [&b""[..], b"=", b"={}", b"hello"] {
            assert!(!read_description(broken).expect_err("broken").message.is_empty());
        }
    }
}
