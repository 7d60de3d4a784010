//! Makes of the key `sandbox` what a program may do.
//!
//! Looks into the file system, as `launch` does: what is not there needs no rule.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::fence::{Fence, OtherUser, Sandbox};
use super::file::{PoolFile, SandboxFile, SandboxTable};
use super::problem::{Problem, Warning, reason};
use super::server::Config;
use super::tree::{KeyPath, Places};
use super::user;

/// What every program may read: the system, and no data of users.
const SYSTEM: [&str; 11] =
    ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc", "/opt", "/nix", "/proc", "/sys"];

/// The names of directories whose programs have their libraries beside them.
const OF_PROGRAMS: [&str; 3] = ["bin", "sbin", "shims"];

/// The program that is fenced, and where it runs.
#[derive(Clone, Copy, Debug)]
pub struct Fenced<'a> {
    /// The absolute path of the program.
    pub program: &'a Path,
    /// Its arguments.
    pub arguments: &'a [String],
    /// The absolute directory that it runs in.
    pub dir: &'a Path,
    /// The absolute directory of the configuration.
    pub base: &'a Path,
    /// Files that it must not read unless they are in `dir`: the configuration and its secrets.
    pub hidden: &'a [PathBuf],
}

/// Returns what a program is kept from.
///
/// # Errors
///
/// A path or a user is named that is not there, or the server cannot run a program as that user.
pub fn fence(
    pool: &PoolFile,
    path: &KeyPath,
    places: &Places,
    fenced: Fenced<'_>,
) -> Result<Fence, Vec<Problem>> {
    let plain = SandboxTable::default();
    let table = match &pool.sandbox {
        None => return Ok(Fence::Usual),
        Some(SandboxFile::Switch(false)) => return Ok(Fence::Off),
        Some(SandboxFile::Switch(true)) => &plain,
        Some(SandboxFile::Table(table)) => table,
    };
    let mut problems = Vec::new();
    let mut named = |key: &str, paths: &[String]| {
        let found = paths.iter().enumerate().filter_map(|(index, text)| {
            let named = fenced.base.join(text);
            let found = named.canonicalize();
            if let Err(error) = &found {
                let place = places.value(&path.key("sandbox").key(key).index(index));
                let why = reason(error);
                let message = format!("`{}` cannot be allowed: {why}", named.display());
                let hint = "name what is there, relative to this file";
                problems.push(Problem::new(place, message).hint(hint));
            }
            found.ok()
        });
        found.collect::<Vec<_>>()
    };
    let (read, write) = (named("read", &table.read), named("write", &table.write));
    let other = table.user.as_deref().map(other_user).transpose();
    let other = other.unwrap_or_else(|(message, hint)| {
        let place = places.value(&path.key("sandbox").key("user"));
        problems.push(Problem::new(place, message).hint(hint));
        None
    });
    if !problems.is_empty() {
        return Err(problems);
    }
    let system = SYSTEM.iter().map(PathBuf::from).chain(homes(fenced.program));
    let here = std::iter::once(fenced.dir.to_owned());
    Ok(Fence::Sandbox(Arc::new(Sandbox {
        system: outermost(system.chain(files_of(fenced))),
        // Each is looked for again at every start of a worker.
        hidden: fenced.hidden.iter().cloned().collect::<BTreeSet<_>>().into_iter().collect(),
        read: here.chain(read).collect(),
        write,
        network: table.network,
        memory: table.memory.map(|size| size.0),
        processes: table.processes,
        user: other,
        open: false,
    })))
}

/// Returns a user that the server can run programs as, or what is wrong and what to do.
fn other_user(name: &str) -> Result<OtherUser, (String, String)> {
    if let Some(missing) = user::missing_privilege() {
        let message =
            format!("a program can run as user `{name}` only where root starts the server");
        return Err((
            message,
            format!("{missing}; without `user` it runs as the user of the server"),
        ));
    }
    match user::named(name) {
        Ok(Some(user)) if user.id == 0 => {
            let message = format!("`{name}` is root, who no program in a sandbox is to be");
            Err((message, "name a user with few rights, such as `nobody`".to_owned()))
        }
        Ok(Some(user)) => Ok(user),
        Ok(None) => {
            let message = format!("there is no user `{name}` on this machine");
            Err((message, "`getent passwd` lists those that there are".to_owned()))
        }
        Err(error) => {
            let message = format!("the user `{name}` cannot be looked up: {}", reason(&error));
            Err((message, "`getent passwd` lists the users of this machine".to_owned()))
        }
    }
}

/// Returns the real paths of what is there, without those below others: `/bin` is as a rule a link
/// into `/usr`. Each path costs a rule at every start of a worker.
fn outermost(paths: impl Iterator<Item = PathBuf>) -> Vec<PathBuf> {
    let mut real: Vec<PathBuf> = paths.filter_map(|path| path.canonicalize().ok()).collect();
    real.sort();
    // Sorted by their parts, what is below a path follows it.
    real.dedup_by(|path, before| path.starts_with(before));
    real
}

/// Where a program and its libraries are: itself, or all that it was installed with. A link, as in a
/// virtual environment, leads to a second place.
fn homes(program: &Path) -> impl Iterator<Item = PathBuf> {
    let target = program.canonicalize().ok();
    [Some(program.to_owned()), target].into_iter().flatten().map(|program| home(&program))
}

fn home(program: &Path) -> PathBuf {
    let beside = program.parent().filter(|parent| {
        parent.file_name().is_some_and(|name| OF_PROGRAMS.iter().any(|known| name == *known))
    });
    let user = std::env::var_os("HOME").map(PathBuf::from);
    // `~/bin` has no libraries beside it, but all that the user has.
    let is_installation = |home: &&Path| home.parent().is_some() && user.as_deref() != Some(*home);
    let home = beside.and_then(Path::parent).filter(is_installation);
    home.or(beside).unwrap_or(program).to_owned()
}

/// The files that a command names.
fn files_of(fenced: Fenced<'_>) -> impl Iterator<Item = PathBuf> {
    let named = fenced.arguments.iter().map(|word| fenced.dir.join(word));
    named.filter_map(|path| path.canonicalize().ok()).filter(|path| path.is_file())
}

/// Warns of files with secrets that programs in a sandbox can read.
pub fn exposed(config: &Config, secrets: &[PathBuf]) -> Vec<Warning> {
    let mut warnings = Vec::new();
    for pool in &config.pools {
        let Some(sandbox) = pool.program.launch.fence.sandbox() else { continue };
        let open: Vec<&PathBuf> = sandbox.read.iter().chain(&sandbox.write).collect();
        for secret in secrets {
            let Ok(real) = secret.canonicalize() else { continue };
            let Some(dir) = open.iter().find(|dir| real.starts_with(dir)) else { continue };
            let (name, secret, dir) = (&pool.name, secret.display(), dir.display());
            let message = format!(
                "the sandbox of pool `{name}` lets its programs read the secret `{secret}`, which lies in \
                 `{dir}`"
            );
            let hint = format!(
                "keep it in another directory, or give the pool a `dir` of its own: \
                 `[pool.{name}]`, `dir = \"…\"`"
            );
            warnings.push(Warning { message, hint });
        }
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_below_another_or_is_a_link_to_it_needs_no_rule() {
        let found =
            outermost(["/usr/bin", "/bin", "/usr", "/nowhere", "/etc"].map(Into::into).into_iter());
        assert!(found.contains(&"/usr".into()) && found.contains(&"/etc".into()), "{found:?}");
        assert!(!found.contains(&"/usr/bin".into()) && !found.contains(&"/nowhere".into()));
    }

    #[test]
    fn a_program_is_installed_where_its_libraries_are() {
        for (program, expected) in [
            ("/srv/app/.venv/bin/python", "/srv/app/.venv"),
            ("/opt/tool/sbin/tool", "/opt/tool"),
            ("/srv/app/tool", "/srv/app/tool"),
            ("/bin/cat", "/bin"),
        ] {
            assert_eq!(home(Path::new(program)), Path::new(expected), "{program}");
        }
    }
}
