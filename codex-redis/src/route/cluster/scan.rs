//! A scan of every node.
//!
//! A scan walks slots, not nodes. A position records the finished slots, the node that is being
//! walked, and the slots that this node is responsible for: the slots that it reported as its own
//! at each of its pages. Page and report are one transaction, so nothing moves in between.
//!
//! A slot that has moved away at some page is removed from the node's slots, and is scanned later
//! on the node that serves it then. A slot that moves in is not added. The keys of a slot that
//! moves away and comes back between two pages are in the same place in the node's table as before.
//! A key that exists from the first page to the last is therefore found wherever its slot goes. It
//! may be found twice.
//!
//! While the keys of a slot move from one node to another, neither node has all of them. Such a
//! slot is read as a whole, first from its source and then from its destination, because keys move
//! in that direction only.

use std::{fmt::Write as _, sync::Arc, time::Duration};

use codex_traits::{Cursor, Pattern, ScanPage};
use redis::Value;
use tokio::time::{Instant, sleep};

use super::{
    Cluster,
    execute::nobody,
    slot_map::{Master, Own, address_in, owner_in},
    slots::{SLOTS, SlotSet, slot_of},
};
use crate::{
    connection::multiplexer::Deadline,
    route::scan,
    wire::{Command, Failure, Request, reply},
};

type Result<T> = std::result::Result<T, Failure>;

/// The maximum number of ranges in a cursor, both of finished slots and of slots being walked. It
/// keeps the text of the cursor short enough.
const MOST_RANGES: usize = 40;

/// The maximum number of attempts of a scan while the map and the nodes disagree, and the pause
/// before each attempt after the first.
const LOOKS: usize = 10;
const PAUSE: Duration = Duration::from_millis(50);

/// The position of a scan.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Position {
    done: SlotSet,
    walk: Option<Walk>,
}

/// A node that is being walked.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Walk {
    /// The slots that the node is responsible for.
    slots: SlotSet,
    node: String,
    /// The node's own cursor; never 0.
    cursor: u64,
}

/// The outcome of a request for a page.
enum Step {
    Page(Vec<String>),
    /// The node cannot scan the slot. It may name the node that can.
    Elsewhere(Option<Master>),
}

impl Cluster {
    /// Returns one page. Continues with the next node after an empty last page, so that empty pages
    /// are rare.
    pub(crate) async fn scan(
        self: &Arc<Self>,
        deadline: Deadline,
        cursor: &Cursor,
        pattern: &Pattern,
        count: usize,
    ) -> Result<ScanPage> {
        let mut position = Position::read(cursor)?;
        let mut looks = 0;
        let mut told = None;
        loop {
            let Some(first) = position.done.first_missing() else {
                return Ok(ScanPage::default());
            };
            let map = self.map();
            let walked = position.walk.as_ref().and_then(|walk| map.by_id(&walk.node));
            if walked.is_none() {
                // The node no longer serves any slots, and its cursor means nothing to another
                // node.
                position.walk = None;
            }
            let Some(master) = walked.cloned().or(told.take()).or_else(|| map.owner(first).cloned()) else {
                self.look_again(deadline, &mut looks).await?;
                continue;
            };
            let keys = match self
                .step(deadline, &master, &mut position, first, pattern, count)
                .await?
            {
                Step::Page(keys) => keys,
                Step::Elsewhere(owner) => {
                    told = owner;
                    self.look_again(deadline, &mut looks).await?;
                    continue;
                }
            };
            if position.walk.is_none() && position.done.first_missing().is_none() {
                return Ok(ScanPage::new(keys, None));
            }
            if !keys.is_empty() || position.walk.is_some() {
                let next = Some(position.write()?);
                return Ok(ScanPage::new(keys, next));
            }
        }
    }

    async fn look_again(self: &Arc<Self>, deadline: Deadline, looks: &mut usize) -> Result<()> {
        *looks += 1;
        if *looks > LOOKS || Instant::now() >= deadline.at {
            return Err(nobody());
        }
        if *looks > 1 {
            sleep(PAUSE).await;
        }
        self.refreshed(deadline).await;
        Ok(())
    }

    /// Returns the next page of a node, and updates the slots that it is responsible for. The node
    /// may not serve the wanted slot.
    async fn step(
        self: &Arc<Self>,
        deadline: Deadline,
        master: &Master,
        position: &mut Position,
        first: u16,
        pattern: &Pattern,
        count: usize,
    ) -> Result<Step> {
        let walk = position.walk.take();
        let cursor = walk.as_ref().map_or(0, |walk| walk.cursor);
        let question = [scan(cursor, pattern, count), Command::read("CLUSTER NODES")];
        let executed = self.ask_node(deadline, master, Request::transaction(&question)).await?;
        let answers = reply::all_accepted(executed.executed(question.len())?)?;
        let Ok([page, nodes]) = <[Value; 2]>::try_from(answers) else {
            return Err(Failure::unexpected());
        };
        let own = read_own(Some(&nodes))?;
        let slots = if let Some(walk) = walk {
            // Slots that have left split the ranges. The slots that no longer fit into a cursor are
            // scanned again later.
            position.next_of(&walk.slots.intersection(&own.settled))
        } else {
            if let Some((_, to)) = own.leaving.iter().find(|(slot, _)| *slot == first) {
                let keys = self.leaving_slot(deadline, master, to, &nodes, first, pattern).await?;
                let Some(keys) = keys else {
                    return Ok(Step::Elsewhere(None));
                };
                position.done.insert(first, first);
                return Ok(Step::Page(keys));
            }
            if !own.settled.contains(first) {
                // The node has given the slot away and knows its new owner. The other nodes may not
                // know it yet.
                let owner = owner_in(&nodes, first).filter(|id| *id != master.id);
                return Ok(Step::Elsewhere(owner.and_then(|id| self.by_word_of(&nodes, id))));
            }
            position.next_of(&own.settled)
        };
        let (cursor, mut keys) = reply::page(page, cursor)?;
        keys.retain(|key| slots.contains(slot_of(key.as_bytes())));
        if cursor == 0 {
            position.done = position.done.with(&slots);
        } else if !slots.is_empty() {
            position.walk = Some(Walk {
                slots,
                node: master.id.clone(),
                cursor,
            });
        }
        Ok(Step::Page(keys))
    }

    /// Returns all keys of a slot that is moving from one node to another, or `None` if the move
    /// has ended meanwhile.
    async fn leaving_slot(
        self: &Arc<Self>,
        deadline: Deadline,
        from: &Master,
        to: &str,
        nodes: &Value,
        slot: u16,
        pattern: &Pattern,
    ) -> Result<Option<Vec<String>>> {
        let Some(to) = self.by_word_of(nodes, to) else {
            return Ok(None);
        };
        let question = [
            Command::read("CLUSTER GETKEYSINSLOT")
                .arg(u64::from(slot))
                .arg(i64::from(i32::MAX)),
            Command::read("CLUSTER NODES"),
        ];
        let mut keys = Vec::new();
        for (master, is_source) in [(from, true), (&to, false)] {
            let answers = self.ask_node(deadline, master, Request::all(&question)).await?;
            let mut answers = reply::all_accepted(answers.into_vec())?.into_iter();
            for key in reply::array(answers.next().unwrap_or_default())? {
                // Skip keys that are not UTF-8, because a `&str` cannot name them.
                if let Value::BulkString(key) = key
                    && let Ok(key) = String::from_utf8(key)
                    && pattern.matches(&key)
                {
                    keys.push(key);
                }
            }
            let own = read_own(answers.next().as_ref())?;
            // The move was cancelled at the source, or the destination passed the slot on: keys may
            // have moved back, or further.
            let kept = own.settled.contains(slot);
            if (is_source && kept) || !(is_source || kept || own.arriving.contains(&slot)) {
                return Ok(None);
            }
        }
        keys.sort_unstable();
        keys.dedup();
        // Unlike SCAN, the command also returns expired keys that are not swept yet.
        let asked: Vec<_> = keys.iter().map(|key| Command::read("EXISTS").arg(key)).collect();
        let there = reply::all_accepted(self.all(deadline, &keys, &asked).await?)?;
        drop(asked);
        let there: Vec<bool> = there.into_iter().map(reply::flag).collect::<Result<_>>()?;
        let mut there = there.into_iter();
        keys.retain(|_| there.next().unwrap_or_default());
        Ok(Some(keys))
    }

    /// Returns a node that another node names. A node that has served nothing so far is not in the
    /// map.
    fn by_word_of(&self, nodes: &Value, id: &str) -> Option<Master> {
        if let Some(known) = self.map().by_id(id) {
            return Some(known.clone());
        }
        let server = self.named(address_in(nodes, id)?);
        Some(Master {
            id: id.to_owned(),
            server,
        })
    }

    async fn ask_node(
        self: &Arc<Self>,
        deadline: Deadline,
        master: &Master,
        question: Request<'_, '_>,
    ) -> Result<reply::Replies> {
        let answers = master.server.request(deadline, question).await;
        if answers.is_err() {
            self.refresh();
        }
        answers
    }
}

fn read_own(answer: Option<&Value>) -> Result<Own> {
    answer.and_then(Own::read).ok_or_else(Failure::unexpected)
}

impl Position {
    /// Returns as many of these slots as a cursor can hold, from the lowest unfinished slot on.
    ///
    /// Always takes the range that begins with the lowest unfinished slot, or the scan would not
    /// advance. This range joins a finished range, or begins with slot 0 and adds the one range
    /// beyond the maximum that a cursor can have.
    fn next_of(&self, settled: &SlotSet) -> SlotSet {
        let mut next = SlotSet::default();
        for (first, last) in settled.without(&self.done).ranges() {
            let mut more = next.clone();
            more.insert(*first, *last);
            let fits = more.ranges().len() <= MOST_RANGES && self.done.with(&more).ranges().len() <= MOST_RANGES;
            if !fits && Some(*first) != self.done.first_missing() {
                break;
            }
            next = more;
        }
        next
    }

    /// Writes `done/slots/node/cursor`, or `done` alone between two nodes. Slots are ranges in base
    /// 16.
    fn write(&self) -> Result<Cursor> {
        let mut text = write_slots(&self.done);
        if let Some(walk) = &self.walk {
            let slots = write_slots(&walk.slots);
            // Writing to a string does not fail.
            let _ = write!(text, "/{slots}/{}/{}", walk.node, walk.cursor);
        }
        Cursor::new(text).map_err(|_| Failure::unexpected())
    }

    fn read(cursor: &Cursor) -> Result<Self> {
        if cursor.is_start() {
            return Ok(Self::default());
        }
        let position = Self::parse(cursor.as_str()).ok_or_else(Failure::unreadable_cursor)?;
        // Only the form that `write` produces is valid, and it is short.
        if position.write().ok().as_ref() != Some(cursor) {
            return Err(Failure::unreadable_cursor());
        }
        Ok(position)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('/');
        let done = read_slots(parts.next()?)?;
        let walk = match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (None, ..) => None,
            (Some(slots), Some(node), Some(cursor), None) => Some(Walk {
                slots: read_slots(slots).filter(|slots| !slots.is_empty())?,
                node: node.to_owned(),
                cursor: cursor.parse().ok().filter(|cursor| *cursor != 0)?,
            }),
            _ => return None,
        };
        // A position without an unfinished slot is never returned to a caller.
        done.first_missing()?;
        (walk.is_some() || !done.is_empty()).then_some(Self { done, walk })
    }
}

fn write_slots(slots: &SlotSet) -> String {
    let ranges: Vec<String> = slots
        .ranges()
        .iter()
        .map(|(first, last)| format!("{first:x}-{last:x}"))
        .collect();
    if ranges.is_empty() {
        "-".to_owned()
    } else {
        ranges.join(".")
    }
}

fn read_slots(text: &str) -> Option<SlotSet> {
    let mut slots = SlotSet::default();
    if text == "-" {
        return Some(slots);
    }
    for range in text.split('.') {
        let (first, last) = range.split_once('-')?;
        let number = |text: &str| u16::from_str_radix(text, 16).ok();
        let (first, last) = (number(first)?, number(last)?);
        if first > last || last >= SLOTS || slots.ranges().len() > MOST_RANGES {
            return None;
        }
        slots.insert(first, last);
    }
    Some(slots)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns this many ranges of one slot each, from `first` on.
    fn scattered(first: u16, ranges: u16) -> SlotSet {
        let mut slots = SlotSet::default();
        slots.extend((0..ranges).map(|at| (first + 2 * at, first + 2 * at)));
        slots
    }

    #[test]
    fn a_walk_whose_slots_leave_keeps_a_cursor_that_can_be_read() {
        for done in [SlotSet::default(), scattered(0, 30), scattered(2000, 30)] {
            let mut position = Position { done, walk: None };
            let slots = position.next_of(&scattered(1, 500));
            assert!(!slots.is_empty());
            position.walk = Some(Walk {
                slots: slots.clone(),
                node: "f".repeat(40),
                cursor: u64::MAX,
            });
            assert_eq!(Position::read(&position.write().unwrap()).unwrap(), position);
            position.done = position.done.with(&slots);
            position.walk = None;
            assert_eq!(Position::read(&position.write().unwrap()).unwrap(), position);
        }
    }

    #[test]
    fn the_lowest_unfinished_slot_always_fits() {
        // The first slots left the node that was walked, so the finished ranges do not begin at 0.
        let mut position = Position {
            done: scattered(100, 40),
            walk: None,
        };
        assert!(position.next_of(&scattered(3, 1)).is_empty());
        let mut few = SlotSet::default();
        few.insert(0, 50);
        let mut whole = SlotSet::default();
        whole.insert(0, SLOTS - 1);
        for settled in [few, whole] {
            while let Some(first) = position.done.first_missing().filter(|first| settled.contains(*first)) {
                let next = position.next_of(&settled);
                assert!(next.contains(first));
                position.done = position.done.with(&next);
                assert!(position.done.first_missing().is_none() || Position::read(&position.write().unwrap()).is_ok());
            }
        }
        assert_eq!(position.done.first_missing(), None);
    }
}
