//! The slots of each runtime.

use std::sync::{Arc, PoisonError, RwLock};

use codex_traits::{Error, ErrorKind, Result};
use tokio::runtime::{Handle, Id};

use crate::{
    connection::{connect::Link, failure::DialError},
    server::connection_cell::{Found, Slot},
    server::locate::Endpoint,
};

/// A pool per runtime.
///
/// A connection is driven by a task of the runtime that dialled it. On another one it would stop with that runtime, or, where
/// that is a current-thread runtime that is merely not being run, never answer.
#[derive(Debug)]
pub(crate) struct Pools {
    endpoint: Arc<Endpoint>,
    pools: RwLock<Vec<(Id, Arc<Pool>)>>,
}

impl Pools {
    pub(crate) fn new(endpoint: Arc<Endpoint>) -> Self {
        Self {
            endpoint,
            pools: RwLock::new(Vec::new()),
        }
    }

    /// The pool of the current runtime.
    pub(crate) fn here(&self, operation: &'static str) -> Result<Arc<Pool>> {
        let Ok(runtime) = Handle::try_current() else {
            return Err(Error::new(
                ErrorKind::Config,
                operation,
                "must be called inside a tokio runtime",
            ));
        };
        let id = runtime.id();
        let pools = self.pools.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(pool) = find(&pools, id) {
            return Ok(pool);
        }
        drop(pools);
        let mut pools = self.pools.write().unwrap_or_else(PoisonError::into_inner);
        // Two tasks may have got here.
        if let Some(pool) = find(&pools, id) {
            return Ok(pool);
        }
        // The runtimes of those are gone, or they are as good as new.
        pools.retain(|(_, pool)| pool.is_alive());
        let pool = Arc::new(Pool::new(Arc::clone(&self.endpoint)));
        pools.push((id, Arc::clone(&pool)));
        Ok(pool)
    }
}

fn find(pools: &[(Id, Arc<Pool>)], id: Id) -> Option<Arc<Pool>> {
    let (_, pool) = pools.iter().find(|(runtime, _)| *runtime == id)?;
    Some(Arc::clone(pool))
}

#[derive(Debug)]
pub(crate) struct Pool {
    endpoint: Arc<Endpoint>,
    slots: Vec<Arc<Slot>>,
}

impl Pool {
    fn new(endpoint: Arc<Endpoint>) -> Self {
        Self {
            slots: (0..endpoint.settings.connections)
                .map(|_| Arc::new(Slot::new()))
                .collect(),
            endpoint,
        }
    }

    /// A connection, and the slot that it is in, where one is ready that nothing large is in the way on.
    ///
    /// The first slot comes first: requests that are written together cost less than on several connections. Large requests begin at
    /// the second one, so that they hold nobody up; small ones evade there what is large on the first.
    pub(crate) fn ready(&self, is_large: bool) -> Option<(&Arc<Slot>, Arc<Link>)> {
        let mut clogged = None;
        for slot in self.from(is_large) {
            let link = slot.ready()?;
            if is_large || !link.mux().is_clogged() {
                return Some((slot, link));
            }
            clogged = clogged.or(Some((slot, link)));
        }
        clogged
    }

    /// A connection, and the slot that it is in. Every slot that is not ready begins to dial; that is waited for only where no other
    /// is ready.
    pub(crate) async fn link(&self, is_large: bool) -> Result<(&Arc<Slot>, Arc<Link>), DialError> {
        loop {
            let mut ready = None;
            let mut dialling = None;
            let mut resting = None;
            for slot in self.from(is_large) {
                match slot.find(&self.endpoint) {
                    Found::Ready(link) => ready = ready.or(Some((slot, link))),
                    Found::Dialling(dialled) => dialling = dialling.or(Some((slot, dialled))),
                    Found::Resting(reason) => resting = Some(reason),
                }
            }
            match (ready, dialling, resting) {
                (Some(ready), ..) => return Ok(ready),
                (None, Some((slot, mut dialled)), _) => {
                    // An error here is a dial that was dropped with its runtime: look again.
                    if let Ok(outcome) = dialled.wait_for(Option::is_some).await
                        && let Some(outcome) = outcome.clone()
                    {
                        return Ok((slot, outcome?));
                    }
                }
                (None, None, Some(reason)) => return Err(reason),
                // There is at least one slot, and each is one of the three.
                (None, None, None) => {}
            }
        }
    }

    /// Leaves a connection that has frozen, and those that nothing waits on: where a firewall or a fail-over has cut one silently, it has
    /// cut them too, and a dial costs less than finding out.
    pub(crate) fn leave_frozen(&self, slot: &Slot, link: &Arc<Link>) {
        if !slot.evict(link, "timeouts in a row") {
            return;
        }
        for other in &self.slots {
            if let Some(link) = other.ready().filter(|link| link.mux().is_idle()) {
                other.evict(&link, "idle beside one with timeouts in a row");
            }
        }
    }

    /// The slots in the order in which they are looked at.
    fn from(&self, is_large: bool) -> impl Iterator<Item = &Arc<Slot>> {
        let first = usize::from(is_large && self.slots.len() > 1);
        self.slots[first..].iter().chain(&self.slots[..first])
    }

    fn is_alive(&self) -> bool {
        self.slots.iter().any(|slot| slot.is_alive())
    }
}
