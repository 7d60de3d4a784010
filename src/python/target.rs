//! Which functions are served: `calculate.py:fib`, `package.module:Class`, `script.py`.
//!
//! Pure.

use std::path::Path;

/// A module, and the names in it that are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PythonTarget {
    text: String,
    /// The length of the module in the text.
    module: usize,
}

impl PythonTarget {
    /// Reads a target.
    ///
    /// # Errors
    ///
    /// What is wrong, and what to write instead.
    pub fn parse(text: &str) -> Result<Self, (String, String)> {
        let refuse = |hint: &str| Err((format!("`{text}` names no functions"), hint.to_owned()));
        let module = text.rfind(':').unwrap_or(text.len());
        let (place, names) = (&text[..module], text.get(module + 1..));
        let is_file = Path::new(place).extension().is_some_and(|ending| ending == "py");
        if text.contains('\0') || Path::new(place).file_stem().is_none_or(std::ffi::OsStr::is_empty)
        {
            return refuse("write it as in \"calculate.py:fib\"");
        }
        if !is_file && !place.split('.').all(is_name) {
            return refuse(
                "name a file, as in \"calculate.py:fib\", or a module, as in \"package.module:fib\"",
            );
        }
        match names {
            None if is_file => {}
            None => {
                return refuse(&format!(
                    "add a function, as in \"{place}:fib\", or \"{place}:*\" for all"
                ));
            }
            Some("*") => {}
            Some(names) if names.split(',').map(str::trim).all(is_name) => {}
            Some(_) => {
                return refuse(&format!(
                    "write one name or several after the colon, as in \"{place}:fib,add\", or \"{place}:*\""
                ));
            }
        }
        Ok(Self { text: text.to_owned(), module })
    }

    /// Returns true if a word of the command line is meant as a target: nothing else has this shape.
    pub fn is_meant(word: &str) -> bool {
        let Some((place, names)) = word.rsplit_once(':') else { return false };
        let is_file = Path::new(place).extension().is_some_and(|ending| ending == "py");
        let is_module = place.split('.').all(is_name) && names.split(',').all(is_name);
        is_file || is_module
    }

    /// The text as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The file of the module; `None` if it is named as an import.
    pub fn file(&self) -> Option<&Path> {
        let place = Path::new(&self.text[..self.module]);
        place.extension().is_some_and(|ending| ending == "py").then_some(place)
    }

    /// A name for the pool: that of the module.
    pub fn pool_name(&self) -> String {
        let place = &self.text[..self.module];
        let name = match self.file() {
            Some(file) => file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default(),
            None => place.rsplit('.').next().unwrap_or_default(),
        };
        let is_plain = |letter: &char| letter.is_ascii_alphanumeric() || "_-.".contains(*letter);
        let name: String = name.chars().filter(is_plain).collect();
        if name.is_empty() { "python".to_owned() } else { name }
    }
}

/// Returns true if this may be a name in Python.
fn is_name(text: &str) -> bool {
    let mut letters = text.chars();
    let starts = letters.next().is_some_and(|first| first.is_alphabetic() || first == '_');
    starts && letters.all(|letter| letter.is_alphanumeric() || letter == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_names_a_module_and_what_is_served_of_it() {
        for (text, pool, is_file) in [
            ("calculate.py:fib", "calculate", true),
            ("a/b c.py:f,g", "bc", true),
            ("calculate.py:*", "calculate", true),
            ("served.py", "served", true),
            ("package.module:Class", "module", false),
            ("module:*", "module", false),
        ] {
            let target = PythonTarget::parse(text).expect(text);
            assert_eq!((target.pool_name().as_str(), target.file().is_some()), (pool, is_file));
        }
        for wrong in [
            "",
            ":",
            "calculate",
            "calculate.py:",
            "a.py:f-g",
            "a b:f",
            ".py:f",
            "a..b:f",
            "a.py:f,",
            "a.txt:f x",
        ] {
            assert!(PythonTarget::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_word_is_meant_as_a_target_if_it_can_be_nothing_else() {
        for word in ["calculate.py:fib", "calculate.py:", "package.module:Class", "m:f"] {
            assert!(PythonTarget::is_meant(word), "{word}");
        }
        for word in ["httpipe.toml", "script.py", "127.0.0.1:3000", "./a:b.toml", ":3000"] {
            assert!(!PythonTarget::is_meant(word), "{word}");
        }
    }
}
