//! The calls that a clause made to its store. They reproduce a failure in as few calls as possible.

use std::{
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use codex_traits::Result;
use futures_util::future::{self, Either};

use crate::{
    Divergence, Harness, Op,
    activity::Activity,
    doubles::{Interceptor, Reply, Request},
    failure::{Checked, Failure},
    replay,
    replay::shorten,
    runtime::sleep,
};

/// The maximum number of calls. A longer trace takes too long to shorten, and the result would be
/// too long to read.
const MOST_CALLS: usize = 500;
/// The maximum size of the keys and values in one call, in bytes.
const MOST_BYTES: usize = 1_000;
/// The time limit of the search for fewer calls. The search then returns the shortest trace found
/// so far.
const PATIENCE: Duration = Duration::from_secs(3);

/// The calls to the last store of a clause, in the order in which they began.
#[derive(Debug)]
pub(crate) struct Trace {
    calls: Mutex<Option<Vec<Op>>>,
    activity: Arc<Activity>,
}

impl Trace {
    pub(crate) fn new() -> Self {
        Self {
            calls: Mutex::new(Some(Vec::new())),
            activity: Activity::current(),
        }
    }

    /// Discards the calls to the previous store.
    pub(crate) fn begin(&self) {
        *self.calls.lock().unwrap_or_else(PoisonError::into_inner) = Some(Vec::new());
    }

    /// Records the operation that `op` returns. `bytes` is the size of its keys and values.
    pub(crate) fn note(&self, bytes: usize, op: impl FnOnce() -> Option<Op>) {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *calls {
            Some(calls) if calls.len() < MOST_CALLS && bytes <= MOST_BYTES => calls.extend(op()),
            // An incomplete trace proves nothing.
            calls => *calls = None,
        }
    }

    fn take(&self) -> Option<Vec<Op>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Returns `checked`, and adds to a failure the fewest calls that the backends of `harness`
    /// answer differently from the model. Nothing is added if the failure needs several callers or
    /// another store.
    pub(crate) async fn explain<H: Harness>(&self, harness: &H, checked: Checked) -> Checked {
        let (Err(Failure::Broken(message)), Some(calls)) = (&checked, self.take()) else {
            return checked;
        };
        match fewest(harness, &calls).await {
            None => checked,
            Some(fewest) => Err(Failure::Broken(format!(
                "{message}\n\nThe same in the fewest calls found, as a test:\n\n{fewest}"
            ))),
        }
    }
}

impl Interceptor for Arc<Trace> {
    async fn around<T: Reply>(&self, request: Request<'_>, call: impl Future<Output = Result<T>> + Send) -> Result<T> {
        // A scan is recorded once, with its first page.
        if !matches!(&request, Request::Scan(scan) if !scan.cursor.is_start()) {
            let bytes = request.keys().iter().map(|key| key.len() + 1).sum::<usize>()
                + request.values().iter().map(|value| value.len()).sum::<usize>()
                + request.pattern().map_or(0, |pattern| pattern.as_bytes().len());
            self.note(bytes, || Op::from_request(&request));
        }
        self.activity.of_call(request.verb(), call).await
    }
}

async fn fewest<H: Harness>(harness: &H, calls: &[Op]) -> Option<Divergence> {
    let search = async {
        let found = replay(harness, calls).await.err()?;
        let start = Instant::now();
        let run = |fewer: Vec<Op>| async move {
            if start.elapsed() > PATIENCE {
                return Ok(());
            }
            replay(harness, &fewer).await
        };
        Some(shorten(found, &run).await)
    };
    // If the backend hangs, the failure is returned unchanged.
    match future::select(Box::pin(search), Box::pin(sleep(PATIENCE * 2))).await {
        Either::Left((found, _)) => found,
        Either::Right(_) => None,
    }
}
