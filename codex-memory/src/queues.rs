//! Whom to evict: S3-FIFO over the entries of one shard.
//!
//! Yang, Zhang, Qiu, Yue, Vinayak: "FIFO queues are all you need for cache eviction", SOSP 2023.
//! New entries wait in a small queue; those that are read there move on to the main queue, the
//! others leave soon, so that a scan cannot wash the cache out. What was evicted is remembered by
//! its hash for a while and goes straight to the main queue when it comes back.
//!
//! The paper has a tenth of the cache in the small queue, and remembers what left that queue, as
//! many as the main one holds. A fiftieth, and two thirds as many of either queue, hit more often
//! on each of the traces of `scripts/bench-memory hits`.

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicU8, Ordering},
};

use hashbrown::HashTable;

use crate::{
    deadline::Deadline,
    table::{Slot, Table},
};

/// One in so many entries of a shard is in the small queue.
const SMALL_SHARE: usize = 50;

/// No seat.
const END: u32 = u32::MAX;

/// Reads that are counted, at most: as S3-FIFO has it, two bits.
const MOST_VISITS: u8 = 3;

/// Where an entry stands when room is to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Queue {
    /// Nowhere: the seat is free.
    None,
    /// New, and yet to prove itself.
    Small,
    Main,
}

/// What is known of an entry: 16 bytes.
#[derive(Debug)]
struct Seat {
    /// The part of its hash by which the entry is found.
    tag: u32,
    older: u32,
    /// Of a free seat, the next one that is free.
    newer: u32,
    queue: Queue,
    /// Reads since eviction last looked, at most [`MOST_VISITS`].
    visits: AtomicU8,
}

/// A doubly linked list through the seats, so that a removed entry leaves its queue at once.
#[derive(Debug)]
struct List {
    oldest: u32,
    newest: u32,
    len: usize,
}

/// The two queues of a shard and its memory of those that left.
#[derive(Debug)]
pub(crate) struct Queues {
    seats: Vec<Seat>,
    /// The first free seat.
    free: u32,
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

    fn push(&mut self, seats: &mut [Seat], at: u32) {
        let seat = &mut seats[at as usize];
        (seat.older, seat.newer) = (self.newest, END);
        match seats.get_mut(self.newest as usize) {
            Some(seat) => seat.newer = at,
            None => self.oldest = at,
        }
        self.newest = at;
        self.len += 1;
    }

    fn unlink(&mut self, seats: &mut [Seat], at: u32) {
        let Seat { older, newer, .. } = seats[at as usize];
        match seats.get_mut(older as usize) {
            Some(seat) => seat.newer = newer,
            None => self.oldest = newer,
        }
        match seats.get_mut(newer as usize) {
            Some(seat) => seat.older = older,
            None => self.newest = older,
        }
        self.len -= 1;
    }
}

impl Queues {
    pub(crate) fn new() -> Self {
        Self {
            seats: Vec::new(),
            free: END,
            small: List::EMPTY,
            main: List::EMPTY,
            ghosts: Ghosts::default(),
        }
    }

    /// Notes a read. Of two at once one may be lost, and a much-read entry's line is not written
    /// to.
    #[inline]
    pub(crate) fn visit(&self, seat: u32) {
        if let Some(seat) = self.seats.get(seat as usize) {
            let visits = seat.visits.load(Ordering::Relaxed);
            if visits < MOST_VISITS {
                seat.visits.store(visits + 1, Ordering::Relaxed);
            }
        }
    }

    /// Takes in a new entry, and says which seat it has.
    pub(crate) fn enter(&mut self, tag: u32) -> u32 {
        let queue = if self.ghosts.take(tag) {
            Queue::Main
        } else {
            Queue::Small
        };
        let seat = Seat {
            tag,
            older: END,
            newer: END,
            queue,
            visits: AtomicU8::new(0),
        };
        let at = self.sit(seat);
        if let Some(list) = self.list(queue) {
            list.0.push(list.1, at);
        }
        at
    }

    fn sit(&mut self, seat: Seat) -> u32 {
        if let Some(place) = self.seats.get_mut(self.free as usize) {
            let next = place.newer;
            *place = seat;
            return std::mem::replace(&mut self.free, next);
        }
        if self.seats.len() == self.seats.capacity() {
            self.seats.reserve_exact(self.seats.len() / 8 + 1);
        }
        self.seats.push(seat);
        let last = self.seats.len() - 1;
        u32::try_from(last).unwrap_or_else(|_| unreachable!("four thousand million entries in one shard"))
    }

    /// Lets go of an entry that is being removed.
    pub(crate) fn leave(&mut self, at: u32) {
        let Some(seat) = self.seats.get_mut(at as usize) else {
            return;
        };
        let queue = std::mem::replace(&mut seat.queue, Queue::None);
        if let Some(list) = self.list(queue) {
            list.0.unlink(list.1, at);
            self.seats[at as usize].newer = std::mem::replace(&mut self.free, at);
        }
    }

    fn list(&mut self, queue: Queue) -> Option<(&mut List, &mut [Seat])> {
        match queue {
            Queue::None => None,
            Queue::Small => Some((&mut self.small, &mut self.seats)),
            Queue::Main => Some((&mut self.main, &mut self.seats)),
        }
    }

    /// The entry that is to go; it is still in its queue. `None` where there is none.
    pub(crate) fn victim(&mut self, table: &Table, is_past: impl Fn(Deadline) -> bool) -> Option<Slot> {
        loop {
            let total = self.small.len + self.main.len;
            let from_small = self.small.len > 0 && (self.small.len * SMALL_SHARE >= total || self.main.len == 0);
            let list = if from_small { &mut self.small } else { &mut self.main };
            let at = list.oldest;
            let seat = self.seats.get_mut(at as usize)?;
            let slot = table.find_seat(seat.tag, at)?;
            if is_past(table.get(slot)?.deadline) {
                return Some(slot);
            }
            let visits = *seat.visits.get_mut();
            if visits == 0 {
                self.ghosts.put(seat.tag, total * 2 / 3);
                return Some(slot);
            }
            // Ends: each turn takes a visit away or moves an entry on.
            *seat.visits.get_mut() = if from_small { 0 } else { visits - 1 };
            seat.queue = Queue::Main;
            list.unlink(&mut self.seats, at);
            self.main.push(&mut self.seats, at);
        }
    }

    pub(crate) fn footprint(&self) -> usize {
        self.seats.capacity() * size_of::<Seat>() + self.ghosts.footprint()
    }
}

/// The hash of a tag for `hashbrown`, which takes the bucket from the low bits and what it compares
/// first from the seven highest.
#[inline]
fn spread(tag: u32) -> u64 {
    u64::from(tag) << 32 | u64::from(tag)
}

/// The tags of those that were evicted lately.
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

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::Duration};

    use super::*;
    use crate::{entry::Entry, value::Value};

    /// The same in the plainest way.
    #[derive(Default)]
    struct Model {
        small: VecDeque<u32>,
        main: VecDeque<u32>,
        visits: BTreeMap<u32, u8>,
        /// Evicted tags, and whether they have not come back since.
        ghosts: VecDeque<(u32, bool)>,
    }

    impl Model {
        fn enter(&mut self, tag: u32) {
            self.visits.insert(tag, 0);
            let ghost = self.ghosts.iter_mut().find(|ghost| **ghost == (tag, true));
            match ghost {
                Some((_, is_away)) => {
                    *is_away = false;
                    self.main.push_back(tag);
                }
                None => self.small.push_back(tag),
            }
        }

        fn visit(&mut self, tag: u32) {
            let visits = self.visits.entry(tag).or_default();
            *visits = (*visits + 1).min(3);
        }

        fn leave(&mut self, tag: u32) {
            self.small.retain(|&other| other != tag);
            self.main.retain(|&other| other != tag);
        }

        fn victim(&mut self, has_ended: impl Fn(u32) -> bool) -> Option<u32> {
            loop {
                let total = self.small.len() + self.main.len();
                let from_small = !self.small.is_empty() && (self.small.len() * 50 >= total || self.main.is_empty());
                let queue = if from_small { &mut self.small } else { &mut self.main };
                let &tag = queue.front()?;
                if has_ended(tag) {
                    return Some(tag);
                }
                let visits = self.visits[&tag];
                if visits == 0 {
                    while self.ghosts.len() >= (total * 2 / 3).max(1) {
                        self.ghosts.pop_front();
                    }
                    self.ghosts.push_back((tag, true));
                    return Some(tag);
                }
                queue.pop_front();
                self.visits.insert(tag, if from_small { 0 } else { visits - 1 });
                self.main.push_back(tag);
            }
        }
    }

    /// Marsaglia's xorshift32.
    fn next(state: &mut u32) -> u32 {
        *state ^= *state << 13;
        *state ^= *state >> 17;
        *state ^= *state << 5;
        *state
    }

    #[test]
    fn the_victims_are_those_of_the_plainest_way() {
        for (most, tags) in [(1, 3), (10, 30), (300, 800)] {
            let (mut queues, mut table, mut model) = (Queues::new(), Table::default(), Model::default());
            let mut held: BTreeMap<u32, u32> = BTreeMap::new();
            let mut random = 7;
            let now = Duration::from_secs(1);
            let ends_of = |tag: u32| {
                if tag.is_multiple_of(13) {
                    Deadline::after(now, Duration::ZERO)
                } else {
                    Deadline::NEVER
                }
            };
            let mut evictions = 0;
            for _ in 0..20_000 {
                // Lower numbers come up more often, as the keys of a cache do.
                let tag = (next(&mut random) % tags).min(next(&mut random) % tags);
                if let Some(&seat) = held.get(&tag) {
                    if next(&mut random).is_multiple_of(10) {
                        let slot = table.find_seat(tag, seat).unwrap();
                        table.remove(slot).unwrap();
                        queues.leave(seat);
                        model.leave(tag);
                        held.remove(&tag);
                    } else {
                        queues.visit(seat);
                        model.visit(tag);
                    }
                    continue;
                }
                if held.len() == most {
                    let slot = queues.victim(&table, |end| end.is_past(now)).unwrap();
                    let victim = table.remove(slot).unwrap();
                    assert_eq!(Some(victim.tag), model.victim(|tag| ends_of(tag).is_past(now)));
                    assert_eq!(held.remove(&victim.tag), Some(victim.seat()));
                    queues.leave(victim.seat());
                    model.leave(victim.tag);
                    evictions += 1;
                }
                let seat = queues.enter(tag);
                model.enter(tag);
                table.insert(Entry::new(tag, "k", Value::packed(b"v"), ends_of(tag), seat));
                assert_eq!(held.insert(tag, seat), None);
                // Seats are used again, and so is the memory of ghosts.
                assert!(queues.seats.len() <= most);
                assert!(queues.seats.capacity() <= most + most / 8 + 1);
                assert!(queues.ghosts.order.len() <= (most * 2 / 3).max(1));
                assert!(queues.ghosts.table.len() <= queues.ghosts.order.len());
            }
            assert!(evictions > 1000, "{evictions}");
            let seats = queues.seats.capacity() * 16;
            let ghosts = queues.ghosts.order.capacity() * 4 + queues.ghosts.table.allocation_size();
            assert_eq!(queues.footprint(), seats + ghosts);
        }
    }

    #[test]
    fn nobody_is_evicted_where_nobody_is() {
        let mut queues = Queues::new();
        assert!(queues.victim(&Table::default(), |_| false).is_none());
        queues.visit(0);
        queues.leave(0);
        assert_eq!(queues.footprint(), 0);
    }
}
