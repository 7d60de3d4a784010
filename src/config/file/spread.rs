//! What may be written about other hosts.
//!
//! Pure. The doc comments are the reference, as those of the rest of the file are.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::OneOrMany;

/// The NATS server through which this server shares the calls of pools with `spread = true`. If
/// absent, all workers are on this machine. A change takes effect after a restart.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct SpreadFile {
    /// Where it is: `"nats.internal"`, `"nats://10.0.0.7:4222"`, `"tls://nats.internal:4222"`, or a list
    /// of the servers of one cluster. The port is 4222 if there is none. With `tls://` nothing is said
    /// before the server has shown its certificate.
    #[schemars(extend("examples" = ["tls://nats.internal:4222"]))]
    pub nats: OneOrMany,
    /// The file that says who this server is, relative to this file: one that `nsc` writes
    /// (`.creds`), the seed of an nkey (`SU…`), or `USER:PASSWORD` in one line. It is read again for
    /// each connection. If absent, NATS is told nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1), extend("examples" = ["nats.creds"]))]
    pub creds: Option<String>,
    /// The certificates, in PEM, of those who sign for the NATS server. If absent: those that the system
    /// trusts (`/etc/ssl/certs/ca-certificates.crt`).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1), extend("examples" = ["ca.pem"]))]
    pub ca: Option<String>,
    /// What all servers that share calls have in common: the first word of all subjects.
    #[schemars(regex(pattern = r"^[A-Za-z0-9_-]{1,64}$"))]
    pub name: String,
}

impl Default for SpreadFile {
    fn default() -> Self {
        Self {
            nats: OneOrMany::Many(Vec::new()),
            creds: None,
            ca: None,
            name: "httpipe".to_owned(),
        }
    }
}
