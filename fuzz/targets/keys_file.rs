//! Any bytes as a keys file: it is refused with a line, or each of its entries can be told apart.

#![no_main]

use std::collections::HashSet;

use httpipe::testing::config::KeyList;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match KeyList::parse(text) {
        Ok(keys) => {
            let (mut names, mut hashes) = (HashSet::new(), HashSet::new());
            assert!(!keys.0.is_empty());
            for entry in &keys.0 {
                assert!(names.insert(&entry.name), "a name twice");
                assert!((1..=64).contains(&entry.name.len()));
                assert!(entry.hashes.len() <= 2 && entry.certificates.len() <= 2);
                assert!(entry.hashes.len() + entry.certificates.len() > 0);
                assert!(
                    entry.hashes.iter().all(|hash| hashes.insert(hash.to_string())),
                    "a hash twice"
                );
            }
            let more = format!("{text}\n# a comment\n");
            assert_eq!(KeyList::parse(&more).as_ref(), Ok(&keys));
        }
        Err(bad) => {
            let has_line = bad.what.starts_with("line ") || bad.what == "it has no keys";
            assert!(has_line && !bad.hint.is_empty(), "{bad:?}");
        }
    }
});
