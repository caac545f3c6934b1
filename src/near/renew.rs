//! Renewal of leases by the reads that need them.
//!
//! There is no timer. A read that finds the last proof older than a third of `max_staleness` renews
//! the lease in a task on its own runtime, which is being driven. Without reads, no proof is
//! requested.

use std::sync::Arc;

use codex_traits::{NodeId, Tracking, TrackingFeed as _};

use super::backend::Inner;

impl<R: Tracking> Inner<R> {
    /// Renews the lease of a node in the background, unless another caller is renewing it. The
    /// caller has read `key` from the node, and has checked that the renewal is due.
    #[cold]
    pub(super) fn renew(self: &Arc<Self>, node: NodeId, key: &str) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            // Without a runtime, reads that miss renew the lease inline.
            return;
        };
        if self.state.nodes.claim(node, self.state.time.now()) {
            let (inner, key) = (Arc::clone(self), key.to_owned());
            runtime.spawn(async move { inner.prove(node, &key).await });
        }
    }

    /// Renews the lease of a node after a read of `key` from it, if the renewal is due.
    pub(super) async fn renew_after_read(self: &Arc<Self>, node: NodeId, key: &str) {
        let nodes = &self.state.nodes;
        if !nodes.is_due(nodes.lease_of(node), self.state.time.latest()) {
            return;
        }
        if tokio::runtime::Handle::try_current().is_ok() {
            self.renew(node, key);
        } else if nodes.claim(node, self.state.time.now()) {
            self.prove(node, key).await;
        }
    }

    /// Proves the stream with a key that was read just now. Each renewal tests another key, the
    /// popular ones most often, so a loss of rights is found without a request per kept answer.
    async fn prove(&self, node: NodeId, key: &str) {
        let nodes = &self.state.nodes;
        // Read the time first: the proof must not appear newer than it is.
        let Some(asked) = nodes.ask(node, self.state.time.now()) else {
            return;
        };
        if Box::pin(self.feed.prove_readable(node, key)).await.is_ok() {
            nodes.proven(node, asked);
        }
        #[cfg(feature = "metrics")]
        self.metrics.publish(|| self.state.stats());
    }
}
