//! Tests of the number of allocations of a hit.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test, a panic is the report"
)]

use std::{
    future::Future,
    pin::pin,
    task::{Context, Poll, Waker},
};

use codex_kv::{Cache, Timeout, memory::MemoryBackend};

/// Returns the output of a future that never waits. Uses no runtime, because a runtime's
/// allocations would count too.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => panic!("an in-process backend does not wait"),
    }
}

fn allocations<T>(run: impl FnOnce() -> T) -> u64 {
    allocation_counter::measure(|| drop(run())).count_total
}

#[test]
fn ckey_01_a_hit_of_an_integer_allocates_nothing() {
    let cache = Cache::builder(MemoryBackend::new()).key_prefix("shop").build().unwrap();
    // With `shop:1:`, this is the longest stored key that is built on the stack.
    for key in ["user:42", &"k".repeat(121)] {
        at_once(cache.set(key, &42, Timeout::Default)).unwrap();
        for _ in 0..3 {
            let counted = allocations(|| assert_eq!(at_once(cache.get::<i64>(key)).unwrap(), Some(42)));
            assert_eq!(counted, 0);
        }
        assert_eq!(allocations(|| at_once(cache.has_key(key)).unwrap()), 0);
        assert_eq!(allocations(|| at_once(cache.get::<i64>("missing")).unwrap()), 0);
    }
    // The counter works: a longer key costs one allocation, and the decoded value costs another.
    let long = "k".repeat(122);
    at_once(cache.set(&long, "text", Timeout::Default)).unwrap();
    assert_eq!(allocations(|| at_once(cache.get::<String>(&long)).unwrap()), 2);
}
