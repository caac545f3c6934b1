//! Random sequences of operations, and the shortest failing sequence.

use std::{future::Future, time::Duration};

use bytes::Bytes;
use codex_traits::{Condition, Expiry, OnMissing, Pattern, SetOptions};
use proptest::{
    collection::vec,
    prelude::{Just, Strategy, prop_oneof},
    sample::select,
    strategy::ValueTree,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};

use crate::{Divergence, Harness, Op, Time, replay, replay::shorten};

/// The keys. There are few, so that operations collide, and each is of a kind that stores have
/// mishandled.
const KEYS: &[&str] = &["b", "B", "", "b\0", "a*b", "[b]", "é"];
/// Values that are drawn often, so that conditions hold. Numerically, `5` and `05` are equal.
const LIKELY_VALUES: &[&[u8]] = &[b"1", b"", b"5", b"05"];
const VALUES: &[&[u8]] = &[
    b"1",
    b"",
    b"0",
    b"longer than the others",
    b"-0",
    b"+1",
    b" 1",
    b"1.0",
    b"9223372036854775807",
    b"-9223372036854775808",
    b"9007199254740993",
    b"\0\xff\r\n",
];
const DELTAS: &[i64] = &[1, 0, -1, 7, i64::MAX, i64::MIN];
const GLOBS: &[&[u8]] = &[
    b"*", b"b*", b"", b"?", b"a\\*b", b"[b]", b"[b", b"[^b]*", b"[!b]", b"[c-a]", b"[A-]", b"{b,B}", b"\xc3?",
];
const COUNT_HINTS: &[usize] = &[1_000, 1, 3, 0];

/// Times to live that do not expire in real time, and that are far apart.
const LONG: &[Duration] = &[
    Duration::from_secs(1_000),
    Duration::from_secs(20_000),
    Duration::from_secs(3_000_000_000),
];
/// Times to live that must be refused, or must remove the key.
const EDGES: &[Duration] = &[Duration::ZERO, Duration::MAX];
const SHORT: &[Duration] = &[
    Duration::from_millis(100),
    Duration::from_nanos(1),
    Duration::from_millis(1),
    Duration::from_micros(4_001),
    Duration::from_millis(1_500),
    Duration::from_secs(30),
];
/// Passages of time, in whole milliseconds: the unit of stores.
const PASSES: &[Duration] = &[
    Duration::from_millis(100),
    Duration::from_millis(1),
    Duration::from_millis(4),
    Duration::from_millis(96),
    Duration::from_millis(1_499),
    Duration::from_secs(29),
    Duration::from_secs(1_000),
];

/// A generator of random sequences of operations.
///
/// All sequences use a few keys and values that stores have mishandled: empty, with NUL, with
/// special characters of patterns, almost integers. The same seed generates the same sequences.
#[derive(Debug, Clone)]
#[must_use]
pub struct Sequences {
    longest: usize,
    seed: u64,
    expiries: Vec<Duration>,
    has_passes: bool,
}

impl Sequences {
    /// Creates a generator of up to 40 operations per sequence, for stores with this time. If time
    /// is virtual, sequences contain [`Op::Pass`], and keys expire. If time is real, they do not,
    /// and times to live are long.
    pub fn new(time: &Time) -> Self {
        let has_passes = matches!(time, Time::Virtual(_));
        let short = if has_passes { SHORT } else { &[] };
        Self {
            longest: 40,
            seed: 0,
            expiries: [short, LONG, EDGES].concat(),
            has_passes,
        }
    }

    /// Sets the maximum number of operations per sequence, at least one.
    pub fn longest(mut self, operations: usize) -> Self {
        self.longest = operations.max(1);
        self
    }

    /// Sets the seed.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Returns the strategy for use in other tests with `proptest`.
    pub fn strategy(&self) -> impl Strategy<Value = Vec<Op>> + use<> {
        let expiry = expiry(&self.expiries);
        let pass = select(PASSES).prop_map(Op::Pass);
        // With a weight of zero, the variant is never drawn.
        let passes = if self.has_passes { 2 } else { 0 };
        let op = prop_oneof![4 => reads(), 6 => writes(expiry.clone()), 4 => conditional(expiry), passes => pass];
        vec(op, 1..=self.longest)
    }

    /// Executes `run` on `cases` sequences in turn until a sequence fails, and then simplifies and
    /// shortens that sequence as long as it still fails.
    ///
    /// # Errors
    ///
    /// The error of `run` for the shortest failing sequence found. None of its operations can be
    /// left out.
    #[expect(
        clippy::future_not_send,
        reason = "proptest's trees cannot be sent; tests do not send them"
    )]
    pub async fn check<F, Fut>(&self, cases: u32, run: F) -> Result<(), Divergence>
    where
        F: Fn(Vec<Op>) -> Fut + Send + Sync,
        Fut: Future<Output = Result<(), Divergence>> + Send,
    {
        let strategy = self.strategy();
        let mut runner = self.runner();
        for _ in 0..cases {
            let tree = strategy.new_tree(&mut runner);
            let mut tree = tree.unwrap_or_else(|reason| unreachable!("the strategy rejects no value: {reason}"));
            if let Err(found) = run(tree.current()).await {
                let found = simplify(&mut tree, found, &run).await;
                // Simpler values can make further operations superfluous.
                return Err(shorten(found, &run).await);
            }
        }
        Ok(())
    }

    fn runner(&self) -> TestRunner {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&self.seed.to_le_bytes());
        TestRunner::new_with_rng(Config::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &seed))
    }
}

/// Executes `cases` random sequences of operations on the backends of `harness` and on the
/// [`Model`](crate::Model), and compares every answer, as [`replay`] does.
///
/// The sequences are the same in every run. [`Sequences`] generates other sequences.
///
/// # Errors
///
/// The shortest sequence found that the backend answers differently. It prints as a test.
///
/// ```
/// # use codex_memory::{ManualClock, MemoryBackend};
/// # use codex_testkit::{Harness, Time, VirtualTime, check_against_model};
/// # struct MyHarness(ManualClock);
/// # impl Harness for MyHarness {
/// #     type Backend = MemoryBackend;
/// #     async fn fresh(&self) -> MemoryBackend { MemoryBackend::with_clock(self.0.clone()) }
/// #     fn time(&self) -> Time {
/// #         let clock = self.0.clone();
/// #         Time::Virtual(VirtualTime::from_fn(move |by| clock.advance(by)))
/// #     }
/// # }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// # let harness = MyHarness(ManualClock::new());
/// check_against_model(&harness, 20).await.unwrap();
/// # }
/// ```
#[expect(
    clippy::future_not_send,
    reason = "proptest's trees cannot be sent; tests do not send them"
)]
pub async fn check_against_model<H: Harness>(harness: &H, cases: u32) -> Result<(), Divergence> {
    let sequences = Sequences::new(&harness.time());
    sequences
        .check(cases, |operations| async move { replay(harness, &operations).await })
        .await
}

/// Simplifies a failing sequence as far as the strategy's own simplification goes.
async fn simplify<F, Fut>(tree: &mut impl ValueTree<Value = Vec<Op>>, mut found: Divergence, run: &F) -> Divergence
where
    F: Fn(Vec<Op>) -> Fut + Sync,
    Fut: Future<Output = Result<(), Divergence>> + Send,
{
    /// The maximum number of runs. It suffices for any sequence of a hundred operations.
    const MOST_RUNS: usize = 3_000;
    let mut fails = true;
    for _ in 0..MOST_RUNS {
        let has_moved = if fails { tree.simplify() } else { tree.complicate() };
        if !has_moved {
            break;
        }
        let outcome = run(tree.current()).await;
        fails = outcome.is_err();
        if let Err(simpler) = outcome {
            found = simpler;
        }
    }
    found
}

fn key() -> impl Strategy<Value = &'static str> + Clone {
    select(KEYS)
}

fn keys() -> impl Strategy<Value = Vec<&'static str>> + Clone {
    vec(key(), 0..5)
}

fn value() -> impl Strategy<Value = &'static [u8]> + Clone {
    prop_oneof![select(LIKELY_VALUES), select(VALUES)]
}

fn pattern() -> impl Strategy<Value = Pattern> + Clone {
    prop_oneof![select(GLOBS).prop_map(Pattern::glob), key().prop_map(Pattern::prefix)]
}

fn expiry(durations: &[Duration]) -> impl Strategy<Value = Expiry> + Clone + use<> {
    let after = select(durations.to_vec()).prop_map(Expiry::After);
    prop_oneof![2 => Just(Expiry::Never), 1 => Just(Expiry::Keep), 4 => after]
}

fn reads() -> impl Strategy<Value = Op> {
    prop_oneof![
        key().prop_map(Op::get),
        key().prop_map(Op::ttl),
        key().prop_map(Op::get_with_ttl),
        keys().prop_map(|keys| Op::get_many(&keys)),
        (pattern(), select(COUNT_HINTS)).prop_map(|(pattern, hint)| Op::scan(pattern, hint)),
    ]
}

fn writes(expiry: impl Strategy<Value = Expiry> + Clone) -> impl Strategy<Value = Op> {
    let set = (key(), value(), expiry.clone())
        .prop_map(|(key, value, expiry)| Op::set(key, value, SetOptions::new().with_expiry(expiry)));
    let set_many =
        (vec((key(), value()), 0..4), expiry.clone()).prop_map(|(entries, expiry)| Op::set_many(&entries, expiry));
    prop_oneof![
        4 => set,
        1 => keys().prop_map(|keys| Op::del(&keys)),
        2 => (key(), expiry).prop_map(|(key, expiry)| Op::expire(key, expiry)),
        1 => set_many,
        1 => pattern().prop_map(Op::del_matching),
    ]
}

/// Returns a strategy for conditional writes.
fn conditional(expiry: impl Strategy<Value = Expiry> + Clone) -> impl Strategy<Value = Op> {
    let condition = prop_oneof![
        Just(Condition::IfAbsent),
        Just(Condition::IfPresent),
        value().prop_map(|value| Condition::IfEquals(Bytes::from_static(value))),
    ];
    let set = (key(), value(), condition, expiry.clone()).prop_map(|(key, value, condition, expiry)| {
        Op::set(
            key,
            value,
            SetOptions::new().with_condition(condition).with_expiry(expiry),
        )
    });
    let on_missing = prop_oneof![Just(OnMissing::Refuse), expiry.prop_map(OnMissing::Create)];
    prop_oneof![
        3 => set,
        1 => (key(), value()).prop_map(|(key, expected)| Op::del_if_equals(key, expected)),
        3 => (key(), select(DELTAS), on_missing).prop_map(|(key, delta, on_missing)| Op::incr(key, delta, on_missing)),
    ]
}
