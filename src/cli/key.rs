//! `httpipe key new`: makes a key for a caller, prints it, and keeps its hash.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use rustix::fs::FlockOperation;
use rustix::rand::GetRandomFlags;

use super::{FAILED, REFUSED, complain, complain_with_hint, say};
use crate::config::key_entry::{KeyArguments, KeyCommand, NewKeyArguments, with_key};
use crate::config::problem::reason;
use crate::config::regular::read_regular;
use crate::gate::key::{CallerKey, RANDOM};

/// The largest keys file that a key is added to, in bytes.
const FILE_MAX: u64 = 16 << 20;

/// Runs the command.
pub(super) fn run(arguments: &KeyArguments) -> ExitCode {
    let KeyCommand::New(arguments) = &arguments.command;
    match add(arguments) {
        Ok((key, is_second)) => show(&key, is_second, arguments),
        Err(NoNewKey::Refused(message, hint)) => {
            complain_with_hint(&message, &hint);
            ExitCode::from(REFUSED)
        }
        Err(NoNewKey::Failed(what, error)) => {
            let hint = "check that you may write to the file and its directory";
            complain_with_hint(&format!("cannot {what}: {}", reason(&error)), hint);
            ExitCode::from(FAILED)
        }
    }
}

/// Why there is no new key.
enum NoNewKey {
    /// What is wrong, and what to do about it.
    Refused(String, String),
    /// What the system did not do.
    Failed(String, io::Error),
}

/// Prints the key. It is the only time that anybody can see it.
fn show(key: &CallerKey, is_second: bool, arguments: &NewKeyArguments) -> ExitCode {
    let (name, file) = (&arguments.name, arguments.file.display());
    if !say(&format!("{}\n", key.reveal())) {
        let hint = format!("take its hash out of `{file}` and make another one");
        complain_with_hint("nobody has seen the key: stdout is closed", &hint);
        return ExitCode::from(FAILED);
    }
    let what = if is_second {
        format!(
            "{name} has two keys in {file} now, and both are good; when the new one is in use, take \
             the first hash out"
        )
    } else {
        format!("{name} is in {file} now; configure `callers = \"{file}\"`")
    };
    complain(&format!("{what}\nhand the key over now: it is not shown again\n"));
    ExitCode::SUCCESS
}

/// Makes a key and adds it to the file.
fn add(arguments: &NewKeyArguments) -> Result<(CallerKey, bool), NoNewKey> {
    let shown = arguments.file.display().to_string();
    let failed = |what: &str| {
        let what = format!("{what} `{shown}`");
        move |error| NoNewKey::Failed(what, error)
    };
    // A link stays one, and what it leads to is replaced.
    let path = match std::fs::canonicalize(&arguments.file) {
        Ok(path) => path,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            std::path::absolute(&arguments.file).map_err(failed("find"))?
        }
        Err(error) => return Err(failed("find")(error)),
    };
    let directory = path.parent().unwrap_or(Path::new("/"));
    let directory = File::open(directory).map_err(failed("open the directory of"))?;
    // Of two commands at once, each adds to what the other wrote.
    rustix::fs::flock(&directory, FlockOperation::LockExclusive)
        .map_err(|error| failed("lock the directory of")(error.into()))?;
    let before = std::fs::symlink_metadata(&path).ok();
    let text = if before.is_some() {
        let refused =
            |what| NoNewKey::Refused(format!("cannot read `{shown}`: {what}"), HINT.to_owned());
        let bytes = read_regular(&path, FILE_MAX).map_err(refused)?;
        String::from_utf8(bytes).map_err(|_| refused("it is not UTF-8".to_owned()))?
    } else {
        String::new()
    };
    let key = draw().map_err(|error| NoNewKey::Failed("get random bytes".to_owned(), error))?;
    let new = with_key(&text, arguments, &key.hash())
        .map_err(|(message, hint)| NoNewKey::Refused(message, hint))?;
    replace(&path, &new.text, before.as_ref()).map_err(failed("write"))?;
    directory.sync_all().map_err(failed("write the directory of"))?;
    Ok((key, new.is_second))
}

/// What to do about a file that is no keys file.
const HINT: &str = "name another one with `--file`";

fn draw() -> io::Result<CallerKey> {
    let mut bytes = [0; RANDOM];
    let mut filled = 0;
    while filled < RANDOM {
        filled += rustix::rand::getrandom(&mut bytes[filled..], GetRandomFlags::empty())?;
    }
    Ok(CallerKey::new(bytes))
}

/// Replaces a file in one step: who reads it finds the old text or the new one, also after a power
/// cut. The owner and the mode of a file that was there stay, so that the server can still read it.
fn replace(path: &Path, text: &str, before: Option<&std::fs::Metadata>) -> io::Result<()> {
    let draft = draft_of(path);
    std::fs::remove_file(&draft).ok();
    let options = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).clone();
    let written = options.open(&draft).and_then(|mut file| {
        if let Some(before) = before {
            let now = file.metadata()?;
            if (now.uid(), now.gid()) != (before.uid(), before.gid()) {
                fchown(&file, Some(before.uid()), Some(before.gid()))?;
            }
            let mode = before.permissions().mode() & 0o777;
            file.set_permissions(std::fs::Permissions::from_mode(mode))?;
        }
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    let placed = written.and_then(|()| std::fs::rename(&draft, path));
    if placed.is_err() {
        std::fs::remove_file(&draft).ok();
    }
    placed
}

/// Returns the name under which the new text is written first.
fn draft_of(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}", std::process::id()))
}
