//! Tests of waits: on a paused clock and on other executors.

use std::{convert::Infallible, future::pending, time::Duration};

use codex_kv::{Cache, CacheError, ComputeError, Timeout, memory::MemoryBackend};
use futures_util::future::{Either, select};

fn cache() -> Cache<MemoryBackend> {
    Cache::builder(MemoryBackend::new())
        .key_prefix("shop")
        .name("basket")
        .build()
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn cverb_14_a_wait_is_ten_seconds_unless_set() {
    let cache = cache();
    let compute = || pending::<Result<u8, Infallible>>();
    let mut stuck = Box::pin(cache.get_or_try_set_with("k", Timeout::Default, compute));
    let moment = Box::pin(tokio::time::sleep(Duration::from_millis(1)));
    assert!(matches!(select(&mut stuck, moment).await, Either::Right(_)));
    let started = tokio::time::Instant::now();
    let second = cache.get_or_try_set_with("k", Timeout::Default, || async { Ok::<_, Infallible>(2) });
    assert_eq!(second.await.unwrap(), 2);
    let waited = started.elapsed();
    assert!(
        waited >= Duration::from_secs(10) && waited < Duration::from_secs(11),
        "{waited:?}"
    );
}

/// Waits on an executor other than tokio, and on a tokio runtime without a timer.
#[test]
fn cverb_14_a_wait_ends_on_any_executor() {
    let waited = || async {
        let builder = Cache::builder(MemoryBackend::new()).max_wait(Duration::from_millis(50));
        let cache = builder.build().unwrap();
        let compute = || pending::<Result<u8, Infallible>>();
        let mut stuck = Box::pin(cache.get_or_try_set_with("k", Timeout::Default, compute));
        assert!(matches!(
            select(&mut stuck, futures_util::future::ready(())).await,
            Either::Right(_)
        ));
        let second = cache.get_or_try_set_with("k", Timeout::Default, || async { Ok::<_, Infallible>(2) });
        assert_eq!(second.await.unwrap(), 2);
    };
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(waited());
    std::thread::spawn(move || block_on(waited())).join().unwrap();
}

/// Polls the future until it is done, as a minimal executor.
fn block_on(future: impl Future<Output = ()>) {
    let mut future = std::pin::pin!(future);
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    while future.as_mut().poll(&mut cx).is_pending() {
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[tokio::test]
async fn cverb_08_an_error_of_a_closure_that_cannot_fail_is_one_of_the_cache() {
    async fn read(cache: &Cache<MemoryBackend>) -> Result<u8, CacheError> {
        Ok(cache
            .get_or_try_set_with("k", Timeout::Default, || async { Ok::<_, Infallible>(1) })
            .await?)
    }
    let cache = cache();
    assert_eq!(read(&cache).await.unwrap(), 1);
    cache.set("k", "text", Timeout::Default).await.unwrap();
    assert!(matches!(read(&cache).await, Err(CacheError::Codec(_))));
    // Programs that print the chain of sources print each source once.
    let error: ComputeError<Infallible> = CacheError::NotFound.into();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(!error.to_string().contains(&source), "{error}");
}
