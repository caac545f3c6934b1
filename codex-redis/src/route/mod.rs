//! The routing of commands: to the only server, or to the node of a cluster that serves the key.

mod admission;
pub(crate) mod cluster;
mod standalone;

use std::{fmt, sync::Arc};

use codex_traits::Pattern;
use redis::Value;

use self::{admission::Admission, cluster::Cluster};
use crate::{
    config::settings::{Checked, Settings, Target},
    connection::multiplexer::Deadline,
    server::{Timing, sentinel::Sentinels},
    wire::{Command, Failure, Request},
};

pub(crate) use self::{admission::Permit, standalone::Standalone};

/// The servers of a handle, and the admission of its calls.
pub(crate) struct Router {
    settings: Arc<Settings>,
    admission: Admission,
    pub(crate) servers: Servers,
}

pub(crate) enum Servers {
    One(Standalone),
    Cluster(Arc<Cluster>),
}

impl Router {
    /// Creates a router that has not dialled yet.
    pub(crate) fn new(checked: Checked) -> Self {
        crate::observe::metrics::describe();
        let settings = Arc::new(checked.settings);
        let servers = match checked.target {
            Target::Cluster(seeds) => Servers::Cluster(Arc::new(Cluster::new(seeds, Arc::clone(&settings)))),
            Target::One(address) => Servers::One(Standalone::fixed(address, Arc::clone(&settings))),
            Target::Sentinel { sentinels, name } => {
                // Sentinels are asked rarely and briefly. They have no databases, and their own
                // login.
                let own = Settings {
                    database: 0,
                    login: checked.sentinel_login,
                    connections: 1,
                    ..(*settings).clone()
                };
                let sentinels = Sentinels::new(name, sentinels, &Arc::new(own));
                Servers::One(Standalone::elected(sentinels, Arc::clone(&settings)))
            }
        };
        Self {
            admission: Admission::new(Arc::clone(&settings)),
            settings,
            servers,
        }
    }

    /// Opens the first connection, which reveals mistakes in the settings.
    pub(crate) async fn connect(&self) -> Result<(), Failure> {
        match &self.servers {
            Servers::One(server) => server.connect().await,
            Servers::Cluster(cluster) => cluster.connect().await,
        }
    }

    /// Waits until a call of this verb may begin.
    pub(crate) async fn admit(&self, verb: &'static str) -> Result<Permit<'_>, Failure> {
        self.admission.admit(verb).await
    }

    /// Returns the deadline of a part of a call that begins now.
    pub(crate) fn deadline(&self, verb: &'static str) -> Deadline {
        self.admission.deadline(verb)
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Sends one command on one key. Returns an error of the server as a reply.
    #[expect(
        clippy::manual_async_fn,
        reason = "an async fn keeps each argument twice in its future"
    )]
    pub(crate) fn command(
        &self,
        timing: &Timing,
        key: &str,
        command: &Command<'_>,
    ) -> impl Future<Output = Result<Value, Failure>> + Send {
        async move {
            match &self.servers {
                // Bypass the layers in between, because each would move the reply once more.
                Servers::One(Standalone::Fixed(server)) => {
                    server.request_from(timing, Request::one(command)).await?.one()
                }
                // Boxed, because they would enlarge the future of a call to a fixed server.
                Servers::One(server) => Box::pin(server.command(timing.deadline, command)).await,
                Servers::Cluster(cluster) => Box::pin(cluster.command(timing.deadline, key.as_bytes(), command)).await,
            }
        }
    }
}

/// Returns the command for a page of a scan.
pub(crate) fn scan(cursor: u64, pattern: &Pattern, count: usize) -> Command<'_> {
    Command::read("SCAN")
        .arg(cursor)
        .arg("MATCH")
        .arg(pattern.as_bytes())
        .arg("COUNT")
        .arg(count as u64)
}

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("RedisBackend");
        match &self.servers {
            Servers::One(server) => shown.field("server", server).field("database", &self.settings.database),
            Servers::Cluster(cluster) => shown.field("server", cluster),
        };
        shown.finish_non_exhaustive()
    }
}
