//! The slots of each runtime.

use std::sync::{
    Arc, PoisonError, RwLock,
    atomic::{AtomicUsize, Ordering},
};

use codex_traits::{Error, ErrorKind, Result};
use tokio::runtime::{Handle, Id};

use crate::{
    dial::{DialError, Link},
    endpoint::Endpoint,
    slot::{Found, Slot},
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
    next: AtomicUsize,
}

impl Pool {
    fn new(endpoint: Arc<Endpoint>) -> Self {
        Self {
            slots: (0..endpoint.settings.slots).map(|_| Arc::new(Slot::new())).collect(),
            endpoint,
            next: AtomicUsize::new(0),
        }
    }

    /// A connection, and the slot that it is in. Slots are taken in turn; one that is not ready begins to dial, and is waited for
    /// only where no other is ready.
    pub(crate) async fn link(&self) -> Result<(&Arc<Slot>, Arc<Link>), DialError> {
        loop {
            let first = self.next.fetch_add(1, Ordering::Relaxed);
            let mut dialling = None;
            let mut resting = None;
            for offset in 0..self.slots.len() {
                let slot = &self.slots[first.wrapping_add(offset) % self.slots.len()];
                match slot.find(&self.endpoint) {
                    Found::Ready(link) => return Ok((slot, link)),
                    Found::Dialling(dialled) => dialling = dialling.or(Some((slot, dialled))),
                    Found::Resting(reason) => resting = Some(reason),
                }
            }
            match (dialling, resting) {
                (Some((slot, mut dialled)), _) => {
                    // An error here is a dial that was dropped with its runtime: look again.
                    if let Ok(outcome) = dialled.wait_for(Option::is_some).await
                        && let Some(outcome) = outcome.clone()
                    {
                        return Ok((slot, outcome?));
                    }
                }
                (None, Some(reason)) => return Err(reason),
                // There is at least one slot, and each is one of the three.
                (None, None) => {}
            }
        }
    }

    fn is_alive(&self) -> bool {
        self.slots.iter().any(|slot| slot.is_alive())
    }
}
