//! The pushes of a tracked connection.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use codex_traits::{NodeId, TrackingListener};
use redis::Value;

use super::{locate::Stalls, tracked_checks as checks};
use crate::{
    config::settings::Address,
    connection::{connect::log_end, failure::End, multiplexer::Watch},
};

/// The receiver of pushes, which notifies the listener.
#[derive(Debug)]
pub(super) struct Pushes {
    pub(super) node: NodeId,
    pub(super) address: Address,
    pub(super) canary: String,
    pub(super) has_seen_canary: AtomicBool,
    pub(super) was_flushed: AtomicBool,
    pub(super) listener: Arc<dyn TrackingListener>,
    pub(super) stalls: Stalls,
}

pub(super) struct Watching(pub(super) Arc<Pushes>);

impl Watch for Watching {
    fn push(&self, items: Vec<Value>) {
        let Pushes { node, listener, .. } = &*self.0;
        match checks::push(&items) {
            checks::Push::Changed(keys) => {
                for key in keys {
                    match key {
                        Value::BulkString(key) if key == self.0.canary.as_bytes() => {
                            self.0.has_seen_canary.store(true, Ordering::Release);
                        }
                        Value::BulkString(key) => listener.changed(*node, key),
                        // A key in another form is unknown, so any key may have changed.
                        _ => listener.flushed(*node),
                    }
                }
            }
            checks::Push::Flushed => {
                self.0.was_flushed.store(true, Ordering::Release);
                listener.flushed(*node);
            }
            checks::Push::Other => {}
        }
    }

    fn ended(&self, end: End, unanswered: usize) {
        self.0.stalls.ended(end);
        self.0.listener.closed(self.0.node);
        log_end(&self.0.address, end, unanswered);
    }
}
