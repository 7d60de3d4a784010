//! Moves the definitions inside of schemas to the components of the document.
//!
//! Pure. The schema of an argument can stand alone: what it refers to is in its own `$defs`. In a
//! document, a reference is read from the top, so definitions must be there.

use std::collections::HashMap;

use serde_json::{Map, Value};

/// Where a schema has its definitions; the second is that of older drafts.
const GROUPS: [&str; 2] = ["$defs", "definitions"];

/// The definitions that were found so far.
#[derive(Debug, Default)]
pub(super) struct Hoist {
    schemas: Map<String, Value>,
    /// The names by reference, for each set of definitions. Two that are equal one by one may
    /// refer to different ones, so they are compared as a set.
    known: HashMap<String, HashMap<String, String>>,
}

impl Hoist {
    /// Returns the schema without its definitions, which it refers to in the components.
    pub(super) fn hoist(&mut self, schema: &Value) -> Value {
        let mut schema = schema.clone();
        let mut found = Vec::new();
        for group in GROUPS {
            let taken = schema.as_object_mut().and_then(|fields| fields.shift_remove(group));
            let Some(Value::Object(taken)) = taken else { continue };
            found.extend(taken.into_iter().map(|(name, it)| (format!("#/{group}/{name}"), it)));
        }
        if found.is_empty() {
            return schema;
        }
        let set = serde_json::to_string(&found).expect("texts and JSON are JSON");
        if !self.known.contains_key(&set) {
            let mut names = HashMap::new();
            for (reference, _) in &found {
                let name = self.free_name(reference);
                // Taken from now on.
                self.schemas.insert(name.clone(), Value::Null);
                names.insert(reference.clone(), name);
            }
            for (reference, mut definition) in found {
                refer(&mut definition, &names);
                self.schemas.insert(names[&reference].clone(), definition);
            }
            self.known.insert(set.clone(), names);
        }
        refer(&mut schema, &self.known[&set]);
        schema
    }

    /// Returns what was found, by its names in the components.
    pub(super) fn into_schemas(self) -> Map<String, Value> {
        self.schemas
    }

    /// A name that the components can have: that of the definition, if it is free.
    fn free_name(&self, reference: &str) -> String {
        let own = reference.rsplit('/').next().unwrap_or(reference);
        let is_plain = |it: char| it.is_ascii_alphanumeric() || "._-".contains(it);
        let own: String = own.chars().map(|it| if is_plain(it) { it } else { '_' }).collect();
        let is_free =
            |name: &String| !RESERVED.contains(&name.as_str()) && !self.schemas.contains_key(name);
        let numbered = (2..).map(|number| format!("{own}-{number}"));
        std::iter::once(own.clone()).chain(numbered).find(is_free).expect("numbers do not end")
    }
}

/// The names of our own schemas.
const RESERVED: [&str; 3] = [super::failures::PROBLEM, super::bodies::MESSAGE, super::jobs::JOB];

/// Points all references of a schema to the new names.
fn refer(schema: &mut Value, names: &HashMap<String, String>) {
    match schema {
        Value::Object(fields) => {
            if let Some(Value::String(reference)) = fields.get_mut("$ref")
                && let Some(name) = names.get(reference)
            {
                *reference = format!("#/components/schemas/{name}");
            }
            fields.values_mut().for_each(|value| refer(value, names));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| refer(item, names)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn definitions_move_and_keep_apart_what_has_the_same_name() {
        let mut hoist = Hoist::default();
        let schema = |kind: &str| {
            json!({
                "$ref": "#/$defs/Tree[int]",
                "$defs": { "Tree[int]": {
                    "type": kind, "items": { "$ref": "#/$defs/Tree[int]" },
                } },
            })
        };
        let reference = |name: &str| json!({ "$ref": format!("#/components/schemas/{name}") });
        assert_eq!(hoist.hoist(&schema("array")), reference("Tree_int_"));
        assert_eq!(hoist.hoist(&schema("object")), reference("Tree_int_-2"));
        assert_eq!(hoist.hoist(&schema("array")), reference("Tree_int_"));
        let schemas = hoist.into_schemas();
        assert_eq!(schemas["Tree_int_"]["items"], reference("Tree_int_"));
        assert_eq!(schemas.len(), 2);
    }
}
