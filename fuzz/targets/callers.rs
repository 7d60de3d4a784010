//! Any bytes as the fields by which a caller shows a key and an address: what strangers write never
//! counts as the word of a proxy, and a key counts only alone.

#![no_main]

use std::net::IpAddr;

use http::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use httpipe::testing::config::Trust;
use httpipe::testing::front::sender::KeyField;
use httpipe::testing::gate::{ShownKey, caller, hash_of};
use libfuzzer_sys::fuzz_target;

const PROXY: &str = "10.0.0.1";
const STRANGER: &str = "198.51.100.1";

/// Who asks, as a proxy that is trusted says in these fields.
fn asks(fields: &[&[u8]]) -> Option<IpAddr> {
    let trust = Trust { networks: vec![("10.0.0.0".parse().unwrap(), 8)], unix: false };
    caller(&trust, Some(PROXY.parse().unwrap()), fields.iter().copied())
}

fuzz_target!(|data: &[u8]| {
    let fields: Vec<&[u8]> = data.split(|byte| *byte == 0).take(8).collect();
    let found = asks(&fields).expect("who connects has an address");
    let text = String::from_utf8_lossy(data);
    let is_written = || {
        text.split(|sign: char| !(sign.is_ascii_hexdigit() || ".:".contains(sign)))
            .any(|word| word.parse::<IpAddr>().is_ok() || word.contains(['.', ':']))
    };
    assert!(found == PROXY.parse::<IpAddr>().unwrap() || is_written(), "{found} is made up");
    // The proxy adds who asked it, and what stands before that is of no weight.
    let mut added = fields.clone();
    added.push(STRANGER.as_bytes());
    assert_eq!(asks(&added), Some(STRANGER.parse().unwrap()));

    let mut headers = HeaderMap::new();
    let names = [AUTHORIZATION, "x-api-key".parse().unwrap()];
    for (index, field) in fields.iter().enumerate() {
        if let Ok(value) = HeaderValue::from_bytes(field) {
            headers.append(&names[index % 2], value);
        }
    }
    let key = KeyField::of(&headers);
    match (headers.len(), key.shown()) {
        (0, shown) => assert!(matches!(shown, ShownKey::Nothing)),
        (1, ShownKey::Key { text, .. }) => assert_eq!(hash_of(text).is_some(), is_key(text)),
        (1, shown) => assert!(matches!(shown, ShownKey::Wrong)),
        (_, shown) => assert!(matches!(shown, ShownKey::Wrong), "two keys at once"),
    }
});

/// Returns true if it has the form of a key.
fn is_key(text: &[u8]) -> bool {
    text.len() == 39 && text.starts_with(b"hp_")
}
