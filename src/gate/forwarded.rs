//! For whom a proxy asks: the `X-Forwarded-For` of those that are trusted.
//!
//! Pure. Each proxy adds the address of who asked it at the end. So only the end can be believed:
//! what stands before the first address that is no trusted proxy may have been made up by it.

use std::net::{IpAddr, SocketAddr};

use crate::config::Trust;

/// How many addresses are read at most; the caller of more is the last one read.
const HOPS: usize = 1000;

/// Returns the address of the caller. `peer` is who connects, `None` by a socket file; `fields` are
/// the values of `X-Forwarded-For` in the order in which they came.
pub fn caller<'a>(
    trust: &Trust,
    peer: Option<IpAddr>,
    fields: impl DoubleEndedIterator<Item = &'a [u8]>,
) -> Option<IpAddr> {
    let mut caller = peer;
    let hops = fields.rev().flat_map(|field| field.rsplit(|byte| *byte == b','));
    for hop in hops.take(HOPS) {
        if !trust.has(caller) {
            break;
        }
        // A proxy that writes what is no address says nothing of who is before it.
        let Some(address) = address(hop) else { break };
        caller = Some(address);
    }
    caller
}

/// Reads `192.0.2.1`, `192.0.2.1:4000`, `2001:db8::1` or `[2001:db8::1]:4000`.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(text.trim_ascii()).ok()?;
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse().ok().or_else(|| Some(text.parse::<SocketAddr>().ok()?.ip()))?;
    Some(IpAddr::to_canonical(&address))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn trust(networks: &[(&str, u8)], unix: bool) -> Trust {
        let networks = networks.iter().map(|(first, length)| (ip(first), *length)).collect();
        Trust { networks, unix }
    }

    fn found(trust: &Trust, peer: Option<&str>, fields: &[&str]) -> Option<String> {
        let fields = fields.iter().map(|field| field.as_bytes());
        caller(trust, peer.map(ip), fields).map(|address| address.to_string())
    }

    #[test]
    fn the_field_is_read_from_its_end_over_trusted_proxies_only() {
        let inner = trust(&[("10.0.0.0", 8), ("127.0.0.1", 32)], false);
        for (peer, fields, expected) in [
            ("203.0.113.9", &["198.51.100.1"][..], "203.0.113.9"),
            ("127.0.0.1", &[], "127.0.0.1"),
            ("127.0.0.1", &["198.51.100.1"], "198.51.100.1"),
            ("127.0.0.1", &["6.6.6.6, 198.51.100.1, 10.0.0.2"], "198.51.100.1"),
            ("127.0.0.1", &["6.6.6.6", "198.51.100.1", "10.0.0.2,10.0.0.3"], "198.51.100.1"),
            ("127.0.0.1", &["10.0.0.5, 10.0.0.2"], "10.0.0.5"),
            ("127.0.0.1", &["6.6.6.6, unknown, 10.0.0.2"], "10.0.0.2"),
            ("127.0.0.1", &["6.6.6.6, , 10.0.0.2"], "10.0.0.2"),
            ("127.0.0.1", &["\"198.51.100.1\""], "127.0.0.1"),
            ("127.0.0.1", &["198.51.100.1:4711"], "198.51.100.1"),
            ("127.0.0.1", &["[2001:db8::1]:4711"], "2001:db8::1"),
            ("127.0.0.1", &["[2001:db8::1]"], "2001:db8::1"),
            ("127.0.0.1", &["2001:db8::1"], "2001:db8::1"),
            ("127.0.0.1", &["::ffff:198.51.100.1"], "198.51.100.1"),
            ("127.0.0.1", &["6.6.6.6, ::ffff:10.0.0.1"], "6.6.6.6"),
        ] {
            assert_eq!(found(&inner, Some(peer), fields).as_deref(), Some(expected), "{fields:?}");
        }
    }

    #[test]
    fn a_socket_file_is_trusted_only_if_it_is_said() {
        let fields = &["198.51.100.1"];
        assert_eq!(found(&trust(&[], false), None, fields), None);
        assert_eq!(found(&trust(&[], true), None, fields).as_deref(), Some("198.51.100.1"));
        assert_eq!(found(&trust(&[], true), None, &["no address"]), None);
    }

    #[test]
    fn a_thousand_proxies_are_read_and_no_more() {
        let all = trust(&[("10.0.0.0", 8)], false);
        let hops: Vec<String> =
            (0..3000).map(|hop| format!("10.0.{}.{}", hop / 250, hop % 250)).collect();
        let text = hops.join(", ");
        assert_eq!(found(&all, Some("10.9.9.9"), &[&text]), Some(hops[2000].clone()));
    }

    proptest! {
        /// What a stranger writes never counts: its proxy names it behind that.
        #[test]
        fn whatever_stands_before_the_last_proxy_is_ignored(
            fields in proptest::collection::vec("[0-9a-f.:, x\\[\\]]{0,40}", 0..5),
        ) {
            let inner = trust(&[("10.0.0.0", 8)], false);
            let mut fields: Vec<&str> = fields.iter().map(String::as_str).collect();
            fields.push("198.51.100.1, 10.0.0.2");
            let told = found(&inner, Some("10.0.0.1"), &fields);
            prop_assert_eq!(told.as_deref(), Some("198.51.100.1"));
            let alone = found(&inner, Some("203.0.113.9"), &fields);
            prop_assert_eq!(alone.as_deref(), Some("203.0.113.9"), "who connects is no proxy");
        }
    }
}
