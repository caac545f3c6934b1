//! Whom to evict: S3-FIFO over the slots of one shard.
//!
//! Yang, Zhang, Qiu, Yue, Vinayak: "FIFO queues are all you need for cache eviction", SOSP 2023. New entries wait in a small queue, a tenth
//! of the shard; those that are read there move on to the main queue, the others leave soon, so that a scan cannot wash the cache out.
//! What left the small queue is remembered by its hash for a while and goes straight to the main queue when it comes back.

use std::collections::VecDeque;

use hashbrown::HashTable;

use crate::{
    deadline::Deadline,
    entry::{Entry, Queue},
    index::spread,
    slots::Slots,
};

/// One in so many entries of a shard is in the small queue.
const SMALL_SHARE: usize = 10;

/// No slot.
const END: u32 = u32::MAX;

#[derive(Debug, Clone, Copy)]
struct Link {
    older: u32,
    newer: u32,
}

/// A doubly linked list through the slots, so that a removed entry leaves its queue at once.
#[derive(Debug)]
struct List {
    oldest: u32,
    newest: u32,
    len: usize,
}

/// The two queues of a shard and its memory of those that left.
#[derive(Debug)]
pub(crate) struct Queues {
    links: Vec<Link>,
    small: List,
    main: List,
    ghosts: Ghosts,
}

impl List {
    const EMPTY: Self = Self {
        oldest: END,
        newest: END,
        len: 0,
    };

    fn push(&mut self, links: &mut [Link], slot: u32) {
        links[slot as usize] = Link {
            older: self.newest,
            newer: END,
        };
        match links.get_mut(self.newest as usize) {
            Some(link) => link.newer = slot,
            None => self.oldest = slot,
        }
        self.newest = slot;
        self.len += 1;
    }

    fn unlink(&mut self, links: &mut [Link], slot: u32) {
        let Link { older, newer } = links[slot as usize];
        match links.get_mut(older as usize) {
            Some(link) => link.newer = newer,
            None => self.oldest = newer,
        }
        match links.get_mut(newer as usize) {
            Some(link) => link.older = older,
            None => self.newest = older,
        }
        self.len -= 1;
    }
}

impl Queues {
    pub(crate) fn new() -> Self {
        Self {
            links: Vec::new(),
            small: List::EMPTY,
            main: List::EMPTY,
            ghosts: Ghosts::default(),
        }
    }

    /// Takes in a new entry.
    pub(crate) fn enter(&mut self, slot: u32, entry: &mut Entry) {
        let at = slot as usize;
        if self.links.len() <= at {
            if self.links.capacity() <= at {
                self.links.reserve_exact(at + 1 - self.links.len() + at / 8);
            }
            self.links.resize(at + 1, Link { older: END, newer: END });
        }
        entry.queue = if self.ghosts.take(entry.tag) {
            Queue::Main
        } else {
            Queue::Small
        };
        if let Some(list) = self.list(entry.queue) {
            list.0.push(list.1, slot);
        }
    }

    /// Lets go of an entry that is being removed.
    pub(crate) fn leave(&mut self, slot: u32, entry: &Entry) {
        if let Some(list) = self.list(entry.queue) {
            list.0.unlink(list.1, slot);
        }
    }

    fn list(&mut self, queue: Queue) -> Option<(&mut List, &mut [Link])> {
        match queue {
            Queue::None => None,
            Queue::Small => Some((&mut self.small, &mut self.links)),
            Queue::Main => Some((&mut self.main, &mut self.links)),
        }
    }

    /// The slot whose entry is to go; it is still in its queue. `None` where there is no entry.
    pub(crate) fn victim(&mut self, slots: &mut Slots, is_past: impl Fn(Deadline) -> bool) -> Option<u32> {
        loop {
            let total = self.small.len + self.main.len;
            let from_small = self.small.len > 0 && (self.small.len * SMALL_SHARE >= total || self.main.len == 0);
            let list = if from_small { &mut self.small } else { &mut self.main };
            let slot = list.oldest;
            let entry = slots.get_mut(slot)?;
            let visits = entry.visits();
            if is_past(entry.deadline) {
                return Some(slot);
            }
            if visits == 0 {
                if from_small {
                    self.ghosts.put(entry.tag, total);
                }
                return Some(slot);
            }
            // Ends: each turn takes a visit away or moves an entry on.
            list.unlink(&mut self.links, slot);
            entry.set_visits(if from_small { 0 } else { visits - 1 });
            entry.queue = Queue::Main;
            self.main.push(&mut self.links, slot);
        }
    }

    pub(crate) fn footprint(&self) -> usize {
        self.links.capacity() * size_of::<Link>() + self.ghosts.footprint()
    }
}

/// The tags of those that left the small queue lately, as many as there are entries.
#[derive(Debug, Default)]
struct Ghosts {
    table: HashTable<Ghost>,
    order: VecDeque<u32>,
    /// How many have been put in, ever.
    count: u32,
}

#[derive(Debug)]
struct Ghost {
    tag: u32,
    number: u32,
}

impl Ghosts {
    fn put(&mut self, tag: u32, most: usize) {
        while self.order.len() >= most.max(1) {
            self.forget_oldest();
        }
        self.take(tag);
        let number = self.count;
        self.count = self.count.wrapping_add(1);
        self.order.push_back(tag);
        self.table
            .insert_unique(spread(tag), Ghost { tag, number }, |ghost| spread(ghost.tag));
    }

    fn forget_oldest(&mut self) {
        #[expect(clippy::cast_possible_truncation, reason = "numbers wrap around as the count does")]
        let number = self.count.wrapping_sub(self.order.len() as u32);
        if let Some(tag) = self.order.pop_front()
            // One that came back since has a later number, or none.
            && let Ok(ghost) = self.table.find_entry(spread(tag), |ghost| ghost.tag == tag && ghost.number == number)
        {
            ghost.remove();
        }
    }

    /// Whether it is there; it is no more.
    fn take(&mut self, tag: u32) -> bool {
        let found = self.table.find_entry(spread(tag), |ghost| ghost.tag == tag);
        found.map(hashbrown::hash_table::OccupiedEntry::remove).is_ok()
    }

    fn footprint(&self) -> usize {
        self.table.allocation_size() + self.order.capacity() * size_of::<u32>()
    }
}
