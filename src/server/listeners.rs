//! Where callers and operators connect: the sockets that the service manager passed, or else the
//! configured addresses.

use super::ServeError;
use crate::config::check::WAYS_OUT;
use crate::config::{AdminSettings, Config, ListenAddress};
use crate::net::listen::{ListenError, Listener};
use crate::systemd::{SocketPurpose, passed_sockets};

/// All listeners of a server, before it accepts.
#[derive(Debug)]
pub(super) struct Listeners {
    /// At least one.
    pub(super) callers: Vec<Listener>,
    /// `None`: switched off.
    pub(super) operators: Option<Listener>,
    /// `None`: there is no agent port.
    pub(super) balancers: Option<Listener>,
    /// Whether callers connect to sockets of the service manager, which outlive this server.
    pub(super) are_lent: bool,
    /// Whether operators connect to one of those.
    pub(super) admin_is_lent: bool,
}

impl Listeners {
    /// Takes what the service manager passed, and binds the other addresses.
    pub(super) fn open(config: &Config) -> Result<Self, ServeError> {
        let (mut callers, mut operators) = (Vec::new(), None);
        for (index, (socket, purpose)) in passed_sockets()?.into_iter().enumerate() {
            let name = format!("socket {} of the service manager", index + 1);
            let listener = Listener::lent(socket, name).map_err(ServeError::Passed)?;
            match purpose {
                SocketPurpose::Callers => callers.push(listener),
                SocketPurpose::Operators => take_admin(&mut operators, listener, &config.admin)?,
            }
        }
        let are_lent = !callers.is_empty();
        if !are_lent {
            callers = config.listen.iter().map(Listener::bind).collect::<Result<_, _>>()?;
        }
        if are_lent && !config.says_who_may_ask() {
            callers.iter().find(|it| it.is_open_to_other_machines()).map_or(Ok(()), everybody)?;
        }
        let admin_is_lent = operators.is_some();
        if !admin_is_lent {
            operators = bind_admin(&config.admin)?;
        }
        let balancers = config.agent.as_ref().map(Listener::bind).transpose()?;
        Ok(Self { callers, operators, balancers, are_lent, admin_is_lent })
    }

    /// Returns true if only this machine can reach the callers' listeners.
    pub(super) fn are_private(&self) -> bool {
        !self.callers.iter().any(Listener::is_open_to_other_machines)
    }

    /// Returns where callers connect.
    pub(super) fn addresses(&self) -> Vec<String> {
        self.callers.iter().map(Listener::local).collect()
    }
}

/// Refuses a passed socket that everybody can reach where nothing is said of callers.
fn everybody(listener: &Listener) -> Result<(), ServeError> {
    let address = listener.local();
    let reason = "anybody could call everything at this socket of the service manager".to_owned();
    Err(ServeError::Passed(ListenError { address, reason, remedy: WAYS_OUT, in_use: false }))
}

/// Takes a passed socket for operators, if the configuration allows what it does.
fn take_admin(
    operators: &mut Option<Listener>,
    listener: Listener,
    settings: &AdminSettings,
) -> Result<(), ServeError> {
    let refuse = |reason: &str, remedy| {
        let (address, reason) = (listener.local(), reason.to_owned());
        Err(ServeError::Passed(ListenError { address, reason, remedy, in_use: false }))
    };
    if operators.is_some() {
        return refuse("it is the second one named `admin`", "pass one socket for operators");
    }
    if settings.address.is_none() {
        let reason = "the service manager passed it for operators, and `admin` is \"off\"";
        return refuse(reason, "leave `admin` out, or name no socket `admin`");
    }
    if listener.is_open_to_other_machines() && settings.token.is_none() {
        let remedy = "set `admin_token`, or let the socket unit listen on 127.0.0.1";
        return refuse("anybody could reach the socket for operators", remedy);
    }
    *operators = Some(listener);
    Ok(())
}

fn bind_admin(settings: &AdminSettings) -> Result<Option<Listener>, ListenError> {
    let Some(address) = &settings.address else { return Ok(None) };
    match (Listener::bind(address), address) {
        (Err(_), ListenAddress::Tcp(tcp)) if !settings.explicit => {
            let any = std::net::SocketAddr::new(tcp.ip(), 0);
            Listener::bind(&ListenAddress::Tcp(any)).map(Some)
        }
        (bound, _) => bound.map(Some),
    }
}
