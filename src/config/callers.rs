//! Who may ask: what the file says, and the keys file that it names.
//!
//! A keys file is read again while the server runs, so all that is
//! wrong with it is said in words that need no configuration around them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::num::{NonZeroU8, NonZeroU32};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use data_encoding::HEXLOWER_PERMISSIVE;
use serde::Deserialize;
use toml::Spanned;

use super::paths::path_at;
use super::problem::Problem;
use super::regular::read_regular;
use super::stamp::Stamps;
use super::tree::{KeyPath, Places};
use crate::base::{NoRate, Rate};

/// The largest keys file that is read, in bytes: about 100,000 keys.
const FILE_MAX: u64 = 16 << 20;
/// The longest DNS name.
const DNS_NAME_MAX: usize = 253;
/// The longest name of a key.
const NAME_MAX: usize = 64;
/// How an entry begins that says which hash it is.
const SHA256: &str = "sha256:";

/// Who may ask, and what those may do who show no key.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CallersSettings {
    /// Who may ask.
    pub who: WhoMayAsk,
    /// What each address may do that shows no key; `None`: nothing where there are keys, everything
    /// where there are none.
    pub anonymous: Option<AnonymousSettings>,
    /// Whose `X-Forwarded-For` counts.
    pub trust: Trust,
}

/// Who may ask.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum WhoMayAsk {
    /// The operator has not said. Only this machine can reach the server.
    #[default]
    Unsaid,
    /// Anyone, wherever they are.
    Anyone,
    /// Those who have a key.
    Keys(KeysSettings),
}

/// The keys of callers, and where they were read.
#[derive(Clone, Debug, PartialEq)]
pub struct KeysSettings {
    /// The file; the path is absolute.
    pub path: PathBuf,
    /// What the file looked like just before it was read.
    pub stamps: Stamps,
    /// What it holds.
    pub keys: Arc<KeyList>,
}

/// What each address may do that shows no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnonymousSettings {
    /// How often it may ask.
    pub rate: Option<Rate>,
    /// How many calls it may have at once.
    pub calls: Option<NonZeroU32>,
}

/// The peers whose word counts about for whom they ask.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    /// Networks, each as its first address and the length of its prefix.
    pub networks: Vec<(IpAddr, u8)>,
    /// Who connects by a socket file.
    pub unix: bool,
}

impl Trust {
    /// Returns true if it trusts nobody.
    pub fn is_empty(&self) -> bool {
        self.networks.is_empty() && !self.unix
    }

    /// Returns true if it trusts who connects from this address; `None`: by a socket file.
    pub fn has(&self, address: Option<IpAddr>) -> bool {
        let Some(address) = address else { return self.unix };
        self.networks.iter().any(|(network, length)| match (network, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                (network.to_bits() ^ address.to_bits()).leading_zeros() >= u32::from(*length)
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                (network.to_bits() ^ address.to_bits()).leading_zeros() >= u32::from(*length)
            }
            _ => false,
        })
    }
}

/// The SHA-256 of a key.
#[derive(Clone, Copy, Debug)]
pub struct KeyHash(pub [u8; 32]);

impl PartialEq for KeyHash {
    /// Looks at all bytes, wherever they differ.
    fn eq(&self, other: &Self) -> bool {
        let pairs = self.0.iter().zip(&other.0);
        pairs.fold(0, |different, (one, other)| std::hint::black_box(different | (one ^ other)))
            == 0
    }
}

impl Eq for KeyHash {}

impl Hash for KeyHash {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl FromStr for KeyHash {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let digits = text.strip_prefix(SHA256).ok_or(())?;
        let bytes = HEXLOWER_PERMISSIVE.decode(digits.as_bytes()).map_err(drop)?;
        bytes.try_into().map(Self).map_err(drop)
    }
}

impl fmt::Display for KeyHash {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{SHA256}{}", HEXLOWER_PERMISSIVE.encode(&self.0))
    }
}

/// One entry of a keys file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyEntry {
    /// Whose key it is: what the log and the metrics call them.
    pub name: Arc<str>,
    /// One hash, or two while a key is replaced by another; none where there are `certificates`.
    pub hashes: Vec<KeyHash>,
    /// DNS names, in lower case. A certificate of a caller that has one of them is as good as a key.
    pub certificates: Vec<Box<str>>,
    /// The routes it is for, each as method and path; `None`: all.
    pub routes: Option<HashSet<Box<str>>>,
    /// How often its holder may ask.
    pub rate: Option<Rate>,
    /// How many calls its holder may have at once.
    pub calls: Option<NonZeroU32>,
    /// How many shares of a busy pool it has.
    pub weight: NonZeroU8,
}

/// What a keys file holds; at least one entry, and no hash and no certificate twice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyList(pub Vec<KeyEntry>);

/// Why a keys file cannot be used, in words that name the line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct BadKeys {
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub hint: &'static str,
}

impl BadKeys {
    /// What a name may be.
    pub const NAME_HINT: &str = "a name has up to 64 letters, digits and `.`, `_`, `-`, `+`, `@`";
    /// What a route is called.
    pub const ROUTE_HINT: &str = "write method and path as in `match`: \"GET /fib\"";
}

/// What an entry may say.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct EntryText {
    hash: Option<OneOrMore>,
    cert: Option<OneOrMore>,
    routes: Option<Vec<String>>,
    rate: Option<String>,
    calls: Option<NonZeroU32>,
    weight: Option<NonZeroU8>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl OneOrMore {
    /// Returns the texts; at least one and at most two.
    fn texts(this: Option<Self>, what: &str) -> Result<Vec<String>, (String, &'static str)> {
        let texts = match this {
            None => return Ok(Vec::new()),
            Some(Self::One(text)) => vec![text],
            Some(Self::More(texts)) => texts,
        };
        if (1..=2).contains(&texts.len()) {
            return Ok(texts);
        }
        let why = format!("has {} {what}", texts.len());
        Err((why, "write one, or two while one replaces the other"))
    }
}

/// What to do if there is no key.
const MAKE_ONE: &str = "make a key: `httpipe key new NAME`";

/// Reads the keys file that is written as `text`. `base` is the absolute directory of the
/// configuration file.
///
/// # Errors
///
/// Why it cannot be used.
pub fn resolve(text: &str, places: &Places, base: &Path) -> Result<KeysSettings, Problem> {
    let place = places.value(&KeyPath::of(&["callers"]));
    let path = path_at(&place, text, base);
    match KeysSettings::read(path) {
        Ok(keys) => Ok(keys),
        Err(bad) => {
            let message =
                format!("the keys in `{}` cannot be used: {}", text.escape_debug(), bad.what);
            Err(Problem::new(place, message).hint(bad.hint))
        }
    }
}

impl KeysSettings {
    /// Reads a keys file.
    ///
    /// # Errors
    ///
    /// Why it cannot be used.
    pub fn read(path: PathBuf) -> Result<Self, BadKeys> {
        // Before it is read: a change while it is read is then seen as one.
        let stamps = Stamps::of_file(&path);
        let keys = Arc::new(KeyList::read(&path)?);
        Ok(Self { path, stamps, keys })
    }
}

impl KeyList {
    /// Reads a keys file.
    ///
    /// # Errors
    ///
    /// Why it cannot be used.
    fn read(path: &Path) -> Result<Self, BadKeys> {
        let bytes =
            read_regular(path, FILE_MAX).map_err(|what| BadKeys { what, hint: MAKE_ONE })?;
        let text = String::from_utf8(bytes).map_err(|_| BadKeys {
            what: "it is not UTF-8".to_owned(),
            hint: "save the file as UTF-8",
        })?;
        Self::parse(&text)
    }

    /// Reads the text of a keys file.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong.
    pub fn parse(text: &str) -> Result<Self, BadKeys> {
        let line = |at: usize| 1 + memchr::memchr_iter(b'\n', &text.as_bytes()[..at]).count();
        let at = |at: usize, what: &str| format!("line {}: {what}", line(at));
        let table: BTreeMap<Spanned<String>, EntryText> =
            toml::from_str(text).map_err(|error| {
                let place = error.span().map_or(0, |span| span.start);
                let what = at(place.min(text.len()), error.message().trim());
                BadKeys {
                    what,
                    hint: "an entry is `[NAME]` and `hash = \"sha256:…\"`; it may have `cert`, `routes`, \
                                   `rate`, `calls` and `weight`",
                }
            })?;
        let mut entries = Vec::new();
        let (mut owners, mut certified) = (HashMap::new(), HashMap::new());
        for (name, entry) in table {
            let place = name.span().start;
            let name: Arc<str> = name.into_inner().into();
            let bad = |what: String, hint| BadKeys {
                what: at(place, &format!("`{}` {what}", name.escape_debug())),
                hint,
            };
            if !is_name(&name) {
                return Err(bad("is not the name of a key".to_owned(), BadKeys::NAME_HINT));
            }
            let entry = entry.read(&name).map_err(|(what, hint)| bad(what, hint))?;
            for hash in &entry.hashes {
                if let Some(owner) = owners.insert(*hash, Arc::clone(&name)) {
                    let what = format!("has a hash that `{owner}` has already");
                    return Err(bad(what, "give each its own key: `httpipe key new NAME`"));
                }
            }
            for certificate in &entry.certificates {
                if let Some(owner) = certified.insert(certificate.clone(), Arc::clone(&name)) {
                    let what =
                        format!("has the certificate `{certificate}`, which `{owner}` has already");
                    return Err(bad(what, "give each its own certificate"));
                }
            }
            entries.push(entry);
        }
        if entries.is_empty() {
            return Err(BadKeys { what: "it has no keys".to_owned(), hint: MAKE_ONE });
        }
        Ok(Self(entries))
    }

    /// Checks that callers show certificates if an entry is about one. `signers`: they do.
    ///
    /// # Errors
    ///
    /// They do not.
    pub fn check_certificates(&self, signers: bool) -> Result<(), BadKeys> {
        match self.0.iter().find(|entry| !entry.certificates.is_empty()) {
            Some(entry) if !signers => {
                let what = format!("`{}` has a `cert`, but callers show none", entry.name);
                let hint = "name those who sign for callers: `tls = { …, clients = \"ca.pem\" }`";
                Err(BadKeys { what, hint })
            }
            _ => Ok(()),
        }
    }
}

impl EntryText {
    fn read(self, name: &Arc<str>) -> Result<KeyEntry, (String, &'static str)> {
        let texts = OneOrMore::texts(self.hash, "hashes")?;
        let names = OneOrMore::texts(self.cert, "certificates")?;
        if texts.is_empty() && names.is_empty() {
            let hint = "write the `hash` that `httpipe key new` wrote, or a DNS name as `cert`";
            return Err(("has no `hash`".to_owned(), hint));
        }
        let certificates = names.iter().map(|name| dns_name(name)).collect::<Result<_, _>>();
        let certificates = certificates.map_err(|name| {
            let hint = "write a DNS name that its certificate has: \"alice.example\"";
            (format!("has a `cert` `{}` that is no DNS name", name.escape_debug()), hint)
        })?;
        let hashes = texts.iter().map(|text| text.parse()).collect::<Result<Vec<KeyHash>, ()>>();
        // What was written instead may be the key itself.
        let hashes = hashes.map_err(|()| {
            let hint = "write the `hash` that `httpipe key new` wrote: \"sha256:\" and 64 digits";
            ("has a `hash` that is none".to_owned(), hint)
        })?;
        let rate = self.rate.as_deref().map(str::parse).transpose();
        let rate =
            rate.map_err(|error: NoRate| (format!("has a `rate`: {error}"), NoRate::HINT))?;
        let routes = self.routes.map(|routes| {
            routes.iter().map(|text| route_name(text).map(Into::into)).collect::<Result<_, _>>()
        });
        let routes = routes.transpose().map_err(|text: String| {
            (format!("has a route `{}` that is none", text.escape_debug()), BadKeys::ROUTE_HINT)
        })?;
        let weight = self.weight.unwrap_or(NonZeroU8::MIN);
        let (name, calls) = (Arc::clone(name), self.calls);
        Ok(KeyEntry { name, hashes, certificates, routes, rate, calls, weight })
    }
}

/// Returns true if a key may be called so. The name stands in log lines, in metrics and before the
/// colon of `Basic`.
pub fn is_name(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"._-+@".contains(&byte);
    (1..=NAME_MAX).contains(&text.len()) && text.bytes().all(is_part)
}

/// Returns a DNS name in lower case. If it is not one, or has a `*`, returns the text.
fn dns_name(text: &str) -> Result<Box<str>, String> {
    let is_label = |label: &str| {
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        (1..=63).contains(&label.len()) && label.bytes().all(is_part)
    };
    if text.len() > DNS_NAME_MAX || !text.split('.').all(is_label) {
        return Err(text.to_owned());
    }
    Ok(text.to_ascii_lowercase().into())
}

/// Returns the method and the path of a `match`, without its parameters: what a keys file calls a
/// route. If it is not one, returns the text.
pub fn route_name(text: &str) -> Result<String, String> {
    let mut words = text.split_whitespace();
    let (Some(method), Some(path), None) = (words.next(), words.next(), words.next()) else {
        return Err(text.to_owned());
    };
    let is_method = !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_uppercase());
    if !is_method || !path.starts_with('/') {
        return Err(text.to_owned());
    }
    let path = path.split('?').next().unwrap_or_default();
    Ok(format!("{method} {path}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = "[alice]\nhash = \"sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\"\n\
        routes = [\"GET /fib\"]\nrate = \"100/1m\"\ncalls = 4\n[bob]\nweight = 2\n\
        hash = [\"sha256:1111111111111111111111111111111111111111111111111111111111111111\"]\n";

    #[test]
    fn an_entry_has_a_key_or_a_certificate_and_each_has_one_owner() {
        let read = |text: &str| KeyList::parse(text).map(|mut list| list.0.remove(0));
        let alice = read("[alice]\ncert = \"Alice.Example\"\n").expect("good");
        assert_eq!((alice.certificates, alice.hashes), (vec!["alice.example".into()], vec![]));
        let both = GOOD.replace("routes", "cert = [\"a.example\", \"b.example\"]\nroutes");
        assert_eq!(read(&both).expect("good").certificates.len(), 2);
        for (text, expected) in [
            ("[a]\nrate = \"1/1s\"\n", "line 1: `a` has no `hash`"),
            ("[a]\ncert = []\n", "`a` has 0 certificates"),
            ("[a]\ncert = \"*.example\"\n", "that is no DNS name"),
            ("[a]\ncert = \"a b\"\n", "that is no DNS name"),
            ("[a]\ncert = \"\"\n", "that is no DNS name"),
            ("[a]\ncert = \"x.y\"\n[b]\ncert = \"X.Y\"\n", "`x.y`, which `a` has already"),
        ] {
            let bad = read(text).expect_err(text);
            assert!(bad.what.contains(expected), "{text}: {}", bad.what);
        }
        let list = KeyList::parse(&both).expect("good");
        assert!(list.check_certificates(true).is_ok() && list.check_certificates(false).is_err());
    }

    proptest! {
        /// A file that somebody is just writing, or edits badly.
        #[test]
        fn a_broken_file_is_refused_with_a_line_and_never_half_read(
            at in 0..GOOD.len(), gone in 0..60_usize, put in "[\\[\\]\"=#a-f0-9:/\n\u{e4}]{0,8}",
        ) {
            let end = (at + gone).min(GOOD.len());
            let text = format!("{}{put}{}", &GOOD[..at], &GOOD[end..]);
            match KeyList::parse(&text) {
                Ok(list) => {
                    let hashes: HashSet<_> = list.0.iter().flat_map(|it| &it.hashes).collect();
                    let count = list.0.iter().map(|it| it.hashes.len()).sum::<usize>();
                    prop_assert!(hashes.len() == count && count >= list.0.len() && count > 0);
                    prop_assert!(list.0.iter().all(|it| is_name(&it.name)));
                }
                Err(bad) => {
                    let place = bad.what.starts_with("line ") || bad.what == "it has no keys";
                    prop_assert!(place, "{}", bad.what);
                    prop_assert!(!bad.what.contains("0123456789abcdef0123"), "{}", bad.what);
                }
            }
        }
    }
}
