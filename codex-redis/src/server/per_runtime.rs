//! State that belongs to a runtime.

use std::{
    ops::Deref,
    sync::{Arc, OnceLock, PoisonError, RwLock},
};

use codex_traits::ErrorKind;
use tokio::{
    runtime::{Handle, Id},
    time::Instant,
};

use crate::wire::Failure;

/// The number of runtimes that find their state without a lock or a reference count. Every call on
/// every thread would contend for those.
const FIRST: usize = 4;

/// A `T` for each runtime that asks for it.
///
/// A task runs on the runtime that spawned it. If another runtime waited for the task, it would
/// also wait while the first runtime is not driven. A runtime therefore waits only for its own
/// tasks.
#[derive(Debug)]
pub(crate) struct PerRuntime<T> {
    /// Kept for the life of the handle.
    first: [OnceLock<(Id, T)>; FIRST],
    others: RwLock<Vec<(Id, Arc<T>)>>,
}

/// The time and the runtime at which a call began.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Start {
    pub(crate) at: Instant,
    pub(crate) runtime: Id,
}

/// Returns the id of the current runtime. The look-up writes to a reference count that all threads
/// share.
pub(crate) fn current_runtime() -> Result<Id, Failure> {
    match Handle::try_current() {
        Ok(runtime) => Ok(runtime.id()),
        Err(_) => Err(Failure::new(ErrorKind::Config, "must be called inside a tokio runtime")),
    }
}

/// The state of a runtime.
pub(crate) enum Here<'a, T> {
    First(&'a T),
    Other(Arc<T>),
}

impl<T> Deref for Here<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        match self {
            Self::First(state) => state,
            Self::Other(state) => state,
        }
    }
}

impl<T> PerRuntime<T> {
    pub(crate) fn new() -> Self {
        Self {
            first: [const { OnceLock::new() }; FIRST],
            others: RwLock::default(),
        }
    }

    /// Returns the state of this runtime, and creates it if it is missing. Creation beyond the
    /// first few runtimes also drops every state for which `is_used` is false: its runtime is gone,
    /// or it is as good as new.
    pub(crate) fn of(&self, id: Id, new: impl Fn() -> T, is_used: impl Fn(&T) -> bool) -> Here<'_, T> {
        for place in &self.first {
            // If two runtimes find the place empty, the first fills it and the second moves on to
            // the next.
            let (owner, state) = place.get_or_init(|| (id, new()));
            if *owner == id {
                return Here::First(state);
            }
        }
        Here::Other(self.other(id, new, is_used))
    }

    #[cold]
    fn other(&self, id: Id, new: impl Fn() -> T, is_used: impl Fn(&T) -> bool) -> Arc<T> {
        let others = self.others.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = find(&others, id) {
            return found;
        }
        drop(others);
        let mut others = self.others.write().unwrap_or_else(PoisonError::into_inner);
        // Another task may have created the state meanwhile.
        if let Some(found) = find(&others, id) {
            return found;
        }
        others.retain(|(_, other)| Arc::strong_count(other) > 1 || is_used(other));
        let made = Arc::new(new());
        others.push((id, Arc::clone(&made)));
        made
    }
}

fn find<T>(all: &[(Id, Arc<T>)], id: Id) -> Option<Arc<T>> {
    let (_, found) = all.iter().find(|(runtime, _)| *runtime == id)?;
    Some(Arc::clone(found))
}
