//! Tests of arguments that are refused before the backend is called.

use std::time::Duration;

use codex_kv::{Cache, CacheError, memory::MemoryBackend};

#[test]
fn ctime_01_a_default_timeout_too_long_is_refused_by_the_builder() {
    let built = Cache::builder(MemoryBackend::new())
        .default_timeout(Duration::MAX)
        .build();
    let Err(error @ CacheError::InvalidArgument(_)) = built else {
        panic!("built")
    };
    assert!(error.to_string().contains("too long"), "{error}");
}
