//! The rules of `docs`: a path that no route takes.
//!
//! Pure.

use std::sync::Arc;

use crate::config::findings::Findings;
use crate::config::route::{PathPart, RouteSettings};
use crate::config::server::DocsSettings;
use crate::config::tree::KeyPath;

/// Reads where callers find what can be asked.
pub(super) fn docs(
    findings: &mut Findings<'_>,
    docs: Option<&str>,
    routes: &[RouteSettings],
) -> DocsSettings {
    let path = KeyPath::of(&["docs"]);
    match docs {
        None => DocsSettings::WherePrivate,
        Some("off") => DocsSettings::Off,
        Some(docs) if !is_path(docs) => {
            let message = format!("`{}` is not a path", docs.escape_debug());
            let hint = "write it as in \"/docs\", of letters, digits, `-`, `_` and `.`; or \"off\"";
            findings.refuse(&path, message, hint);
            DocsSettings::Off
        }
        Some(docs) => {
            if let Some(route) = routes.iter().find(|route| takes(route, docs)) {
                let message = format!("nobody would see the page: `{}` takes {docs}", route.label);
                findings.refuse(&path, message, "give one of them another path, or write \"off\"");
            }
            DocsSettings::At(Arc::from(docs))
        }
    }
}

/// Returns true if this is a path that needs no percent signs, and is not `/`.
fn is_path(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let is_segment =
        |segment: &str| !matches!(segment, "" | "." | "..") && segment.bytes().all(is_plain);
    text.strip_prefix('/').is_some_and(|rest| rest.split('/').all(is_segment))
}

/// Returns true if a route takes this path.
fn takes(route: &RouteSettings, path: &str) -> bool {
    let mut segments = path.split('/').skip(1);
    let fits = route.path.iter().all(|part| match (part, segments.next()) {
        (_, None) => false,
        (PathPart::Literal(literal), Some(segment)) => literal == segment,
        (PathPart::Parameter(_), Some(_)) => true,
    });
    fits && segments.next().is_some() == route.rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_needs_no_percent_signs_and_is_not_the_root() {
        for path in ["/docs", "/a/b-c_d.e"] {
            assert!(is_path(path), "{path}");
        }
        for wrong in
            ["", "/", "docs", "/docs/", "//docs", "/a/../b", "/a b", "/é", "/a%20b", "/a?b"]
        {
            assert!(!is_path(wrong), "{wrong}");
        }
    }
}
