//! The patterns of `watch`: which files below a directory a pattern names.
//!
//! Pure.

/// A pattern such as `*.py`, `model/**` or `!data.db`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob {
    /// The directory, relative to that of the pool, in which the first wildcard may match; for a
    /// pattern without wildcards the whole path but the last name.
    pub base: String,
    /// The names after `base`, outermost first; at least one.
    names: Vec<String>,
    /// The files that match are left out: the pattern begins with `!`.
    pub excludes: bool,
}

/// Directories that `**` does not enter: what is in them is made from other files, or installed.
const NOT_ENTERED: [&str; 2] = ["__pycache__", "node_modules"];

impl Glob {
    /// Reads a pattern.
    ///
    /// # Errors
    ///
    /// What is wrong with it, in words.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let excludes = text.starts_with('!');
        let text = text.strip_prefix('!').unwrap_or(text);
        if text.contains('\0') {
            return Err("no path holds a NUL byte");
        }
        let absolute = text.starts_with('/');
        let mut names: Vec<String> =
            text.split('/').filter(|name| !matches!(*name, "" | ".")).map(str::to_owned).collect();
        if names.is_empty() || text.ends_with('/') {
            return Err("a pattern names files; for all files in a directory write `NAME/**`");
        }
        let is_plain = |name: &&String| !name.contains(['*', '?']);
        let plain = names.iter().take_while(is_plain).count().min(names.len() - 1);
        let base: Vec<String> = names.drain(..plain).collect();
        let root = if absolute { "/" } else { "" };
        Ok(Self { base: format!("{root}{}", base.join("/")), names, excludes })
    }

    /// Returns how many directories below `base` may hold files that match; `None`: any number.
    pub fn depth(&self) -> Option<usize> {
        (!self.is_deep()).then(|| self.names.len() - 1)
    }

    /// Returns true if the pattern has no wildcard: it names one file.
    pub fn is_plain(&self) -> bool {
        self.names.iter().all(|name| !name.contains(['*', '?']))
    }

    /// Returns true if the path of a file matches. `path` has its names below `base`, outermost
    /// first.
    pub fn matches(&self, path: &[&str]) -> bool {
        match_names(&self.names, path)
    }

    /// Returns true if files that match may be in a directory of this name. Hidden directories are
    /// entered only by a name that begins with a full stop too.
    pub fn enters(&self, name: &str) -> bool {
        let is_named = |pattern: &String| pattern != "**" && match_name(pattern, name);
        let is_common = !name.starts_with('.') && !NOT_ENTERED.contains(&name);
        self.names.iter().any(is_named) || (is_common && self.is_deep())
    }

    fn is_deep(&self) -> bool {
        self.names.iter().any(|name| name == "**")
    }
}

fn match_names(pattern: &[String], path: &[&str]) -> bool {
    match (pattern.split_first(), path.split_first()) {
        (None, None) => true,
        // At the end it means all files, however deep.
        (Some((first, [])), Some((name, rest))) if first == "**" => {
            let is_hidden = path.last().is_some_and(|name| name.starts_with('.'));
            !is_hidden && (rest.is_empty() || !name.is_empty())
        }
        (Some((first, rest)), _) if first == "**" => {
            (0..=path.len()).any(|skipped| match_names(rest, &path[skipped..]))
        }
        (Some((first, rest)), Some((name, below))) => {
            match_name(first, name) && match_names(rest, below)
        }
        _ => false,
    }
}

/// Matches one name. A wildcard does not match the full stop that a hidden name begins with.
fn match_name(pattern: &str, name: &str) -> bool {
    if name.starts_with('.') && !pattern.starts_with('.') {
        return false;
    }
    let (pattern, name): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), name.chars().collect());
    let (mut at, mut read) = (0, 0);
    // The last `*`, and how far it reaches at the moment.
    let mut star: Option<(usize, usize)> = None;
    while read < name.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, read));
                at += 1;
            }
            Some(letter) if *letter == '?' || *letter == name[read] => {
                (at, read) = (at + 1, read + 1);
            }
            _ => match star {
                Some((back, reach)) => {
                    star = Some((back, reach + 1));
                    (at, read) = (back + 1, reach + 1);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|letter| *letter == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, path: &str) -> bool {
        let glob = Glob::parse(pattern).expect(pattern);
        let below = path.strip_prefix(&glob.base).map(|path| path.trim_start_matches('/'));
        below.is_some_and(|below| glob.matches(&below.split('/').collect::<Vec<_>>()))
    }

    #[test]
    fn a_pattern_matches_names_between_slashes() {
        for (pattern, path, fits) in [
            ("*.py", "a.py", true),
            ("*.py", "lib/a.py", false),
            ("*.py", ".a.py", false),
            (".*.py", ".a.py", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-b-c-d", false),
            ("lib/*.py", "lib/a.py", true),
            ("lib/a.py", "lib/a.py", true),
            ("./lib/a.py", "lib/a.py", true),
            ("model/**", "model/a", true),
            ("model/**", "model/a/b/c", true),
            ("model/**", "model/a/.b", false),
            ("**/*.py", "a.py", true),
            ("**/*.py", "a/b/c.py", true),
            ("**/*.py", "a/b/c.txt", false),
            ("a/**/b", "a/b", true),
            ("a/**/b", "a/x/y/b", true),
            ("/srv/*.py", "/srv/a.py", true),
        ] {
            assert_eq!(matches(pattern, path), fits, "{pattern} {path}");
        }
    }

    #[test]
    fn a_walk_begins_where_the_first_wildcard_is_and_ends_in_time() {
        for (pattern, base, depth) in [
            ("*.py", "", Some(0)),
            ("lib/*.py", "lib", Some(0)),
            ("lib/*/a.py", "lib", Some(1)),
            ("model/**", "model", None),
            ("a.py", "", Some(0)),
            ("/srv/a/b.py", "/srv/a", Some(0)),
            ("../a/*", "../a", Some(0)),
        ] {
            let glob = Glob::parse(pattern).expect(pattern);
            assert_eq!((&*glob.base, glob.depth()), (base, depth), "{pattern}");
        }
        let deep = Glob::parse("**").expect("valid");
        assert!(deep.enters("lib") && !deep.enters(".git") && !deep.enters("__pycache__"));
        assert!(Glob::parse(".git/*/*").expect("valid").enters("refs"));
        assert!(Glob::parse("!data.db").expect("valid").excludes);
    }

    #[test]
    fn what_names_no_file_is_refused() {
        for text in ["", "!", "/", "model/", "a\0b"] {
            assert!(Glob::parse(text).is_err(), "{text:?}");
        }
    }
}
