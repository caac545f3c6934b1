//! A log of spans and events.

use std::{
    fmt::{self, Write as _},
    sync::{Arc, Mutex},
};

use tracing::{Dispatch, Event, Metadata, Subscriber, field::Field, span, subscriber::DefaultGuard};

/// A subscriber that records every span and event, at every level.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<String>>);

impl Log {
    /// Records the spans and events of this thread until the guard is dropped.
    pub(crate) fn begin() -> (Self, Recording) {
        let log = Self::default();
        // With a single subscriber, `tracing` asks only the thread that reaches an event first, and
        // may then disable the event for all threads.
        let second = Dispatch::new(log.clone());
        let guard = tracing::subscriber::set_default(log.clone());
        (
            log,
            Recording {
                _guard: guard,
                _second: second,
            },
        )
    }

    pub(crate) fn text(&self) -> String {
        self.0.lock().unwrap().clone()
    }

    fn note(&self, metadata: &Metadata<'_>, record: impl FnOnce(&mut dyn FnMut(&Field, &dyn fmt::Debug))) {
        let mut log = self.0.lock().unwrap();
        write!(log, "{} {}", metadata.level(), metadata.name()).unwrap();
        record(&mut |field, value| write!(log, " {field}={value:?}").unwrap());
        *log += "\n";
    }
}

/// The guard of a log that is being recorded.
pub(crate) struct Recording {
    _guard: DefaultGuard,
    _second: Dispatch,
}

impl Subscriber for Log {
    fn enabled(&self, _metadata: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &span::Attributes<'_>) -> span::Id {
        self.note(span.metadata(), |mut visit| span.record(&mut visit));
        span::Id::from_u64(1)
    }

    fn record(&self, _span: &span::Id, values: &span::Record<'_>) {
        let mut log = self.0.lock().unwrap();
        values.record(&mut |field: &Field, value: &dyn fmt::Debug| writeln!(log, " {field}={value:?}").unwrap());
    }

    fn record_follows_from(&self, _span: &span::Id, _follows: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        self.note(event.metadata(), |mut visit| event.record(&mut visit));
    }

    fn enter(&self, _span: &span::Id) {}

    fn exit(&self, _span: &span::Id) {}
}
