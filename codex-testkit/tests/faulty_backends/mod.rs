//! Small correct backends, each of which can be given one fault.
#![allow(dead_code, reason = "each test uses a part")]

pub(crate) mod altered;
mod backend;
pub(crate) mod connected;
pub(crate) mod faults;
mod globs;
pub(crate) mod journaled;
mod keyspace;

use bytes::Bytes;
use codex_testkit::{Foreign, Harness, Outage, Time, VirtualTime};

pub(crate) use backend::FaultyBackend;
pub(crate) use faults::Fault;
use keyspace::{Clock, Service};

/// A harness of backends on a shared clock.
#[derive(Default)]
pub(crate) struct FaultyBackendHarness {
    fault: Option<Fault>,
    clock: Clock,
    service: Service,
    /// The store that all backends share if that is the fault.
    shared: FaultyBackend,
}

impl FaultyBackendHarness {
    /// Returns a harness whose backends have this fault.
    pub(crate) fn with(fault: Fault) -> Self {
        Self {
            fault: Some(fault),
            ..Self::default()
        }
    }
}

impl Harness for FaultyBackendHarness {
    type Backend = FaultyBackend;

    async fn fresh(&self) -> FaultyBackend {
        let backend = FaultyBackend::new(self.fault, self.clock.clone(), self.service.clone());
        if self.fault == Some(Fault::FreshShares) {
            backend.on_the_store_of(&self.shared)
        } else {
            backend
        }
    }

    fn time(&self) -> Time {
        Time::Virtual(VirtualTime::new(self.clock.clone()))
    }

    async fn outage(&self) -> Option<Outage> {
        Some(Outage::new(self.service.clone()))
    }

    fn reopen(&self, backend: &FaultyBackend) -> Option<FaultyBackend> {
        Some(backend.clone())
    }

    async fn plant(&self, backend: &FaultyBackend, foreign: &Foreign) -> bool {
        let mut keyspace = backend.keyspace();
        match foreign {
            Foreign::List { key } => keyspace.insert(key.as_bytes(), None, None),
            Foreign::NonUtf8Key { key } => keyspace.insert(key, Some(Bytes::new()), None),
            _ => return false,
        }
        true
    }

    async fn is_planted(&self, backend: &FaultyBackend, foreign: &Foreign) -> bool {
        let keyspace = backend.keyspace();
        match foreign {
            Foreign::List { key } => keyspace
                .entries
                .get(key.as_bytes())
                .is_some_and(|entry| entry.value.is_none()),
            Foreign::NonUtf8Key { key } => keyspace.entries.contains_key(key),
            _ => false,
        }
    }
}
