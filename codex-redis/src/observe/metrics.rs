//! Counters, gauges of calls and connections, and a histogram, through the `metrics` facade.
//!
//! The recorder is looked up each time, because it may be set at any time and tests set it per
//! thread. The keys of metrics that every call updates are built once.

use std::{sync::LazyLock, time::Duration};

use metrics::{Key, Label, Level, Metadata, Unit, counter, gauge, with_recorder};

const CALLS: &str = "codex.redis.calls";
const IN_FLIGHT: &str = "codex.redis.calls.in_flight";
const DURATION: &str = "db.client.operation.duration";
const CONNECTIONS: &str = "codex.redis.connections";
const DIALS: &str = "codex.redis.dials";
const EVICTIONS: &str = "codex.redis.evictions";
const SENT_AGAIN: &str = "codex.redis.sent_again";
const FAIL_OVERS: &str = "codex.redis.fail_overs";
const SLOTS_MOVED: &str = "codex.redis.slots_moved";
const SLOW: &str = "codex.redis.slow_commands";

static METADATA: Metadata<'static> = Metadata::new(module_path!(), Level::INFO, Some(module_path!()));

/// A call from its start, before admission, to its end. A call that is dropped earlier counts as
/// cancelled.
pub(crate) struct Call(Option<&'static str>);

impl Call {
    pub(crate) fn begin(operation: &'static str) -> Self {
        gauge!(IN_FLIGHT).increment(1.0);
        Self(Some(operation))
    }

    /// Counts the end of a call. `outcome` is `"ok"`, `"refused"` for an error of the server, or
    /// the kind of a failure.
    pub(crate) fn end(mut self, outcome: &'static str) {
        if let Some(operation) = self.0.take() {
            ended(operation, outcome);
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if let Some(operation) = self.0 {
            ended(operation, "dropped");
        }
    }
}

const VERBS: [&str; 15] = [
    "get",
    "get_with_ttl",
    "set",
    "incr",
    "get_many",
    "set_many",
    "del",
    "del_if_equals",
    "expire",
    "ttl",
    "scan",
    "del_matching",
    "health",
    "command",
    "connect",
];
const OUTCOMES: [&str; 8] = [
    "ok",
    "refused",
    "connection",
    "timeout",
    "server",
    "config",
    "dropped",
    "other",
];

static CALL_KEYS: LazyLock<Vec<Key>> = LazyLock::new(|| {
    let labels = |verb, outcome| {
        vec![
            Label::from_static_parts("verb", verb),
            Label::from_static_parts("outcome", outcome),
        ]
    };
    let of = |verb| {
        OUTCOMES
            .iter()
            .map(move |outcome| Key::from_parts(CALLS, labels(verb, outcome)))
    };
    VERBS.into_iter().flat_map(of).collect()
});

fn ended(operation: &'static str, outcome: &'static str) {
    gauge!(IN_FLIGHT).decrement(1.0);
    let place = |list: &[&str], wanted: &str| list.iter().position(|item| *item == wanted);
    let outcome = place(&OUTCOMES, outcome).unwrap_or(OUTCOMES.len() - 1);
    let Some(verb) = place(&VERBS, operation) else { return };
    if let Some(key) = CALL_KEYS.get(verb * OUTCOMES.len() + outcome) {
        with_recorder(|recorder| recorder.register_counter(key, &METADATA).increment(1));
    }
}

/// An open connection.
#[derive(Debug)]
pub(crate) struct Open;

impl Open {
    pub(crate) fn new() -> Self {
        gauge!(CONNECTIONS).increment(1.0);
        Self
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        gauge!(CONNECTIONS).decrement(1.0);
    }
}

pub(crate) fn round_trip(name: impl FnOnce() -> &'static str, error: Option<&'static str>, taken: Duration) {
    let mut labels = vec![
        Label::from_static_parts("db.system.name", "redis"),
        Label::from_static_parts("db.operation.name", name()),
    ];
    if let Some(error) = error {
        labels.push(Label::from_static_parts("error.type", error));
    }
    let key = Key::from_parts(DURATION, labels);
    with_recorder(|recorder| recorder.register_histogram(&key, &METADATA).record(taken.as_secs_f64()));
}

pub(crate) fn slow(operation: &'static str) {
    counter!(SLOW, "verb" => operation).increment(1);
}

pub(crate) fn dialled(error: Option<&'static str>) {
    counter!(DIALS, "outcome" => error.unwrap_or("ok")).increment(1);
}

pub(crate) fn evicted(reason: &'static str) {
    counter!(EVICTIONS, "reason" => reason).increment(1);
}

pub(crate) fn sent_again(reason: &'static str) {
    counter!(SENT_AGAIN, "reason" => reason).increment(1);
}

pub(crate) fn failed_over(by: &'static str) {
    counter!(FAIL_OVERS, "by" => by).increment(1);
}

pub(crate) fn slots_moved(slots: usize) {
    counter!(SLOTS_MOVED).increment(slots as u64);
}

/// Describes the metrics to the recorder, if it is already set.
pub(crate) fn describe() {
    with_recorder(|recorder| {
        for (name, text) in [
            (CALLS, "Calls to Redis, by verb and outcome"),
            (DIALS, "Dials to Redis, by outcome"),
            (EVICTIONS, "Connections to Redis that were evicted, by reason"),
            (SENT_AGAIN, "Commands to Redis that were sent again, by reason"),
            (FAIL_OVERS, "Fail-overs from one server to another"),
            (SLOTS_MOVED, "Slots of the cluster that moved to another node"),
            (SLOW, "Round trips to Redis that took longer than slow_command"),
        ] {
            recorder.describe_counter(name.into(), Some(Unit::Count), text.into());
        }
        recorder.describe_gauge(IN_FLIGHT.into(), Some(Unit::Count), "Calls to Redis under way".into());
        recorder.describe_gauge(CONNECTIONS.into(), Some(Unit::Count), "Connections to Redis".into());
        let text = "Duration of a round trip to Redis, from sending to the answer";
        recorder.describe_histogram(DURATION.into(), Some(Unit::Seconds), text.into());
    });
}
