//! What one can see of the backend: `tracing` spans and events here, counters in
//! [`metrics`](super::metrics).
//!
//! Names are those of OpenTelemetry's conventions for database clients, where there is one:
//! <https://opentelemetry.io/docs/specs/semconv/db/redis/>. What is recorded is the name of a
//! command and never an argument of it; of what the server says, only the code of an error.

use std::{borrow::Cow, fmt, time::Duration};

use tokio::time::Instant;
use tracing::{
    Span,
    field::{Empty, display},
};

use super::metrics as count;

/// A host and a port. A Unix socket has no port, and its path as the host.
pub(crate) type Peer<'a> = (Cow<'a, str>, Option<u16>);

/// One request and its answer, as a span of the level `DEBUG`; without a subscriber it costs the
/// look at a flag.
pub(crate) struct RoundTrip {
    database: u32,
    name: &'static str,
    commands: usize,
    span: Span,
    sent: Option<Instant>,
}

impl RoundTrip {
    /// A request of this many commands, by the name of OpenTelemetry's conventions.
    pub(crate) fn begin(database: u32, name: &'static str, commands: usize) -> Self {
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
            span.record("otel.name", name);
            span.record("db.operation.name", name);
            if commands > 1 {
                span.record("db.operation.batch.size", commands);
            }
            span.record("db.namespace", display(database));
        }
        Self {
            database,
            name,
            commands,
            span,
            sent: None,
        }
    }

    /// The server that it goes to.
    pub(crate) fn address<'a>(&self, peer: impl FnOnce() -> Peer<'a>) {
        if self.span.is_disabled() {
            return;
        }
        let (host, port) = peer();
        self.span.record("server.address", display(host));
        if let Some(port) = port {
            self.span.record("server.port", port);
        }
    }

    /// There is a connection, and the request is on it.
    pub(crate) fn sent(&mut self) {
        self.sent = Some(Instant::now());
    }

    /// `error` is the kind of a failure or the code of an error reply, `code` only the latter.
    pub(crate) fn end(
        self,
        operation: &'static str,
        error: Option<&'static str>,
        code: Option<&'static str>,
        slow: Duration,
        server: &dyn fmt::Debug,
    ) {
        if let Some(error) = error {
            self.span.record("error.type", error);
            self.span.record("otel.status_code", "ERROR");
        }
        if let Some(code) = code {
            self.span.record("db.response.status_code", code);
        }
        let Some(sent) = self.sent else { return };
        let taken = sent.elapsed();
        count::round_trip(self.name, error, taken);
        if taken > slow {
            self.slow(operation, taken, server);
        }
    }

    #[cold]
    fn slow(&self, operation: &'static str, taken: Duration, server: &dyn fmt::Debug) {
        count::slow(operation);
        tracing::warn!(
            parent: &self.span,
            operation,
            milliseconds = taken.as_millis(),
            "db.system.name" = "redis",
            "db.namespace" = %self.database,
            "db.operation.name" = self.name,
            "db.operation.batch.size" = (self.commands > 1).then_some(self.commands),
            ?server,
            "slow Redis command"
        );
    }
}

/// A dial that succeeded.
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

/// A dial that failed, with the kind of the failure in one word.
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

/// A connection was left, so that the next call dials.
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

/// A command is sent again, because it was refused without being run, or was not sent at all.
pub(crate) fn sent_again(operation: &'static str, reason: &'static str) {
    count::sent_again(reason);
    tracing::debug!(
        "db.system.name" = "redis",
        operation,
        reason,
        "sent a Redis command again"
    );
}

/// Another server has taken over.
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

/// Slots of a cluster are served by other nodes than before.
pub(crate) fn slots_moved(slots: usize) {
    count::slots_moved(slots);
    tracing::info!(
        "db.system.name" = "redis",
        slots,
        "slots of the Redis cluster have moved"
    );
}
