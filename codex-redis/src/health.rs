//! Health checks of the servers.

use std::{sync::Arc, time::Duration};

use codex_traits::{ErrorKind, Result};
use futures_util::future::try_join_all;
use redis::Value;
use tokio::time::Instant;

use crate::{
    backend::RedisBackend,
    connection::multiplexer::Deadline,
    route::{Servers, cluster::Cluster},
    wire::{Command, Failure, Request, reply},
};

/// The result of [`RedisBackend::health`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Health {
    /// The number of servers asked: one server, or every master of the cluster.
    pub servers: usize,
    /// The time until the slowest server answered, including waiting and dialling.
    pub slowest: Duration,
}

impl RedisBackend {
    /// Sends a PING to the server, or to every master of the cluster. The masters must together
    /// serve every slot, and each must report that the cluster is up. The check suits a readiness
    /// probe. It has the same deadline, errors and admission as any other call.
    ///
    /// # Errors
    ///
    /// Fails if a server does not answer within the deadline or refuses, if no node serves a slot
    /// of the cluster, or if a master reports that the cluster is down.
    pub async fn health(&self) -> Result<Health> {
        let start = Instant::now();
        let call = self.begin("health").await?;
        let deadline = call.deadline();
        let servers = match &self.router().servers {
            Servers::One(server) => {
                let answer = server.command(deadline, &Command::read("PING")).await;
                answer.and_then(pong).map(|()| 1)
            }
            Servers::Cluster(cluster) => ask_all(cluster, deadline).await,
        };
        Ok(Health {
            servers: call.end(servers)?,
            slowest: start.elapsed(),
        })
    }
}

/// Pings each master, and asks it for the state of the cluster. A node that sees too few other
/// nodes serves nothing.
async fn ask_all(cluster: &Arc<Cluster>, deadline: Deadline) -> std::result::Result<usize, Failure> {
    let masters = cluster.all_masters(deadline).await?;
    let question = [Command::read("PING"), Command::read("CLUSTER INFO")];
    let asked = masters
        .iter()
        .map(|server| server.request(deadline, Request::all(&question)));
    for answers in try_join_all(asked).await? {
        let mut answers = reply::all_accepted(answers.into_vec())?.into_iter();
        pong(answers.next().unwrap_or_default())?;
        let state = answers.next().unwrap_or_default();
        if !reply::text(&state).is_some_and(|state| state.contains("cluster_state:ok")) {
            return Err(down());
        }
    }
    Ok(masters.len())
}

fn down() -> Failure {
    Failure::new(
        ErrorKind::Server,
        "a node of the cluster reports that the cluster is down (CLUSTERDOWN)",
    )
    .not_executed()
    .retryable()
}

fn pong(answer: Value) -> std::result::Result<(), Failure> {
    match reply::accepted(answer)? {
        Value::SimpleString(text) if text == "PONG" => Ok(()),
        _ => Err(Failure::unexpected()),
    }
}
