//! Under which key servers look for the answer to a question.
//!
//! Pure. The key has only a hash of the question, so a reader of a value compares the whole question.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use crate::config::{PoolSettings, RouteAction, RouteSettings};

/// The longest question that is looked for, in bytes.
pub const QUESTION_MAX: usize = 256 << 10;

/// Where servers share the answers of one route. It is the same for all that run the same program in
/// the same way; a change of either makes another one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SharedScope(Arc<str>);

/// Where servers look for the answer to one question.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SharedKey {
    /// The name of the answer.
    pub answer: String,
    /// What tells the question from others of its scope.
    pub question: Bytes,
}

/// The name of one run, which no other run has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RunToken(pub u128);

impl SharedScope {
    /// The scope of a route that asks this pool; `None` if it keeps nothing. `edition` counts how many
    /// times the workers of the pool were replaced without another configuration.
    pub fn new(pool: &PoolSettings, edition: u64, route: &RouteSettings) -> Option<Self> {
        let RouteAction::Call(call) = &route.action else { return None };
        let cache = call.cache?;
        let PoolSettings { name, program, .. } = pool;
        // What is run, in words that are the same on another machine.
        let launch = &program.launch;
        let command = (&program.python, (&launch.name, &launch.arguments));
        let command = match command {
            (Some(python), _) => format!("{:?}", (&python.target, &python.functions)),
            (None, command) => format!("{command:?}"),
        };
        let whole = (
            env!("CARGO_PKG_VERSION"),
            (&*route.label, &call.send, cache),
            (name, &program.wire, &program.version, edition),
            command,
        );
        Some(Self(hash(format!("{whole:?}").as_bytes()).into()))
    }

    /// The key of a question; `None` if it is too long to be looked for.
    pub fn key(&self, question: &Bytes) -> Option<SharedKey> {
        if question.len() > QUESTION_MAX {
            return None;
        }
        // The braces keep all keys of a scope in one part of a cluster.
        let answer = format!("hp1:{{{}}}:{}", self.0, hash(question));
        Some(SharedKey { answer, question: question.clone() })
    }
}

impl SharedKey {
    /// The name of what says that a run is under way.
    pub fn lease(&self) -> String {
        format!("{}:run", self.answer)
    }

    /// The name of what is told of the end of this run.
    pub fn note(&self, run: RunToken) -> String {
        format!("{}:{run}", self.answer)
    }
}

impl fmt::Display for RunToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl RunToken {
    /// Reads what [`Display`](fmt::Display) wrote.
    pub fn read(text: &[u8]) -> Option<Self> {
        let is_hex = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte);
        let text = std::str::from_utf8(text).ok()?;
        let is_token = text.len() == 32 && text.bytes().all(|byte| is_hex(&byte));
        is_token.then(|| u128::from_str_radix(text, 16).ok().map(Self)).flatten()
    }
}

/// 128 bits of SHA-256: nobody can make two questions with the same.
fn hash(bytes: &[u8]) -> String {
    let mut short = [0; 16];
    short.copy_from_slice(&Sha256::digest(bytes)[..16]);
    format!("{:032x}", u128::from_be_bytes(short))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_as_it_is_written() {
        for token in [RunToken(0), RunToken(u128::MAX), RunToken(0xabc)] {
            assert_eq!(RunToken::read(token.to_string().as_bytes()), Some(token));
        }
        for text in ["", "abc", &"A".repeat(32), &"+".repeat(32), &"0".repeat(33)] {
            assert_eq!(RunToken::read(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_key_names_its_scope_in_braces_and_not_its_question() {
        let scope = SharedScope("p".into());
        let key = scope.key(&"secret".into()).expect("short enough");
        assert_eq!(key.answer, "hp1:{p}:2bb80d537b1da3e38bd30361aa855686");
        assert_eq!(key.lease(), format!("{}:run", key.answer));
        assert_eq!(scope.key(&vec![0; QUESTION_MAX + 1].into()), None);
    }
}
