//! Reads the items of a file or of stdin, one after the other.

use std::fs::{File, Metadata};
use std::io::{self, BufRead, BufReader};
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use bytes::Bytes;
use tokio::sync::mpsc::Sender;

use super::budget::Budget;
use super::journal::{Chain, Checkpoint, Hash};

/// How much is read at once.
const READ: usize = 256 << 10;

/// What ends an item, and an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Separator {
    /// A line end. A carriage return before it does not belong to the item.
    Line,
    /// A NUL.
    Nul,
}

impl Separator {
    /// Returns the byte.
    pub fn byte(self) -> u8 {
        match self {
            Self::Line => b'\n',
            Self::Nul => 0,
        }
    }

    fn without_return(self, text: &[u8]) -> &[u8] {
        match self {
            Self::Line => text.strip_suffix(b"\r").unwrap_or(text),
            Self::Nul => text,
        }
    }
}

/// One item of the input.
#[derive(Clone, Debug)]
pub(super) struct Item {
    /// Its place, from 0.
    pub(super) number: u64,
    /// Its text; `None` if it is longer than an item may be.
    pub(super) text: Option<Bytes>,
    /// What comes after it begins at this byte of the input.
    pub(super) end: u64,
    /// The hash of all items up to it.
    pub(super) hash: Hash,
}

impl Item {
    /// Returns how many bytes it holds.
    pub(super) fn size(&self) -> usize {
        self.text.as_ref().map_or(0, Bytes::len)
    }
}

/// Which regular file a file is, whatever its path: device and number.
pub type FileId = (u64, u64);

/// Returns which regular file this is; `None`: it is a pipe or a device.
pub(super) fn id_of(file: &File) -> Option<FileId> {
    let about = file.metadata().ok().filter(Metadata::is_file)?;
    Some((about.dev(), about.ino()))
}

/// Items that are still to be read.
pub struct ItemInput {
    reader: Box<dyn BufRead + Send>,
    separator: Separator,
    /// Most bytes of an item.
    most: usize,
    count: u64,
    position: u64,
    length: Option<u64>,
    id: Option<FileId>,
    chain: Chain,
}

impl ItemInput {
    /// The items of this file, or of stdin.
    ///
    /// # Errors
    ///
    /// The file cannot be opened.
    pub fn open(path: Option<&Path>, separator: Separator, most: usize) -> io::Result<Self> {
        let (reader, id, length): (Box<dyn BufRead + Send>, _, _) = match path {
            None => {
                let own = File::from(io::stdin().as_fd().try_clone_to_owned()?);
                (Box::new(BufReader::with_capacity(READ, io::stdin())), id_of(&own), None)
            }
            Some(path) => {
                let file = File::open(path)?;
                let about = file.metadata()?;
                if about.is_dir() {
                    return Err(io::ErrorKind::IsADirectory.into());
                }
                let (id, length) = (id_of(&file), about.is_file().then_some(about.len()));
                (Box::new(BufReader::with_capacity(READ, file)), id, length)
            }
        };
        Ok(Self { length, id, ..Self::of(reader, separator, most) })
    }

    fn of(reader: Box<dyn BufRead + Send>, separator: Separator, most: usize) -> Self {
        let chain = Chain::default();
        Self { reader, separator, most, count: 0, position: 0, length: None, id: None, chain }
    }

    /// Returns which regular file it is; `None`: it is a pipe or a device.
    pub fn id(&self) -> Option<FileId> {
        self.id
    }

    /// Returns how many bytes are left to read, if that is known.
    pub(super) fn left(&self) -> Option<u64> {
        Some(self.length?.saturating_sub(self.position))
    }

    /// Returns at which byte of the input the next item begins.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Passes over the items that a checkpoint says were answered. Returns false if they are not
    /// those that it was made of.
    ///
    /// # Errors
    ///
    /// The input cannot be read.
    pub fn skip(&mut self, checkpoint: &Checkpoint) -> io::Result<bool> {
        while self.count < checkpoint.inputs {
            if self.next()?.is_none() {
                return Ok(false);
            }
        }
        Ok(self.chain.hash() == checkpoint.input_hash)
    }

    /// Reads the next item; `None` at the end.
    fn next(&mut self) -> io::Result<Option<Item>> {
        let mut text = Vec::new();
        let mut length = 0;
        loop {
            let room = match self.reader.fill_buf() {
                Ok(room) => room,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let end = memchr::memchr(self.separator.byte(), room);
            let piece = &room[..end.unwrap_or(room.len())];
            let is_over = end.is_some() || room.is_empty();
            let wanted = piece.len().min((self.most + 1).saturating_sub(text.len()));
            text.extend_from_slice(&piece[..wanted]);
            length += piece.len();
            let used = piece.len() + usize::from(end.is_some());
            self.reader.consume(used);
            self.position += used as u64;
            if end.is_none() && is_over && length == 0 {
                return Ok(None);
            }
            if is_over {
                break;
            }
        }
        self.chain = self.chain.with(&text);
        let is_whole = length == text.len();
        let text = self.separator.without_return(&text);
        let is_short = is_whole && text.len() <= self.most;
        let text = is_short.then(|| Bytes::copy_from_slice(text));
        let item = Item { number: self.count, text, end: self.position, hash: self.chain.hash() };
        self.count += 1;
        Ok(Some(item))
    }

    /// Reads to the end, each item once there is room for it.
    pub(super) fn feed(mut self, budget: &Budget, items: &Sender<Item>) -> io::Result<()> {
        while let Some(item) = self.next()? {
            if !budget.take(item.size()) || items.blocking_send(item).is_err() {
                break;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(text: &'static [u8], separator: Separator) -> ItemInput {
        // Items span several reads.
        let reader = BufReader::with_capacity(3, text);
        ItemInput::of(Box::new(reader), separator, 5)
    }

    fn read(text: &'static [u8], separator: Separator) -> Vec<Option<String>> {
        let mut input = input(text, separator);
        let next = || input.next().expect("it is in memory");
        let text = |item: Item| item.text.map(|text| String::from_utf8_lossy(&text).into_owned());
        std::iter::from_fn(next).map(text).collect()
    }

    fn texts(texts: &[&str]) -> Vec<Option<String>> {
        texts.iter().map(|text| Some((*text).to_owned())).collect()
    }

    #[test]
    fn items_end_with_a_line_end_a_nul_or_the_input() {
        assert_eq!(read(b"", Separator::Line), []);
        assert_eq!(read(b"a\n", Separator::Line), texts(&["a"]));
        assert_eq!(read(b"\nabcde\r\n\nb", Separator::Line), texts(&["", "abcde", "", "b"]));
        assert_eq!(read(b"ab\r\n\nb\r", Separator::Line), texts(&["ab", "", "b"]));
        assert_eq!(read(b"a\nb\0\0c", Separator::Nul), texts(&["a\nb", "", "c"]));
    }

    #[test]
    fn what_is_too_long_is_passed_over() {
        let all = read(b"abcdefghijklmnop\nabcdef\nabcde\n", Separator::Line);
        assert_eq!(all, [None, None, Some("abcde".to_owned())]);
    }

    #[test]
    fn what_is_too_long_has_the_same_hash_however_it_is_read() {
        let text = b"abcdefghijklmnop\nabc\n";
        let hash = |at_once| {
            let reader = BufReader::with_capacity(at_once, &text[..]);
            let mut input = ItemInput::of(Box::new(reader), Separator::Line, 5);
            input.next().expect("it is in memory").expect("an item").hash
        };
        for at_once in [1, 2, 3, 7] {
            assert_eq!(hash(at_once), hash(100), "{at_once}");
        }
    }

    #[test]
    fn what_was_answered_is_passed_over_if_it_is_the_same() {
        let text = b"a\nb\nc\n";
        let mut first = input(text, Separator::Line);
        first.next().expect("it is in memory");
        let second = first.next().expect("it is in memory").expect("b");
        assert_eq!(second.end, 4);
        let checkpoint =
            Checkpoint { inputs: 2, input_hash: second.hash, ..Checkpoint::begin(Hash::default()) };
        let mut again = input(text, Separator::Line);
        assert!(again.skip(&checkpoint).expect("it is in memory"));
        let third = again.next().expect("it is in memory").expect("c");
        assert_eq!((third.number, third.text.as_deref()), (2, Some(&b"c"[..])));
        for other in [&b"a\nB\nc\n"[..], b"a\n", b"ab\n\nc\n"] {
            let is_same = input(other, Separator::Line).skip(&checkpoint);
            assert!(!is_same.expect("it is in memory"));
        }
    }
}
