//! The rules of `hosts`: names, without schemes and ports, or `"any"`.
//!
//! Pure.

use std::collections::HashSet;

use crate::config::file::OneOrMany;
use crate::config::findings::Findings;
use crate::config::origins::Hosts;
use crate::config::tree::KeyPath;

/// The names by which the server may be asked.
pub(super) fn hosts(findings: &mut Findings<'_>, hosts: Option<&OneOrMany>) -> Hosts {
    let path = KeyPath::of(&["hosts"]);
    let texts = match hosts {
        None => return Hosts::Named(HashSet::new()),
        Some(OneOrMany::One(word)) if word == "any" => return Hosts::Any,
        Some(OneOrMany::One(name)) => vec![(path, name)],
        Some(OneOrMany::Many(names)) => {
            names.iter().enumerate().map(|(index, name)| (path.index(index), name)).collect()
        }
    };
    let mut names = HashSet::new();
    for (path, text) in texts {
        match name(text) {
            Ok(name) => {
                names.insert(name);
            }
            Err(hint) => {
                let message = format!("`{}` is not the name of a host", text.escape_debug());
                findings.refuse(&path, message, hint);
            }
        }
    }
    Hosts::Named(names)
}

/// Reads a name, or says what to write instead.
fn name(text: &str) -> Result<Box<str>, String> {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let is_address = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let is_address = is_address.is_some_and(|text| text.parse::<std::net::Ipv6Addr>().is_ok());
    match text {
        "*" | "any" => return Err("write `hosts = \"any\"`, without a list".to_owned()),
        "" => return Err("write a name, as in \"api.example\"".to_owned()),
        _ if is_address || text.bytes().all(is_part) => {
            return Ok(text.to_ascii_lowercase().into());
        }
        _ => {}
    }
    let bare = text.split_once("://").map_or(text, |(_, rest)| rest);
    let bare = bare.split(['/', ':']).next().unwrap_or_default();
    Err(if !bare.is_empty() && bare.bytes().all(is_part) {
        format!("write \"{bare}\": it holds for every scheme and port")
    } else {
        "write a name, as in \"api.example\"; one by one, without `*`".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_no_scheme_no_port_and_no_star() {
        assert_eq!(name("API.example").as_deref(), Ok("api.example"));
        assert!(name("[2001:db8::1]").is_ok());
        for (text, hint) in [
            ("api.example:8080", "write \"api.example\""),
            ("https://api.example/", "write \"api.example\""),
            ("*", "\"any\""),
            ("*.example", "without `*`"),
            ("", "write a name"),
            ("a b", "write a name"),
        ] {
            let said = name(text).expect_err(text);
            assert!(said.contains(hint), "{text}: {said}");
        }
    }
}
