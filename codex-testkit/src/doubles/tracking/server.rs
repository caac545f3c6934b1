//! The nodes of the store: their data, and the readers that they report to.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use bytes::Bytes;
use codex_traits::Ttl;
use tokio::{sync::mpsc::UnboundedSender, time::Instant};

use super::stream::Frame;
use crate::Model;

/// A stream of a feed, as its node sees it.
struct Reader {
    node: usize,
    program: u64,
    frames: UnboundedSender<Frame>,
}

struct Node {
    model: Model,
    passed: Option<Instant>,
    /// The streams that have read each key since its last change.
    table: HashMap<String, BTreeSet<u64>>,
}

impl Node {
    fn model(&mut self) -> &mut Model {
        let now = Instant::now();
        let elapsed = self.passed.map_or(Duration::ZERO, |passed| now - passed);
        self.passed = Some(now);
        self.model.pass(elapsed);
        &mut self.model
    }
}

/// The locations of keys as a client knows them.
#[derive(Debug, Clone)]
pub(super) struct Routes {
    pub(super) moved: HashMap<String, usize>,
    pub(super) epoch: u64,
}

pub(super) struct Server {
    seed: u64,
    nodes: Vec<Node>,
    /// The node that is the primary of each shard.
    primaries: Vec<usize>,
    /// The keys that have moved away from their home shard.
    moved: HashMap<String, usize>,
    epoch: u64,
    readers: BTreeMap<u64, Reader>,
    next_reader: u64,
}

impl Server {
    pub(super) fn new(shards: u16, seed: u64) -> Self {
        let node = || Node {
            model: Model::new(),
            passed: None,
            table: HashMap::new(),
        };
        Self {
            seed,
            nodes: (0..shards).map(|_| node()).collect(),
            primaries: (0..usize::from(shards)).collect(),
            moved: HashMap::new(),
            epoch: 1,
            readers: BTreeMap::new(),
            next_reader: 0,
        }
    }

    pub(super) fn seed(&self) -> u64 {
        self.seed
    }

    pub(super) fn shards(&self) -> u16 {
        u16::try_from(self.primaries.len()).unwrap_or(u16::MAX)
    }

    /// Returns the moved keys, and an epoch that grows with every change in the topology.
    pub(super) fn routes(&self) -> Routes {
        Routes {
            moved: self.moved.clone(),
            epoch: self.epoch,
        }
    }

    pub(super) fn shard_of(&self, key: &str) -> usize {
        self.moved.get(key).copied().unwrap_or_else(|| self.home_of(key))
    }

    /// Returns the shard of a key that has never moved.
    pub(super) fn home_of(&self, key: &str) -> usize {
        key.bytes().fold(0, |sum: usize, byte| {
            sum.wrapping_mul(31).wrapping_add(usize::from(byte))
        }) % self.primaries.len()
    }

    /// Returns the node that is the primary of the shard.
    pub(super) fn primary(&self, shard: usize) -> usize {
        self.primaries[shard]
    }

    /// Returns the data of the primary that holds `key`.
    pub(super) fn model_of(&mut self, key: &str) -> &mut Model {
        let node = self.primaries[self.shard_of(key)];
        self.nodes[node].model()
    }

    /// Returns the data of every primary.
    pub(super) fn models(&mut self) -> impl Iterator<Item = &mut Model> {
        let primaries = &self.primaries;
        let nodes = self.nodes.iter_mut().enumerate();
        nodes
            .filter(|(at, _)| primaries.contains(at))
            .map(|(_, node)| node.model())
    }

    pub(super) fn add_reader(&mut self, node: usize, program: u64, frames: UnboundedSender<Frame>) -> u64 {
        self.next_reader += 1;
        self.readers.insert(self.next_reader, Reader { node, program, frames });
        self.next_reader
    }

    pub(super) fn remove_reader(&mut self, reader: u64) {
        self.readers.remove(&reader);
    }

    pub(super) fn has_reader(&self, reader: u64) -> bool {
        self.readers.contains_key(&reader)
    }

    /// Ends the streams of `program` to nodes that are no longer primaries, as after a READONLY
    /// reply.
    pub(super) fn end_outdated(&mut self, program: u64) {
        let primaries = &self.primaries;
        self.readers.retain(|_, reader| {
            let is_outdated = reader.program == program && !primaries.contains(&reader.node);
            if is_outdated {
                let _ = reader.frames.send(Frame::End);
            }
            !is_outdated
        });
    }

    /// Reads a key, and tracks it for the stream, if there is one.
    pub(super) fn read(&mut self, node: usize, reader: Option<u64>, key: &str) -> (Option<Bytes>, Ttl) {
        let node = &mut self.nodes[node];
        if let Some(reader) = reader {
            node.table.entry(key.to_owned()).or_default().insert(reader);
        }
        let model = node.model();
        (model.get(key), model.ttl(key))
    }

    /// Reports that `key` changed, and stops tracking it. `by` is the program that changed it.
    pub(super) fn report(&mut self, key: &str, by: Option<u64>) {
        let node = self.primaries[self.shard_of(key)];
        self.report_on(node, key, by, by.is_none());
    }

    fn report_on(&mut self, node: usize, key: &str, by: Option<u64>, is_other_database: bool) {
        for reader in self.nodes[node].table.remove(key).unwrap_or_default() {
            if let Some(reader) = self.readers.get(&reader) {
                let changed = Frame::Changed {
                    key: key.to_owned(),
                    is_own: by == Some(reader.program),
                    is_other_database,
                };
                // A closed stream needs no frame, because its end implies that any key may have
                // changed.
                let _ = reader.frames.send(changed);
            }
        }
    }

    pub(super) fn flush(&mut self, removes: bool) {
        for at in self.primaries.clone() {
            let node = &mut self.nodes[at];
            node.table.clear();
            if removes {
                node.model = Model::new();
            }
            for reader in self.readers.values().filter(|reader| reader.node == at) {
                let _ = reader.frames.send(Frame::Flushed);
            }
        }
    }

    pub(super) fn fail_over(&mut self, key: &str) {
        let shard = self.shard_of(key);
        let old = &mut self.nodes[self.primaries[shard]];
        old.table.clear();
        let new = Node {
            model: old.model().clone(),
            passed: old.passed,
            table: HashMap::new(),
        };
        self.primaries[shard] = self.nodes.len();
        self.nodes.push(new);
        self.epoch += 1;
    }

    pub(super) fn move_key(&mut self, key: &str) {
        let from = self.shard_of(key);
        let to = (from + 1) % self.primaries.len();
        let old = self.primaries[from];
        let entry = self.nodes[old].model().get_with_ttl(key);
        if let Some((value, ttl)) = entry {
            self.nodes[old].model().del(&[key]);
            // MIGRATE deletes the key that it has moved, which is reported.
            self.report_on(old, key, Some(u64::MAX), false);
            let options = match ttl {
                Ttl::Remaining(left) => codex_traits::SetOptions::expires_after(left),
                _ => codex_traits::SetOptions::new(),
            };
            let _ = self.nodes[self.primaries[to]].model().set(key, value, options);
        }
        self.moved.insert(key.to_owned(), to);
        self.epoch += 1;
    }
}
