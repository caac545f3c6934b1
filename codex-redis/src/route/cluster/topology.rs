//! Keeping the map.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use codex_traits::{Error, ErrorKind, Result};
use futures_util::future::select_ok;
use redis::cmd;
use tokio::{
    runtime::Handle,
    sync::watch,
    time::{Instant, sleep_until, timeout_at},
};

use super::{Cluster, address_of, slot_map::Map};
use crate::{
    config::settings::Address,
    observe,
    server::server::{Node, server_error},
};

/// The shortest time from one look to the next: a cluster in which much moves is not asked with every answer.
const PAUSE: Duration = Duration::from_millis(100);

/// How many nodes are asked at a time; the first that answers is believed. A wrong one is found out by the next answer.
const ASKED_TOGETHER: usize = 3;

/// The one task that looks, if there is one.
#[derive(Debug, Default)]
pub(super) struct Refreshes(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Its sender is dropped when the look is over, also with its runtime.
    running: Option<watch::Receiver<()>>,
    last: Option<Instant>,
}

impl Cluster {
    /// Looks in the background who serves what now. Whoever wants to wait for it waits for the sender to be dropped.
    pub(super) fn refresh(self: &Arc<Self>) -> watch::Receiver<()> {
        let mut state = self.refreshes.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = &state.running
            && running.has_changed().is_ok()
        {
            return running.clone();
        }
        let (over, running) = watch::channel(());
        if Handle::try_current().is_err() {
            // Outside of a runtime every call is an error, and says so.
            return running;
        }
        let earliest = state.last.map_or_else(Instant::now, |last| last + PAUSE);
        state.running = Some(running.clone());
        let cluster = Arc::clone(self);
        tokio::spawn(async move {
            sleep_until(earliest).await;
            cluster.look().await;
            cluster.refreshes.0.lock().unwrap_or_else(PoisonError::into_inner).last = Some(Instant::now());
            drop(over);
        });
        running
    }

    /// Looks, and waits for that until the deadline.
    pub(super) async fn refreshed(self: &Arc<Self>, deadline: Instant) {
        let mut running = self.refresh();
        // An error is the end of it.
        let _ = timeout_at(deadline, running.changed()).await;
    }

    async fn look(&self) {
        let map = self.map();
        let mut known: HashSet<Address> = self.seeds.iter().cloned().collect();
        known.extend(map.masters().iter().map(|master| address_of(&master.node).clone()));
        known.extend(map.replicas.iter().cloned());
        let mut known: Vec<Address> = known.into_iter().collect();
        shuffle(&mut known);
        for some in known.chunks(ASKED_TOGETHER) {
            let deadline = Instant::now() + self.settings.command_timeout;
            let asked = some.iter().map(|address| {
                let node = self.node(address);
                Box::pin(async move { self.ask(&node, deadline).await })
            });
            if let Ok((map, _)) = select_ok(asked).await {
                self.learn(map);
                return;
            }
        }
        tracing::warn!("no node of the Redis cluster says who serves what");
    }

    /// Asks one node who serves what.
    pub(super) async fn ask(&self, node: &Node, deadline: Instant) -> Result<Map> {
        let answer = node.command("connect", deadline, cmd("CLUSTER").arg("SLOTS")).await?;
        let failed = |kind, message: &'static str| Error::new(kind, "connect", message).not_executed();
        if let Some(error) = server_error(&answer) {
            return Err(match error.code() {
                "NOPERM" => failed(ErrorKind::Config, "the server's user may not ask for CLUSTER SLOTS"),
                "LOADING" => failed(ErrorKind::Server, "the server is still loading its data (LOADING)").retryable(),
                _ => failed(ErrorKind::Config, "the server is not a node of a cluster"),
            });
        }
        let reachable = |address| self.settings.reachable(address);
        let map = Map::read(&answer, address_of(node), reachable, |address| self.node(&address))
            .ok_or_else(|| crate::wire::error::unexpected("connect"))?;
        if map.masters().is_empty() {
            return Err(failed(ErrorKind::Server, "no node of the cluster serves anything yet").retryable());
        }
        Ok(map)
    }

    pub(super) fn learn(&self, map: Map) {
        let map = Arc::new(map);
        let before = std::mem::replace(
            &mut *self.map.write().unwrap_or_else(PoisonError::into_inner),
            Arc::clone(&map),
        );
        let (moved, took_over) = map.changes(&before);
        for master in took_over {
            observe::failed_over("cluster", address_of(&master.node));
        }
        if moved > 0 {
            observe::slots_moved(moved);
        }
        // What has left the cluster is let go of, with its connections.
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        nodes.retain(|address, _| {
            self.seeds.contains(address)
                || map.replicas.contains(address)
                || map.masters().iter().any(|master| address_of(&master.node) == address)
        });
    }
}

/// So that not every handle asks the same node.
fn shuffle(addresses: &mut [Address]) {
    for last in (1..addresses.len()).rev() {
        // Without random numbers the order stays, which is no reason to fail.
        let chance = getrandom::u64().unwrap_or_default();
        let other = usize::try_from(chance % (last as u64 + 1)).unwrap_or(last);
        addresses.swap(last, other);
    }
}
