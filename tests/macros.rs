//! Tests of functions with `#[cached]`. The tests of the macro's error messages are in
//! `codex-macros`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test, a panic is the report"
)]

use std::{
    sync::{
        Arc, LazyLock,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use codex_kv::{Cache, CacheError, KvBackend as _, Timeout, Ttl, blocking, cached, memory::MemoryBackend};
use serde::{Deserialize, Serialize};

static CACHE: LazyLock<Cache<MemoryBackend>> =
    LazyLock::new(|| Cache::builder(MemoryBackend::new()).key_prefix("shop").build().unwrap());

static BLOCKING: LazyLock<blocking::Cache<MemoryBackend>> = LazyLock::new(|| CACHE.clone().into());

#[derive(Debug, Clone, PartialEq)]
enum Failure {
    Unknown,
    Cache(String),
}

impl From<CacheError> for Failure {
    fn from(error: CacheError) -> Self {
        Self::Cache(error.to_string())
    }
}

#[derive(Debug)]
struct Denied;

impl From<Denied> for Failure {
    fn from(_: Denied) -> Self {
        Self::Unknown
    }
}

/// A function that counts its calls and has an argument of each kind that a key can contain.
struct Counter(AtomicUsize);

impl Counter {
    const fn new() -> Self {
        Self(AtomicUsize::new(0))
    }

    fn add(&self) -> usize {
        self.0.fetch_add(1, Ordering::SeqCst) + 1
    }

    fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// Returns the time to live of a key of the cache.
async fn ttl(key: &str) -> Ttl {
    CACHE.backend().ttl(&CACHE.make_key(key)).await.unwrap()
}

static PLAIN: Counter = Counter::new();

#[cached(cache = CACHE, timeout = Duration::from_secs(60))]
async fn plain(id: u64, mut language: String, tags: &[&str]) -> Result<String, Failure> {
    PLAIN.add();
    language.push('!');
    let allowed: Result<(), Denied> = if id == 0 { Err(Denied) } else { Ok(()) };
    allowed?;
    if id == 1 {
        return Err(Failure::Unknown);
    }
    tokio::task::yield_now().await;
    Ok(format!("{id} {language} {}", tags.len()))
}

#[tokio::test]
async fn an_async_function_is_computed_once_for_each_list_of_arguments() {
    assert_eq!(plain(7, "en".into(), &["a"]).await.unwrap(), "7 en! 1");
    assert_eq!(plain(7, "en".into(), &["a"]).await.unwrap(), "7 en! 1");
    assert_eq!(PLAIN.get(), 1);
    assert_eq!(plain(7, "de".into(), &["a"]).await.unwrap(), "7 de! 1");
    assert_eq!(plain(7, "en".into(), &["a", "b"]).await.unwrap(), "7 en! 2");
    assert_eq!(PLAIN.get(), 3);
    let remaining = ttl(r#"plain:[7,"en",["a"]]"#).await;
    assert!(
        matches!(remaining, Ttl::Remaining(left) if left <= Duration::from_secs(60)),
        "{remaining:?}"
    );
    // Errors are returned and not cached, both with `?` and with `return`.
    for id in [0, 0, 1, 1] {
        assert_eq!(plain(id, String::new(), &[]).await, Err(Failure::Unknown));
    }
    assert_eq!(PLAIN.get(), 7);
}

/// Arguments with quotes, commas and brackets, which simple concatenation would turn into the same
/// key.
#[tokio::test]
async fn no_two_lists_of_arguments_have_one_key() {
    #[cached(cache = CACHE, name = "pairs")]
    async fn pair(first: &str, second: Option<&str>) -> Result<String, CacheError> {
        Ok(format!("{first:?} {second:?}"))
    }
    for (first, second) in [
        ("a\",\"b", Some("c")),
        ("a", Some("b\",\"c")),
        ("a,b", None),
        ("a", Some("")),
        ("a", None),
        ("", Some("a")),
        ("A", None),
        (" a", None),
        ("a ", None),
        ("é", None),
        ("e\u{301}", None),
    ] {
        assert_eq!(pair(first, second).await.unwrap(), format!("{first:?} {second:?}"));
    }
    assert!(CACHE.has_key(r#"pairs:["a",null]"#).await.unwrap());
    let long = "k".repeat(5000);
    for second in ["a", "b"] {
        assert_eq!(
            pair(&long, Some(second)).await.unwrap(),
            format!("{long:?} {:?}", Some(second))
        );
    }
}

/// Integers that a float cannot tell apart.
#[tokio::test]
async fn no_two_large_integers_have_one_key() {
    #[cached(cache = CACHE)]
    async fn large(number: i128, other: u64) -> Result<(i128, u64), CacheError> {
        Ok((number, other))
    }
    for number in [
        i128::MIN,
        i128::MIN + 1,
        -1,
        1,
        1 << 53,
        (1 << 53) + 1,
        i128::MAX - 1,
        i128::MAX,
    ] {
        for other in [0, 1 << 53, (1 << 53) + 1, u64::MAX - 1, u64::MAX] {
            assert_eq!(large(number, other).await.unwrap(), (number, other));
        }
    }
}

#[tokio::test]
async fn a_key_can_be_written_and_arguments_skipped() {
    struct Database(Counter);

    #[cached(cache = CACHE, key = "by key:{id:03}", timeout = Timeout::Never)]
    async fn by_key(database: &Database, id: u8) -> Result<usize, CacheError> {
        Ok(database.0.add())
    }

    #[cached(cache = CACHE, skip(database, _unused))]
    async fn by_skip(database: &Database, id: u8, _unused: &Database) -> Result<usize, CacheError> {
        Ok(database.0.add() + usize::from(id) * 100)
    }

    let database = Database(Counter::new());
    assert_eq!(by_key(&database, 7).await.unwrap(), 1);
    assert_eq!(by_key(&database, 7).await.unwrap(), 1);
    assert_eq!(ttl("by key:007").await, Ttl::Persistent);
    assert_eq!(by_skip(&database, 1, &database).await.unwrap(), 102);
    assert_eq!(by_skip(&database, 1, &database).await.unwrap(), 102);
    assert_eq!(by_skip(&database, 2, &database).await.unwrap(), 203);
    assert!(CACHE.has_key("by_skip:[1]").await.unwrap());
}

/// A state like those that web frameworks pass to handlers.
#[derive(Clone)]
struct State {
    cache: Arc<Cache<MemoryBackend>>,
    calls: Arc<Counter>,
}

impl State {
    /// Returns the price. The macro keeps this doc comment and the other attributes.
    #[cached(cache = self.cache, key = "price:{article}")]
    #[must_use = "it is a price"]
    async fn price<N: Serialize + Send + std::fmt::Display>(&self, article: N) -> Result<String, CacheError> {
        self.calls.add();
        Ok(article.to_string())
    }
}

#[cached(cache = state.cache, skip(state))]
async fn of_state(state: State, id: u8) -> Result<u8, CacheError> {
    state.calls.add();
    Ok(id)
}

#[tokio::test]
async fn the_cache_can_come_from_an_argument() {
    let state = State {
        cache: Arc::new(Cache::builder(MemoryBackend::new()).key_prefix("s").build().unwrap()),
        calls: Arc::new(Counter::new()),
    };
    for _ in 0..2 {
        assert_eq!(state.price(5).await.unwrap(), "5");
        assert_eq!(of_state(state.clone(), 7).await.unwrap(), 7);
    }
    assert_eq!(state.calls.get(), 2);
}

#[test]
fn a_function_without_async_asks_a_blocking_cache() {
    static CALLS: Counter = Counter::new();

    #[cached(cache = BLOCKING, map_error = |_| Failure::Unknown)]
    fn blocking_square(mut number: u64) -> Result<u64, Failure> {
        CALLS.add();
        thread::sleep(Duration::from_millis(20));
        if number == 0 {
            return Err(Failure::Unknown);
        }
        number *= number;
        Err(Denied).or(Ok::<_, Denied>(()))?;
        Ok(number)
    }

    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert_eq!(blocking_square(12).unwrap(), 144));
        }
    });
    assert_eq!(CALLS.get(), 1);
    assert_eq!(blocking_square(0), Err(Failure::Unknown));
    // On a runtime's thread the cache fails, and the function returns its mapped error.
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert_eq!(runtime.block_on(async { blocking_square(12) }), Err(Failure::Unknown));
}

#[tokio::test]
async fn a_timeout_can_use_an_argument_that_the_body_moves() {
    #[cached(cache = CACHE, timeout = Duration::from_secs(60 + name.len() as u64))]
    async fn owned(name: String) -> Result<String, CacheError> {
        Ok(name)
    }
    assert_eq!(owned("a".into()).await.unwrap(), "a");
}

#[tokio::test]
async fn the_cache_can_be_a_fallible_or_conditional_expression() {
    #[cached(cache = CACHE.group("macros").await?)]
    async fn in_a_group(id: u8) -> Result<u8, CacheError> {
        Ok(id)
    }
    #[cached(cache = if id == 1 { &*CACHE } else { &OTHER })]
    async fn r#match(id: u8) -> Result<u8, CacheError> {
        Ok(id)
    }
    static OTHER: LazyLock<Cache<MemoryBackend>> = LazyLock::new(|| CACHE.with_version(2));
    assert_eq!(in_a_group(7).await.unwrap(), 7);
    let group = CACHE.group("macros").await.unwrap();
    assert!(group.has_key("in_a_group:[7]").await.unwrap());
    for id in [1, 2] {
        assert_eq!(r#match(id).await.unwrap(), id);
    }
    assert!(CACHE.has_key("match:[1]").await.unwrap());
    assert!(OTHER.has_key("match:[2]").await.unwrap());
}

#[tokio::test]
async fn an_argument_without_a_key_is_an_error() {
    #[cached(cache = CACHE)]
    async fn root(number: f64) -> Result<f64, Failure> {
        Ok(number.sqrt())
    }
    assert_eq!(root(4.0).await.unwrap().to_bits(), 2.0_f64.to_bits());
    assert!(matches!(root(f64::NAN).await, Err(Failure::Cache(text)) if text.contains("NaN")));
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Period {
    year: u16,
    month: Option<u8>,
}

static REPORTS: Counter = Counter::new();

#[cached(cache = CACHE, fresh_for = Duration::from_secs(60), stale_for = Duration::from_secs(60), jitter = 0.1)]
async fn report(mut period: Period, scale: u32) -> Result<(Period, u32), Failure> {
    REPORTS.add();
    tokio::task::yield_now().await;
    if scale == 0 {
        Err(Denied)?;
    }
    period.year += 1;
    Ok((period, scale))
}

#[tokio::test]
async fn a_loader_computes_in_a_task_of_its_own() {
    let period = Period {
        year: 2025,
        month: None,
    };
    let expected = Period {
        year: 2026,
        month: None,
    };
    let together = (0..8).map(|_| report(period.clone(), 3));
    for outcome in futures_util::future::join_all(together).await {
        assert_eq!(outcome.unwrap(), (expected.clone(), 3));
    }
    assert_eq!(REPORTS.get(), 1);
    assert_eq!(report(period, 0).await, Err(Failure::Unknown));
    // Fresh and stale for a minute each, and the jitter takes up to six seconds.
    let remaining = ttl(r#"report:[{"year":2025,"month":null},3]"#).await;
    assert!(
        matches!(remaining, Ttl::Remaining(left) if left <= Duration::from_secs(120)),
        "{remaining:?}"
    );
}

#[tokio::test]
async fn a_panic_in_a_task_of_its_own_is_an_error() {
    #[cached(cache = CACHE, fresh_for = Duration::from_secs(60))]
    async fn fragile(id: u8) -> Result<u8, Failure> {
        assert_ne!(id, 0, "planted");
        Ok(id)
    }
    assert!(matches!(fragile(0).await, Err(Failure::Cache(text)) if text.contains("panicked")));
    assert_eq!(fragile(1).await.unwrap(), 1);
}

#[test]
fn a_loader_works_without_async() {
    static CALLS: Counter = Counter::new();

    #[cached(cache = BLOCKING, fresh_for = Duration::from_secs(60))]
    fn answer() -> Result<u64, Failure> {
        CALLS.add();
        thread::sleep(Duration::from_millis(20));
        Ok(42)
    }

    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert_eq!(answer().unwrap(), 42));
        }
    });
    assert_eq!(CALLS.get(), 1);
    assert!(BLOCKING.has_key("answer:[]").unwrap());
}
