//! Groups of values that are invalidated together.

use std::{
    fmt::{self, Write as _},
    ops::Deref,
    sync::{Arc, PoisonError, RwLock},
};

use bytes::Bytes;
use codex_traits::{AnyBackend, Expiry, KvBackend};
use sha2::{Digest as _, Sha256};

use super::{Cache, CacheError, Json, Serializer, key::StoredKey, marker::Stored};

/// The prefix of a group's name in the key of its record.
const RECORD: &str = "group:";

/// The generation of a group, shared by all views of one handle.
#[derive(Clone)]
pub(super) struct Scope(Arc<RwLock<Arc<str>>>);

impl Scope {
    fn new(generation: Arc<str>) -> Self {
        Self(Arc::new(RwLock::new(generation)))
    }

    /// Returns `{lead}{generation}:{key}`.
    pub(super) fn join(&self, lead: &str, key: &str) -> String {
        [lead, &self.generation(), ":", key].concat()
    }

    pub(super) fn generation(&self) -> Arc<str> {
        // The value is only ever replaced as a whole, so a poisoned lock still holds a valid value.
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn replace(&self, generation: Arc<str>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = generation;
    }
}

/// A part of a [`Cache`] that can be invalidated as a whole; see [`Cache::group`].
///
/// A group is itself a cache: its verbs work only on the keys of the group.
///
/// ```
/// use codex_kv::{Cache, Timeout, memory::MemoryBackend};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), codex_kv::CacheError> {
/// let cache = Cache::builder(MemoryBackend::new()).key_prefix("shop").build()?;
///
/// let user = cache.group("user:42").await?;
/// user.set("basket", &["tea"], Timeout::Default).await?;
/// user.set("name", "Ada", Timeout::Default).await?;
///
/// cache.group("user:42").await?.invalidate().await?;
/// assert_eq!(cache.group("user:42").await?.get::<String>("name").await?, None);
/// # Ok(())
/// # }
/// ```
///
/// # Generations
///
/// The keys of a group contain its generation: 128 random bits, stored in a record of the group. A
/// handle reads the record once, when it is created. A long-lived handle therefore does not notice
/// an invalidation through another handle. [`invalidate`](Self::invalidate) writes a new
/// generation, at the same cost for any number of values; the old values expire with their
/// timeouts. If the record is lost, the next handle writes a new generation, so losing the record
/// also invalidates the group.
pub struct Group<B = AnyBackend, S = Json> {
    cache: Cache<B, S>,
    /// The cache that holds the records.
    parent: Cache<B, S>,
    scope: Scope,
    /// Sorted, without duplicates.
    names: Arc<[String]>,
}

impl<B: KvBackend, S: Serializer> Cache<B, S> {
    /// Returns the group of this name: a separate cache that can be invalidated as a whole. Takes
    /// one round trip, and up to two more to create a new group.
    ///
    /// The record is stored under the key `group:{name}` of this cache, without a timeout.
    ///
    /// # Errors
    ///
    /// [`CacheError::Backend`] if the backend fails.
    pub async fn group(&self, name: &str) -> Result<Group<B, S>, CacheError> {
        self.groups(&[name]).await
    }

    /// Returns a group for values that belong to several groups. Invalidating any one of those
    /// groups invalidates the values. The order of the names does not matter.
    ///
    /// ```
    /// use codex_kv::{Cache, Timeout, memory::MemoryBackend};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), codex_kv::CacheError> {
    /// let cache = Cache::builder(MemoryBackend::new()).key_prefix("shop").build()?;
    /// let both = cache.groups(&["user:42", "tenant:7"]).await?;
    /// both.set("report", "slow to compute", Timeout::Default).await?;
    ///
    /// cache.group("tenant:7").await?.invalidate().await?;
    /// let both = cache.groups(&["user:42", "tenant:7"]).await?;
    /// assert_eq!(both.get::<String>("report").await?, None);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`CacheError::InvalidArgument`] if `names` is empty, and [`CacheError::Backend`] if the
    /// backend fails.
    pub async fn groups(&self, names: &[impl AsRef<str> + Sync]) -> Result<Group<B, S>, CacheError> {
        let mut names: Vec<String> = names.iter().map(|name| name.as_ref().to_owned()).collect();
        names.sort_unstable();
        names.dedup();
        if names.is_empty() {
            return Err(CacheError::invalid("expected the name of at least one group"));
        }
        let generations = self.counted(self.generations(&names).await)?;
        let scope = Scope::new(self.scoped(&generations));
        let cache = Self {
            scope: Some(scope.clone()),
            ..self.clone()
        };
        Ok(Group {
            cache,
            parent: self.clone(),
            scope,
            names: names.into(),
        })
    }

    /// Returns the generations of groups. Creates a generation for each group that has none.
    async fn generations(&self, names: &[String]) -> Result<Vec<String>, CacheError> {
        let records: Vec<StoredKey> = names.iter().map(|name| self.record(name)).collect();
        let keys: Vec<&str> = records.iter().map(|key| &**key).collect();
        let stored = self.shared.backend.get_many(&keys).await?;
        let mut generations = Vec::with_capacity(names.len());
        for (key, stored) in records.iter().zip(stored) {
            let there = if let Some(there) = stored.and_then(|stored| Stored::read(stored).into_value()) {
                there
            } else {
                let new = self.encode(key, &random()?)?;
                let there = self.add_or_fetch(key, new.clone(), Expiry::Never).await?;
                there.unwrap_or(new)
            };
            generations.push(self.shared.serializer.deserialize_for(key, &there)?);
        }
        Ok(generations)
    }

    /// Returns the generation of values that belong to all of these groups and, if this cache is a
    /// group, to this group too.
    fn scoped(&self, generations: &[String]) -> Arc<str> {
        let outer = self.scope.as_ref().map(Scope::generation);
        if let ([generation], None) = (generations, &outer) {
            return (**generation).into();
        }
        let mut hash = Sha256::new();
        for generation in outer.as_deref().into_iter().chain(generations.iter().map(|own| &**own)) {
            hash.update(generation);
            hash.update(":");
        }
        hex(&hash.finalize()[..16]).into()
    }

    fn record(&self, name: &str) -> StoredKey {
        self.stored_key(&[RECORD, name].concat())
    }
}

impl<B: KvBackend, S: Serializer> Group<B, S> {
    /// Invalidates all values of the group, for every process: neither this handle nor a handle
    /// that is created later finds them. A handle of several groups invalidates each of those
    /// groups.
    ///
    /// A value that is being computed through this handle's cache is not stored.
    ///
    /// # Errors
    ///
    /// [`CacheError::Backend`] if the backend fails. The group may still have been invalidated.
    pub async fn invalidate(&self) -> Result<(), CacheError> {
        self.parent.counted(self.renew().await)
    }

    async fn renew(&self) -> Result<(), CacheError> {
        let shared = &self.cache.shared;
        let mut generations = Vec::with_capacity(self.names.len());
        let mut records = Vec::with_capacity(self.names.len());
        for name in self.names.iter() {
            let (key, generation) = (self.parent.record(name), random()?);
            records.push((self.parent.encode(&key, &generation)?, key));
            generations.push(generation);
        }
        let entries: Vec<(&str, Bytes)> = records.iter().map(|(record, key)| (&**key, record.clone())).collect();
        let old = self.cache.make_key("");
        let _outdating = shared
            .fills
            .outdate(shared.max_wait, self.cache.keys_from(Some(&old)))
            .await;
        shared.backend.set_many(&entries, Expiry::Never).await?;
        self.scope.replace(self.parent.scoped(&generations));
        Ok(())
    }

    /// Returns the names of the groups, sorted.
    pub fn names(&self) -> &[String] {
        &self.names
    }
}

/// Draws 128 bits from the operating system's generator, so that no generation repeats.
fn random() -> Result<String, CacheError> {
    let mut bits = [0; 16];
    getrandom::fill(&mut bits).map_err(|_| {
        CacheError::invalid("the operating system's random generator failed: a group has no generation")
    })?;
    Ok(hex(&bits))
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
            // Writing to a String does not fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}

impl<B, S> Deref for Group<B, S> {
    type Target = Cache<B, S>;

    fn deref(&self) -> &Self::Target {
        &self.cache
    }
}

// Implemented by hand because `derive` would require `B: Clone` and `S: Clone`.
impl<B, S> Clone for Group<B, S> {
    fn clone(&self) -> Self {
        Self {
            cache: self.cache.clone(),
            parent: self.parent.clone(),
            scope: self.scope.clone(),
            names: Arc::clone(&self.names),
        }
    }
}

// Hides the names, because a group can be named after a user.
impl<B: fmt::Debug, S: fmt::Debug> fmt::Debug for Group<B, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group")
            .field("cache", &self.cache)
            .field("names", &format_args!("<{}>", self.names.len()))
            .finish_non_exhaustive()
    }
}
