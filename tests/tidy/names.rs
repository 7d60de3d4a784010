//! Names of types: no name means two things, so that a reader who knows it need not ask whose it is.

use std::collections::BTreeMap;

use crate::layers::room_of;
use crate::source::{shipped, tokens};

/// Finds types of one name in two rooms.
pub(crate) fn homonyms<'a>(files: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<String> {
    let mut homes: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (path, text) in files {
        let code = shipped(path, text);
        for pair in tokens(&code).windows(2) {
            if matches!(pair[0], "struct" | "enum" | "trait") {
                homes.entry(pair[1].to_owned()).or_default().push(path);
            }
        }
    }
    let in_two_rooms = homes
        .iter()
        .filter(|(_, paths)| paths.iter().any(|path| room_of(path) != room_of(paths[0])));
    in_two_rooms.map(|(name, paths)| format!("`{name}` is in {}", paths.join(" and "))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_name_in_two_rooms_is_found() {
        let found = |two: &str| {
            homonyms([("src/pool/a.rs", "pub struct Step;"), ("src/net/b.rs", two)].into_iter())
        };
        assert_eq!(found("enum Step { A }"), ["`Step` is in src/pool/a.rs and src/net/b.rs"]);
        assert_eq!(found("pub(super) trait Step {}").len(), 1);
        assert!(found("struct Stepper; fn f(_: Step) {}").is_empty());
        assert!(found("// struct Step\n#[cfg(test)]\nmod tests { struct Step; }").is_empty());
    }

    #[test]
    fn two_files_of_one_room_may_have_a_name_each() {
        let files = [("src/pool/a.rs", "struct Step;"), ("src/pool/b.rs", "struct Step;")];
        assert!(homonyms(files.into_iter()).is_empty());
    }
}
