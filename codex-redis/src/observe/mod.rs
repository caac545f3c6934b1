//! Observability: `tracing` spans and events, and counters through the `metrics` facade.

#[cfg_attr(not(feature = "metrics"), path = "no_metrics.rs")]
pub(crate) mod metrics;
mod span;

pub(crate) use self::span::{
    Name, Outcome, RoundTrip, Slow, dialled, evicted, failed_over, not_dialled, sent_again, slots_moved,
};
