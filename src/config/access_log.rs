//! Finds the file that requests are logged in, and looks whether it can be written.
//!
//! Nothing is created here: `check` and a reload look too.

use std::io;
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;

use rustix::fs::{Access, access};
use rustix::io::Errno;

use super::file::{AccessFile, LogFile};
use super::paths::path_at;
use super::problem::{Problem, reason};
use super::server::AccessSettings;
use super::tree::{KeyPath, Places};

/// What somebody writes who means a switch.
const SWITCHES: [(&str, bool); 6] =
    [("true", true), ("on", true), ("yes", true), ("false", false), ("off", false), ("no", false)];

/// Resolves where requests are logged. `base` is the absolute directory of the configuration file.
///
/// # Errors
///
/// Why the file cannot be written.
pub fn resolve(log: &LogFile, places: &Places, base: &Path) -> Result<AccessSettings, Problem> {
    let text = match &log.access {
        AccessFile::Switch(false) => return Ok(AccessSettings::Off),
        AccessFile::Switch(true) => return Ok(AccessSettings::Log),
        AccessFile::Path(text) => text,
    };
    let key = KeyPath::of(&["log", "access"]);
    let place = places.value(&key);
    if let Some((_, switch)) = SWITCHES.iter().find(|(word, _)| word == text) {
        let message =
            format!("`{}` is a file or a switch, and \"{text}\" a text", places.name(&key));
        let hint = format!("write {switch} without quotes, or ./{text} if you mean a file");
        return Err(Problem::new(place, message).hint(hint));
    }
    let path = path_at(&place, text, base);
    match writable(&path) {
        Ok(()) => Ok(AccessSettings::File(path)),
        Err(error) => {
            let shown = path.display();
            let message = format!("cannot log requests in `{shown}`: {}", reason(&error));
            let hint = match error.kind() {
                io::ErrorKind::NotFound => "make the directory, or name another file",
                io::ErrorKind::IsADirectory => "name a file in it",
                _ => "name a file that this user may write",
            };
            Err(Problem::new(place, message).hint(hint))
        }
    }
}

/// Looks whether lines can be added to a file, or the file made.
fn writable(path: &Path) -> io::Result<()> {
    match std::fs::metadata(path) {
        Ok(found) if found.is_dir() => Err(Errno::ISDIR.into()),
        Ok(found) if found.file_type().is_socket() => Err(Errno::NXIO.into()),
        Ok(_) => Ok(access(path, Access::WRITE_OK)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let parent = path.parent().unwrap_or(path);
            if !std::fs::metadata(parent)?.is_dir() {
                return Err(Errno::NOTDIR.into());
            }
            Ok(access(parent, Access::WRITE_OK | Access::EXEC_OK)?)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> String {
        let log = LogFile { access: AccessFile::Path(text.to_owned()), ..LogFile::default() };
        match resolve(&log, &Places::default(), Path::new("/proc")) {
            Ok(found) => format!("{found:?}"),
            Err(problem) => format!("{problem:?}").to_lowercase(),
        }
    }

    #[test]
    fn a_file_that_cannot_be_written_is_a_problem() {
        assert_eq!(said("/dev/null"), "File(\"/dev/null\")");
        assert!(said("/nowhere/access.log").contains("no such file or directory"));
        assert!(said("self").contains("is a directory"));
        assert!(said("version/a").contains("not a directory"));
        assert!(said("off").contains("write false without quotes, or ./off"));
        assert!(said("a\0b").contains("cannot log requests"));
    }
}
