//! The tracked connections to the nodes of a cluster.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak},
};

use codex_traits::{NodeId, TrackingListener};
use futures_util::future::try_join_all;
use redis::Value;

use super::{Cluster, redirect::Redirect, slot_map::SlotMap, slots::slot_of};
use crate::{
    config::settings::Address,
    connection::multiplexer::Deadline,
    server::tracked::{Canary, Tracked},
    wire::Failure,
};

/// The number of random keys to try in search of a key that a node serves. A node with a single
/// slot serves 1 key in 16384.
const TRIES: u32 = 1 << 20;

type Node = Arc<Tracked<Address>>;

/// The tracked connections to the masters of the newest slot map.
pub(crate) struct TrackedNodes {
    cluster: Arc<Cluster>,
    listener: Arc<dyn TrackingListener>,
    known: RwLock<Known>,
}

#[derive(Default)]
struct Known {
    map: Arc<SlotMap>,
    places: HashMap<Address, usize>,
    /// The nodes, by their numbers.
    nodes: Vec<Option<Node>>,
}

impl TrackedNodes {
    pub(crate) fn new(cluster: Arc<Cluster>, listener: Arc<dyn TrackingListener>) -> Self {
        Self {
            cluster,
            listener,
            known: RwLock::default(),
        }
    }

    /// Opens a connection to every master.
    pub(crate) async fn connect(&self, deadline: Deadline) -> Result<(), Failure> {
        self.cluster.all_masters(deadline).await?;
        self.learn(&self.cluster.map());
        let nodes: Vec<Node> = self.write().nodes.iter().flatten().cloned().collect();
        try_join_all(nodes.iter().map(Tracked::connect)).await?;
        Ok(())
    }

    /// Returns the node that serves a key.
    ///
    /// If the slot map has changed, everything that was read by the old map is invalidated first,
    /// so that an answer of a slot's former node is never cached beside an answer of its current
    /// node.
    pub(crate) fn of(&self, key: &[u8]) -> Option<Node> {
        self.newest().owner(key)
    }

    /// Returns the node with this number.
    ///
    /// Every proof calls this, so that answers of a slot's former node are invalidated even if all
    /// reads are answered from memory, and only a write has learned that the slot has moved.
    pub(crate) fn numbered(&self, node: NodeId) -> Option<Node> {
        self.newest().nodes.get(usize::from(node.number()))?.clone()
    }

    /// Returns the nodes of the newest slot map.
    fn newest(&self) -> RwLockReadGuard<'_, Known> {
        let map = self.cluster.map();
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        if Arc::ptr_eq(&known.map, &map) {
            return known;
        }
        drop(known);
        self.learn(&map);
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether a node refused to answer because of its slots. If so, invalidates everything
    /// that was read from the node and refreshes the slot map.
    pub(crate) fn is_redirected(&self, node: &Node, reply: &Value) -> bool {
        let is_redirected = Redirect::of(reply, node.server().place()).is_some();
        if is_redirected {
            self.listener.flushed(node.node());
            self.cluster.refresh();
        }
        is_redirected
    }

    fn write(&self) -> RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn learn(&self, map: &Arc<SlotMap>) {
        let mut known = self.write();
        if Arc::ptr_eq(&known.map, map) {
            return;
        }
        let (moved, _) = map.changes(&known.map);
        let is_served = |address: &Address| map.masters().iter().any(|master| master.server.place() == address);
        let mut left = Vec::new();
        for node in &mut known.nodes {
            match node {
                Some(gone) if !is_served(gone.server().place()) => left.extend(node.take()),
                Some(node) if moved > 0 => self.listener.flushed(node.node()),
                _ => {}
            }
        }
        for node in left {
            known.places.remove(node.server().place());
            node.end();
        }
        for master in map.masters() {
            if known.places.contains_key(master.server.place()) {
                continue;
            }
            let free = known.nodes.iter().position(Option::is_none);
            let at = free.unwrap_or(known.nodes.len());
            let Ok(number) = u16::try_from(at) else { break };
            let node = Arc::new(Tracked::new(
                Arc::clone(&master.server),
                NodeId::new(number),
                canary(&self.cluster, master.server.place()),
                true,
                Arc::clone(&self.listener),
            ));
            known.places.insert(master.server.place().clone(), at);
            match known.nodes.get_mut(at) {
                Some(place) => *place = Some(node),
                None => known.nodes.push(Some(node)),
            }
        }
        known.map = Arc::clone(map);
    }
}

impl Known {
    fn owner(&self, key: &[u8]) -> Option<Node> {
        let master = self.map.owner(slot_of(key))?;
        let at = *self.places.get(master.server.place())?;
        self.nodes.get(at)?.clone()
    }
}

impl Drop for TrackedNodes {
    fn drop(&mut self) {
        for node in self.write().nodes.drain(..).flatten() {
            node.end();
        }
    }
}

/// Returns a function that makes keys in slots that the node serves at that time.
fn canary(cluster: &Arc<Cluster>, address: &Address) -> Canary {
    let (cluster, address): (Weak<Cluster>, _) = (Arc::downgrade(cluster), address.clone());
    Box::new(move || {
        let map = cluster.upgrade()?.map();
        // Without a slot of the node every try would fail.
        if !map.masters().iter().any(|master| *master.server.place() == address) {
            return None;
        }
        let chance = getrandom::u64().unwrap_or_default();
        (0..TRIES)
            .map(|at| format!("codex-kv:near:{chance:016x}{at}"))
            .find(|key| {
                let owner = map.owner(slot_of(key.as_bytes()));
                owner.is_some_and(|master| *master.server.place() == address)
            })
    })
}

impl fmt::Debug for TrackedNodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cluster.fmt(f)
    }
}
