//! Who may come in by a loopback listener: programs of this machine, and pages of its own.
//!
//! `net::site` says what is foreign; this file says so to the caller, and to the operator which
//! line would let it in.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::request::Parts;

use crate::base::Failure;
use crate::config::{Config, Cors, Hosts};
use crate::net::Caller;
use crate::net::site::{Foreign, Marks};

/// How many names the log mentions under one configuration, because strangers choose them.
const NAMES_MOST: usize = 32;
/// The least time between two such lines.
const BETWEEN: Duration = Duration::from_secs(1);
/// How many characters of a name the log shows.
const SHOWN_MOST: usize = 100;

/// The names of this server, and what the operator was told of others.
#[derive(Debug)]
pub(super) struct Door {
    hosts: Arc<Hosts>,
    told: Mutex<Told>,
}

/// The names that the log has mentioned.
#[derive(Debug, Default)]
struct Told {
    names: HashSet<String>,
    last: Option<Instant>,
}

impl Door {
    /// The door of this configuration.
    pub(super) fn new(config: &Config) -> Self {
        Self { hosts: Arc::clone(&config.hosts), told: Mutex::default() }
    }

    /// Refuses a request that is for another host, or comes from a web page of another site which
    /// `cors` does not let in. Where other machines may ask, this holds for pages that would ask with
    /// the certificate of their reader.
    pub(super) fn admit(
        &self,
        head: &Parts,
        marks: Marks<'_>,
        caller: &Caller,
        cors: Option<&Cors>,
    ) -> Result<(), Failure> {
        if *self.hosts == Hosts::Any {
            return Ok(());
        }
        let let_in = |page: Option<Foreign<'_>>| match page {
            Some(page) if !cors.is_some_and(|cors| is_let_in(page, cors)) => Err(self.refuse(page)),
            _ => Ok(()),
        };
        if !caller.is_guarded {
            // A browser shows the certificate of its user, whichever page asks.
            let page = marks.page_of_another(head).filter(|_| !caller.names.is_empty());
            return let_in(page);
        }
        if let Some(host) = marks.foreign_host(head, &self.hosts) {
            return Err(self.refuse(host));
        }
        let_in(marks.foreign_page(&self.hosts))
    }

    #[cold]
    fn refuse(&self, foreign: Foreign<'_>) -> Failure {
        let detail = match foreign {
            Foreign::Host(_) => "the `Host` of the request is not a name of this server",
            Foreign::Origin(_) | Foreign::Site => {
                "web pages of other sites may not use this server"
            }
        };
        self.tell(foreign);
        Failure::ForbiddenOrigin { detail: detail.into() }
    }

    /// Tells the operator, once for each name.
    fn tell(&self, foreign: Foreign<'_>) {
        let name = match foreign {
            Foreign::Host(name) | Foreign::Origin(name) => name,
            Foreign::Site => "another site",
        };
        let name: String = name.chars().take(SHOWN_MOST).collect();
        let now = Instant::now();
        let is_news = self.told.lock().unwrap_or_else(PoisonError::into_inner).news(&name, now);
        if !is_news {
            return;
        }
        match (foreign, line_for(foreign)) {
            (Foreign::Host(_), Some(line)) => tracing::warn!(
                host = name,
                "refused a request for a host that is not this server's; if it is, add: {line}"
            ),
            (_, Some(line)) => tracing::warn!(
                origin = name,
                "refused a request from a web page of another site; if it may, add: {line}"
            ),
            (Foreign::Host(_), None) => {
                tracing::warn!(host = name, "refused a request for a host that is no name");
            }
            (_, None) => tracing::warn!(
                origin = name,
                "refused a request from a web page of another site; `cors = \"*\"` would let \
                 every page in"
            ),
        }
    }
}

/// Returns true if the operator has let this page in.
fn is_let_in(page: Foreign<'_>, cors: &Cors) -> bool {
    match page {
        Foreign::Origin(origin) => cors.has(origin),
        Foreign::Site => *cors == Cors::Any,
        Foreign::Host(_) => false,
    }
}

impl Told {
    /// Returns true if the log should mention this name now.
    fn news(&mut self, name: &str, now: Instant) -> bool {
        let is_early = self.last.is_some_and(|last| now.saturating_duration_since(last) < BETWEEN);
        if is_early || self.names.len() == NAMES_MOST || !self.names.insert(name.to_owned()) {
            return false;
        }
        self.last = Some(now);
        true
    }
}

/// The line of the configuration that would let this in; `None` where no line names it alone.
fn line_for(foreign: Foreign<'_>) -> Option<String> {
    let (key, name) = match foreign {
        Foreign::Host(host) => {
            ("hosts", host.split(':').next().unwrap_or_default().to_ascii_lowercase())
        }
        Foreign::Origin(origin) if origin.contains("://") => ("cors", origin.to_owned()),
        Foreign::Origin(_) | Foreign::Site => return None,
    };
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:/".contains(&byte);
    let is_plain = !name.is_empty() && name.len() <= SHOWN_MOST && name.bytes().all(is_part);
    is_plain.then(|| format!("{key} = [\"{name}\"]"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_is_told_once_and_not_all_at_once() {
        let mut told = Told::default();
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        assert!(told.news("a", start));
        assert!(!told.news("b", start), "within a second of the last");
        assert!(told.news("b", after(1)));
        assert!(!told.news("a", after(2)), "told already");
        let count = (0..1000).filter(|at| told.news(&at.to_string(), after(10 + at))).count();
        assert_eq!(count, NAMES_MOST - 2);
    }

    #[test]
    fn the_line_is_one_that_a_configuration_can_hold() {
        for (foreign, line) in [
            (Foreign::Host("API.example:3000"), Some("hosts = [\"api.example\"]")),
            (Foreign::Origin("https://app.example"), Some("cors = [\"https://app.example\"]")),
            (Foreign::Host("a\"]"), None),
            (Foreign::Host(""), None),
            (Foreign::Host("[fe80::1]:3000"), None),
            (Foreign::Origin("null"), None),
            (Foreign::Site, None),
        ] {
            assert_eq!(line_for(foreign).as_deref(), line, "{foreign:?}");
        }
    }
}
