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
