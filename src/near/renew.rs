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
    /// caller has checked that the renewal is due.
    #[cold]
    pub(super) fn renew(self: &Arc<Self>, node: NodeId) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            // Without a runtime, reads that miss renew the lease inline.
            return;
        };
        if self.state.nodes.claim(node, self.state.time.now()) {
            let inner = Arc::clone(self);
            runtime.spawn(async move { inner.prove(node).await });
        }
    }

    /// Renews the lease of a node after a read from it, if the renewal is due.
    pub(super) async fn renew_after_read(self: &Arc<Self>, node: NodeId) {
        let nodes = &self.state.nodes;
        if !nodes.is_due(nodes.lease_of(node), self.state.time.latest()) {
            return;
        }
        if tokio::runtime::Handle::try_current().is_ok() {
            self.renew(node);
        } else if nodes.claim(node, self.state.time.now()) {
            self.prove(node).await;
        }
    }

    async fn prove(&self, node: NodeId) {
        let nodes = &self.state.nodes;
        // Read the time first: the proof must not appear newer than it is.
        let Some(asked) = nodes.ask(node, self.state.time.now()) else {
            return;
        };
        if Box::pin(self.feed.prove(node)).await.is_ok() {
            nodes.proven(node, asked);
        }
        #[cfg(feature = "metrics")]
        self.metrics.publish(|| self.state.stats());
    }
}
