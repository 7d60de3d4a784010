//! Single values of a configuration file that TOML has no type for: times, sizes, worker
//! counts.
//!
//! Pure.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use crate::base::ByteSize;
use crate::base::units::{parse_duration, show_duration};

/// A duration, written as a string with a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time(pub Duration);

/// A size, written as a string with a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub ByteSize);

/// A count of workers: a number, or `"2..8"`.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(untagged)]
pub enum Workers {
    /// Always this many.
    Number(usize),
    /// `2..8`: kept ready and most under load.
    Text(String),
}

/// Calls in one worker at once: a number, or `"auto"`.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(untagged)]
pub enum InFlightText {
    /// Never more than this.
    Number(#[schemars(range(min = 1))] u32),
    /// `auto`.
    Text(AutoText),
}

/// The word `auto`.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "lowercase")]
#[schemars(extend("type" = "string"))]
#[allow(
    clippy::missing_docs_in_private_items,
    reason = "a documented variant makes the schema a list of alternatives"
)]
pub enum AutoText {
    Auto,
}

/// An address: a text, or a port of this machine.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(untagged)]
pub enum AddressText {
    /// A port of this machine.
    Port(u16),
    /// `127.0.0.1:3000`, `unix:/path`.
    Text(String),
}

/// A value of a parameter.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(untagged)]
pub enum Scalar {
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// A number with a fraction.
    Float(f64),
    /// Anything else.
    Text(String),
}

/// Reads a table in one line, as a file has it: `{ send = "line", reply = "block" }`.
pub fn inline_table(text: &str) -> Option<toml::Table> {
    let line = format!("it = {text}");
    let table: toml::Table = line.parse().ok()?;
    table.get("it")?.as_table().cloned()
}

impl Time {
    /// This many seconds.
    pub const fn seconds(count: u64) -> Self {
        Self(Duration::from_secs(count))
    }
}

impl Size {
    /// This many KiB.
    pub const fn kibibytes(count: u64) -> Self {
        Self(ByteSize(count << 10))
    }

    /// This many MiB.
    pub const fn mebibytes(count: u64) -> Self {
        Self(ByteSize(count << 20))
    }
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => value.fmt(f),
            Self::Integer(value) => value.fmt(f),
            Self::Float(value) => value.fmt(f),
            Self::Text(value) => value.fmt(f),
        }
    }
}

impl fmt::Display for AddressText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(port) => port.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}

impl Workers {
    /// Returns the least and the most, or what is wrong and what to write instead.
    pub fn bounds(&self) -> Result<(usize, usize), (String, String)> {
        let (least, most) = match self {
            Self::Number(count) => (*count, *count),
            Self::Text(text) => {
                let (least, most) = text.split_once("..").unwrap_or((text, text));
                match (least.trim().parse(), most.trim().parse()) {
                    (Ok(least), Ok(most)) => (least, most),
                    _ => {
                        return Err((
                            format!("`{text}` is not a number of workers"),
                            "write a number, or \"2..8\" for 2 kept ready and 8 under load"
                                .to_owned(),
                        ));
                    }
                }
            }
        };
        if most < least {
            let hint = format!("write \"{most}..{least}\"");
            return Err((format!("{most} workers are less than {least}"), hint));
        }
        if most > 10_000 {
            let hint = "write 10000 or less".to_owned();
            return Err((format!("{most} workers are too many"), hint));
        }
        Ok((least, most))
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&show_duration(self.0))
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_duration(&text).map(Self).map_err(D::Error::custom)
    }
}

impl JsonSchema for Time {
    fn schema_name() -> Cow<'static, str> {
        "Time".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "format": "httpipe-duration",
            "pattern": r"^[0-9.]+ ?(us|µs|ms|s|m|h|d)$",
        })
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(D::Error::custom)
    }
}

impl JsonSchema for Size {
    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "format": "httpipe-size",
            "pattern": r"^[0-9.]+ ?(B|kB|KiB|MB|MiB|GB|GiB)$",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worker_counts_are_a_number_or_a_range() {
        let bounds = |text: &str| Workers::Text(text.to_owned()).bounds();
        assert_eq!(bounds("4"), Ok((4, 4)));
        assert_eq!(bounds("2..8"), Ok((2, 8)));
        for wrong in ["", "8..2", "2..", "2...8", "-1", "two", "99999"] {
            assert!(bounds(wrong).is_err(), "{wrong}");
        }
    }
}
