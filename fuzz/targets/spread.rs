//! What other hosts send: any bytes are read or refused, and what is read can be written again.

#![no_main]

use bytes::Bytes;
use httpipe::testing::spread::message::HostMessage;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let bytes = Bytes::copy_from_slice(bytes);
    if let Ok((message, body)) = HostMessage::decode(&bytes) {
        let again = HostMessage::decode(&message.encode(&body));
        assert_eq!(again, Ok((message, body)));
    }
});
