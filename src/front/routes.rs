//! Finds the route of a request.
//!
//! Pure. The first match in file order wins. A path is split at its slashes before anything is
//! decoded and its segments are never rewritten: `%2e%2e` and an empty segment are segments
//! like any other. The query never chooses a route.

use std::borrow::Cow;
use std::sync::Arc;

use percent_encoding::percent_decode_str;

use crate::config::{PathPart, RouteSettings};

/// All routes of one configuration.
#[derive(Clone, Debug)]
pub struct RouteTable {
    entries: Vec<RouteEntry>,
    /// Every method that some route takes, for `OPTIONS *`.
    allow: Arc<str>,
}

#[derive(Clone, Debug)]
struct RouteEntry {
    method: String,
    path: Vec<PathPart>,
    rest: bool,
    /// The whole path, if the route has only one: it is compared without being split.
    only: Option<String>,
}

/// The path of a request, not decoded.
#[derive(Clone, Copy)]
struct AskedPath<'a> {
    text: &'a str,
    /// A part of it is written in digits.
    has_percent: bool,
}

/// What a request's method and path lead to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// To the route at this index.
    Route(usize),
    /// To a list of methods, without a call.
    Options {
        /// As the `Allow` header lists them.
        allow: Arc<str>,
    },
    /// To nothing: the path is known, the method is not.
    NotAllowed {
        /// As the `Allow` header lists them.
        allow: Arc<str>,
    },
    /// To nothing: no route has this path.
    Nothing,
}

impl RouteTable {
    /// Creates the table of these routes, which are in file order.
    pub fn new(routes: &[RouteSettings]) -> Self {
        let entries = routes
            .iter()
            .map(|route| {
                // `/` is one empty segment, however it was written down.
                let root = route.path.is_empty() && !route.rest;
                let root = root.then(|| PathPart::Literal(String::new()));
                let path: Vec<_> = route.path.iter().cloned().chain(root).collect();
                let only = if route.rest { None } else { only_path(&path) };
                RouteEntry { method: route.method.clone(), path, rest: route.rest, only }
            })
            .collect::<Vec<_>>();
        let allow = allow_of(entries.iter());
        Self { entries, allow }
    }

    /// Finds the route of a request. `path` is not decoded and has no query.
    pub fn find(&self, method: &str, path: &str) -> Found {
        if path == "*" && method == "OPTIONS" {
            return Found::Options { allow: Arc::clone(&self.allow) };
        }
        // TRACE would show what a proxy added, and CONNECT would open a tunnel through the server.
        if matches!(method, "TRACE" | "CONNECT") {
            let with_path = self.with_path(path).collect::<Vec<_>>();
            let known = !with_path.is_empty();
            let allow = if known { allow_of(with_path.into_iter()) } else { self.allow.clone() };
            return Found::NotAllowed { allow };
        }
        let asked = AskedPath::of(path);
        let takes = |entry: &RouteEntry| entry.takes_path(asked) && entry.takes_method(method);
        let found = self.entries.iter().position(takes);
        if let Some(index) = found {
            return Found::Route(index);
        }
        let with_path = self.with_path(path).collect::<Vec<_>>();
        if with_path.is_empty() {
            return Found::Nothing;
        }
        let allow = allow_of(with_path.into_iter());
        match method {
            "OPTIONS" => Found::Options { allow },
            _ => Found::NotAllowed { allow },
        }
    }

    /// The first route with this path, whatever its method.
    pub fn at(&self, path: &str) -> Option<usize> {
        let asked = AskedPath::of(path);
        self.entries.iter().position(|entry| entry.takes_path(asked))
    }

    fn with_path(&self, path: &str) -> impl Iterator<Item = &RouteEntry> {
        let asked = AskedPath::of(path);
        self.entries.iter().filter(move |entry| entry.takes_path(asked))
    }
}

impl<'a> AskedPath<'a> {
    fn of(text: &'a str) -> Self {
        Self { text, has_percent: text.bytes().any(|byte| byte == b'%') }
    }
}

impl RouteEntry {
    fn takes_method(&self, method: &str) -> bool {
        self.method == method
            || (method == "HEAD" && self.method == "GET")
            || (self.method == "ANY" && method != "OPTIONS")
    }

    fn takes_path(&self, asked: AskedPath<'_>) -> bool {
        if let Some(only) = &self.only
            && !asked.has_percent
        {
            return asked.text == only;
        }
        let Some(path) = asked.text.strip_prefix('/') else { return false };
        let mut segments = path.split('/');
        let fits = self.path.iter().all(|part| match (part, segments.next()) {
            (_, None) => false,
            (PathPart::Literal(literal), Some(segment)) => is_literal(segment, literal),
            (PathPart::Parameter(_), Some(segment)) => !segment.is_empty(),
        });
        fits && segments.next().is_some() == self.rest
    }
}

/// Returns the only path that the parts match, written without percent signs; `None` if there is
/// more than one.
fn only_path(parts: &[PathPart]) -> Option<String> {
    let mut path = String::new();
    for part in parts {
        match part {
            PathPart::Literal(literal) if !literal.contains(['/', '%']) => {
                path.push('/');
                path.push_str(literal);
            }
            PathPart::Literal(_) | PathPart::Parameter(_) => return None,
        }
    }
    Some(path)
}

/// Returns the segments of a path that are values of a route's parameters, not decoded, each with
/// the index of its parameter. An empty path is none, and has no segments.
pub fn path_values<'a>(
    route: &'a RouteSettings,
    path: &'a str,
) -> impl Iterator<Item = (usize, &'a str)> {
    let segments = (!path.is_empty()).then(|| path.strip_prefix('/').unwrap_or(path).split('/'));
    let segments = segments.into_iter().flatten();
    route.path.iter().zip(segments).filter_map(|(part, segment)| match part {
        PathPart::Parameter(index) => Some((*index, segment)),
        PathPart::Literal(_) => None,
    })
}

fn is_literal(segment: &str, literal: &str) -> bool {
    if !segment.contains('%') {
        return segment == literal;
    }
    let decoded: Cow<'_, [u8]> = percent_decode_str(segment).into();
    *decoded == *literal.as_bytes()
}

fn allow_of<'a>(entries: impl Iterator<Item = &'a RouteEntry>) -> Arc<str> {
    let mut methods: Vec<&str> = Vec::new();
    let mut add = |method| {
        if !methods.contains(&method) {
            methods.push(method);
        }
    };
    for entry in entries {
        if entry.method == "ANY" {
            ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"].into_iter().for_each(&mut add);
            continue;
        }
        add(entry.method.as_str());
        if entry.method == "GET" {
            add("HEAD");
        }
    }
    add("OPTIONS");
    methods.join(", ").into()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::base::RouteId;
    use crate::config::route::ContentType;
    use crate::config::{RouteAbout, RouteAction};

    /// A route that answers with a fixed text. Parameters are numbered as they come.
    pub(crate) fn fixed(text: &str) -> RouteSettings {
        let (method, path) = text.split_once(' ').expect("a method and a path");
        let rest = path.ends_with("/*");
        let path = path.strip_suffix("/*").unwrap_or(path);
        let mut index = 0;
        let parts = path.split('/').skip(1).map(|part| {
            if !part.starts_with('{') {
                return PathPart::Literal(part.to_owned());
            }
            index += 1;
            PathPart::Parameter(index - 1)
        });
        RouteSettings {
            id: RouteId(0),
            label: text.into(),
            method: method.to_owned(),
            path: parts.collect(),
            rest,
            parameters: Vec::new(),
            cors: None,
            about: RouteAbout::default(),
            action: RouteAction::Text {
                text: "Ok".to_owned(),
                content_type: ContentType::default(),
            },
        }
    }

    fn table(routes: &[&str]) -> RouteTable {
        RouteTable::new(&routes.iter().map(|text| fixed(text)).collect::<Vec<_>>())
    }

    fn allowed(text: &str) -> Found {
        Found::NotAllowed { allow: text.into() }
    }

    #[test]
    fn the_first_match_in_file_order_wins() {
        let table = table(&["GET /a/b", "GET /a/{x}", "POST /a/{x}", "GET /*"]);
        for (path, index) in
            [("/a/b", 0), ("/a/c", 1), ("/a/b%20", 1), ("/a", 3), ("/", 3), ("/a/c/", 3), ("//", 3)]
        {
            assert_eq!(table.find("GET", path), Found::Route(index), "{path}");
        }
        assert_eq!(table.find("POST", "/a/b"), Found::Route(2));
    }

    #[test]
    fn paths_are_exact_in_case_and_trailing_slash() {
        let table = table(&["GET /fib", "GET /", "GET /s/{x}", "GET /f/*"]);
        for path in
            ["/Fib", "/fib/", "//fib", "/fib//", "/s/", "/s", "/s/a/b", "/f", "/F/x", "", "*"]
        {
            assert_eq!(table.find("GET", path), Found::Nothing, "{path}");
        }
        assert_eq!(table.find("GET", "/f/"), Found::Route(3));
        assert_eq!(table.find("GET", "/f//../x"), Found::Route(3));
    }

    #[test]
    fn segments_are_split_before_they_are_decoded_and_never_rewritten() {
        let table = table(&["GET /a/b", "GET /etc", "GET /x/{y}", "GET /t%"]);
        assert_eq!(table.find("GET", "/%61/b"), Found::Route(0));
        for path in ["/a%2fb", "/x/%2e%2e/etc", "/x/../etc", "/./a/b", "/..%5cetc", "/%zz", "/%00"]
        {
            assert_eq!(table.find("GET", path), Found::Nothing, "{path}");
        }
        assert_eq!(table.find("GET", "/x/.."), Found::Route(2));
        assert_eq!(table.find("GET", "/x/%2e%2e"), Found::Route(2));
        assert_eq!(table.find("GET", "/t%25"), Found::Route(3));
    }

    #[test]
    fn another_method_is_refused_only_where_the_path_is_known() {
        let table = table(&["GET /a", "POST /a", "PUT /b"]);
        assert_eq!(table.find("DELETE", "/a"), allowed("GET, HEAD, POST, OPTIONS"));
        assert_eq!(table.find("BREW", "/b"), allowed("PUT, OPTIONS"));
        assert_eq!(table.find("get", "/a"), allowed("GET, HEAD, POST, OPTIONS"));
        assert_eq!(table.find("DELETE", "/c"), Found::Nothing);
        assert_eq!(table.find("HEAD", "/b"), allowed("PUT, OPTIONS"));
    }

    #[test]
    fn head_takes_the_route_of_get() {
        assert_eq!(table(&["POST /a", "GET /a"]).find("HEAD", "/a"), Found::Route(1));
        assert_eq!(table(&["HEAD /a", "GET /a"]).find("HEAD", "/a"), Found::Route(0));
    }

    #[test]
    fn options_lists_methods_without_a_call() {
        let listed = |text: &str| Found::Options { allow: text.into() };
        let routes = table(&["GET /a", "POST /b", "DELETE /b"]);
        assert_eq!(routes.find("OPTIONS", "/b"), listed("POST, DELETE, OPTIONS"));
        assert_eq!(routes.find("OPTIONS", "*"), listed("GET, HEAD, POST, DELETE, OPTIONS"));
        assert_eq!(routes.find("OPTIONS", "/c"), Found::Nothing);
        assert_eq!(table(&["OPTIONS /a"]).find("OPTIONS", "/a"), Found::Route(0));
    }

    #[test]
    fn any_takes_every_method_but_those_of_the_server() {
        let routes = table(&["DELETE /a", "ANY /a"]);
        assert_eq!(routes.find("DELETE", "/a"), Found::Route(0));
        for method in ["GET", "HEAD", "POST", "PROPFIND", "BREW"] {
            assert_eq!(routes.find(method, "/a"), Found::Route(1), "{method}");
        }
        let allow = "DELETE, GET, HEAD, POST, PUT, PATCH, OPTIONS".into();
        assert_eq!(routes.find("OPTIONS", "/a"), Found::Options { allow });
        assert!(matches!(routes.find("TRACE", "/a"), Found::NotAllowed { .. }));
    }

    #[test]
    fn trace_and_connect_are_never_taken() {
        let table = table(&["GET /a", "POST /b", "TRACE /a"]);
        assert_eq!(table.find("TRACE", "/b"), allowed("POST, OPTIONS"));
        assert_eq!(table.find("TRACE", "/c"), allowed("GET, HEAD, POST, TRACE, OPTIONS"));
        assert_eq!(table.find("CONNECT", ""), allowed("GET, HEAD, POST, TRACE, OPTIONS"));
        assert!(matches!(table.find("TRACE", "/a"), Found::NotAllowed { .. }));
    }

    #[test]
    fn values_of_a_path_come_as_they_were_sent() {
        let route = fixed("GET /a/{x}/b/{y}");
        let values = path_values(&route, "/a/%2e%2e/b/c%2Fd").collect::<Vec<_>>();
        assert_eq!(values, [(0, "%2e%2e"), (1, "c%2Fd")]);
    }

    proptest::proptest! {
        #[test]
        fn every_path_that_a_browser_or_an_attacker_writes_leads_somewhere(path in "[/a-c.%0-9*]{0,20}") {
            let table = table(&["GET /a/{x}", "GET /*"]);
            let found = table.find("GET", &path);
            proptest::prop_assert_eq!(found == Found::Nothing, !path.starts_with('/'));
        }
    }
}
