//! The calls that a clause made to its store, so that a failure can be shown in as few calls as
//! possible.

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

/// More would not be read, and takes long to be made fewer.
const MOST_CALLS: usize = 500;
/// The maximum size of the keys and values in one call, in bytes.
const MOST_BYTES: usize = 1_000;
/// The longest time that a failed clause may look for fewer calls. Then the calls found so far have
/// to do.
const PATIENCE: Duration = Duration::from_secs(3);

/// The calls to the last store of a clause, in the order in which they were begun.
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

    /// Forgets what was asked of the store before.
    pub(crate) fn begin(&self) {
        *self.calls.lock().unwrap_or_else(PoisonError::into_inner) = Some(Vec::new());
    }

    /// Keeps the operation that `op` makes, which takes `bytes` bytes of keys and values.
    pub(crate) fn note(&self, bytes: usize, op: impl FnOnce() -> Option<Op>) {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *calls {
            Some(calls) if calls.len() < MOST_CALLS && bytes <= MOST_BYTES => calls.extend(op()),
            // A part of the calls shows nothing.
            calls => *calls = None,
        }
    }

    fn take(&self) -> Option<Vec<Op>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Returns `checked`, and if it failed, with the fewest of the calls to which the
    /// backends of `harness` answer something else than the model does. There are none where it
    /// takes several callers or another store to show it.
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
        // The first page of a scan stands for all of them.
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
    // A backend that hangs is shown as it is.
    match future::select(Box::pin(search), Box::pin(sleep(PATIENCE * 2))).await {
        Either::Left((found, _)) => found,
        Either::Right(_) => None,
    }
}
