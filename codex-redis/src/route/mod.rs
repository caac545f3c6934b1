//! Where the keys are: on one server, or on the nodes of a cluster.

pub(crate) mod cluster;
pub(crate) mod standalone;

use std::{fmt, sync::Arc};

use codex_traits::Result;
use redis::{Cmd, Value};

use crate::{
    config::settings::{Checked, Settings, Target},
    route::cluster::Cluster,
    route::standalone::Client,
    server::locate::{Endpoint, Origin},
    server::sentinel::Sentinels,
    wire::request::Arguments,
};

pub(crate) enum Store {
    One(Client),
    Cluster(Arc<Cluster>),
}

impl Store {
    /// Dials nothing.
    pub(crate) fn new(checked: Checked) -> Self {
        crate::observe::metrics::describe();
        let settings = Arc::new(checked.settings);
        let origin = match checked.target {
            Target::Cluster(seeds) => return Self::Cluster(Cluster::new(seeds, settings)),
            Target::One(address) => Origin::At(address),
            Target::Sentinel { sentinels, name } => {
                // They are asked seldom and briefly, have no databases, and are logged in to apart.
                let own = Settings {
                    database: 0,
                    login: checked.sentinel_login,
                    connections: 1,
                    ..(*settings).clone()
                };
                Origin::Elected(Arc::new(Sentinels::new(name, sentinels, &Arc::new(own))))
            }
        };
        Self::One(Client::new(Endpoint { origin, settings }))
    }

    /// Makes a first connection, so that what is wrong with the settings is said here.
    pub(crate) async fn connect(&self) -> Result<()> {
        match self {
            Self::One(client) => client.connect().await,
            Self::Cluster(cluster) => cluster.connect().await,
        }
    }

    /// Sends one command on one key, without making it before where that is not needed. An error that a server answers with is still
    /// in the reply.
    pub(crate) async fn arguments(
        &self,
        operation: &'static str,
        key: &str,
        arguments: Arguments<'_>,
    ) -> Result<Value> {
        match self {
            Self::One(client) => client.command(operation, &arguments).await,
            Self::Cluster(cluster) => cluster.command(operation, key, &arguments.to_command()).await,
        }
    }

    /// Sends one command on one key. An error that a server answers with is still in the reply.
    pub(crate) async fn command(&self, operation: &'static str, key: &str, command: &Cmd) -> Result<Value> {
        match self {
            Self::One(client) => client.command(operation, command).await,
            Self::Cluster(cluster) => cluster.command(operation, key, command).await,
        }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("RedisBackend");
        match self {
            Self::One(client) => shown
                .field("server", client.endpoint())
                .field("database", &client.endpoint().settings.database),
            Self::Cluster(cluster) => shown.field("server", cluster),
        };
        shown.finish_non_exhaustive()
    }
}
