//! Whether the servers answer.

use std::{sync::Arc, time::Duration};

use codex_traits::Result;
use futures_util::future::try_join_all;
use redis::{Value, cmd};
use tokio::time::Instant;

use crate::{RedisBackend, client::Client, cluster::Cluster, reply, store::Store};

/// What a [`RedisBackend::health`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Health {
    /// How many servers were asked: one, or every master of the cluster.
    pub servers: usize,
    /// How long the slowest took to answer, with waiting and dialling.
    pub slowest: Duration,
}

impl RedisBackend {
    /// Asks the server for a PING, or every master of the cluster, which together must serve every slot: what a readiness probe
    /// wants to know. It has the deadline and the errors of any other call, and waits its turn as they do.
    ///
    /// # Errors
    ///
    /// Where a server does not answer within the deadline or refuses, and where a slot of the cluster is served by nobody.
    pub async fn health(&self) -> Result<Health> {
        let start = Instant::now();
        let servers = match self.store() {
            Store::One(client) => client.health().await?,
            Store::Cluster(cluster) => cluster.health().await?,
        };
        Ok(Health {
            servers,
            slowest: start.elapsed(),
        })
    }
}

impl Client {
    async fn health(&self) -> Result<usize> {
        pong(self.command("health", &cmd("PING")).await?)?;
        Ok(1)
    }
}

impl Cluster {
    async fn health(self: &Arc<Self>) -> Result<usize> {
        let (deadline, turn) = self.turn("health").await?;
        let answers = turn.end(self.ping_all(deadline).await)?;
        let servers = answers.len();
        answers.into_iter().try_for_each(pong)?;
        Ok(servers)
    }

    async fn ping_all(self: &Arc<Self>, deadline: Instant) -> Result<Vec<Value>> {
        let masters = self.all_masters("health", deadline).await?;
        let ping = cmd("PING");
        try_join_all(masters.iter().map(|node| node.command("health", deadline, &ping))).await
    }
}

fn pong(answer: Value) -> Result<()> {
    match reply::accepted("health", answer)? {
        Value::SimpleString(_) => Ok(()),
        _ => Err(crate::error::unexpected("health")),
    }
}
