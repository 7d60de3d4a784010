//! The rules about imports: rooms import only what is below them, and the files of a room do not
//! import each other in a circle.

use std::collections::{BTreeMap, BTreeSet};

use crate::paths::{Source, Tree};

/// Who may import whom. A room may also import itself; nothing imports upwards, and nothing is
/// allowed that no file needs.
pub(crate) const LAYERS: &[(&str, &[&str])] = &[
    ("sync", &[]),
    ("systemd", &[]),
    ("watch", &[]),
    ("base", &["sync"]),
    ("python", &["base"]),
    ("report", &["base"]),
    ("config", &["base", "python"]),
    ("observe", &["base", "report", "config"]),
    ("wire", &["base", "config"]),
    ("policy", &["base"]),
    ("net", &["sync", "base", "config"]),
    ("worker", &["sync", "base", "python", "config", "wire"]),
    ("doctor", &["base", "config", "worker"]),
    (
        "pool",
        &["sync", "base", "report", "config", "observe", "wire", "policy", "worker", "doctor"],
    ),
    ("cache", &["sync", "base", "config", "observe"]),
    ("jobs", &["base", "observe"]),
    ("spread", &["sync", "base", "config", "observe", "wire", "pool"]),
    ("call", &["sync", "base", "observe", "cache", "pool"]),
    ("openapi", &["base", "python", "config"]),
    ("gate", &["sync", "base", "config"]),
    (
        "front",
        &[
            "base", "config", "observe", "wire", "net", "cache", "call", "jobs", "sync", "openapi",
            "gate",
        ],
    ),
    ("admin", &["base", "report", "config", "observe", "net", "openapi"]),
    ("agent", &["report", "observe", "net"]),
    (
        "server",
        &[
            "systemd", "watch", "base", "report", "sync", "config", "observe", "net", "worker",
            "doctor", "pool", "cache", "call", "jobs", "gate", "front", "admin", "agent", "spread",
        ],
    ),
    ("map", &["base", "call", "front", "pool", "server"]),
    (
        "cli",
        &[
            "base", "report", "config", "wire", "worker", "doctor", "openapi", "cache", "jobs",
            "gate", "front", "admin", "server", "map", "spread",
        ],
    ),
];

/// Rooms with circles that are still to be untied; the list only gets shorter.
const ROOMS_WITH_CIRCLES: &[&str] = &[];

/// The room a file belongs to: `src/pool/state.rs` and `src/pool.rs` are in `pool`.
pub(crate) fn room_of(path: &str) -> &str {
    let inside = path.strip_prefix("src/").unwrap_or_default();
    inside.split('/').next().unwrap_or_default().trim_end_matches(".rs")
}

pub(crate) fn upward_imports(path: &str, text: &str) -> Vec<String> {
    let room = room_of(path);
    let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == room) else {
        return Vec::new();
    };
    let imported = imported_rooms(&Source::read(path, text));
    let wrong = imported.iter().filter(|name| *name != room && !allowed.contains(&name.as_str()));
    wrong.map(|name| format!("`{room}` must not import `{name}`")).collect()
}

/// Returns the rooms that a file names, its own included. Names in capitals are items at the root.
fn imported_rooms(source: &Source) -> BTreeSet<String> {
    let paths = source.absolute_paths().into_iter();
    let inside = paths.filter(|names| names[0] == "crate" && names.len() > 1);
    let rooms = inside.map(|mut names| names.swap_remove(1));
    rooms.filter(|name| name.starts_with(char::is_lowercase) || name == "*").collect()
}

/// Returns the imports that `layers` allows and no file uses.
pub(crate) fn unused_allowances(layers: &[(&str, &[&str])], tree: &Tree) -> Vec<String> {
    let mut used = BTreeSet::new();
    for path in tree.files() {
        for import in imported_rooms(tree.source(path)) {
            used.insert((room_of(path), import));
        }
    }
    let mut unused = Vec::new();
    for (room, allowed) in layers {
        for import in *allowed {
            if !used.contains(&(*room, (*import).to_owned())) {
                unused.push(format!("no file of `{room}` imports `{import}`: do not allow it"));
            }
        }
    }
    unused
}

/// Returns the files of a room that import each other in a circle, directly or through others. A
/// file may import what the module around it defines: that is no circle.
pub(crate) fn circles(tree: &Tree) -> Vec<String> {
    let needs: BTreeMap<&str, BTreeSet<&str>> = tree
        .files()
        .map(|path| {
            let mut needed = tree.needs(path);
            needed.retain(|other| room_of(other) == room_of(path) && !is_around(other, path));
            (path, needed)
        })
        .collect();
    let reached: BTreeMap<&str, BTreeSet<&str>> =
        needs.keys().map(|path| (*path, reachable(path, &needs))).collect();
    let circle = |path: &str| -> Vec<&str> {
        let others = reached[path].iter().copied();
        others.filter(|other| reached[other].contains(path)).collect()
    };
    let found: BTreeSet<Vec<&str>> = needs.keys().map(|path| circle(path)).collect();
    let is_known = |circle: &Vec<&str>| ROOMS_WITH_CIRCLES.contains(&room_of(circle[0]));
    let new = found.into_iter().filter(|circle| !circle.is_empty() && !is_known(circle));
    new.map(|circle| format!("import each other in a circle: {}", circle.join(", "))).collect()
}

/// Returns true if one file is the module that the other is somewhere inside of.
fn is_around(one: &str, other: &str) -> bool {
    let module = one.strip_suffix("/mod.rs").or(one.strip_suffix(".rs")).unwrap_or(one);
    other.strip_prefix(module).is_some_and(|rest| rest.starts_with('/'))
}

fn reachable<'a>(from: &'a str, needs: &BTreeMap<&'a str, BTreeSet<&'a str>>) -> BTreeSet<&'a str> {
    let mut seen = BTreeSet::new();
    let mut open = vec![from];
    while let Some(path) = open.pop() {
        open.extend(needs[path].iter().filter(|other| seen.insert(**other)));
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imports_that_point_upwards() {
        let refused = |text: &str| upward_imports("src/wire/deep/x.rs", text);
        for bad in [
            "use crate::pool::Pool;",
            "use crate::{base::Call, pool::{self, Pool}};",
            "fn f() { crate::pool::serve(); }",
            "fn f() -> super::super::super::pool::Pool {}",
            "use super::super::super::{base as b, pool as p};",
            "use crate as root; use root::pool;",
            "use crate::pool as swimming; use swimming::State;",
            "use crate::{self as root}; fn f() { root::pool::g() }",
            "#[cfg(test)]\nmod tests {}\nuse crate::pool::Pool;",
        ] {
            assert_eq!(refused(bad), ["`wire` must not import `pool`"], "{bad}");
        }
        assert_eq!(refused("use crate::*;"), ["`wire` must not import `*`"]);
        assert!(upward_imports("src/server.rs", "use crate::pool::Pool;").is_empty());
        for good in [
            "use crate::{base::Call, wire::Pool};",
            "#[cfg(test)]\nmod tests { use crate::pool::Pool; }",
            "// crate::pool is above",
            "fn f() { base_crate::pool::g(\"crate::pool::\") }",
        ] {
            assert!(refused(good).is_empty(), "{good}");
        }
    }

    #[test]
    fn allowances_that_nobody_uses() {
        let layers: &[(&str, &[&str])] = &[("wire", &["base", "config"])];
        let one = |text| unused_allowances(layers, &Tree::new([("src/wire/mod.rs", text)]));
        assert_eq!(
            one("use crate::base::Call;"),
            ["no file of `wire` imports `config`: do not allow it"]
        );
        assert_eq!(one("// crate::config\nuse crate::base;").len(), 1);
        assert!(one("use super::{base, config as c};").is_empty());
    }

    #[test]
    fn files_that_import_each_other() {
        let found = |a: &str, b: &str| {
            circles(&Tree::new([
                ("src/deep/mod.rs", "mod a; mod b; pub use a::A; use b::B;"),
                ("src/deep/a.rs", a),
                ("src/deep/b.rs", b),
            ]))
        };
        let circle = ["import each other in a circle: src/deep/a.rs, src/deep/b.rs"];
        for to_b in [
            "use super::b::B;",
            "use crate::deep::b;",
            "use crate::deep::{a::A as Own, b::B as Other};",
            "use super::super::deep::B;",
            "use super::B as Renamed;",
            "use super as room; fn f(_: room::b::B) {}",
            "fn f(_: super::B) {}",
        ] {
            let a = format!("{to_b} pub struct A;");
            assert_eq!(found(&a, "use super::A; pub struct B;"), circle, "{to_b}");
            assert!(found(&a, "pub struct B;").is_empty(), "{to_b}");
        }
        let glob = "use super::*; pub struct A; fn f(_: B) {}";
        assert_eq!(found(glob, "use super::A; pub struct B;"), circle);
        let through_the_room = found("use super::Own; pub struct A;", "pub struct B;");
        assert!(through_the_room.is_empty(), "`Own` is nowhere: {through_the_room:?}");
    }

    #[test]
    fn a_circle_of_three_and_none_with_the_parent() {
        let three = Tree::new([
            ("src/deep/a.rs", "use super::b::B; pub struct A;"),
            ("src/deep/b.rs", "use super::c::C; pub struct B;"),
            ("src/deep/c.rs", "use super::a::A; pub struct C;"),
            ("src/deep/d.rs", "use super::a::A;"),
        ]);
        let found = circles(&three);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].ends_with("src/deep/a.rs, src/deep/b.rs, src/deep/c.rs"), "{found:?}");
        let parent = Tree::new([
            ("src/deep/mod.rs", "mod a; pub struct Pool(a::A);"),
            ("src/deep/a.rs", "use super::Pool; pub struct A;"),
        ]);
        assert!(circles(&parent).is_empty());
    }
}
