//! Blocking groups.

use std::ops::Deref;

use super::{Cache, executor::wait};
use crate::{AnyBackend, CacheError, Json, KvBackend, Serializer};

/// A part of a [`Cache`] that can be invalidated as a whole: [`codex_kv::Group`](crate::Group)
/// without `async`. It is itself a cache.
///
/// ```
/// use codex_kv::{Timeout, blocking::Cache, memory::MemoryBackend};
///
/// # fn main() -> Result<(), codex_kv::CacheError> {
/// let cache = Cache::builder(MemoryBackend::new()).key_prefix("shop").build()?;
/// cache.group("user:42")?.set("name", "Ada", Timeout::Default)?;
/// cache.group("user:42")?.invalidate()?;
/// assert_eq!(cache.group("user:42")?.get::<String>("name")?, None);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Group<B = AnyBackend, S = Json> {
    group: crate::Group<B, S>,
    cache: Cache<B, S>,
}

impl<B: KvBackend, S: Serializer> Group<B, S> {
    pub(super) fn new(group: crate::Group<B, S>) -> Self {
        let cache = Cache::from((*group).clone());
        Self { group, cache }
    }

    /// Invalidates all values of the group, for every process; see
    /// [`Group::invalidate`](crate::Group::invalidate).
    ///
    /// # Errors
    ///
    /// The errors of [every verb](Cache#errors).
    pub fn invalidate(&self) -> Result<(), CacheError> {
        wait(self.group.invalidate())
    }

    /// Returns the names of the groups, sorted.
    pub fn names(&self) -> &[String] {
        self.group.names()
    }
}

impl<B, S> Deref for Group<B, S> {
    type Target = Cache<B, S>;

    fn deref(&self) -> &Self::Target {
        &self.cache
    }
}
