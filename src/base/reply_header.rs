//! The header that a program may give its answer (`reply = "http"`).
//!
//! Pure: nothing in it can change the connection or smuggle in a header or a second response.

/// Headers that the program must not set: those that frame the response or belong to the
/// connection (RFC 9110, 7.6.1), and the one by which callers tell our failures from the program's.
const RESERVED_HEADERS: [&str; 9] = [
    "connection",
    "content-length",
    "httpipe-failure",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// The most headers of one answer.
pub const HEADERS_MAX: usize = 100;
/// The most bytes of all their names and values together.
pub const HEADER_BYTES_MAX: usize = 32 * 1024;

/// Checks the header of an answer, and makes its names lower-case.
///
/// # Errors
///
/// What is wrong with it, without its values.
pub fn check_headers(headers: Vec<(String, String)>) -> Result<Vec<(String, String)>, String> {
    let bytes: usize = headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    if headers.len() > HEADERS_MAX || bytes > HEADER_BYTES_MAX {
        return Err("the answer has too many headers".to_owned());
    }
    headers.into_iter().map(|(name, value)| check_header(&name, value)).collect()
}

fn check_header(name: &str, value: String) -> Result<(String, String), String> {
    if name.is_empty() || !name.bytes().all(is_name_byte) {
        return Err("the answer has a header name that is not valid".to_owned());
    }
    let name = name.to_ascii_lowercase();
    if RESERVED_HEADERS.contains(&name.as_str()) {
        return Err(format!("the answer sets the header `{name}`, which only the server may set"));
    }
    // HTAB is the only control character that a value may hold; CR and LF would end it.
    if value.bytes().any(|byte| byte != b'\t' && (byte < 0x20 || byte == 0x7f)) {
        return Err("a header of the answer holds a control character".to_owned());
    }
    Ok((name, value))
}

/// `token` of RFC 9110.
fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
