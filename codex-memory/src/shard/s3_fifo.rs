//! Eviction: S3-FIFO over the entries of one shard.
//!
//! Yang, Zhang, Qiu, Yue, Vinayak: "FIFO queues are all you need for cache eviction", SOSP 2023.
//! New entries enter a small queue. Entries that are read there move on to the main queue. The
//! others are evicted soon, so a scan cannot flush the cache. The ghost queue remembers the hashes
//! of evicted entries for a while, and an entry that returns goes straight to the main queue.
//!
//! In the paper, the small queue has a tenth of the cache, and the ghost queue remembers as many
//! entries evicted from it as the main queue holds. Here the small queue has a fiftieth of the
//! cache, and the ghost queue remembers entries evicted from either queue, up to two thirds of the
//! number of entries. These constants were tuned on the first generated traces of
//! `scripts/bench memory hits` and not changed for the traces added later.
//!
//! While a cache fills, new entries beyond the share of the small queue enter the main queue.
//! Without this rule, the small queue is the whole cache until an entry is read there. A loop over
//! more keys than fit would then evict each key just before it is read again, and never hit.

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicU8, Ordering},
};

use hashbrown::HashTable;

use crate::{
    index::directory::{Directory, Slot},
    time::deadline::Deadline,
};

/// One in this many entries of a shard is in the small queue.
const SMALL_SHARE: usize = 50;

/// Marks the absence of a node.
const END: u32 = u32::MAX;

/// As many free nodes and old ghosts are not worth freeing.
const SPARE: usize = 16;

/// Returns the number of evicted entries to remember beside this many entries.
fn ghosts_for(entries: usize) -> usize {
    entries * 2 / 3
}

/// Reads are counted up to this: two bits, as in the paper.
const MAX_READS: u8 = 3;

/// The queue that a node is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Queue {
    /// The node is free.
    None,
    /// New entries.
    Small,
    /// Entries that were read in the small queue or have returned after an eviction.
    Main,
}

/// The queue node of an entry: 16 bytes.
#[derive(Debug)]
struct Node {
    /// The half of the key's hash by which the directory finds the entry.
    hash: u32,
    /// The neighbours in the node's queue, or in the list of free nodes.
    older: u32,
    newer: u32,
    queue: Queue,
    /// The number of reads since eviction last checked the entry, at most [`MAX_READS`].
    reads: AtomicU8,
}

/// A doubly linked list through the nodes, so that a removed entry leaves its queue in constant
/// time.
#[derive(Debug)]
struct List {
    oldest: u32,
    newest: u32,
    len: usize,
}

/// The queues of one shard.
#[derive(Debug)]
pub(crate) struct S3Fifo {
    nodes: Vec<Node>,
    free: List,
    small: List,
    main: List,
    ghosts: Ghosts,
    /// Whether an entry was evicted since the last admission. If not, the cache is still growing.
    evicted: bool,
}

impl List {
    const EMPTY: Self = Self {
        oldest: END,
        newest: END,
        len: 0,
    };

    fn push(&mut self, nodes: &mut [Node], at: u32) {
        let node = &mut nodes[at as usize];
        (node.older, node.newer) = (self.newest, END);
        match nodes.get_mut(self.newest as usize) {
            Some(node) => node.newer = at,
            None => self.oldest = at,
        }
        self.newest = at;
        self.len += 1;
    }

    /// Records the new place of a node of this list.
    fn moved(&mut self, nodes: &mut [Node], to: u32) {
        let Node { older, newer, .. } = nodes[to as usize];
        match nodes.get_mut(older as usize) {
            Some(node) => node.newer = to,
            None => self.oldest = to,
        }
        match nodes.get_mut(newer as usize) {
            Some(node) => node.older = to,
            None => self.newest = to,
        }
    }

    fn unlink(&mut self, nodes: &mut [Node], at: u32) {
        let Node { older, newer, .. } = nodes[at as usize];
        match nodes.get_mut(older as usize) {
            Some(node) => node.newer = newer,
            None => self.oldest = newer,
        }
        match nodes.get_mut(newer as usize) {
            Some(node) => node.older = older,
            None => self.newest = older,
        }
        self.len -= 1;
    }
}

impl S3Fifo {
    pub(crate) fn new() -> Self {
        Self {
            nodes: Vec::new(),
            free: List::EMPTY,
            small: List::EMPTY,
            main: List::EMPTY,
            ghosts: Ghosts::default(),
            evicted: false,
        }
    }

    /// Counts a read. If two reads are concurrent, one may be lost. Once the count is at its
    /// maximum, the node's cache line is no longer written.
    #[inline]
    pub(crate) fn record_read(&self, node: u32) {
        if let Some(node) = self.nodes.get(node as usize) {
            let reads = node.reads.load(Ordering::Relaxed);
            if reads < MAX_READS {
                node.reads.store(reads + 1, Ordering::Relaxed);
            }
        }
    }

    /// Adds a new entry and returns its node.
    pub(crate) fn admit(&mut self, hash: u32) -> u32 {
        let grows = !std::mem::take(&mut self.evicted);
        let total = self.small.len + self.main.len + 1;
        let queue = if self.ghosts.take(hash) || grows && self.small.len * SMALL_SHARE >= total {
            Queue::Main
        } else {
            Queue::Small
        };
        let node = Node {
            hash,
            older: END,
            newer: END,
            queue,
            reads: AtomicU8::new(0),
        };
        let at = self.place_node(node);
        if let Some(list) = self.list(queue) {
            list.0.push(list.1, at);
        }
        at
    }

    fn place_node(&mut self, node: Node) -> u32 {
        let free = self.free.newest;
        if free != END {
            self.free.unlink(&mut self.nodes, free);
            self.nodes[free as usize] = node;
            return free;
        }
        if self.nodes.len() == self.nodes.capacity() {
            self.nodes.reserve_exact(self.nodes.len() / 8 + 1);
        }
        self.nodes.push(node);
        let last = self.nodes.len() - 1;
        u32::try_from(last).unwrap_or_else(|_| unreachable!("four thousand million entries in one shard"))
    }

    /// Removes the node of an entry that is being removed.
    pub(crate) fn unlink_node(&mut self, at: u32) {
        let Some(node) = self.nodes.get_mut(at as usize) else {
            return;
        };
        let queue = std::mem::replace(&mut node.queue, Queue::None);
        if let Some(list) = self.list(queue) {
            list.0.unlink(list.1, at);
            self.free.push(&mut self.nodes, at);
        }
    }

    /// Frees memory that only the entries of earlier times needed, in at most this many small
    /// steps. After many small entries were replaced by a few large ones, that memory would exceed
    /// the limit of the store. Each removal is followed by two steps, so few nodes stay free.
    pub(crate) fn trim(&mut self, directory: &mut Directory, steps: usize) {
        let total = self.small.len + self.main.len;
        for _ in 0..steps {
            if self.free.len <= total / 8 + SPARE || self.drop_last_node(directory).is_none() {
                break;
            }
        }
        if self.nodes.capacity() > self.nodes.len() + self.nodes.len() / 4 + SPARE {
            self.nodes.shrink_to(self.nodes.len() + self.nodes.len() / 8);
        }
        self.ghosts.trim(ghosts_for(total), steps);
    }

    /// Frees the last node, whose entry moves to a free node.
    fn drop_last_node(&mut self, directory: &mut Directory) -> Option<()> {
        let last = u32::try_from(self.nodes.len().checked_sub(1)?).ok()?;
        let (hash, queue) = self.nodes.last().map(|node| (node.hash, node.queue))?;
        if queue == Queue::None {
            self.free.unlink(&mut self.nodes, last);
        } else {
            let slot = directory.find_node(hash, last)?;
            // The oldest free node. It is not the last node, which is in use.
            let at = self.free.oldest;
            self.free.unlink(&mut self.nodes, at);
            directory.get_mut(slot)?.set_node(at);
            self.nodes.swap(at as usize, last as usize);
            if let Some((list, nodes)) = self.list(queue) {
                list.moved(nodes, at);
            }
        }
        self.nodes.pop();
        Some(())
    }

    fn list(&mut self, queue: Queue) -> Option<(&mut List, &mut [Node])> {
        match queue {
            Queue::None => None,
            Queue::Small => Some((&mut self.small, &mut self.nodes)),
            Queue::Main => Some((&mut self.main, &mut self.nodes)),
        }
    }

    /// Returns the entry to evict, which stays in its queue, or `None` if there is no entry. The
    /// entry of the node `spared` is evicted only if it has expired.
    pub(crate) fn victim(
        &mut self,
        directory: &Directory,
        spared: Option<u32>,
        is_past: impl Fn(Deadline) -> bool,
    ) -> Option<Slot> {
        self.evicted = true;
        loop {
            let total = self.small.len + self.main.len;
            let from_small = self.small.len > 0 && (self.small.len * SMALL_SHARE >= total || self.main.len == 0);
            let list = if from_small { &mut self.small } else { &mut self.main };
            let at = list.oldest;
            let node = self.nodes.get_mut(at as usize)?;
            let slot = directory.find_node(node.hash, at)?;
            if is_past(directory.get(slot)?.deadline) {
                return Some(slot);
            }
            let is_spared = spared == Some(at);
            if is_spared && total == 1 {
                return None;
            }
            let reads = *node.reads.get_mut();
            if reads == 0 && !is_spared {
                self.ghosts.put(node.hash, ghosts_for(total));
                return Some(slot);
            }
            // The loop ends, because each iteration lowers a read count, moves an entry to the main
            // queue or meets the spared entry, which is followed by another entry.
            *node.reads.get_mut() = if from_small { 0 } else { reads.saturating_sub(1) };
            node.queue = Queue::Main;
            list.unlink(&mut self.nodes, at);
            self.main.push(&mut self.nodes, at);
        }
    }

    pub(crate) fn footprint(&self) -> usize {
        self.nodes.capacity() * size_of::<Node>() + self.ghosts.footprint()
    }
}

/// Widens a hash for `hashbrown`, which derives the bucket from the low bits and the fingerprint
/// from the seven highest bits.
#[inline]
fn spread(hash: u32) -> u64 {
    u64::from(hash) << 32 | u64::from(hash)
}

/// The hashes of recently evicted entries.
#[derive(Debug, Default)]
struct Ghosts {
    table: HashTable<Ghost>,
    order: VecDeque<u32>,
    /// The number of hashes added since the queue was created, wrapping.
    count: u32,
}

#[derive(Debug)]
struct Ghost {
    hash: u32,
    number: u32,
}

impl Ghosts {
    fn put(&mut self, hash: u32, most: usize) {
        while self.order.len() >= most.max(1) {
            self.forget_oldest();
        }
        self.take(hash);
        let number = self.count;
        self.count = self.count.wrapping_add(1);
        self.order.push_back(hash);
        self.table
            .insert_unique(spread(hash), Ghost { hash, number }, |ghost| spread(ghost.hash));
    }

    /// Forgets some hashes if there are far too many, and frees memory that is no longer needed.
    /// The slack leaves the steady state to [`put`](Self::put).
    fn trim(&mut self, most: usize, steps: usize) {
        for _ in 0..steps {
            if self.order.len() <= 2 * most + SPARE {
                break;
            }
            self.forget_oldest();
        }
        let needed = most.max(self.order.len());
        if self.order.capacity() > 3 * needed + SPARE {
            self.order.shrink_to(needed);
        }
        if self.table.capacity() > 3 * needed + SPARE {
            self.table.shrink_to(needed, |ghost| spread(ghost.hash));
        }
    }

    fn forget_oldest(&mut self) {
        #[expect(clippy::cast_possible_truncation, reason = "numbers wrap around as the count does")]
        let number = self.count.wrapping_sub(self.order.len() as u32);
        if let Some(hash) = self.order.pop_front()
            // The hash of an entry that has returned since has a later number, or is no longer in
            // the table.
            && let Ok(ghost) = self.table.find_entry(spread(hash), |ghost| ghost.hash == hash && ghost.number == number)
        {
            ghost.remove();
        }
    }

    /// Removes a hash and returns whether it was there.
    fn take(&mut self, hash: u32) -> bool {
        let found = self.table.find_entry(spread(hash), |ghost| ghost.hash == hash);
        found.map(hashbrown::hash_table::OccupiedEntry::remove).is_ok()
    }

    fn footprint(&self) -> usize {
        self.table.allocation_size() + self.order.capacity() * size_of::<u32>()
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::Duration};

    use super::*;
    use crate::{index::entry::Entry, index::value::Value};

    /// A direct implementation of the algorithm, as the reference.
    #[derive(Default)]
    struct Model {
        small: VecDeque<u32>,
        main: VecDeque<u32>,
        reads: BTreeMap<u32, u8>,
        /// Evicted hashes, with `true` until the entry returns.
        ghosts: VecDeque<(u32, bool)>,
        evicted: bool,
    }

    impl Model {
        fn admit(&mut self, hash: u32) {
            self.reads.insert(hash, 0);
            let total = self.small.len() + self.main.len() + 1;
            let is_share = self.small.len() * 50 >= total;
            let ghost = self.ghosts.iter_mut().find(|ghost| **ghost == (hash, true));
            match ghost {
                Some((_, is_away)) => {
                    *is_away = false;
                    self.main.push_back(hash);
                }
                None if is_share && !self.evicted => self.main.push_back(hash),
                None => self.small.push_back(hash),
            }
            self.evicted = false;
        }

        fn record_read(&mut self, hash: u32) {
            let reads = self.reads.entry(hash).or_default();
            *reads = (*reads + 1).min(3);
        }

        fn unlink_node(&mut self, hash: u32) {
            self.small.retain(|&other| other != hash);
            self.main.retain(|&other| other != hash);
        }

        fn victim(&mut self, has_ended: impl Fn(u32) -> bool) -> Option<u32> {
            self.evicted = true;
            loop {
                let total = self.small.len() + self.main.len();
                let from_small = !self.small.is_empty() && (self.small.len() * 50 >= total || self.main.is_empty());
                let queue = if from_small { &mut self.small } else { &mut self.main };
                let &hash = queue.front()?;
                if has_ended(hash) {
                    return Some(hash);
                }
                let reads = self.reads[&hash];
                if reads == 0 {
                    while self.ghosts.len() >= (total * 2 / 3).max(1) {
                        self.ghosts.pop_front();
                    }
                    self.ghosts.push_back((hash, true));
                    return Some(hash);
                }
                queue.pop_front();
                self.reads.insert(hash, if from_small { 0 } else { reads - 1 });
                self.main.push_back(hash);
            }
        }
    }

    /// Returns the next number of Marsaglia's xorshift32.
    fn next(state: &mut u32) -> u32 {
        *state ^= *state << 13;
        *state ^= *state >> 17;
        *state ^= *state << 5;
        *state
    }

    #[test]
    fn the_victims_are_those_of_the_plainest_form() {
        for (most, tags) in [(1, 3), (10, 30), (300, 800)] {
            let (mut fifo, mut directory, mut model) = (S3Fifo::new(), Directory::default(), Model::default());
            let mut held: BTreeMap<u32, u32> = BTreeMap::new();
            let mut random = 7;
            let now = Duration::from_secs(1);
            let ends_of = |hash: u32| {
                if hash.is_multiple_of(13) {
                    Deadline::after(now, Duration::ZERO)
                } else {
                    Deadline::NEVER
                }
            };
            let mut evictions = 0;
            for _ in 0..20_000 {
                // Lower numbers are more frequent, like the popular keys of a cache.
                let hash = (next(&mut random) % tags).min(next(&mut random) % tags);
                if let Some(&node) = held.get(&hash) {
                    if next(&mut random).is_multiple_of(10) {
                        let slot = directory.find_node(hash, node).unwrap();
                        directory.remove(slot).unwrap();
                        fifo.unlink_node(node);
                        model.unlink_node(hash);
                        held.remove(&hash);
                    } else {
                        fifo.record_read(node);
                        model.record_read(hash);
                    }
                    continue;
                }
                if held.len() == most {
                    let slot = fifo.victim(&directory, None, |end| end.is_past(now)).unwrap();
                    let victim = directory.remove(slot).unwrap();
                    assert_eq!(Some(victim.hash), model.victim(|hash| ends_of(hash).is_past(now)));
                    assert_eq!(held.remove(&victim.hash), Some(victim.node()));
                    fifo.unlink_node(victim.node());
                    model.unlink_node(victim.hash);
                    evictions += 1;
                }
                let node = fifo.admit(hash);
                model.admit(hash);
                directory.insert(Entry::new(hash, "k", Value::packed(b"v"), ends_of(hash), node));
                assert_eq!(held.insert(hash, node), None);
                // Nodes are reused, and so is the memory of ghosts.
                assert!(fifo.nodes.len() <= most);
                assert!(fifo.nodes.capacity() <= most + most / 8 + 1);
                assert!(fifo.ghosts.order.len() <= (most * 2 / 3).max(1));
                assert!(fifo.ghosts.table.len() <= fifo.ghosts.order.len());
            }
            assert!(evictions > 1000, "{evictions}");
            let nodes = fifo.nodes.capacity() * 16;
            let ghosts = fifo.ghosts.order.capacity() * 4 + fifo.ghosts.table.allocation_size();
            assert_eq!(fifo.footprint(), nodes + ghosts);
        }
    }

    #[test]
    fn a_loop_over_more_keys_than_fit_hits_those_that_came_first() {
        const ROOM: u32 = 300;
        const KEYS: u32 = 800;
        let (mut fifo, mut directory) = (S3Fifo::new(), Directory::default());
        let mut held = BTreeMap::new();
        let mut hits = 0;
        for access in 0..10 * KEYS {
            let hash = access % KEYS;
            if let Some(&node) = held.get(&hash) {
                fifo.record_read(node);
                hits += u32::from(access >= KEYS);
                continue;
            }
            if held.len() == ROOM as usize {
                let slot = fifo.victim(&directory, None, |_| false).unwrap();
                let victim = directory.remove(slot).unwrap();
                fifo.unlink_node(victim.node());
                held.remove(&victim.hash);
            }
            let node = fifo.admit(hash);
            directory.insert(Entry::new(hash, "k", Value::packed(b"v"), Deadline::NEVER, node));
            held.insert(hash, node);
        }
        // Every key of the main queue is read once per turn of the loop.
        assert_eq!(hits, 9 * (ROOM - ROOM.div_ceil(50)));
    }

    #[test]
    fn memory_is_freed_as_entries_go_and_the_others_keep_their_order() {
        for kept in [0, 1, 10, 1000] {
            let (mut fifo, mut directory, mut model) = (S3Fifo::new(), Directory::default(), Model::default());
            let mut random = 7;
            let insert = |fifo: &mut S3Fifo, directory: &mut Directory, model: &mut Model, hash: u32| {
                let node = fifo.admit(hash);
                model.admit(hash);
                directory.insert(Entry::new(hash, "k", Value::packed(b"v"), Deadline::NEVER, node));
            };
            let mut hashes: Vec<u32> = (1..=5000_u32).map(|number| number.wrapping_mul(0x9E37_79B9)).collect();
            for &hash in &hashes {
                insert(&mut fifo, &mut directory, &mut model, hash);
            }
            for _ in 0..5000 {
                let hash = hashes[next(&mut random) as usize % hashes.len()];
                let slot = directory.find(hash, b"k").unwrap();
                fifo.record_read(directory.get(slot).unwrap().node());
                model.record_read(hash);
            }
            while hashes.len() > kept {
                let hash = hashes.swap_remove(next(&mut random) as usize % hashes.len());
                let slot = directory.find(hash, b"k").unwrap();
                let node = directory.remove(slot).unwrap().node();
                fifo.unlink_node(node);
                model.unlink_node(hash);
                fifo.trim(&mut directory, 2);
                assert!(fifo.free.len <= hashes.len() / 8 + SPARE);
                assert_eq!(fifo.nodes.len(), hashes.len() + fifo.free.len);
                assert!(fifo.nodes.capacity() <= fifo.nodes.len() + fifo.nodes.len() / 4 + SPARE);
            }
            // Freed nodes are used again, beside nodes that have moved.
            for number in 0..100_u32 {
                insert(&mut fifo, &mut directory, &mut model, !number.wrapping_mul(0x9E37_79B9));
            }
            for _ in 0..kept + 100 {
                let slot = fifo.victim(&directory, None, |_| false).unwrap();
                let victim = directory.remove(slot).unwrap();
                assert_eq!(Some(victim.hash), model.victim(|_| false));
                fifo.unlink_node(victim.node());
                model.unlink_node(victim.hash);
                fifo.trim(&mut directory, 2);
            }
            assert!(fifo.victim(&directory, None, |_| false).is_none());
        }
    }

    #[test]
    fn ghosts_of_a_larger_cache_are_forgotten_and_their_memory_is_freed() {
        let mut ghosts = Ghosts::default();
        for hash in 0..10_000_u32 {
            ghosts.put(hash.wrapping_mul(0x9E37_79B9), 10_000);
        }
        let full = ghosts.footprint();
        for _ in 0..10_000 {
            ghosts.trim(10, 2);
        }
        assert_eq!(ghosts.order.len(), 2 * 10 + SPARE);
        assert!(ghosts.footprint() < full / 20, "{} of {full}", ghosts.footprint());
        assert!(ghosts.take(9_999_u32.wrapping_mul(0x9E37_79B9)));
    }

    #[test]
    fn nothing_is_evicted_from_an_empty_shard() {
        let mut fifo = S3Fifo::new();
        assert!(fifo.victim(&Directory::default(), None, |_| false).is_none());
        fifo.record_read(0);
        fifo.unlink_node(0);
        assert_eq!(fifo.footprint(), 0);
    }
}
