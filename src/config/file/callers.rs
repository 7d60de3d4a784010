//! What may be written about those who may ask.
//!
//! Pure. The doc comments are the reference, as those of the rest of the file are.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What each address may do that shows no key.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct AnonymousFile {
    /// How often: `"10/1m"` is 10 requests at once, and on average 10 a minute. More get 429
    /// `rate_limited`. If absent, as often as they like.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1), extend("examples" = ["10/1m"]))]
    pub rate: Option<String>,
    /// How many calls at once. More get 429 `too_many_calls`. If absent, as many as they like.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub calls: Option<u32>,
}
