//! What may be written about certificates.
//!
//! Pure. The doc comments are the reference, as those of the rest of the file are.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The certificate by which callers know this server. With it, every address of `listen` that is
/// not a socket file speaks HTTPS.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsFile {
    /// The certificate, followed by those between it and the root that callers trust, in PEM, as in
    /// `fullchain.pem`; relative to this file. It is read again with its key when one of them
    /// changes, within ten seconds. A pair that does not match is not used.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1), extend("examples" = ["fullchain.pem"]))]
    pub cert: Option<String>,
    /// The private key of `cert`, in PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1), extend("examples" = ["privkey.pem"]))]
    pub key: Option<String>,
    /// The certificates, in PEM, of those who sign for your callers. With it, every caller must show a
    /// certificate of theirs in the handshake, and an address that other machines reach needs no
    /// `callers`. Read again as `cert` is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1), extend("examples" = ["ca.pem"]))]
    pub clients: Option<String>,
}
