//! Reads the text of `match`: `GET /fib/{kind}?num={num:int}`.
//!
//! Pure.

use std::sync::Arc;

use super::route::PathPart;
use super::shape::nearest;
use crate::base::template::RESERVED;

/// What a match text says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteText {
    /// In upper case; `ANY` for all of them.
    pub method: String,
    /// One part for each segment; `/` is one empty literal.
    pub path: Vec<PathPart>,
    /// It ends in `/*`.
    pub rest: bool,
    /// In the order of the text.
    pub parameters: Vec<ParameterText>,
}

/// One parameter of a match text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParameterText {
    /// Its name.
    pub name: Arc<str>,
    /// The key that it is read from; its name if it is a segment.
    pub key: Arc<str>,
    /// Whether it is a segment of the path.
    pub in_path: bool,
    /// `text`, `int`, `float`, `bool`, `json` or `file`.
    pub kind: &'static str,
}

/// What is wrong, and what to write instead.
pub type Correction = (String, String);

const KINDS: [&str; 6] = ["text", "int", "float", "bool", "json", "file"];
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "ANY"];
/// Methods of `WebDAV`, of caches and the like, which a route may take too.
const RARE_METHODS: [&str; 22] = [
    "ACL",
    "BIND",
    "CHECKIN",
    "CHECKOUT",
    "COPY",
    "LINK",
    "LOCK",
    "MERGE",
    "MKCALENDAR",
    "MKCOL",
    "MOVE",
    "PROPFIND",
    "PROPPATCH",
    "PURGE",
    "QUERY",
    "REBIND",
    "REPORT",
    "SEARCH",
    "UNBIND",
    "UNLINK",
    "UNLOCK",
    "UPDATE",
];

/// Reads a match text.
pub fn parse(text: &str) -> Result<RouteText, Correction> {
    let shape = || {
        let message = format!("`{text}` is not a method and a path");
        (message, "write it as in \"GET /path?key={key}\"".to_owned())
    };
    let (method, target) = text.split_once(' ').ok_or_else(shape)?;
    let target = target.trim_start();
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    let Some(path) = path.strip_prefix('/') else { return Err(shape()) };
    let mut route = RouteText {
        method: read_method(method)?,
        path: Vec::new(),
        rest: path == "*" || path.ends_with("/*"),
        parameters: Vec::new(),
    };
    if path != "*" {
        let path = if route.rest { &path[..path.len() - 2] } else { path };
        for segment in path.split('/') {
            let part = route.read_segment(segment)?;
            route.path.push(part);
        }
    }
    for pair in query.into_iter().flat_map(|query| query.split('&')) {
        route.read_pair(pair)?;
    }
    Ok(route)
}

fn read_method(method: &str) -> Result<String, Correction> {
    let upper = method.to_ascii_uppercase();
    let no_route = |why: &str| Err((format!("no route can take {upper}"), why.to_owned()));
    match upper.as_str() {
        "OPTIONS" => return no_route("the server answers it by itself"),
        "TRACE" | "CONNECT" => return no_route("the server refuses it"),
        _ => {}
    }
    if upper != method && METHODS.contains(&&*upper) {
        return Err((format!("`{method}` is not a method"), format!("write {upper}")));
    }
    if METHODS.contains(&method) || RARE_METHODS.contains(&method) {
        return Ok(upper);
    }
    let hint = match nearest(method, METHODS.into_iter()) {
        Some(near) => format!("did you mean {near}?"),
        None if method == "*" || method == "ALL" => "write ANY for every method".to_owned(),
        None => format!("write one of {}", METHODS.join(", ")),
    };
    Err((format!("`{method}` is not a method"), hint))
}

impl RouteText {
    fn read_segment(&mut self, segment: &str) -> Result<PathPart, Correction> {
        if let Some(inside) = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
            let parameter = read_parameter(inside, None)?;
            if parameter.kind == "file" {
                let message = format!("`{segment}` cannot be a segment of the path");
                let hint =
                    format!("a file comes in the body: write ?{0}={{{0}:file}}", parameter.name);
                return Err((message, hint));
            }
            self.add(parameter)?;
            return Ok(PathPart::Parameter(self.parameters.len() - 1));
        }
        if segment.contains(['{', '}']) {
            let message = format!("`{segment}` mixes text and a parameter");
            return Err((message, "a parameter takes a whole segment: /{name}/".to_owned()));
        }
        if segment == "*" {
            let message = "`*` stands for the rest of the path".to_owned();
            return Err((
                message,
                "move it to the end, or write {name} for one segment".to_owned(),
            ));
        }
        if segment.contains(['%', '#', ' ']) || segment.chars().any(char::is_control) {
            let message = format!("`{segment}` cannot be a segment of a path");
            let hint = "write characters as they are, without `%`, `#` and spaces";
            return Err((message, hint.to_owned()));
        }
        Ok(PathPart::Literal(segment.to_owned()))
    }

    fn read_pair(&mut self, pair: &str) -> Result<(), Correction> {
        let shape = || {
            let message = format!("`{pair}` declares no parameter");
            (message, "write key={name} or key={name:int} after the `?`".to_owned())
        };
        let (key, value) = pair.split_once('=').ok_or_else(shape)?;
        let inside = value.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        let (Some(inside), false) = (inside, key.is_empty()) else { return Err(shape()) };
        let parameter = read_parameter(inside, Some(key))?;
        if self.parameters.iter().any(|known| !known.in_path && known.key == parameter.key) {
            return Err((format!("the key `{key}` appears twice"), "leave one out".to_owned()));
        }
        self.add(parameter)
    }

    fn add(&mut self, parameter: ParameterText) -> Result<(), Correction> {
        if self.parameters.iter().any(|known| known.name == parameter.name) {
            let message = format!("two parameters are called `{}`", parameter.name);
            return Err((message, "give one another name".to_owned()));
        }
        self.parameters.push(parameter);
        Ok(())
    }
}

fn read_parameter(inside: &str, key: Option<&str>) -> Result<ParameterText, Correction> {
    let (name, kind) = inside.split_once(':').unwrap_or((inside, "text"));
    if RESERVED.contains(&name) || name.starts_with("header.") {
        let message = format!("a parameter cannot be called `{name}`");
        let hint = "the request's own values have that name in `send`; choose another";
        return Err((message, hint.to_owned()));
    }
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    let starts_well = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    if !starts_well || !name.bytes().all(is_plain) {
        let message = format!("a parameter cannot be called `{name}`");
        return Err((message, "use letters, digits, `_` and `-`".to_owned()));
    }
    let Some(kind) = KINDS.into_iter().find(|known| *known == kind) else {
        let hint = match nearest(kind, KINDS.into_iter()) {
            Some(near) => format!("did you mean {{{name}:{near}}}?"),
            None => format!("write one of {}", KINDS.join(", ")),
        };
        return Err((format!("`{kind}` is not a parameter type"), hint));
    };
    let (name, in_path) = (Arc::from(name), key.is_none());
    let key = key.map_or_else(|| Arc::clone(&name), Arc::from);
    Ok(ParameterText { name, key, in_path, kind })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> String {
        let (message, hint) = parse(text).expect_err(text);
        format!("{message} -- {hint}")
    }

    #[test]
    fn a_match_text_is_taken_apart() {
        let route = parse("GET /a/{kind}/*?x={num:int}&q={q}").expect("valid");
        assert_eq!(route.method, "GET");
        let literal = |text: &str| PathPart::Literal(text.to_owned());
        assert_eq!(route.path, [literal("a"), PathPart::Parameter(0)]);
        assert!(route.rest);
        let shown: Vec<String> = (route.parameters.iter())
            .map(|p| format!("{} {} {} {}", p.name, p.key, p.in_path, p.kind))
            .collect();
        assert_eq!(shown, ["kind kind true text", "num x false int", "q q false text"]);
    }

    #[test]
    fn the_root_is_one_empty_segment_and_the_rest_takes_everything() {
        let literal = |text: &str| PathPart::Literal(text.to_owned());
        assert_eq!(parse("GET /").expect("valid").path, [literal("")]);
        assert_eq!(parse("GET /a/").expect("valid").path, [literal("a"), literal("")]);
        let all = parse("GET /*").expect("valid");
        assert_eq!((all.path, all.rest), (vec![], true));
    }

    #[test]
    fn what_is_wrong_is_told_with_what_to_write() {
        let wrong = [
            "/fib",
            "GET fib",
            "get /",
            "GTE /",
            "FETCH /",
            "* /",
            "any /",
            "OPTIONS /",
            "GET /{a}b",
            "GET /*/a",
            "GET /a%20b",
            "GET /?a",
            "GET /?={a}",
            "GET /?a={a}&a={b}",
            "GET /{a}?a={a}",
            "GET /?a={body}",
            "GET /?a={header.x}",
            "GET /?a={1}",
            "GET /?a={a:itn}",
            "PUT /{a:file}",
            "GET /?a={}",
        ];
        let all: Vec<String> = wrong.into_iter().map(said).collect();
        insta::assert_snapshot!(all.join("\n"), @r##"
`/fib` is not a method and a path -- write it as in "GET /path?key={key}"
`GET fib` is not a method and a path -- write it as in "GET /path?key={key}"
`get` is not a method -- write GET
`GTE` is not a method -- did you mean GET?
`FETCH` is not a method -- did you mean PATCH?
`*` is not a method -- write ANY for every method
`any` is not a method -- write ANY
no route can take OPTIONS -- the server answers it by itself
`{a}b` mixes text and a parameter -- a parameter takes a whole segment: /{name}/
`*` stands for the rest of the path -- move it to the end, or write {name} for one segment
`a%20b` cannot be a segment of a path -- write characters as they are, without `%`, `#` and spaces
`a` declares no parameter -- write key={name} or key={name:int} after the `?`
`={a}` declares no parameter -- write key={name} or key={name:int} after the `?`
the key `a` appears twice -- leave one out
two parameters are called `a` -- give one another name
a parameter cannot be called `body` -- the request's own values have that name in `send`; choose another
a parameter cannot be called `header.x` -- the request's own values have that name in `send`; choose another
a parameter cannot be called `1` -- use letters, digits, `_` and `-`
`itn` is not a parameter type -- did you mean {a:int}?
`{a:file}` cannot be a segment of the path -- a file comes in the body: write ?a={a:file}
a parameter cannot be called `` -- use letters, digits, `_` and `-`
"##);
    }
}
