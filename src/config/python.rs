//! Finds the Python of a pool and has it say what it serves, before anything is served.
//!
//! Looks into the file system, as `launch` does, and starts the interpreter once, through a
//! function that it is given: only `worker` makes processes.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::file::PoolFile;
use super::launch::{Site, Surroundings, find, name_user, search_path, surroundings};
use super::pool::{Import, LaunchSettings, PythonSettings};
use super::problem::Problem;
use super::tree::{KeyPath, Places};
use crate::python::{Description, NotServable, PythonTarget, arguments, read_description};

/// Starts an interpreter and returns its answer to the first question. The time is the most that
/// it may take.
pub type Describe<'a> = dyn Fn(&LaunchSettings, Duration) -> Result<Vec<u8>, NotDescribed> + 'a;

/// Why an interpreter did not answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotDescribed {
    /// What happened, as the end of a sentence about it.
    pub why: String,
    /// Its last lines on stderr.
    pub said: Vec<String>,
}

/// A pool of functions whose program was found, and has said what it serves.
#[derive(Clone, Debug)]
pub struct Described {
    /// What starts its workers.
    pub launch: LaunchSettings,
    /// What is served.
    pub python: PythonSettings,
    /// How it was found.
    pub import: Import,
}

/// The Python of a pool.
struct Interpreter {
    program: PathBuf,
    name: String,
    why: String,
}

/// Resolves what starts the workers of a pool with `python`, and asks what it serves.
///
/// # Errors
///
/// Everything that would keep the functions from being served.
pub fn resolve(
    pool: &PoolFile,
    path: &KeyPath,
    places: &Places,
    site: Site<'_>,
    describe: &Describe<'_>,
) -> Result<Described, Vec<Problem>> {
    let place = |key: &str| places.value(&path.key(key));
    let text = pool.python.as_deref().unwrap_or_default();
    let around = surroundings(pool, path, places, site)?;
    let target = PythonTarget::parse(text)
        .map_err(|(message, hint)| vec![Problem::new(place("python"), message).hint(hint)])?;
    if let Some(file) = target.file().filter(|file| !around.dir.join(file).is_file()) {
        let message = format!("there is no file `{}`", around.dir.join(file).display());
        let hint = "the file of `python` is relative to `dir`";
        return Err(vec![Problem::new(place("python"), message).hint(hint)]);
    }
    let interpreter =
        interpreter(pool, &target, &around, site.base).map_err(|(message, hint)| {
            let key = if pool.interpreter.is_some() { "interpreter" } else { "python" };
            vec![Problem::new(place(key), message).hint(hint)]
        })?;
    let arguments = arguments(&target);
    let command = (&*interpreter.program, &*arguments);
    let fence = site.fence(pool, path, places, command, &around.dir)?;
    let mut env = around.env;
    name_user(&mut env, pool, &fence);
    let launch = LaunchSettings {
        program: interpreter.program,
        name: interpreter.name,
        arguments,
        dir: around.dir,
        env,
        tty: false,
        watch: around.watch,
        files: Some(Vec::new()),
        fence,
    };
    let shown = format!("{} ({})", launch.program.display(), interpreter.why);
    let problem = |(message, hint): (String, String)| {
        let problem = Problem::new(place("python"), message).hint(hint);
        vec![Problem { is_of_program: true, ..problem }]
    };
    let answer = describe(&launch, pool.start_timeout.0)
        .map_err(|failed| problem(not_described(&target, &shown, &failed)))?;
    let Description { python, prefix, functions, import_ms, files, .. } =
        read_description(&answer).map_err(|refusal| problem(refused(&target, &shown, &refusal)))?;
    if functions.is_empty() {
        let hint = "define one, or name those of other modules".to_owned();
        return Err(problem((format!("`{text}` has no functions to serve"), hint)));
    }
    let own = target.file().map(|file| launch.dir.join(file));
    let files = own.into_iter().chain(files).collect();
    let launch = LaunchSettings { files: Some(files), ..launch };
    let import = Import { why: interpreter.why, prefix, took_ms: import_ms };
    let python = PythonSettings { target, fork: pool.fork, version: python, functions };
    Ok(Described { launch, python, import })
}

/// Chooses the Python of a pool, or says what was tried.
fn interpreter(
    pool: &PoolFile,
    target: &PythonTarget,
    around: &Surroundings,
    base: &Path,
) -> Result<Interpreter, (String, String)> {
    let (dir, search) = (&around.dir, search_path(&around.env));
    if let Some(name) = &pool.interpreter {
        let program = find(name, dir, search)?;
        let why = "named by `interpreter`".to_owned();
        return Ok(Interpreter { program, name: name.clone(), why });
    }
    let variable = around.env.iter().find(|(name, _)| name == "VIRTUAL_ENV");
    let active = variable.map(|(_, value)| value).filter(|value| !value.is_empty());
    let module = target.file().and_then(|file| dir.join(file).parent().map(Path::to_owned));
    let module = module.unwrap_or_else(|| dir.clone());
    let mut places = vec![];
    places.extend(active.map(|value| (PathBuf::from(value), "$VIRTUAL_ENV")));
    places.push((module.join(".venv"), ".venv beside the module"));
    if base != module {
        places.push((base.join(".venv"), ".venv beside the configuration"));
    }
    let mut tried = Vec::new();
    for (venv, why) in places {
        let program = venv.join("bin/python");
        if program.is_file() {
            let name = program.display().to_string();
            return Ok(Interpreter { program, name, why: why.to_owned() });
        }
        tried.push(program.display().to_string());
    }
    for name in ["python3", "python"] {
        if let Ok(program) = find(name, dir, search) {
            return Ok(Interpreter { program, name: name.to_owned(), why: "in PATH".to_owned() });
        }
    }
    let hint = "install Python, or name one with `interpreter`".to_owned();
    let search = OsStr::to_string_lossy(search);
    let tried = tried.join(", ");
    Err((format!("there is no Python: tried {tried}, and python3 in {search}"), hint))
}

/// What is wrong if the interpreter gave no answer, and what to do.
fn not_described(target: &PythonTarget, shown: &str, failed: &NotDescribed) -> (String, String) {
    let text = target.as_str();
    let first = format!("`{text}` cannot be served: {shown} {}", failed.why);
    let said = failed.said.iter().map(String::as_str);
    let message = std::iter::once(first.as_str()).chain(said).collect::<Vec<_>>().join("\n    ");
    let hint = if target.as_str().contains(':') {
        "run the module by itself to see more: it must import and return"
    } else {
        "a script must call `httpipe.serve`; or name a function, as in \"script.py:fib\""
    };
    (message, hint.to_owned())
}

/// What is wrong if the program cannot be served, and what to do.
fn refused(target: &PythonTarget, shown: &str, refusal: &NotServable) -> (String, String) {
    let NotServable { kind, place, line, message } = refusal;
    let message = message.strip_prefix("the import failed: ").unwrap_or(message);
    let text = target.as_str();
    let mut all = match kind.as_str() {
        "import" => format!("`{text}` cannot be imported: {message}"),
        _ => format!("`{text}` cannot be served: {message}"),
    };
    if !line.is_empty() {
        all = format!("{all}\n    {place}: {line}");
    }
    let module =
        message.split_once("No module named '").and_then(|(_, rest)| rest.split_once('\''));
    let hint = match (kind.as_str(), module) {
        (_, Some((module, _))) => {
            format!("install `{module}` for {shown}, or name another Python with `interpreter`")
        }
        ("version", _) => "name a newer Python with `interpreter`".to_owned(),
        ("missing", _) => "write the name as the module defines it, or `*` for all".to_owned(),
        ("annotation", _) => "callers send JSON: annotate it with a type that JSON has".to_owned(),
        _ => format!("it was imported by {shown}"),
    };
    (all, hint)
}
