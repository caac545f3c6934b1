//! A Redis Cluster for a single test.

use std::{
    ffi::OsString,
    ops::Deref,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use redis::{RedisError, Value};

use super::{
    sentinel::{text, wait},
    server::{PORT_TAKEN, RedisServer, free_port},
};
use crate::require::Unavailable;

/// The number of slots of a cluster.
const SLOTS: usize = 16384;

/// Three masters, each with a replica unless the cluster is [leased](Self::lease), started from the
/// `redis-server` on `PATH`. All servers end when this value is dropped, or with the process.
///
/// A node that is silent for a second counts as down, in a leased cluster for a minute.
#[derive(Debug)]
pub struct RedisCluster {
    masters: Vec<RedisServer>,
    replicas: Vec<RedisServer>,
}

impl RedisCluster {
    /// Starts three masters, each with a replica.
    ///
    /// # Errors
    ///
    /// [`Unavailable`] if a server does not start, or if the servers do not find each other.
    pub fn start() -> Result<Self, Unavailable> {
        Self::start_with(true, 1000)
    }

    fn start_with(with_replicas: bool, node_timeout: u32) -> Result<Self, Unavailable> {
        let nodes = |count: usize| -> Result<Vec<RedisServer>, Unavailable> {
            (0..count).map(|_| node(node_timeout)).collect()
        };
        let cluster = Self {
            masters: nodes(3)?,
            replicas: nodes(if with_replicas { 3 } else { 0 })?,
        };
        cluster.join()?;
        Ok(cluster)
    }

    fn join(&self) -> Result<(), Unavailable> {
        let failed =
            |error: RedisError| Unavailable::new(format!("the nodes of a cluster could not be joined: {error}"));
        let count = self.masters.len();
        for (at, master) in self.masters.iter().enumerate() {
            let first = (at * SLOTS / count).to_string();
            let last = ((at + 1) * SLOTS / count - 1).to_string();
            let epoch = (at + 1).to_string();
            master
                .command(&["CLUSTER", "SET-CONFIG-EPOCH", &epoch])
                .map_err(failed)?;
            master
                .command(&["CLUSTER", "ADDSLOTSRANGE", &first, &last])
                .map_err(failed)?;
        }
        for node in self.nodes().skip(1) {
            let bus = bus_port(node).ok_or_else(|| Unavailable::new("a node does not report its bus port"))?;
            let port = node.port().to_string();
            let meet = ["CLUSTER", "MEET", "127.0.0.1", &port, &bus];
            self.masters[0].command(&meet).map_err(failed)?;
        }
        let known = format!("cluster_known_nodes:{}", self.nodes().count());
        for node in self.nodes() {
            wait("a node to know the others", || {
                text(node, &["CLUSTER", "INFO"]).contains(&known)
            })?;
        }
        for (master, replica) in self.masters.iter().zip(&self.replicas) {
            let id = text(master, &["CLUSTER", "MYID"]);
            wait("a replica to follow its master", || {
                replica.command(&["CLUSTER", "REPLICATE", &id]).is_ok()
            })?;
        }
        for node in self.nodes() {
            wait("the cluster to serve all slots", || {
                text(node, &["CLUSTER", "INFO"]).contains("cluster_state:ok")
                    && text(node, &["CLUSTER", "NODES"]).matches("slave").count() == self.replicas.len()
            })?;
        }
        for replica in &self.replicas {
            wait("a replica to be in sync", || {
                text(replica, &["INFO", "replication"]).contains("master_link_status:up")
            })?;
        }
        Ok(())
    }

    fn nodes(&self) -> impl Iterator<Item = &RedisServer> {
        self.masters.iter().chain(&self.replicas)
    }

    /// Returns `redis-cluster://127.0.0.1:<port>,…` with the ports of the masters.
    pub fn url(&self) -> String {
        let places: Vec<String> = self
            .masters
            .iter()
            .map(|node| format!("127.0.0.1:{}", node.port()))
            .collect();
        format!("redis-cluster://{}", places.join(","))
    }

    /// Returns the nodes that were masters at the start, in the order of their slots. Each was
    /// assigned a third of the slots.
    pub fn masters(&self) -> &[RedisServer] {
        &self.masters
    }

    /// Returns the replicas, in the order of their masters.
    pub fn replicas(&self) -> &[RedisServer] {
        &self.replicas
    }

    /// Returns the master that serves this key, provided that no slot has moved.
    ///
    /// # Panics
    ///
    /// If the first master does not answer.
    pub fn master_of(&self, key: &[u8]) -> &RedisServer {
        let slot = self.masters[0].command(&[b"CLUSTER", &b"KEYSLOT"[..], key]);
        let Ok(Value::Int(slot)) = slot else {
            panic!("the first master did not answer CLUSTER KEYSLOT");
        };
        let count = self.masters.len();
        let at = (0..count).find(|at| usize::try_from(slot).is_ok_and(|slot| slot < (at + 1) * SLOTS / count));
        &self.masters[at.unwrap_or_default()]
    }

    /// Returns an empty cluster of three masters without replicas, for exclusive use until it is
    /// dropped. The tests of a process share a few such clusters. A cluster of which a node was
    /// killed, by [`kill_one`](ClusterLease::kill_one) or otherwise, is not used again.
    ///
    /// # Errors
    ///
    /// As for [`start`](Self::start).
    pub fn lease() -> Result<ClusterLease, Unavailable> {
        loop {
            let free = POOL.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let Some(cluster) = free else { break };
            let lease = ClusterLease::of(cluster);
            if cluster.masters.iter().all(is_emptied) {
                return Ok(lease);
            }
            lease.is_broken.store(true, Ordering::Relaxed);
        }
        // Leaked: the servers end with this process anyway. With the long timeout, no node counts
        // as down because the machine is busy.
        let cluster = Box::leak(Box::new(Self::start_with(false, 60_000)?));
        Ok(ClusterLease::of(cluster))
    }
}

/// Empties a master of a used cluster. Returns `false` if it is down, or has lost its slots by a
/// restart.
fn is_emptied(master: &RedisServer) -> bool {
    master.command(&["FLUSHALL"]).is_ok() && text(master, &["CLUSTER", "INFO"]).contains("cluster_state:ok")
}

static POOL: Mutex<Vec<&'static RedisCluster>> = Mutex::new(Vec::new());

/// A cluster that is leased to a test.
#[derive(Debug)]
pub struct ClusterLease {
    cluster: &'static RedisCluster,
    is_broken: AtomicBool,
}

impl ClusterLease {
    fn of(cluster: &'static RedisCluster) -> Self {
        Self {
            cluster,
            is_broken: AtomicBool::new(false),
        }
    }

    /// Kills one of the three masters, as in a crash. The cluster is not leased again.
    pub fn kill_one(&self) {
        self.is_broken.store(true, Ordering::Relaxed);
        self.cluster.masters[2].kill();
    }
}

impl Deref for ClusterLease {
    type Target = RedisCluster;

    fn deref(&self) -> &RedisCluster {
        self.cluster
    }
}

impl Drop for ClusterLease {
    fn drop(&mut self) {
        if self.is_broken.load(Ordering::Relaxed) {
            for node in self.cluster.nodes() {
                node.kill();
            }
        } else {
            POOL.lock().unwrap_or_else(PoisonError::into_inner).push(self.cluster);
        }
    }
}

fn node(timeout: u32) -> Result<RedisServer, Unavailable> {
    let start = || {
        let arguments: [OsString; 12] = [
            "--cluster-enabled".into(),
            "yes".into(),
            "--cluster-config-file".into(),
            "nodes.conf".into(),
            "--cluster-node-timeout".into(),
            timeout.to_string().into(),
            // The default is the port plus 10,000, which can be too large.
            "--cluster-port".into(),
            free_port()?.to_string().into(),
            "--repl-diskless-sync-delay".into(),
            "0".into(),
            "--cluster-replica-validity-factor".into(),
            "0".into(),
        ];
        RedisServer::start_with(arguments)
    };
    // Another process can take the port of the bus, and `start_with` retries with the same one.
    let mut attempts = 5;
    loop {
        attempts -= 1;
        match start() {
            Err(reason) if attempts > 0 && reason.to_string().contains(PORT_TAKEN) => {}
            started => return started,
        }
    }
}

fn bus_port(node: &RedisServer) -> Option<String> {
    let line = text(node, &["CLUSTER", "NODES"]);
    let address = line.split(' ').nth(1)?;
    let bus = address.split_once('@')?.1;
    Some(bus.split(',').next().unwrap_or(bus).to_owned())
}
