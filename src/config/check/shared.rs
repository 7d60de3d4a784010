//! The rules of the cache that several servers share.
//!
//! Pure. No message quotes the address, which may have a password in it.

use std::path::PathBuf;
use std::sync::Arc;

use crate::config::file::{File, SecretFile};
use crate::config::findings::Findings;
use crate::config::shared::{SharedCacheSettings, SharedPlace};
use crate::config::tree::KeyPath;

/// The port of a Redis that does not say it.
const PORT: u16 = 6379;

const SHAPES: &str = "write redis://USER@HOST:6379/0, rediss://… for TLS, or unix:/path";

/// Returns where servers share kept answers, if they do.
pub(super) fn shared(findings: &mut Findings<'_>, file: &File) -> Option<Arc<SharedCacheSettings>> {
    let cache = &file.cache;
    let table = KeyPath::of(&["cache"]);
    let path = table.key("shared");
    let limit = findings.positive_time(&table.key("shared_timeout"), cache.shared_timeout);
    let Some(text) = &cache.shared else {
        let others = [
            ("shared_password", cache.shared_password.is_some()),
            ("shared_ca", cache.shared_ca.is_some()),
        ];
        for (key, _) in others.iter().filter(|(_, is_there)| *is_there) {
            let message = format!("`{key}` has no effect without `shared`");
            findings.refuse(&table.key(key), message, "write `shared` of `[cache]`, too");
        }
        return None;
    };
    if !cfg!(feature = "redis") {
        let message = "this httpipe was built without Redis";
        let hint = "build it in a clone with `cargo install --locked --path . --features redis`, or \
                    use the wheel, the Debian package or the image, which have it";
        findings.refuse(&path, message, hint);
        return None;
    }
    let (place, user, database) = match address(text) {
        Ok(address) => address,
        Err((message, hint)) => {
            findings.refuse(&path, message, hint);
            return None;
        }
    };
    let is_secure = matches!(place, SharedPlace::Tcp { secure: true, .. });
    if cache.shared_ca.is_some() && !is_secure {
        let hint = "write rediss://… in `shared`, or leave `shared_ca` out";
        findings.refuse(&table.key("shared_ca"), "without TLS nobody shows a certificate", hint);
    }
    let password = match &cache.shared_password {
        Some(SecretFile::Text(password)) => Some(password.clone()),
        Some(SecretFile::Elsewhere(_)) | None => None,
    };
    let ca = cache.shared_ca.as_ref().map(PathBuf::from);
    Some(Arc::new(SharedCacheSettings { place, user, password, database, ca, limit }))
}

type Refused = (&'static str, &'static str);

/// Reads an address, or says what is wrong with it and what to write.
fn address(text: &str) -> Result<(SharedPlace, Option<String>, u32), Refused> {
    if let Some(path) = text.strip_prefix("unix:") {
        if path.is_empty() || path.contains('\0') || path.len() > 107 {
            return Err(("the path of a socket has 1 to 107 bytes", "write unix:/path"));
        }
        return Ok((SharedPlace::Unix(PathBuf::from(path)), None, 0));
    }
    let (secure, rest) = match (text.strip_prefix("redis://"), text.strip_prefix("rediss://")) {
        (Some(rest), _) => (false, rest),
        (_, Some(rest)) => (true, rest),
        _ => return Err(("`shared` is not the address of a Redis", SHAPES)),
    };
    let (user, rest) = match rest.rsplit_once('@') {
        Some((user, _)) if user.contains(':') => {
            let hint = "leave it out, and set HTTPIPE_CACHE_SHARED_PASSWORD, or `shared_password` to \
                        `{ file = \"…\" }`";
            return Err(("a password does not belong into `shared`", hint));
        }
        Some((user, rest)) => (Some(user.to_owned()).filter(|user| !user.is_empty()), rest),
        None => (None, rest),
    };
    let (host, database) = rest.split_once('/').unwrap_or((rest, ""));
    let database = if database.is_empty() { Ok(0) } else { database.parse() };
    let Ok(database) = database else {
        return Err(("after the host in `shared` comes the number of a database", SHAPES));
    };
    let (host, port) = match host.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port.parse().ok()),
        _ => (host, Some(PORT)),
    };
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte);
    let is_good =
        !bare.is_empty() && bare.bytes().all(is_host) && (bare != host || !bare.contains(':'));
    match port.filter(|port| *port > 0 && is_good) {
        Some(port) => {
            Ok((SharedPlace::Tcp { host: bare.to_owned(), port, secure }, user, database))
        }
        None => Err(("`shared` names no host and port", SHAPES)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_or_a_socket() {
        let read = |text| {
            address(text).map(|(place, user, database)| {
                format!("{place} {} {database}", user.as_deref().unwrap_or("-"))
            })
        };
        for (text, shown) in [
            ("redis://cache", "redis://cache:6379 - 0"),
            ("redis://cache:7000/3", "redis://cache:7000 - 3"),
            ("rediss://ann@10.0.0.1/", "rediss://10.0.0.1:6379 ann 0"),
            ("redis://@[::1]:7000", "redis://[::1]:7000 - 0"),
            ("unix:/run/redis.sock", "unix:/run/redis.sock - 0"),
        ] {
            assert_eq!(read(text), Ok(shown.to_owned()), "{text}");
        }
        for text in [
            "cache:6379",
            "http://cache",
            "redis://",
            "redis://:6379",
            "redis://cache:0",
            "redis://cache:70000",
            "redis://cache/x",
            "redis://cache/0?protocol=resp2",
            "redis://::1",
            "redis://a b",
            "unix:",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn no_message_quotes_a_password() {
        for text in ["redis://ann:hunter2@cache", "redis://:hunter2@cache/0", "hunter2"] {
            let (message, hint) = address(text).expect_err(text);
            assert!(!format!("{message}{hint}").contains("hunter2"), "{text}");
        }
    }
}
