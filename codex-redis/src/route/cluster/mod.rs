//! A Redis Cluster: who serves which slot, and commands sent there.
//!
//! Every node has connections of its own, as a single server has. Which slots it serves is read from CLUSTER SLOTS at the start,
//! and again whenever an answer or a failure says that it has changed; that is done in the background, by one task at a time. A
//! command is sent again only where a node refused it without running it.

mod execute;
mod redirect;
mod scan;
mod slot_map;
mod slots;
mod topology;

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use codex_traits::{Error, ErrorKind, Result};
use redis::{Cmd, Value};
use tokio::time::Instant;

use self::{redirect::Redirect, slot_map::Map, topology::Refreshes};
use crate::{
    config::settings::{Address, Settings},
    route::standalone::{Turn, Turns},
    server::locate::{Endpoint, Origin},
    server::server::Node,
};

pub(crate) use self::execute::Part;

pub(crate) struct Cluster {
    settings: Arc<Settings>,
    seeds: Vec<Address>,
    turns: Turns,
    /// Never locked across an await, as the others here.
    map: RwLock<Arc<Map>>,
    nodes: Mutex<HashMap<Address, Arc<Node>>>,
    refreshes: Refreshes,
}

impl Cluster {
    pub(crate) fn new(seeds: Vec<Address>, settings: Arc<Settings>) -> Arc<Self> {
        Arc::new(Self {
            turns: Turns::new(Arc::clone(&settings)),
            seeds,
            map: RwLock::default(),
            nodes: Mutex::default(),
            refreshes: Refreshes::default(),
            settings,
        })
    }

    /// Learns the slot map from the first of the seeds that answers.
    pub(crate) async fn connect(&self) -> Result<()> {
        let mut failure = Error::new(ErrorKind::Config, "connect", "cluster: there must be at least one node");
        for seed in &self.seeds {
            let node = self.node(seed);
            let connected = match node.connect().await {
                Ok(()) => self.ask(&node, Instant::now() + self.settings.connect_timeout).await,
                Err(error) => Err(error),
            };
            match connected {
                Ok(map) => {
                    self.learn(map);
                    return Ok(());
                }
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// Sends one command to the node that serves `key`. An error that a node answers with is still in the reply.
    pub(crate) async fn command(self: &Arc<Self>, operation: &'static str, key: &str, command: &Cmd) -> Result<Value> {
        let (deadline, turn) = self.turns.take(operation).await?;
        turn.end(self.routed(operation, deadline, key, command).await)
    }

    async fn routed(
        self: &Arc<Self>,
        operation: &'static str,
        deadline: Instant,
        key: &str,
        command: &Cmd,
    ) -> Result<Value> {
        let part = Part::new(key, command);
        let part = match self.map().owner_of(key).map(|master| Arc::clone(&master.node)) {
            None => part,
            Some(node) => match node.command(operation, deadline, command).await {
                Ok(reply) => match Redirect::of(&reply, address_of(&node)) {
                    None => return Ok(reply),
                    Some(redirect) => part.redirected(self, redirect, reply),
                },
                // It is about the caller, not about the node.
                Err(error) if error.kind() == ErrorKind::Config => return Err(error),
                // It was not sent, so another node may have the slot by now.
                Err(error) if !error.may_have_executed() => part.unreachable(node, error),
                Err(error) => {
                    self.refresh();
                    return Err(error);
                }
            },
        };
        let mut replies = self.run(operation, deadline, vec![part]).await?;
        replies.pop().ok_or_else(|| crate::wire::error::unexpected(operation))
    }

    /// Sends commands together, each to the node that serves its key: one round trip per node, to all of them at a time. A node
    /// that fails is an error, whatever the others answer.
    pub(crate) async fn all(self: &Arc<Self>, operation: &'static str, parts: Vec<Part<'_>>) -> Result<Vec<Value>> {
        if parts.is_empty() {
            return Ok(Vec::new());
        }
        let (deadline, turn) = self.turns.take(operation).await?;
        turn.end(self.run(operation, deadline, parts).await)
    }

    /// A turn, and the deadline of the call that it is for.
    pub(crate) async fn turn(&self, operation: &'static str) -> Result<(Instant, Turn<'_>)> {
        self.turns.take(operation).await
    }

    /// Every node that serves slots; an error where one is served by nobody, also after another look.
    pub(crate) async fn all_masters(
        self: &Arc<Self>,
        operation: &'static str,
        deadline: Instant,
    ) -> Result<Vec<Arc<Node>>> {
        if !self.map().is_whole() {
            self.refreshed(deadline).await;
        }
        let map = self.map();
        if !map.is_whole() {
            return Err(execute::nobody(operation));
        }
        Ok(map.masters().iter().map(|master| Arc::clone(&master.node)).collect())
    }

    fn map(&self) -> Arc<Map> {
        Arc::clone(&self.map.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The node that another one names by this address.
    fn named(&self, address: Address) -> Arc<Node> {
        self.node(&self.settings.reachable(address))
    }

    /// The node at this address, with the connections that it has.
    fn node(&self, address: &Address) -> Arc<Node> {
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(Node::new(Endpoint::at(address.clone(), Arc::clone(&self.settings))));
        Arc::clone(nodes.entry(address.clone()).or_insert_with(new))
    }
}

/// A node of a cluster is at a fixed address.
fn address_of(node: &Node) -> &Address {
    match &node.endpoint().origin {
        Origin::At(address) => address,
        Origin::Elected(_) => unreachable!("Cluster::node makes none of these"),
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the cluster by {:?}", self.seeds)
    }
}
