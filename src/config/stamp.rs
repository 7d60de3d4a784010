//! What the files of a program look like, to find out whether one of them has changed.
//!
//! Looks into the file system, as `launch` does.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::glob::Glob;

/// Most files that the patterns of one pool may name.
const FILES_MOST: usize = 4096;
/// Most directory entries that are looked at for them.
const ENTRIES_MOST: usize = 65_536;

/// What one file looks like. One that is written to or replaced differs in one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    /// Seconds and nanoseconds.
    modified: (i64, i64),
}

/// What the files of one program looked like at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stamps {
    /// `None`: there is no such file.
    files: BTreeMap<PathBuf, Option<Stamp>>,
}

/// A pool watches too many files.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("`watch` names more than {FILES_MOST} files, or searches more than {ENTRIES_MOST}")]
pub struct TooMany;

impl Stamps {
    /// Looks at the files that the command names (the program, and each argument that is a file)
    /// and at those that `watch` names. Returns with them the directories that were searched.
    ///
    /// # Errors
    ///
    /// There are too many.
    pub fn of(
        program: &Path,
        arguments: &[String],
        dir: &Path,
        watch: &[Glob],
    ) -> Result<(Self, Vec<PathBuf>), TooMany> {
        let mut stamps = Self::default();
        stamps.look(program.to_owned());
        for argument in arguments {
            // An argument that is no file now may be one at the next look.
            stamps.look(dir.join(argument));
        }
        let mut walk = Walk { stamps: &mut stamps, entries: 0, directories: Vec::new() };
        for glob in watch.iter().filter(|glob| !glob.excludes) {
            walk.files_of(dir, glob)?;
        }
        let directories = walk.directories;
        for glob in watch.iter().filter(|glob| glob.excludes) {
            let base = dir.join(&glob.base);
            stamps.files.retain(|path, _| {
                !path.strip_prefix(&base).is_ok_and(|below| {
                    let names: Option<Vec<&str>> = below.iter().map(|name| name.to_str()).collect();
                    names.is_some_and(|names| glob.matches(&names))
                })
            });
        }
        Ok((stamps, directories))
    }

    /// Looks at one file.
    pub fn of_file(path: &Path) -> Self {
        Self::of_files(std::iter::once(&path.to_owned()))
    }

    /// Looks at these files.
    pub fn of_files<'a>(paths: impl Iterator<Item = &'a PathBuf>) -> Self {
        let mut stamps = Self::default();
        paths.for_each(|path| stamps.look(path.clone()));
        stamps
    }

    /// Looks at the modules of Python in the directories of these files.
    pub fn beside<'a>(files: impl Iterator<Item = &'a PathBuf>) -> Self {
        let mut stamps = Self::default();
        let directories: BTreeSet<&Path> = files.filter_map(|file| file.parent()).collect();
        let entries = directories.into_iter().filter_map(|path| std::fs::read_dir(path).ok());
        for entry in entries.flatten().flatten().take(ENTRIES_MOST) {
            let path = entry.path();
            if path.extension().is_some_and(|ending| ending == "py") {
                stamps.look(path);
            }
        }
        stamps
    }

    /// Returns the paths, of files that are not there too.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.files.keys().map(PathBuf::as_path)
    }

    /// Returns the paths of the files that are there.
    pub fn present(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().filter(|(_, stamp)| stamp.is_some()).map(|(path, _)| path.as_path())
    }

    /// Adds what others look like.
    #[must_use]
    pub fn and(mut self, others: Self) -> Self {
        self.files.extend(others.files);
        self
    }

    /// Looks at one more file.
    pub(super) fn look(&mut self, path: PathBuf) {
        let stamp = std::fs::metadata(&path).ok().filter(Metadata::is_file);
        let stamp = stamp.map(|data| Stamp {
            device: data.dev(),
            inode: data.ino(),
            size: data.size(),
            modified: (data.mtime(), data.mtime_nsec()),
        });
        self.files.insert(path, stamp);
    }
}

/// A search for files, with its bound.
struct Walk<'a> {
    stamps: &'a mut Stamps,
    entries: usize,
    directories: Vec<PathBuf>,
}

impl Walk<'_> {
    fn files_of(&mut self, dir: &Path, glob: &Glob) -> Result<(), TooMany> {
        let base = dir.join(&glob.base);
        self.enter(&base, &mut Vec::new(), glob)
    }

    /// Looks at the files in a directory and below it. One that cannot be read has none.
    fn enter(&mut self, dir: &Path, names: &mut Vec<String>, glob: &Glob) -> Result<(), TooMany> {
        self.directories.push(dir.to_owned());
        let Ok(entries) = std::fs::read_dir(dir) else { return Ok(()) };
        for entry in entries.flatten() {
            self.entries += 1;
            if self.entries > ENTRIES_MOST {
                return Err(TooMany);
            }
            let Ok(name) = entry.file_name().into_string() else { continue };
            let Ok(kind) = entry.file_type() else { continue };
            // Below `**` a link that leads upwards would never end.
            let follows = kind.is_symlink() && glob.depth().is_some() && entry.path().is_dir();
            let is_deep_enough = glob.depth().is_some_and(|depth| names.len() >= depth);
            names.push(name);
            if kind.is_dir() || follows {
                if !is_deep_enough && glob.enters(&names[names.len() - 1]) {
                    self.enter(&entry.path(), names, glob)?;
                }
            } else if glob.matches(&names.iter().map(String::as_str).collect::<Vec<_>>()) {
                self.stamps.look(entry.path());
                if self.stamps.files.len() > FILES_MOST {
                    return Err(TooMany);
                }
            }
            names.pop();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_differ_when_a_file_they_name_is_another_one() {
        let dir = std::env::temp_dir().join(format!("httpipe-stamp-{}", std::process::id()));
        std::fs::create_dir_all(dir.join("lib/deep")).expect("it can be made");
        let write = |name: &str, text: &str| {
            std::fs::write(dir.join(name), text).expect("it can be written");
        };
        write("worker.sh", "a");
        write("lib/words", "a");
        let arguments = ["worker.sh", "-x", "lib", "no/such/file"].map(str::to_owned);
        let watch = ["lib/**", "!lib/*.tmp"].map(|text| Glob::parse(text).expect(text));
        let look = || {
            let program = Path::new("/bin/sh");
            Stamps::of(program, &arguments, &dir, &watch).expect("few files").0
        };
        let mut before = look();
        assert_eq!(before.present().count(), 3, "{before:?}");
        assert_eq!(before, look());
        for (what, is_seen, change) in [
            ("an argument", true, &(|| write("worker.sh", "ab")) as &dyn Fn()),
            ("a watched file", true, &|| write("lib/words", "ab")),
            ("a new one", true, &|| write("lib/deep/more", "")),
            ("one that is left out", false, &|| write("lib/x.tmp", "")),
            ("one that nobody names", false, &|| write("other", "")),
            ("an argument that was no file", true, &|| {
                std::fs::create_dir_all(dir.join("no/such")).expect("it can be made");
                write("no/such/file", "");
            }),
            ("one that vanishes", true, &|| {
                std::fs::remove_file(dir.join("lib/words")).expect("it is there");
            }),
        ] {
            change();
            let now = look();
            assert_eq!(now != before, is_seen, "{what}");
            before = now;
        }
        std::fs::remove_dir_all(&dir).expect("it is there");
    }

    #[test]
    fn a_search_has_a_bound() {
        let dir = std::env::temp_dir().join(format!("httpipe-many-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("it can be made");
        for number in 0..=FILES_MOST {
            std::fs::write(dir.join(number.to_string()), "").expect("it can be written");
        }
        let watch = [Glob::parse("*").expect("a pattern")];
        assert!(Stamps::of(Path::new("/bin/sh"), &[], &dir, &watch).is_err());
        std::fs::remove_dir_all(&dir).expect("it is there");
    }
}
