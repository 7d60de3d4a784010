//! TLS to a Redis: with the one provider that all TLS of the server has.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Speaks TLS over a connection to this host, whose certificate those in the file must have signed;
/// without a file, those whom the machine trusts.
///
/// # Errors
///
/// Why they cannot, in words.
pub(super) async fn secure(
    tcp: TcpStream,
    host: &str,
    ca: Option<&Path>,
) -> Result<TlsStream<TcpStream>, String> {
    let (host, ca) = (host.to_owned(), ca.map(Path::to_owned));
    let name = ServerName::try_from(host).map_err(|error| error.to_string())?;
    // Files are read; on this thread they could hold up calls.
    let config = tokio::task::spawn_blocking(move || config(ca.as_deref()));
    let config =
        config.await.unwrap_or_else(|_| Err("its certificates cannot be read".to_owned()))?;
    let secured = TlsConnector::from(Arc::new(config)).connect(name, tcp).await;
    secured.map_err(|error| error.to_string())
}

fn config(ca: Option<&Path>) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = ca {
        let shown = path.display();
        let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
        let all: Vec<_> = read.map_err(|error| format!("`{shown}` cannot be read: {error}"))?;
        roots.add_parsable_certificates(all);
        if roots.is_empty() {
            return Err(format!("`{shown}` holds no certificate"));
        }
    } else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            return Err("this machine trusts no certificate; name one in `shared_ca`".to_owned());
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| error.to_string())?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
