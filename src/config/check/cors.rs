//! The rules of `cors`: origins as browsers write them, or `"*"`.
//!
//! Pure.

use std::collections::HashSet;
use std::sync::Arc;

use crate::config::file::OneOrMany;
use crate::config::findings::Findings;
use crate::config::origins::Cors;
use crate::config::tree::KeyPath;

/// The pages that may ask and read; `None`: none of another origin.
pub(super) fn cors(
    findings: &mut Findings<'_>,
    path: &KeyPath,
    cors: &OneOrMany,
) -> Option<Arc<Cors>> {
    let texts = match cors {
        OneOrMany::One(word) if word == "*" => return Some(Arc::new(Cors::Any)),
        OneOrMany::One(word) if word == "off" => return None,
        OneOrMany::One(text) => vec![(path.clone(), text)],
        OneOrMany::Many(texts) => {
            texts.iter().enumerate().map(|(index, text)| (path.index(index), text)).collect()
        }
    };
    let mut origins = HashSet::new();
    for (path, text) in texts {
        match origin(text) {
            Ok(()) => {
                origins.insert(text.as_str().into());
            }
            Err(hint) => {
                let message = format!("`{}` is not the origin of a page", text.escape_debug());
                findings.refuse(&path, message, hint);
            }
        }
    }
    Some(Arc::new(Cors::Listed(origins)))
}

/// Checks that a browser could send this text as `Origin`, or says what to write instead.
fn origin(text: &str) -> Result<(), String> {
    let example = || "write it as in \"https://app.example\", with a port if it is unusual";
    match text {
        "*" => return Err("write `cors = \"*\"`, without a list".to_owned()),
        "off" => return Err("write `cors = \"off\"`, without a list".to_owned()),
        "null" => {
            return Err("pages from files and sandboxes have no origin of their own: only \
                        `cors = \"*\"` lets them in"
                .to_owned());
        }
        _ => {}
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        let is_host = !text.is_empty() && !text.contains(['/', '*', ' ']);
        let hint = || format!("write \"https://{text}\", or \"http://{text}\"");
        return Err(if is_host { hint() } else { example().to_owned() });
    };
    let host = rest.split('/').next().unwrap_or_default();
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:[]".contains(&byte);
    let is_scheme = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    let is_good = !scheme.is_empty() && !host.is_empty();
    if !is_good || !scheme.bytes().all(is_scheme) || !host.bytes().all(is_host) {
        return Err(example().to_owned());
    }
    let (scheme, host) = (scheme.to_ascii_lowercase(), host.to_ascii_lowercase());
    let host = match scheme.as_str() {
        "https" => host.strip_suffix(":443").unwrap_or(&host),
        "http" => host.strip_suffix(":80").unwrap_or(&host),
        _ => &host,
    };
    let written = format!("{scheme}://{host}");
    if written == text { Ok(()) } else { Err(format!("browsers write it \"{written}\"")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_what_a_browser_sends() {
        for text in ["https://app.example", "http://localhost:5173", "http://[::1]:1", "app://x"] {
            assert_eq!(origin(text), Ok(()), "{text}");
        }
        for (text, hint) in [
            ("https://app.example/", "\"https://app.example\""),
            ("https://App.example/page", "\"https://app.example\""),
            ("https://app.example:443", "\"https://app.example\""),
            ("http://app.example:80", "\"http://app.example\""),
            ("app.example", "\"https://app.example\""),
            ("https://*.example", "as in"),
            ("*", "without a list"),
            ("null", "`cors = \"*\"`"),
            ("", "as in"),
            ("://", "as in"),
        ] {
            let said = origin(text).expect_err(text);
            assert!(said.contains(hint), "{text}: {said}");
        }
    }
}
