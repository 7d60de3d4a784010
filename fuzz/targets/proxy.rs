//! The header of the PROXY protocol: any bytes are read or refused, and an address is the one that they hold.

#![no_main]

use std::net::IpAddr;

use httpipe::testing::net::{ProxyStart, START};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((start, rest)) = bytes.split_first_chunk::<START>() else { return };
    let Ok(start) = ProxyStart::read(start) else { return };
    assert!(start.rest <= 4096);
    let Some(rest) = rest.get(..start.rest) else { return };
    if let Ok(Some(source)) = start.source(rest) {
        match source.ip() {
            IpAddr::V4(address) => {
                let octets = address.octets();
                assert!(rest[..4] == octets || rest[12..16] == octets);
            }
            IpAddr::V6(address) => assert_eq!(rest[..16], address.octets()),
        }
    }
});
