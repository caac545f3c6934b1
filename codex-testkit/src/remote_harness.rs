//! A harness that a clause on another thread reaches through a channel.
//!
//! [`run`](crate::run) borrows its harness, and must not hang when a clause blocks its thread. The
//! clause therefore runs on another thread, with a [`RemoteHarness`]. The run serves its requests
//! with the borrowed harness, on the caller's executor. The harness starts tasks, timers and
//! connections on the runtime from which the clause sent the request.

use std::{
    any::Any,
    future::{self, Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::pin,
    process::Command,
    sync::{Arc, mpsc as blocking},
    time::Duration,
};

use codex_traits::KvBackend;
use futures_util::{FutureExt as _, StreamExt as _, stream::FuturesUnordered};
use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot},
};
use tracing::{Dispatch, dispatcher};

use crate::{Foreign, Harness, Outage, Time};

type Panic = Box<dyn Any + Send>;
type Reply<T> = oneshot::Sender<Result<T, Panic>>;
/// The reply to a method that is not async. The calling thread blocks until the harness answers on
/// another thread.
type BlockingReply<T> = blocking::SyncSender<Result<T, Panic>>;

/// The clause's end of the channel.
pub(crate) struct RemoteHarness<B> {
    asks: mpsc::UnboundedSender<(Origin, Ask<B>)>,
    time: Time,
    secrets: Vec<String>,
    limit: Duration,
    deadline: Duration,
    max_reply_bytes: u64,
}

/// The harness's end of the channel.
pub(crate) struct Asks<B>(mpsc::UnboundedReceiver<(Origin, Ask<B>)>);

enum Ask<B> {
    Fresh(Reply<B>),
    Outage(Reply<Option<Outage>>),
    Reopen(Arc<B>, BlockingReply<Option<B>>),
    ReopenFromStorage(B, BlockingReply<bool>, oneshot::Receiver<()>, Reply<B>),
    KillableWriter(Arc<B>, BlockingReply<Option<Command>>),
    Plant(Arc<B>, Foreign, Reply<bool>),
    IsPlanted(Arc<B>, Foreign, Reply<bool>),
    MemoryInUse(Arc<B>, Reply<Option<u64>>),
    AvoidsManyStars(Arc<B>, Reply<Option<&'static str>>),
}

/// The origin of a request. The harness spawns its tasks on this runtime and logs to this
/// subscriber.
struct Origin {
    runtime: Option<Handle>,
    subscriber: Dispatch,
}

impl<B: KvBackend> RemoteHarness<B> {
    /// Creates both ends of a channel to `harness`.
    pub(crate) fn of<H: Harness<Backend = B>>(harness: &H) -> (Self, Asks<B>) {
        let (asks, received) = mpsc::unbounded_channel();
        let remote = Self {
            asks,
            time: harness.time(),
            secrets: harness.secrets(),
            limit: harness.time_limit(),
            deadline: harness.deadline(),
            max_reply_bytes: harness.max_reply_bytes(),
        };
        (remote, Asks(received))
    }

    async fn ask<T>(&self, ask: impl FnOnce(Reply<T>) -> Ask<B>) -> T {
        let (reply, answer) = oneshot::channel();
        self.send(ask(reply));
        unwrapped(answer.await.ok())
    }

    fn ask_blocking<T>(&self, ask: impl FnOnce(BlockingReply<T>) -> Ask<B>) -> T {
        let (reply, answer) = blocking::sync_channel(1);
        self.send(ask(reply));
        unwrapped(answer.recv().ok())
    }

    fn send(&self, ask: Ask<B>) {
        // If the run is over, the request is dropped together with its reply channel.
        let _ = self.asks.send((Origin::here(), ask));
    }
}

/// Returns the answer. Otherwise panics, with the harness's panic or because the clause was given
/// up.
fn unwrapped<T>(answer: Option<Result<T, Panic>>) -> T {
    match answer {
        Some(Ok(answer)) => answer,
        Some(Err(payload)) => resume_unwind(payload),
        None => resume_unwind(Box::new("the run is over")),
    }
}

impl<B: KvBackend> Harness for RemoteHarness<B> {
    type Backend = Arc<B>;

    async fn fresh(&self) -> Arc<B> {
        Arc::new(self.ask(Ask::Fresh).await)
    }

    fn time(&self) -> Time {
        self.time.clone()
    }

    async fn outage(&self) -> Option<Outage> {
        self.ask(Ask::Outage).await
    }

    fn reopen(&self, backend: &Arc<B>) -> Option<Arc<B>> {
        self.ask_blocking(|reply| Ask::Reopen(backend.clone(), reply))
            .map(Arc::new)
    }

    fn reopen_from_storage(&self, backend: Arc<B>) -> Option<impl Future<Output = Arc<B>> + Send> {
        // A handle that another task still holds would keep the store open.
        let backend = Arc::try_unwrap(backend).ok()?;
        let (start, started) = oneshot::channel();
        let (reply, answer) = oneshot::channel();
        let can = self.ask_blocking(|can| Ask::ReopenFromStorage(backend, can, started, reply));
        can.then_some(async move {
            let _ = start.send(());
            Arc::new(unwrapped(answer.await.ok()))
        })
    }

    fn killable_writer(&self, backend: &Arc<B>) -> Option<Command> {
        self.ask_blocking(|reply| Ask::KillableWriter(backend.clone(), reply))
    }

    async fn plant(&self, backend: &Arc<B>, foreign: &Foreign) -> bool {
        let (backend, foreign) = (backend.clone(), foreign.clone());
        self.ask(|reply| Ask::Plant(backend, foreign, reply)).await
    }

    async fn is_planted(&self, backend: &Arc<B>, foreign: &Foreign) -> bool {
        let (backend, foreign) = (backend.clone(), foreign.clone());
        self.ask(|reply| Ask::IsPlanted(backend, foreign, reply)).await
    }

    fn secrets(&self) -> Vec<String> {
        self.secrets.clone()
    }

    async fn memory_in_use(&self, backend: &Arc<B>) -> Option<u64> {
        let backend = backend.clone();
        self.ask(|reply| Ask::MemoryInUse(backend, reply)).await
    }

    fn time_limit(&self) -> Duration {
        self.limit
    }

    fn deadline(&self) -> Duration {
        self.deadline
    }

    fn max_reply_bytes(&self) -> u64 {
        self.max_reply_bytes
    }

    async fn avoids_many_stars(&self, backend: &Arc<B>) -> Option<&'static str> {
        let backend = backend.clone();
        self.ask(|reply| Ask::AvoidsManyStars(backend, reply)).await
    }

    async fn clean_up(&self) -> Result<(), String> {
        // The run calls `clean_up` on the harness itself.
        Ok(())
    }
}

impl<B: KvBackend> Asks<B> {
    /// Serves requests with `harness` until the future is dropped.
    pub(crate) async fn serve<H: Harness<Backend = B>>(mut self, harness: &H) {
        let mut under_way = FuturesUnordered::new();
        loop {
            tokio::select! {
                // Once the clause is done, no requests follow, and this future is dropped.
                Some((origin, ask)) = self.0.recv() => under_way.push(answer(harness, origin, ask)),
                Some(()) = under_way.next() => {}
                else => future::pending().await,
            }
        }
    }
}

// Each handle is dropped before the reply is sent, because the clause may close the store next.
async fn answer<H: Harness>(harness: &H, origin: Origin, ask: Ask<H::Backend>) {
    match ask {
        Ask::Fresh(reply) => origin.answer(reply, harness.fresh()).await,
        Ask::Outage(reply) => origin.answer(reply, harness.outage()).await,
        Ask::Reopen(backend, reply) => origin.answer_blocking(&reply, move || harness.reopen(&backend)),
        Ask::KillableWriter(backend, reply) => {
            origin.answer_blocking(&reply, move || harness.killable_writer(&backend));
        }
        Ask::ReopenFromStorage(backend, can, start, reply) => {
            let reopened = origin.inside(|| catch_unwind(AssertUnwindSafe(|| harness.reopen_from_storage(backend))));
            match reopened {
                Ok(reopened) => {
                    let _ = can.send(Ok(reopened.is_some()));
                    // The store must stay closed until the clause asks to open it.
                    if let (Some(reopened), Ok(())) = (reopened, start.await) {
                        origin.answer(reply, reopened).await;
                    }
                }
                Err(payload) => {
                    let _ = can.send(Err(payload));
                }
            }
        }
        Ask::Plant(backend, foreign, reply) => {
            origin
                .answer(reply, async move { harness.plant(&backend, &foreign).await })
                .await;
        }
        Ask::IsPlanted(backend, foreign, reply) => {
            origin
                .answer(reply, async move { harness.is_planted(&backend, &foreign).await })
                .await;
        }
        Ask::MemoryInUse(backend, reply) => {
            origin
                .answer(reply, async move { harness.memory_in_use(&backend).await })
                .await;
        }
        Ask::AvoidsManyStars(backend, reply) => {
            origin
                .answer(reply, async move { harness.avoids_many_stars(&backend).await })
                .await;
        }
    }
}

// Failures to send are ignored, because a clause that was given up receives no answers.
impl Origin {
    fn here() -> Self {
        Self {
            runtime: Handle::try_current().ok(),
            subscriber: dispatcher::get_default(Clone::clone),
        }
    }

    fn inside<T>(&self, act: impl FnOnce() -> T) -> T {
        let _runtime = self.runtime.as_ref().map(Handle::enter);
        dispatcher::with_default(&self.subscriber, act)
    }

    async fn answer<T>(&self, reply: Reply<T>, answer: impl Future<Output = T> + Send) {
        let mut answer = pin!(AssertUnwindSafe(answer).catch_unwind());
        let answer = poll_fn(|cx| self.inside(|| answer.as_mut().poll(cx))).await;
        let _ = reply.send(answer);
    }

    fn answer_blocking<T>(&self, reply: &BlockingReply<T>, answer: impl FnOnce() -> T) {
        let answer = self.inside(|| catch_unwind(AssertUnwindSafe(answer)));
        let _ = reply.send(answer);
    }
}
