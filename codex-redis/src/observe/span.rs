//! What one can see of the backend: `tracing` spans and events here, counters in [`metrics`](super::metrics).
//!
//! Names are those of OpenTelemetry's conventions for database clients, where there is one:
//! <https://opentelemetry.io/docs/specs/semconv/db/redis/>. What is recorded is the name of a command and never an argument of
//! it; of what the server says, only the code of an error.

use std::time::Duration;

use codex_traits::{ErrorKind, Result};
use tokio::time::Instant;
use tracing::{
    Span,
    field::{Empty, display},
};

use super::metrics as count;
use crate::{
    config::settings::Address,
    server::locate::{Endpoint, Origin},
    server::server::Answer,
    wire::command_name::Named,
};

/// One request and its answer, as a span of the level `DEBUG`; without a subscriber it costs the look at a flag.
pub(crate) struct RoundTrip<'a> {
    endpoint: &'a Endpoint,
    request: &'a dyn Named,
    span: Span,
    sent: Option<Instant>,
}

impl<'a> RoundTrip<'a> {
    pub(crate) fn begin(endpoint: &'a Endpoint, request: &'a dyn Named) -> Self {
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
            let (name, commands) = request.name();
            span.record("otel.name", name);
            span.record("db.operation.name", name);
            if commands > 1 {
                span.record("db.operation.batch.size", commands);
            }
            span.record("db.namespace", display(endpoint.settings.database));
            if let Origin::At(address) = &endpoint.origin {
                record_address(&span, address);
            }
        }
        Self {
            endpoint,
            request,
            span,
            sent: None,
        }
    }

    /// There is a connection, to this server.
    pub(crate) fn sent_to(&mut self, address: &Address) {
        self.sent = Some(Instant::now());
        if matches!(self.endpoint.origin, Origin::Elected(_)) {
            record_address(&self.span, address);
        }
    }

    pub(crate) fn end<A: Answer>(self, operation: &'static str, answer: &Result<A>) {
        let status = answer.as_ref().ok().and_then(|answer| answer.errors().next());
        let error = match (answer, status) {
            (Err(error), _) => Some(kind_name(error.kind())),
            (Ok(_), Some(error)) => Some(known_code(error.code())),
            (Ok(_), None) => None,
        };
        if let Some(error) = error {
            self.span.record("error.type", error);
            self.span.record("otel.status_code", "ERROR");
            if let Some(status) = status {
                self.span.record("db.response.status_code", known_code(status.code()));
            }
        }
        let Some(sent) = self.sent else { return };
        let taken = sent.elapsed();
        count::round_trip(self.request, error, taken);
        if taken > self.endpoint.settings.slow_command {
            self.slow(operation, taken);
        }
    }

    #[cold]
    fn slow(&self, operation: &'static str, taken: Duration) {
        count::slow(operation);
        let (name, commands) = self.request.name();
        tracing::warn!(
            parent: &self.span,
            operation,
            milliseconds = taken.as_millis(),
            "db.system.name" = "redis",
            "db.namespace" = %self.endpoint.settings.database,
            "db.operation.name" = name,
            "db.operation.batch.size" = (commands > 1).then_some(commands),
            server = ?self.endpoint,
            "slow Redis command"
        );
    }
}

fn record_address(span: &Span, address: &Address) {
    let (host, port) = split(address);
    span.record("server.address", display(host));
    if let Some(port) = port {
        span.record("server.port", port);
    }
}

/// A unix socket has no port.
fn split(address: &Address) -> (std::borrow::Cow<'_, str>, Option<u16>) {
    match address {
        Address::Tcp { host, port } => (host.as_str().into(), Some(*port)),
        Address::Unix(path) => (path.to_string_lossy(), None),
    }
}

/// What came of a dial, which took so long. Without an address, none was found out.
pub(crate) fn dialled(endpoint: &Endpoint, to: Result<&Address, (ErrorKind, &'static str)>, taken: Duration) {
    count::dialled(to.map_err(|(kind, _)| kind_name(kind)).err());
    let milliseconds = taken.as_millis();
    let namespace = endpoint.settings.database;
    match to {
        Ok(address) => {
            let (host, port) = split(address);
            tracing::debug!(
                "db.system.name" = "redis",
                "db.namespace" = %namespace,
                "server.address" = %host,
                "server.port" = port,
                milliseconds,
                "connected to Redis"
            );
        }
        Err((kind, reason)) => tracing::warn!(
            "db.system.name" = "redis",
            "db.namespace" = %namespace,
            "error.type" = kind_name(kind),
            server = ?endpoint,
            milliseconds,
            reason,
            "no connection to Redis"
        ),
    }
}

/// A connection was left, so that the next call dials.
pub(crate) fn evicted(address: &Address, reason: &'static str) {
    count::evicted(reason);
    let (host, port) = split(address);
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
pub(crate) fn failed_over(by: &'static str, to: &Address) {
    count::failed_over(by);
    let (host, port) = split(to);
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

/// In one word.
pub(crate) fn kind_name(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Connection => "connection",
        ErrorKind::Timeout => "timeout",
        ErrorKind::Server => "server",
        ErrorKind::Data => "data",
        ErrorKind::Config => "config",
        ErrorKind::InvalidArgument => "invalid_argument",
        _ => "other",
    }
}

/// The codes that Redis is known to answer with. Anything else might be a part of what was sent.
pub(crate) fn known_code(code: &str) -> &'static str {
    const KNOWN: [&str; 22] = [
        "ERR",
        "WRONGTYPE",
        "OOM",
        "NOAUTH",
        "NOPERM",
        "WRONGPASS",
        "READONLY",
        "LOADING",
        "BUSY",
        "MASTERDOWN",
        "MISCONF",
        "NOREPLICAS",
        "CLUSTERDOWN",
        "TRYAGAIN",
        "MOVED",
        "ASK",
        "CROSSSLOT",
        "NOSCRIPT",
        "EXECABORT",
        "UNKILLABLE",
        "NOPROTO",
        "NOGOODSLAVE",
    ];
    KNOWN.into_iter().find(|known| *known == code).unwrap_or("other")
}
