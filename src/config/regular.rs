//! Reads files that something else may have put in the place of what is wanted.

use std::io::Read as _;
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use super::problem::reason;

/// Reads a regular file of at most `most` bytes. Others are refused without being read: a pipe may
/// have no end, or no beginning.
///
/// # Errors
///
/// Why it cannot be read, in words.
pub fn read_regular(path: &Path, most: u64) -> Result<Vec<u8>, String> {
    // Opening a pipe would wait for its writer.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file =
        rustix::fs::open(path, flags, Mode::empty()).map_err(|error| reason(&error.into()))?;
    let file = std::fs::File::from(file);
    let kind = file.metadata().map_err(|error| reason(&error))?.file_type();
    if !kind.is_file() {
        return Err("it is not a regular file".to_owned());
    }
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes).map_err(|error| reason(&error))?;
    if bytes.len() as u64 > most {
        return Err(format!("it has more than {most} bytes"));
    }
    Ok(bytes)
}
