//! `httpipe openapi`: prints the document that a server of this configuration would serve.

use std::process::ExitCode;

use super::{REFUSED, complain, is_terminal, say, shown};
use crate::config::{Config, ConfigSource, ListenAddress, Secrets};
use crate::front::words::FAILURE_WORDS;
use crate::openapi::Document;
use crate::worker::describe::before_start;

/// Prints the document to stdout, indented. Programs are not started, except that of functions: its
/// worker says what they take.
pub(super) fn run(source: &ConfigSource) -> ExitCode {
    let config = match source.load(&before_start(source.own_binary())) {
        Ok(config) => config,
        Err(problems) => {
            let is_terminal = is_terminal(&std::io::stderr());
            complain(&shown(&problems, source, Secrets::Shown, is_terminal));
            return ExitCode::from(REFUSED);
        }
    };
    let document = Document::new(&config, FAILURE_WORDS).of_callers_at(&addresses(&config));
    let document: serde_json::Value = serde_json::from_slice(&document).expect("it is JSON");
    say(&format!("{document:#}\n"));
    ExitCode::SUCCESS
}

/// Where callers will ask, as far as that is known before.
fn addresses(config: &Config) -> Vec<String> {
    let address = |address: &ListenAddress| match address {
        ListenAddress::Tcp(address) => (address.port() != 0).then(|| address.to_string()),
        ListenAddress::Unix(path) => Some(format!("unix:{}", path.display())),
    };
    config.listen.iter().filter_map(address).collect()
}
