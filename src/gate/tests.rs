//! Who is let in, and how often.

use std::num::NonZeroU8;
use std::path::PathBuf;

use super::key::{CallerKey, RANDOM};
use super::*;
use crate::config::KeyEntry;
use crate::config::callers::{AnonymousSettings, KeysSettings};
use crate::config::stamp::Stamps;

const ALICE: [u8; RANDOM] = [1; RANDOM];
const NOBODY: [u8; RANDOM] = [2; RANDOM];

/// A gate with a key of Alice, before which nobody has stood, and the time at which that is so.
fn gate(anonymous: Option<AnonymousSettings>) -> (KeyGate, Instant) {
    let entry = KeyEntry {
        name: "alice".into(),
        hashes: vec![CallerKey::new(ALICE).hash()],
        certificates: vec!["alice.example".into()],
        routes: None,
        rate: Some(rate(2)),
        calls: None,
        weight: NonZeroU8::MIN,
    };
    let bob = KeyEntry {
        name: "bob".into(),
        hashes: Vec::new(),
        certificates: vec!["bob.example".into()],
        ..entry.clone()
    };
    let keys = Arc::new(KeyList(vec![entry, bob]));
    let start = Instant::now();
    let counts = GateCounts::new(start, &Memory::new(1 << 20));
    counts.post(&keys);
    let path = PathBuf::from("/keys.toml");
    let who = WhoMayAsk::Keys(KeysSettings { path, stamps: Stamps::default(), keys });
    let settings = CallersSettings { who, anonymous, trust: Trust::default() };
    (KeyGate::new(&settings, &counts).expect("it wants keys"), start)
}

fn rate(count: u32) -> Rate {
    Rate { count: NonZeroU32::new(count).expect("some"), period: Duration::from_mins(1) }
}

/// Returns who is let in from this address with this key, or the code of the refusal.
fn admitted(gate: &KeyGate, from: &str, random: Option<[u8; RANDOM]>, now: Instant) -> String {
    let key = random.map(CallerKey::new);
    let text = key.as_ref().map(|key| key.reveal().as_bytes());
    let shown = text.map_or(ShownKey::Nothing, |text| ShownKey::Key { name: None, text });
    let address = from.parse().expect("an address");
    let (visitor, decided) = gate.admit(Some(address), std::iter::empty(), (shown, &[]), now);
    match decided {
        Ok(()) => visitor.name().unwrap_or("nobody").to_owned(),
        Err(failure) => failure.code().to_string(),
    }
}

#[test]
fn a_key_is_asked_for_and_has_its_rate() {
    let (gate, now) = gate(None);
    assert_eq!(admitted(&gate, "::1", None, now), "unauthorized");
    assert_eq!(admitted(&gate, "::1", Some(NOBODY), now), "unauthorized");
    let alice = |address, now| admitted(&gate, address, Some(ALICE), now);
    assert_eq!([alice("::1", now), alice("127.0.0.1", now)], ["alice", "alice"]);
    assert_eq!(alice("::1", now), "rate_limited", "from wherever she asks");
    assert_eq!(alice("::1", now + Duration::from_secs(31)), "alice");
}

#[test]
fn who_guesses_is_not_listened_to_and_who_was_known_before_is() {
    let (gate, now) = gate(None);
    assert_eq!(admitted(&gate, "2001:db8::1", Some(ALICE), now), "alice");
    for last in 1..=10 {
        // They change their address within the network that is theirs.
        let from = format!("2001:db8::{last:x}");
        assert_eq!(admitted(&gate, &from, Some(NOBODY), now), "unauthorized");
    }
    assert_eq!(admitted(&gate, "2001:db8::ff", Some(NOBODY), now), "rate_limited");
    assert_eq!(admitted(&gate, "2001:db8::2", Some(ALICE), now), "alice", "beside a guesser");
    assert_eq!(admitted(&gate, "2001:db8:0:1::1", Some(NOBODY), now), "unauthorized");
    let later = now + Duration::from_secs(7);
    assert_eq!(admitted(&gate, "2001:db8::ff", Some(NOBODY), later), "unauthorized", "once more");
    assert_eq!(admitted(&gate, "2001:db8::ff", Some(NOBODY), later), "rate_limited");
}

#[test]
fn who_has_no_key_may_do_what_all_may() {
    let (gate, now) = gate(Some(AnonymousSettings { rate: Some(rate(1)), calls: None }));
    assert_eq!(admitted(&gate, "192.0.2.1", None, now), "nobody");
    assert_eq!(admitted(&gate, "192.0.2.1", None, now), "rate_limited");
    assert_eq!(admitted(&gate, "192.0.2.2", None, now), "nobody");
    assert_eq!(admitted(&gate, "192.0.2.1", Some(NOBODY), now), "unauthorized");
    assert_eq!(admitted(&gate, "192.0.2.1", Some(ALICE), now), "alice");
}

#[test]
fn a_certificate_names_a_holder_and_no_two() {
    let (gate, now) = gate(None);
    let ask = |names: &[&str], key: Option<[u8; RANDOM]>| {
        let names: Vec<Box<str>> = names.iter().map(|name| (*name).into()).collect();
        let key = key.map(CallerKey::new);
        let text = key.as_ref().map(|key| key.reveal().as_bytes());
        let shown = text.map_or(ShownKey::Nothing, |text| ShownKey::Key { name: None, text });
        let address = Some("::1".parse().expect("an address"));
        let (visitor, decided) = gate.admit(address, std::iter::empty(), (shown, &names), now);
        (visitor.name().map(str::to_owned), decided.err().map(|it| it.code().to_string()))
    };
    let refused = (None, Some("unauthorized".to_owned()));
    assert_eq!(ask(&["carol.example"], None), refused);
    assert_eq!(ask(&["bob.example", "alice.example"], None), refused);
    assert_eq!(ask(&["bob.example"], Some(ALICE)), refused);
    let alice = (Some("alice".to_owned()), None);
    assert_eq!(ask(&["x.example", "alice.example"], None), alice);
    assert_eq!(ask(&["alice.example"], Some(ALICE)), alice);
}
