//! A run must end whatever the store does, and report the store's behaviour.
#![allow(clippy::unwrap_used, reason = "the helpers of tests fail as tests do")]

use std::{
    future::{self, Future},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use codex_memory::{ManualClock, MemoryBackend};
use codex_testkit::{
    ClauseId, Event, Harness, Outcome, Progress, ProgressStyle, Report, Time, VirtualTime,
    doubles::{Intercepted, Interceptor, Reply, Request, Verb},
    run_only, run_with,
};
use codex_traits::{Capabilities, Expiry, KvBackend, Result, ScanPage, ScanRequest, SetOptions, SetOutcome, Ttl};
use futures_util::future::join_all;

const LIMIT: Duration = Duration::from_secs(3);

/// A fault of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// A call of this verb never ends, and blocks its thread.
    Blocks(Verb),
    /// A call of this verb never ends, but yields its thread.
    NeverAnswers(Verb),
    /// Every call takes this long.
    Slow(Duration),
    None,
}

impl Interceptor for Fault {
    async fn around<T: Reply>(&self, request: Request<'_>, call: impl Future<Output = Result<T>> + Send) -> Result<T> {
        match *self {
            Self::Blocks(verb) if verb == request.verb() => loop {
                thread::sleep(Duration::from_millis(10));
            },
            Self::NeverAnswers(verb) if verb == request.verb() => future::pending().await,
            Self::Slow(pause) => tokio::time::sleep(pause).await,
            _ => {}
        }
        call.await
    }
}

/// A memory backend whose scan restarts for ever and never yields. It uses the provided
/// `del_matching`.
#[derive(Debug, Clone)]
struct Repeats(MemoryBackend);

impl KvBackend for Repeats {
    fn capabilities(&self) -> Capabilities {
        Capabilities::new()
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        self.0.get(key).await
    }

    async fn set(&self, key: &str, value: Bytes, options: SetOptions) -> Result<SetOutcome> {
        self.0.set(key, value, options).await
    }

    async fn del(&self, keys: &[&str]) -> Result<u64> {
        self.0.del(keys).await
    }

    async fn del_if_equals(&self, key: &str, expected: &[u8]) -> Result<bool> {
        self.0.del_if_equals(key, expected).await
    }

    async fn expire(&self, key: &str, expiry: Expiry) -> Result<bool> {
        self.0.expire(key, expiry).await
    }

    async fn ttl(&self, key: &str) -> Result<Ttl> {
        self.0.ttl(key).await
    }

    async fn scan(&self, request: ScanRequest<'_>) -> Result<ScanPage> {
        let first = ScanRequest::new(request.pattern).with_count_hint(request.count_hint);
        let mut page = self.0.scan(first).await?;
        if page.next.is_none() {
            page.next = Some("again".parse()?);
        }
        Ok(page)
    }
}

struct Stores<M> {
    clock: ManualClock,
    limit: Duration,
    make: M,
}

impl<M> Stores<M> {
    fn new(make: M) -> Self {
        let (clock, limit) = (ManualClock::new(), LIMIT);
        Self { clock, limit, make }
    }
}

impl<B: KvBackend, M: Fn(MemoryBackend) -> B + Send + Sync> Harness for Stores<M> {
    type Backend = B;

    async fn fresh(&self) -> B {
        (self.make)(MemoryBackend::with_clock(self.clock.clone()))
    }

    fn time(&self) -> Time {
        let clock = self.clock.clone();
        Time::Virtual(VirtualTime::from_fn(move |by| clock.advance(by)))
    }

    fn time_limit(&self) -> Duration {
        self.limit
    }
}

fn with(fault: Fault) -> impl Harness {
    Stores::new(move |memory| Intercepted::with_interceptor(memory, fault))
}

fn clause(id: &str) -> ClauseId {
    id.parse().unwrap()
}

/// Runs a clause that must be abandoned, and then a clause that must pass.
async fn given_up(harness: &impl Harness, id: &str) -> String {
    let start = Instant::now();
    let report = run_only(harness, [id, "set-01"].map(clause)).await;
    assert!(start.elapsed() < LIMIT * 3, "{report}");
    assert_eq!(report.outcomes[1].1, Outcome::Passed, "{report}");
    message(&report)
}

fn message(report: &Report) -> String {
    let Outcome::Failed(message) = &report.outcomes[0].1 else {
        panic!("{report}");
    };
    message.clone()
}

// Runs on a single thread, which none of these clauses may block.
#[tokio::test]
async fn a_scan_that_begins_again_and_never_yields_is_named() {
    let harness = Stores::new(Repeats);
    let message = given_up(&harness, "scan-11").await;
    assert!(
        message.starts_with("scan answered the cursor that it was given as the next one, 1000 times in a row"),
        "{message}"
    );

    // The provided `del_matching` never returns from such a scan.
    let message = given_up(&harness, "scan-12").await;
    assert!(
        message.contains("blocked. A call of `del_matching` has kept its thread for "),
        "{message}"
    );
}

#[tokio::test]
async fn a_call_that_blocks_its_thread_is_named() {
    let message = given_up(&with(Fault::Blocks(Verb::Del)), "del-01").await;
    assert!(
        message.starts_with("was not done in 3s: blocked. A call of `del` has kept its thread for "),
        "{message}"
    );
}

/// Runs a clause that needs the kit's threads on a sound store. It must pass even on a busy
/// machine.
async fn races() {
    let harness = Stores {
        limit: Duration::from_secs(60),
        ..Stores::new(|memory| memory)
    };
    let report = run_only(&harness, [clause("incr-07")]).await;
    assert_eq!(report.outcomes[0].1, Outcome::Passed, "{report}");
}

#[tokio::test]
async fn a_clause_whose_tasks_block_every_thread_holds_up_no_other() {
    let report = run_only(&with(Fault::Blocks(Verb::Incr)), [clause("incr-07")]).await;
    assert!(message(&report).contains(" blocked. "), "{report}");
    races().await;
}

/// Tests run concurrently in one process.
#[tokio::test]
async fn clauses_whose_tasks_block_every_thread_hold_up_none_beside_them() {
    // A single clause might block only one of the threads.
    let blocked = join_all((0..4).map(|_| async {
        let report = run_only(&with(Fault::Blocks(Verb::Incr)), [clause("incr-07")]).await;
        assert!(message(&report).contains(" blocked. "), "{report}");
    }));
    let beside = async {
        // By then their tasks are blocking.
        tokio::time::sleep(LIMIT / 2).await;
        races().await;
    };
    tokio::join!(blocked, beside);
}

#[tokio::test]
async fn a_call_that_is_not_answered_is_named() {
    let message = given_up(&with(Fault::NeverAnswers(Verb::Del)), "del-01").await;
    assert!(
        message.starts_with("was not done in 3s: stuck. A call of `del` has had no answer for "),
        "{message}"
    );
}

#[tokio::test]
async fn a_slow_store_is_called_slow_and_its_progress_is_told() {
    let harness = with(Fault::Slow(Duration::from_millis(20)));
    let mut events = Vec::new();
    let mut lines = Vec::new();
    let mut progress = Progress::new(&mut lines, ProgressStyle::Plain);
    let report = run_with(&harness, [clause("cond-07")], |event| {
        progress.show(&event);
        if let Event::Running { calls, took, .. } = event {
            events.push((calls, took));
        }
    })
    .await;
    let message = message(report.report());
    assert!(message.starts_with("was not done in 3s: slow. "), "{message}");
    assert!(events.len() >= 2, "{events:?}");
    assert!(events[0].0 > 0 && events[0] < events[1], "{events:?}");
    let lines = String::from_utf8(lines).unwrap();
    assert!(
        lines.contains("  cond-07  running ") && lines.contains(" calls so far"),
        "{lines}"
    );
}

/// The macro's lists are checked under the same supervisor, with their own harness.
#[test]
#[should_panic(
    expected = "del-01 (the count is of keys that were there; missing and expired ones are not counted) does not hold: was not done in 3s: blocked. "
)]
fn a_test_of_a_clause_ends_too() {
    let blocked = || Ok(with(Fault::Blocks(Verb::Del)));
    codex_testkit::suite::test::<codex_testkit::suite::BackendContract, _, _>(blocked, "", "", "del_01");
}

#[tokio::test]
async fn what_cannot_be_removed_fails_the_clause_that_left_it() {
    struct Dirty(Stores<fn(MemoryBackend) -> MemoryBackend>);

    impl Harness for Dirty {
        type Backend = MemoryBackend;

        async fn fresh(&self) -> MemoryBackend {
            self.0.fresh().await
        }

        fn time(&self) -> Time {
            self.0.time()
        }

        async fn clean_up(&self) -> std::result::Result<(), String> {
            Err("database 3 holds 7 keys of the clause".to_owned())
        }
    }

    let harness = Dirty(Stores::new(|memory| memory));
    let report = run_only(&harness, [clause("get-01")]).await;
    assert_eq!(message(&report), "database 3 holds 7 keys of the clause");
    assert!(report.failed());
}

#[tokio::test]
async fn a_panic_of_the_harness_fails_the_clause() {
    let harness = Stores::new(|_| -> MemoryBackend { panic!("no store today") });
    let report = run_only(&harness, [clause("get-01")]).await;
    assert_eq!(message(&report), "panicked: no store today");
}

#[tokio::test]
async fn a_sound_store_passes_what_it_did_before() {
    let report = run_only(&with(Fault::None), ClauseId::all().filter(|id| id.group() == "set")).await;
    assert_eq!(report.failures().count(), 0, "{report}");
}

/// Counts the calls that begin.
#[derive(Debug, Clone)]
struct Counts(Arc<AtomicU64>);

impl Interceptor for Counts {
    async fn around<T: Reply>(&self, _: Request<'_>, call: impl Future<Output = Result<T>> + Send) -> Result<T> {
        self.0.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(1)).await;
        call.await
    }
}

#[tokio::test]
async fn a_run_that_is_dropped_asks_nothing_more_of_the_store() {
    let calls = Arc::new(AtomicU64::new(0));
    let counts = Counts(calls.clone());
    let harness = Stores::new(move |memory| Intercepted::with_interceptor(memory, counts.clone()));
    let run = run_only(&harness, [clause("cond-07")]);
    assert!(tokio::time::timeout(Duration::from_millis(500), run).await.is_err());
    tokio::time::sleep(Duration::from_millis(300)).await;
    let begun = calls.load(Ordering::SeqCst);
    assert!(begun > 0);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(calls.load(Ordering::SeqCst), begun);
}
