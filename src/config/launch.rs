//! Finds the program of a pool and makes its environment, before anything is started.
//!
//! The only part of the check that looks into the file system. What it finds is absolute, so
//! that starting a worker needs no look-up; what it does not find is reported with the exact
//! path and the error of the kernel.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use super::environment::Environment;
use super::fence::Fence;
use super::file::PoolFile;
use super::glob::Glob;
use super::pool::LaunchSettings;
use super::problem::{Place, Problem, reason};
use super::sandbox::Fenced;
use super::secret::CREDENTIALS;
use super::stamp::{Stamps, TooMany};
use super::tree::{KeyPath, Places};
use super::words;

/// Where programs are looked for if the environment has no `PATH`.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Where a log does not say more, because what is wrong quotes a command.
const CHECK_SHOWS_MORE: &str = "`httpipe check` says why";

/// How much of a script is read to find its interpreter; the kernel reads no more.
const FIRST_LINE_MAX: u64 = 256;

/// What programs are resolved against.
#[derive(Clone, Copy, Debug)]
pub struct Site<'a> {
    /// The absolute directory that paths of the configuration are relative to.
    pub base: &'a Path,
    /// The environment that the server was started with.
    pub inherited: &'a Environment,
    /// Files that programs in a sandbox must not read: the configuration and its secrets.
    pub hidden: &'a [PathBuf],
}

impl Site<'_> {
    /// Returns what a program is kept from, which is run with these arguments in this directory.
    ///
    /// # Errors
    ///
    /// What it is allowed is not there.
    pub(super) fn fence(
        self,
        pool: &PoolFile,
        path: &KeyPath,
        places: &Places,
        (program, arguments): (&Path, &[String]),
        dir: &Path,
    ) -> Result<Fence, Vec<Problem>> {
        let Site { base, hidden, .. } = self;
        let fenced = Fenced { program, arguments, dir, base, hidden };
        super::sandbox::fence(pool, path, places, fenced)
    }
}

/// Resolves what starts the workers of one pool.
///
/// # Errors
///
/// Everything that would keep the program from running.
pub fn resolve(
    pool: &PoolFile,
    path: &KeyPath,
    places: &Places,
    site: Site<'_>,
) -> Result<LaunchSettings, Vec<Problem>> {
    let Surroundings { dir, mut env, watch } = surroundings(pool, path, places, site)?;
    let command = path.key("command");
    let Some((name, arguments)) = pool.command.split_first() else { return Err(Vec::new()) };
    let bounds = pool.workers.as_ref().and_then(|workers| workers.bounds().ok());
    let found = match find(name, &dir, search_path(&env)) {
        // Where other hosts have all workers, the program need not be here.
        Err(_) if pool.spread && bounds.is_some_and(|(_, most)| most == 0) => Ok(dir.join(name)),
        found => found,
    };
    match found {
        Ok(program) => {
            let fence = site.fence(pool, path, places, (&program, arguments), &dir)?;
            name_user(&mut env, pool, &fence);
            Ok(LaunchSettings {
                fence,
                program,
                name: name.clone(),
                arguments: arguments.to_vec(),
                dir,
                env,
                tty: pool.tty,
                watch,
                files: None,
            })
        }
        Err((message, hint)) => {
            let first = command.index(0);
            let at = if places.is_written(&first) { first } else { command };
            let pool = path.last_key();
            let public = format!("the program of pool `{pool}` cannot be run: {CHECK_SHOWS_MORE}");
            let place = places.value(&at);
            let hint = match (&place, name.contains(char::is_whitespace)) {
                (Place::Option(_), true) => format!("write each word by itself: -- {name}"),
                (_, true) => format!("write each word by itself: {}", words::as_list(name)),
                (_, false) => hint,
            };
            let problem = Problem::new(place, message).hint(hint);
            Err(vec![problem.without_values(public)])
        }
    }
}

/// Where a program of a pool runs.
#[derive(Debug)]
pub(super) struct Surroundings {
    /// The absolute directory.
    pub dir: PathBuf,
    /// The whole environment.
    pub env: Environment,
    /// The files that `watch` names.
    pub watch: Vec<Glob>,
}

/// Resolves where a program of a pool runs.
///
/// # Errors
///
/// Everything that would keep any program from running there.
pub(super) fn surroundings(
    pool: &PoolFile,
    path: &KeyPath,
    places: &Places,
    site: Site<'_>,
) -> Result<Surroundings, Vec<Problem>> {
    let mut problems = check_texts(pool, path, places);
    let watch = globs(pool, path, places, &mut problems);
    let dir = site.base.join(&pool.dir);
    let dir = dir.canonicalize().or_else(|error| {
        // A missing directory is reported below, with the path as it was written.
        std::fs::metadata(&dir).map(|_| dir.clone()).map_err(|_| error)
    });
    let dir = match dir.and_then(|dir| usable_dir(&dir).map(|()| dir)) {
        Ok(dir) => dir,
        Err(error) => {
            let shown = clean(&site.base.join(&pool.dir));
            let message = format!("cannot run in `{}`: {}", shown.display(), reason(&error));
            let place = places.value(&path.key("dir"));
            let hint = "`dir` is relative to the directory of the configuration file";
            problems.push(Problem::new(place, message).hint(hint));
            return Err(problems);
        }
    };
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(Surroundings { dir, env: environment(pool, site.inherited), watch })
}

/// Looks at the files of a program.
///
/// # Errors
///
/// `watch` names too many.
pub fn stamps(launch: &LaunchSettings) -> Result<Stamps, TooMany> {
    survey(launch).map(|(stamps, _)| stamps)
}

/// Looks at the files of a program. Returns with them the directories that `watch` searches.
///
/// # Errors
///
/// `watch` names too many.
pub fn survey(launch: &LaunchSettings) -> Result<(Stamps, Vec<PathBuf>), TooMany> {
    let named = launch.files.iter().flatten().filter_map(|file| file.to_str()).map(str::to_owned);
    let named: Vec<String> = named.collect();
    let files = if launch.files.is_some() { &named } else { &launch.arguments };
    Stamps::of(&launch.program, files, &launch.dir, &launch.watch)
}

/// Reports arguments and variables that no process can be given.
fn check_texts(pool: &PoolFile, path: &KeyPath, places: &Places) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut refuse = |path: &KeyPath, message: String, hint: &str| {
        let problem = Problem::new(places.value(path), message).hint(hint);
        problems.push(
            problem.without_values(format!("no process can be given this: {CHECK_SHOWS_MORE}")),
        );
    };
    let command = path.key("command");
    for (index, text) in pool.command.iter().enumerate() {
        if text.contains('\0') {
            let message = "an argument cannot hold a NUL byte".to_owned();
            refuse(&command.index(index), message, "write it in a way the program undoes");
        }
    }
    if pool.command.first().is_some_and(String::is_empty) {
        let hint = "write the program first, as in [\"python3\", \"worker.py\"]";
        refuse(&command, "the name of the program is empty".to_owned(), hint);
    }
    for (name, value) in &pool.env {
        if name.is_empty() || name.contains(['=', '\0']) || value.text().contains('\0') {
            // What follows a `=` was meant as a value.
            let name_only = name.split_inclusive('=').next().unwrap_or_default();
            let shown = name_only.escape_debug();
            let message = format!("`{shown}` cannot be put into an environment");
            let hint = "a name is not empty and holds no `=`; neither it nor its value holds NUL";
            refuse(&path.key("env").key(name), message, hint);
        }
    }
    problems
}

/// Reads the patterns of `watch`.
fn globs(
    pool: &PoolFile,
    path: &KeyPath,
    places: &Places,
    problems: &mut Vec<Problem>,
) -> Vec<Glob> {
    let mut globs = Vec::new();
    for (index, text) in pool.watch.iter().enumerate() {
        match Glob::parse(text) {
            Ok(glob) => globs.push(glob),
            Err(hint) => {
                let message = format!("`{}` cannot be watched", text.escape_debug());
                let place = places.value(&path.key("watch").index(index));
                problems.push(Problem::new(place, message).hint(hint));
            }
        }
    }
    globs
}

fn usable_dir(dir: &Path) -> io::Result<()> {
    if !std::fs::metadata(dir)?.is_dir() {
        return Err(rustix::io::Errno::NOTDIR.into());
    }
    Ok(access(dir, Access::EXEC_OK)?)
}

/// Variables with which a service manager speaks to the server alone. A worker that believed them
/// would take the server's sockets for its own, or report for the server.
const FOR_THE_SERVER: &[&str] = &[
    CREDENTIALS,
    "LISTEN_FDNAMES",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_PIDFDID",
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
];

/// The environment of the pool's workers.
fn environment(pool: &PoolFile, inherited: &Environment) -> Environment {
    const UNBUFFERED: &str = "PYTHONUNBUFFERED";
    let is_kept = |name: &OsStr| {
        let is_ours = name.as_bytes().starts_with(b"HTTPIPE_")
            || FOR_THE_SERVER.iter().any(|variable| name == *variable);
        let is_replaced = name == UNBUFFERED || pool.env.keys().any(|key| name == OsStr::new(key));
        !pool.clear_env && !is_ours && !is_replaced
    };
    let mut env: Environment =
        inherited.iter().filter(|(name, _)| is_kept(name)).cloned().collect();
    if !pool.env.contains_key(UNBUFFERED) {
        env.push((UNBUFFERED.into(), "1".into()));
    }
    for (name, value) in &pool.env {
        if name != UNBUFFERED || !value.text().is_empty() {
            env.push((name.into(), value.text().into()));
        }
    }
    env
}

/// Tells a program that runs as another user who that is, unless the pool says something else.
pub(super) fn name_user(env: &mut Environment, pool: &PoolFile, fence: &Fence) {
    let Some(user) = fence.sandbox().and_then(|sandbox| sandbox.user.as_ref()) else { return };
    if pool.clear_env {
        return;
    }
    let name = || OsString::from(&user.name);
    for (variable, value) in
        [("HOME", user.home.clone().into_os_string()), ("USER", name()), ("LOGNAME", name())]
    {
        if !pool.env.contains_key(variable) {
            env.retain(|(known, _)| known != variable);
            env.push((variable.into(), value));
        }
    }
}

pub(super) fn search_path(env: &Environment) -> &OsStr {
    env.value("PATH").unwrap_or(OsStr::new(PATH))
}

/// The absolute path of a program, or what is wrong and what to do.
pub(super) fn find(name: &str, dir: &Path, search: &OsStr) -> Result<PathBuf, (String, String)> {
    if name.contains('/') {
        let program = clean(&dir.join(name));
        let cannot = |error: io::Error| {
            let message = format!("cannot run `{}`: {}", program.display(), reason(&error));
            let hint = match error.kind() {
                io::ErrorKind::PermissionDenied => format!("try `chmod +x {}`", program.display()),
                _ => "a program with a slash is relative to `dir`".to_owned(),
            };
            (message, hint)
        };
        runnable(&program).map_err(cannot)?;
        check_first_line(&program, dir, search)?;
        return Ok(program);
    }
    let mut refused = None;
    for folder in std::env::split_paths(search) {
        let program = dir.join(folder).join(name);
        match runnable(&program) {
            Ok(()) => {
                check_first_line(&program, dir, search)?;
                return Ok(program);
            }
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                refused = refused.or(Some((program, error)));
            }
            Err(_) => {}
        }
    }
    match refused {
        Some((program, error)) => {
            let message = format!("cannot run `{}`: {}", program.display(), reason(&error));
            Err((message, format!("try `chmod +x {}`", program.display())))
        }
        None if dir.join(name).is_file() => {
            let message = format!("there is no program `{name}` in PATH");
            Err((message, format!("write \"./{name}\" for the file in `dir`")))
        }
        None => {
            let message = format!("there is no program `{name}` in PATH");
            Err((message, format!("PATH is {}", search.to_string_lossy())))
        }
    }
}

/// Returns the program that a word in a command would be, if there is one.
pub fn program_at(word: &str, launch: &LaunchSettings) -> Option<PathBuf> {
    find(word, &launch.dir, search_path(&launch.env)).ok()
}

fn runnable(program: &Path) -> io::Result<()> {
    if !std::fs::metadata(program)?.is_file() {
        return Err(rustix::io::Errno::ACCESS.into());
    }
    Ok(access(program, Access::EXEC_OK)?)
}

/// Checks the first line of a script: the kernel reports a missing interpreter as "No such file
/// or directory", which reads as if the script were missing.
fn check_first_line(program: &Path, dir: &Path, search: &OsStr) -> Result<(), (String, String)> {
    let mut start = Vec::new();
    // A program that may be run but not read is no script the kernel could run either.
    let Ok(file) = File::open(program) else { return Ok(()) };
    if file.take(FIRST_LINE_MAX).read_to_end(&mut start).is_err() {
        return Ok(());
    }
    let shown = program.display();
    let Some(line) = start.strip_prefix(b"#!") else {
        let is_text =
            start.iter().all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace());
        if is_text {
            let message = format!("`{shown}` is text without a `#!` line");
            return Err((
                message,
                "name the interpreter first, or begin it with #!/bin/sh".to_owned(),
            ));
        }
        return Ok(());
    };
    let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    if line.ends_with('\r') {
        let message = format!("the `#!` line of `{shown}` ends in a carriage return");
        return Err((message, "save the file with Unix line ends".to_owned()));
    }
    let mut words = line.split_whitespace();
    let interpreter = words.next().unwrap_or_default();
    let cannot = |name: &str, why: &str| {
        let message = format!("`{shown}` needs `{name}`: {why}");
        (message, "install it, or change the first line of the script".to_owned())
    };
    runnable(&dir.join(interpreter)).map_err(|error| cannot(interpreter, &reason(&error)))?;
    match words.next() {
        Some(name)
            if interpreter.ends_with("/env")
                && !name.starts_with('-')
                && !name.contains(['=', '/']) =>
        {
            let is_there = |folder: PathBuf| runnable(&dir.join(folder).join(name)).is_ok();
            if std::env::split_paths(search).any(is_there) {
                return Ok(());
            }
            Err(cannot(name, "it is not in PATH"))
        }
        _ => Ok(()),
    }
}

/// Removes `.` components, so that the path reads as people write it.
fn clean(path: &Path) -> PathBuf {
    path.components().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pool: &str) -> Vec<String> {
        let pool: PoolFile = toml::from_str(pool).expect("valid");
        let inherited = [
            "PATH=/bin",
            "HTTPIPE_LOG=json",
            "LANG=C",
            "CREDENTIALS_DIRECTORY=/",
            "PYTHONUNBUFFERED=0",
        ];
        let inherited = inherited.iter().filter_map(|pair| pair.split_once('='));
        let inherited = inherited.map(|(name, value)| (name.into(), value.into())).collect();
        let env = environment(&pool, &inherited);
        let shown =
            env.iter().map(|(name, value)| format!("{}={}", name.display(), value.display()));
        shown.collect()
    }

    #[test]
    fn workers_inherit_all_but_our_own_variables() {
        assert_eq!(env(""), ["PATH=/bin", "LANG=C", "PYTHONUNBUFFERED=1"]);
        assert_eq!(env("env.LANG = \"de\""), ["PATH=/bin", "PYTHONUNBUFFERED=1", "LANG=de"]);
        assert_eq!(env("env.PYTHONUNBUFFERED = \"\""), ["PATH=/bin", "LANG=C"]);
        assert_eq!(env("clear_env = true\nenv.A = \"\""), ["PYTHONUNBUFFERED=1", "A="]);
    }
}
