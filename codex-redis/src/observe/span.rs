//! `tracing` spans and events. Counters are in [`metrics`](super::metrics).
//!
//! Names follow OpenTelemetry's conventions for database clients if a convention exists:
//! <https://opentelemetry.io/docs/specs/semconv/db/redis/>. The name of a command is recorded, and
//! never an argument. From a reply, only the code of an error is recorded.

use std::{borrow::Cow, fmt, time::Duration};

use tokio::time::Instant;
use tracing::{
    Span,
    field::{Empty, display},
    level_filters::LevelFilter,
};

use super::metrics as count;

/// A host and a port. The host of a Unix socket is its path, and there is no port.
pub(crate) type Peer<'a> = (Cow<'a, str>, Option<u16>);

/// The duration above which a round trip counts as slow, and the server that the event names.
pub(crate) struct Slow<'a> {
    pub(crate) above: Duration,
    pub(crate) database: u32,
    pub(crate) server: &'a dyn fmt::Debug,
}

/// The name of a request by OpenTelemetry's conventions, and the number of its commands.
pub(crate) type Name = (&'static str, usize);

/// The result of a round trip.
#[derive(Clone, Copy, Default)]
pub(crate) struct Outcome {
    /// The kind of a failure, or the code of an error reply.
    pub(crate) error: Option<&'static str>,
    /// The code of an error reply.
    pub(crate) code: Option<&'static str>,
}

/// A request and its answer, as a span of the level `DEBUG`. Without a subscriber for that level,
/// it costs the check of a flag.
pub(crate) struct RoundTrip {
    span: Option<Span>,
    sent: Option<Instant>,
    answered: Option<Instant>,
}

impl RoundTrip {
    /// Begins a request. The name is looked up only if it is recorded.
    pub(crate) fn begin(database: u32, name: impl FnOnce() -> Name) -> Self {
        let is_wanted = LevelFilter::current() >= LevelFilter::DEBUG;
        Self {
            span: is_wanted.then(|| span(database, name)),
            sent: None,
            answered: None,
        }
    }

    /// Records the server of the request.
    pub(crate) fn address<'a>(&self, peer: impl FnOnce() -> Peer<'a>) {
        let Some(span) = self.span.as_ref().filter(|span| !span.is_disabled()) else {
            return;
        };
        let (host, port) = peer();
        span.record("server.address", display(host));
        if let Some(port) = port {
            span.record("server.port", port);
        }
    }

    /// Records that the request was put on a connection at this time.
    pub(crate) fn sent(&mut self, at: Instant) {
        self.sent = Some(at);
        self.answered = None;
    }

    /// Records the arrival of the answer.
    pub(crate) fn answered(&mut self, at: Instant) {
        self.answered = Some(at);
    }

    /// Ends the request with this outcome and the same name as in [`begin`](Self::begin).
    pub(crate) fn end(self, operation: &'static str, outcome: Outcome, name: impl Fn() -> Name, slow: &Slow<'_>) {
        if let Some(span) = &self.span {
            if let Some(error) = outcome.error {
                span.record("error.type", error);
                span.record("otel.status_code", "ERROR");
            }
            if let Some(code) = outcome.code {
                span.record("db.response.status_code", code);
            }
        }
        let Some(sent) = self.sent else { return };
        let taken = self
            .answered
            .unwrap_or_else(Instant::now)
            .saturating_duration_since(sent);
        count::round_trip(|| name().0, outcome.error, taken);
        if taken > slow.above {
            self.slow(operation, name(), taken, slow);
        }
    }

    #[cold]
    fn slow(&self, operation: &'static str, (name, commands): Name, taken: Duration, slow: &Slow<'_>) {
        count::slow(operation);
        let none = Span::none();
        tracing::warn!(
            parent: self.span.as_ref().unwrap_or(&none),
            operation,
            milliseconds = taken.as_millis(),
            "db.system.name" = "redis",
            "db.namespace" = %slow.database,
            "db.operation.name" = name,
            "db.operation.batch.size" = (commands > 1).then_some(commands),
            server = ?slow.server,
            "slow Redis command"
        );
    }
}

fn span(database: u32, name: impl FnOnce() -> Name) -> Span {
    let span = tracing::debug_span!(
        "redis",
        "otel.kind" = "client",
        "otel.name" = Empty,
        "otel.status_code" = Empty,
        "db.system.name" = "redis",
        "db.namespace" = Empty,
        "db.operation.name" = Empty,
        "db.operation.batch.size" = Empty,
        "db.response.status_code" = Empty,
        "server.address" = Empty,
        "server.port" = Empty,
        "error.type" = Empty,
    );
    if !span.is_disabled() {
        let (name, commands) = name();
        span.record("otel.name", name);
        span.record("db.operation.name", name);
        if commands > 1 {
            span.record("db.operation.batch.size", commands);
        }
        span.record("db.namespace", display(database));
    }
    span
}

/// Records a dial that succeeded.
pub(crate) fn dialled((host, port): Peer<'_>, database: u32, taken: Duration) {
    count::dialled(None);
    tracing::debug!(
        "db.system.name" = "redis",
        "db.namespace" = %database,
        "server.address" = %host,
        "server.port" = port,
        milliseconds = taken.as_millis(),
        "connected to Redis"
    );
}

/// Reports a dial that failed, with the kind of the failure in one word.
pub(crate) fn not_dialled(
    server: &dyn fmt::Debug,
    database: u32,
    kind: &'static str,
    reason: &'static str,
    taken: Duration,
) {
    count::dialled(Some(kind));
    tracing::warn!(
        "db.system.name" = "redis",
        "db.namespace" = %database,
        "error.type" = kind,
        ?server,
        milliseconds = taken.as_millis(),
        reason,
        "no connection to Redis"
    );
}

/// Reports that a connection was evicted, so that the next call dials.
pub(crate) fn evicted((host, port): Peer<'_>, reason: &'static str) {
    count::evicted(reason);
    tracing::warn!(
        "db.system.name" = "redis",
        "server.address" = %host,
        "server.port" = port,
        reason,
        "left a connection to Redis"
    );
}

/// Reports that a command is sent again: it was refused without being run, it was not sent at all,
/// or it changes nothing and its connection closed before the reply.
pub(crate) fn sent_again(operation: &'static str, reason: &'static str) {
    count::sent_again(reason);
    tracing::debug!(
        "db.system.name" = "redis",
        operation,
        reason,
        "sent a Redis command again"
    );
}

/// Reports that another server has taken over.
pub(crate) fn failed_over(by: &'static str, (host, port): Peer<'_>) {
    count::failed_over(by);
    tracing::warn!(
        "db.system.name" = "redis",
        "server.address" = %host,
        "server.port" = port,
        by,
        "another Redis server has taken over"
    );
}

/// Reports that slots of a cluster are served by other nodes than before.
pub(crate) fn slots_moved(slots: usize) {
    count::slots_moved(slots);
    tracing::info!(
        "db.system.name" = "redis",
        slots,
        "slots of the Redis cluster have moved"
    );
}
