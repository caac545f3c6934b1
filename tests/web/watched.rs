//! A memory backend that records its calls and can be taken out of service.

use codex_kv::{
    memory::MemoryBackend,
    testkit::doubles::{Fault, FaultyBackend, Loss, RecordingBackend},
};

pub(crate) type Watched = RecordingBackend<FaultyBackend<MemoryBackend>>;

/// Returns a backend that is in service. Clones share their state.
pub(crate) fn watched() -> Watched {
    RecordingBackend::new(FaultyBackend::new(MemoryBackend::new()))
}

/// Takes the backend out of service after this many more calls.
pub(crate) fn take_down_after(backend: &Watched, calls: u64) {
    backend
        .inner()
        .inject(Fault::request_lost(Loss::Connection).after(calls));
}

/// Puts the backend back in service.
pub(crate) fn restore(backend: &Watched) {
    backend.inner().heal();
}

/// Returns the verbs and keys since the last call. A verb with several keys appears once per key,
/// and a verb without keys appears with an empty key.
pub(crate) fn take(backend: &Watched) -> Vec<(&'static str, String)> {
    let calls = backend.calls();
    backend.clear();
    let mut taken = Vec::new();
    for mut call in calls {
        if call.keys.is_empty() {
            call.keys.push(String::new());
        }
        let verb = call.verb.name();
        taken.extend(call.keys.into_iter().map(|key| (verb, key)));
    }
    taken
}

/// Returns the verbs since the last call.
pub(crate) fn take_verbs(backend: &Watched) -> Vec<&'static str> {
    take(backend).into_iter().map(|(verb, _)| verb).collect()
}
