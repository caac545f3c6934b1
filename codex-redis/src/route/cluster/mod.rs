//! A Redis Cluster: its slot map, its nodes, and the routing of commands.
//!
//! Each node has its own connections, like a single server. The slot map is read from CLUSTER SLOTS
//! at the start, and again whenever an answer or a failure suggests that it has changed. At this
//! level a command is sent again only if a node refused it without running it, or if it was not
//! sent.

mod execute;
mod redirect;
mod scan;
mod slot_map;
mod slots;
mod topology;
pub(crate) mod tracked;

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use codex_traits::ErrorKind;
use redis::Value;

use self::{
    execute::Part,
    redirect::Redirect,
    slot_map::SlotMap,
    slots::slot_of,
    topology::{Known, Refreshes},
};
use crate::{
    config::settings::{Address, Settings},
    connection::multiplexer::Deadline,
    server::Server,
    wire::{Command, Failure, Request, reply::Replies},
};

pub(crate) struct Cluster {
    settings: Arc<Settings>,
    seeds: Vec<Address>,
    /// Never locked across an await, like the other locks here.
    map: RwLock<Arc<SlotMap>>,
    known: Mutex<Known>,
    refreshes: Refreshes,
}

impl Cluster {
    pub(crate) fn new(seeds: Vec<Address>, settings: Arc<Settings>) -> Self {
        Self {
            settings,
            seeds,
            map: RwLock::default(),
            known: Mutex::default(),
            refreshes: Refreshes::default(),
        }
    }

    /// Sends one command to the node that serves `key`. Returns an error of the node as a reply.
    pub(crate) async fn command(
        self: &Arc<Self>,
        deadline: Deadline,
        key: &[u8],
        command: &Command<'_>,
    ) -> Result<Value, Failure> {
        let mut part = Part::of(key);
        let owner = self.map().owner(slot_of(key)).map(|master| Arc::clone(&master.server));
        if let Some(server) = owner {
            match server.command(deadline, command).await {
                Ok(reply) => match Redirect::of(&reply, server.place()) {
                    None => return Ok(reply),
                    Some(redirect) => part.redirect(self, redirect, reply),
                },
                // The caller is at fault, not the node.
                Err(failure) if failure.kind() == ErrorKind::Config => return Err(failure),
                // The command was not sent. Another node may serve the slot by now.
                Err(failure) if !failure.may_have_executed() => part.unreachable(server, failure),
                Err(failure) => {
                    self.refresh();
                    return Err(failure);
                }
            }
        }
        let mut replies = Box::pin(self.run(deadline, std::slice::from_ref(command), vec![part])).await?;
        replies.pop().ok_or_else(Failure::unexpected)
    }

    /// Sends commands together, each to the node that serves its key, in one round trip per node
    /// and to all nodes at the same time. Fails if any node fails.
    pub(crate) async fn all<K: AsRef<[u8]>>(
        self: &Arc<Self>,
        deadline: Deadline,
        keys: impl IntoIterator<Item = K>,
        commands: &[Command<'_>],
    ) -> Result<Vec<Value>, Failure> {
        let parts = keys.into_iter().map(|key| Part::of(key.as_ref())).collect();
        Box::pin(self.run(deadline, commands, parts)).await
    }

    /// Sends a transaction to the node that serves `key`, which must serve all keys of the
    /// transaction. Follows no redirection. Returns errors of the server as replies.
    pub(crate) async fn transaction(
        self: &Arc<Self>,
        deadline: Deadline,
        key: &[u8],
        commands: &[Command<'_>],
    ) -> Result<Replies, Failure> {
        if self.map().owner(slot_of(key)).is_none() {
            self.refreshed(deadline).await;
        }
        let map = self.map();
        let master = map.owner(slot_of(key)).ok_or_else(execute::nobody)?;
        let answer = master.server.request(deadline, Request::transaction(commands)).await;
        if !answer.as_ref().is_ok_and(|replies| !replies.has_error()) {
            self.refresh();
        }
        answer
    }

    /// Sends one command to a random master.
    pub(crate) async fn anywhere(
        self: &Arc<Self>,
        deadline: Deadline,
        command: &Command<'_>,
    ) -> Result<Value, Failure> {
        let masters = self.all_masters(deadline).await?;
        let chance = usize::try_from(getrandom::u32().unwrap_or_default()).unwrap_or_default();
        let master = masters.get(chance % masters.len().max(1)).ok_or_else(execute::nobody)?;
        master.command(deadline, command).await
    }

    /// Returns every node that serves slots. Fails if a slot has no node, even in a refreshed map.
    pub(crate) async fn all_masters(
        self: &Arc<Self>,
        deadline: Deadline,
    ) -> Result<Vec<Arc<Server<Address>>>, Failure> {
        if !self.map().is_whole() {
            self.refreshed(deadline).await;
        }
        let map = self.map();
        if !map.is_whole() {
            return Err(execute::nobody());
        }
        Ok(map.masters().iter().map(|master| Arc::clone(&master.server)).collect())
    }

    pub(crate) fn map(&self) -> Arc<SlotMap> {
        Arc::clone(&self.map.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the cluster by {:?}", self.seeds)
    }
}
