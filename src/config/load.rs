//! Reads the file, the environment and the options, each over the one before, and has the
//! result checked.
//!
//! The only place that reads the file and the environment.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use toml::Value;

use super::access_log;
use super::callers;
use super::check::{ANYONE, Host, check};
use super::environment::Environment;
use super::file::File;
use super::flags::{Target, Typed};
use super::launch::{Site, resolve, stamps};
use super::paths::path_at;
use super::problem::{Place, Problem, Problems, SourceText, reason};
use super::python::{self, Describe};
use super::sandbox;
use super::schema::schema;
use super::secret::CREDENTIALS;
use super::secret_files::read_secrets;
use super::secrets::secrets;
use super::server::{AccessSettings, Config};
use super::shape;
use super::spread;
use super::stamp::Stamps;
use super::tls;
use super::tree::{KeyPath, Places, Tree};
use crate::python::PythonTarget;

/// The file that is read if neither a file nor a program is named.
pub const DEFAULT_FILE: &str = "httpipe.toml";

/// What runs a script, by the ending of its name.
const INTERPRETERS: [(&str, &str); 8] = [
    ("py", "python3"),
    ("js", "node"),
    ("mjs", "node"),
    ("rb", "ruby"),
    ("pl", "perl"),
    ("sh", "sh"),
    ("R", "Rscript"),
    ("jar", "java -jar"),
];

/// The largest configuration file that is read, in bytes.
const FILE_MAX: u64 = 16 << 20;

/// Where a configuration comes from; loading it again is a reload.
#[derive(Clone, Debug)]
pub struct ConfigSource {
    /// The file; `None`: the options say everything.
    pub path: Option<PathBuf>,
    /// The program and its arguments from the command line; empty: the file names it.
    pub program: Vec<String>,
    /// The functions from the command line, as in `calculate.py:fib`.
    pub python: Option<String>,
    /// The options and environment variables.
    pub options: Vec<Typed>,
    /// A developer tries it out, who may read why and where a function failed.
    pub is_tried_out: bool,
}

impl ConfigSource {
    /// The source that `run` and `check` were given; `./httpipe.toml` if that is neither a
    /// file nor a program.
    pub fn new(path: Option<PathBuf>, program: Vec<String>, options: Vec<Typed>) -> Self {
        let python = path.as_deref().filter(|_| program.is_empty()).and_then(functions_of);
        let path = path.filter(|_| python.is_none());
        let is_said = !program.is_empty() || python.is_some();
        let default = || (!is_said).then(|| PathBuf::from(DEFAULT_FILE));
        Self { path: path.or_else(default), program, python, options, is_tried_out: false }
    }

    /// The path of our own binary, which the guard and the shims of workers run. `HTTPIPE_EXE`
    /// names another one where `/proc/self/exe` is not ours, as under valgrind.
    pub fn own_binary(&self) -> PathBuf {
        std::env::var_os("HTTPIPE_EXE").map_or_else(|| "/proc/self/exe".into(), PathBuf::from)
    }

    /// Reads and checks everything again, with the environment of this process. `describe` starts
    /// the interpreters of pools with `python`.
    ///
    /// # Errors
    ///
    /// All problems that were found.
    pub fn load(&self, describe: &Describe<'_>) -> Result<Config, Problems> {
        // Before it is read: a change while it is read is then seen as one.
        let file = self.path.as_deref().map(Stamps::of_file).unwrap_or_default();
        let source = self.path.as_deref().map(read).transpose()?;
        let mut tree = Tree::default();
        let mut problems = Vec::new();
        if let Some(source) = &source {
            match Tree::parse(&source.text) {
                Ok((read, found)) => (tree, problems) = (read, found),
                Err(errors) => {
                    // Where the secrets are in what is not TOML is not known.
                    let all = std::iter::once(0..source.text.len()).collect();
                    return Err(Problems::new(Some(source.clone()), errors).with_secrets(all));
                }
            }
        }
        let schema = schema();
        let text = source.as_ref().map_or("", |source| &source.text);
        let secrets = secrets(&tree, &schema, text);
        problems.extend(self.put_options(&mut tree));
        problems.extend(shape::check(&mut tree, &schema));
        self.check(tree, problems, describe)
            .map(|config| Config { files: config.files.and(file), ..config })
            .map_err(|problems| Problems::new(source, problems).with_secrets(secrets))
    }

    /// What the options say, as a file would: what [`load`](Self::load) reads if there is none.
    pub fn values(&self) -> toml::Table {
        let mut tree = Tree::default();
        // `load` has told its problems.
        drop(self.put_options(&mut tree));
        tree.values
    }

    fn check(
        &self,
        tree: Tree,
        mut problems: Vec<Problem>,
        describe: &Describe<'_>,
    ) -> Result<Config, Vec<Problem>> {
        let Tree { values, places } = tree;
        let mut file: File = match values.try_into() {
            Ok(file) => file,
            Err(error) => {
                let problem = Problem::new(Place::Nowhere, error.message());
                problems.push(problem.without_values("a value has the wrong type"));
                return Err(problems);
            }
        };
        let base = self.base();
        let credentials = std::env::var_os(CREDENTIALS).map(PathBuf::from);
        let mut secrets = read_secrets(&mut file, &places, &base, credentials);
        problems.append(&mut secrets.problems);
        let inherited: Environment = std::env::vars_os().collect();
        let kept = kept_secret(&file, &places, &base, &secrets.files);
        let hidden = self.hidden(&file, &places, &base, &kept);
        let site = Site { base: &base, inherited: &inherited, hidden: &hidden };
        let (mut launches, mut files) = (BTreeMap::new(), BTreeMap::new());
        let mut pythons = BTreeMap::new();
        for (name, pool) in &file.pool {
            let path = KeyPath::of(&["pool", name.as_str()]);
            let launch = if pool.python.is_some() && !places.is_written(&path.key("command")) {
                let found = python::resolve(pool, &path, &places, site, describe);
                found.map(|found| {
                    pythons.insert(name.clone(), (found.python, found.import));
                    found.launch
                })
            } else {
                resolve(pool, &path, &places, site)
            };
            match launch {
                Ok(launch) => {
                    let found = stamps(&launch).map_err(|error| {
                        let place = places.value(&path.key("watch"));
                        let hint = "name fewer, or leave some out with `!PATTERN`";
                        Problem::new(place, error.to_string()).hint(hint)
                    });
                    files.extend(noted(&mut problems, found).map(|found| (name.clone(), found)));
                    launches.insert(name.clone(), launch);
                }
                Err(found) => problems.extend(found),
            }
        }
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let access = noted(&mut problems, access_log::resolve(&file.log, &places, &base));
        let access = access.unwrap_or(AccessSettings::Off);
        let tells_details = self.is_tried_out;
        let keys = file.callers.as_deref().filter(|text| *text != ANYONE);
        let keys =
            keys.and_then(|text| noted(&mut problems, callers::resolve(text, &places, &base)));
        let tls = tls::resolve(&file.tls, &places, &base, &mut secrets.warnings);
        let tls = noted(&mut problems, tls).flatten();
        let spread = spread::resolve(file.spread.as_ref(), &places, &base);
        let spread = spread.map_err(|found| problems.extend(found)).ok().flatten();
        let host =
            Host { processors, launches, files, access, pythons, tells_details, keys, tls, spread };
        let checked = check(&file, &places, &host, problems);
        checked.map(|config| {
            secrets.warnings.extend(sandbox::exposed(&config, &kept));
            let jobs = config.jobs.map(|it| it.below(&base));
            secrets.noted_in(Config { jobs, ..config }.in_base(&base))
        })
    }

    /// The files that programs in a sandbox must not read: the configuration, the keys of callers, the
    /// jobs and what is `kept` secret, by their names and by where these lead now.
    fn hidden(&self, file: &File, places: &Places, base: &Path, kept: &[PathBuf]) -> Vec<PathBuf> {
        let place = places.value(&KeyPath::of(&["callers"]));
        let keys = file.callers.as_deref().map(|text| path_at(&place, text, base));
        let of_jobs = |end| Some(base.join(format!("{}{end}", file.jobs.as_ref()?.file)));
        let jobs = ["", "-wal", "-journal"].into_iter().filter_map(of_jobs);
        let all = self.path.iter().cloned().chain(keys).chain(jobs).chain(kept.iter().cloned());
        all.flat_map(|path| [path.canonicalize().ok(), std::path::absolute(path).ok()])
            .flatten()
            .collect()
    }

    /// The absolute directory that the file's relative paths begin in.
    fn base(&self) -> PathBuf {
        let folder = self.path.as_deref().and_then(Path::parent).unwrap_or(Path::new(""));
        let here = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
        here.join(folder)
    }

    /// Puts the options over the file.
    fn put_options(&self, tree: &mut Tree) -> Vec<Problem> {
        let mut problems = Vec::new();
        let pool = self.only_pool(tree);
        if !self.program.is_empty() {
            let words = self.program.iter().map(|word| Value::String(word.clone())).collect();
            let keys = (&["command"][..], Value::Array(words));
            problems.extend(put_in_pool(tree, &pool, keys.0, keys.1, "-- PROGRAM"));
        }
        if let Some(python) = &self.python {
            let value = Value::String(python.clone());
            problems.extend(put_in_pool(tree, &pool, &["python"], value, "TARGET"));
        }
        for typed in &self.options {
            let (name, value) = (typed.name.as_str(), typed.value.clone());
            match typed.target {
                Target::Server(keys) => tree.put(&KeyPath::of(keys), value, name),
                Target::Pool(keys) => problems.extend(put_in_pool(tree, &pool, keys, value, name)),
                Target::Variable => {
                    let text = value.as_str().unwrap_or_default();
                    match text.split_once('=') {
                        Some((key, value)) => {
                            let value = Value::String(value.to_owned());
                            problems.extend(put_in_pool(tree, &pool, &["env", key], value, name));
                        }
                        None => problems.push(
                            Problem::new(
                                Place::Option(name.to_owned()),
                                format!("`{name} {text}` has no `=`"),
                            )
                            .hint("write NAME=VALUE")
                            .without_values(format!("`{name}` has no `=`")),
                        ),
                    }
                }
                Target::Routes => put_routes(tree, value, name),
                Target::Send | Target::Cache | Target::RouteKey(_) => {}
            }
        }
        put_default_routes(tree);
        for typed in &self.options {
            match typed.target {
                Target::Send => problems.extend(self.put_in_routes(tree, "send", typed)),
                Target::RouteKey(key) => problems.extend(self.put_in_routes(tree, key, typed)),
                Target::Cache => put_cache(tree, typed),
                _ => {}
            }
        }
        problems
    }

    /// The pool that options are for, or how many pools there are.
    fn only_pool(&self, tree: &Tree) -> Result<String, usize> {
        let pools = tree.values.get("pool").and_then(Value::as_table);
        let names: Vec<&String> = pools.into_iter().flat_map(toml::Table::keys).collect();
        match (names.as_slice(), self.program.first(), &self.python) {
            ([only], ..) => Ok((*only).clone()),
            ([], Some(_), _) => Ok(pool_name(&self.program)),
            ([], None, Some(python)) => Ok(PythonTarget::parse(python)
                .map_or_else(|_| "python".to_owned(), |target| target.pool_name())),
            (several, ..) => Err(several.len()),
        }
    }

    fn put_in_routes(&self, tree: &mut Tree, key: &str, typed: &Typed) -> Option<Problem> {
        let are_typed = self.options.iter().any(|other| other.target == Target::Routes);
        let calling: Vec<usize> = routes(tree, |route| !route.contains_key("text"));
        if calling.len() != 1 && !are_typed {
            let message = format!("`{}` does not say which route it is for", typed.name);
            let place = Place::Option(typed.name.clone());
            return Some(Problem::new(place, message).hint("add `--route 'GET /path?key={key}'`"));
        }
        for index in calling {
            let path = KeyPath::of(&["route"]).index(index).key(key);
            tree.put(&path, typed.value.clone(), &typed.name);
        }
        None
    }
}

/// Returns what was found, or notes the problem.
/// Returns the files with secrets: those that are named as such, the key of the certificate and that
/// for NATS.
fn kept_secret(file: &File, places: &Places, base: &Path, secrets: &Stamps) -> Vec<PathBuf> {
    let creds = file.spread.as_ref().and_then(|spread| spread.creds.as_deref());
    let named = [("tls", "key", file.tls.key.as_deref()), ("spread", "creds", creds)];
    let named = named.into_iter().filter_map(|(table, key, text)| {
        Some(path_at(&places.value(&KeyPath::of(&[table, key])), text?, base))
    });
    named.chain(secrets.paths().map(Path::to_owned)).collect()
}

fn noted<T>(problems: &mut Vec<Problem>, found: Result<T, Problem>) -> Option<T> {
    found.map_err(|problem| problems.push(problem)).ok()
}

/// Returns the functions that a word of the command line names in the place of a file: one such as
/// `calculate.py:fib`, or a script that uses this server's own module.
fn functions_of(word: &Path) -> Option<String> {
    let text = word.to_str()?;
    let is_script = || {
        let is_python = word.extension().is_some_and(|ending| ending == "py");
        let text = is_python.then(|| read_regular(word).ok()?.ok()).flatten();
        text.is_some_and(|text| memchr::memmem::find(&text, b"httpipe").is_some())
    };
    let is_meant = PythonTarget::is_meant(text) && !word.exists();
    (is_meant || is_script()).then(|| text.to_owned())
}

/// Reads a regular file that is not too large. Others are refused without being read: a pipe may
/// have no end, or no beginning.
fn read_regular(path: &Path) -> std::io::Result<Result<Vec<u8>, Problems>> {
    let shown = path.display();
    // Opening a pipe would wait for its writer.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = std::fs::File::from(rustix::fs::open(path, flags, Mode::empty())?);
    let kind = file.metadata()?.file_type();
    let refuse = |what: &str, hint: &str| Ok(Err(Problems::one(format!("`{shown}` {what}"), hint)));
    if kind.is_dir() {
        return refuse("is a directory, not a file", "name the file in it");
    }
    if !kind.is_file() {
        let hint = "write the configuration into a file: a reload reads it again";
        return refuse("is not a regular file", hint);
    }
    let mut bytes = Vec::new();
    file.take(FILE_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_MAX {
        return refuse("is larger than 16 MiB", "is it a configuration file?");
    }
    Ok(Ok(bytes))
}

fn read(path: &Path) -> Result<SourceText, Problems> {
    let shown = path.display();
    let bytes = read_regular(path).map_err(|error| {
        let is_default = path == Path::new(DEFAULT_FILE);
        if is_default && error.kind() == std::io::ErrorKind::NotFound {
            let hint = "name a program, as in `httpipe run -- python3 worker.py`, or write \
                        the file with `httpipe init`";
            return Problems::one("there is no httpipe.toml here", hint);
        }
        let hint = if is_program(path) {
            format!("put `--` before the program, as in `httpipe run -- {shown}`")
        } else {
            "`httpipe init` writes an httpipe.toml to begin with".to_owned()
        };
        Problems::one(format!("cannot read `{shown}`: {}", reason(&error)), hint)
    })??;
    if let Some(command) = command_of(path, &bytes) {
        let hint = format!("put `--` before the program: httpipe run -- {command}");
        return Err(Problems::one(
            format!("`{shown}` is a program, not a configuration file"),
            hint,
        ));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let line = 1 + memchr::memchr_iter(b'\n', &error.as_bytes()[..good]).count();
        let message = format!("`{shown}` is not UTF-8 in line {line}");
        Problems::one(message, "save the file as UTF-8")
    })?;
    Ok(SourceText { path: shown.to_string(), text })
}

/// Returns true if `PATH` has a program of this name.
fn is_program(name: &Path) -> bool {
    let search = std::env::var_os("PATH").unwrap_or_default();
    let is_word = name.components().count() == 1;
    is_word && std::env::split_paths(&search).any(|folder| folder.join(name).is_file())
}

/// The command that runs a file; `None` if it is no program.
fn command_of(path: &Path, bytes: &[u8]) -> Option<String> {
    let shown = path.display();
    let ending = path.extension().and_then(OsStr::to_str).unwrap_or_default();
    if let Some((_, interpreter)) = INTERPRETERS.iter().find(|(known, _)| *known == ending) {
        return Some(format!("{interpreter} {shown}"));
    }
    let is_program = bytes.starts_with(b"#!") || bytes.starts_with(b"\x7fELF");
    let here = if path.components().count() == 1 { "./" } else { "" };
    is_program.then(|| format!("{here}{shown}"))
}

/// Programs that run a script which is named among their arguments.
const SCRIPT_RUNNERS: [&str; 19] = [
    "bash", "bun", "dash", "deno", "gawk", "guile", "julia", "ksh", "lua", "node", "perl", "php",
    "python", "R", "Rscript", "ruby", "sh", "tclsh", "zsh",
];

/// A name for the pool of a program from the command line: that of the script, if it is one.
fn pool_name(words: &[String]) -> String {
    let program = words.first().map_or("", String::as_str);
    let name = Path::new(program).file_name().and_then(OsStr::to_str).unwrap_or_default();
    let bare = name.trim_end_matches(|letter: char| letter.is_ascii_digit() || letter == '.');
    let has_text = |word: &&String| !matches!(word.as_str(), "-c" | "-e");
    let mut arguments = words.iter().skip(1).take_while(has_text);
    let script = arguments.find(|word| !word.starts_with('-')).map(Path::new);
    let script = script.filter(|script| {
        let is_ending = |ending: &OsStr| ending.len() <= 4 && !ending.is_empty();
        SCRIPT_RUNNERS.contains(&bare) && script.extension().is_some_and(is_ending)
    });
    let name = script.and_then(Path::file_stem).and_then(OsStr::to_str).unwrap_or(name);
    let is_plain = |byte: char| byte.is_ascii_alphanumeric() || matches!(byte, '_' | '-' | '.');
    let name: String = name.chars().filter(|byte| is_plain(*byte)).collect();
    if name.is_empty() { "program".to_owned() } else { name }
}

fn put_in_pool(
    tree: &mut Tree,
    pool: &Result<String, usize>,
    keys: &[&str],
    value: Value,
    name: &str,
) -> Option<Problem> {
    let place = Place::Option(name.to_owned());
    match pool {
        Ok(pool) => {
            let path = keys.iter().fold(KeyPath::of(&["pool", pool]), |path, key| path.key(key));
            tree.put(&path, value, name);
            None
        }
        Err(0) => {
            let message = format!("`{name}` is for a pool, and there is none");
            Some(
                Problem::new(place, message)
                    .hint("add `-- PROGRAM`, or a `[pool.NAME]` to the file"),
            )
        }
        Err(count) => {
            let message = format!("`{name}` does not say which of the {count} pools it is for");
            Some(
                Problem::new(place, message)
                    .hint("write it into the file, under its `[pool.NAME]`"),
            )
        }
    }
}

fn put_routes(tree: &mut Tree, texts: Value, name: &str) {
    let Value::Array(texts) = texts else { return };
    let route = |text| Value::Table(toml::Table::from_iter([("match".to_owned(), text)]));
    let routes = texts.into_iter().map(route).collect();
    tree.put(&KeyPath::of(&["route"]), Value::Array(routes), name);
}

/// Adds the routes of a single pool that has none.
fn put_default_routes(tree: &mut Tree) {
    let pools = tree.values.get("pool").and_then(Value::as_table);
    let has_functions = pools.into_iter().flatten().any(|(_, pool)| pool.get("python").is_some());
    let count = pools.map_or(0, toml::Table::len);
    if count != 1 || has_functions || tree.values.contains_key("route") {
        return;
    }
    let route = |text: &str| {
        let text = Value::String(text.to_owned());
        Value::Table(toml::Table::from_iter([("match".to_owned(), text)]))
    };
    let routes = vec![route("POST /"), route("GET /?input={input}")];
    tree.values.insert("route".to_owned(), Value::Array(routes));
}

fn put_cache(tree: &mut Tree, typed: &Typed) {
    let may_be_kept = |route: &toml::Table| {
        let text = route.get("match").and_then(Value::as_str).unwrap_or_default();
        let is_read = text.starts_with("GET ") || text.starts_with("HEAD ");
        let idempotent = route.get("idempotent").and_then(Value::as_bool).unwrap_or(is_read);
        idempotent && !route.contains_key("text")
    };
    for index in routes(tree, may_be_kept) {
        let path = KeyPath::of(&["route"]).index(index).key("cache");
        tree.put(&path, typed.value.clone(), &typed.name);
    }
}

/// The indexes of the routes for which `is_so` returns true.
fn routes(tree: &Tree, is_so: impl Fn(&toml::Table) -> bool) -> Vec<usize> {
    let list = tree.values.get("route").and_then(Value::as_array);
    let routes = list.into_iter().flatten().enumerate();
    routes
        .filter(|(_, route)| route.as_table().is_some_and(&is_so))
        .map(|(index, _)| index)
        .collect()
}
