//! Resolves the names in a file: takes `use` trees apart and follows `self`, `super`, renames and
//! re-exports, so that every way to write a path leads to the file that is meant.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::{is_name, shipped, test_modules, tokens};

/// Names of modules and items, outermost first. Inside this crate the first one is `crate`.
pub(crate) type Names = Vec<String>;

/// How many renames and re-exports are followed; more must be a circle.
const HOPS_MAX: usize = 12;

/// One path as it is written, with the module it is written in.
#[derive(Debug)]
struct Written {
    module: Names,
    names: Names,
}

/// One leaf of a `use` tree.
#[derive(Debug)]
struct Use {
    written: Written,
    /// The name it has here; `None` for a glob.
    alias: Option<String>,
    /// It is a re-export.
    is_public: bool,
}

/// One source file, read once.
#[derive(Debug, Default)]
pub(crate) struct Source {
    module: Names,
    uses: Vec<Use>,
    mentions: Vec<Written>,
    defined: BTreeSet<String>,
    words: BTreeSet<String>,
}

/// All files of the crate by their modules.
#[derive(Debug)]
pub(crate) struct Tree {
    paths: BTreeMap<Names, String>,
    sources: BTreeMap<String, Source>,
}

impl Source {
    pub(crate) fn read(path: &str, text: &str) -> Self {
        let code = shipped(path, text);
        let mut reader = Reader {
            tokens: tokens(&code),
            next: 0,
            open: Vec::new(),
            is_public: false,
            source: Self { module: module_of(path), ..Self::default() },
        };
        reader.read();
        reader.source
    }

    /// Returns every path in this file, resolved; a glob has `*` as its last name. Names that only
    /// the whole crate can resolve stay as they are written.
    pub(crate) fn absolute_paths(&self) -> Vec<Names> {
        let uses = self.uses.iter().map(|one| &one.written);
        uses.chain(&self.mentions).map(|written| self.absolute(written, HOPS_MAX)).collect()
    }

    fn absolute(&self, written: &Written, hops: usize) -> Names {
        let (mut base, mut rest) = match written.names[0].as_str() {
            "crate" => (vec!["crate".to_owned()], &written.names[1..]),
            "self" => (written.module.clone(), &written.names[1..]),
            "super" => (written.module.clone(), &written.names[..]),
            name => {
                let named = self.uses.iter().find(|one| {
                    one.alias.as_deref() == Some(name) && one.written.module == written.module
                });
                let Some(named) = named.filter(|_| hops > 0) else { return written.names.clone() };
                (self.absolute(&named.written, hops - 1), &written.names[1..])
            }
        };
        while rest.first().is_some_and(|name| name == "super") {
            base.pop();
            rest = &rest[1..];
        }
        base.extend_from_slice(rest);
        base
    }
}

impl Tree {
    pub(crate) fn new<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let (mut paths, mut sources, mut only_tests) =
            (BTreeMap::new(), BTreeMap::new(), Vec::new());
        for (path, text) in files {
            let module = module_of(path);
            for name in test_modules(text) {
                only_tests.push([&module[..], &[name]].concat());
            }
            paths.insert(module, path.to_owned());
            sources.insert(path.to_owned(), Source::read(path, text));
        }
        for module in only_tests {
            if let Some(path) = paths.remove(&module) {
                sources.remove(&path);
            }
        }
        Self { paths, sources }
    }

    /// Returns the files from which this one imports, with re-exports followed to the definition.
    /// What a file only re-exports does not count.
    pub(crate) fn needs(&self, path: &str) -> BTreeSet<&str> {
        let source = &self.sources[path];
        let mut files = BTreeSet::new();
        let uses = source.uses.iter().filter(|one| {
            let is_mentioned = |alias| source.words.contains(alias);
            !one.is_public || one.alias.as_ref().is_some_and(is_mentioned)
        });
        let written = uses.map(|one| &one.written).chain(&source.mentions);
        for names in written.map(|written| source.absolute(written, HOPS_MAX)) {
            let names = of_crate(&source.module, names);
            match names.split_last() {
                Some((last, module)) if last == "*" => {
                    files.extend(self.file_of(module));
                    let items = source
                        .words
                        .iter()
                        .map(|word| [module, std::slice::from_ref(word)].concat());
                    files.extend(items.filter_map(|item| self.file_defining(&item)));
                }
                _ => files.extend(self.file_defining(&names)),
            }
        }
        files.remove(path);
        files
    }

    pub(crate) fn files(&self) -> impl Iterator<Item = &str> {
        self.sources.keys().map(String::as_str)
    }

    pub(crate) fn source(&self, path: &str) -> &Source {
        &self.sources[path]
    }

    fn file_defining(&self, names: &[String]) -> Option<&str> {
        self.follow(names, HOPS_MAX).and_then(|found| self.file_of(&found))
    }

    /// Returns the path of the item itself; `None` if it is not of this crate.
    fn follow(&self, names: &[String], hops: usize) -> Option<Names> {
        let known = (1..=names.len()).rev().find(|end| self.paths.contains_key(&names[..*end]))?;
        let (module, rest) = names.split_at(known);
        let Some((name, rest)) = rest.split_first() else { return Some(names.to_vec()) };
        let source = &self.sources[&self.paths[module]];
        if source.defined.contains(name) {
            return Some(names.to_vec());
        }
        let hops = hops.checked_sub(1)?;
        let meant = |one: &Use| of_crate(module, source.absolute(&one.written, HOPS_MAX));
        if let Some(named) = source.uses.iter().find(|one| one.alias.as_ref() == Some(name)) {
            return self.follow(&[&meant(named)[..], rest].concat(), hops);
        }
        let mut globs = source.uses.iter().filter(|one| one.alias.is_none());
        globs.find_map(|glob| {
            let mut target = meant(glob);
            target.pop();
            self.follow(&[&target[..], std::slice::from_ref(name), rest].concat(), hops)
        })
    }

    fn file_of(&self, names: &[String]) -> Option<&str> {
        let ends = (1..=names.len()).rev();
        ends.filter_map(|end| self.paths.get(&names[..end])).map(String::as_str).next()
    }
}

/// A path that does not begin at the root begins at a child of its module, or outside the crate.
fn of_crate(module: &[String], names: Names) -> Names {
    if names.first().is_some_and(|name| name == "crate") {
        return names;
    }
    [module, &names[..]].concat()
}

/// `src/pool/state.rs` is `crate::pool::state`, `src/pool/mod.rs` is `crate::pool`.
fn module_of(path: &str) -> Names {
    let inside = path.strip_prefix("src/").unwrap_or(path).trim_end_matches(".rs");
    let names = inside.split('/').filter(|name| !matches!(*name, "mod" | "lib"));
    std::iter::once("crate").chain(names).map(str::to_owned).collect()
}

/// Reads the tokens of a file from front to back.
struct Reader<'a> {
    tokens: Vec<&'a str>,
    next: usize,
    /// The open braces; with a name, those of an inline module.
    open: Vec<Option<String>>,
    /// The `use` that is being read is a re-export.
    is_public: bool,
    source: Source,
}

impl Reader<'_> {
    fn read(&mut self) {
        while let Some(token) = self.peek(0) {
            let is_item = self.open.iter().all(Option::is_some);
            match token {
                "{" => self.open.push(None),
                "}" => drop(self.open.pop()),
                "mod" if self.peek(2) == Some("{") => {
                    self.open.push(self.peek(1).map(str::to_owned));
                    self.next += 2;
                }
                "use" if self.peek(1) != Some("<") => {
                    let before = self.tokens[..self.next].last();
                    self.is_public = before.is_some_and(|token| matches!(*token, "pub" | ")"));
                    self.next += 1;
                    self.use_tree(&Vec::new());
                    continue;
                }
                "fn" | "struct" | "enum" | "trait" | "type" | "const" | "static" | "union"
                    if is_item =>
                {
                    self.source.defined.extend(self.peek(1).map(str::to_owned));
                }
                "macro_rules" => self.source.defined.extend(self.peek(2).map(str::to_owned)),
                _ if token.starts_with(is_name) => {
                    self.path();
                    continue;
                }
                _ => {}
            }
            self.next += 1;
        }
    }

    fn peek(&self, ahead: usize) -> Option<&str> {
        self.tokens.get(self.next + ahead).copied()
    }

    fn module(&self) -> Names {
        let inline = self.open.iter().flatten().cloned();
        self.source.module.iter().cloned().chain(inline).collect()
    }

    /// Reads a path outside of a `use`. One in `pub(in …)` leads nowhere.
    fn path(&mut self) {
        let is_visibility = self.next > 1 && self.tokens[self.next - 2..self.next] == ["(", "in"];
        let mut names = Vec::new();
        while let Some(name) = self.peek(0).filter(|token| token.starts_with(is_name)) {
            names.push(name.to_owned());
            self.next += 1;
            if self.peek(0) != Some("::")
                || !self.peek(1).is_some_and(|token| token.starts_with(is_name))
            {
                break;
            }
            self.next += 1;
        }
        self.source.words.insert(names[0].clone());
        if names.len() > 1 && !is_visibility {
            self.source.mentions.push(Written { module: self.module(), names });
        }
    }

    /// The rest of a `use` tree after the names so far, up to the `,`, `}` or `;` that ends it.
    fn use_tree(&mut self, before: &Names) {
        let mut names = before.clone();
        while let Some(token) = self.peek(0) {
            match token {
                "::" => {}
                "{" => {
                    self.next += 1;
                    while self.peek(0).is_some_and(|token| token != "}") {
                        self.use_tree(&names);
                        if self.peek(0) == Some(",") {
                            self.next += 1;
                        }
                    }
                    self.next += 1;
                    return;
                }
                "*" => {
                    names.push("*".to_owned());
                    self.next += 1;
                    return self.leaf(names, None);
                }
                "as" => {
                    let alias = self.peek(1).map(str::to_owned);
                    self.next += 2;
                    return self.leaf(names, alias);
                }
                name if name.starts_with(is_name) => names.push(name.to_owned()),
                _ => break,
            }
            self.next += 1;
        }
        if names.len() > before.len() {
            let alias = names.iter().rev().find(|name| *name != "self").cloned();
            self.leaf(names, alias);
        } else {
            // No `use` contains this; skipped, so that the reading ends.
            self.next += 1;
        }
    }

    fn leaf(&mut self, mut names: Names, alias: Option<String>) {
        if names.len() > 1 && names.last().is_some_and(|name| name == "self") {
            names.pop();
        }
        let written = Written { module: self.module(), names };
        self.source.uses.push(Use { written, alias, is_public: self.is_public });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meant(path: &str, text: &str) -> Vec<String> {
        Source::read(path, text).absolute_paths().iter().map(|names| names.join("::")).collect()
    }

    #[test]
    fn a_use_tree_is_taken_apart() {
        let text =
            "pub(crate) use crate::{a::{self, B as C}, d::*, e};\nuse std::{fs as disk, io};";
        assert_eq!(
            meant("src/x.rs", text),
            ["crate::a", "crate::a::B", "crate::d::*", "crate::e", "std::fs", "std::io"]
        );
    }

    #[test]
    fn names_are_followed_to_what_they_mean() {
        let at = "src/pool/deep/x.rs";
        assert_eq!(meant(at, "use super::super::y::Z;"), ["crate::pool::y::Z"]);
        assert_eq!(meant(at, "fn f() { self::g::h(); super::k() }")[1], "crate::pool::deep::k");
        assert_eq!(meant(at, "mod m { use super::super::Z; }"), ["crate::pool::deep::Z"]);
        let renamed = "use std as s; use s::fs as disk; fn f() { disk::read(); }";
        assert_eq!(meant(at, renamed), ["std", "std::fs", "std::fs::read"]);
        assert!(
            meant(at, "pub(in crate::pool) struct A<'a>; fn f() -> impl B + use<'a> {}").is_empty()
        );
    }

    #[test]
    fn a_reexport_leads_to_the_file_that_defines() {
        let tree = Tree::new([
            ("src/pool/mod.rs", "mod state; mod out; pub use state::State; pub use out::*;"),
            ("src/pool/state.rs", "pub struct State;"),
            ("src/pool/out.rs", "pub use super::state::State as Same; pub struct Out;"),
            ("src/pool/user.rs", "use super::{State, Out};"),
            ("src/pool/globs.rs", "use super::*; fn f(_: Same) {}"),
        ]);
        let needs = |path| tree.needs(path).into_iter().collect::<Vec<_>>();
        assert_eq!(needs("src/pool/user.rs"), ["src/pool/out.rs", "src/pool/state.rs"]);
        assert_eq!(needs("src/pool/globs.rs"), ["src/pool/mod.rs", "src/pool/state.rs"]);
        let tree = Tree::new([
            ("src/pool/mod.rs", "pub(crate) use state::State; pub fn f() -> State {}"),
            ("src/pool/state.rs", "pub struct State;"),
        ]);
        assert!(tree.needs("src/pool/mod.rs").contains("src/pool/state.rs"));
        assert!(needs("src/pool/mod.rs").is_empty(), "it only offers them");
    }

    #[test]
    fn modules_of_tests_are_not_there() {
        let tree = Tree::new([
            ("src/a/mod.rs", "#[cfg(test)]\nmod testing;"),
            ("src/a/testing.rs", "use super::x;"),
        ]);
        assert_eq!(tree.files().collect::<Vec<_>>(), ["src/a/mod.rs"]);
    }
}
