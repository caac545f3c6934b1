//! The state of each node's stream.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use codex_traits::NodeId;

/// The maximum number of nodes whose answers are kept. A Redis Cluster has at most about 1,000.
pub(super) const NODES: usize = 1024;

/// The nodes, and the epoch that orders reads and flushes.
#[derive(Debug)]
pub(super) struct Nodes {
    /// Incremented by each flush.
    epoch: AtomicU64,
    by_id: Box<[Node]>,
    /// The validity of a proof, in nanoseconds.
    max_staleness: u64,
}

#[derive(Debug)]
struct Node {
    /// Answers to reads that were sent before this epoch are not valid.
    valid_since: AtomicU64,
    /// The time until which answers are valid, or 0 if the stream is not proven.
    lease: AtomicU64,
    /// The time at which the current claim to renew the lease ends.
    claimed_until: AtomicU64,
    stream: Mutex<Stream>,
}

#[derive(Debug, Default)]
struct Stream {
    /// Incremented when a stream opens or closes.
    number: u64,
    /// The time at which the stream that is being checked was announced.
    opening_since: Option<u64>,
}

/// The state of a node's stream when a proof was requested.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    stream: u64,
    at: u64,
}

impl Nodes {
    pub(super) fn new(max_staleness: u64) -> Self {
        let node = || Node {
            valid_since: AtomicU64::new(0),
            lease: AtomicU64::new(0),
            claimed_until: AtomicU64::new(0),
            stream: Mutex::default(),
        };
        Self {
            epoch: AtomicU64::new(0),
            by_id: (0..NODES).map(|_| node()).collect(),
            max_staleness,
        }
    }

    fn node(&self, node: NodeId) -> Option<&Node> {
        self.by_id.get(usize::from(node.number()))
    }

    /// Returns the epoch. A read notes it before it is sent.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::SeqCst)
    }

    /// Returns the time until which an answer of this node and epoch is valid, or 0 if it is
    /// already invalid.
    #[inline]
    pub(super) fn lease(&self, node: NodeId, epoch: u64) -> u64 {
        let Some(node) = self.node(node) else { return 0 };
        // Load the lease first: the lease of a later stream is stored after its `valid_since`, so a
        // new lease is never combined with an old `valid_since`.
        let lease = node.lease.load(Ordering::Acquire);
        if node.valid_since.load(Ordering::Acquire) <= epoch {
            lease
        } else {
            0
        }
    }

    /// Returns the time until which the current answers of a node are valid, or 0 if its stream is
    /// not proven.
    pub(super) fn lease_of(&self, node: NodeId) -> u64 {
        self.lease(node, u64::MAX)
    }

    /// Drops all answers of a node.
    pub(super) fn flush(&self, node: NodeId) {
        if let Some(node) = self.node(node) {
            // Raise the epoch first: a read that notes the new epoch is sent after this flush.
            let epoch = self.epoch.fetch_add(1, Ordering::SeqCst) + 1;
            node.valid_since.fetch_max(epoch, Ordering::SeqCst);
        }
    }

    /// Drops all answers of all nodes.
    pub(super) fn flush_all(&self) {
        let epoch = self.epoch.fetch_add(1, Ordering::SeqCst) + 1;
        for node in &self.by_id {
            node.valid_since.fetch_max(epoch, Ordering::SeqCst);
        }
    }

    /// Records that a stream is about to be checked.
    pub(super) fn opening(&self, node: NodeId, now: u64) {
        self.change(node, Some(now));
    }

    /// Records that a stream has ended.
    pub(super) fn closed(&self, node: NodeId) {
        self.change(node, None);
    }

    fn change(&self, id: NodeId, opening_since: Option<u64>) {
        let Some(node) = self.node(id) else { return };
        let mut stream = node.stream.lock().unwrap_or_else(PoisonError::into_inner);
        stream.number = stream.number.wrapping_add(1);
        stream.opening_since = opening_since;
        node.lease.store(0, Ordering::SeqCst);
        node.claimed_until.store(0, Ordering::SeqCst);
        self.flush(id);
    }

    /// Records that the announced stream is proven.
    pub(super) fn opened(&self, node: NodeId) {
        let Some(node) = self.node(node) else { return };
        let mut stream = node.stream.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(since) = stream.opening_since.take() {
            self.extend(node, since);
        }
    }

    /// Returns the state to which a proof will refer. Call this before requesting the proof.
    pub(super) fn ask(&self, node: NodeId, now: u64) -> Option<Asked> {
        let stream = self.node(node)?.stream.lock().unwrap_or_else(PoisonError::into_inner);
        Some(Asked {
            stream: stream.number,
            at: now,
        })
    }

    /// Records the requested proof. A proof of an earlier stream is ignored.
    pub(super) fn proven(&self, node: NodeId, asked: Asked) {
        let Some(node) = self.node(node) else { return };
        let stream = node.stream.lock().unwrap_or_else(PoisonError::into_inner);
        if stream.number == asked.stream {
            self.extend(node, asked.at);
        }
        node.claimed_until.store(0, Ordering::SeqCst);
    }

    /// Extends the lease. The caller must hold the lock of the stream.
    fn extend(&self, node: &Node, asked_at: u64) {
        let until = asked_at.saturating_add(self.max_staleness);
        node.lease.fetch_max(until, Ordering::SeqCst);
    }

    /// Returns whether the last proof is older than a third of `max_staleness`.
    #[inline]
    pub(super) fn is_due(&self, lease: u64, now: u64) -> bool {
        lease < now.saturating_add(self.max_staleness - self.max_staleness / 3)
    }

    /// Claims the renewal of a node's lease, unless another caller holds the claim. A claim ends
    /// after a third of `max_staleness`, because the runtime of its holder may not be driven.
    pub(super) fn claim(&self, node: NodeId, now: u64) -> bool {
        let Some(node) = self.node(node) else { return false };
        let claimed = node.claimed_until.load(Ordering::Acquire);
        let until = now.saturating_add(self.max_staleness / 3);
        claimed <= now
            && node
                .claimed_until
                .compare_exchange(claimed, until, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: NodeId = NodeId::ONLY;

    #[test]
    fn a_proof_of_an_earlier_stream_renews_no_lease() {
        let nodes = Nodes::new(30);
        nodes.opening(NODE, 0);
        nodes.opened(NODE);
        assert_eq!(nodes.lease_of(NODE), 30);
        let asked = nodes.ask(NODE, 10).unwrap();
        nodes.closed(NODE);
        assert_eq!(nodes.lease_of(NODE), 0);
        nodes.opening(NODE, 11);
        nodes.proven(NODE, asked);
        assert_eq!(nodes.lease_of(NODE), 0);
        nodes.opened(NODE);
        assert_eq!(nodes.lease_of(NODE), 41);
    }

    #[test]
    fn one_caller_renews_a_lease_at_a_time() {
        let nodes = Nodes::new(30);
        nodes.opening(NODE, 0);
        nodes.opened(NODE);
        assert!(!nodes.is_due(30, 10) && nodes.is_due(30, 11));
        assert!(nodes.claim(NODE, 11) && !nodes.claim(NODE, 12));
        let asked = nodes.ask(NODE, 11).unwrap();
        nodes.proven(NODE, asked);
        assert!(nodes.claim(NODE, 12), "the proof ends the claim");
        // A claim without a proof ends after a third of the staleness.
        assert!(!nodes.claim(NODE, 21) && nodes.claim(NODE, 22));
        nodes.closed(NODE);
        assert!(nodes.claim(NODE, 23), "the claim was about another stream");
    }
}
