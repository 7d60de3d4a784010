//! Finds the route that takes every request another one could, without comparing each with each.
//!
//! Pure.

use std::collections::HashMap;

use crate::config::route::PathPart;
use crate::config::route_text::RouteText;

/// Earlier routes by method and path.
#[derive(Debug, Default)]
pub(super) struct Shadows {
    methods: HashMap<Box<str>, Node>,
}

/// What earlier routes have after the same beginning. Numbers are places of routes.
#[derive(Debug, Default)]
struct Node {
    literals: HashMap<Box<str>, Node>,
    parameter: Option<Box<Node>>,
    /// The first route that ends here.
    end: Option<usize>,
    /// The first route that ends here with `/*`.
    rest: Option<usize>,
}

impl Shadows {
    /// Adds a route. Places grow.
    pub(super) fn add(&mut self, route: &RouteText, place: usize) {
        let mut node = self.methods.entry(route.method.as_str().into()).or_default();
        for part in &route.path {
            node = match part {
                PathPart::Literal(text) => node.literals.entry(text.as_str().into()).or_default(),
                PathPart::Parameter(_) => node.parameter.get_or_insert_default(),
            };
        }
        let slot = if route.rest { &mut node.rest } else { &mut node.end };
        slot.get_or_insert(place);
    }

    /// Returns the place of the first route that takes every request that this one could.
    pub(super) fn first_over(&self, later: &RouteText) -> Option<usize> {
        // GET takes HEAD too.
        let also = (later.method == "HEAD").then_some("GET");
        let methods = std::iter::once(later.method.as_str()).chain(also);
        let trees = methods.filter_map(|method| self.methods.get(method));
        trees.filter_map(|tree| tree.first_over(later, 0)).min()
    }
}

impl Node {
    fn first_over(&self, later: &RouteText, depth: usize) -> Option<usize> {
        // `/*` stands for at least one segment, which may be empty.
        let rest = self.rest.filter(|_| later.rest || later.path.len() > depth);
        let below = match later.path.get(depth) {
            None => self.end.filter(|_| !later.rest),
            Some(PathPart::Literal(text)) => {
                let same = self.literals.get(text.as_str());
                let parameter = self.parameter.as_deref().filter(|_| !text.is_empty());
                let nodes = same.into_iter().chain(parameter);
                nodes.filter_map(|node| node.first_over(later, depth + 1)).min()
            }
            Some(PathPart::Parameter(_)) => {
                self.parameter.as_deref().and_then(|node| node.first_over(later, depth + 1))
            }
        };
        rest.into_iter().chain(below).min()
    }
}

/// Returns true if the earlier route takes every request that the later one could.
pub(super) fn covers(earlier: &RouteText, later: &RouteText) -> bool {
    let method = earlier.method == later.method
        || earlier.method == "ANY"
        || (earlier.method == "GET" && later.method == "HEAD");
    let parts =
        earlier.path.iter().zip(&later.path).all(|(earlier, later)| match (earlier, later) {
            (PathPart::Parameter(_), PathPart::Literal(text)) => !text.is_empty(),
            (PathPart::Parameter(_), PathPart::Parameter(_)) => true,
            (PathPart::Literal(earlier), PathPart::Literal(later)) => earlier == later,
            (PathPart::Literal(_), PathPart::Parameter(_)) => false,
        });
    // `/*` stands for at least one segment, which may be empty.
    let length = match (earlier.rest, later.rest) {
        (false, rest) => !rest && earlier.path.len() == later.path.len(),
        (true, false) => later.path.len() > earlier.path.len(),
        (true, true) => later.path.len() >= earlier.path.len(),
    };
    method && parts && length
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::route_text;

    #[test]
    fn the_index_finds_what_a_look_at_each_route_would() {
        let parts = ["a", "b", "", "{x}"];
        let mut state = 7_u32;
        let mut next = |below: u32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 16) % below
        };
        let mut routes = Vec::new();
        for _ in 0..600 {
            let mut text = ["GET ", "HEAD ", "POST "][next(3) as usize].to_owned();
            for depth in 0..=next(3) {
                let part = parts[next(4) as usize];
                text.push('/');
                text.push_str(&part.replace('x', &format!("x{depth}")));
            }
            text += if next(4) == 0 { "/*" } else { "" };
            routes.extend(route_text::parse(&text));
        }
        let mut shadows = Shadows::default();
        for (place, route) in routes.iter().enumerate() {
            let expected = routes[..place].iter().position(|earlier| covers(earlier, route));
            assert_eq!(shadows.first_over(route), expected, "{route:?}");
            shadows.add(route, place);
        }
        assert!(routes.len() > 400, "most of them are routes");
    }

    #[test]
    fn a_route_is_shadowed_by_one_that_takes_all_it_could() {
        let covers = |earlier: &str, later: &str| {
            let parse = |text: &str| route_text::parse(text).expect("valid");
            super::covers(&parse(earlier), &parse(later))
        };
        for (earlier, later) in [
            ("GET /a", "GET /a?x={x}"),
            ("GET /a", "HEAD /a"),
            ("GET /*", "GET /"),
            ("ANY /a", "GET /a"),
            ("GET /*", "GET /a/{b}"),
            ("GET /a/*", "GET /a/"),
            ("GET /a/*", "GET /a/b/*"),
            ("GET /{a}", "GET /b"),
        ] {
            assert!(covers(earlier, later), "{earlier} before {later}");
        }
        for (earlier, later) in [
            ("GET /a", "POST /a"),
            ("GET /a", "ANY /a"),
            ("HEAD /a", "GET /a"),
            ("GET /a", "GET /a/"),
            ("GET /a/*", "GET /a"),
            ("GET /a/b/*", "GET /a/*"),
            ("GET /b", "GET /{a}"),
            ("GET /{a}", "GET /"),
            ("GET /a", "GET /*"),
        ] {
            assert!(!covers(earlier, later), "{earlier} before {later}");
        }
    }
}
