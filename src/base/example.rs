//! Values of parameters that are made up: for a line to try, a question of `check`, a form.
//!
//! Pure.

use super::parameter::{Parameter, ParameterKind};

/// The texts, in their order.
const TEXTS: [&str; 6] = ["hello", "world", "1", "2", "a", "b"];

/// Makes up a value that the parameter accepts; `None` if none of the usual ones fits. Values of
/// different numbers differ where the parameter allows it.
pub fn example(parameter: &Parameter, number: usize) -> Option<String> {
    let own = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let mut candidates: Vec<String> = parameter.default.iter().cloned().collect();
    candidates.extend(match &parameter.kind {
        ParameterKind::Text { one_of, .. } if !one_of.is_empty() => one_of.clone(),
        ParameterKind::Text { .. } | ParameterKind::File { .. } => own(&TEXTS),
        ParameterKind::Int { min, max } => {
            let bounds = min.iter().chain(max).cloned();
            own(&["10", "1", "2", "3"]).into_iter().chain(bounds).collect()
        }
        ParameterKind::Float { min, max } => {
            let bounds = min.iter().chain(max).map(ToString::to_string);
            own(&["1.5", "2.5", "1", "2"]).into_iter().chain(bounds).collect()
        }
        ParameterKind::Bool => own(&["true", "false"]),
        ParameterKind::Json => own(&["{}", "[]"]),
    });
    let mut accepted: Vec<String> = Vec::new();
    for candidate in candidates {
        if parameter.kind.read(&candidate).is_ok() && !accepted.contains(&candidate) {
            accepted.push(candidate);
        }
    }
    let place = number % accepted.len().max(1);
    accepted.into_iter().nth(place)
}
