//! Tests of closures that panic: their callers panic or get an error, and all other callers
//! continue.

use std::{
    convert::Infallible,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Barrier,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use codex_kv::{ComputeError, Timeout, blocking::Cache, memory::MemoryBackend};

fn cache() -> Cache<MemoryBackend> {
    Cache::builder(MemoryBackend::new()).key_prefix("shop").build().unwrap()
}

#[test]
fn a_panic_in_a_closure_is_its_callers_and_the_thread_goes_on() {
    let cache = cache();
    for _ in 0..3 {
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            cache.get_or_try_set_with("k", Timeout::Default, || -> Result<u8, Infallible> {
                panic!("planted")
            })
        }));
        assert!(panicked.is_err());
    }
    assert_eq!(cache.get::<u8>("k").unwrap(), None);
    let value = cache.get_or_try_set_with("k", Timeout::Default, || Ok::<u8, Infallible>(1));
    assert_eq!(value.unwrap(), 1);
}

#[test]
fn threads_that_wait_for_a_closure_that_panics_compute_for_themselves() {
    let (cache, entered, runs) = (cache(), Barrier::new(2), AtomicUsize::new(0));
    thread::scope(|scope| {
        let panicking = scope.spawn(|| {
            cache.get_or_try_set_with("k", Timeout::Default, || -> Result<u8, Infallible> {
                entered.wait();
                // Long enough for the other callers to wait for it.
                thread::sleep(Duration::from_millis(50));
                panic!("planted")
            })
        });
        entered.wait();
        let others: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    cache.get_or_try_set_with("k", Timeout::Default, || {
                        runs.fetch_add(1, Ordering::SeqCst);
                        Ok::<u8, Infallible>(2)
                    })
                })
            })
            .collect();
        assert!(panicking.join().is_err());
        for other in others {
            assert_eq!(other.join().unwrap().unwrap(), 2);
        }
    });
    assert_eq!(runs.into_inner(), 1);
}

#[test]
fn a_panic_in_the_function_of_a_loader_is_an_error_and_the_next_call_computes() {
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&runs);
    let loader = cache().loader("l").lease(Duration::from_secs(600)).load(move |_| {
        assert_ne!(counted.fetch_add(1, Ordering::SeqCst), 0, "planted");
        Ok::<u8, Infallible>(3)
    });
    let aborted = loader.get("k");
    assert!(matches!(aborted, Err(ComputeError::Aborted)), "{aborted:?}");
    assert_eq!(loader.get("k").unwrap().value, 3);
}
