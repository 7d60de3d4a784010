//! The rules of the parameters of one route.
//!
//! Pure.

use std::fmt::Display;
use std::sync::Arc;

use crate::base::WholeRegex;
use crate::base::parameter::{Parameter, ParameterKind, canonical_int, compare_ints};
use crate::config::file::{ParameterFile, RouteFile};
use crate::config::findings::Findings;
use crate::config::route_text::ParameterText;
use crate::config::scalar::Scalar;
use crate::config::shape::nearest;
use crate::config::tree::KeyPath;

const MAX_LENGTH: usize = 4096;

/// The declared parameters with their bounds, in the order of the match text.
pub(super) fn parameters(
    findings: &mut Findings<'_>,
    route_path: &KeyPath,
    route: &RouteFile,
    declared: &[ParameterText],
) -> Vec<Parameter> {
    let path = route_path.key("params");
    for name in route.params.keys() {
        if declared.iter().all(|parameter| *parameter.name != **name) {
            let hint = match nearest(name, declared.iter().map(|parameter| &*parameter.name)) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("declare it in `match`, as in ?{name}={{{name}}}"),
            };
            let message = format!("`match` declares no parameter `{name}`");
            findings.refuse(&path.key(name), message, hint);
        }
    }
    let none = ParameterFile::default();
    let one = |text: &ParameterText| {
        let file = route.params.get(&*text.name).unwrap_or(&none);
        parameter(findings, &path.key(&text.name), text, file)
    };
    declared.iter().map(one).collect()
}

fn parameter(
    findings: &mut Findings<'_>,
    path: &KeyPath,
    text: &ParameterText,
    file: &ParameterFile,
) -> Parameter {
    refuse_what_does_not_bound(findings, path, text.kind, file);
    let before = findings.problems.len();
    let kind = kind(findings, path, text.kind, file);
    let default = file.default.as_ref().map(Scalar::to_string);
    let bounds_are_good = before == findings.problems.len();
    let read = default.as_ref().filter(|_| bounds_are_good).map(|default| kind.read(default));
    if let Some(Err(expected)) = read {
        let message = format!("`default` of `{}` {expected}", text.name);
        let hint = "callers could not send it; change the value or the bounds";
        findings.refuse(&path.key("default"), message, hint);
    }
    if text.in_path && default.is_some() {
        let message = "a segment of the path is always there, so its `default` is never taken";
        findings.refuse(&path.key("default"), message, "leave it out");
    }
    Parameter {
        name: Arc::clone(&text.name),
        key: Arc::clone(&text.key),
        in_path: text.in_path,
        kind,
        default,
        missing: file.missing.as_deref().map(Arc::from),
    }
}

fn refuse_what_does_not_bound(
    findings: &mut Findings<'_>,
    path: &KeyPath,
    kind: &str,
    file: &ParameterFile,
) {
    let is_number = matches!(kind, "int" | "float");
    let bounds = [
        ("min", file.min.is_some(), is_number),
        ("max", file.max.is_some(), is_number),
        ("max_length", file.max_length.is_some(), matches!(kind, "text" | "file")),
        ("pattern", file.pattern.is_some(), kind == "text"),
        ("one_of", file.one_of.is_some(), kind == "text"),
    ];
    for (key, is_set, is_of_use) in bounds {
        if is_set && !is_of_use {
            let message = format!("`{key}` has no effect on a parameter of type {kind}");
            let hint = match key {
                "min" | "max" => "it bounds `int` and `float`",
                "max_length" => "it bounds `text` and `file`",
                _ => "it bounds `text`",
            };
            findings.refuse(&path.key(key), message, hint);
        }
    }
}

fn kind(
    findings: &mut Findings<'_>,
    path: &KeyPath,
    kind: &str,
    file: &ParameterFile,
) -> ParameterKind {
    match kind {
        "int" => {
            let is_above = |min: &String, max: &String| compare_ints(min, max).is_gt();
            let (min, max) = bounds(findings, path, file, "a whole number", int_of, is_above);
            ParameterKind::Int { min, max }
        }
        "float" => {
            let is_above = |min: &f64, max: &f64| min > max;
            let (min, max) = bounds(findings, path, file, "a number", float_of, is_above);
            ParameterKind::Float { min, max }
        }
        "bool" => ParameterKind::Bool,
        "json" => ParameterKind::Json,
        "file" => ParameterKind::File { max_length: file.max_length },
        _ => ParameterKind::Text {
            max_length: file.max_length.unwrap_or(MAX_LENGTH),
            pattern: file
                .pattern
                .as_deref()
                .and_then(|text| whole_text(findings, &path.key("pattern"), text)),
            one_of: file.one_of.clone().unwrap_or_default(),
        },
    }
}

fn bounds<T: Display>(
    findings: &mut Findings<'_>,
    path: &KeyPath,
    file: &ParameterFile,
    expected: &str,
    read: impl Fn(&Scalar) -> Option<T>,
    is_above: impl Fn(&T, &T) -> bool,
) -> (Option<T>, Option<T>) {
    let mut bound = |key: &str, scalar: Option<&Scalar>| {
        let scalar = scalar?;
        let value = read(scalar);
        if value.is_none() {
            let message = format!("`{key}` must be {expected}, not {scalar}");
            findings.refuse(&path.key(key), message, "write the bound as a number");
        }
        value
    };
    let min = bound("min", file.min.as_ref());
    let max = bound("max", file.max.as_ref());
    if let (Some(low), Some(high)) = (&min, &max)
        && is_above(low, high)
    {
        let message = format!("no value is at least {low} and at most {high}");
        findings.refuse(&path.key("min"), message, "exchange `min` and `max`");
    }
    (min, max)
}

fn int_of(scalar: &Scalar) -> Option<String> {
    match scalar {
        Scalar::Integer(number) => Some(number.to_string()),
        Scalar::Text(text) => canonical_int(text),
        Scalar::Bool(_) | Scalar::Float(_) => None,
    }
}

fn float_of(scalar: &Scalar) -> Option<f64> {
    match scalar {
        Scalar::Bool(_) => None,
        number => number.to_string().parse().ok().filter(|number: &f64| number.is_finite()),
    }
}

/// A regular expression that must match all of a value.
fn whole_text(findings: &mut Findings<'_>, path: &KeyPath, text: &str) -> Option<WholeRegex> {
    match WholeRegex::new(text) {
        Ok(regex) => Some(regex),
        Err(hint) => {
            let message = "`pattern` is not a regular expression";
            findings.refuse(path, message, hint);
            None
        }
    }
}
