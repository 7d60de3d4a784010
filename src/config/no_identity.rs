//! What stands for certificates in a build without the feature `tls`: there are none.

use std::time::SystemTime;

use super::tls_files::{BadTls, TlsFiles, UNBUILT};

/// A certificate that no build without TLS has.
#[derive(Clone, Debug)]
pub struct TlsIdentity;

impl TlsIdentity {
    /// Refuses to read a certificate.
    ///
    /// # Errors
    ///
    /// Always: this build cannot use it.
    pub fn read(_files: &TlsFiles, _now: SystemTime) -> Result<Self, BadTls> {
        Err(BadTls {
            key: UNBUILT,
            what: "this httpipe was built without TLS".to_owned(),
            hint: "build it in a clone with `cargo install --locked --path . --features tls`, or use the \
                   wheel, the Debian package or the image, which have it; or let a proxy end TLS",
        })
    }

    /// Returns when it ends.
    #[expect(clippy::unused_self, reason = "its twin knows")]
    pub fn ends(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH
    }
}
