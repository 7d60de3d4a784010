//! Advice about a program that ended, by its last words.
//!
//! Pure.

/// Returns advice about a missing module or file, if these lines of stderr name one.
pub fn missing_part(stderr: &[String]) -> Option<String> {
    let find = |before: &str, after: &[char]| {
        let line = stderr.iter().rev().find_map(|line| line.split_once(before))?.1;
        Some(line.trim_start().split(after).next()?.to_owned())
    };
    if let Some(module) = find("No module named '", &['\'']) {
        return Some(format!(
            "install `{module}` for this Python, or name a Python in `command` that has it"
        ));
    }
    if find("ImportError", &['\n']).is_some() {
        return Some("fix this import, or name a Python in `command` that has it".into());
    }
    if let Some(module) = find("Cannot find module '", &['\'']) {
        return Some(format!("install `{module}` where the program looks for it, or change `dir`"));
    }
    if let Some(module) = find("cannot load such file -- ", &[' ']) {
        return Some(format!("install the gem that contains `{module}`"));
    }
    if let Some(module) = find("Can't locate ", &[' ']) {
        return Some(format!("install the Perl module `{module}`"));
    }
    if find("can't open file", &['\n']).is_some() || find("No such file", &['\n']).is_some() {
        return Some("paths in `command` are relative to `dir`".into());
    }
    None
}
