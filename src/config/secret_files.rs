//! Where secrets are read from: files and credentials.
//!
//! A configuration names them by place, so that it can be shown to others and kept with its program.

use std::fs::Metadata;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::file::{File, SecretFile, SecretPlace};
use super::problem::{Problem, Warning};
use super::regular::read_regular;
use super::secret::{CREDENTIALS, Secret};
use super::server::Config;
use super::stamp::Stamps;
use super::tree::{KeyPath, Places};

/// The largest secret, in bytes.
const SECRET_MAX: u64 = 64 << 10;

/// What was found where secrets are.
#[derive(Debug, Default)]
pub struct SecretsRead {
    /// What keeps the configuration from being used.
    pub problems: Vec<Problem>,
    /// What is unwise.
    pub warnings: Vec<Warning>,
    /// What the files looked like just before they were read.
    pub files: Stamps,
}

impl SecretsRead {
    /// Notes in a configuration which files were read for it, and what is unwise about them.
    pub fn noted_in(self, mut config: Config) -> Config {
        config.warnings.extend(self.warnings);
        Config { files: self.files, ..config }
    }
}

/// Puts the texts into a file that names their places. `base` is the directory that paths are relative
/// to, `credentials` that of the service manager. A text that cannot be read is left out and reported.
pub fn read_secrets(
    file: &mut File,
    places: &Places,
    base: &Path,
    credentials: Option<PathBuf>,
) -> SecretsRead {
    let mut reader = SecretReader { places, base, credentials, found: SecretsRead::default() };
    reader.fill(&KeyPath::of(&["admin_token"]), &mut file.admin_token);
    let is_sendable = |token: &SecretFile| token.text().bytes().all(|it| it.is_ascii_graphic());
    let password = KeyPath::of(&["cache", "shared_password"]);
    reader.fill(&password, &mut file.cache.shared_password);
    if reader.found.problems.is_empty() && !file.admin_token.as_ref().is_none_or(is_sendable) {
        let message = "`admin_token` cannot be sent in a header";
        reader.refuse(
            &KeyPath::of(&["admin_token"]),
            message.to_owned(),
            "use letters, digits and signs of ASCII, without spaces",
        );
    }
    for (name, pool) in &mut file.pool {
        let path = KeyPath::of(&["pool", name.as_str()]);
        for (name, value) in &mut pool.env {
            let mut text = Some(value.clone());
            reader.fill(&path.key("env").key(name), &mut text);
            *value = text.unwrap_or_default();
        }
        if let Some(named) = &pool.env_file {
            for (name, text) in reader.variables(&path.key("env_file"), named) {
                pool.env.entry(name).or_insert(SecretFile::Text(text));
            }
        }
    }
    reader.found
}

/// Reads secrets and keeps what it found.
struct SecretReader<'a> {
    places: &'a Places,
    base: &'a Path,
    credentials: Option<PathBuf>,
    found: SecretsRead,
}

impl SecretReader<'_> {
    /// Replaces a place by the text that is there.
    fn fill(&mut self, path: &KeyPath, value: &mut Option<SecretFile>) {
        let Some(SecretFile::Elsewhere(place)) = value else { return };
        let file = match place {
            SecretPlace { file: Some(file), credential: None } => {
                Some((path.key("file"), self.base.join(file)))
            }
            SecretPlace { file: None, credential: Some(name) } => {
                self.credential(path, name).map(|file| (path.key("credential"), file))
            }
            _ => {
                self.refuse(
                    path,
                    format!("`{path}` must have one place"),
                    "name a `file` or a `credential`",
                );
                None
            }
        };
        *value = file.and_then(|(path, file)| self.read(&path, &file)).map(SecretFile::Text);
    }

    /// Returns where the service manager put a credential.
    fn credential(&mut self, path: &KeyPath, name: &str) -> Option<PathBuf> {
        let path = path.key("credential");
        let is_name = !name.is_empty() && !name.contains('/') && !matches!(name, "." | "..");
        if !is_name {
            let hint = "write the name that `LoadCredential=NAME:PATH` gives it";
            self.refuse(&path, "a credential has a name, not a path".to_owned(), hint);
            return None;
        }
        if self.credentials.is_none() {
            let message = format!("`{CREDENTIALS}` is not set, so there are no credentials");
            let hint = "let a unit of systemd set it with `LoadCredential=NAME:PATH`";
            self.refuse(&path, message, hint);
        }
        Some(self.credentials.as_ref()?.join(name))
    }

    /// Reads a secret without the line end at its end.
    fn read(&mut self, path: &KeyPath, file: &Path) -> Option<Secret> {
        let mut text = self.text(path, file)?;
        if text.ends_with('\n') {
            text.pop();
            if text.ends_with('\r') {
                text.pop();
            }
        }
        if text.is_empty() || text.contains('\0') {
            let what = if text.is_empty() { "is empty" } else { "holds a NUL byte" };
            self.refuse(
                path,
                format!("the secret {what}"),
                "write the secret, and nothing else, into its file",
            );
            return None;
        }
        Some(Secret::from(text))
    }

    /// Reads the variables of an `env_file`.
    fn variables(&mut self, path: &KeyPath, named: &str) -> Vec<(String, Secret)> {
        let Some(text) = self.text(path, &self.base.join(named)) else { return Vec::new() };
        let mut variables = Vec::new();
        for (index, line) in text.lines().enumerate() {
            match variable(line) {
                Ok(None) => {}
                Ok(Some(variable)) => variables.push(variable),
                Err(what) => {
                    let message = format!("line {} of the file {what}", index + 1);
                    self.refuse(path, message, "write NAME=VALUE, and `#` before a comment");
                }
            }
        }
        variables
    }

    /// Reads a regular file that is not too large. Where others can read it too, that is a warning.
    fn text(&mut self, path: &KeyPath, file: &Path) -> Option<String> {
        let shown = file.display().to_string();
        self.found.files.look(file.to_owned());
        let read = read_file(file);
        match read {
            Ok(text) => {
                let is_open = |about: Metadata| about.permissions().mode() & 0o004 != 0;
                if std::fs::metadata(file).is_ok_and(is_open) {
                    let message =
                        format!("every user of this machine can read `{shown}` (`{path}`)");
                    let hint = format!("chmod o-r {shown}");
                    self.found.warnings.push(Warning { message, hint });
                }
                Some(text)
            }
            Err(why) => {
                let hint = "name a file that holds the secret, relative to this file";
                let problem = Problem::new(self.places.value(path), format!("`{shown}` {why}"));
                let public = format!("the file of `{path}` {why}");
                self.found.problems.push(problem.hint(hint).without_values(public));
                None
            }
        }
    }

    fn refuse(&mut self, path: &KeyPath, message: String, hint: &str) {
        self.found.problems.push(Problem::new(self.places.value(path), message).hint(hint));
    }
}

/// Reads a file, or says why it holds no secret.
fn read_file(path: &Path) -> Result<String, String> {
    let bytes = read_regular(path, SECRET_MAX).map_err(|why| format!("cannot be read: {why}"))?;
    String::from_utf8(bytes).map_err(|_| "is not UTF-8".to_owned())
}

/// Reads a line of an `env_file`; `None`: it sets nothing. Never quotes the line.
fn variable(line: &str) -> Result<Option<(String, Secret)>, &'static str> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let line = line.strip_prefix("export ").map_or(line, str::trim_start);
    let (name, value) = line.split_once('=').ok_or("has no `=`")?;
    let is_name = |name: &str| {
        name.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'_')
            && !name.starts_with(|first: char| first.is_ascii_digit())
    };
    if name.is_empty() || !is_name(name) {
        return Err("does not begin with the name of a variable");
    }
    if value.contains('\0') {
        return Err("holds a NUL byte");
    }
    Ok(Some((name.to_owned(), Secret::from(unquoted(value)?.to_owned()))))
}

/// Takes the quotes off a value.
fn unquoted(value: &str) -> Result<&str, &'static str> {
    let Some(quote) = value.chars().next().filter(|first| matches!(first, '"' | '\'')) else {
        return Ok(value);
    };
    let inner = value[1..].strip_suffix(quote);
    inner.ok_or("has a value that begins with a quote and does not end with it")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_sets_one_variable_or_nothing() {
        let read = |line| {
            variable(line).map(|set| set.map(|(name, value)| format!("{name}={}", value.reveal())))
        };
        for (line, set) in [
            ("A=b", "A=b"),
            ("  A=b=c ", "A=b=c"),
            ("export A_1='b c'", "A_1=b c"),
            ("A=\"b # c\"", "A=b # c"),
            ("A=", "A="),
        ] {
            assert_eq!(read(line), Ok(Some(set.to_owned())), "{line}");
        }
        assert_eq!((read(""), read("# A=b"), read("   ")), (Ok(None), Ok(None), Ok(None)));
        for line in
            ["hunter2", "=hunter2", "1A=hunter2", "A B=hunter2", "A='hunter2", "A=\"", "A=\0"]
        {
            let why = read(line).expect_err(line);
            assert!(!why.contains("hunter2"), "{why}");
        }
    }
}
