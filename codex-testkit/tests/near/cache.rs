//! A minimal near cache, which can leave out one part of the protocol.
//!
//! It follows the protocol of `docs/near-cache.md` without regard to speed, with a single lock and
//! unbounded maps.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use codex_testkit::doubles::TrackingStore;
use codex_traits::{
    Capabilities, Condition, Expiry, KvBackend, NodeId, Result, ScanPage, ScanRequest, SetOptions, SetOutcome,
    TrackedRead, Tracking, TrackingFeed as _, TrackingListener, Ttl,
};
use tokio::time::{Instant, sleep};

/// The part of the protocol that is left out or wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    NoCheckOfGenerations,
    DropsOnlyBeforeSending,
    DropsOnlyAfterTheAnswer,
    KeepsBesideAWrite,
    IgnoresTheTimeToLive,
    KeepsWhatItWrote,
    KeepsAMissThatIsNotTracked,
    KeepsAMissForEver,
    KeepsEntriesOverAReconnect,
    IgnoresFlushes,
    NoHeartbeat,
    LeaseFromTheAnswer,
    AnswersConditionsFromMemory,
    ClonesHaveTheirOwnMemory,
    BypassDoesNotDrop,
}

struct Entry {
    value: Option<Bytes>,
    node: NodeId,
    deadline: Option<Instant>,
}

#[derive(Default)]
struct Node {
    epoch: u64,
    is_open: bool,
    /// The time at which the last successful proof was requested.
    proven: Option<Instant>,
}

#[derive(Default)]
struct Memory {
    entries: HashMap<String, Entry>,
    generations: HashMap<String, u64>,
    /// The number of writes per key that are in flight or will never be answered.
    unresolved: HashMap<String, u64>,
    nodes: HashMap<NodeId, Node>,
    /// The number of events that dropped all keys of a node.
    doubts: u64,
}

impl Memory {
    fn drop_key(&mut self, key: &str) {
        self.entries.remove(key);
        *self.generations.entry(key.to_owned()).or_default() += 1;
    }

    fn drop_node(&mut self, node: NodeId) {
        self.entries.retain(|_, entry| entry.node != node);
        self.nodes.entry(node).or_default().epoch += 1;
        self.doubts += 1;
    }
}

#[derive(Default)]
struct Shared {
    memory: Mutex<Memory>,
    flaw: Option<Flaw>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("flaw", &self.flaw)
            .finish_non_exhaustive()
    }
}

impl TrackingListener for Shared {
    fn opening(&self, node: NodeId) {
        if !self.has(Flaw::KeepsEntriesOverAReconnect) {
            self.lock().drop_node(node);
        }
    }

    fn opened(&self, node: NodeId) {
        self.lock().nodes.entry(node).or_default().is_open = true;
    }

    fn changed(&self, _: NodeId, key: &[u8]) {
        if let Ok(key) = std::str::from_utf8(key) {
            let mut memory = self.lock();
            memory.drop_key(key);
            memory.unresolved.remove(key);
        }
    }

    fn flushed(&self, node: NodeId) {
        if !self.has(Flaw::IgnoresFlushes) {
            self.lock().drop_node(node);
        }
    }

    fn closed(&self, node: NodeId) {
        if !self.has(Flaw::KeepsEntriesOverAReconnect) {
            let mut memory = self.lock();
            memory.drop_node(node);
            let node = memory.nodes.entry(node).or_default();
            node.is_open = false;
            node.proven = None;
        }
    }
}

/// The near cache, with an optional flaw.
#[derive(Debug)]
pub(crate) struct SimpleNear {
    store: TrackingStore,
    feed: Arc<<TrackingStore as Tracking>::Feed>,
    shared: Arc<Shared>,
    max_staleness: Duration,
    /// The memory of this clone, which only [`Flaw::ClonesHaveTheirOwnMemory`] uses.
    own: Arc<Mutex<HashMap<String, Option<Bytes>>>>,
}

impl Clone for SimpleNear {
    fn clone(&self) -> Self {
        Self {
            store: self.store.clone(),
            feed: self.feed.clone(),
            shared: self.shared.clone(),
            max_staleness: self.max_staleness,
            own: Arc::default(),
        }
    }
}

impl SimpleNear {
    pub(crate) async fn new(store: TrackingStore, max_staleness: Duration, flaw: Option<Flaw>) -> Result<Self> {
        let shared = Arc::new(Shared {
            flaw,
            ..Shared::default()
        });
        let feed = Arc::new(store.track(shared.clone()).await?);
        let (beating, memory) = (Arc::downgrade(&feed), shared.clone());
        tokio::spawn(async move {
            while let Some(feed) = beating.upgrade() {
                let nodes: Vec<NodeId> = memory.lock().nodes.keys().copied().collect();
                for node in nodes {
                    let asked = Instant::now();
                    let is_proven = feed.prove(node).await.is_ok();
                    let lease = if memory.has(Flaw::LeaseFromTheAnswer) {
                        Instant::now()
                    } else {
                        asked
                    };
                    let mut memory = memory.lock();
                    let node = memory.nodes.entry(node).or_default();
                    if is_proven && node.is_open {
                        node.proven = Some(lease);
                    }
                }
                drop(feed);
                sleep(max_staleness / 3).await;
            }
        });
        Ok(Self {
            store,
            feed,
            shared,
            max_staleness,
            own: Arc::default(),
        })
    }

    pub(crate) fn store(&self) -> &TrackingStore {
        &self.store
    }

    #[expect(clippy::option_option, reason = "a missing key is kept too")]
    fn kept(&self, key: &str) -> Option<Option<Bytes>> {
        if self.shared.has(Flaw::ClonesHaveTheirOwnMemory) {
            let own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
            return own.get(key).cloned();
        }
        let memory = self.shared.lock();
        let entry = memory.entries.get(key)?;
        let now = Instant::now();
        let node = memory.nodes.get(&entry.node)?;
        let is_leased = node.is_open && node.proven.is_some_and(|proven| now < proven + self.max_staleness);
        let is_live = entry.deadline.is_none_or(|deadline| now < deadline);
        (is_live && (is_leased || self.shared.has(Flaw::NoHeartbeat))).then(|| entry.value.clone())
    }

    /// Returns the state at the start of a read. A fill is refused if the state has changed.
    fn state(&self, key: &str) -> (u64, u64) {
        let memory = self.shared.lock();
        (memory.doubts, memory.generations.get(key).copied().unwrap_or_default())
    }

    fn fill(&self, key: &str, asked: Instant, began: (u64, u64), read: &TrackedRead) {
        let shared = &self.shared;
        let node = match read.node {
            Some(node) => node,
            None if shared.has(Flaw::KeepsAMissThatIsNotTracked) && read.value.is_none() => NodeId::ONLY,
            None => return,
        };
        let is_torn = matches!(read.ttl, Ttl::Missing) != read.value.is_none();
        if is_torn || (self.state(key) != began && !shared.has(Flaw::NoCheckOfGenerations)) {
            return;
        }
        let deadline = match (read.ttl, &read.value) {
            (_, None) if shared.has(Flaw::KeepsAMissForEver) => None,
            (_, None) => Some(asked + self.max_staleness),
            (Ttl::Remaining(left), _) if !shared.has(Flaw::IgnoresTheTimeToLive) => Some(asked + left),
            _ => None,
        };
        if shared.has(Flaw::ClonesHaveTheirOwnMemory) {
            let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
            own.insert(key.to_owned(), read.value.clone());
        }
        let mut memory = shared.lock();
        if !memory.nodes.get(&node).is_some_and(|node| node.is_open) || memory.unresolved.contains_key(key) {
            return;
        }
        let value = read.value.clone();
        memory.entries.insert(key.to_owned(), Entry { value, node, deadline });
    }

    /// Runs a call that writes `keys`.
    async fn writing<T>(&self, keys: &[&str], call: impl Future<Output = Result<T>> + Send) -> Result<T> {
        let shared = &self.shared;
        let drop_all = || {
            let mut memory = shared.lock();
            for key in keys {
                memory.drop_key(key);
                let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
                own.remove(*key);
            }
        };
        if !shared.has(Flaw::DropsOnlyAfterTheAnswer) {
            drop_all();
            for key in keys.iter().filter(|_| !shared.has(Flaw::KeepsBesideAWrite)) {
                *shared.lock().unresolved.entry((*key).to_owned()).or_default() += 1;
            }
        }
        let result = call.await;
        let is_resolved = result.as_ref().err().is_none_or(|error| !error.may_have_executed());
        if is_resolved {
            let mut memory = shared.lock();
            for key in keys {
                if let Some(count) = memory.unresolved.get_mut(*key) {
                    *count = count.saturating_sub(1);
                    if *count == 0 {
                        memory.unresolved.remove(*key);
                    }
                }
            }
        }
        if !shared.has(Flaw::DropsOnlyBeforeSending) {
            drop_all();
        }
        result
    }

    /// Runs a call that reads `key` directly from the store.
    async fn bypassing<T>(&self, key: &str, call: impl Future<Output = Result<T>> + Send) -> Result<T> {
        if !self.shared.has(Flaw::BypassDoesNotDrop) {
            self.shared.lock().drop_key(key);
        }
        let result = call.await;
        if !self.shared.has(Flaw::BypassDoesNotDrop) {
            self.shared.lock().drop_key(key);
        }
        result
    }

    fn keep_written(&self, key: &str, value: &Bytes) {
        let mut memory = self.shared.lock();
        let value = Some(value.clone());
        let entry = Entry {
            value,
            node: NodeId::ONLY,
            deadline: None,
        };
        memory.entries.insert(key.to_owned(), entry);
    }
}

impl KvBackend for SimpleNear {
    fn capabilities(&self) -> Capabilities {
        self.store.capabilities()
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        if let Some(kept) = self.kept(key) {
            return Ok(kept);
        }
        let (asked, began) = (Instant::now(), self.state(key));
        let read = self.feed.get(key).await?;
        self.fill(key, asked, began, &read);
        Ok(read.value)
    }

    async fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<Bytes>>> {
        let mut answers: Vec<Option<Option<Bytes>>> = keys.iter().map(|key| self.kept(key)).collect();
        let missing: Vec<&str> = keys
            .iter()
            .zip(&answers)
            .filter(|(_, kept)| kept.is_none())
            .map(|(key, _)| *key)
            .collect();
        if !missing.is_empty() {
            let (asked, began) = (
                Instant::now(),
                missing.iter().map(|key| self.state(key)).collect::<Vec<_>>(),
            );
            let reads = self.feed.get_many(&missing).await?;
            let mut reads = missing.iter().zip(began).zip(reads);
            for answer in answers.iter_mut().filter(|answer| answer.is_none()) {
                if let Some(((key, began), read)) = reads.next() {
                    self.fill(key, asked, began, &read);
                    *answer = Some(read.value);
                }
            }
        }
        Ok(answers.into_iter().map(Option::unwrap_or_default).collect())
    }

    async fn set(&self, key: &str, value: Bytes, options: SetOptions) -> Result<SetOutcome> {
        if self.shared.has(Flaw::AnswersConditionsFromMemory)
            && let Some(kept) = self.kept(key)
        {
            let holds = match &options.condition {
                Condition::IfAbsent => kept.is_none(),
                Condition::IfEquals(expected) => kept.as_ref() == Some(expected),
                _ => true,
            };
            if !holds {
                return Ok(SetOutcome::Refused);
            }
        }
        let outcome = self
            .writing(&[key], self.store.set(key, value.clone(), options))
            .await?;
        if self.shared.has(Flaw::KeepsWhatItWrote) && outcome.is_written() {
            self.keep_written(key, &value);
        }
        Ok(outcome)
    }

    async fn del(&self, keys: &[&str]) -> Result<u64> {
        self.writing(keys, self.store.del(keys)).await
    }

    async fn del_if_equals(&self, key: &str, expected: &[u8]) -> Result<bool> {
        if self.shared.has(Flaw::BypassDoesNotDrop) {
            return self.store.del_if_equals(key, expected).await;
        }
        self.writing(&[key], self.store.del_if_equals(key, expected)).await
    }

    async fn expire(&self, key: &str, expiry: Expiry) -> Result<bool> {
        self.writing(&[key], self.store.expire(key, expiry)).await
    }

    async fn ttl(&self, key: &str) -> Result<Ttl> {
        let ttl = self.bypassing(key, self.store.ttl(key)).await?;
        if self.shared.has(Flaw::KeepsAMissThatIsNotTracked) && ttl == Ttl::Missing {
            let began = self.state(key);
            self.fill(key, Instant::now(), began, &TrackedRead::untracked(None));
        }
        Ok(ttl)
    }

    async fn get_with_ttl(&self, key: &str) -> Result<Option<(Bytes, Ttl)>> {
        self.bypassing(key, self.store.get_with_ttl(key)).await
    }

    async fn scan(&self, request: ScanRequest<'_>) -> Result<ScanPage> {
        let page = self.store.scan(request).await?;
        let mut memory = self.shared.lock();
        for key in &page.keys {
            memory.drop_key(key);
        }
        Ok(page)
    }
}
