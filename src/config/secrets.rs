//! Which parts of a configuration file may hold secrets.
//!
//! Pure. Diagnostics in logs and over HTTP leave them out.

use std::ops::Range;

use serde_json::Value as Schema;

use super::problem::Place;
use super::tree::{KeyPath, KeyStep, Tree};

/// Keys of a pool whose values programs get: variables, arguments, greetings with tokens.
const POOL_KEYS: [&str; 3] = ["command", "env", "hello"];

/// The values of a file that may be secret. So may those of unknown keys, which are perhaps
/// misspelt; a number or `true` is not.
pub fn secrets(tree: &Tree, schema: &Schema, text: &str) -> Vec<Range<usize>> {
    let pool = &schema["properties"]["pool"]["additionalProperties"]["properties"];
    let is_known = |schema: &Schema, key: &str| schema.get(key).is_some();
    let may_be_secret = |path: &KeyPath, span: &Range<usize>| {
        let is_text =
            || text.get(span.clone()).is_some_and(|it| it.starts_with(['"', '\'', '[', '{']));
        match path.steps() {
            [KeyStep::Key(pools), KeyStep::Key(_), KeyStep::Key(key), ..] if pools == "pool" => {
                POOL_KEYS.contains(&key.as_str()) || (!is_known(pool, key) && is_text())
            }
            [KeyStep::Key(table), KeyStep::Key(key), ..] if table == "cache" => is_of_cache(key),
            [KeyStep::Key(key), ..] => {
                key == "admin_token" || (!is_known(&schema["properties"], key) && is_text())
            }
            _ => false,
        }
    };
    let places = tree.places.written().filter_map(|(path, place)| match place {
        Place::File(span) if may_be_secret(path, &span) => Some(span),
        _ => None,
    });
    places.collect()
}

/// Returns true if messages about this value must not quote it.
pub fn is_secret(path: &KeyPath) -> bool {
    match path.steps() {
        [KeyStep::Key(pools), KeyStep::Key(_), KeyStep::Key(key), ..] => {
            pools == "pool" && POOL_KEYS.contains(&key.as_str())
        }
        [KeyStep::Key(table), KeyStep::Key(key), ..] if table == "cache" => is_of_cache(key),
        [KeyStep::Key(key)] => key == "admin_token",
        _ => false,
    }
}

/// Returns true if a key of `cache` holds a password, or an address that may have one in it.
fn is_of_cache(key: &str) -> bool {
    matches!(key, "shared" | "shared_password")
}
