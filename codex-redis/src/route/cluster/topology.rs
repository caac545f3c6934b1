//! The refresh of the slot map.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use codex_traits::ErrorKind;
use futures_util::{FutureExt as _, future::select_ok};
use tokio::{
    runtime::{Handle, Id},
    sync::watch,
    time::{Instant, sleep_until, timeout_at},
};

use super::{Cluster, slot_map::SlotMap};
use crate::{
    config::settings::Address,
    connection::multiplexer::Deadline,
    observe,
    server::Server,
    wire::{Command, Failure, error::server_error},
};

/// The shortest time between two refreshes. It limits the load while many slots move, because each
/// redirection asks for a refresh.
const PAUSE: Duration = Duration::from_millis(100);

/// The number of nodes that are asked at the same time. The first map is adopted. If it is wrong,
/// the next answer to a command reveals that.
const ASKED_TOGETHER: usize = 3;

/// The maximum number of remembered nodes that only a redirection has named.
const STRANGERS: usize = 64;

/// The refresh tasks, at most one on each runtime, because a task of another runtime may not be
/// driven.
#[derive(Debug, Default)]
pub(super) struct Refreshes(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Each sender is dropped when the refresh ends, or with its runtime.
    running: Vec<(Id, watch::Receiver<()>)>,
    last: Option<Instant>,
}

/// The nodes and their connections.
#[derive(Debug, Default)]
pub(super) struct Known {
    servers: HashMap<Address, Arc<Server<Address>>>,
    /// Nodes that no map has named yet, the oldest first.
    strangers: VecDeque<Address>,
}

impl Cluster {
    /// Reads the slot map from the first seed that answers.
    pub(crate) async fn connect(self: &Arc<Self>) -> Result<(), Failure> {
        let mut last = Failure::new(ErrorKind::Config, "cluster: there must be at least one node");
        for seed in &self.seeds {
            let server = self.server(seed);
            let map = match server.connect().await {
                Ok(()) => self.ask(&server, self.settings.connect_timeout).await,
                Err(failure) => Err(failure),
            };
            match map {
                Ok(map) => {
                    self.learn(map);
                    return Ok(());
                }
                Err(failure) => last = failure,
            }
        }
        Err(last)
    }

    /// Refreshes the slot map in the background. The sender is dropped when the refresh ends.
    pub(super) fn refresh(self: &Arc<Self>) -> watch::Receiver<()> {
        let (over, running) = watch::channel(());
        let Ok(runtime) = Handle::try_current() else {
            // Every call outside of a runtime fails with its own error.
            return running;
        };
        let mut state = self.refreshes.state();
        state.running.retain(|(_, running)| running.has_changed().is_ok());
        if let Some((_, running)) = state.running.iter().find(|(id, _)| *id == runtime.id()) {
            return running.clone();
        }
        let now = Instant::now();
        let earliest = state.last.map_or(now, |last| (last + PAUSE).min(now + PAUSE));
        state.running.push((runtime.id(), running.clone()));
        drop(state);
        let cluster = Arc::clone(self);
        runtime.spawn(async move {
            sleep_until(earliest).await;
            // An address map that panics must not make the refreshes follow each other at once.
            let _ = AssertUnwindSafe(cluster.look()).catch_unwind().await;
            cluster.refreshes.state().last = Some(Instant::now());
            drop(over);
        });
        running
    }

    /// Refreshes the slot map, and waits for it until the deadline.
    pub(super) async fn refreshed(self: &Arc<Self>, deadline: Deadline) {
        let mut running = self.refresh();
        // An error means that the refresh has ended.
        let _ = timeout_at(deadline.at, running.changed()).await;
    }

    async fn look(&self) {
        let map = self.map();
        let mut known: HashSet<Address> = self.seeds.iter().cloned().collect();
        known.extend(map.masters().iter().map(|master| master.server.place().clone()));
        known.extend(map.replicas.iter().cloned());
        let mut known: Vec<Address> = known.into_iter().collect();
        shuffle(&mut known);
        for some in known.chunks(ASKED_TOGETHER) {
            let asked = some.iter().map(|address| {
                let server = self.server(address);
                Box::pin(async move { self.ask(&server, self.settings.command_timeout).await })
            });
            if let Ok((map, _)) = select_ok(asked).await {
                self.learn(map);
                return;
            }
        }
        tracing::warn!("no node of the Redis cluster returned its slot map");
    }

    /// Asks one node for its slot map.
    pub(super) async fn ask(&self, server: &Server<Address>, timeout: Duration) -> Result<SlotMap, Failure> {
        let at = Instant::now() + timeout;
        let deadline = Deadline {
            at,
            latest: at,
            verb: "connect",
        };
        let answer = server.command(deadline, &Command::read("CLUSTER SLOTS")).await?;
        let failed = |kind, message: &'static str| Failure::new(kind, message).not_executed();
        if let Some(error) = server_error(&answer) {
            return Err(match error.code() {
                "NOPERM" => failed(ErrorKind::Config, "the server's user may not ask for CLUSTER SLOTS"),
                "LOADING" => failed(ErrorKind::Server, "the server is still loading its data (LOADING)").retryable(),
                _ => failed(ErrorKind::Config, "the server is not a node of a cluster"),
            });
        }
        let reachable = |address| self.settings.reachable(address);
        let map = SlotMap::read(&answer, server.place(), reachable, |address| {
            self.server_of_map(address)
        })
        .ok_or_else(Failure::unexpected)?;
        if map.masters().is_empty() {
            return Err(failed(ErrorKind::Server, "no node of the cluster serves anything yet").retryable());
        }
        Ok(map)
    }

    pub(super) fn learn(&self, map: SlotMap) {
        let map = Arc::new(map);
        let before = std::mem::replace(
            &mut *self.map.write().unwrap_or_else(PoisonError::into_inner),
            Arc::clone(&map),
        );
        let (moved, took_over) = map.changes(&before);
        for master in took_over {
            observe::failed_over("cluster", master.server.place().parts());
        }
        if moved > 0 {
            observe::slots_moved(moved);
        }
        // A node that has left the cluster is dropped with its connections.
        let replicas: HashSet<&Address> = map.replicas.iter().chain(&self.seeds).collect();
        let mut known = self.known();
        known.strangers.clear();
        known.servers.retain(|address, _| replicas.contains(address));
        for master in map.masters() {
            known
                .servers
                .insert(master.server.place().clone(), Arc::clone(&master.server));
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the node that another node names by this address.
    pub(super) fn named(&self, address: Address) -> Arc<Server<Address>> {
        self.server(&self.settings.reachable(address))
    }

    /// Returns the node at this address with its existing connections.
    pub(super) fn server(&self, address: &Address) -> Arc<Server<Address>> {
        let mut known = self.known();
        if let Some(server) = known.servers.get(address) {
            return Arc::clone(server);
        }
        // Redirections can name any address, so only the latest are remembered.
        if known.strangers.len() >= STRANGERS
            && let Some(oldest) = known.strangers.pop_front()
        {
            known.servers.remove(&oldest);
        }
        known.strangers.push_back(address.clone());
        let server = Arc::new(Server::new(address.clone(), Arc::clone(&self.settings)));
        known.servers.insert(address.clone(), Arc::clone(&server));
        server
    }

    /// Returns the node at this address. It is remembered once its map is adopted.
    fn server_of_map(&self, address: Address) -> Arc<Server<Address>> {
        let known = self.known().servers.get(&address).cloned();
        known.unwrap_or_else(|| Arc::new(Server::new(address, Arc::clone(&self.settings))))
    }
}

impl Refreshes {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Shuffles addresses, so that handles do not all ask the same node.
fn shuffle(addresses: &mut [Address]) {
    for last in (1..addresses.len()).rev() {
        // Without random numbers the order stays as it is.
        let chance = getrandom::u64().unwrap_or_default();
        let other = usize::try_from(chance % (last as u64 + 1)).unwrap_or(last);
        addresses.swap(last, other);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::builder::RedisBuilder;

    #[test]
    fn nodes_that_only_redirections_name_are_remembered_up_to_a_bound() {
        let settings = RedisBuilder::new().check().unwrap().settings;
        let cluster = Cluster::new(Vec::new(), Arc::new(settings));
        let address = |number: u16| Address::Tcp {
            host: format!("10.0.{}.{}", number >> 8, number & 255),
            port: 6379,
        };
        for number in 0..10_000 {
            let named = cluster.named(address(number));
            // The latest are still there, with their connections.
            assert!(Arc::ptr_eq(&named, &cluster.named(address(number))));
        }
        let known = cluster.known();
        assert_eq!((known.servers.len(), known.strangers.len()), (STRANGERS, STRANGERS));
    }
}
