//! The header by which a proxy says for whom it connects: the PROXY protocol, version 2.
//!
//! Pure. Its text is at <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Length of what every header begins with.
pub const START: usize = 16;
/// The longest rest of a header. Proxies add a few hundred bytes to the addresses at most.
const REST_MOST: usize = 4096;

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;

/// What the start of a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxyStart {
    command: u8,
    family: u8,
    /// How many bytes follow.
    pub rest: usize,
}

/// Why bytes are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoProxyHeader {
    /// They are something else.
    #[error("it does not begin with a header of the PROXY protocol, version 2")]
    Missing,
    /// It is of a command that is not known.
    #[error("its header has an unknown command")]
    Command,
    /// It is too long.
    #[error("its header is longer than {REST_MOST} bytes")]
    TooLong,
    /// It has no room for its addresses.
    #[error("its header is too short for its addresses")]
    TooShort,
}

impl ProxyStart {
    /// Reads the start of a header.
    ///
    /// # Errors
    ///
    /// Why it is none.
    pub fn read(bytes: &[u8; START]) -> Result<Self, NoProxyHeader> {
        let Some([command, family, high, low]) = bytes.strip_prefix(SIGNATURE) else {
            return Err(NoProxyHeader::Missing);
        };
        let rest = usize::from(u16::from_be_bytes([*high, *low]));
        match *command {
            LOCAL | PROXY if rest > REST_MOST => Err(NoProxyHeader::TooLong),
            LOCAL | PROXY => Ok(Self { command: *command, family: *family, rest }),
            _ => Err(NoProxyHeader::Command),
        }
    }

    /// Reads the rest of the header. Returns who connected to the proxy; `None`: the proxy asks for
    /// itself, or for somebody without an address.
    ///
    /// # Errors
    ///
    /// Why it cannot be.
    pub fn source(self, rest: &[u8]) -> Result<Option<SocketAddr>, NoProxyHeader> {
        let port = |bytes: [u8; 2]| u16::from_be_bytes(bytes);
        match (self.command, self.family) {
            (PROXY, TCP4) => {
                let (source, rest) = rest.split_first_chunk::<4>().ok_or(TOO_SHORT)?;
                let (_destination, rest) = rest.split_first_chunk::<4>().ok_or(TOO_SHORT)?;
                let (ports, _) = rest.split_first_chunk::<4>().ok_or(TOO_SHORT)?;
                let address = IpAddr::V4(Ipv4Addr::from(*source));
                Ok(Some(SocketAddr::new(address, port([ports[0], ports[1]]))))
            }
            (PROXY, TCP6) => {
                let (source, rest) = rest.split_first_chunk::<16>().ok_or(TOO_SHORT)?;
                let (_destination, rest) = rest.split_first_chunk::<16>().ok_or(TOO_SHORT)?;
                let (ports, _) = rest.split_first_chunk::<4>().ok_or(TOO_SHORT)?;
                let address = IpAddr::V6(Ipv6Addr::from(*source)).to_canonical();
                Ok(Some(SocketAddr::new(address, port([ports[0], ports[1]]))))
            }
            _ => Ok(None),
        }
    }
}

const TOO_SHORT: NoProxyHeader = NoProxyHeader::TooShort;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(command: u8, family: u8, rest: &[u8]) -> Result<Option<SocketAddr>, NoProxyHeader> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        let start = [SIGNATURE, &[command, family], &length].concat();
        let start = ProxyStart::read(&start.try_into().unwrap())?;
        assert_eq!(start.rest, rest.len());
        start.source(rest)
    }

    #[test]
    fn an_address_is_that_of_who_connected_to_the_proxy() {
        let four = [192, 0, 2, 7, 10, 0, 0, 1, 0x1f, 0x90, 1, 187];
        let shown = |found: Result<Option<SocketAddr>, _>| found.unwrap().unwrap().to_string();
        assert_eq!(shown(read(PROXY, TCP4, &four)), "192.0.2.7:8080");
        let with_more = [&four[..], &[1, 0, 2, b'h', b'2']].concat();
        assert_eq!(shown(read(PROXY, TCP4, &with_more)), "192.0.2.7:8080");
        let mut six = [0; 36];
        six[..4].copy_from_slice(&[0x20, 1, 0xd, 0xb8]);
        six[15] = 9;
        six[32..34].copy_from_slice(&[0, 80]);
        assert_eq!(shown(read(PROXY, TCP6, &six)), "[2001:db8::9]:80");
        let mut mapped = [0; 36];
        mapped[10..16].copy_from_slice(&[0xff, 0xff, 192, 0, 2, 7]);
        assert_eq!(shown(read(PROXY, TCP6, &mapped)), "192.0.2.7:0");
    }

    #[test]
    fn a_proxy_may_ask_for_itself() {
        assert_eq!(read(LOCAL, 0, &[]), Ok(None));
        assert_eq!(read(LOCAL, TCP4, &[0; 12]), Ok(None));
        assert_eq!(read(PROXY, 0, &[0; 3]), Ok(None));
    }

    #[test]
    fn what_is_no_header_is_refused() {
        let text = *b"PROXY TCP4 192.0";
        assert_eq!(ProxyStart::read(&text), Err(NoProxyHeader::Missing));
        assert_eq!(read(0x11, TCP4, &[0; 12]), Err(NoProxyHeader::Command));
        assert_eq!(read(PROXY, TCP4, &[0; 11]), Err(NoProxyHeader::TooShort));
        assert_eq!(read(PROXY, TCP6, &[0; 35]), Err(NoProxyHeader::TooShort));
        assert_eq!(read(PROXY, TCP4, &[0; 4097]), Err(NoProxyHeader::TooLong));
    }
}
