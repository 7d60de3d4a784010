//! The rules of `callers`, `anonymous` and `trust`, and that not everybody is let in by what was
//! left out.
//!
//! Pure. The keys file was read before, in `load`.

use std::net::IpAddr;
use std::num::NonZeroU32;

use crate::base::NoRate;
use crate::base::template::{Segment, Slot};
use crate::config::callers::{AnonymousSettings, CallersSettings, KeysSettings, Trust, WhoMayAsk};
use crate::config::file::{AnonymousFile, File};
use crate::config::findings::Findings;
use crate::config::server::ListenAddress;
use crate::config::tree::KeyPath;
use crate::config::{RouteAction, RouteSettings, SendShape};

/// The word for those who need no key.
pub const ANYONE: &str = "anyone";

/// Who may ask. `keys` is what the keys file holds; `None`: none is named, or it has a problem.
pub(super) fn callers(
    findings: &mut Findings<'_>,
    file: &File,
    listen: &[ListenAddress],
    keys: Option<&KeysSettings>,
) -> CallersSettings {
    let who = match (file.callers.as_deref(), keys) {
        (None, _) => WhoMayAsk::Unsaid,
        (_, Some(keys)) => WhoMayAsk::Keys(keys.clone()),
        (Some(_), None) => WhoMayAsk::Anyone,
    };
    if let WhoMayAsk::Keys(keys) = &who
        && let Err(bad) = keys.keys.check_certificates(file.tls.clients.is_some())
    {
        let message = format!("the keys of callers cannot be used: {}", bad.what);
        findings.refuse(&KeyPath::of(&["callers"]), message, bad.hint);
    }
    // Who signs for callers decides who they are.
    if who == WhoMayAsk::Unsaid && file.tls.clients.is_none() {
        refuse_everybody(findings, listen);
    }
    let anonymous = anonymous(findings, &file.anonymous);
    let trust = trust(findings, file.trust.as_deref().unwrap_or_default());
    if file.proxy_protocol && trust.is_empty() && file.trust.as_ref().is_none_or(Vec::is_empty) {
        let path = KeyPath::of(&["proxy_protocol"]);
        let message = "`proxy_protocol` has no effect without `trust`";
        findings.refuse(&path, message, "name your proxies: `trust = [\"10.0.0.0/8\"]`");
    }
    CallersSettings { who, anonymous, trust }
}

/// Refuses addresses that other machines reach.
fn refuse_everybody(findings: &mut Findings<'_>, listen: &[ListenAddress]) {
    for address in listen {
        if let ListenAddress::Tcp(address) = address
            && !address.ip().is_loopback()
        {
            let message = format!("anybody could call everything at {address}");
            findings.refuse(&KeyPath::of(&["listen"]), message, WAYS_OUT);
        }
    }
}

/// What to do where other machines reach the server and nothing is said of callers.
pub const WAYS_OUT: &str = "give your callers keys: `httpipe key new NAME` and \
                            `callers = \"keys.toml\"`; or demand certificates of them: `tls.clients`; or \
                            let everybody in: `callers = \"anyone\"`";

/// Where callers show their keys.
const KEY_FIELDS: [&str; 2] = ["authorization", "x-api-key"];

/// Refuses to hand the keys of callers to programs.
pub(super) fn keep_keys(
    findings: &mut Findings<'_>,
    callers: &CallersSettings,
    routes: &[RouteSettings],
) {
    if !matches!(callers.who, WhoMayAsk::Keys(_)) {
        return;
    }
    for (index, route) in routes.iter().enumerate() {
        let RouteAction::Call(call) = &route.action else { continue };
        let SendShape::Template(template) = &call.send else { continue };
        for segment in &template.segments {
            if let Segment::Slot(Slot::Header(name)) = segment
                && KEY_FIELDS.contains(&&**name)
            {
                let path = KeyPath::of(&["route"]).index(index).key("send");
                let message = format!("`{{header.{name}}}` would hand the keys of callers over");
                findings.refuse(&path, message, "write `{caller}`, the name of the key");
            }
        }
    }
}

fn anonymous(findings: &mut Findings<'_>, file: &AnonymousFile) -> Option<AnonymousSettings> {
    let path = KeyPath::of(&["anonymous"]);
    let rate = file.rate.as_ref().and_then(|text| match text.parse() {
        Ok(rate) => Some(rate),
        Err(error @ NoRate(_)) => {
            findings.refuse(&path.key("rate"), error.to_string(), NoRate::HINT);
            None
        }
    });
    let calls = file.calls.and_then(NonZeroU32::new);
    (rate.is_some() || calls.is_some()).then_some(AnonymousSettings { rate, calls })
}

fn trust(findings: &mut Findings<'_>, texts: &[String]) -> Trust {
    let path = KeyPath::of(&["trust"]);
    let mut trust = Trust::default();
    for (index, text) in texts.iter().enumerate() {
        if text == "unix" {
            trust.unix = true;
            continue;
        }
        match network(text) {
            Ok(network) => trust.networks.push(network),
            Err(hint) => {
                let message = format!("`{}` is not an address or a network", text.escape_debug());
                findings.refuse(&path.index(index), message, hint);
            }
        }
    }
    trust
}

/// Reads `10.0.0.0/8` or `10.0.0.1`, or says what to write instead.
fn network(text: &str) -> Result<(IpAddr, u8), String> {
    let usual = "write an address as \"10.0.0.1\", a network as \"10.0.0.0/8\", or \"unix\"";
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, Some(length)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().map_err(|_| usual.to_owned())?;
    let bits = if address.is_ipv4() { 32 } else { 128 };
    let length = match length {
        None => bits,
        Some(text) => {
            let length = text.parse().ok().filter(|length| *length <= bits);
            length.filter(|_| !text.starts_with('+')).ok_or(usual)?
        }
    };
    let first = match address {
        IpAddr::V4(it) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
            IpAddr::V4((it.to_bits() & mask).into())
        }
        IpAddr::V6(it) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
            IpAddr::V6((it.to_bits() & mask).into())
        }
    };
    if first != address {
        return Err(format!("write \"{first}/{length}\", the first address of the network"));
    }
    Ok((address, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_begins_with_its_first_address() {
        for text in ["10.0.0.0/8", "10.0.0.1", "0.0.0.0/0", "::1", "2001:db8::/32", "::/0"] {
            assert!(network(text).is_ok(), "{text}");
        }
        let told = network("10.1.2.3/8").expect_err("not the first");
        assert!(told.contains("\"10.0.0.0/8\""), "{told}");
        for text in ["", "any", "10.0.0.0/33", "10.0.0.0/", "10.0.0/8", "::/129", "10.0.0.0/+8"] {
            assert!(network(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_network_has_its_addresses_and_no_others() {
        let networks = ["10.0.0.0/8", "192.0.2.7", "2001:db8::/32"];
        let networks = networks.iter().map(|text| network(text).expect("one")).collect();
        let trust = Trust { networks, unix: false };
        for (address, is_in) in [
            ("10.255.0.1", true),
            ("11.0.0.0", false),
            ("192.0.2.7", true),
            ("192.0.2.6", false),
            ("2001:db8:ffff::1", true),
            ("2001:db9::", false),
            ("::ffff:10.0.0.1", false),
        ] {
            assert_eq!(trust.has(Some(address.parse().expect("an address"))), is_in, "{address}");
        }
        assert!(!trust.has(None));
        let all = Trust { networks: vec![network("0.0.0.0/0").expect("one")], unix: true };
        assert!(all.has(Some("255.1.2.3".parse().expect("one"))) && all.has(None));
    }
}
