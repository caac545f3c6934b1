//! State that belongs to a runtime.

use std::sync::{Arc, PoisonError, RwLock};

use codex_traits::ErrorKind;
use tokio::runtime::{Handle, Id};

use crate::wire::Failure;

/// One `T` for each runtime that asks for it.
///
/// A task runs on the runtime that spawned it. If another runtime waited for it, it would wait for
/// as long as the first one is not being driven; so a runtime waits for nothing but its own tasks.
#[derive(Debug)]
pub(crate) struct PerRuntime<T>(RwLock<Vec<(Id, Arc<T>)>>);

impl<T> PerRuntime<T> {
    pub(crate) fn new() -> Self {
        Self(RwLock::default())
    }

    /// That of the current runtime; made if there is none. Those for which `is_used` does not hold
    /// are let go of then: their runtimes are gone, or they are as good as new.
    pub(crate) fn here(&self, new: impl FnOnce() -> T, is_used: impl Fn(&T) -> bool) -> Result<Arc<T>, Failure> {
        let Ok(runtime) = Handle::try_current() else {
            return Err(Failure::new(ErrorKind::Config, "must be called inside a tokio runtime"));
        };
        let id = runtime.id();
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = find(&all, id) {
            return Ok(found);
        }
        drop(all);
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        // Two tasks may have got here.
        if let Some(found) = find(&all, id) {
            return Ok(found);
        }
        all.retain(|(_, other)| Arc::strong_count(other) > 1 || is_used(other));
        let made = Arc::new(new());
        all.push((id, Arc::clone(&made)));
        Ok(made)
    }
}

fn find<T>(all: &[(Id, Arc<T>)], id: Id) -> Option<Arc<T>> {
    let (_, found) = all.iter().find(|(runtime, _)| *runtime == id)?;
    Some(Arc::clone(found))
}
