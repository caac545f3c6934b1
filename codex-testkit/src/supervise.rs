//! A clause on a thread of its own: whatever the clause does, its supervisor goes on.

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
    runtime::{panic_message, runtime, sleep},
};

/// The interval at which a clause that takes long is looked at; four times at least.
const TICK: Duration = Duration::from_secs(5);

/// The stack of a clause's thread. A thread's usual 2 MiB are less than the calls of a client in a
/// debug build can take on top of a clause's own; memory is only taken for what is used.
const STACK: usize = 16 << 20;

/// A clause that runs.
pub(crate) struct Supervised {
    activity: Arc<Activity>,
    done: oneshot::Receiver<Result<Checked, Box<dyn Any + Send>>>,
}

/// Starts `clause` on a thread of its own, inside the kit's runtime and under the caller's
/// `tracing` subscriber.
///
/// The clause and everything that it holds are dropped before it counts as done.
pub(crate) fn start(name: &str, clause: impl Future<Output = Checked> + Send + 'static) -> Checked<Supervised> {
    let activity = Activity::new();
    let (tell, done) = oneshot::channel();
    let watched = activity.clone().of_clause(AssertUnwindSafe(clause).catch_unwind());
    let subscriber = dispatcher::get_default(Clone::clone);
    let thread = thread::Builder::new().name(name.to_owned()).stack_size(STACK);
    let started = thread.spawn(move || {
        dispatcher::with_default(&subscriber, || {
            let outcome = runtime().block_on(watched);
            // Nobody listens to a clause that took too long.
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
    /// Waits until the clause is done, but no longer than `limit`, and calls `tick` every few
    /// seconds. The thread of a clause that is not done is abandoned.
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
