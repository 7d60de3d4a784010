//! Takes a `multipart/form-data` body apart (RFC 7578): names, and bytes that are never changed.
//!
//! Pure. The body is there as a whole, so a part is a slice of it, however it arrived. What two
//! readers could understand differently is refused rather than guessed.

use std::borrow::Cow;

use memchr::memmem;

use crate::base::Failure;

/// Most parts of a form.
pub const PARTS_MAX: usize = 1000;
/// Most bytes of the header of a part.
const HEADER_MAX: usize = 8 << 10;
/// Most fields of the header of a part; usually there are one or two.
const FIELDS_MAX: usize = 32;
/// Most parameters of one field of a header.
const HEADER_PARAMETERS_MAX: usize = 16;
/// Most characters of a boundary (RFC 2046, 5.1.1).
const BOUNDARY_MAX: usize = 70;

/// One part of a form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part<'a> {
    /// The name of its form field.
    pub name: Cow<'a, str>,
    /// It has a file name, whatever that is.
    pub is_file: bool,
    /// It is a file field for which no file was chosen.
    pub is_left_out: bool,
    /// Its `charset`, if that is neither UTF-8 nor a part of UTF-8.
    pub foreign_charset: Option<Cow<'a, str>>,
    /// Its content.
    pub bytes: &'a [u8],
}

/// Takes a body apart; `content_type` is its whole `Content-Type`.
///
/// # Errors
///
/// `bad_request` if it is malformed or breaks off, `unsupported_media_type` if a part is encoded.
pub fn parts<'a>(content_type: &str, body: &'a [u8]) -> Result<Vec<Part<'a>>, Failure> {
    let boundary = boundary(content_type)?;
    let delimiters = Delimiters::new(body, &boundary);
    let mut parts = Vec::new();
    let mut delimiter = delimiters.first().ok_or_else(|| no_beginning(body, &boundary))?;
    while let Some(start) = delimiter.begins {
        delimiter = delimiters.after(start).ok_or_else(|| {
            malformed("the form breaks off: the end of its last part, `--BOUNDARY--`, is not there")
        })?;
        if parts.len() == PARTS_MAX {
            return Err(malformed("the form has more than 1000 parts"));
        }
        parts.push(part(&body[start..delimiter.starts])?);
    }
    Ok(parts)
}

/// Returns the boundary that a content type names.
fn boundary(content_type: &str) -> Result<Cow<'_, str>, Failure> {
    let unreadable = || malformed("the `Content-Type` of the form cannot be read");
    let header = Header::parse(content_type).ok_or_else(unreadable)?;
    let boundary = header
        .find("boundary")
        .ok_or_else(|| malformed("the `Content-Type` of the form names no `boundary`"))?;
    let is_sound = (1..=BOUNDARY_MAX).contains(&boundary.len())
        && boundary.bytes().all(|byte| (b' '..=b'~').contains(&byte))
        && !boundary.ends_with(' ');
    if !is_sound {
        return Err(malformed(
            "the `boundary` of the form must be 1 to 70 printable characters of ASCII",
        ));
    }
    Ok(boundary)
}

fn no_beginning(body: &[u8], boundary: &str) -> Failure {
    let with_line_feed = format!("--{boundary}\n");
    if memmem::find(body, with_line_feed.as_bytes()).is_some() {
        return malformed("the lines of the form must end with CR LF, not with LF alone");
    }
    malformed("no part of the form begins with `--` and the `boundary` of its `Content-Type`")
}

/// Finds the lines between the parts of a body.
struct Delimiters<'a> {
    body: &'a [u8],
    finder: memmem::Finder<'static>,
    /// CR LF, `--` and the boundary.
    length: usize,
}

/// A line between two parts, with the line end before it.
#[derive(Clone, Copy)]
struct Delimiter {
    /// Where it starts; what is before belongs to the part before.
    starts: usize,
    /// Where the next part begins; `None`: this was the last.
    begins: Option<usize>,
}

impl<'a> Delimiters<'a> {
    fn new(body: &'a [u8], boundary: &str) -> Self {
        let line = format!("\r\n--{boundary}");
        let finder = memmem::Finder::new(line.as_bytes()).into_owned();
        Self { body, finder, length: line.len() }
    }

    /// The first one. What is before it is meant for people and is dropped.
    fn first(&self) -> Option<Delimiter> {
        let line = &self.finder.needle()[2..];
        let at_once = self.body.starts_with(line).then(|| self.read(0, line.len())).flatten();
        at_once.or_else(|| self.after(0))
    }

    /// The next one from this place on.
    fn after(&self, mut from: usize) -> Option<Delimiter> {
        loop {
            let starts = from + self.finder.find(self.body.get(from..)?)?;
            if let Some(delimiter) = self.read(starts, starts + self.length) {
                return Some(delimiter);
            }
            from = starts + 1;
        }
    }

    /// Reads what follows a boundary; `None` if the line goes on, so that it is content.
    fn read(&self, starts: usize, after: usize) -> Option<Delimiter> {
        let rest = &self.body[after..];
        let (is_last, rest) = match rest.strip_prefix(b"--") {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        let padding = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        let rest = &rest[padding..];
        if is_last {
            let is_whole = rest.is_empty() || rest.starts_with(b"\r\n");
            return is_whole.then_some(Delimiter { starts, begins: None });
        }
        let rest = rest.strip_prefix(b"\r\n")?;
        Some(Delimiter { starts, begins: Some(self.body.len() - rest.len()) })
    }
}

/// Reads one part, from the line after its boundary on.
fn part(all: &[u8]) -> Result<Part<'_>, Failure> {
    let (header, bytes) = divide(all)?;
    let text =
        str::from_utf8(header).map_err(|_| malformed("the header of a part is not UTF-8"))?;
    let (mut disposition, mut content_type) = (None, None);
    for (count, line) in text.split("\r\n").filter(|line| !line.is_empty()).enumerate() {
        if count == FIELDS_MAX {
            return Err(malformed("the header of a part has more than 32 fields"));
        }
        let (name, value) = field(line)?;
        let place = match name {
            _ if name.eq_ignore_ascii_case("content-disposition") => &mut disposition,
            _ if name.eq_ignore_ascii_case("content-type") => &mut content_type,
            _ if name.eq_ignore_ascii_case("content-transfer-encoding") => {
                refuse_encoded(value)?;
                continue;
            }
            _ => continue,
        };
        let value = Header::parse(value)
            .ok_or_else(|| malformed(format!("the `{name}` of a part cannot be read")))?;
        if place.replace(value).is_some() {
            return Err(malformed(format!("a part has two fields `{name}`")));
        }
    }
    named(disposition, content_type.as_ref(), bytes)
}

/// Returns the header of a part and its content.
fn divide(all: &[u8]) -> Result<(&[u8], &[u8]), Failure> {
    let within = &all[..all.len().min(HEADER_MAX + 4)];
    if let Some(content) = within.strip_prefix(b"\r\n") {
        return Ok((b"", &all[all.len() - content.len()..]));
    }
    match memmem::find(within, b"\r\n\r\n") {
        Some(end) => Ok((&all[..end], &all[end + 4..])),
        // Without content the empty line is the one before the next boundary.
        None if within.len() == all.len() && all.ends_with(b"\r\n") => Ok((all, b"")),
        None if within.len() == all.len() => {
            Err(malformed("the header of a part does not end with an empty line"))
        }
        None => Err(malformed("the header of a part is larger than 8 KiB")),
    }
}

/// Reads one line of a header.
fn field(line: &str) -> Result<(&str, &str), Failure> {
    let wrong = || malformed("a line in the header of a part is no `Name: value`");
    let (name, value) = line.split_once(':').ok_or_else(wrong)?;
    let is_name = !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    let is_value = !value.chars().any(|char| char.is_control() && char != '\t');
    if is_name && is_value { Ok((name, value.trim())) } else { Err(wrong()) }
}

fn refuse_encoded(encoding: &str) -> Result<(), Failure> {
    if ["binary", "8bit", "7bit"].iter().any(|plain| encoding.eq_ignore_ascii_case(plain)) {
        return Ok(());
    }
    Err(unsupported(
        "a part has a `Content-Transfer-Encoding`: send its bytes as they are, without that field",
    ))
}

/// Makes a part of what its header says.
fn named<'a>(
    disposition: Option<Header<'a>>,
    content_type: Option<&Header<'a>>,
    bytes: &'a [u8],
) -> Result<Part<'a>, Failure> {
    let nameless =
        || malformed("a part has no `Content-Disposition: form-data; name=\"...\"` with its name");
    let disposition =
        disposition.filter(|it| it.kind.eq_ignore_ascii_case("form-data")).ok_or_else(nameless)?;
    let name = disposition.find("name").ok_or_else(nameless)?;
    let file_name = disposition.find("filename");
    let is_file = file_name.is_some() || disposition.find("filename*").is_some();
    let has_parts = |it: &Header<'_>| it.kind.to_ascii_lowercase().starts_with("multipart/");
    if !is_file && content_type.is_some_and(has_parts) {
        return Err(unsupported(
            "a part of the form has parts of its own: send each file as a part of the form",
        ));
    }
    let charset = content_type.and_then(|it| it.find("charset"));
    let is_known = |charset: &Cow<'_, str>| {
        ["utf-8", "utf8", "us-ascii"].iter().any(|known| charset.eq_ignore_ascii_case(known))
    };
    Ok(Part {
        name: without_percent(name),
        is_file,
        is_left_out: bytes.is_empty() && file_name.is_some_and(|name| name.is_empty()),
        foreign_charset: charset.filter(|charset| !is_known(charset)),
        bytes,
    })
}

/// Undoes what a browser does to a name, so that it fits between quotes; it changes nothing else.
fn without_percent(name: Cow<'_, str>) -> Cow<'_, str> {
    if ["%22", "%0D", "%0A"].iter().any(|code| name.contains(code)) {
        return name.replace("%22", "\"").replace("%0D", "\r").replace("%0A", "\n").into();
    }
    name
}

/// The value of a header field: a word with parameters, as in `form-data; name="a"`.
#[derive(Debug)]
struct Header<'a> {
    kind: &'a str,
    parameters: Vec<(&'a str, Cow<'a, str>)>,
}

impl<'a> Header<'a> {
    /// Reads a value; `None` if it cannot be read, or a parameter is there twice.
    fn parse(text: &'a str) -> Option<Self> {
        let (kind, mut rest) = text.split_once(';').unwrap_or((text, ""));
        let mut header = Self { kind: kind.trim(), parameters: Vec::new() };
        loop {
            rest = rest.trim_start_matches([' ', '\t', ';']);
            if rest.is_empty() {
                return Some(header);
            }
            let (name, after) = rest.split_once('=')?;
            let name = name.trim();
            let value;
            (value, rest) = if let Some(quoted) = after.trim_start().strip_prefix('"') {
                quoted_value(quoted)?
            } else {
                let (value, rest) = after.split_once(';').unwrap_or((after, ""));
                (Cow::Borrowed(value.trim()), rest)
            };
            let is_sound = !name.is_empty() && !name.contains(['"', ';']);
            let is_full = header.parameters.len() == HEADER_PARAMETERS_MAX;
            if !is_sound || is_full || header.find(name).is_some() {
                return None;
            }
            header.parameters.push((name, value));
        }
    }

    fn find(&self, name: &str) -> Option<Cow<'a, str>> {
        let found = self.parameters.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.clone())
    }
}

/// Reads up to the closing quote (the opening one was read), and returns it with what follows the
/// semicolon. Browsers and others of today send a backslash as it is, older clients put one before
/// a quote: a quote after a backslash is the last one only if nothing else could follow it.
fn quoted_value(text: &str) -> Option<(Cow<'static, str>, &str)> {
    let mut value = String::new();
    for (place, char) in text.char_indices() {
        if char == '"' {
            let rest = text[place + 1..].trim_start_matches([' ', '\t']);
            if rest.is_empty() {
                return Some((Cow::Owned(value), rest));
            }
            if let Some(rest) = rest.strip_prefix(';') {
                return Some((Cow::Owned(value), rest));
            }
            value.pop().filter(|before| *before == '\\')?;
        }
        value.push(char);
    }
    None
}

fn malformed(detail: impl Into<Cow<'static, str>>) -> Failure {
    Failure::BadRequest { detail: detail.into() }
}

fn unsupported(detail: &'static str) -> Failure {
    Failure::UnsupportedMediaType { detail: detail.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TYPE: &str = "multipart/form-data; boundary=b";

    fn told(failure: Failure) -> String {
        match failure {
            Failure::BadRequest { detail } | Failure::UnsupportedMediaType { detail } => {
                detail.into_owned()
            }
            other => panic!("{other:?}"),
        }
    }

    fn read(body: &str) -> Result<Vec<(String, String)>, String> {
        let pair = |part: Part<'_>| {
            (part.name.into_owned(), String::from_utf8_lossy(part.bytes).into_owned())
        };
        let parts = parts(TYPE, body.as_bytes());
        parts.map(|parts| parts.into_iter().map(pair).collect()).map_err(told)
    }

    /// The only part of a form whose part has this header.
    fn with_header(header: &str) -> Result<(String, String), String> {
        let all = read(&format!("--b\r\n{header}\r\n\r\nx\r\n--b--"))?;
        assert_eq!(all.len(), 1, "{header}");
        Ok(all.into_iter().next().expect("one"))
    }

    fn pair(name: &str, content: &str) -> (String, String) {
        (name.to_owned(), content.to_owned())
    }

    const A: &str = "Content-Disposition: form-data; name=\"a\"";

    #[test]
    fn parts_are_what_is_between_the_boundaries() {
        let body = format!("--b\r\n{A}\r\n\r\n1\r\n\r\n--b\r\n{A}\r\nX-y: z\r\n\r\n\r\n--b--\r\n");
        assert_eq!(read(&body), Ok(vec![pair("a", "1\r\n"), pair("a", "")]));
        assert_eq!(read("--b--"), Ok(vec![]));
        assert_eq!(read("--b--\r\n"), Ok(vec![]));
        // An empty part whose header ends with the line end of the boundary.
        assert_eq!(read(&format!("--b\r\n{A}\r\n\r\n--b--")), Ok(vec![pair("a", "")]));
    }

    #[test]
    fn preamble_epilogue_and_padding_are_dropped() {
        let body = format!("for people --b\r\n--b \t\r\n{A}\r\n\r\n1\r\n--b-- \r\n--b\r\nmore");
        assert_eq!(read(&body), Ok(vec![pair("a", "1")]));
    }

    #[test]
    fn what_only_begins_like_a_boundary_is_content() {
        for content in
            ["\r\n--bc\r\n", "\r\n--b-\r\n", "\n--b\r\n", "\r--b--", "\r\n--b--x", "\r\n --b"]
        {
            let body = format!("--b\r\n{A}\r\n\r\n{content}\r\n--b--");
            assert_eq!(read(&body), Ok(vec![pair("a", content)]), "{content:?}");
        }
    }

    #[test]
    fn a_form_that_is_none_is_refused_by_what_is_wrong_with_it() {
        let part = format!("{A}\r\n\r\n1\r\n");
        let many = format!("--b\r\n{part}").repeat(PARTS_MAX + 1);
        let long = "x".repeat(HEADER_MAX);
        for (body, why) in [
            ("nothing".to_owned(), "no part of the form begins"),
            (format!("--c\r\n{part}--c--"), "no part of the form begins"),
            (format!("--b\n{A}\n\n1\n--b--"), "must end with CR LF"),
            (format!("--b\r\n{part}"), "breaks off"),
            (format!("--b\r\n{part}--b"), "breaks off"),
            (format!("--b\r\n{part}--b\r\n{A}\r\n\r\n1"), "breaks off"),
            ("--b\r\n".to_owned(), "breaks off"),
            (format!("{many}--b--"), "more than 1000 parts"),
            ("--b\r\n\r\n1\r\n--b--".to_owned(), "has no `Content-Disposition"),
            (format!("--b\r\n{A}\r\n--b--"), "does not end with an empty line"),
            (format!("--b\r\n{A}\r\nX: {long}\r\n\r\n1\r\n--b--"), "larger than 8 KiB"),
            (format!("--b\r\n{A}\r\n{}\r\n1\r\n--b--", "X: 1\r\n".repeat(33)), "32 fields"),
        ] {
            let said = read(&body).expect_err(why);
            assert!(said.contains(why), "{why}: {said}");
        }
    }

    #[test]
    fn a_name_is_read_as_browsers_and_curl_write_it() {
        let named = |parameters: &str| {
            with_header(&format!("content-disposition: FORM-DATA; {parameters}"))
                .map(|(name, _)| name)
        };
        for (parameters, name) in [
            ("name=a", "a"),
            ("name=\"a b\"", "a b"),
            ("filename=\"x; name=y\"; NAME = \"a\"", "a"),
            ("name=\"a%22b%0D%0Ac\"", "a\"b\r\nc"),
            ("name=\"%41\"", "%41"),
            (r#"name="a\"b""#, r#"a"b"#),
            (r#"name="\"; filename="a\""#, r"\"),
            (r#"name="a\\b""#, r"a\\b"),
            (r#"name="a\b""#, r"a\b"),
            ("name=\"ä€\"; filename=\"日本.txt\"", "ä€"),
            ("name=\"\"", ""),
            ("name=a; filename*=UTF-8''%e2%82%ac", "a"),
        ] {
            assert_eq!(named(parameters), Ok(name.to_owned()), "{parameters}");
        }
        for parameters in
            ["", "x=y", "name", "name=\"a", "name=\"a\"b", "name=a; name=b", "name*=UTF-8''a", "=a"]
        {
            assert!(named(parameters).is_err(), "{parameters}");
        }
        let many = "x=1;".repeat(1000);
        assert!(named(&format!("name=a;{many}")).is_err());
    }

    #[test]
    fn a_part_that_is_not_plain_is_refused() {
        for (field, why) in [
            ("Content-Transfer-Encoding: base64", "as they are"),
            ("Content-Transfer-Encoding: quoted-printable", "as they are"),
            ("Content-Type: multipart/mixed; boundary=c", "parts of its own"),
            ("Content-Type: text/plain; charset", "cannot be read"),
            ("content-disposition: form-data; name=b", "two fields"),
            ("no colon", "no `Name: value`"),
            (": x", "no `Name: value`"),
            ("X y: z", "no `Name: value`"),
            (" folded: x", "no `Name: value`"),
            ("X: a\nb", "no `Name: value`"),
            ("X: a\rb", "no `Name: value`"),
            ("X: a\0b", "no `Name: value`"),
        ] {
            let said = with_header(&format!("{A}\r\n{field}")).expect_err(field);
            assert!(said.contains(why), "{field}: {said}");
        }
        for field in [
            "Content-Transfer-Encoding: Binary",
            "Content-Type: text/plain;charset=\"UTF-8\"",
            "X:",
        ] {
            assert_eq!(with_header(&format!("{A}\r\n{field}")), Ok(pair("a", "x")));
        }
        let attachment = "Content-Disposition: attachment; name=a";
        assert!(with_header(attachment).is_err());
        let page = format!("{A}; filename=a.mhtml\r\nContent-Type: multipart/related; boundary=c");
        assert_eq!(with_header(&page), Ok(pair("a", "x")), "a file may be anything");
    }

    #[test]
    fn only_a_content_type_with_a_sound_boundary_is_one() {
        for text in [
            "multipart/form-data; boundary=b",
            "multipart/form-data;charset=utf-8; Boundary=\"b\"",
            "multipart/form-data ; boundary=b ;",
        ] {
            assert!(parts(text, b"--b--").is_ok(), "{text}");
        }
        let long = format!("multipart/form-data; boundary={}", "b".repeat(71));
        for text in [
            "multipart/form-data",
            "multipart/form-data; boundary=",
            "multipart/form-data; boundary=\"b \"",
            "multipart/form-data; boundary=\"b",
            "multipart/form-data; boundary=b; boundary=b",
            "multipart/form-data; boundary=ä",
            &long,
        ] {
            assert!(parts(text, b"--b--").is_err(), "{text}");
        }
    }

    #[test]
    fn a_file_that_was_not_chosen_is_told_from_an_empty_one() {
        let left_out = |name: &str| {
            let body = format!("--b\r\n{A}; filename={name}\r\n\r\n\r\n--b--");
            parts(TYPE, body.as_bytes()).expect("a form")[0].is_left_out
        };
        assert!(left_out("\"\"") && !left_out("\"x\""));
    }

    proptest::proptest! {
        #[test]
        fn a_part_is_exactly_its_bytes(
            content in proptest::collection::vec(proptest::sample::select(b"\r\n-b\0\xffa \"".as_slice()), 0..60),
            after in "[\r\n-b a]{0,20}",
        ) {
            let ends_early = content.windows(5).any(|it| it == b"\r\n--b") || content.starts_with(b"--b");
            proptest::prop_assume!(!ends_early);
            let head = format!("--b\r\n{A}\r\n\r\n");
            let body = [head.as_bytes(), &content, b"\r\n--b--\r\n", after.as_bytes()].concat();
            let parts = parts(TYPE, &body).expect("a form");
            proptest::prop_assert_eq!((parts.len(), parts[0].bytes), (1, &content[..]));
        }

        #[test]
        fn any_bytes_are_read_or_refused(
            body in proptest::collection::vec(proptest::sample::select(b"\r\n-b:;=\"\\a \xff".as_slice()), 0..80),
        ) {
            let body = [b"--b\r\nContent-Disposition: form-data; name=", &body[..]].concat();
            if let Ok(parts) = parts(TYPE, &body) {
                proptest::prop_assert!(parts.len() <= body.len() / 5);
            }
        }
    }
}
