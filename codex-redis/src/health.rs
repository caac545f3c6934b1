//! Whether the servers answer.

use std::{sync::Arc, time::Duration};

use codex_traits::{Error, ErrorKind, Result};
use futures_util::future::try_join_all;
use redis::{Pipeline, Value, cmd};
use tokio::time::Instant;

use crate::{
    RedisBackend, route::Store, route::cluster::Cluster, route::standalone::Client, server::sentinel::text, wire::reply,
};

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
    /// Asks the server for a PING, or every master of the cluster, which together must serve every slot and find the cluster in order: what a readiness probe
    /// wants to know. It has the deadline and the errors of any other call, and waits its turn as they do.
    ///
    /// # Errors
    ///
    /// Where a server does not answer within the deadline or refuses, where a slot of the cluster is served by nobody, and where a
    /// master says that the cluster is down.
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
        let answers = turn.end(self.ask_all(deadline).await)?;
        let servers = answers.len() / 2;
        let mut answers = reply::all_accepted("health", answers)?.into_iter();
        while let (Some(answer), Some(state)) = (answers.next(), answers.next()) {
            pong(answer)?;
            if !text(&state).is_some_and(|state| state.contains("cluster_state:ok")) {
                return Err(down());
            }
        }
        Ok(servers)
    }

    /// Of each master, an answer, and what it thinks of the cluster: one that sees too few others serves nothing.
    async fn ask_all(self: &Arc<Self>, deadline: Instant) -> Result<Vec<Value>> {
        let masters = self.all_masters("health", deadline).await?;
        let mut question = Pipeline::new();
        question.cmd("PING").cmd("CLUSTER").arg("INFO");
        let answers = masters.iter().map(|node| node.pipeline("health", deadline, &question));
        Ok(try_join_all(answers).await?.into_iter().flatten().collect())
    }
}

fn down() -> Error {
    Error::new(
        ErrorKind::Server,
        "health",
        "a node of the cluster says that the cluster is down (CLUSTERDOWN)",
    )
    .not_executed()
    .retryable()
}

fn pong(answer: Value) -> Result<()> {
    match reply::accepted("health", answer)? {
        Value::SimpleString(_) => Ok(()),
        _ => Err(crate::wire::error::unexpected("health")),
    }
}
