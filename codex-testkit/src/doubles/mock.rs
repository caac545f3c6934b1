//! A backend with scripted answers (feature `mock`).

use bytes::Bytes;
use codex_traits::{
    Capabilities, Error, ErrorKind, Expiry, KvBackend, OnMissing, Pattern, Result, ScanPage, ScanRequest, SetOptions,
    SetOutcome, Ttl,
};
use futures_util::FutureExt as _;
use mockall::mock;

use super::Verb;

mock! {
    /// A backend with scripted answers. It panics on a call without an expectation.
    ///
    /// Each verb has an `expect_…` method of [mockall](https://docs.rs/mockall), with `withf`,
    /// `times`, `returning` and so on. The methods below cover the most frequent expectations.
    /// Expectations are matched in the order in which they were set. An expectation that has been
    /// met as often as specified makes way for the next. Dropping the mock fails the test if an
    /// expectation was not met. The panic message for an unexpected call shows its arguments,
    /// including values.
    ///
    /// ```
    /// use codex_testkit::doubles::MockBackend;
    /// use codex_traits::{KvBackend, SetOptions};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> codex_traits::Result<()> {
    /// let mut backend = MockBackend::new();
    /// backend.expect_miss("user:1");
    /// backend.expect_write("user:1", "Alice");
    /// let ttl = backend.expect_ttl().withf(|key| key == "user:1").times(1);
    /// ttl.returning(|_| Ok(codex_traits::Ttl::Persistent));
    ///
    /// assert_eq!(backend.get("user:1").await?, None);
    /// assert!(backend.set("user:1", "Alice".into(), SetOptions::new()).await?.is_written());
    /// backend.ttl("user:1").await?;
    /// # Ok(())
    /// # }
    /// ```
    #[derive(Debug)]
    pub Backend {}

    impl KvBackend for Backend {
        fn capabilities(&self) -> Capabilities;
        async fn get(&self, key: &str) -> Result<Option<Bytes>>;
        async fn set(&self, key: &str, value: Bytes, options: SetOptions) -> Result<SetOutcome>;
        async fn del<'a>(&self, keys: &[&'a str]) -> Result<u64>;
        async fn del_if_equals(&self, key: &str, expected: &[u8]) -> Result<bool>;
        async fn expire(&self, key: &str, expiry: Expiry) -> Result<bool>;
        async fn ttl(&self, key: &str) -> Result<Ttl>;
        async fn scan<'a>(&self, request: ScanRequest<'a>) -> Result<ScanPage>;
        async fn get_many<'a>(&self, keys: &[&'a str]) -> Result<Vec<Option<Bytes>>>;
        async fn set_many<'a>(&self, entries: &[(&'a str, Bytes)], expiry: Expiry) -> Result<()>;
        async fn incr(&self, key: &str, delta: i64, on_missing: OnMissing) -> Result<Option<i64>>;
        async fn del_matching(&self, pattern: &Pattern) -> Result<u64>;
        async fn get_with_ttl(&self, key: &str) -> Result<Option<(Bytes, Ttl)>>;
        async fn health(&self) -> Result<()>;
    }
}

/// Shorthands for frequent expectations. Each expects exactly one call.
impl MockBackend {
    /// Expects a `get` of `key` and answers with `value`.
    pub fn expect_hit(&mut self, key: impl Into<String>, value: impl Into<Bytes>) {
        let (key, value) = (key.into(), value.into());
        self.expect_get()
            .withf(move |asked| asked == key)
            .times(1)
            .returning(move |_| Ok(Some(value.clone())));
    }

    /// Expects a `get` of `key` and answers that it is missing.
    pub fn expect_miss(&mut self, key: impl Into<String>) {
        let key = key.into();
        self.expect_get()
            .withf(move |asked| asked == key)
            .times(1)
            .returning(|_| Ok(None));
    }

    /// Expects a `set` of `key` to `value`, with any condition and expiry, and answers `Written`.
    pub fn expect_write(&mut self, key: impl Into<String>, value: impl Into<Bytes>) {
        self.expect_set_of(key.into(), value.into(), SetOutcome::Written);
    }

    /// Expects a `set` of `key` to `value`, with any condition and expiry, and answers `Refused`.
    pub fn expect_refused_write(&mut self, key: impl Into<String>, value: impl Into<Bytes>) {
        self.expect_set_of(key.into(), value.into(), SetOutcome::Refused);
    }

    fn expect_set_of(&mut self, key: String, value: Bytes, outcome: SetOutcome) {
        self.expect_set()
            .withf(move |asked, given, _| asked == key && *given == value)
            .times(1)
            .returning(move |_, _, _| Ok(outcome));
    }

    /// Expects a call of `verb` with any arguments, and answers with an error of `kind`.
    pub fn expect_failure(&mut self, verb: Verb, kind: ErrorKind) {
        let error = move || Error::new(kind, verb.name(), "failed by an expectation of the test");
        macro_rules! fail {
            ($($verb:ident $expect:ident |$($argument:pat_param),*|;)*) => {
                match verb {
                    $(Verb::$verb => {
                        self.$expect().times(1).returning(move |$($argument),*| Err(error()));
                    })*
                }
            };
        }
        fail! {
            Get expect_get |_|;
            Set expect_set |_, _, _|;
            Del expect_del |_|;
            DelIfEquals expect_del_if_equals |_, _|;
            Expire expect_expire |_, _|;
            Ttl expect_ttl |_|;
            Scan expect_scan |_|;
            GetMany expect_get_many |_|;
            SetMany expect_set_many |_, _|;
            Incr expect_incr |_, _, _|;
            DelMatching expect_del_matching |_|;
            GetWithTtl expect_get_with_ttl |_|;
            Health expect_health | |;
        }
    }

    /// Forwards every call without an expectation to `backend`. Call this last, because earlier
    /// expectations are matched first.
    ///
    /// # Panics
    ///
    /// A call panics if its answer is not ready immediately. `backend` must be an in-process store,
    /// such as `MemoryBackend`, and not a store on the network.
    pub fn fall_back_to(&mut self, backend: impl KvBackend + Clone) {
        macro_rules! forward {
            ($($expect:ident $verb:ident($($argument:ident),*);)*) => {$({
                let backend = backend.clone();
                self.$expect().returning(move |$($argument),*| {
                    let answer = backend.$verb($($argument),*).now_or_never();
                    answer.unwrap_or_else(|| panic!("the backend that a mock falls back to must answer at once"))
                });
            })*};
        }
        let capabilities = backend.capabilities();
        self.expect_capabilities().returning(move || capabilities);
        forward! {
            expect_get get(key);
            expect_set set(key, value, options);
            expect_del del(keys);
            expect_del_if_equals del_if_equals(key, expected);
            expect_expire expire(key, expiry);
            expect_ttl ttl(key);
            expect_scan scan(request);
            expect_get_many get_many(keys);
            expect_set_many set_many(entries, expiry);
            expect_incr incr(key, delta, on_missing);
            expect_del_matching del_matching(pattern);
            expect_get_with_ttl get_with_ttl(key);
            expect_health health();
        }
    }
}
