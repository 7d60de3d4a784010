//! Reads the certificate again when it or its key has changed, while the rest of the configuration
//! stays, and says when it ends.

use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use super::app::Server;
use super::keys::{look, settled};
use super::secure::left;
use crate::config::tls::{ENDS_SOON, TlsSettings, in_words};

/// How often to look.
const LOOK: Duration = Duration::from_secs(5);

/// Looks at the files of the certificate until the server stops. What is wrong with them is logged
/// once, and the certificate that was good stays.
pub(super) async fn follow_certificates(server: Rc<Server>) {
    let Some(mut used) = server.current().config.tls.clone() else { return };
    let mut loaded = used.clone();
    let mut seen = used.stamps.clone();
    // The start warns of what ends soon already.
    let mut told = (left(&used) < ENDS_SOON).then(|| (used.identity.ends(), false));
    loop {
        if let Some(now) = server.current().config.tls.clone()
            && (now != loaded || now.stamps != loaded.stamps)
        {
            // A reload has read them, or others.
            seen = now.stamps.clone();
            used = now.clone();
            loaded = now;
        }
        server.metrics().tls_expires(left(&used).as_secs());
        tell(&used, &mut told);
        tokio::time::sleep(LOOK).await;
        if server.is_draining() {
            return;
        }
        let paths: Vec<PathBuf> = used.files.all().cloned().collect();
        if look(&paths).await == seen {
            continue;
        }
        seen = settled(&paths).await;
        let files = used.files.clone();
        let read = tokio::task::spawn_blocking(move || TlsSettings::read(files)).await;
        match read {
            // Else a reload has read others meanwhile. One without `tls` leaves TLS as it is.
            Ok(Ok(new)) if server.current().config.tls.as_ref().is_none_or(|now| *now == used) => {
                server.entrance().renew(&new);
                tracing::info!(
                    path = %new.files.cert.display(),
                    ends = httpdate::fmt_http_date(new.identity.ends()),
                    "the certificate is read again"
                );
                used = new;
            }
            Ok(Ok(_)) | Err(_) => {}
            Ok(Err(bad)) => tracing::error!(
                path = %used.files.cert.display(),
                why = bad.what,
                hint = bad.hint,
                "the certificate cannot be read again; the one that was good stays"
            ),
        }
    }
}

/// Warns of a certificate that ends soon, and then that it has ended; once of each.
fn tell(tls: &TlsSettings, told: &mut Option<(SystemTime, bool)>) {
    let (ends, left) = (tls.identity.ends(), left(tls));
    let has_ended = left.is_zero();
    if left >= ENDS_SOON || *told == Some((ends, has_ended)) {
        return;
    }
    *told = Some((ends, has_ended));
    let path = tls.files.cert.display();
    if has_ended {
        tracing::error!(%path, "the certificate has ended: callers refuse it");
    } else {
        tracing::warn!(%path, "the certificate ends in {}", in_words(left));
    }
}
