//! Answers load balancers for the server: whether it is ready, and how many calls its workers can
//! have at once.

use std::net::IpAddr;
use std::rc::Rc;

use super::app::Server;
use crate::agent::{Agent, Balanced, Offer};
use crate::net::accept::{ConnectionLimit, accept};
use crate::net::{Drain, Listener, Stream};

/// Most connections of balancers at once; each is over within two seconds.
const CONNECTIONS_MOST: usize = 64;

/// The desk of the agent port.
#[derive(Debug)]
pub(super) struct AgentDesk {
    server: Rc<Server>,
}

impl AgentDesk {
    pub(super) fn new(server: Rc<Server>) -> Self {
        Self { server }
    }
}

impl Balanced for AgentDesk {
    fn offer(&self) -> Offer {
        let app = self.server.current();
        if self.server.is_draining() || app.pools().iter().any(|pool| !pool.can_serve()) {
            return Offer::Drain;
        }
        Offer::Ready { slots: app.pools().iter().map(|pool| pool.slots()).sum() }
    }

    async fn become_ready(&self) {
        if self.server.is_draining() {
            return;
        }
        for pool in self.server.current().pools() {
            pool.wait_able().await;
        }
    }

    fn trusts(&self, address: Option<IpAddr>) -> bool {
        self.server.current().config.callers.trust.has(address)
    }
}

/// Serves the agent port until the server ends: a balancer is told `drain` until the very end.
pub(super) async fn serve_agent(
    listener: Listener,
    agent: Rc<Agent<AgentDesk>>,
) -> std::io::Result<()> {
    let limit = ConnectionLimit::new(CONNECTIONS_MOST, |_| {});
    let connections = Drain::new();
    let sink = move |stream: Stream, permit| {
        let agent = Rc::clone(&agent);
        connections.spawn_local(async move {
            let address = stream.caller(false).address;
            agent.serve(stream, address).await;
            drop(permit);
        });
    };
    accept(listener, limit, Drain::new(), sink).await
}
