//! Prepares Rust text for the rules: blanks comments, literals and test items, and cuts tokens.

/// The code that ships: without comments, the insides of literals and `#[cfg(test)]` items. Every
/// line stays where it is.
pub(crate) fn shipped(path: &str, text: &str) -> String {
    if path.starts_with("src/") && path.ends_with("/tests.rs") {
        return String::new();
    }
    let mut code = code_only(text);
    while let Some(start) = code.find("#[cfg(test)]") {
        let length = item_length(&code[start..]);
        let blank: String =
            code[start..start + length].chars().map(|c| if c == '\n' { c } else { ' ' }).collect();
        code.replace_range(start..start + length, &blank);
    }
    code
}

/// The names of the modules that exist only in tests: `#[cfg(test)] mod testing;`.
pub(crate) fn test_modules(text: &str) -> Vec<String> {
    let code = code_only(text);
    let items = code.match_indices("#[cfg(test)]");
    let names = items.filter_map(|(start, _)| {
        let item = &code[start..start + item_length(&code[start..])];
        let (_, name) = item.strip_suffix(';')?.rsplit_once("mod ")?;
        Some(name.to_owned())
    });
    names.collect()
}

/// The length of the item that the code begins with, its attributes included: up to its `;` or
/// the end of its braces, with the `;` behind them if there is one.
fn item_length(code: &str) -> usize {
    let mut depth = 0;
    for (index, c) in code.char_indices() {
        match c {
            '{' | '(' | '[' => depth += 1,
            '}' | ')' | ']' => depth -= 1,
            _ => {}
        }
        let is_followed = code[index + c.len_utf8()..].starts_with(';');
        if depth == 0 && (c == ';' || (c == '}' && !is_followed)) {
            return index + 1;
        }
    }
    code.len()
}

/// The part of a file before its inline tests; nothing of a `tests.rs`.
pub(crate) fn without_tests<'a>(path: &str, text: &'a str) -> &'a str {
    if path.starts_with("src/") && path.ends_with("/tests.rs") {
        return "";
    }
    let begins = ["#[cfg(test)]\nmod tests", "#[cfg(test)]\npub(super) mod tests"];
    let end = begins.iter().filter_map(|begin| text.find(begin)).min();
    end.map_or(text, |end| &text[..end])
}

pub(crate) fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Names and numbers, `::`, and every other character by itself.
pub(crate) fn tokens(code: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = code.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = if is_name(first) {
            rest.find(|c| !is_name(c)).unwrap_or(rest.len())
        } else if rest.starts_with("::") {
            2
        } else {
            first.len_utf8()
        };
        found.push(&rest[..length]);
        rest = rest[length..].trim_start();
    }
    found
}

/// How many lines the function has that this code begins with; `None` if it has no body.
pub(crate) fn body_lines(code: &str) -> Option<usize> {
    let open = code.find(['{', ';'])?;
    if code[open..].starts_with(';') {
        return None;
    }
    let mut depth = 0;
    for (index, c) in code[open..].char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => continue,
        }
        if depth == 0 {
            return Some(code[..=open + index].lines().count());
        }
    }
    None
}

/// The code with comments and the insides of literals blanked, line for line.
pub(crate) fn code_only(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = comment(rest).or_else(|| literal(rest));
        let taken = length.unwrap_or(first.len_utf8());
        if length.is_some() {
            code.extend(rest[..taken].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        } else {
            code.push(first);
        }
        let follows_name = is_name(first);
        rest = &rest[taken..];
        if follows_name && length.is_none() {
            // A name is taken whole, so that the `r` of `for` begins no raw text.
            let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
            code.push_str(&rest[..end]);
            rest = &rest[end..];
        }
    }
    code
}

/// The length of the comment that the text begins with.
fn comment(text: &str) -> Option<usize> {
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    text.starts_with("/*").then(|| text.find("*/").map_or(text.len(), |end| end + 2))
}

/// The length of the literal that the text begins with, its prefix included.
fn literal(text: &str) -> Option<usize> {
    let prefix = text.find(|c| !matches!(c, 'b' | 'r' | 'c'))?;
    let body = &text[prefix..];
    if prefix <= 2 && text[..prefix].contains('r') {
        let hashes = body.find(|c| c != '#')?;
        let end = format!("\"{}", "#".repeat(hashes));
        let inside = body[hashes..].strip_prefix('"')?;
        return Some(prefix + hashes + 1 + inside.find(&end)? + end.len());
    }
    if prefix > 1 {
        return None;
    }
    if let Some(inside) = body.strip_prefix('"') {
        return Some(prefix + 1 + closing(inside, '"')? + 1);
    }
    let inside = body.strip_prefix('\'')?;
    let mut characters = inside.chars();
    let is_character = characters.next()? == '\\' || characters.next()? == '\'';
    is_character.then(|| closing(inside, '\'').map(|end| prefix + 1 + end + 1))?
}

/// The index of the quote that ends this literal; escapes are skipped.
fn closing(text: &str, quote: char) -> Option<usize> {
    let mut is_escaped = false;
    text.char_indices().find_map(|(index, c)| {
        let found = c == quote && !is_escaped;
        is_escaped = c == '\\' && !is_escaped;
        found.then_some(index)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_and_comments_are_no_code() {
        let text = "a(\"x//{\\\"\", r#\"\"{\"#, '{', b'\\'', 'a) /* { */ b // {\nfor r in s";
        let code = code_only(text);
        assert!(!code.contains('{') && !code.contains('"'), "{code}");
        assert!(code.contains("'a) ") && code.contains("\nfor r in s"), "{code}");
    }

    #[test]
    fn test_items_do_not_ship_and_what_follows_them_does() {
        let text = "a();\n#[cfg(test)]\nmod tests { fn f() { b() } }\n#[cfg(test)]\n\
                    pub(crate) mod testing;\n#[cfg(test)]\nuse c::{d, e};\nf();";
        let code = shipped("src/x.rs", text);
        assert_eq!(tokens(&code), ["a", "(", ")", ";", "f", "(", ")", ";"]);
        assert_eq!(code.lines().count(), text.lines().count());
        assert_eq!(test_modules(text), ["testing"]);
        assert_eq!(shipped("src/x/tests.rs", text), "");
    }
}
