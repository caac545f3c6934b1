//! Tests of calls from several threads.

use std::{
    convert::Infallible,
    sync::{
        Arc, Barrier, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use codex_kv::{
    ComputeError, Timeout,
    blocking::{Cache, Loader},
    memory::MemoryBackend,
};

fn cache() -> Cache<MemoryBackend> {
    Cache::builder(MemoryBackend::new()).key_prefix("shop").build().unwrap()
}

#[test]
fn many_threads_share_a_cache() {
    let cache = cache();
    cache.set("n", &0, Timeout::Default).unwrap();
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                for _ in 0..100 {
                    cache.incr("n", 1).unwrap();
                }
            });
        }
    });
    assert_eq!(cache.get("n").unwrap(), Some(1_600));
}

#[test]
fn of_many_threads_one_computes() {
    let (cache, runs, start) = (cache(), AtomicUsize::new(0), Barrier::new(16));
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                start.wait();
                let value = cache.get_or_try_set_with("k", Timeout::Default, || {
                    runs.fetch_add(1, Ordering::SeqCst);
                    // Long enough for the other threads to wait for it.
                    thread::sleep(Duration::from_millis(50));
                    Ok::<_, Infallible>(7)
                });
                assert_eq!(value.unwrap(), 7);
            });
        }
    });
    assert_eq!(runs.into_inner(), 1);
}

#[test]
fn a_closure_may_use_the_cache() {
    let cache = cache();
    for round in 0..100 {
        let outer = format!("outer {round}");
        let value = cache.get_or_try_set_with(&outer, Timeout::Default, || {
            let inner = cache.get_or_try_set_with("inner", Timeout::Default, || Ok::<_, Infallible>(1));
            inner.map(|inner: i32| inner + 1)
        });
        assert_eq!(value.unwrap(), 2);
    }
}

#[test]
fn an_error_of_a_closure_is_returned() {
    #[derive(Debug, PartialEq)]
    struct Closed;
    let failed = cache().get_or_try_set_with::<i32, _, _>("k", Timeout::Default, || Err(Closed));
    let Err(ComputeError::Compute(error)) = failed else {
        panic!("{failed:?}")
    };
    assert_eq!(*error, Closed);
}

/// No wake-up from another thread is missed, even with nested calls.
#[test]
fn no_wake_up_is_lost() {
    let cache = cache();
    thread::scope(|scope| {
        for thread in 0..8 {
            let cache = &cache;
            scope.spawn(move || {
                for round in 0..200 {
                    let key = format!("{round}");
                    let value = cache.get_or_try_set_with(&key, Timeout::Default, || {
                        let inner = cache.get_or_try_set_with(&format!("inner {round}"), Timeout::Default, || {
                            thread::yield_now();
                            Ok::<_, Infallible>(round)
                        });
                        if thread % 2 == 0 {
                            thread::yield_now();
                        }
                        inner
                    });
                    assert_eq!(value.unwrap(), round);
                }
            });
        }
    });
}

/// The function runs on another thread than the task of the computation.
#[test]
fn a_function_that_requests_its_own_key_gets_an_error() {
    let own: Arc<OnceLock<Loader<u8, String, MemoryBackend>>> = Arc::default();
    let inside = Arc::clone(&own);
    let loader = cache().loader("l").load(move |key| {
        let answer = inside.get().unwrap().get(if key == "a" { "b" } else { &key });
        answer.map(|loaded| loaded.value).map_err(|error| format!("{error:?}"))
    });
    own.set(loader).unwrap();
    let loader = own.get().unwrap();
    for key in ["b", "a"] {
        let Err(ComputeError::Compute(error)) = loader.get(key) else {
            panic!("a function got the value that it computes")
        };
        assert!(error.contains("requested its own key"), "{error}");
    }
}

#[test]
fn a_group_ends_with_each_of_its_names() {
    let cache = cache();
    for end in ["a", "b"] {
        let both = cache.groups(&["b", "a"]).unwrap();
        assert_eq!(both.names(), ["a", "b"]);
        both.set("k", &1, Timeout::Default).unwrap();
        assert_eq!(cache.get::<u8>("k").unwrap(), None);
        assert_eq!(cache.groups(&["a", "b"]).unwrap().get::<u8>("k").unwrap(), Some(1));
        cache.group(end).unwrap().invalidate().unwrap();
        assert_eq!(cache.groups(&["a", "b"]).unwrap().get::<u8>("k").unwrap(), None);
        both.invalidate().unwrap();
        assert_eq!(both.get::<u8>("k").unwrap(), None);
    }
}

#[test]
fn a_loader_refreshes_invalidates_and_loads_many() {
    let cache = cache();
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&runs);
    let loader = cache
        .loader("l")
        .fresh_for(Duration::from_secs(60))
        .load(move |_| Ok::<_, Infallible>(counted.fetch_add(1, Ordering::SeqCst)));
    assert_eq!((loader.get("k").unwrap().value, loader.get("k").unwrap().value), (0, 0));
    assert_eq!(loader.refresh("k").unwrap().value, 1);
    assert_eq!(cache.get("k").unwrap(), Some(1));
    assert!(loader.invalidate("k").unwrap());
    assert!(!cache.has_key("k").unwrap() && !loader.invalidate("k").unwrap());
    assert_eq!(loader.get_many(["a", "b", "c", "a"]).unwrap().len(), 3);
    assert_eq!(runs.load(Ordering::SeqCst), 5);
}
