//! The tools of a clause: its stores and its clock.

use std::{collections::BTreeSet, fmt, future::Future, ops::Deref, sync::Arc, time::Duration};

use bytes::Bytes;
use codex_traits::{Capability, Error, KvBackend, Pattern, ScanPage, ScanRequest, SetOptions, SetOutcome, Ttl};

use crate::{
    ClauseId, Harness, Op, Outage,
    clock::{Clock, ttls_agree},
    doubles::Intercepted,
    failure::{Checked, Failure, ensure, ensure_eq, ensure_same, mismatch, show},
    trace::Trace,
};

/// A single run of a clause.
pub(crate) struct Context<'h, H: Harness> {
    pub(crate) harness: &'h H,
    clock: Arc<Clock>,
    trace: Arc<Trace>,
}

impl<'h, H: Harness> Context<'h, H> {
    pub(crate) fn new(harness: &'h H) -> Self {
        Self {
            harness,
            clock: Arc::new(Clock::new(harness.time())),
            trace: Arc::new(Trace::new()),
        }
    }

    /// Returns an empty store.
    pub(crate) async fn store(&self) -> Store<H::Backend> {
        self.trace.begin();
        self.adopt(self.harness.fresh().await)
    }

    /// Wraps `backend`, a handle to the last store, with the clause's clock.
    pub(crate) fn adopt(&self, backend: H::Backend) -> Store<H::Backend> {
        Store {
            backend: Intercepted::with_interceptor(Arc::new(backend), self.trace.clone()),
            clock: self.clock.clone(),
        }
    }

    /// Returns a second handle to the store if the harness provides one, or else a clone.
    pub(crate) fn second(&self, store: &Store<H::Backend>) -> Store<H::Backend> {
        self.harness
            .reopen(store.backend())
            .map_or_else(|| store.clone(), |backend| self.adopt(backend))
    }

    /// Returns the harness's outage switch. The clause's calls then have deadlines, which a busy
    /// machine can miss.
    pub(crate) async fn outage(&self) -> Option<Outage> {
        self.clock.depend_on_time();
        self.harness.outage().await
    }

    /// Returns the deadline of a call, which a busy machine can miss.
    pub(crate) fn deadline(&self) -> Duration {
        self.clock.depend_on_time();
        self.harness.deadline()
    }

    /// Lets `duration` pass.
    pub(crate) async fn pass(&self, duration: Duration) {
        self.trace.note(0, || Some(Op::Pass(duration)));
        self.clock.pass(duration).await;
    }

    /// Waits until a key with `ttl` left has expired, plus the delay that the store is allowed.
    pub(crate) async fn outlive(&self, ttl: Duration) {
        self.pass(ttl + self.tolerance()).await;
    }

    /// Returns the outcome of the clause. A failure includes the calls that show it, except in the
    /// groups `life` and `dur` and on clusters, where the calls alone do not reproduce it.
    pub(crate) async fn explained(&self, id: ClauseId, checked: Checked) -> Checked {
        if matches!(id.group(), "life" | "dur") || id.capability() == Some(Capability::Cluster) {
            return checked;
        }
        self.trace.explain(self.harness, checked).await
    }
}

impl<H: Harness> Deref for Context<'_, H> {
    type Target = Clock;

    fn deref(&self) -> &Clock {
        &self.clock
    }
}

/// The moments before and after a call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stamp {
    pub(crate) before: Duration,
    pub(crate) after: Duration,
}

/// A backend whose calls are traced, with the clause's clock. Its methods are steps that many
/// clauses share.
pub(crate) struct Store<B> {
    backend: Intercepted<Arc<B>, Arc<Trace>>,
    clock: Arc<Clock>,
}

impl<B> Store<B> {
    /// Returns the backend, to pass it to the harness.
    pub(crate) fn backend(&self) -> &B {
        self.backend.inner()
    }
}

impl<B> Clone for Store<B> {
    fn clone(&self) -> Self {
        Self {
            backend: self.backend.clone(),
            clock: self.clock.clone(),
        }
    }
}

impl<B> Deref for Store<B> {
    type Target = Intercepted<Arc<B>, Arc<Trace>>;

    fn deref(&self) -> &Self::Target {
        &self.backend
    }
}

impl<B: KvBackend> Store<B> {
    /// Returns the backend itself, so that it can be closed.
    pub(crate) fn into_backend(self) -> Checked<B> {
        let shared = |_| Failure::Broken("a task of the clause still holds the store".to_owned());
        Arc::try_unwrap(self.backend.into_inner()).map_err(shared)
    }

    /// Runs `call` and returns its answer with the moments before and after it.
    pub(crate) async fn timed<T>(&self, call: impl Future<Output = Result<T, Error>> + Send) -> Checked<(T, Stamp)> {
        let before = self.clock.now();
        let answer = call.await?;
        let after = self.clock.now();
        Ok((answer, Stamp { before, after }))
    }

    /// Performs a set that must write.
    pub(crate) async fn write(&self, key: &str, value: impl Into<Bytes>, options: SetOptions) -> Checked<Stamp> {
        let (outcome, at) = self.timed(self.set(key, value.into(), options.clone())).await?;
        ensure_eq!(outcome, SetOutcome::Written, "set of {} with {options:?}", show(&key));
        Ok(at)
    }

    /// Performs a set that must be refused.
    pub(crate) async fn refused(&self, key: &str, value: impl Into<Bytes>, options: SetOptions) -> Checked {
        ensure_eq!(
            self.set(key, value.into(), options.clone()).await?,
            SetOutcome::Refused,
            "set of {} with {options:?}",
            show(&key)
        );
        Ok(())
    }

    /// Writes a value unconditionally, without expiry.
    pub(crate) async fn put(&self, key: &str, value: impl Into<Bytes>) -> Checked {
        self.write(key, value, SetOptions::new()).await.map(drop)
    }

    /// Writes a value unconditionally, with `ttl` as the time to live.
    pub(crate) async fn put_for(&self, key: &str, value: impl Into<Bytes>, ttl: Duration) -> Checked<Stamp> {
        self.write(key, value, SetOptions::expires_after(ttl)).await
    }

    /// Writes many keys, each with its own name as the value, in calls that are small enough for
    /// every store.
    pub(crate) async fn fill<'k>(&self, keys: impl IntoIterator<Item = &'k String> + Send) -> Checked {
        let entries: Vec<(&str, Bytes)> = keys
            .into_iter()
            .map(|key| (key.as_str(), Bytes::copy_from_slice(key.as_bytes())))
            .collect();
        for part in entries.chunks(1000) {
            self.set_many(part, codex_traits::Expiry::Never).await?;
        }
        Ok(())
    }

    /// Checks that the key holds exactly `value`.
    pub(crate) async fn holds(&self, key: &str, value: impl AsRef<[u8]> + Send) -> Checked {
        let got = self.get(key).await?;
        let expected = Bytes::copy_from_slice(value.as_ref());
        ensure_same(got.as_ref(), Some(&expected), &format!("get of {}", show(&key)))
    }

    /// Checks that the key is absent.
    pub(crate) async fn lacks(&self, key: &str) -> Checked {
        ensure_eq!(self.get(key).await?, None::<Bytes>, "get of {}", show(&key));
        ensure_eq!(self.ttl(key).await?, Ttl::Missing, "ttl of {}", show(&key));
        Ok(())
    }

    /// Checks that the key exists and never expires.
    pub(crate) async fn is_persistent(&self, key: &str) -> Checked {
        ensure_eq!(self.ttl(key).await?, Ttl::Persistent, "ttl of {}", show(&key));
        Ok(())
    }

    /// Checks the time to live of a key that was given `ttl` in a call at `given`. The check is
    /// exact under virtual time, and as exact as possible under real time.
    pub(crate) async fn has_ttl(&self, key: &str, ttl: Duration, given: Stamp) -> Checked {
        let (got, asked) = self.timed(self.ttl(key)).await?;
        let most = ttl.saturating_sub(asked.before.saturating_sub(given.after)) + self.clock.tolerance();
        let least = ttl.saturating_sub(asked.after.saturating_sub(given.before) + self.clock.tolerance());
        match got {
            Ttl::Remaining(rest) if (least..=most).contains(&rest) => Ok(()),
            _ => Err(mismatch(
                &format!("ttl of {}", show(&key)),
                &format_args!("between {least:?} and {most:?}"),
                &got,
            )),
        }
    }

    /// Checks that `got`, the time to live that `what` reported for the key in a call at `asked`,
    /// agrees with the answer of `ttl`.
    ///
    /// A store may keep an answer in memory and count its time from the sending of the request. The
    /// time to live is then too short by the duration of that request. `first_read` is the moment
    /// before the first read of the key.
    pub(crate) async fn agrees_with_ttl(
        &self,
        key: &str,
        got: Ttl,
        asked: Stamp,
        first_read: Duration,
        what: &str,
    ) -> Checked {
        let (ttl, again) = self.timed(self.ttl(key)).await?;
        let tolerance = self.clock.tolerance();
        let too_long = again.after.saturating_sub(asked.before) + tolerance;
        let too_short = asked.after.saturating_sub(first_read) + tolerance;
        ensure!(
            ttls_agree(got, ttl, too_long, too_short),
            "{what} of {}: it says {got:?}, and ttl says {ttl:?}",
            show(&key)
        );
        Ok(())
    }

    /// Returns all keys that match. Fails if the scan does not end.
    pub(crate) async fn keys(&self, pattern: &Pattern, count_hint: usize) -> Checked<BTreeSet<String>> {
        let mut found = BTreeSet::new();
        self.walk(pattern, count_hint, |page| found.extend(page.keys)).await?;
        Ok(found)
    }

    /// Passes every page to `visit` and returns the number of pages.
    pub(crate) async fn walk(
        &self,
        pattern: &Pattern,
        count_hint: usize,
        mut visit: impl FnMut(ScanPage) + Send,
    ) -> Checked<usize> {
        /// Ten times the largest keyspace of any clause, with a single key per page.
        const MOST_PAGES: usize = 1_000_000;
        /// A store may rearrange its keys during a scan, but not this often without progress.
        const MOST_REPEATS: usize = 1_000;
        let mut repeats = 0;
        let mut request = ScanRequest::new(pattern).with_count_hint(count_hint);
        for pages in 1..=MOST_PAGES {
            let page = self.scan(request.clone()).await?;
            let next = page.next.clone();
            visit(page);
            let Some(next) = next else {
                return Ok(pages);
            };
            ensure!(
                !next.is_start(),
                "scan answered the starting cursor as the next one, which begins again"
            );
            repeats = if next == request.cursor { repeats + 1 } else { 0 };
            ensure!(
                repeats < MOST_REPEATS,
                "scan answered the cursor that it was given as the next one, {MOST_REPEATS} times in a row: it does not end"
            );
            request = ScanRequest::new(pattern).with_count_hint(count_hint).with_cursor(next);
        }
        Err(Failure::Broken(format!("a scan did not end in {MOST_PAGES} pages")))
    }
}

impl<B: fmt::Debug> fmt::Debug for Store<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Store").field(self.backend()).finish()
    }
}
