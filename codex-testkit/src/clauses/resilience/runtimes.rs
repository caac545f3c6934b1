//! Several runtimes, in sequence and side by side, and no runtime.

use std::{
    future::Future,
    pin::pin,
    sync::Arc,
    task::{Context as TaskContext, Poll, Wake, Waker},
    thread::{self, Thread},
    time::{Duration, Instant},
};

use codex_traits::{Expiry, KvBackend, OnMissing};
use tokio::runtime::{Builder, Handle, Runtime, RuntimeFlavor};

use super::LATE;
use crate::{
    Harness,
    context::{Context, Store},
    every_verb::{make_every_call, prepare},
    failure::{Checked, Failure, ensure, ensure_eq},
    runtime::panic_message,
};

pub(crate) async fn life_08_any_runtime_will_do<H: Harness>(cx: &Context<'_, H>) -> Checked {
    // One handle on several runtimes, each of which ends before the next begins.
    let store = apart(|| build(Flavor::Current)?.block_on(async { Checked::Ok(cx.store().await) }))?;
    for round in 0..6 {
        let flavor = if round % 2 == 0 { Flavor::Multi } else { Flavor::Current };
        apart(|| build(flavor)?.block_on(works(&store, round)))?;
    }
    // Then each kind of runtime with its own store.
    for flavor in [Flavor::Multi, Flavor::Current] {
        apart(|| {
            build(flavor)?.block_on(async {
                let store = cx.store().await;
                works(&store, 0).await?;
                works(&store, 1).await
            })
        })?;
    }
    // Without a runtime, an in-process store works, and any other store returns an error. Neither
    // may panic or hang.
    let alone = async {
        works(&store, 6).await?;
        Box::pin(prepare(&store)).await?;
        for call in Box::pin(make_every_call(&store)).await {
            ensure_eq!(call.answer?, call.truth, "{} without a runtime", call.verb);
        }
        Checked::Ok(())
    };
    // Boxed, because a thread's stack is small for the futures of all verbs.
    let alone = Box::pin(alone);
    let alone = apart(|| Ok(block_on_nothing(alone)))?;
    if cx.virtual_time().is_some() {
        return match alone {
            Some(works) => works,
            None => Err(Failure::Broken(
                "without a runtime, a store in process waits for ever".to_owned(),
            )),
        };
    }
    ensure!(alone.is_some(), "without a runtime, a call waits for ever");
    // The handle must work again on a runtime.
    apart(|| build(Flavor::Current)?.block_on(async { store.put("afterwards", "v").await }))
}

pub(crate) async fn life_15_no_runtime_waits_for_another<H: Harness>(cx: &Context<'_, H>) -> Checked {
    /// More calls than most backends allow at a time.
    const LEFT: usize = 64;
    apart(|| {
        let (first, second) = (build(Flavor::Current)?, build(Flavor::Current)?);
        let store = first.block_on(async {
            let store = cx.store().await;
            works(&store, 0).await.map(|()| store)
        })?;
        // These calls are in flight when the first runtime is no longer driven.
        for _ in 0..LEFT {
            let store = store.clone();
            first.spawn(async move { store.get("left").await });
        }
        first.block_on(tokio::task::yield_now());
        second.block_on(ends(cx, works(&store, 1), "while that one is not being driven"))?;
        first.block_on(ends(cx, works(&store, 2), "after it was used on another"))?;
        build(Flavor::Multi)?.block_on(ends(cx, works(&store, 3), "while two others are not being driven"))
    })
}

/// Fails if `task` takes longer than its calls may take.
async fn ends<H: Harness>(cx: &Context<'_, H>, task: impl Future<Output = Checked>, when: &str) -> Checked {
    let failed = |how: &str| Failure::Broken(format!("a backend that was built on another runtime {how} {when}"));
    match tokio::time::timeout(cx.deadline() + LATE, task).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(Failure::Broken(message))) => Err(failed(&format!("fails ({message})"))),
        Ok(Err(other)) => Err(other),
        Err(_) => Err(failed("does not answer")),
    }
}

async fn works<B: KvBackend>(store: &Store<B>, round: i64) -> Checked {
    let sum = store.incr("rounds", 1, OnMissing::Create(Expiry::Never)).await?;
    ensure_eq!(sum, Some(round + 1), "incr on runtime {round}");
    store.put("k", round.to_string()).await?;
    store.holds("k", round.to_string()).await
}

#[derive(Clone, Copy)]
enum Flavor {
    Current,
    Multi,
}

fn build(flavor: Flavor) -> Checked<Runtime> {
    let mut builder = match flavor {
        Flavor::Current => Builder::new_current_thread(),
        Flavor::Multi => Builder::new_multi_thread(),
    };
    let built = builder.worker_threads(2).enable_all().build();
    built.map_err(|error| Failure::Broken(format!("a runtime cannot be built: {error}")))
}

/// Runs `task` on a single-threaded runtime, with this thread's subscriber.
pub(super) fn on_a_runtime_of_its_own<T: Send>(task: impl Future<Output = Checked<T>> + Send) -> Checked<T> {
    // Runs on another thread, because this thread may be inside a runtime. The subscriber must be
    // passed on, because it is thread-local.
    let dispatch = tracing::dispatcher::get_default(Clone::clone);
    apart(|| tracing::dispatcher::with_default(&dispatch, || build(Flavor::Current)?.block_on(task)))
}

/// Runs `run` on a separate thread and waits for it, because a runtime cannot start or shut down
/// inside a task of another runtime.
fn apart<T: Send>(run: impl FnOnce() -> Checked<T> + Send) -> Checked<T> {
    let wait = || thread::scope(|scope| scope.spawn(run).join());
    let joined = match Handle::try_current().map(|current| current.runtime_flavor()) {
        // Moves the other tasks of this thread, which may be the harness's own, to another thread.
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(wait),
        _ => wait(),
    };
    joined.unwrap_or_else(|payload| Err(Failure::Broken(format!("panicked: {}", panic_message(&*payload)))))
}

/// Polls `task` without a runtime. Returns `None` if it takes too long.
fn block_on_nothing<T>(task: impl Future<Output = T>) -> Option<T> {
    struct Unpark(Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    let patience = Duration::from_secs(15);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut task = pin!(task);
    let start = Instant::now();
    while start.elapsed() < patience {
        if let Poll::Ready(answer) = task.as_mut().poll(&mut TaskContext::from_waker(&waker)) {
            return Some(answer);
        }
        thread::park_timeout(patience);
    }
    None
}
