//! Tests of calls from inside an async program.

use std::time::Duration;

use codex_kv::{
    CacheError, DjangoSigned, Error, ErrorKind, SessionError, Timeout,
    blocking::{self, Cache, SessionStore},
    memory::MemoryBackend,
};
use tokio::runtime::{Builder, Runtime};

fn cache() -> Cache<MemoryBackend> {
    Cache::builder(MemoryBackend::new()).key_prefix("shop").build().unwrap()
}

fn multi_thread() -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

fn current_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn says_so(error: &Error) {
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert!(!error.may_have_executed());
    let text = error.to_string();
    assert!(
        text.contains("thread of an async runtime") && text.contains("spawn_blocking"),
        "{text}"
    );
}

/// Asserts that a call is refused without being made.
fn is_refused(cache: &Cache<MemoryBackend>) {
    let Err(CacheError::Backend(error)) = cache.set("k", &1, Timeout::Default) else {
        panic!("a call was made on a runtime's thread")
    };
    says_so(&error);
}

fn works(cache: &Cache<MemoryBackend>) {
    cache.set("k", &1, Timeout::Default).unwrap();
    assert_eq!(cache.get("k").unwrap(), Some(1));
}

#[test]
fn a_call_on_a_runtimes_own_thread_is_an_error() {
    for runtime in [multi_thread(), current_thread()] {
        // The future of `block_on`, before and after a wait.
        runtime.block_on(async {
            is_refused(&cache());
            tokio::time::sleep(Duration::from_millis(1)).await;
            is_refused(&cache());
        });
        // A task that calls again and again.
        runtime.block_on(async {
            let task = tokio::spawn(async {
                for _ in 0..300 {
                    is_refused(&cache());
                }
                tokio::task::yield_now().await;
                is_refused(&cache());
            });
            task.await.unwrap();
        });
        // A task of a local set.
        let set = tokio::task::LocalSet::new();
        set.block_on(&runtime, async {
            is_refused(&cache());
            tokio::task::spawn_local(async { is_refused(&cache()) }).await.unwrap();
        });
        // Other blocking calls, and a future that has used up its budget.
        runtime.block_on(async {
            says_so(&blocking::connect("memory://").unwrap_err());
            let store = SessionStore::builder(MemoryBackend::new())
                .codec(DjangoSigned::new("s"))
                .build()
                .unwrap();
            let Err(SessionError::Backend(error)) = store.create() else {
                panic!("a call was made on a runtime's thread")
            };
            says_so(&error);
            while tokio::task::coop::has_budget_remaining() {
                tokio::task::consume_budget().await;
            }
            is_refused(&cache());
        });
        // The check consumed none of the task's budget.
        runtime.block_on(async {
            let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
            sender.send(1).unwrap();
            is_refused(&cache());
            assert!(tokio::task::coop::has_budget_remaining());
            assert_eq!(receiver.recv().await, Some(1));
        });
    }
}

#[test]
fn a_call_inside_spawn_blocking_works() {
    for runtime in [multi_thread(), current_thread()] {
        runtime.block_on(async {
            for _ in 0..3 {
                let task = tokio::task::spawn_blocking(|| {
                    for _ in 0..3 {
                        works(&cache());
                    }
                });
                task.await.unwrap();
            }
        });
    }
    // On a thread that was a worker thread until now.
    multi_thread().block_on(async {
        let task = tokio::spawn(async {
            let cache = cache();
            is_refused(&cache);
            tokio::task::block_in_place(|| works(&cache));
        });
        task.await.unwrap();
    });
}

#[test]
fn a_runtime_that_is_only_entered_runs_nothing() {
    for runtime in [multi_thread(), current_thread()] {
        let _context = runtime.enter();
        works(&cache());
    }
}

#[test]
fn a_cache_can_be_used_by_both_kinds_of_code() {
    let blocking = cache();
    let asynchronous: codex_kv::Cache<MemoryBackend> = blocking.clone().into();
    blocking.set("k", &7, Timeout::Default).unwrap();
    assert_eq!(current_thread().block_on(asynchronous.get("k")).unwrap(), Some(7));
    works(&Cache::from(asynchronous));
}
