//! A socket between the server and a fork server, which carries whole packets and descriptors.
//!
//! A text that may be long takes several packets: four bytes that hold its length, then its parts.
//! A reader that takes the socket for a stream of bytes, with room for the rest of the text, sees the
//! framing `u32`.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::spawn::non_blocking;

/// Most bytes of one packet: a kernel with little room for a socket takes that much too.
const PACKET_MOST: usize = 32 << 10;
/// Most descriptors that one packet carries.
const DESCRIPTORS_MOST: usize = 4;

/// Our end of the socket.
#[derive(Debug)]
pub(super) struct Packets {
    socket: AsyncFd<OwnedFd>,
}

impl Packets {
    /// Makes a socket. Returns our end and the other, which blocks.
    pub(super) fn pair() -> io::Result<(Self, OwnedFd)> {
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        let socket = non_blocking(ours, Interest::READABLE | Interest::WRITABLE)?;
        Ok((Self { socket }, theirs))
    }

    /// Sends one packet, which must not be empty.
    pub(super) async fn send(&self, bytes: &[u8], with: &[BorrowedFd<'_>]) -> io::Result<()> {
        let send = || {
            let mut room =
                [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MOST))];
            let mut extra = SendAncillaryBuffer::new(&mut room);
            if !with.is_empty() && !extra.push(SendAncillaryMessage::ScmRights(with)) {
                return Err(io::ErrorKind::InvalidInput.into());
            }
            let parts = [IoSlice::new(bytes)];
            sendmsg(self.socket.get_ref(), &parts, &mut extra, SendFlags::NOSIGNAL)?;
            Ok(())
        };
        self.socket.async_io(Interest::WRITABLE, |_| send()).await
    }

    /// Waits for a packet; an empty one is the end.
    pub(super) async fn receive(&self) -> io::Result<Vec<u8>> {
        let receive = || {
            let mut packet = vec![0; PACKET_MOST];
            let parts = &mut [IoSliceMut::new(&mut packet)];
            let mut extra = RecvAncillaryBuffer::default();
            let got = recvmsg(self.socket.get_ref(), parts, &mut extra, RecvFlags::CMSG_CLOEXEC)?;
            packet.truncate(got.bytes);
            Ok(packet)
        };
        self.socket.async_io(Interest::READABLE, |_| receive()).await
    }

    /// Sends a text of any length.
    pub(super) async fn send_text(&self, text: &[u8]) -> io::Result<()> {
        let length = u32::try_from(text.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        self.send(&length.to_be_bytes(), &[]).await?;
        for part in text.chunks(PACKET_MOST) {
            self.send(part, &[]).await?;
        }
        Ok(())
    }

    /// Waits for a text of at most `most` bytes.
    pub(super) async fn receive_text(&self, most: usize) -> io::Result<Vec<u8>> {
        let length = self.receive().await?;
        if length.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let length = <[u8; 4]>::try_from(length).map_err(|_| io::ErrorKind::InvalidData)?;
        let length = u32::from_be_bytes(length) as usize;
        if length > most {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let mut text = Vec::new();
        while text.len() < length {
            let part = self.receive().await?;
            if part.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            text.extend(part);
        }
        if text.len() > length {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is received if the other end sends these packets and then closes.
    async fn received(packets: &[&[u8]], most: usize) -> io::Result<Vec<u8>> {
        let (ours, theirs) = Packets::pair().expect("a socket");
        for packet in packets {
            rustix::io::write(&theirs, packet).expect("room");
        }
        drop(theirs);
        ours.receive_text(most).await
    }

    #[tokio::test]
    async fn a_text_is_as_long_as_it_says_and_no_longer_than_allowed() {
        let length = 4_u32.to_be_bytes();
        assert_eq!(received(&[&length, b"te", b"xt"], 4).await.expect("a text"), b"text");
        let kind = |received: io::Result<Vec<u8>>| received.expect_err("no text").kind();
        assert_eq!(kind(received(&[&length, b"text"], 3).await), io::ErrorKind::FileTooLarge);
        assert_eq!(kind(received(&[&length, b"texts"], 9).await), io::ErrorKind::InvalidData);
        assert_eq!(kind(received(&[&length, b"te"], 9).await), io::ErrorKind::UnexpectedEof);
        assert_eq!(kind(received(&[b"abc", b"text"], 9).await), io::ErrorKind::InvalidData);
        assert_eq!(kind(received(&[], 9).await), io::ErrorKind::UnexpectedEof);
    }
}
