//! The settings of one route.
//!
//! Pure.

use std::sync::Arc;
use std::time::Duration;

use super::framing::Matching;
use super::jobs::JobRules;
use super::origins::Cors;
use super::pool::{ReplyShape, WireSettings};
use crate::base::RouteId;
use crate::base::parameter::Parameter;
use crate::base::template::{Form, Segment, Slot, Template};
use crate::python::ScalarType;

/// Which requests become which calls.
#[derive(Clone, Debug, PartialEq)]
pub struct RouteSettings {
    /// Its place in the file.
    pub id: RouteId,
    /// The match text as written; the name of the route in metrics and logs.
    pub label: Arc<str>,
    /// The method in upper case. A route of GET also takes HEAD; one of `ANY` takes all but those
    /// that the server answers itself.
    pub method: String,
    /// What the path must be, one part for each segment; `/` is one empty literal.
    pub path: Vec<PathPart>,
    /// Whether the path ended in `/*`, so that anything may follow `path`.
    pub rest: bool,
    /// The declared parameters, in the order of the match text.
    pub parameters: Vec<Parameter>,
    /// Which web pages of other origins may use it.
    pub cors: Option<Arc<Cors>>,
    /// What callers are told that it is for.
    pub about: RouteAbout,
    /// What is done with a request that matches.
    pub action: RouteAction,
}

/// What the operator tells callers about a route. Nothing of it changes what the route does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteAbout {
    /// In a few words.
    pub summary: Option<Arc<str>>,
    /// In full.
    pub description: Option<Arc<str>>,
}

/// One segment of a path, between two slashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathPart {
    /// Exactly this text, after decoding.
    Literal(String),
    /// Any text; it is the parameter at this index of `parameters`.
    Parameter(usize),
}

/// What is done with a request.
#[derive(Clone, Debug, PartialEq)]
pub enum RouteAction {
    /// The same response for every request.
    Text {
        /// The body.
        text: String,
        /// Its content type.
        content_type: ContentType,
    },
    /// A call to a pool.
    Call(CallSettings),
}

/// How a request becomes a call.
#[derive(Clone, Debug, PartialEq)]
pub struct CallSettings {
    /// The index of the pool in [`Config::pools`](super::Config::pools).
    pub pool: usize,
    /// What the question is made of.
    pub send: SendShape,
    /// How long a good answer is kept; `None`: not at all.
    pub cache: Option<Duration>,
    /// Most bytes of the kept answers that a question tells; `None`: it tells none.
    pub kept: Option<usize>,
    /// Whether a call may run twice.
    pub idempotent: bool,
    /// The content type of an answer that is passed on as it is.
    pub content_type: ContentType,
    /// Most items of a batch request; `None`: it takes none.
    pub items: Option<u64>,
    /// The rules of its jobs; `None`: a call of this route is answered as it comes.
    pub jobs: Option<JobRules>,
}

impl CallSettings {
    /// Returns true if it passes JSON-RPC on as it is.
    pub fn passes_json_rpc_on(&self, wire: &WireSettings) -> bool {
        let is_body = match &self.send {
            SendShape::Template(template) => {
                matches!(template.segments[..], [Segment::Slot(Slot::Body(Form::AsIs))])
            }
            SendShape::Json | SendShape::Http | SendShape::Function(_) => false,
        };
        let stays_json = matches!(wire.reply, ReplyShape::Plain | ReplyShape::Json);
        is_body && stays_json && wire.matching == Matching::JsonId && wire.id.are_of_json_rpc()
    }
}

/// What a question is made of.
#[derive(Clone, Debug, PartialEq)]
pub enum SendShape {
    /// Text with slots.
    Template(Template),
    /// The declared parameters as a JSON object.
    Json,
    /// The whole request as JSON.
    Http,
    /// The name of a function and its arguments.
    Function(Arc<FunctionCall>),
}

/// How a request becomes the call of a function.
#[derive(Clone, Debug, PartialEq)]
pub struct FunctionCall {
    /// The name of the function.
    pub name: String,
    /// What it takes.
    pub arguments: Vec<Argument>,
    /// What it takes under any other name, if it does.
    pub others: Option<Argument>,
    /// The argument that is the body, as raw bytes.
    pub raw: Option<usize>,
    /// For each parameter of the route, the argument that it is.
    pub declared: Vec<usize>,
    /// Arguments come from the query although the route does not declare them.
    pub open_query: bool,
    /// Its answers come in parts.
    pub streams: bool,
}

/// One argument of a function.
#[derive(Clone, Debug, PartialEq)]
pub struct Argument {
    /// Its name.
    pub name: Arc<str>,
    /// What it is; `None`: the server does not look at it.
    pub scalar: Option<ScalarType>,
    /// Its type is not known, so a text stays a text.
    pub is_any: bool,
    /// A call must have it.
    pub required: bool,
}

/// The value of a `Content-Type` header: printable ASCII with a slash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentType(String);

impl ContentType {
    /// The content type of a route that names none.
    pub const TEXT: &str = "text/plain; charset=utf-8";

    /// Reads a content type; `None` if the text is not one.
    pub fn parse(text: &str) -> Option<Self> {
        let is_printable = text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        (is_printable && text.contains('/')).then(|| Self(text.to_owned()))
    }

    /// The text, which any header can hold.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for ContentType {
    fn default() -> Self {
        Self(Self::TEXT.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_type_fits_into_a_header() {
        assert!(ContentType::parse("text/html").is_some());
        assert!(ContentType::parse(ContentType::TEXT).is_some());
        for wrong in ["", "text", "text/html\r\nx: y", "text/\u{e4}", "text/\0"] {
            assert_eq!(ContentType::parse(wrong), None, "{wrong:?}");
        }
    }
}
