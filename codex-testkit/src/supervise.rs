//! The supervision of a clause that runs on a thread of its own and may hang.

use std::{any::Any, future::Future, panic::AssertUnwindSafe, sync::Arc, thread, time::Duration};

use futures_util::{
    FutureExt as _,
    future::{self, Either},
};
use tokio::sync::oneshot;
use tracing::dispatcher;

use crate::{
    activity::Activity,
    failure::{Checked, Failure},
    pace,
    runtime::{ClauseRuntime, panic_message, sleep},
};

/// The interval between two reports on a running clause. It is shorter if a quarter of the time
/// limit is shorter.
const TICK: Duration = Duration::from_secs(5);

/// The stack size of a clause's thread. In a debug build, a clause and the client that it calls can
/// exceed the usual 2 MiB. Only the part in use takes memory.
const STACK: usize = 16 << 20;

/// A running clause.
pub(crate) struct Supervised {
    activity: Arc<Activity>,
    done: oneshot::Receiver<Result<Checked, Box<dyn Any + Send>>>,
}

/// Starts `clause` on a thread of its own, inside a runtime that no other running clause uses, and
/// under the caller's `tracing` subscriber.
///
/// The clause and everything that it holds are dropped before it counts as done.
pub(crate) fn start(name: &str, clause: impl Future<Output = Checked> + Send + 'static) -> Checked<Supervised> {
    let activity = Activity::new();
    pace::observe(activity.pace());
    let (tell, done) = oneshot::channel();
    let watched = activity.clone().of_clause(AssertUnwindSafe(clause).catch_unwind());
    let subscriber = dispatcher::get_default(Clone::clone);
    let runtime = ClauseRuntime::take();
    let of_thread = activity.clone();
    let thread = thread::Builder::new().name(name.to_owned()).stack_size(STACK);
    let started = thread.spawn(move || {
        dispatcher::with_default(&subscriber, || {
            let outcome = runtime.block_on(watched);
            if !of_thread.is_given_up() {
                runtime.give_back();
            }
            // If the clause took too long, there is no receiver.
            let _ = tell.send(outcome);
        });
    });
    match started {
        Ok(_) => Ok(Supervised { activity, done }),
        Err(error) => Err(Failure::Broken(format!(
            "no thread could be started for the clause: {error}"
        ))),
    }
}

impl Supervised {
    /// Waits for at most `limit` until the clause is done, and calls `tick` every few seconds. An
    /// unfinished clause keeps its thread and its runtime.
    pub(crate) async fn outcome(mut self, limit: Duration, mut tick: impl FnMut(&Activity)) -> Checked {
        loop {
            let left = limit.saturating_sub(self.activity.elapsed());
            let pause = sleep(left.min(TICK).min(limit / 4));
            match future::select(&mut self.done, Box::pin(pause)).await {
                Either::Left((Ok(Ok(checked)), _)) => return checked,
                Either::Left((Ok(Err(payload)), _)) => {
                    return Err(Failure::Broken(format!("panicked: {}", panic_message(&*payload))));
                }
                Either::Left((Err(_), _)) => return Err(Failure::Broken("the thread of the clause ended".to_owned())),
                Either::Right(_) if self.activity.elapsed() >= limit => {
                    return Err(Failure::Broken(self.activity.diagnosis(limit)));
                }
                Either::Right(_) => tick(&self.activity),
            }
        }
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        self.activity.give_up();
    }
}
